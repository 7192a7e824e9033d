package parti

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

// An Assignment is what a worker runs.
type Assignment struct {
	// Version is that of the plan which last changed what this worker may run; zero
	// before the first.
	Version plan.Version
	// Term is the period of leadership that made the newest plan this worker knows of.
	Term uint64
	// Leases are those whose handlers run and were not asked to stop, sorted by
	// partition. One whose handler waits for its turn, for Prepare, or for a back-off, is
	// missing.
	Leases []Lease
}

// A Status is what one worker says of itself, for logs, health checks and screens.
// It is a copy and may be kept.
type Status struct {
	WorkerID string `json:"worker_id,omitempty"` // empty before one is claimed
	Identity string `json:"identity,omitempty"`
	Software string `json:"software,omitempty"`

	State  State `json:"state"`
	Ready  bool  `json:"ready"`  // the first slice was applied
	Leader bool  `json:"leader"` // it leads the group

	// Closed says that the connection to NATS was closed for good, by the process or
	// because it gave up: the worker cannot come back, and stops; see [ErrConnectionClosed].
	Closed bool `json:"closed,omitempty"`

	// TrustedFor is for how long ownership is provable from now on; zero: it is not.
	TrustedFor Millis `json:"trusted_for_ms"`

	Version  plan.Version `json:"version"` // as in Assignment
	Term     uint64       `json:"term"`
	Phase    plan.Phase   `json:"phase"`              // what the group is doing, as its leader last said
	Running  int          `json:"running"`            // handlers that run and were not asked to stop
	Draining []string     `json:"draining,omitempty"` // partitions whose handlers were asked to stop, sorted
	// Stuck are those of them whose Hard has ended as well, and that have not returned yet.
	Stuck []string `json:"stuck,omitempty"`

	// Alerts are what people should know of now, sorted.
	Alerts []Alert `json:"alerts,omitempty"`
	// LastError is the last failure of anything that is tried again, and when it was. It is
	// cut after 4 KiB, as the texts of Alerts and Err are; events have all of it.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// Err is why the worker has stopped, when it was not asked to, or could not cleanly.
	Err string `json:"err,omitempty"`
}

// Millis is a duration in whole milliseconds; see [plan.Millis].
type Millis = plan.Millis

// An Alert is something that a person should know of.
type Alert struct {
	About string `json:"about"`
	Text  string `json:"text"`
}

// String is the Status as JSON on one line.
func (s Status) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // words and numbers
	}
	return string(text)
}

// Live reports whether the worker does its work or is on its way to. A process
// whose worker is not live should be restarted: it has stopped, or its connection
// was closed for good. That NATS is away for a while does not count.
func (s Status) Live() bool { return s.State != StateStopped && !s.Closed }

// Ready is closed once the first slice, perhaps an empty one, is applied. It stays
// open when the worker stops before that; see Done.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Done is closed once the worker has stopped and nothing of it runs any more, but for what
// would not end, which Stop names, and the last hooks and observers. Stop then says why, if
// it was not asked to.
func (m *Manager) Done() <-chan struct{} { return m.done }

// WorkerID is the ID that this worker has now, such as "worker-7", or empty. It
// may change when a session is lost.
func (m *Manager) WorkerID() string {
	rd, _ := m.said()
	return rd.WorkerID
}

// IsLeader reports whether this worker leads the group, as far as it knows: that is
// a licence to try, and the store refuses the writes of a leader that is none any more.
func (m *Manager) IsLeader() bool {
	rd, _ := m.said()
	return rd.Leading
}

// State is what this worker is doing.
func (m *Manager) State() State { return m.board.now().state }

// CurrentAssignment is what runs here now.
func (m *Manager) CurrentAssignment() Assignment {
	_, group := m.said()
	a := Assignment{Version: group.version, Term: group.head.Term}
	if e := m.executor(); e != nil {
		a.Leases = e.runner.leases()
	}
	return a
}

