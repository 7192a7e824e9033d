// Package hold decides what one session may run. It is the worker's brain, and
// the only place that enforces the promise: never run what you cannot prove.
//
// A [Machine] is told facts and the time and answers with one [Ready]. It starts
// no goroutine, holds no lock, reads no clock and returns no error. One Machine is
// one session: when the session is lost it stops everything, says Over, and the
// worker joins anew with another nonce and another Machine.
package hold

import (
	"time"

	"github.com/parti-go/parti/plan"
)

// Config says how long things may take. All durations are positive unless said.
type Config struct {
	Worker string // worker ID
	Nonce  string // of this session

	TTL      time.Duration // SessionTTL
	Margin   time.Duration // FenceMargin; trust ends Margin before TTL
	Interval time.Duration // HeartbeatInterval

	// Fence stops in time when isolated: contexts end when a quarter of the trust is
	// left, Hard ends with it. Otherwise handlers go on (freeze), but not longer than
	// MaxFreeze after trust was lost: then contexts end, and Hard a Margin later.
	// MaxFreeze 0 sets no limit.
	Fence     bool
	MaxFreeze time.Duration

	DrainTimeout time.Duration // from revoke to Hard
	StuckAfter   time.Duration // alert on a handler that ignores Hard, or is not running yet, for so long

	// MovesInFlight is how many partitions are drained at a time, but when leaving, and how
	// many are started at a time; less than 1 counts as 1. A drain gives up its place when
	// its handler has returned or its Hard has ended; a start when its handler runs, has
	// returned, or has not come to run for StuckAfter, so that one holds up no others.
	MovesInFlight int

	// RestartMin is the first back-off of a handler that returns early. Each further
	// one is twice as long, at most RestartMax. One that ran for RestartMax or
	// longer, counted from its Start, begins again at RestartMin.
	RestartMin, RestartMax time.Duration

	Degraded Degraded
	Alerts   Alerts
}

// Degraded says when a worker is degraded. It is entered once the store has not
// answered for EnterAfter, or gave ErrorThreshold errors within ErrorWindow, and
// left once it has answered, without an error, for ExitAfter, and there has been no such
// reason for as long: for twice as long, up to ErrorWindow, each time that it is entered
// again within ErrorWindow. It is also entered
// when trust is lost, and never left without it. An EnterAfter or ErrorThreshold
// of 0 is no reason to enter.
type Degraded struct {
	EnterAfter, ExitAfter time.Duration
	ErrorThreshold        int
	ErrorWindow           time.Duration
}

// Alerts says after how long in degraded mode which level is reached, and how
// often the level reached is repeated. A level of 0 is never reached, and an
// Interval of 0 repeats nothing.
type Alerts struct {
	Info, Warn, Error, Critical time.Duration
	Interval                    time.Duration
}

// A Fact is something that has happened. The set is closed.
//
//sumtype:decl
type Fact interface{ fact() }

type (
	// Tick says only that time has passed.
	Tick struct{}

	// Renewed says that the record last asked for by Ready.Renew is stored. Sent
	// is when it was sent: trust counts from there, not from the answer. The store
	// has answered, so it is Healthy as well. Out of turn, when no answer is waited
	// for, it only extends trust.
	Renewed struct{ Sent time.Time }
	// RenewFailed says that it is not known whether the record is stored, or that
	// the store could not be reached. Nothing is extended; it is asked for again,
	// after a pause. It does not imply Failing.
	RenewFailed struct{}
	// Found says what was read, at the store's leader, after a renewal was refused
	// or its outcome was unknown. It answers that renewal; a Tombstone or a Foreign
	// session ends this one whenever it is told of. The store has answered, so it is
	// Healthy as well.
	Found struct {
		Key Standing
		// Plan tells whether any plan stands in the store, and Mine whether my own
		// slice, read after the key, is addressed to my nonce.
		Plan, Mine bool
	}

	// Sliced says what the worker's own slice is, as read or as told. A slice that
	// is addressed to another nonce, or older than the one applied, changes nothing.
	// The very one that is applied changes nothing either, but it is news after
	// Ready.Stale: while trusted, it says that nothing has changed meanwhile. A
	// shell must not swallow it. The slice belongs to the Machine from then on.
	Sliced struct{ Slice plan.Slice }
	// Seen says that a plan of that version exists.
	Seen struct{ Version plan.Version }

	// Started says that the handler asked for by Ready.Start is running (after it
	// was prepared, where it wants that): its place among the starting is free.
	//
	// A Started or Exited for a lease that does not run here any more is a repetition
	// and changes nothing. One for a lease that no slice ever granted is a bug of
	// the shell, and panics.
	Started struct{ Lease plan.Lease }
	// Exited says that a handler has returned. While its lease is granted, one that
	// returned by itself is started again after a back-off, one that was asked to
	// end is started again as soon as anything may start, and one that is Done or
	// Rejected is not started again.
	Exited struct {
		Lease plan.Lease
		How   How
	}

	// Healthy and Failing say how the store answered anything at all.
	Healthy struct{}
	Failing struct{}

	// Jumped says that the clock has jumped, or that the process has been suspended
	// for a time that cannot be told: trust is gone until the next renewal.
	Jumped struct{}

	// Leave asks to drain everything and give up the session.
	Leave struct{}
	// Abandon says that there is no more time to wait for handlers: their Hard
	// ends now, and the session is left to lapse if one remains. Without a Leave
	// before it, it is a Leave as well.
	Abandon struct{}
)

