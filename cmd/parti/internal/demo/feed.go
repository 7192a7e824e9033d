package demo

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/plan"
)

// A feed takes the events of all workers in and keeps what the script and the
// screen ask for.
type feed struct {
	bell *bell
	now  func() time.Duration // since the demo began
	tell func(note)           // a line for people

	mu    sync.Mutex
	plans []plan.Decision
	known map[plan.Version]bool
	seen  map[string]bool // identities
	doubt map[string]bool // sessions that are suspected, by who suspects
	notes []note
}

// A note is one line of what happened.
type note struct {
	At   time.Duration
	Text string
}

// maxNotes is how many lines the screen may want.
const maxNotes = 20

func newFeed(b *bell, now func() time.Duration, tell func(note)) *feed {
	return &feed{bell: b, now: now, tell: tell, known: map[plan.Version]bool{}, seen: map[string]bool{}, doubt: map[string]bool{}}
}

func (f *feed) sayf(format string, args ...any) {
	n := note{f.now(), fmt.Sprintf(format, args...)}
	f.mu.Lock()
	f.notes = append(f.notes, n)
	if len(f.notes) > maxNotes {
		f.notes = slices.Clone(f.notes[len(f.notes)-maxNotes:])
	}
	f.mu.Unlock()
	f.tell(n)
}

// take is the observer of w.
func (f *feed) take(w *worker, e event.Event) {
	defer f.bell.ring()
	if p, ok := e.(event.Planned); ok {
		f.planned(p.Decision)
		return
	}
	if w.fate() == killed {
		return
	}
	switch e := e.(type) { //nolint:gochecksumtype // a spectator need not see all of them
	case event.Claimed:
		f.joined(w.identity, e.Worker)
	case event.SessionLost:
		f.sayf("%s lost its session: %s", w.name(), e.Why)
	case event.Led:
		f.sayf("%s leads: term %d", w.name(), e.Term)
	case event.Deposed:
		f.sayf("%s leads no more: %s", w.name(), e.Why)
	case event.Slowed:
		f.sayf("%s finds %s slow: %s", w.name(), e.Worker, e.Why)
	case event.Suspected:
		f.suspected(w, e.Session, true)
		f.sayf("%s suspects %s: %s", w.name(), e.Worker, e.Why)
	case event.Recovered:
		if f.suspected(w, e.Session, false) {
			f.sayf("%s is well again", e.Worker)
		}
	case event.Lost:
		f.sayf("%s is lost: %s", e.Worker, e.Why)
	case event.Doubted:
		f.sayf("%s declares nobody lost for now: %s", w.name(), e.Why)
	case event.Trusted:
		f.sayf("%s trusts what it sees again", w.name())
	case event.Refused:
		f.sayf("a plan of %s was refused: somebody else wrote one", w.name())
	case event.Returned:
		f.sayf("the handler of %s returned early: %s", e.Partition, e.Err)
	case event.Stuck:
		f.sayf("the handler of %s does not stop", e.Partition)
	case event.Exiting:
		f.sayf("%s ends, since the handler of %s does not stop", w.name(), e.Partition)
	case event.Alert:
		if e.Text != "" {
			f.sayf("alert: %s: %s", e.About, e.Text)
		}
	case event.Failed:
		f.sayf("%s: %s failed: %s", w.name(), e.Doing, e.Err)
	case event.SourceFailed:
		f.sayf("partitions could not be listed: %s", e.Err)
	case event.StoreRenewed:
		f.sayf("the store was made anew: %s", e.Why)
	}
}

// suspected notes what w thinks of a session, and returns what it thought before.
func (f *feed) suspected(w *worker, session string, now bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := fmt.Sprint(w.life, session)
	before := f.doubt[key]
	f.doubt[key] = now
	return before
}

func (f *feed) joined(identity, worker string) {
	f.mu.Lock()
	before := f.seen[identity]
	f.seen[identity] = true
	f.mu.Unlock()
	if before {
		f.sayf("%s is back as %s", identity, worker)
		return
	}
	f.sayf("%s joined as %s", identity, worker)
}

func (f *feed) planned(d plan.Decision) {
	f.mu.Lock()
	if f.known[d.Version] {
		f.mu.Unlock()
		return
	}
	f.known[d.Version] = true
	f.plans = append(f.plans, d)
	f.mu.Unlock()
	f.sayf("%s", describe(d))
}

// describe says what a plan does.
func describe(d plan.Decision) string {
	var granted, asked, other int
	for _, m := range d.Moves {
		switch m.Step {
		case plan.Granted:
			granted++
		case plan.Revoked:
			asked++
		case plan.Adopted, plan.Dropped, plan.Rerouted:
			other++
		}
	}
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(granted, "granted")
	add(asked, "asked back")
	add(other, "rearranged")
	add(d.More, "more")
	if len(parts) == 0 {
		parts = append(parts, "nothing to do")
	}
	text := fmt.Sprintf("plan %s (%s): %s", number(d.Version), d.Why, strings.Join(parts, ", "))
	switch s := d.Strategy; {
	case d.Why == plan.WhyReturn:
		text += ", where they were before"
	case s == nil:
	case s.Moved == 0:
		text += fmt.Sprintf("; places %d, at least %d needed", s.Placed, s.BoundMoves)
	case s.Placed == 0:
		text += fmt.Sprintf("; moves %d, at least %d needed", s.Moved, s.BoundMoves)
	default:
		text += fmt.Sprintf("; places %d and moves %d, at least %d needed", s.Placed, s.Moved, s.BoundMoves)
	}
	return text
}

// number is a version as a spectator wants it: within one incarnation of the store.
func number(v plan.Version) string { return fmt.Sprintf("v%d", v.Number()) }

// Plans are those seen so far.
func (f *feed) Plans() []plan.Decision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.plans)
}

// Newest is the newest plan that was told of.
func (f *feed) Newest() (v plan.Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.plans {
		v = max(v, d.Version)
	}
	return v
}

// Notes are the last lines.
func (f *feed) Notes() []note {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.notes)
}
