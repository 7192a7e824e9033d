// Package member is one member of a group: it joins the brains (join, hold, elect,
// lead) into one machine whose only outputs are requests to the store, probes, and
// orders to handlers.
//
// It decides everything that happens between an answer of the store and the next
// request: which key to read after a refused write, what an unknown outcome turned
// out to be, when a snapshot is complete, when a term is over. The shell in package
// parti and the simulator only carry out what it asks for and tell it the answers,
// so that what the simulator runs is what production runs.
//
// Like the brains it starts no goroutine, holds no lock and reads no clock.
package member

import (
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// Config is what a member needs to know. The zero value of no field is special;
// package parti fills in the defaults.
type Config struct {
	// Prefix and MaxWorkers say which worker IDs there are: Prefix-0 to
	// Prefix-(MaxWorkers-1).
	Prefix     string
	MaxWorkers int
	// Identity is who this worker is across restarts. Strict refuses to run while
	// another live process has it; otherwise any free ID will do.
	Identity string
	Strict   bool

	// Session is what every session of this member says of itself: host, software,
	// share, capacity, zone, labels, Owns, Prepares, TTL, Margin, Fenced. The rest
	// is filled in here.
	Session roster.Session

	Hold hold.Config // without Worker and Nonce
	Lead lead.Config // without Me
	// Leads is false for a member without a source: it never stands for leader.
	Leads bool

	Heartbeat      time.Duration
	LeaderTTL      time.Duration
	ProbeInterval  time.Duration
	EmergencyGrace time.Duration
	Reconcile      time.Duration // how often plan, leader and the own slice are read
	LostAfter      time.Duration // how long a joiner waits for the tombstone of its dead predecessor
	Listing        time.Duration // how long the store may take for one listing

	// Nonce makes a name for a new session that was never used before. Random
	// returns a random number. The simulator passes its seed's.
	Nonce  func() string
	Random func() uint64
	// FirstIncarnation is what a store is made with of which nobody knows anything.
	FirstIncarnation func() uint32
}

// An Op is one request. Each gets exactly one [Answer], in any order. Once Done is
// said, nobody waits for those that are still out: none of them is a write.
type Op struct {
	ID int
	Do Request
}

// A Request is what an Op asks for. The set is closed.
//
//sumtype:decl
type Request interface{ request() }

type (
	// Get reads one key at the store's leader.
	Get struct{ Key Key }
	// List reads all keys of one kind. Where Names is set, the names will do: the
	// records of the answer have nothing but their keys, and some may be gone.
	List struct {
		Kind  Kind
		Names bool
	}
	// Put makes one conditional write; Record.Rev is the revision the key must
	// have. A Record with Gone set removes the key.
	Put struct {
		Record Record
		TTL    time.Duration
	}
	// Commit makes several conditional writes at once.
	Commit struct {
		Puts []Put
	}
	// Probe asks the session of that nonce whether it is there. Within is how long
	// to wait for the answer.
	Probe struct {
		Nonce  string
		Within time.Duration
	}
	// Incarnation asks for the store's incarnation.
	Incarnation struct{}
	// Renew makes the store anew.
	Renew struct{ Incarnation uint32 }
	// Partitions asks the source.
	Partitions struct{}
)

func (Get) request()         {}
func (List) request()        {}
func (Put) request()         {}
func (Commit) request()      {}
func (Probe) request()       {}
func (Incarnation) request() {}
func (Renew) request()       {}
func (Partitions) request()  {}

// Kind is a kind of key.
type Kind uint8

// The kinds of keys. Session, Slice, Control and Log have a name each; the others
// are one key.
const (
	KindSession Kind = iota // roster.Session, by worker ID
	KindLeader              // elect.Leader
	KindPlan                // plan.Head
	KindSlice               // plan.Slice, by worker ID
	KindAside               // []plan.Aside
	KindLog                 // plan.Decision, by version
	KindControl             // plan.Control, by what it is about
	KindChain               // plan.Version, by the nonce of the leader that committed it
)

// A Key names a record.
type Key struct {
	Kind Kind
	Name string
}

// A Record is a key's content at one revision. Value is of the kind's type, by
// value, or nil when Gone. Unreadable is set when there is something that could
// not be decoded: unknown, never empty.
type Record struct {
	Key        Key
	Rev        kv.Rev
	Gone       bool
	Unreadable error
	Value      any
}

// A Fact is something that has happened. The set is closed.
//
//sumtype:decl
type Fact interface{ fact() }

type (
	// Tick says only that time has passed.
	Tick struct{}
	// Answer is the outcome of an Op.
	Answer struct {
		ID int
		// Err is nil or one of kv's errors; see [Outcome] and [Heard]. That a key is
		// missing may be said either way: by kv.ErrMissing, or by a Record with Gone.
		Err error
		// Sent is when the request was sent, on the clock of Step.
		Sent time.Time
		// Records are those of Get (one, perhaps Gone, with the marker's revision) and
		// List (those that are there).
		Records []Record
		// Rev is what Put gave the key; what Commit gave its first; List's.
		Rev kv.Rev
		// Incarnation is that of Incarnation and Renew.
		Incarnation uint32
		proof       bool // that the store went back

		// Partitions are the source's.
		Partitions []plan.Partition
	}
	// Told is a change that was followed.
	Told struct{ Record Record }
	// Following says that the following asked for by Ready.Follow has begun.
	Following struct{ Kinds []Follow }
	// Hole says that changes may have been missed. Following begins again by itself.
	Hole struct{}
	// Connected says how the connection to the store is, whenever that changes.
	Connected struct {
		Up         bool
		Interrupts uint64
		Closed     bool // for good: it does not come back
	}
	// Started, Exited and Jumped are as in hold.
	Started struct{ Lease plan.Lease }
	Exited  struct {
		Lease plan.Lease
		How   hold.How
		// Err and Panicked are for people.
		Err      string
		Panicked bool
	}
	Jumped struct{}
	// Refresh asks for the source to be listed again, by whoever leads.
	Refresh struct{}
	// StepDown gives up the leadership for now.
	StepDown struct{}
	// Leave asks for a clean stop; Abandon says that there is no more time.
	Leave   struct{}
	Abandon struct{}
)

func (Tick) fact()      {}
func (Answer) fact()    {}
func (Told) fact()      {}
func (Following) fact() {}
func (Hole) fact()      {}
func (Connected) fact() {}
func (Started) fact()   {}
func (Exited) fact()    {}
func (Jumped) fact()    {}
func (Refresh) fact()   {}
func (StepDown) fact()  {}
func (Leave) fact()     {}
func (Abandon) fact()   {}

// A Follow is what to follow: all keys of a kind, or one of them.
type Follow struct {
	Kind Kind
	Name string // empty: all of the kind
}

// State is what a member is doing.
type State uint8

// The states of a member, in the usual order.
const (
	Init State = iota
	ClaimingID
	WaitingAssignment
	Stable
	Degraded
	Fenced
	ShuttingDown
	Stopped
)

// A Ready is what the shell must do now. Orders and Ops are handed out once;
// the other fields are levels and always there.
type Ready struct {
	// Orders to handlers: first Hard, then Stop, then Start, then Forget, then Prepare.
	Hard    []hold.Stop
	Stop    []hold.Stop
	Start   []plan.Grant
	Forget  []string
	Prepare []plan.Partition

	// Ops are requests to send, in this order; they may run at the same time.
	Ops []Op

	// Events are what happened since the last Ready, in order, for people.
	Events []event.Event

	// Trusted is until when ownership is provable; zero: not now. Until is the same of the
	// session itself, whatever is known of its slice: under Fence every Hard has ended by then.
	Trusted, Until time.Time
	// Answering is the nonce under which to answer probes; empty: none.
	Answering string
	// Follow is what to follow now.
	Follow []Follow

	State    State
	WorkerID string
	Leading  bool
	// Applied says that the session acts on a slice, or waits for none.
	Applied bool
	// Closed says that the connection does not come back, and so nothing gets better.
	Closed bool

	// Exit says that the process is to end at once, since an operator wants it: a handler
	// of it ignores Hard. Nil: it is not.
	Exit *plan.Control

	// Done says that the member has ended and nothing runs any more. Err is nil
	// after a clean stop.
	Done bool
	Err  error

	// WakeAt is when to send a Tick at the latest; zero: nothing waits for time.
	WakeAt time.Time
}
