// Package measure runs a fleet in this process over a real server, and measures how long
// it takes for things to come about: a cold start, a worker that joins, stops or is
// lost, another leader.
//
// What is measured is what users see: from the return of a partition's handler, or the
// end of its worker, until its handler runs elsewhere.
package measure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

// Options say what a fleet is.
type Options struct {
	Group      string
	Partitions []parti.Partition
	// Connect connects the worker of that number, counted from 0. The fleet closes what it
	// returns.
	Connect func(ctx context.Context, worker int) (jetstream.JetStream, error)
	// Config is each worker's, but for its Identity.
	Config parti.Config
	// Store are the options of each worker's store.
	Store []natskv.Option
}

// A Fleet is workers in this process, each with a connection of its own, that share
// partitions. Its methods are for one goroutine.
type Fleet struct {
	options Options
	made    int
	workers []*Worker

	mu      sync.Mutex
	running map[string]int       // partition to the number of its handlers
	single  int                  // partitions that have one
	ended   map[string]time.Time // when a partition's last handler returned
	gaps    Times                // from a return to the next start
	starts  int
	plans   []plan.Decision
	dawdle  time.Duration // a handler takes a random part of it to return
	changed chan struct{} // closed at every change
}

// A Worker is one of a fleet.
type Worker struct {
	// Name is its identity, and the value of [Label] of what runs for it.
	Name    string
	Manager *parti.Manager
	Stream  jetstream.JetStream

	fleet  *Fleet
	store  *natskv.Store
	runs   map[string]bool // what it runs; guarded by the fleet's mu
	fallen bool            // guarded by the fleet's mu
}

// Label is the key of the profiler's label that says for which worker something runs.
const Label = "worker"

// New returns a fleet without workers.
func New(o Options) *Fleet {
	return &Fleet{options: o, running: map[string]int{}, ended: map[string]time.Time{}, changed: make(chan struct{})}
}

// Workers are those that were added and have not left.
func (f *Fleet) Workers() []*Worker { return f.workers }

// Add makes a worker; it is not started.
func (f *Fleet) Add(ctx context.Context) (w *Worker, err error) {
	name := fmt.Sprintf("host-%03d", f.made)
	pprof.Do(ctx, pprof.Labels(Label, name), func(ctx context.Context) { w, err = f.add(ctx, name) })
	if err == nil {
		f.made++
		f.workers = append(f.workers, w)
	}
	return w, err
}

func (f *Fleet) add(ctx context.Context, name string) (*Worker, error) {
	js, err := f.options.Connect(ctx, f.made)
	if err != nil {
		return nil, err
	}
	w := &Worker{Name: name, Stream: js, fleet: f, runs: map[string]bool{}}
	if w.store, err = natskv.Open(ctx, js, f.options.Group, f.options.Store...); err != nil {
		js.Conn().Close()
		return nil, err
	}
	cfg := f.options.Config
	cfg.Identity = name
	w.Manager, err = parti.NewManager(w.store, source.Static(f.options.Partitions...), parti.HandlerFunc(w.handle), cfg,
		parti.WithLogger(slog.New(slog.DiscardHandler)), parti.WithObserver(f.observe))
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (f *Fleet) observe(e parti.Event) {
	if p, ok := e.(event.Planned); ok {
		f.mu.Lock()
		f.plans = append(f.plans, p.Decision)
		f.mu.Unlock()
	}
}

func (w *Worker) handle(ctx context.Context, l parti.Lease) error {
	f := w.fleet
	f.mu.Lock()
	w.begins(l.Partition.ID)
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	slow := f.dawdle
	f.mu.Unlock()
	if slow > 0 {
		<-time.After(rand.N(slow))
	}
	f.mu.Lock()
	w.ends(l.Partition.ID)
	f.mu.Unlock()
	return nil
}

// begins and ends note what runs; the fleet is locked.
func (w *Worker) begins(id string) {
	if w.fallen {
		return
	}
	f := w.fleet
	w.runs[id] = true
	f.count(id, +1)
	f.starts++
	if at, ok := f.ended[id]; ok {
		f.gaps = append(f.gaps, time.Since(at))
	}
	f.nudge()
}

func (w *Worker) ends(id string) {
	if !w.runs[id] { // it has fallen: nobody has seen it go on
		return
	}
	f := w.fleet
	delete(w.runs, id)
	f.count(id, -1)
	f.ended[id] = time.Now()
	f.nudge()
}

func (f *Fleet) count(id string, by int) {
	if f.running[id] == 1 {
		f.single--
	}
	if f.running[id] += by; f.running[id] == 1 {
		f.single++
	}
}

func (f *Fleet) nudge() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Start starts workers side by side, and returns when the first began, and a function that
// waits until all have started.
func (f *Fleet) Start(ctx context.Context, workers ...*Worker) (began time.Time, wait func() error) {
	errs := make([]error, len(workers))
	var wg sync.WaitGroup
	began = time.Now()
	for i, w := range workers {
		wg.Go(func() {
			pprof.Do(ctx, pprof.Labels(Label, w.Name), func(ctx context.Context) { errs[i] = w.Manager.Start(ctx) })
		})
	}
	return began, func() error { wg.Wait(); return errors.Join(errs...) }
}

// Up starts all workers and waits until the fleet has settled.
func (f *Fleet) Up(ctx context.Context) error {
	_, wait := f.Start(ctx, f.workers...)
	if err := wait(); err != nil {
		return err
	}
	return f.AwaitSettled(ctx)
}

// Close stops all workers, in up to half a minute.
func (f *Fleet) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, w := range f.workers {
		wg.Go(func() {
			_ = w.Manager.Stop(ctx)
			w.close()
		})
	}
	wg.Wait()
}

