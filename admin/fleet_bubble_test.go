package admin_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/source"
)

// A fleet is a group over a store in memory, in fake time.
type fleet struct {
	t      *testing.T
	server *memkv.Server
	group  *admin.Group
	client *memkv.Client // the group's
	source parti.PartitionSource
	all    []*parti.Manager

	clients map[*parti.Manager]*memkv.Client

	mu    sync.Mutex
	stuck map[string]chan struct{} // handlers of these partitions ignore everything until it is closed
}

// inBubble runs f with a fleet of so many workers w0, w1, … and so many partitions p-000,
// p-001, … that has settled.
func inBubble(t *testing.T, workers, partitions int, f func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		parts := make([]parti.Partition, partitions)
		for i := range parts {
			parts[i].ID = fmt.Sprintf("p-%03d", i)
		}
		x := &fleet{t: t, server: memkv.New(), source: source.Static(parts...), stuck: map[string]chan struct{}{}, clients: map[*parti.Manager]*memkv.Client{}}
		defer x.server.Close()
		x.client = x.server.Client("admin")
		defer x.client.Close()
		x.group = admin.Open(x.client, admin.WithWho("ada"))
		defer x.stop()
		for i := range workers {
			x.join(fmt.Sprint("w", i), parti.Config{})
		}
		if workers > 0 {
			x.settled()
		}
		f(t, x)
	})
}

func (x *fleet) join(name string, cfg parti.Config, opts ...parti.Option) *parti.Manager {
	x.t.Helper()
	cfg.Identity = name
	cfg.WorkerIDPrefix, cfg.MaxWorkers = name, 1 // so that w2 is w2-0
	client := x.server.Client(name)
	m, err := parti.NewManager(client, x.source, parti.HandlerFunc(x.handle), cfg, opts...)
	if err != nil {
		x.t.Fatal(err)
	}
	x.all = append(x.all, m)
	x.clients[m] = client
	go func() { _ = m.Start(context.Background()) }()
	for m.WorkerID() == "" {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // the leader has seen it
	return m
}

func (x *fleet) handle(ctx context.Context, l parti.Lease) error {
	<-ctx.Done()
	x.mu.Lock()
	free := x.stuck[l.Partition.ID]
	x.mu.Unlock()
	if free != nil {
		<-free
	}
	return nil
}

// stick lets the handlers of a partition ignore everything; the returned func frees them.
func (x *fleet) stick(partition string) (free func()) {
	c := make(chan struct{})
	x.mu.Lock()
	x.stuck[partition] = c
	x.mu.Unlock()
	return sync.OnceFunc(func() {
		x.mu.Lock()
		delete(x.stuck, partition)
		x.mu.Unlock()
		close(c)
	})
}

func (x *fleet) stop() {
	var wait sync.WaitGroup
	for _, m := range x.all {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_ = m.Stop(ctx)
		})
	}
	wait.Wait()
}

// settled waits until nothing is pending.
func (x *fleet) settled() admin.Snapshot {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), 5*time.Minute)
	defer cancel()
	var last admin.Snapshot
	if err := x.group.AwaitSettled(ctx, func(s admin.Snapshot) { last = s }); err != nil {
		x.t.Fatal(err)
	}
	return last
}

func (x *fleet) snapshot() admin.Snapshot {
	x.t.Helper()
	s, err := x.group.Snapshot(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}

// inNothing fills in a fleet whose store was never made.
func inNothing(t *testing.T, f *fleet) {
	t.Helper()
	f.server = memkv.New()
	f.server.Wipe()
	f.client = f.server.Client("admin")
	f.group = admin.Open(f.client)
	t.Cleanup(func() {
		f.client.Close()
		f.server.Close()
	})
}
