// Package elect decides when to stand for leader, and when to give it up.
//
// Leadership is the key `leader`: whoever creates it leads, and renews it. It is
// only a licence to try: safety is the condition of a commit, so nothing bad comes
// of two who both believe that they lead. What this package is for is that there
// is one soon, and that it changes seldom.
//
//	           key gone, or its holder is                 accepted
//	following ───────────────────────────► due ──► writing ───────► leading
//	    ▲          (a random delay)                   │                │
//	    │                                             │ refused        │ no renewal accepted in time,
//	    │                                             ▼                │ key gone or another's,
//	    └───────────────────────────────────────── reading ◄───────────┘ given up
//
// A holder is gone when its session has provably ended; when nobody listens to its
// name for EmergencyGrace and it has missed a renewal; or when the key has not
// changed for LeaderTTL on our own clock.
//
// A [Machine] starts no goroutine, holds no lock and reads no clock. One Machine is
// one session's candidacy.
package elect

import (
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
)

// A Leader is what the key says.
type Leader struct {
	Worker string `json:"worker"`
	Nonce  string `json:"nonce"`
}

// Config says who stands and how long things may take. All durations are positive.
type Config struct {
	Me Leader

	LeaderTTL      time.Duration
	Heartbeat      time.Duration // how often the key is renewed
	ProbeInterval  time.Duration // how often the group as a whole probes the holder, about
	ProbeAgain     time.Duration // how often a holder without responders is probed
	EmergencyGrace time.Duration

	Random func() uint64
}

// margin is how much earlier than the key can lapse its holder stops leading.
func (c Config) margin() time.Duration { return max(c.LeaderTTL/6, min(c.Heartbeat, c.LeaderTTL/3)) }

// Held is how long an accepted renewal lets its writer lead, from when it was sent.
func (c Config) Held() time.Duration { return c.LeaderTTL - c.margin() }

// A Fact is something that has happened. The set is closed.
//
//sumtype:decl
type Fact interface{ fact() }

type (
	// Tick says only that time has passed.
	Tick struct{}
	// Able says whether this session may stand: it is claimed, trusted, and has no
	// reason not to.
	Able struct{ Yes bool }
	// Saw says what the key holds, Gone that it is not there, and the revision of
	// the marker, if there is one. Read is set when it answers Ready.Read. A holder
	// that could not be read is the zero Leader.
	Saw struct {
		Leader Leader
		Rev    kv.Rev
		Read   bool
	}
	Gone struct {
		Rev  kv.Rev
		Read bool
	}
	// Ended says that the session of that nonce has provably ended.
	Ended struct{ Nonce string }
	// Stood answers Ready.Holder where the session of that nonce has not ended: it
	// stood at that revision.
	Stood struct {
		Nonce string
		Rev   kv.Rev
	}
	// Probed answers Ready.Probe.
	Probed struct {
		Nonce   string
		Outcome roster.Probe
	}
	// Interrupted says that the connection was lost or changed.
	Interrupted struct{}
	// Wrote says that the write asked for was accepted; Refused that it was not,
	// Unknown that nobody knows, or that it could not be sent.
	Wrote struct {
		Rev  kv.Rev
		Sent time.Time
	}
	Refused struct{}
	Unknown struct{}
	// Size is how many workers there are. The more, the less often each probes.
	Size struct{ Workers int }
	// GiveUp gives up the leadership, and stands back for a while.
	GiveUp struct{ Back time.Duration }
	// Leave gives it up for good.
	Leave struct{}
)

func (Tick) fact()        {}
func (Able) fact()        {}
func (Saw) fact()         {}
func (Gone) fact()        {}
func (Ended) fact()       {}
func (Stood) fact()       {}
func (Probed) fact()      {}
func (Interrupted) fact() {}
func (Wrote) fact()       {}
func (Refused) fact()     {}
func (Unknown) fact()     {}
func (Size) fact()        {}
func (GiveUp) fact()      {}
func (Leave) fact()       {}

// A Write is a conditional write of the key.
type Write struct {
	Last   kv.Rev
	Remove bool
}

// A Ready is what is to be done now. Write, Read, Probe and Holder are handed out
// once; Write, Read and Probe must each be answered.
type Ready struct {
	Write *Write
	Read  bool   // read the key at the store's leader
	Probe string // a nonce
	// Holder is the worker ID of a holder that may be gone: read its session, and
	// say Ended if it has provably ended, or else Stood.
	Holder string

	// Leading says that this session holds the key.
	Leading bool
	// Why says, once it does not any more, what ended it.
	Why string
	// Out says, after Leave, that the key is not this session's any more.
	Out bool
	// Leader is who holds the key, as far as known; zero: nobody.
	Leader Leader

	WakeAt time.Time
}
