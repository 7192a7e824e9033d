package sim

import "time"

// A Fault is one thing done to the fleet. What has a duration is undone when it is
// over; overlapping faults of one kind each undo only their own.
type Fault struct {
	At   time.Duration
	Kind Kind
	Who  []int // hosts
	For  time.Duration
	N    int // an amount, or the number of a partition: see the kind
}

// Kind is a kind of fault.
type Kind string

// Faults of processes. Those with a duration begin again after it, as the same
// host, unless it is 0.
const (
	Crash   Kind = "crash"   // the process is gone at once; its connection, too
	Vanish  Kind = "vanish"  // the machine is gone: probes get no answer at all for a minute
	Stop    Kind = "stop"    // a clean stop; N > 0: Abandon after N ms
	Start   Kind = "start"   // a process is started where none is
	Freeze  Kind = "freeze"  // no step at all, then everything at once
	Suspend Kind = "suspend" // the same, and the clock did not count it
	Jump    Kind = "jump"    // the clock is N ms further at once
	Skew    Kind = "skew"    // the clock runs N millionths faster
	Lag     Kind = "lag"     // every step is N ms late
)

// Faults of the network, for each of the hosts.
const (
	Cut     Kind = "cut"     // the connection is down, and both ends know
	Hole    Kind = "hole"    // nothing passes, and nobody is told
	Mute    Kind = "mute"    // requests do not arrive
	Deaf    Kind = "deaf"    // answers and changes do not arrive
	Loss    Kind = "loss"    // N percent of everything is lost
	Slow    Kind = "slow"    // everything takes up to N ms longer
	Late    Kind = "late"    // writes get no answer, and land N ms later
	Drop    Kind = "drop"    // N percent of followed changes are not told
	Twice   Kind = "twice"   // N percent of followed changes are told twice
	Delay   Kind = "delay"   // followed changes take up to N ms
	Gap     Kind = "gap"     // the following begins anew: a hole
	Unprobe Kind = "unprobe" // probes of the host get no answer
	Behind  Kind = "behind"  // it talks to a replica that was left behind
	Torn    Kind = "torn"    // of what it lists, some keys are read up to N ms later than the others
)

// Faults of the store.
const (
	StoreDown Kind = "store-down"     // nothing is answered; N > 0: refused at once
	NoQuorum  Kind = "no-quorum"      // reads answer, writes do not
	Expire    Kind = "expire"         // all that has a TTL expires at once
	StoreLost Kind = "store-lost"     // the bucket is gone
	GoBack    Kind = "go-back"        // the last N writes are gone
	Restore   Kind = "restore"        // it is what it was N ms ago
	Garble    Kind = "garble"         // N: plan, leader, a session, a slice cannot be read
	NoCommit  Kind = "no-commit"      // commits get no answer; single writes do
	Replaced  Kind = "store-replaced" // deleted, and made anew and empty by somebody else
)

// Faults of the source.
const (
	SourceError   Kind = "source-error"
	SourceSlow    Kind = "source-slow"    // no answer
	SourceHalf    Kind = "source-half"    // N listings hold a third; 0: all of them
	SourceEmpty   Kind = "source-empty"   // N listings are empty; 0: all of them
	SourceGarbage Kind = "source-garbage" // duplicates and invalid IDs
	SourceFlap    Kind = "source-flap"    // partition N is there in every other listing
	Add           Kind = "add"            // N more partitions
	Remove        Kind = "remove"         // partition N goes, and comes back after the time
	Reweigh       Kind = "reweigh"        // every third weight changes
)

// Faults of handlers.
const (
	Sluggish Kind = "sluggish" // drains take up to half again DrainTimeout
	Stubborn Kind = "stubborn" // ctx is ignored until Hard
	DeafHard Kind = "ignore"   // Hard is ignored for N ms
	Early    Kind = "early"    // handlers return early
	Panic    Kind = "panic"    // handlers fail soon
	Done     Kind = "done"     // partition N is done
	Reject   Kind = "reject"   // hosts refuse partition N
	Poison   Kind = "poison"   // partition N crashes its process, which starts again after 2 s
)

// What operators do.
const (
	CtlCordon    Kind = "cordon"
	CtlDrain     Kind = "drain"
	CtlPin       Kind = "pin"  // partition N to the host
	CtlBan       Kind = "ban"  // partition N from the host
	CtlMove      Kind = "move" // partition N to the host, once
	CtlPause     Kind = "pause"
	CtlRebalance Kind = "rebalance"
	CtlStepDown  Kind = "step-down"
	CtlRefresh   Kind = "refresh"
	CtlRelease   Kind = "release"   // the process is to end because of what has ignored Hard the longest there
	NoLeader     Kind = "no-leader" // the leader key is removed, conditionally
)

// Kinds are all of them: the suite must have seen each at work.
var Kinds = []Kind{
	Crash, Vanish, Stop, Start, Freeze, Suspend, Jump, Skew, Lag,
	Cut, Hole, Mute, Deaf, Loss, Slow, Late, Drop, Twice, Delay, Gap, Unprobe, Behind, Torn,
	StoreDown, NoQuorum, Expire, StoreLost, GoBack, Restore, Garble, NoCommit, Replaced,
	SourceError, SourceSlow, SourceHalf, SourceEmpty, SourceGarbage, SourceFlap, Add, Remove, Reweigh,
	Sluggish, Stubborn, DeafHard, Early, Panic, Done, Reject, Poison,
	CtlCordon, CtlDrain, CtlPin, CtlBan, CtlMove, CtlPause, CtlRebalance, CtlStepDown, CtlRefresh, CtlRelease, NoLeader,
}

// index finds the place of a kind, for counting.
var index = func() map[Kind]int {
	m := make(map[Kind]int, len(Kinds))
	for i, k := range Kinds {
		m[k] = i
	}
	return m
}()
