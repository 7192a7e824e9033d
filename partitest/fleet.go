package partitest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/hatch"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
)

// silent is for what goes wrong on purpose.
var silent = slog.New(slog.DiscardHandler)

// A Fleet is a group of workers in this process, each over a link of its own, and the
// ledger of what they do. What it starts is stopped when the test ends.
type Fleet struct {
	*Ledger

	// NATS is where they meet, and Group the name of their group there; a second fleet on
	// the same NATS needs another.
	NATS  *NATS
	Group string
	// Config is that of the workers that join next. The Identity is the worker's name.
	Config parti.Config
	// Source lists the partitions for the workers that join next.
	Source parti.PartitionSource
	// Options are those of the workers that join next. Unless they say so, nothing is logged.
	Options []parti.Option

	tb         testing.TB
	partitions []parti.Partition
	handler    func(*Worker) parti.Handler

	workersMu sync.Mutex
	workers   []*Worker
	stopping  sync.Once
}

// A Worker is one of a [Fleet].
type Worker struct {
	*parti.Manager

	Name  string
	Conn  *nats.Conn // over its own link
	Fleet *Fleet

	gone   bool
	probes *Fault // none: it counts those that reach it

	mu     sync.Mutex
	events []parti.Event
}

// Happened are the events of a type that a worker has told of so far, in order. They may
// come a moment after what they tell; [Ledger.Await] asks again after each.
func Happened[E parti.Event](w *Worker) (all []E) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e, ok := e.(E); ok {
			all = append(all, e)
		}
	}
	return all
}

func (w *Worker) observe(e parti.Event) {
	w.mu.Lock()
	w.events = append(w.events, e)
	w.mu.Unlock()
	for _, told := range accountOf(e) {
		told.Worker = w.Name
		w.Fleet.Enter(told)
	}
	w.Fleet.nudge()
}

// NewFleet makes a fleet without workers. Each worker that joins runs what handler makes
// for it; the ledger watches that.
func NewFleet(tb testing.TB, on *NATS, partitions []parti.Partition, handler func(*Worker) parti.Handler) *Fleet {
	tb.Helper()
	return &Fleet{
		Ledger: NewLedger(tb), NATS: on, Source: source.Static(partitions...),
		Group: "partitest", tb: tb, partitions: partitions, handler: handler,
	}
}

// Numbered makes n partitions, p-0000 and so on.
func Numbered(n int) []parti.Partition {
	all := make([]parti.Partition, n)
	for i := range all {
		all[i].ID = fmt.Sprintf("p-%04d", i)
	}
	return all
}

// Join starts a worker. It need not be ready when Join returns. A name that has left or
// crashed may join again, as its successor.
func (f *Fleet) Join(name string) *Worker {
	f.tb.Helper()
	return f.join(name, f.NATS.Connect(f.connected(name)...))
}

// JoinAt is Join over a connection to a node of choice, as [Node.Connect] makes one.
func (f *Fleet) JoinAt(node *Node, name string) *Worker {
	f.tb.Helper()
	return f.join(name, node.Connect(f.connected(name)...))
}

// connected are the options of a worker's connection. The ledger is told when it breaks, and
// takes the worker for isolated then, although no fault of this package did it: a machine
// that is too busy may well miss two pings.
func (f *Fleet) connected(name string) []nats.Option {
	enter := func(what What, format string, args ...any) {
		f.Enter(Entry{What: Told, Worker: name, Text: fmt.Sprintf(format, args...)})
		if what != 0 {
			f.Enter(Entry{What: what, Worker: name})
		}
	}
	apart := false // that it was entered; the handlers are called one at a time
	return []nats.Option{
		nats.Name(name),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			what := What(0)
			if link, ok := links.Load(nc); ok && !apart && err != nil && !link.(*Link).cutOff() {
				apart, what = true, Isolated
			}
			enter(what, "its connection is gone: %v", err)
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			what := What(0)
			if apart {
				apart, what = false, Back
			}
			enter(what, "it is connected again")
		}),
	}
}

