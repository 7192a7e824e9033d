// Package join chooses and claims a worker ID.
//
// A [Machine] is told what there is and the time, and answers with one [Ready]:
// what to read, whom to probe, which ID to claim on what condition. It starts no
// goroutine, holds no lock and reads no clock.
//
//	survey ──► choose ──► look ──► claim ──► claimed
//	  ▲         │  ▲                 │
//	  │         ▼  │ ended, or       │ refused
//	  │        ask ┘ taken over      │
//	  ├───────◄ every ID is taken    │
//	  └──────────────────────────────┘
//
// The choice, best first: the ID last held by this identity; one whose session has
// provably ended and that still has partitions; one of the lowest that are free,
// drawn from a window that grows with each refused try, so that workers that start
// together need a few tries each and not one try per competitor. Whoever is refused
// asks only which sessions there are by now: were it to read them all again, a crowd
// would read as often as the square of its size.
//
// A spare is told when a session ends. Between times it looks for what it was not
// told, less and less often: at the names of the sessions, which show what has
// vanished, and now and then at all of them.
//
// Taking an ID over stops its former holder's renewals. It is no evidence that the
// former holder has stopped: the claim names it, and says how it ended only if
// that could be read.
//
// Where the store was made anew, an ID without a session is no free ID yet: whoever
// had it resumes under it within a moment, and would have to stop everything if it
// were taken. So a newcomer waits for that moment.
package join

import (
	"errors"
	"fmt"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
)

// Config says who joins. Every field is needed, but for Identity.
type Config struct {
	Prefix     string
	MaxWorkers int

	// Identity is who this worker is across restarts; empty: nobody in particular.
	// Strict refuses to run while another live process has it.
	Identity string
	Strict   bool

	EmergencyGrace time.Duration // how long no responders must stand
	LostAfter      time.Duration // how long a leader may take to find somebody dead
	ProbeInterval  time.Duration
	ProbeAgain     time.Duration // how often one that had no responders is probed
	Again          time.Duration // how soon a spare looks for a free ID, at first
	ComeBack       time.Duration // how long those who had an ID may take to take it up in a store that was made anew

	Random func() uint64
}

// ErrIdentityInUse says that another live process runs under this identity.
var ErrIdentityInUse = errors.New("another live worker has this identity")

// An InUseError names the process that has the identity. It wraps [ErrIdentityInUse].
type InUseError struct {
	Identity, Worker, Host string
}

func (e *InUseError) Error() string {
	host := e.Host
	if host == "" {
		host = "an unnamed host"
	}
	return fmt.Sprintf("%s: %q is %s on %s; stop it first, or give this one another identity", ErrIdentityInUse, e.Identity, e.Worker, host)
}

// Unwrap is [ErrIdentityInUse].
func (e *InUseError) Unwrap() error { return ErrIdentityInUse }

// Held is a session key that is there.
type Held struct {
	Worker  string
	Rev     kv.Rev
	Session roster.Session
	// Unreadable is set when the record could not be decoded: the ID is taken, and
	// nobody knows by whom.
	Unreadable bool
}

// ended is how the session has provably ended.
func (h Held) ended() roster.End {
	switch {
	case h.Unreadable:
		return roster.EndUnknown
	case h.Session.Tombstone != nil:
		return roster.EndTombstone
	case h.Session.Left:
		return roster.EndLeft
	default:
		return roster.EndUnknown
	}
}

func (h Held) over() bool { return h.ended() != roster.EndUnknown }

// A Fact is something that has happened. The set is closed.
//
//sumtype:decl
type Fact interface{ fact() }

type (
	// Tick says only that time has passed.
	Tick struct{}
	// Surveyed answers Ready.Survey: every session key that is there, or only whose it
	// is where Ready.Names says that this will do; whether a plan and a leader's key are
	// there, and whether the plan says that the group is being rebuilt from what workers
	// hold.
	Surveyed struct {
		Sessions               []Held
		Plan, Leader, Adopting bool
	}
	// Looked answers one of Ready.Look: the session that the ID's slice names, and
	// how many leases it has. Without a slice both are zero.
	Looked struct {
		Worker, Nonce string
		Leases        int
	}
	// Saw says what a session's key holds now; Gone that there is none, and the
	// revision of the marker, if there is one.
	Saw  struct{ Held Held }
	Gone struct {
		Worker string
		Rev    kv.Rev
	}
	// Followed says that what Ready.Spare wants is followed from now on. What changed
	// before that was not told.
	Followed struct{}
	// Probed answers Ready.Probe.
	Probed struct {
		Nonce   string
		Outcome roster.Probe
	}
	// Claimed and Refused answer Ready.Claim. An unknown outcome is found out first.
	Claimed struct{}
	Refused struct{}
)

func (Tick) fact()     {}
func (Surveyed) fact() {}
func (Looked) fact()   {}
func (Saw) fact()      {}
func (Gone) fact()     {}
func (Followed) fact() {}
func (Probed) fact()   {}
func (Claimed) fact()  {}
func (Refused) fact()  {}

// A Claim is to be written: a session of Worker, on condition that its key is at
// Last.
type Claim struct {
	Worker   string
	Last     kv.Rev
	Previous roster.Previous
}

// A Ready is what is to be done now. Survey, Look, Probe and Claim are handed out
// once and must each be answered; the other fields are levels.
type Ready struct {
	Survey bool
	Names  bool     // of the survey: which sessions there are will do, unread
	Look   []string // worker IDs whose slices are to be read
	Probe  string   // a nonce
	Claim  *Claim

	// Watch is a worker ID whose session's key is to be followed, and read every
	// second; empty: none.
	Watch string
	// Spare says that every ID is taken. All session keys are to be followed.
	Spare bool

	Claimed bool
	Err     error // the worker must not run
	WakeAt  time.Time
}
