// Package shell_test runs whole fleets over a real nats-server, in fake time: server,
// connections and workers live in one testing/synctest bubble.
package shell_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // what goes wrong here does so on purpose
	natstest.Register()
	natstest.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// A fleet is a group on one server.
type fleet struct {
	t      *testing.T
	server *server.Server
	source parti.PartitionSource

	mu     sync.Mutex
	owners map[string]string
	tokens map[string]uint64
	starts map[string]int
	double int // starts beside another owner
}

func bubble(t *testing.T, partitions int, f func(t *testing.T, f *fleet), opts ...natstest.Options) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T) {
		all := make([]parti.Partition, partitions)
		for i := range all {
			all[i].ID = fmt.Sprintf("p-%03d", i)
		}
		f(t, &fleet{
			t: t, server: natstest.InBubble(t, opts...), source: source.Static(all...),
			owners: map[string]string{}, tokens: map[string]uint64{}, starts: map[string]int{},
		})
	})
}

// A mate is one worker over a link of its own.
type mate struct {
	*parti.Manager

	name  string
	link  *natstest.Link
	nc    *nats.Conn
	fleet *fleet

	mu   sync.Mutex
	lost int
}

// join makes a worker and begins to run it.
func (f *fleet) join(name string, cfg parti.Config) *mate {
	f.t.Helper()
	m := &mate{name: name, link: natstest.NewLink(f.server), fleet: f}
	m.nc = m.link.Connect(f.t, natskv.ConnectOptions()...)
	js, err := jetstream.New(m.nc)
	if err != nil {
		f.t.Fatal(err)
	}
	store, err := natskv.Open(f.t.Context(), js, "orders", natskv.WithMemory())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(store.Close)
	cfg.Identity = name
	m.Manager, err = parti.NewManager(store, f.source, parti.HandlerFunc(m.run), cfg, parti.WithObserver(func(e parti.Event) {
		if _, lost := e.(event.SessionLost); lost {
			m.mu.Lock()
			m.lost++
			m.mu.Unlock()
		}
	}))
	if err != nil {
		f.t.Fatal(err)
	}
	var ended sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	ended.Go(func() { _ = m.Run(ctx) })
	f.t.Cleanup(func() {
		cancel()
		ended.Wait()
	})
	return m
}

func (m *mate) run(ctx context.Context, l parti.Lease) error {
	f, id := m.fleet, l.Partition.ID
	f.mu.Lock()
	if f.owners[id] != "" {
		f.double++
	}
	if l.Token < f.tokens[id] {
		f.t.Errorf("%s runs %s with token %d after %d", m.name, id, l.Token, f.tokens[id])
	}
	f.owners[id], f.tokens[id] = m.name, l.Token
	f.starts[id]++
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	if f.owners[id] == m.name {
		delete(f.owners, id)
	}
	f.mu.Unlock()
	return nil
}

func (m *mate) leave() {
	m.fleet.t.Helper()
	if err := m.Stop(context.Background()); err != nil {
		m.fleet.t.Errorf("%s did not stop cleanly: %v", m.name, err)
	}
}

