// Package natskv_test holds natskv to its contract over real servers.
package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/kv/kvtest"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	natstest.Register()
	natstest.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// groups gives each test a group of its own on a shared server.
var groups atomic.Int64

func newGroup() string { return fmt.Sprintf("g%d", groups.Add(1)) }

// wire is the way of one client over TCP. It can be cut.
type wire struct {
	mu   sync.Mutex
	cut  bool
	live []net.Conn
}

// Dial is what nats.SetCustomDialer asks for.
func (w *wire) Dial(network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return nil, fmt.Errorf("the wire is cut")
	}
	c, err := net.DialTimeout(network, address, time.Second)
	if err == nil {
		w.live = append(w.live, c)
	}
	return c, err
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, c := range w.live {
			_ = c.Close()
		}
		w.live = nil
	}
}

// open opens the group's store over a connection, until the test ends.
func open(tb testing.TB, nc *nats.Conn, group string, opts ...natskv.Option) *natskv.Store {
	tb.Helper()
	return openOn(tb, jetStream(tb, nc), group, opts...)
}

func openOn(tb testing.TB, js jetstream.JetStream, group string, opts ...natskv.Option) *natskv.Store {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	s, err := natskv.Open(ctx, js, group, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// patience is how long anything may take on a busy machine; it measures nothing.
const patience = 2 * time.Minute

// jetStream is what a program has, which asks once.
func jetStream(tb testing.TB, nc *nats.Conn) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

// A dialer makes a connection to some JetStream.
type dialer func(t *testing.T, opts ...nats.Option) jetstream.JetStream

// fixture makes stores of a new group, each over a connection of its own.
func fixture(t *testing.T, dial dialer, opts ...natskv.Option) kvtest.Fixture {
	t.Helper()
	group := newGroup()
	var mu sync.Mutex
	wires := map[kv.Store]*wire{}
	of := func(s kv.Store) *wire {
		mu.Lock()
		defer mu.Unlock()
		return wires[s]
	}
	return kvtest.Fixture{
		Open: func(t *testing.T) kv.Store {
			w := new(wire)
			js := dial(t, append(natskv.ConnectOptions(), nats.SetCustomDialer(w))...)
			// The machine may be busy, and this is no measurement.
			s := openOn(t, js, group, append([]natskv.Option{natskv.WithRequestTimeout(5 * time.Second)}, opts...)...)
			mu.Lock()
			defer mu.Unlock()
			wires[s] = w
			return s
		},
		Cut:  func(s kv.Store) { of(s).set(true) },
		Mend: func(s kv.Store) { of(s).set(false) },
		Lose: func(t *testing.T) { deleteBucket(t, dial(t), group) },
	}
}

func deleteBucket(tb testing.TB, js jetstream.JetStream, group string) {
	tb.Helper()
	asked := false
	if _, err := anyhow(func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Second)
		defer cancel()
		err := js.DeleteStream(ctx, "KV_parti-"+group)
		if asked && errors.Is(err, jetstream.ErrStreamNotFound) { // it was done, and the answer was lost
			err = nil
		}
		asked = true
		return struct{}{}, err
	}); err != nil {
		tb.Fatal(err)
	}
}

