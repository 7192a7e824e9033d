package plan

import "time"

// A Decision is the leader's account of one plan: what triggered it, what moved
// and why, and at what cost. It is kept beside the plan for some days.
type Decision struct {
	Version Version `json:"version"`
	Term    uint64  `json:"term"`
	Leader  string  `json:"leader"`
	// At is when it was decided, on the leader's clock, in UTC. For people.
	At time.Time `json:"at"`
	// Why is the trigger, About what it was about ("worker-3: no responders for 1.1s").
	Why   Why    `json:"why"`
	About string `json:"about,omitempty"`
	// Moves are the steps of this plan, sorted by partition. Those beyond what a
	// record can hold are only counted.
	Moves []Move `json:"moves,omitempty"`
	More  int    `json:"more,omitempty"`
	// Strategy is what the strategy says of its assignment; nil when it was not asked.
	Strategy *Explanation `json:"strategy,omitempty"`
	// Workers and Partitions are the sizes of the group, Unassigned counts what has no owner.
	Workers    int `json:"workers"`
	Partitions int `json:"partitions"`
	Unassigned int `json:"unassigned,omitempty"`
	// Waited is the time from the trigger to the decision.
	Waited Millis `json:"waited_ms,omitempty"`
}

// A Move is one step of one partition in one plan: granted, asked back, or left out.
type Move struct {
	Partition string `json:"partition"`
	Step      Step   `json:"step"`
	// From is the worker that has or had it, To the one that gets it or is to get it.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	Why  Why    `json:"why"`
}

// Step is what a plan does with a partition.
type Step string

// The steps.
const (
	Granted  Step = "grant"   // To may run it from now on
	Revoked  Step = "revoke"  // From must let go; To is next
	Adopted  Step = "adopt"   // To held it already, and goes on
	Dropped  Step = "drop"    // it is in no slice any more
	Rerouted Step = "reroute" // From is still letting go; To is next instead
)

// An Aside is a partition that the leader keeps out of the plan, and why.
type Aside struct {
	Partition string `json:"partition"`
	Why       Why    `json:"why"` // WhyDone or WhyQuarantine
	// Times counts its quarantines; each lasts twice as long as the one before.
	Times int `json:"times,omitempty"`
	// Owners are the workers it is blamed for.
	Owners []string `json:"owners,omitempty"`
	// For is how long the quarantine lasts, counted by each leader from when it
	// learned of it.
	For Millis `json:"for_ms,omitempty"`
	// Software lists the versions it was tried on; a worker of another one lifts it.
	Software []string `json:"software,omitempty"`
}

// A Control is one wish of an operator.
type Control struct {
	Kind ControlKind `json:"kind"`
	// Worker and Partition say what it is about, as the kind demands.
	Worker    string `json:"worker,omitempty"`
	Partition string `json:"partition,omitempty"`
	// Who, When and Why are for people and the audit trail.
	Who  string    `json:"who,omitempty"`
	When time.Time `json:"when"`
	Why  string    `json:"why,omitempty"`
	// Until is when it ends by itself, on the leader's clock; zero: never.
	Until time.Time `json:"until,omitzero"`
	// Session is the nonce of the one session that a step-down or a release speaks to, and
	// Token that of the lease which a release is about.
	Session string  `json:"session,omitempty"`
	Token   Version `json:"token,omitempty"`
	// Number tells one request of a one-time kind from the next: who acts on it does so when
	// it sees a new one.
	Number string `json:"number,omitempty"`
}

// ControlKind is what an operator can ask for.
type ControlKind string

// The kinds of controls. One-time kinds carry a Number.
const (
	Cordon    ControlKind = "cordon"    // give Worker nothing new
	Drain     ControlKind = "drain"     // empty Worker and give it nothing new
	Pin       ControlKind = "pin"       // Partition is on Worker and nowhere else
	Ban       ControlKind = "ban"       // Partition is not on Worker
	Pause     ControlKind = "pause"     // no voluntary moves
	Refresh   ControlKind = "refresh"   // list the source again; one-time
	Rebalance ControlKind = "rebalance" // even out now, without waiting for a window; one-time
	StepDown  ControlKind = "step-down" // the leader gives up its term; one-time
	Lift      ControlKind = "lift"      // end the quarantine of Partition; one-time
	MoveTo    ControlKind = "move"      // move Partition to Worker, from where it may move again; one-time
	// ForceRelease asks Session, of Worker, to end its process, since its handler of
	// Partition ignores Hard; one-time. The leader has no part in it.
	ForceRelease ControlKind = "release"
)
