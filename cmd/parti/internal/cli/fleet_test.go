package cli

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
)

// serve starts a server with JetStream, and stops it at the end of the test.
func serve(tb testing.TB, o server.Options) *server.Server {
	tb.Helper()
	o.Host, o.Port, o.JetStream, o.StoreDir, o.NoSigs, o.NoLog = "127.0.0.1", -1, true, tb.TempDir(), true, true
	srv, err := server.NewServer(&o)
	if err != nil {
		tb.Fatal(err)
	}
	srv.Start()
	tb.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(testTime) {
		tb.Fatal("the server does not come up")
	}
	return srv
}

// quick is a worker's configuration for tests: windows are short, so that nobody
// waits for them.
func quick(identity string) parti.Config {
	return parti.Config{
		Identity: identity, Software: "v1.0.0", ExpectedWorkers: 1,
		SettleTime: 50 * time.Millisecond, ScaleWindow: 200 * time.Millisecond, Cooldown: 50 * time.Millisecond,
		DrainTimeout: 2 * time.Second, ReconcileInterval: time.Second,
	}
}

// A troop is workers of one group, in this process.
type troop struct {
	url   string
	group string
	parts []parti.Partition
	hold  chan struct{} // while it is open, handlers do not let go

	mu      sync.Mutex
	workers map[string]*soldier // by worker ID
	fallen  []*soldier          // whose connection has ended, as that of a process that did
}

type soldier struct {
	mgr   *parti.Manager
	store *natskv.Store
	nc    *nats.Conn
	js    jetstream.JetStream
}

func newTroop(tb testing.TB, url, group string, partitions int) *troop {
	tb.Helper()
	f := &troop{url: url, group: group, workers: map[string]*soldier{}, hold: make(chan struct{})}
	close(f.hold)
	for i := range partitions {
		f.parts = append(f.parts, parti.Partition{ID: fmt.Sprintf("p-%03d", i)})
	}
	tb.Cleanup(func() { f.stopAll(tb) })
	return f
}

// grip makes handlers that are started from now on hold on to their partitions until
// the test lets go.
func (f *troop) grip() (letGo func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hold := make(chan struct{})
	f.hold = hold
	return sync.OnceFunc(func() { close(hold) })
}

// start starts a worker and returns its ID once it has its first slice.
func (f *troop) start(ctx context.Context, identity string) (string, error) {
	nc, err := nats.Connect(f.url, natskv.ConnectOptions()...)
	if err != nil {
		return "", err
	}
	w := &soldier{nc: nc}
	if w.js, err = jetstream.New(nc); err != nil {
		return "", err
	}
	if w.store, err = natskv.Open(ctx, w.js, f.group); err != nil {
		nc.Close()
		return "", err
	}
	f.mu.Lock()
	hold := f.hold
	cfg := quick(identity)
	cfg.MaxWorkers = len(f.workers) + 1 // so that there is one free ID, and which is known
	f.mu.Unlock()
	run := parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		<-ctx.Done()
		<-hold
		return nil
	})
	exit := parti.WithExit(func(string) { f.fall(w) })
	if w.mgr, err = parti.NewManager(w.store, source.Static(f.parts...), run, cfg, exit); err == nil {
		err = w.mgr.Start(ctx)
	}
	if err != nil {
		w.close()
		return "", err
	}
	id := w.mgr.WorkerID()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.workers[id] = w
	return id, nil
}

func (w *soldier) close() {
	w.store.Close()
	w.nc.Close()
}

// fall is what the others see when the process of a worker ends: its connection does.
// What ran in it is cleared away at the end of the test.
func (f *troop) fall(w *soldier) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, x := range f.workers {
		if x == w {
			delete(f.workers, id)
			f.fallen = append(f.fallen, w)
		}
	}
	w.nc.Close()
}

// crash has a partition's owner fall, and waits until it is somewhere else, or nowhere.
func (f *troop) crash(ctx context.Context, partition string) error {
	var owner string
	return f.operator(ctx, func(g *admin.Group) error {
		return g.Watch(ctx, func(now admin.Snapshot, err error) bool {
			x, missing := now.Partition(partition)
			if err != nil || missing != nil {
				return true
			}
			if owner != "" || x.State != admin.Owned {
				return x.State == admin.Moving || x.Owner == owner
			}
			f.mu.Lock()
			w := f.workers[x.Owner]
			f.mu.Unlock()
			if w != nil {
				owner = x.Owner
				f.fall(w)
			}
			return true
		})
	})
}

// rest waits until the group is at rest.
func (f *troop) rest(ctx context.Context) error {
	return f.operator(ctx, func(g *admin.Group) error { return g.AwaitSettled(ctx, nil) })
}

// operator calls do with a way to the group that is no worker's.
func (f *troop) operator(ctx context.Context, do func(*admin.Group) error) error {
	nc, err := nats.Connect(f.url, nats.Timeout(testTime))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	store, err := natskv.Open(ctx, js, f.group, natskv.WithoutCreate())
	if err != nil {
		return err
	}
	defer store.Close()
	return do(admin.Open(store))
}

// stop stops a worker cleanly.
func (f *troop) stop(ctx context.Context, id string) error {
	f.mu.Lock()
	w := f.workers[id]
	delete(f.workers, id)
	f.mu.Unlock()
	if w == nil {
		return fmt.Errorf("no worker %s", id)
	}
	defer w.close()
	return w.mgr.Stop(ctx)
}

func (f *troop) stopAll(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	f.mu.Lock()
	ids := make([]string, 0, len(f.workers))
	for id := range f.workers {
		ids = append(ids, id)
	}
	fallen := f.fallen
	f.mu.Unlock()
	var wg sync.WaitGroup
	for _, w := range fallen {
		wg.Go(func() {
			_ = w.mgr.Stop(ctx) // its connection is closed: it can but end its handlers
			w.close()
		})
	}
	for _, id := range ids {
		wg.Go(func() {
			if err := f.stop(ctx, id); err != nil {
				tb.Errorf("%s: %v", id, err)
			}
		})
	}
	wg.Wait()
}
