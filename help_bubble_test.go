package parti

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/source"
)

// wait is a handler that does what it must and nothing else.
func wait(ctx context.Context, _ Lease) error {
	<-ctx.Done()
	return nil
}

// parts makes n partitions, p-000 and so on.
func parts(n int) []Partition {
	all := make([]Partition, n)
	for i := range all {
		all[i] = Partition{ID: fmt.Sprintf("p-%03d", i)}
	}
	return all
}

// bubble runs f in fake time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t)
	})
}

// A fleet is a group of workers over one store in memory, and an account of who
// ran what.
type fleet struct {
	t      *testing.T
	server *memkv.Server
	source PartitionSource
	ledger *ledger
	mates  []*mate
}

func newFleet(t *testing.T, partitions ...Partition) *fleet {
	t.Helper()
	f := &fleet{t: t, server: memkv.New(), source: source.Static(partitions...), ledger: newLedger()}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, m := range f.mates { // a test that failed leaves them running
			wg.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_ = m.Stop(ctx)
			})
		}
		wg.Wait()
		f.server.Close()
		for _, breach := range f.ledger.breaches() {
			t.Error(breach)
		}
	})
	return f
}

// A mate is one worker of a fleet.
type mate struct {
	*Manager

	fleet *fleet
	name  string
	store *memkv.Client
	gone  bool

	mu     sync.Mutex
	events []Event
}

// join makes a worker and starts it; it need not be ready yet.
func (f *fleet) join(name string, cfg Config, opts ...Option) *mate {
	f.t.Helper()
	return f.joinWith(name, cfg, nil, opts...)
}

// joinWith runs that handler beside the ledger's account.
func (f *fleet) joinWith(name string, cfg Config, h Handler, opts ...Option) *mate {
	f.t.Helper()
	m := f.make(name, cfg, h, opts...)
	if err := m.begin(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return m
}

func (f *fleet) make(name string, cfg Config, h Handler, opts ...Option) *mate {
	f.t.Helper()
	m := &mate{fleet: f, name: name, store: f.server.Client(name)}
	if cfg.Identity == "" {
		cfg.Identity = name
	}
	opts = append([]Option{WithObserver(func(e Event) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.events = append(m.events, e)
	})}, opts...)
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(writer{f.t}, nil)).With("w", name)
	}
	opts = append([]Option{WithLogger(log)}, opts...)
	var err error
	if m.Manager, err = NewManager(m.store, f.source, f.ledger.wrap(name, h), cfg, opts...); err != nil {
		f.t.Fatal(err)
	}
	f.mates = append(f.mates, m)
	return m
}

type writer struct{ t *testing.T }

func (w writer) Write(p []byte) (int, error) {
	w.t.Log(time.Now().Format("15:04:05.000"), strings.TrimSpace(string(p)))
	return len(p), nil
}

// crash ends a worker as a killed process ends: the connection is gone, nothing is
// said, nothing runs.
func (m *mate) crash() {
	m.store.Cut()
	m.fleet.ledger.kill(m.name)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = m.Stop(ctx) // it cannot be clean
	m.gone = true
}

// leave stops a worker cleanly.
func (m *mate) leave() {
	m.fleet.t.Helper()
	if err := m.Stop(context.Background()); err != nil {
		m.fleet.t.Errorf("%s did not stop cleanly: %v", m.name, err)
	}
	m.gone = true
}

// happened are the events of a type so far.
func happened[E Event](m *mate) []E {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []E
	for _, e := range m.events {
		if e, ok := e.(E); ok {
			all = append(all, e)
		}
	}
	return all
}

// eventually waits, in fake time, until ok; it says what was not so otherwise.
func (f *fleet) eventually(most time.Duration, what string, ok func() bool) time.Duration {
	f.t.Helper()
	begun := time.Now()
	for {
		synctest.Wait()
		if ok() {
			return time.Since(begun)
		}
		if time.Since(begun) > most {
			f.t.Fatalf("not so after %v: %s\n%s", most, what, f.ledger)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// settled waits until n partitions run, evenly on the workers.
func (f *fleet) settled(most time.Duration, n int, on ...*mate) time.Duration {
	f.t.Helper()
	return f.eventually(most, fmt.Sprintf("%d partitions run evenly on %d workers", n, len(on)), func() bool {
		counts := f.ledger.counts()
		if len(counts) > len(on) {
			return false
		}
		all, least, most := 0, n, 0
		for _, m := range on {
			c := counts[m.name]
			all, least, most = all+c, min(least, c), max(most, c)
		}
		return all == n && most-least <= 1
	})
}

// stopAll stops whoever is left.
func stopAll(mates ...*mate) {
	var wg sync.WaitGroup
	for _, m := range mates {
		if !m.gone {
			wg.Go(m.leave)
		}
	}
	wg.Wait()
}

// A ledger keeps who runs what, and what was wrong about it.
type ledger struct {
	mu     sync.Mutex
	owner  map[string]string // partition → worker
	token  map[string]uint64 // the largest so far
	runs   map[string]int
	dead   map[string]bool
	wrong  []string
	double int  // owners beyond one
	two    bool // are allowed
}

func newLedger() *ledger {
	return &ledger{owner: map[string]string{}, token: map[string]uint64{}, runs: map[string]int{}, dead: map[string]bool{}}
}

func (g *ledger) wrap(name string, h Handler) Handler {
	if h == nil {
		h = HandlerFunc(wait)
	}
	run := HandlerFunc(func(ctx context.Context, l Lease) error {
		g.begin(name, l)
		defer g.end(name, l)
		return h.Run(ctx, l)
	})
	if p, ok := h.(Preparer); ok {
		return struct {
			Handler
			Preparer
		}{run, p}
	}
	return run
}

// twoAllowed says whether two may run the same partition.
func (g *ledger) twoAllowed(yes bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.two = yes
}

func (g *ledger) begin(name string, l Lease) {
	g.mu.Lock()
	defer g.mu.Unlock()
	id := l.Partition.ID
	if other, runs := g.owner[id]; runs {
		g.double++
		if !g.two {
			g.wrong = append(g.wrong, fmt.Sprintf("%s starts %s, which %s runs", name, id, other))
		}
	}
	if l.Token < g.token[id] {
		g.wrong = append(g.wrong, fmt.Sprintf("%s runs %s with token %d after %d", name, id, l.Token, g.token[id]))
	}
	g.owner[id], g.token[id] = name, max(l.Token, g.token[id])
	g.runs[id]++
}

func (g *ledger) end(name string, l Lease) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.owner[l.Partition.ID] == name {
		delete(g.owner, l.Partition.ID)
	}
}

// kill forgets what a worker ran.
func (g *ledger) kill(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead[name] = true
	for id, owner := range g.owner {
		if owner == name {
			delete(g.owner, id)
		}
	}
}

func (g *ledger) counts() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	counts := map[string]int{}
	for _, owner := range g.owner {
		counts[owner]++
	}
	return counts
}

// owners is a copy of who runs what.
func (g *ledger) owners() map[string]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.owner)
}

func (g *ledger) started(id string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.runs[id]
}

func (g *ledger) breaches() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wrong
}

func (g *ledger) String() string {
	counts := g.counts()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%s runs %d; ", name, counts[name])
	}
	return b.String()
}

var errSomething = errors.New("something")

// changeable gives the fleet a source whose listing can be set.
func (f *fleet) changeable(list []Partition) (set func([]Partition)) {
	var mu sync.Mutex
	f.source = source.Func(func(context.Context) ([]Partition, error) {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list), nil
	})
	return func(l []Partition) {
		mu.Lock()
		defer mu.Unlock()
		list = l
	}
}
