// Package lead decides what the group should do next. It is the leader's brain:
// a [Machine] is told facts and the time, and answers with one [Ready]. It starts no
// goroutine, holds no lock, reads no clock and returns no error.
//
// One Machine is one term. Its life:
//
//	New(found)  -> the first commit takes the term: a head, and what is rebuilt with
//	               it where the store was lost.
//	Step(facts) -> sessions, probes, listings, controls: the roster says who is
//	               there and whose session has provably ended (package roster).
//	Ready()     -> decide.go turns facts into wishes, each with a reason and a due
//	               time, and due wishes into a target: who should have what.
//	               advance.go takes the plan one commit towards the target, and
//	               grants nothing before the evidence about the former lease.
//	Refused     -> the term is over. A refusal is ordinary.
package lead

import (
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// A Strategy chooses owners. It must be deterministic and quick.
type Strategy interface {
	Assign(in plan.Input) ([]int, error)
}

// An Explainer is a Strategy that can account for an assignment.
type Explainer interface {
	Explain(in plan.Input, to []int) plan.Explanation
}

// Config tunes when a fact becomes a plan.
type Config struct {
	Worker, Nonce string // who leads
	Term          uint64 // filled in by New from what it finds

	Strategy Strategy

	ExpectedWorkers int           // a cold start goes at once when so many are there; 0: unknown
	Settle          time.Duration // a window closes early once nobody has joined for this long
	ColdStart       time.Duration // the longest that a first plan waits
	Scale           time.Duration // the longest that a planned change waits
	Cooldown        time.Duration // least time between two voluntary plans
	RestartGrace    time.Duration // how long a cleanly stopped worker's partitions wait for its successor
	Coalesce        time.Duration // receipts within it share a commit
	StuckAfter      time.Duration // a release that waits longer is an alert
	Refresh         time.Duration // the source is listed again this often; 0: only when asked

	MaxBatch   int // writes in one commit
	MaxPayload int // bytes of one record

	// Wall tells what the wall clock says at a time of Step. That time itself runs on while
	// the machine is suspended, which a wall clock needs no help with: as a date it may be
	// wrong by so much. Nil: it is the wall clock's.
	Wall func(now time.Time) time.Time

	Roster roster.Config
}

// Date is what the wall clock says at now, for what is compared with other machines' or
// shown to people.
func (c *Config) Date(now time.Time) time.Time {
	if c.Wall == nil {
		return now
	}
	return c.Wall(now)
}

// Found is what a new leader read: the head first, and then the rest. It is
// consistent if the first commit, which is conditional on the head, is accepted.
type Found struct {
	Incarnation uint32 // of the store
	// Highest is the highest version that the leader itself has ever seen. A head
	// below it, of the same incarnation, stands in a store that went back.
	Highest plan.Version
	// Past is an earlier incarnation in which it knows that a plan stood; 0: none.
	Past uint32
	// Replaced is the leader before, if it seemed dead.
	Replaced roster.Silence
	Plan     bool // whether a plan stands
	Head     plan.Head
	Slices   []plan.Slice
	Aside    []plan.Aside
}

// A Fact is something that has happened. The set is closed.
//
//sumtype:decl
type Fact interface{ fact() }

type (
	// Tick says only that time has passed.
	Tick struct{}
	// Saw is a session's record at a revision, a tombstone included.
	Saw struct {
		Session roster.Session
		Rev     kv.Rev
	}
	// Gone says that the key of a worker ID is not there; Rev is that of the
	// marker, if there is one.
	Gone struct {
		Worker string
		Rev    kv.Rev
	}
	// Synced says that every session that was there at the beginning has been told.
	Synced struct{}
	// Probed is the outcome of a probe.
	Probed struct {
		Nonce   string
		Outcome roster.Probe
	}
	// Listed is what the source says there is: sorted by ID, valid, no duplicates.
	Listed struct{ Partitions []plan.Partition }
	// Unlisted says that the source failed. The plan stays as it is.
	Unlisted struct{ Reason string }
	// Controlled is all that operators want, sorted by key.
	Controlled struct{ Controls []plan.Control }
	// Committed says that the commit last asked for is stored.
	Committed struct{ Version plan.Version }
	// Tombstoned says that the tombstone is stored at a revision; Missed that the
	// key had changed: a late renewal won.
	Tombstoned struct {
		Worker, Nonce string
		Rev           kv.Rev
	}
	Missed struct{ Worker, Nonce string }
	// Relist asks for the source to be listed again.
	Relist struct{}
	// Accepted says that the store has taken some write of this leader; Interrupted
	// that the connection was lost, changed, or changes may have been missed.
	Accepted    struct{}
	Interrupted struct{}
)

func (Tick) fact()        {}
func (Saw) fact()         {}
func (Gone) fact()        {}
func (Synced) fact()      {}
func (Probed) fact()      {}
func (Listed) fact()      {}
func (Unlisted) fact()    {}
func (Controlled) fact()  {}
func (Committed) fact()   {}
func (Tombstoned) fact()  {}
func (Missed) fact()      {}
func (Relist) fact()      {}
func (Accepted) fact()    {}
func (Interrupted) fact() {}

// A Commit is one plan: all of it or none. Its condition is the head that was
// committed or found last.
type Commit struct {
	Head plan.Head
	// Slices are the changed ones, sorted by worker.
	Slices []plan.Slice
	// Removed are worker IDs whose slices are no more.
	Removed []string
	// Aside replaces that record when not nil.
	Aside *[]plan.Aside
	// Decision is for the log; nil for the commit that only takes the term.
	Decision *plan.Decision
}

// A Ready is what the shell must do now.
type Ready struct {
	// Commit is to be written; the same one until Committed.
	Commit *Commit
	// Tombstones are to be written, each on condition of its revision.
	Tombstones []roster.Verdict
	// Probe names sessions to be asked whether they are there.
	Probe []string
	// List asks the source.
	List bool
	// StepDown gives up the term on an operator's wish.
	StepDown bool
	// WentBack says that the store has provably lost acknowledged plans: it must be
	// made anew under a higher incarnation than this, and the term is over.
	WentBack bool
	// Notes are changes of mind about sessions, for the event stream; Doubt says why
	// nobody is declared lost for the time being.
	Notes []roster.Note
	Doubt string
	// Alerts are for people; each is given when it arises and when its words change.
	Alerts []Alert
	// WakeAt is when to send a Tick at the latest; zero: nothing waits for time.
	WakeAt time.Time
}

// An Alert is something that a person should know of.
type Alert struct {
	// About is what the alert is about; the same About replaces an earlier alert,
	// and an empty Text ends it.
	About, Text string
}
