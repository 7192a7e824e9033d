package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
)

// silent is for what the demo tells of itself.
var silent = slog.New(slog.DiscardHandler)

// restartGrace is how long the partitions of a worker that stopped cleanly wait for
// its successor: a rolling restart then moves nothing.
const restartGrace = 20 * time.Second

// config is what the demo's workers run with. The windows are shorter than the
// defaults, so that a spectator need not wait; how a loss is noticed is left as it is.
func config(identity string, workers int) parti.Config {
	return parti.Config{
		Identity:        identity,
		ExpectedWorkers: workers,
		SettleTime:      300 * time.Millisecond,
		ScaleWindow:     2 * time.Second,
		Cooldown:        time.Second,
		RestartGrace:    restartGrace,
		DrainTimeout:    5 * time.Second,
	}
}

type partition = parti.Partition

// A fleet is the demo's workers, all in this process, each with a connection of its own.
type fleet struct {
	url        string
	group      string
	traffic    traffic
	partitions []partition
	expected   int
	book       *ledger
	feed       *feed
	lose       atomic.Bool

	mu    sync.Mutex
	lives []*worker // every life there was, in order of start
	names int
	reap  sync.WaitGroup
}

// A worker is one life of one worker.
type worker struct {
	life     int
	identity string
	mgr      *parti.Manager
	link     *link
	nc       *nats.Conn
	js       jetstream.JetStream
	store    *natskv.Store

	id   atomic.Pointer[string] // the last worker ID it had
	end  atomic.Uint32          // fate
	up   chan struct{}          // closed when Start has returned
	fail error                  // what Start returned; valid then
}

// fate is what became of a worker.
type fate uint32

const (
	alive fate = iota
	stopping
	stopped
	killed
)

func (w *worker) fate() fate { return fate(w.end.Load()) }

// workerID is the worker ID it has, or had last.
func (w *worker) workerID() string {
	if w.fate() != killed { // the dead say nothing
		if id := w.mgr.WorkerID(); id != "" {
			w.id.Store(&id)
		}
	}
	if id := w.id.Load(); id != nil {
		return *id
	}
	return ""
}

func (w *worker) name() string { return cmp.Or(w.workerID(), w.identity) }

// newName is an identity that nobody had before.
func (f *fleet) newName() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names++
	return fmt.Sprintf("host-%d", f.names)
}

// start begins a worker's life. It returns once the worker is under way, not when
// it is ready.
func (f *fleet) start(ctx context.Context, identity string) (*worker, error) {
	w := &worker{identity: identity, link: &link{}, up: make(chan struct{})}
	var err error
	if w.nc, err = nats.Connect(f.url, append(natskv.ConnectOptions(), nats.SetCustomDialer(w.link), nats.Name("parti demo, "+identity))...); err != nil {
		return nil, fmt.Errorf("%s: connect: %w", identity, err)
	}
	if w.js, err = jetstream.New(w.nc); err != nil {
		w.nc.Close()
		return nil, fmt.Errorf("%s: %w", identity, err)
	}
	opening, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	if w.store, err = natskv.Open(opening, w.js, f.group, natskv.WithLogger(silent)); err != nil {
		w.nc.Close()
		return nil, fmt.Errorf("%s: open the store: %w", identity, err)
	}

	f.mu.Lock()
	w.life = len(f.lives) + 1
	handler := &puller{
		traffic: f.traffic, js: w.js, book: f.book, lose: &f.lose,
		self: func() owner { return owner{w.life, w.workerID()} },
	}
	w.mgr, err = parti.NewManager(w.store, source.Static(f.partitions...), handler, config(identity, f.expected),
		parti.WithLogger(silent), parti.WithObserver(func(e parti.Event) { f.feed.take(w, e) }))
	if err == nil {
		f.lives = append(f.lives, w)
	}
	f.mu.Unlock()
	if err != nil {
		w.close()
		return nil, err
	}
	f.reap.Go(func() {
		defer close(w.up)
		if err := w.mgr.Start(ctx); err != nil && w.fate() == alive {
			w.fail = err
			f.feed.bell.ring()
		}
	})
	return w, nil
}

func (w *worker) close() {
	w.store.Close()
	w.nc.Close()
}

// kill ends a worker as SIGKILL does: its handlers are gone in the middle of
// whatever they did, its sockets are closed, it says nothing and releases nothing.
func (f *fleet) kill(ctx context.Context, w *worker) {
	w.workerID() // it is remembered
	why := byCrash
	if w.mgr.IsLeader() {
		why = byLeaderCrash
	}
	w.end.Store(uint32(killed))
	f.book.Kill(w.life, why)
	w.link.Cut()
	// What is left of it in this process can neither reach the server nor have an
	// effect; it is cleared away.
	f.reap.Go(func() {
		done, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel()
		_ = w.mgr.Stop(done) // it cannot be clean
		<-w.up
		w.close()
	})
	f.feed.bell.ring()
}

// stop ends a worker cleanly: it drains, says its last words and gives its ID back.
func (f *fleet) stop(ctx context.Context, w *worker) error {
	w.workerID()
	w.end.Store(uint32(stopping))
	err := w.mgr.Stop(ctx)
	<-w.up
	w.close()
	w.end.Store(uint32(stopped))
	f.feed.bell.ring()
	if err != nil {
		return fmt.Errorf("%s did not stop cleanly: %w", w.name(), err)
	}
	return nil
}

// stopAll ends whoever is left, all at once, and waits until nothing of any worker
// runs any more.
func (f *fleet) stopAll(ctx context.Context) error {
	var wg sync.WaitGroup
	alive := f.alive()
	errs := make([]error, len(alive))
	for i, w := range alive {
		wg.Go(func() { errs[i] = f.stop(ctx, w) })
	}
	wg.Wait()
	f.reap.Wait()
	return errors.Join(errs...)
}

// all are the lives so far, in order of start.
func (f *fleet) all() []*worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lives)
}

func (f *fleet) alive() []*worker {
	return slices.DeleteFunc(f.all(), func(w *worker) bool { return w.fate() != alive })
}

// leader is who leads among the living, or nil.
func (f *fleet) leader() *worker {
	for _, w := range f.alive() {
		if w.mgr.IsLeader() {
			return w
		}
	}
	return nil
}