func (w *Worker) close() {
	w.store.Close()
	w.Stream.Conn().Close()
}

// Dawdle has each handler from now on take a random part of d to return.
func (f *Fleet) Dawdle(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dawdle = d
}

// Reset forgets what was measured.
func (f *Fleet) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gaps, f.starts, f.plans = nil, 0, nil
	clear(f.ended)
}

// LastEnd is when the last handler returned since Reset.
func (f *Fleet) LastEnd() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastEnd()
}

func (f *Fleet) lastEnd() (last time.Time) {
	for _, at := range f.ended {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// await waits until ok says so; ok is called with the fleet locked.
func (f *Fleet) await(ctx context.Context, what string, ok func() bool) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		f.mu.Lock()
		done, changed := ok(), f.changed
		f.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		}
	}
}

// AwaitSettled waits until every partition has one handler, and nothing is on its way.
func (f *Fleet) AwaitSettled(ctx context.Context) error {
	return f.await(ctx, "the fleet has settled", f.settled)
}

// covered reports whether every partition has one handler.
func (f *Fleet) covered() bool { return f.single == len(f.options.Partitions) }

// settled reports whether, besides, nothing is on its way.
func (f *Fleet) settled() bool {
	if !f.covered() {
		return false
	}
	leader := f.leader(nil)
	return leader != nil && leader.Manager.Status().Phase == plan.Stable
}

// leader is who leads but for one, or nil.
func (f *Fleet) leader(but *Worker) *Worker {
	i := slices.IndexFunc(f.workers, func(w *Worker) bool { return w != but && !w.fallen && w.Manager.IsLeader() })
	if i < 0 {
		return nil
	}
	return f.workers[i]
}

// gone takes a worker out of the fleet, which does not close it any more.
func (f *Fleet) gone(w *Worker) {
	f.workers = slices.DeleteFunc(f.workers, func(x *Worker) bool { return x == w })
}

// Times are durations.
type Times []time.Duration

// At is the quantile q of them, 0 to 1; zero when there are none.
func (ts Times) At(q float64) time.Duration {
	if len(ts) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(ts))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// String is the median, the 99th of a hundred, and the longest.
func (ts Times) String() string {
	if len(ts) == 0 {
		return "-"
	}
	at := func(q float64) time.Duration { return ts.At(q).Round(100 * time.Microsecond) }
	return fmt.Sprintf("p50 %v  p99 %v  max %v  (n %d)", at(0.5), at(0.99), at(1), len(ts))
}
