package sim

import (
	"time"

	"github.com/parti-go/parti/plan"
)

// A Scenario is all that a run depends on.
type Scenario struct {
	Profile string
	Seed    uint64 // of latencies, chances and nonces
	// Run is how long faults may be at work; Quiet how long the fleet is watched
	// once all of them are over.
	Run, Quiet time.Duration
	Settings   Settings
	Hosts      []Host
	Weights    []int64 // one for each partition that there is at the beginning
	Faults     []Fault // by time
	Claims     []Claim // what else must be true of this run
	// Expect is the number of the promise that this run is known to break; 0: none.
	Expect Promise
}

// Settings are those of every member, as package parti names them, and a few of
// the world itself.
type Settings struct {
	Heartbeat, TTL, Margin, LostAfter, LeaderTTL  time.Duration
	Probe, Reconcile, EmergencyGrace              time.Duration
	Settle, ColdStart, Scale, Cooldown            time.Duration
	RestartGrace, Drain, RecoveryGrace, MaxFreeze time.Duration
	Refresh, StuckAfter                           time.Duration
	EnterAfter, ExitAfter                         time.Duration
	Expected, Moves, Workers, Batch               int
	// OpTimeout is how long a request to the store may take.
	OpTimeout time.Duration
	// HardReturn is the longest that an obedient handler takes after Hard.
	HardReturn time.Duration
	// Strict holds the run to the promises where they are known to be broken.
	Strict int
	// Skew is the largest deviation of any clock's rate, in millionths.
	Skew int
}

// DefaultSettings are close to those of package parti.
func DefaultSettings() Settings {
	return Settings{
		Heartbeat: time.Second, TTL: 15 * time.Second, Margin: 1875 * time.Millisecond,
		LostAfter: 6 * time.Second, LeaderTTL: 12 * time.Second, Probe: 500 * time.Millisecond,
		Reconcile: 5 * time.Second, EmergencyGrace: time.Second,
		Settle: 2 * time.Second, ColdStart: 30 * time.Second, Scale: 10 * time.Second, Cooldown: 10 * time.Second,
		Drain: 30 * time.Second, RecoveryGrace: 15 * time.Second, StuckAfter: time.Minute,
		EnterAfter: 10 * time.Second, ExitAfter: 5 * time.Second,
		Moves: 16, Workers: 64, Batch: 1000,
		OpTimeout: 3 * time.Second, HardReturn: 500 * time.Millisecond, Skew: 20_000,
	}
}

// A Host is a place where one process at a time runs one member. Its number in
// Scenario.Hosts names it.
type Host struct {
	Start    time.Duration // when its first process starts; below 0: not before a fault says so
	Fence    bool          // isolation: fence, else freeze
	TTL      time.Duration // SessionTTL; 0: that of the settings
	Rate     int           // how much faster its clock runs, in millionths
	Share    int64
	Capacity int64
	Prepares bool // its handler wants to be told of what is coming
	Idle     bool // it has no handler, and so owns nothing
	Follows  bool // it has no source, and so never leads
	Twin     int  // it says that it is this host, counted from 1; 0: it says who it is
}

// A Claim is something that must be true of one scenario beyond the promises that
// hold for all of them.
type Claim struct {
	Kind ClaimKind
	N    int
	D    time.Duration
}

// ClaimKind is what a claim is about.
type ClaimKind string

// The claims. All count from the moment when the group had settled first.
const (
	ClaimStill   ClaimKind = "still"   // no handler returns
	ClaimMoves   ClaimKind = "moves"   // at most N partitions change hands
	ClaimWithin  ClaimKind = "within"  // no partition is without a handler for longer than D
	ClaimCalm    ClaimKind = "calm"    // nobody is degraded or fenced, and the idle group's costs are bounded
	ClaimOrphans ClaimKind = "orphans" // what a lost session had is granted within D of its tombstone
	ClaimOneTerm ClaimKind = "oneterm" // the leader does not change
	ClaimPlans   ClaimKind = "plans"   // at most N plans change a slice
	ClaimKeep    ClaimKind = "keep"    // at most N handlers return in processes that nobody has stopped
	ClaimCrashes ClaimKind = "crashes" // poisonous partitions crash at most N processes
	ClaimHome    ClaimKind = "home"    // at the end N percent of the partitions run under the worker ID that had them
)

// claims are all of them: a script names no others.
var claims = []ClaimKind{
	ClaimStill, ClaimMoves, ClaimWithin, ClaimCalm, ClaimOrphans, ClaimOneTerm, ClaimPlans, ClaimKeep, ClaimCrashes, ClaimHome,
}

// partitionID is the name of the partition with that number.
func partitionID(n int) string {
	const digits = "0123456789"
	return "p" + string([]byte{digits[n/100%10], digits[n/10%10], digits[n%10]})
}

// partitions are those that there are at the beginning.
func (sc *Scenario) partitions() []plan.Partition {
	out := make([]plan.Partition, len(sc.Weights))
	for i, weight := range sc.Weights {
		out[i] = plan.Partition{ID: partitionID(i), Weight: weight}
	}
	return out
}

// ttl is the SessionTTL of a host.
func (sc *Scenario) ttl(h Host) time.Duration {
	if h.TTL > 0 {
		return h.TTL
	}
	return sc.Settings.TTL
}

// longestTTL is the longest of any host.
func (sc *Scenario) longestTTL() time.Duration {
	d := sc.Settings.TTL
	for _, h := range sc.Hosts {
		d = max(d, sc.ttl(h))
	}
	return d
}

// bound is how long after the end of all faults every partition must be running
// again on exactly one worker: the time until the group has a leader, the doubt
// that this leader begins with, the longest way to the evidence that a session has
// ended, a joiner's wait for that evidence, the longest window, and one handoff.
func (sc *Scenario) bound() time.Duration {
	s := sc.Settings
	ttl := sc.longestTTL()
	return s.LeaderTTL + s.RecoveryGrace + 3*ttl + max(s.ColdStart, s.Scale) + s.Cooldown +
		s.RestartGrace + s.Drain + s.HardReturn + 2*s.Reconcile + 3*s.OpTimeout + 10*time.Second
}