// even waits until n partitions run, evenly on these workers.
func (f *fleet) even(most time.Duration, n int, on ...*mate) {
	f.t.Helper()
	begun := time.Now()
	for {
		synctest.Wait()
		f.mu.Lock()
		counts := map[string]int{}
		for _, owner := range f.owners {
			counts[owner]++
		}
		ok := len(f.owners) == n && len(counts) == len(on)
		f.mu.Unlock()
		for _, m := range on {
			ok = ok && counts[m.name] >= n/len(on) && counts[m.name] <= (n+len(on)-1)/len(on)
		}
		if ok {
			f.t.Logf("even after %v", time.Since(begun))
			return
		}
		if time.Since(begun) > most {
			for _, m := range on {
				f.t.Log(m.name, m.Status())
			}
			f.t.Fatalf("not even after %v: %v", most, counts)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestAFleetsLife(t *testing.T) {
	bubble(t, 24, func(t *testing.T, f *fleet) {
		a := f.join("a", parti.Config{ExpectedWorkers: 3})
		b, c := f.join("b", parti.Config{}), f.join("c", parti.Config{})
		f.even(40*time.Second, 24, a, b, c)
		d := f.join("d", parti.Config{})
		f.even(20*time.Second, 24, a, b, c, d)
		time.Sleep(5 * time.Minute)
		b.leave()
		f.even(30*time.Second, 24, a, c, d)
		if f.double > 0 {
			t.Errorf("%d partitions had two owners", f.double)
		}
		// A worker is cut off and the others take over; when it is back, it takes its part.
		c.link.Cut()
		f.even(30*time.Second, 24, a, d)
		c.link.Mend()
		f.even(2*time.Minute, 24, a, c, d)
		a.leave()
		c.leave()
		d.leave()
	})
}

func TestTheServerIsAwayForTenMinutes(t *testing.T) {
	bubble(t, 12, func(t *testing.T, f *fleet) {
		a := f.join("a", parti.Config{ExpectedWorkers: 3})
		b, c := f.join("b", parti.Config{}), f.join("c", parti.Config{})
		all := []*mate{a, b, c}
		f.even(40*time.Second, 12, all...)
		for _, m := range all {
			m.link.Cut()
		}
		time.Sleep(10 * time.Minute)
		for _, m := range all {
			if s := m.State(); s != parti.StateDegraded {
				t.Errorf("%s is %v", m.name, s)
			}
			m.link.Mend()
		}
		f.even(time.Minute, 12, all...)
		time.Sleep(time.Minute)
		f.even(0, 12, all...)
		for id, n := range f.starts {
			if n != 1 {
				t.Errorf("%s was started %d times for an outage that it should not have felt", id, n)
			}
		}
		for _, m := range all {
			if m.lost > 0 {
				t.Errorf("%s lost its session", m.name)
			}
			m.leave()
		}
	})
}

func TestAWorkerUnderFenceIsCutOff(t *testing.T) {
	bubble(t, 12, func(t *testing.T, f *fleet) {
		cfg := parti.Config{Isolation: parti.Fence, ExpectedWorkers: 3}
		a, b, c := f.join("a", cfg), f.join("b", cfg), f.join("c", cfg)
		f.even(40*time.Second, 12, a, b, c)
		a.link.Cut()
		f.even(time.Minute, 12, b, c)
		a.link.Mend()
		f.even(time.Minute, 12, a, b, c)
		if f.double > 0 {
			t.Errorf("%d partitions had two owners", f.double)
		}
		a.leave()
		b.leave()
		c.leave()
	})
}

// A connection that was closed does not come back: its worker stops and says why, and
// others run what it ran.
func TestConnectionClosedForGood(t *testing.T) {
	t.Run("freeze", func(t *testing.T) { closedForGood(t, parti.Freeze) })
	t.Run("fence", func(t *testing.T) { closedForGood(t, parti.Fence) })
}

// ends waits until a worker has ended by itself.
func ends(t *testing.T, m *mate) {
	t.Helper()
	select {
	case <-m.Done():
	case <-time.After(10 * time.Second): // its last write has two
		t.Fatalf("it goes on: %v", m.Status())
	}
}

func closedForGood(t *testing.T, isolation parti.Isolation) {
	t.Helper()
	bubble(t, 12, func(t *testing.T, f *fleet) {
		a, b := f.join("a", parti.Config{Isolation: isolation}), f.join("b", parti.Config{Isolation: isolation})
		f.even(time.Minute, 12, a, b)
		a.nc.Close()
		ends(t, a)
		f.even(time.Minute, 12, b)
		if s := a.Status(); s.Live() || !s.Closed || !slices.ContainsFunc(s.Alerts, func(a parti.Alert) bool { return a.About == "connection" }) {
			t.Errorf("%v", s)
		}
		if s := b.Status(); !s.Live() || s.Closed {
			t.Errorf("%v", s)
		}
		if err := a.Stop(t.Context()); !errors.Is(err, parti.ErrConnectionClosed) {
			t.Errorf("Stop says %v", err)
		}
		b.leave()
		if f.double > 0 {
			t.Errorf("%d partitions had two owners", f.double)
		}
	})
}

// A server that takes smaller batches than ours gets more of them.
func TestServerWithASmallBatchLimit(t *testing.T) {
	bubble(t, 24, func(_ *testing.T, f *fleet) {
		var mates []*mate
		for i := range 8 {
			mates = append(mates, f.join(fmt.Sprint("w", i), parti.Config{ExpectedWorkers: 8}))
		}
		f.even(time.Minute, 24, mates...)
	}, func(o *server.Options) { o.JetStreamLimits.MaxBatchSize = 10 })
}