// Status is all of it at one moment.
func (m *Manager) Status() Status {
	rd, group := m.said()
	b := m.board.now()
	s := Status{
		WorkerID: rd.WorkerID, Identity: m.identity, Software: m.cfg.Software,
		State: b.state, Leader: rd.Leading, Closed: rd.Closed, Version: group.version, Term: group.head.Term, Phase: group.head.Phase,
		Alerts: b.alerts, LastError: b.lastError, LastErrorAt: b.lastErrorAt, Err: b.err,
	}
	select {
	case <-m.ready:
		s.Ready = true
	default:
	}
	if e := m.executor(); e != nil {
		s.TrustedFor = plan.ToMillis(e.trustedFor())
		s.Running, s.Draining, s.Stuck = e.runner.count()
	}
	return s
}

// RefreshPartitions asks for the source to be listed again, by whichever worker
// leads. It returns at once. Where another one leads, the wish goes through the store; it
// is tried three times, and a failure is told to Hooks.OnError and the log. Calls cost little:
// as long as a wish is not on its way, it stands for all that come.
//
// The error is [ErrNotRunning] before the start and after the end, or ctx's cause when that
// has ended.
func (m *Manager) RefreshPartitions(ctx context.Context) error {
	select {
	case <-m.done:
		return ErrNotRunning
	default:
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	e := m.executor()
	if e == nil {
		return ErrNotRunning
	}
	e.queue.push(member.Refresh{})
	return nil
}

// executor is nil before the start.
func (m *Manager) executor() *executor {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.exec
}

// said is what the member said last, and what was seen of the group.
func (m *Manager) said() (member.Ready, glimpse) {
	if e := m.executor(); e != nil {
		return e.status()
	}
	return member.Ready{}, glimpse{}
}

// A board keeps what the events say of the present.
type board struct {
	mu      sync.Mutex
	present boardState
	texts   map[string]string
}

type boardState struct {
	state       State
	alerts      []Alert
	lastError   string
	lastErrorAt time.Time
	err         string
}

func newBoard() *board { return &board{texts: map[string]string{}} }

// fold takes events in.
func (b *board) fold(events []Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		switch e := e.(type) {
		case event.StateChanged:
			_ = b.present.state.UnmarshalText([]byte(e.To)) // a word that we wrote
		case event.Alert:
			if e.Text == "" {
				delete(b.texts, e.About)
			} else {
				b.texts[e.About] = cut(e.Text)
			}
		case event.Stuck:
			b.failed("handler of " + e.Partition + " ignores Hard")
		case event.Exiting:
			b.failed("handler of " + e.Partition + " ignores Hard; the process ends, as " + e.By + " asked for")
		case event.Failed:
			b.failed(e.Doing + ": " + e.Err)
		case event.SourceFailed:
			b.failed("list partitions: " + e.Err)
		case event.SourceRejected:
			b.failed("list partitions: not believed: " + e.Err)
		case event.SessionLost:
			b.failed("session lost: " + e.Why)
		case event.Returned:
			if !e.Final {
				b.failed("handler of " + e.Partition + " returned early: " + cmp.Or(e.Err, "no error"))
			}
		case event.Claimed, event.SessionResumed, event.Assigned, event.Revoked, event.Released, event.Led, event.Deposed,
			event.Planned, event.Refused, event.Slowed, event.Suspected, event.Recovered, event.Lost, event.Doubted, event.Trusted,
			event.Degraded, event.StoreRenewed, event.Dropped:
		}
	}
}

// maxSaid is how long a text of a [Status] may be. Handlers and sources put into an error what
// they like, and what a worker says of itself is one message, which the server limits.
const maxSaid = 4 << 10

// cut is the beginning of a text that is too long, and says so.
func cut(text string) string {
	if len(text) <= maxSaid {
		return text
	}
	at := maxSaid
	for !utf8.RuneStart(text[at]) && at > maxSaid-utf8.UTFMax {
		at--
	}
	return fmt.Sprintf("%s… (%d of %d bytes left out)", text[:at], len(text)-at, len(text))
}

func (b *board) failed(text string) {
	b.present.lastError, b.present.lastErrorAt = cut(text), time.Now().UTC().Truncate(time.Millisecond)
}

func (b *board) set(s State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.present.state = s
}

// ended keeps why the worker has ended.
func (b *board) ended(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.present.state = StateStopped
	if err != nil {
		b.present.err = cut(err.Error())
	}
}

func (b *board) now() boardState {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.present
	for _, about := range slices.Sorted(maps.Keys(b.texts)) {
		s.alerts = append(s.alerts, Alert{About: about, Text: b.texts[about]})
	}
	return s
}
