// Package directory_test runs directories over a real nats-server.
package directory_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/directory"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/permissions"
	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // what goes wrong here does so on purpose
	natstest.Register()
	natstest.VerifyTestMain(m, goleak.IgnoreCurrent())
}

const (
	partitions = 16
	patience   = 2 * time.Minute
)

// site starts a server with a user "all" and one that may only observe, but for these subjects.
func site(t *testing.T, deaf ...string) *server.Server {
	t.Helper()
	set, err := permissions.For(permissions.Use{Group: "g"}, permissions.Observer)
	if err != nil {
		t.Fatal(err)
	}
	return natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "all", Password: "x"}, {
			Username: "observer", Password: "x",
			Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: set.Publish.Allow},
				Subscribe: &server.SubjectPermission{Allow: set.Subscribe.Allow, Deny: deaf},
			},
		}}
	})
}

func store(t *testing.T, ns *server.Server, user string, opts ...natskv.Option) *natskv.Store {
	t.Helper()
	js, err := jetstream.New(natstest.Connect(t, ns, append(natskv.ConnectOptions(), nats.UserInfo(user, "x"))...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := natskv.Open(t.Context(), js, "g", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// join starts a worker that says where it is.
func join(t *testing.T, ns *server.Server, addr string) *parti.Manager {
	t.Helper()
	hashed, err := source.Hashed(partitions)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parti.NewManager(store(t, ns, "all", natskv.WithMemory()), hashed, parti.HandlerFunc(func(ctx context.Context, _ parti.Lease) error {
		<-ctx.Done()
		return nil
	}), parti.Config{
		Identity: addr, Labels: map[string]string{"addr": addr}, ExpectedWorkers: 1,
		SettleTime: 100 * time.Millisecond, ScaleWindow: 300 * time.Millisecond, Cooldown: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.Stop(ctx); err != nil && !errors.Is(err, parti.ErrStopped) {
			t.Error(err)
		}
	})
	return m
}

// agree waits until the directory says of every partition that the worker which has it has
// it, where it is, and under which token.
func agree(t *testing.T, d *directory.Directory, workers ...*parti.Manager) {
	t.Helper()
	late := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := differ(d, workers)
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%v; stale for %v: %v", err, d.Staleness(), d.Err())
		}
	}
}

func differ(d *directory.Directory, workers []*parti.Manager) error {
	n := 0
	for _, m := range workers {
		for _, l := range m.CurrentAssignment().Leases {
			n++
			o, ok := d.Owner(l.Partition.ID)
			if !ok || o.Worker != m.WorkerID() || o.Token != l.Token || o.Process.Label("addr") == "" || o.Process.Label("addr") != o.Process.Identity {
				return fmt.Errorf("%s is with %s under %d, and is known as %+v, %t", l.Partition.ID, m.WorkerID(), l.Token, o, ok)
			}
		}
	}
	if n != partitions || d.Len() != n {
		return fmt.Errorf("%d run, %d are known", n, d.Len())
	}
	return nil
}

// One who may only observe knows where everything is, while workers come and go, and after
// its connection was lost.
func TestObserver(t *testing.T) {
	ns := site(t)
	a := join(t, ns, "h0")
	observer := store(t, ns, "observer", natskv.WithoutCreate(), natskv.WithoutBarrier())
	d, err := directory.Open(t.Context(), observer, directory.WithReconcileInterval(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	agree(t, d, a)
	b := join(t, ns, "h1")
	agree(t, d, a, b)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	agree(t, d, b)
	if err := observer.Conn().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	c := join(t, ns, "h2")
	agree(t, d, b, c)
	for late := time.After(patience); d.Staleness() > 10*time.Second; {
		select {
		case <-late:
			t.Fatalf("stale for %v: %v", d.Staleness(), d.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A connection that was closed for good does not heal, and it is said at once.
func TestClosedConnection(t *testing.T) {
	group := store(t, site(t), "all")
	group.Conn().Close()
	d, err := directory.Open(t.Context(), group)
	if err == nil {
		d.Close()
	}
	if !errors.Is(err, natskv.ErrConnectionClosed) {
		t.Errorf("%v", err)
	}
}

// Neither does a permission that is missing.
func TestDenied(t *testing.T) {
	ns := site(t, "$PARTI.>")
	_ = store(t, ns, "all")
	_, err := directory.Open(t.Context(), store(t, ns, "observer", natskv.WithoutCreate(), natskv.WithoutBarrier()))
	var denied *natskv.DeniedError
	if !errors.As(err, &denied) || denied.Op != "subscribe" {
		t.Errorf("%v", err)
	}
}
