package parti

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// AboutSchema numbers the shape of [About] as JSON. Fields may be added to it.
const AboutSchema = 1

// An About is what a worker says of itself and, when it leads, of its group: what
// [Status] says, and what only the leader knows. Whoever may probe a worker can ask for
// it, as package admin does. Its String is that of the Status: encoding/json has all of it.
type About struct {
	Schema int `json:"schema"`
	Status
	// Leading is nil on a worker that does not lead.
	Leading *Leading `json:"leading,omitempty"`
}

// Leading is what the leader of a group sees, and is going to do.
type Leading struct {
	Term uint64 `json:"term"`
	// Pending is what it waits for or is going to do: what has a time first, in order.
	Pending []Pending `json:"pending,omitempty"`
	// Doubt says why it declares nobody lost for the time being; empty: it does.
	Doubt string `json:"doubt,omitempty"`
	// Orders is a hash of what operators want, as far as it has been told: when it is that of
	// what stands in the bucket, it has heard of every order.
	Orders string `json:"orders"`
	// Workers is what it thinks of sessions, sorted by worker ID.
	Workers []Seen `json:"workers,omitempty"`
	// Unassigned are partitions that have no owner, sorted by ID, without their labels: the
	// first few hundred, as many as 16 KiB have room for, where each takes its ID and 32 bytes.
	Unassigned []Partition `json:"unassigned,omitempty"`
}

// A Pending is something that the leader waits for or is going to do.
type Pending struct {
	Why   plan.Why `json:"why"`
	About string   `json:"about"`
	// Holds is the worker that is to let go of something; empty: it waits for something else.
	Holds string `json:"holds,omitempty"`
	// For is how long it has waited, 0 where that does not matter. In is when it will be
	// done at the latest, from when this was said; nil where no clock decides.
	For Millis  `json:"for_ms,omitempty"`
	In  *Millis `json:"in_ms,omitempty"`
}

// Seen is what the leader thinks of the session of a worker ID.
type Seen struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
	// State is live, slow, suspect, vanished or ended; Why says more.
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
	For   Millis `json:"for_ms"` // how long it has been so
}

// About asks the worker. It waits until the worker has time for it, at most until ctx
// ends; one that was not started, or has stopped, answers at once.
func (m *Manager) About(ctx context.Context) (About, error) {
	a := About{Schema: AboutSchema, Status: m.Status()}
	e := m.executor()
	select {
	case <-m.done:
		return a, nil
	default:
	}
	if e == nil {
		return a, nil
	}
	answer := make(chan *Leading, 1)
	e.inspect(func(b brain, now time.Time) {
		if v, ok := b.(interface{ View() *member.View }); ok {
			answer <- leading(v.View(), now)
			return
		}
		answer <- nil
	})
	select {
	case a.Leading = <-answer:
		return a, nil
	case <-m.done:
		return a, nil
	case <-ctx.Done():
		return a, fmt.Errorf("parti: the worker has no time to answer: %w", context.Cause(ctx))
	}
}

// leading makes a view of what the member says. Times become durations: those of the
// worker's clock mean nothing elsewhere.
func leading(v *member.View, now time.Time) *Leading {
	if v == nil {
		return nil
	}
	l := &Leading{Term: v.Term, Doubt: v.Doubt, Orders: wire.Fingerprint(v.Controls), Unassigned: some(v.Unassigned)}
	for _, p := range v.Pending {
		q := Pending{Why: p.Why, About: p.About, Holds: p.Holds}
		if !p.Since.IsZero() {
			q.For = plan.ToMillis(now.Sub(p.Since))
		}
		if !p.At.IsZero() {
			in := plan.ToMillis(max(p.At.Sub(now), 0))
			q.In = &in
		}
		l.Pending = append(l.Pending, q)
	}
	for _, s := range v.Workers {
		l.Workers = append(l.Workers, Seen{s.Worker, s.Nonce, s.State.String(), s.Why, plan.ToMillis(now.Sub(s.Since))})
	}
	return l
}

// someBytes is what the names of partitions may take of an answer, which is one message.
const someBytes = 16 << 10

// some is as much of a list as there is room for.
func some(all []Partition) (list []Partition) {
	room := someBytes
	for _, p := range all {
		if room -= len(p.ID) + 32; room < 0 {
			break
		}
		list = append(list, Partition{ID: p.ID, Weight: p.Weight})
	}
	return list
}

// aboutIn is how long the brain may take to say what it sees; whoever asks over the store
// waits a little longer.
const aboutIn = 400 * time.Millisecond

// aboutText is About for whoever asks over the store's connection.
func (m *Manager) aboutText(ctx context.Context) []byte {
	ctx, cancel := context.WithTimeout(ctx, aboutIn)
	defer cancel()
	a, err := m.About(ctx)
	if err != nil {
		a.LastError, a.LastErrorAt = err.Error(), time.Now().UTC().Truncate(time.Millisecond)
	}
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // words and numbers
	}
	return text
}

// asks are questions to the brain that wait for the loop.
type asks struct {
	mu  sync.Mutex
	all []func(b brain, now time.Time)
}

// inspect has f called by the loop, between two facts. f must be quick. It is never
// called once the loop has ended.
func (e *executor) inspect(f func(b brain, now time.Time)) {
	e.asks.mu.Lock()
	e.asks.all = append(e.asks.all, f)
	e.asks.mu.Unlock()
	e.queue.wake()
}

// answerAsks is called by the loop.
func (e *executor) answerAsks() {
	e.asks.mu.Lock()
	all := e.asks.all
	e.asks.all = nil
	e.asks.mu.Unlock()
	for _, f := range all {
		f(e.brain, e.clock.now())
	}
}
