package parti

import (
	"fmt"

	"github.com/parti-go/parti/internal/member"
)

// State is what one worker is doing:
//
//	Init → ClaimingID → WaitingAssignment → Stable ⇄ Degraded → ShuttingDown → Stopped
//	            ↑                              ↕         ↕
//	            └─────────── Fenced ◄──────────┴─────────┘
//
// It is independent of what the group is doing, which its leader says in
// [Status.Phase].
type State uint8

// The states of a worker.
const (
	// StateInit: made, not started.
	StateInit State = iota
	// StateClaimingID: looking for a free worker ID, or for its own of before.
	StateClaimingID
	// StateWaitingAssignment: it has a worker ID and waits for its first slice.
	StateWaitingAssignment
	// StateStable: it runs what it was given, and the store answers.
	StateStable
	// StateDegraded: the store does not answer, or fails too often; see [Degraded]. It goes
	// on with what it has, and starts nothing new once its session is not trusted any more.
	StateDegraded
	// StateFenced: its session is lost, or could not be proved in time. It stops
	// everything, and then joins anew, or, where its session can be proved again after all,
	// starts again what it is granted.
	StateFenced
	// StateShuttingDown: it drains what it runs and takes nothing new.
	StateShuttingDown
	// StateStopped: nothing runs and nothing is written any more.
	StateStopped
)

var stateWords = [...]string{
	StateInit: "Init", StateClaimingID: "ClaimingID", StateWaitingAssignment: "WaitingAssignment", StateStable: "Stable",
	StateDegraded: "Degraded", StateFenced: "Fenced", StateShuttingDown: "ShuttingDown", StateStopped: "Stopped",
}

// String is the name of s, such as "Stable".
func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText writes the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name; one that it does not know is an error.
func (s *State) UnmarshalText(text []byte) error { return readWord(s, stateWords[:], "state", text) }

// stateOf translates the member's state. The two lists are kept apart so that
// the public one can stay as it is; a test holds them to each other.
func stateOf(s member.State) State { return State(s) }

// Isolation is what a worker does with its partitions while it cannot reach the store.
type Isolation uint8

const (
	// Freeze goes on with what it has: always somebody runs every partition. Two
	// owners of one partition are possible while a worker is isolated, from when the
	// others miss it until it has learned the truth; Token tells them apart.
	Freeze Isolation = iota
	// Fence stops in time: never do two workers own a partition, while clock rates
	// differ by less than FenceMargin / SessionTTL, the process is scheduled, and handlers
	// return within FenceMargin after Hard. What an isolated worker had is run by nobody
	// until the group has proved it lost.
	Fence
)

var isolationWords = [...]string{Freeze: "freeze", Fence: "fence"}

// String is "freeze" or "fence".
func (i Isolation) String() string {
	if int(i) < len(isolationWords) {
		return isolationWords[i]
	}
	return fmt.Sprintf("Isolation(%d)", uint8(i))
}

// MarshalText writes the word.
func (i Isolation) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads "freeze" or "fence".
func (i *Isolation) UnmarshalText(text []byte) error {
	return readWord(i, isolationWords[:], "isolation", text)
}

// AlertLevel grades an alert.
type AlertLevel uint8

// The levels, as [Alerts] sets their times.
const (
	AlertInfo AlertLevel = iota
	AlertWarn
	AlertError
	AlertCritical
)

var alertWords = [...]string{AlertInfo: "info", AlertWarn: "warn", AlertError: "error", AlertCritical: "critical"}

// String is "info", "warn", "error" or "critical".
func (l AlertLevel) String() string {
	if int(l) < len(alertWords) {
		return alertWords[l]
	}
	return fmt.Sprintf("AlertLevel(%d)", uint8(l))
}

// MarshalText writes the word.
func (l AlertLevel) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a word; one that it does not know is an error.
func (l *AlertLevel) UnmarshalText(text []byte) error {
	return readWord(l, alertWords[:], "alert level", text)
}

// readWord sets *to to the place of text among words.
func readWord[T ~uint8](to *T, words []string, what string, text []byte) error {
	for i, word := range words {
		if word == string(text) {
			*to = T(i)
			return nil
		}
	}
	return fmt.Errorf("parti: unknown %s %q; there are %q", what, text, words)
}
