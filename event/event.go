// Package event is the one closed set of things that happen in a group, as one
// member sees them. Logs, metrics, traces, the console's timeline and assertions in
// tests are small functions over it.
//
// Events come one at a time, in the order in which they happened to that member.
// They are plain data and may be kept.
package event

import (
	"time"

	"github.com/parti-go/parti/plan"
)

// An Event is something that happened. The set is closed: the types below.
//
//sumtype:decl
type Event interface{ event() }

type (
	// StateChanged says that this member is doing something else now. The words are
	// those of parti.State.
	StateChanged struct{ From, To string }

	// Claimed says that this member has a worker ID. Tries counts the writes it
	// took; Previous is the session that had the ID before, if any.
	Claimed struct {
		Worker, Session string
		Tries           int
		Previous        string
	}
	// SessionLost says that this member's session is over, and why.
	SessionLost struct{ Worker, Session, Why string }
	// SessionResumed says that the session's key was gone and is there again.
	SessionResumed struct{ Worker, Session string }

	// Assigned says that a partition was granted to this member and is started.
	Assigned struct {
		Partition plan.Partition
		Token     uint64
		Why       plan.Why
	}
	// Revoked says that a handler was asked to stop, Released that it has returned since.
	// Why is the same in both: "revoked" when the partition goes elsewhere, "fenced" when
	// ownership cannot be proved, "stopped" when the worker leaves. Of a handler that had
	// Returned early, Released alone says that it is not run again here; Took is 0 then.
	Revoked struct {
		Partition string
		Token     uint64
		Why       string
	}
	Released struct {
		Partition string
		Token     uint64
		Why       string
		Took      time.Duration // from the wish to the return
		Err       string        // the handler's; empty where it says that the partition is done
	}
	// Returned says that a handler returned while it owned the partition. It is run
	// again after BackOff, which is 0 when it may run at once, unless Released comes first;
	// or not, when Final.
	Returned struct {
		Partition string
		Token     uint64
		Err       string
		Panicked  bool
		Final     bool
		BackOff   time.Duration
	}
	// Stuck says that a handler ignores Hard, and for how long since Hard has ended.
	Stuck struct {
		Partition string
		Token     uint64
		For       time.Duration
	}

	// Exiting says that the process of this member ends now, since somebody, By, asked for it
	// because its handler of Partition ignores Hard. Why is their reason, which may be empty.
	Exiting struct {
		Partition string
		Token     uint64
		By, Why   string
	}

	// Led says that this member took a term; Deposed that its term is over.
	Led     struct{ Term uint64 }
	Deposed struct {
		Term uint64
		Why  string
	}
	// Planned says that this member, as leader, committed a plan.
	Planned struct{ Decision plan.Decision }
	// Refused says that a commit of this member was refused: somebody else wrote
	// the plan.
	Refused struct {
		Version plan.Version
		Term    uint64
	}
	// Slowed, Suspected, Recovered and Lost tell what this member, as leader, thinks of
	// a session. One that is slow renews or answers late and keeps everything; a suspect
	// is given nothing new. Recovered takes either back; nothing takes Lost back.
	Slowed    struct{ Worker, Session, Why string }
	Suspected struct{ Worker, Session, Why string }
	Recovered struct{ Worker, Session string }
	Lost      struct{ Worker, Session, Why string }
	// Doubted says that this member, as leader, declares nobody lost for the time
	// being; Trusted that it does again.
	Doubted struct{ Why string }
	Trusted struct{}

	// SourceFailed and SourceRejected say why a listing was not taken.
	SourceFailed   struct{ Err string }
	SourceRejected struct{ Err string }

	// Degraded says for how long this member has been degraded: the store does not answer
	// it, or fails too often. The words of Level are those of parti.AlertLevel.
	Degraded struct {
		Level string
		For   time.Duration
	}
	// StoreRenewed says that the store was made anew under an incarnation.
	StoreRenewed struct {
		Incarnation uint32
		Why         string
	}
	// Alert is something that a person should know of. One with the same About takes its
	// place; an empty Text ends it.
	Alert struct{ About, Text string }
	// Failed says that something went wrong which is tried again.
	Failed struct{ Doing, Err string }
	// Dropped says that so many events are missing here, because whoever takes them
	// was too slow.
	Dropped struct{ Count int }
)

func (StateChanged) event()   {}
func (Claimed) event()        {}
func (SessionLost) event()    {}
func (SessionResumed) event() {}
func (Assigned) event()       {}
func (Revoked) event()        {}
func (Released) event()       {}
func (Returned) event()       {}
func (Stuck) event()          {}
func (Exiting) event()        {}
func (Led) event()            {}
func (Deposed) event()        {}
func (Planned) event()        {}
func (Refused) event()        {}
func (Slowed) event()         {}
func (Suspected) event()      {}
func (Recovered) event()      {}
func (Lost) event()           {}
func (Doubted) event()        {}
func (Trusted) event()        {}
func (SourceFailed) event()   {}
func (SourceRejected) event() {}
func (Degraded) event()       {}
func (StoreRenewed) event()   {}
func (Alert) event()          {}
func (Failed) event()         {}
func (Dropped) event()        {}