// anyhow does again what got no answer, as while a cluster elects a leader.
func anyhow[T any](do func() (T, error)) (T, error) {
	for end := time.Now().Add(patience); ; {
		v, err := do()
		if !natstest.Passing(err) && !errors.Is(err, kv.ErrUnavailable) && !errors.Is(err, kv.ErrUnknown) || time.Now().After(end) {
			return v, err
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestConformanceFile(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	conformOnOne(t, ns)
}

func TestConformanceMemory(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	conformOnOne(t, ns, natskv.WithMemory())
}

func conformOnOne(t *testing.T, ns *server.Server, opts ...natskv.Option) {
	t.Helper()
	kvtest.Run(t, kvtest.Suite{Open: func(t *testing.T) kvtest.Fixture {
		return fixture(t, func(t *testing.T, opts ...nats.Option) jetstream.JetStream {
			return jetStream(t, natstest.Connect(t, ns, opts...))
		}, opts...)
	}})
}

// The bucket is in another domain than the worker's own server: beyond a leaf node.
func TestConformanceDomain(t *testing.T) {
	t.Parallel()
	hub := natstest.Start(t, func(o *server.Options) {
		o.ServerName, o.JetStreamDomain = "hub", "hub"
		o.LeafNode.Host, o.LeafNode.Port = "127.0.0.1", server.RANDOM_PORT
	})
	v, err := hub.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf := natstest.Start(t, func(o *server.Options) {
		o.ServerName, o.JetStreamDomain = "leaf", "leaf"
		there := &url.URL{Scheme: "nats-leaf", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(v.LeafNode.Port))}
		o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{there}}}
	})
	dial := func(t *testing.T, opts ...nats.Option) jetstream.JetStream {
		js, err := jetstream.NewWithDomain(natstest.Connect(t, leaf, opts...), "hub")
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	// The leaf may take a moment to reach the hub: until then there is no JetStream.
	js := dial(t)
	if _, err := anyhow(func() (jetstream.Stream, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return js.Stream(ctx, "none")
	}); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatal(err)
	}
	kvtest.Run(t, kvtest.Suite{Open: func(t *testing.T) kvtest.Fixture { return fixture(t, dial) }})
}

func TestConformanceCluster(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	kvtest.Run(t, kvtest.Suite{Open: func(t *testing.T) kvtest.Fixture {
		var next atomic.Int64
		return fixture(t, func(t *testing.T, opts ...nats.Option) jetstream.JetStream {
			return jetStream(t, c.Connect(t, int(next.Add(1))%3, opts...))
		}, unhurried) // an election takes up to nine seconds
	}})
}

func TestConformanceInBubble(t *testing.T) {
	kvtest.Run(t, kvtest.Suite{
		Bubble: natstest.Bubble,
		Open: func(t *testing.T) kvtest.Fixture {
			dir := t.TempDir()
			start := func() *server.Server {
				return natstest.InBubble(t, func(o *server.Options) { o.StoreDir = dir })
			}
			ns := start()
			links := map[kv.Store]*natstest.Link{}
			restart := func(meanwhile func()) {
				natstest.Stop(ns)
				meanwhile()
				ns = start()
				for s, l := range links {
					l.Lead(ns)
					awaitUp(t, s)
				}
			}
			return kvtest.Fixture{
				Open: func(t *testing.T) kv.Store {
					l := natstest.NewLink(ns)
					s := open(t, l.Connect(t, natskv.ConnectOptions()...), "g")
					links[s] = l
					return s
				},
				Cut:  func(s kv.Store) { links[s].Cut() },
				Mend: func(s kv.Store) { links[s].Mend() },
				Lose: func(t *testing.T) { deleteBucket(t, jetStream(t, natstest.NewLink(ns).Connect(t)), "g") },
				Remember: func(t *testing.T) func() {
					kept := filepath.Join(t.TempDir(), "kept")
					restart(func() { copyDir(t, kept, dir) })
					return func() {
						restart(func() {
							if err := os.RemoveAll(dir); err != nil {
								t.Fatal(err)
							}
							copyDir(t, dir, kept)
						})
					}
				},
			}
		},
	})
}

// awaitUp waits until the store is connected again.
func awaitUp(tb testing.TB, s kv.Store) {
	tb.Helper()
	for {
		c, changed := s.Connection()
		if c.Up {
			return
		}
		select {
		case <-changed:
		case <-time.After(patience):
			tb.Fatal("not connected")
		}
	}
}

func copyDir(tb testing.TB, to, from string) {
	tb.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		tb.Fatal(err)
	}
}