func (f *Fleet) join(name string, nc *nats.Conn) *Worker {
	f.tb.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		f.tb.Fatalf("%s: %v", name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	store, err := natskv.Open(ctx, js, f.Group, natskv.WithLogger(silent))
	if err != nil {
		f.tb.Fatalf("%s: %v", name, err)
	}
	f.tb.Cleanup(store.Close)
	w := &Worker{
		Name: name, Conn: nc, Fleet: f,
		probes: CountMessages(f.tb, nc, Subject("$PARTI.*.probe.>"), Going(ToClient)),
	}
	cfg := f.Config
	cfg.Identity = name
	opts := append([]parti.Option{parti.WithLogger(silent)}, f.Options...)
	opts = append(opts, parti.WithObserver(w.observe))
	if w.Manager, err = parti.NewManager(store, f.Source, f.Watch(name, f.handler(w)), cfg, opts...); err != nil {
		f.tb.Fatalf("%s: %v", name, err)
	}
	f.workersMu.Lock()
	f.workers = append(f.workers, w)
	f.workersMu.Unlock()
	f.tb.Cleanup(func() { f.stopping.Do(f.stop) }) // of the last one, before any connection is closed
	inside, _ := hatch.Open(w.Manager)
	f.follow(w.Manager, func(what What) {
		if what == Crashed {
			w.depart()
		}
		f.Enter(Entry{What: what, Worker: name})
	})
	if err := inside.Begin(context.Background()); err != nil {
		f.tb.Fatalf("%s: %v", name, err)
	}
	return w
}

// stop stops whoever is left.
func (f *Fleet) stop() {
	f.Over()
	f.workersMu.Lock()
	left := slices.DeleteFunc(slices.Clone(f.workers), func(w *Worker) bool { return w.gone })
	f.workersMu.Unlock()
	var all sync.WaitGroup
	for _, w := range left {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := w.Stop(ctx); err != nil && !f.tb.Failed() {
				f.tb.Errorf("%s did not stop cleanly: %v", w.Name, err)
			}
		})
	}
	all.Wait()
}

// Stop is that of its Manager. The fleet counts on it no more from then on, also when it
// fails.
func (w *Worker) Stop(ctx context.Context) error {
	w.depart()
	return w.Manager.Stop(ctx)
}

// Leave stops a worker cleanly, or the test fails.
func (w *Worker) Leave() {
	w.Fleet.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		w.Fleet.tb.Errorf("%s did not stop cleanly: %v", w.Name, err)
	}
}

// Crash is [CrashWorker].
func (w *Worker) Crash() {
	w.Fleet.tb.Helper()
	CrashWorker(w.Fleet.tb, w.Manager)
}

func (w *Worker) depart() {
	w.Fleet.workersMu.Lock()
	defer w.Fleet.workersMu.Unlock()
	w.gone = true
}

// Settled waits until every partition runs on one worker, all workers that have neither
// left nor crashed have the same number of them, or one more, and all of these were
// probed: a worker that crashes before the leader has heard from it is found lost by its
// silence only, which takes longer.
func (f *Fleet) Settled(most time.Duration) {
	f.tb.Helper()
	late := time.After(most)
	again := time.NewTicker(10 * time.Millisecond) // nobody tells of a probe
	defer again.Stop()
	for !f.settled() {
		select {
		case <-again.C:
		case <-late:
			f.tb.Fatalf("the partitions do not run evenly after %v: %v own %v\n%s", most, f.names(), f.Shares(), f.tail("", 40))
		}
	}
}

func (f *Fleet) settled() bool {
	f.workersMu.Lock()
	workers := slices.DeleteFunc(slices.Clone(f.workers), func(w *Worker) bool { return w.gone })
	f.workersMu.Unlock()
	shares, sum := f.Shares(), 0
	for _, w := range workers {
		n := shares[w.Name]
		sum += n
		least, most := len(f.partitions)/len(workers), (len(f.partitions)+len(workers)-1)/len(workers)
		if n < least || n > most || len(workers) > 1 && w.probes.Count() < 2*len(workers) {
			return false
		}
	}
	return sum == len(f.partitions) && f.once()
}

// names are those of the workers that are there.
func (f *Fleet) names() (all []string) {
	f.workersMu.Lock()
	defer f.workersMu.Unlock()
	for _, w := range f.workers {
		if !w.gone {
			all = append(all, w.Name)
		}
	}
	return all
}

// once reports whether every partition runs exactly once.
func (f *Fleet) once() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.ContainsFunc(f.partitions, func(p parti.Partition) bool { return f.now.running(p.ID) != 1 })
}

// Leader is the worker that leads, or nil.
func (f *Fleet) Leader() *Worker {
	f.workersMu.Lock()
	defer f.workersMu.Unlock()
	for _, w := range f.workers {
		if !w.gone && w.IsLeader() {
			return w
		}
	}
	return nil
}