func (Tick) fact()        {}
func (Renewed) fact()     {}
func (RenewFailed) fact() {}
func (Found) fact()       {}
func (Sliced) fact()      {}
func (Seen) fact()        {}
func (Started) fact()     {}
func (Exited) fact()      {}
func (Healthy) fact()     {}
func (Failing) fact()     {}
func (Jumped) fact()      {}
func (Leave) fact()       {}
func (Abandon) fact()     {}

// Standing is what stands at the session's key.
type Standing uint8

// What can stand there.
const (
	Gone      Standing = iota // nothing: expired, or the store was lost or made anew
	Own                       // my nonce, and the very record that I wrote last: it was stored after all
	OwnOlder                  // my nonce, but an earlier record: the write did not happen, or the store went back
	Tombstone                 // a leader has ended the session
	Foreign                   // another session of the same worker ID
)

// How is how a handler returned.
type How uint8

// The ways to return.
const (
	Returned How = iota // no error
	Failed              // an error or a panic
	Done                // ErrDone: finished until listed anew
	Rejected            // ErrReject: give it to somebody else

	gaveUp // not a return: the lease ended with the trust
)

// Cause is why a handler's context ends.
type Cause uint8

// The causes.
const (
	Revoked Cause = iota // the partition goes to another worker, or is no more
	Fenced               // ownership cannot be proved much longer, or the session is lost
	Stopped              // the worker is leaving
)

// A Stop ends a handler's context with a cause.
type Stop struct {
	Lease plan.Lease
	Cause Cause
}

// A Report is what the session's record is to say next. It is read only.
type Report struct {
	// Applied is the version of the slice that is acted on.
	Applied plan.Version
	// Draining lists, sorted by partition, every lease that still runs though the
	// slice does not grant it: asked to end or waiting for its turn. When Leaving,
	// it lists every lease that still runs.
	Draining []plan.Lease
	// Done and Rejected list, sorted by partition, leases whose handler said so, for as
	// long as the slice grants them; Done also those that the slice asks back.
	Done, Rejected []plan.Lease
	// GivenUp lists, sorted by partition, leases that ended with the trust under
	// Fence and do not run any more, for as long as the slice grants them. They are
	// to be granted anew, under another token.
	GivenUp []plan.Lease
	// Highest is the highest version ever seen; it never shrinks.
	Highest plan.Version
	// Leaving, once said, is said in every later report. Left are the last words:
	// nothing runs, and nothing will.
	Leaving, Left bool
	// Running counts handlers that have not returned, Starting granted leases whose
	// handler waits for its turn or its back-off.
	Running, Starting int

	// Resume creates the key again under the same nonce, on condition of what
	// Found found there.
	Resume bool
	// Holds lists, sorted by partition, every lease that runs, in this and every
	// later report after a resumption without a plan, until a slice says what is
	// granted. Nil otherwise.
	Holds []plan.Grant
}

// State is what a session is doing. The shell has more states before and after.
type State uint8

// The states of a session.
const (
	Waiting   State = iota // for its first slice
	Stable                 // all is well
	Isolated               // degraded: isolated, or the store fails
	Draining               // leaving
	FencedOff              // lost, or stopped in time; stopping everything
)

// A Ready is what the shell must do now, in the order of the fields. What is to be
// done (Hard, Stop, Start, Forget, Prepare, Renew, Alerts) is handed out once; how
// things are (all else) is said every time. Lists are sorted by partition.
type Ready struct {
	// Hard ends the second context of these handlers; Stop the first. Nobody is
	// in Hard who is not, or was not before, in Stop. A Hard may have another cause
	// than the Stop before it.
	Hard []Stop
	Stop []Stop
	// Start runs the handler of these, which are not running.
	Start []plan.Grant
	// Forget says that these, of an earlier Prepare, are neither coming nor granted any
	// more: they need not be prepared.
	Forget []string
	// Prepare tells the handler of these, if it wants to know.
	Prepare []plan.Partition
	// Renew writes the session's record. It is asked for at most once until
	// Renewed, RenewFailed or Found answers. Together with Over it is worth one
	// attempt, whose outcome nobody waits for.
	Renew *Report
	// Until is until when the session itself can be proved, whatever is known of its
	// slice; the zero time: it cannot. Under Fence every Hard has ended by then.
	Until time.Time
	// Stale asks for the own slice, read at the store's leader from now on and told
	// as Sliced, whether or not it has changed: the session was away, or the store
	// may have gone back, and nothing starts before the truth is known.
	Stale bool
	// Trusted is until when ownership is provable; the zero time: not now. It takes
	// a trusted session, and the truth: a slice that was heard since trust came back.
	Trusted time.Time
	// State is the session's.
	State State
	// Alerts are for people; each is given once per level and interval.
	Alerts []Alert
	// Over says that the session is lost or given up and that nothing runs any
	// more. Join anew, or end.
	Over bool
	// WakeAt is when to send a Tick at the latest. It is later than the last Step;
	// zero: nothing waits for time.
	WakeAt time.Time
}

// An Alert is something that a person should know of.
type Alert struct {
	Kind      AlertKind
	Level     Level
	Partition string        // of AlertStuck and AlertUnstarted
	For       time.Duration // how long already
}

// AlertKind is what an alert is about.
type AlertKind uint8

// The kinds.
const (
	AlertDegraded  AlertKind = iota
	AlertStuck               // a handler ignores Hard; always LevelError
	AlertUnstarted           // a handler does not come to run; always LevelError
)

// Level grades an alert.
type Level uint8

// The levels.
const (
	LevelInfo Level = iota
	LevelWarn
	LevelError
	LevelCritical
)
