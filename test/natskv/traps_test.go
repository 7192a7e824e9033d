package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/test/natstest"
)

// servers start what a trap may be on: several are on one node only, or on three.
var servers = map[string]func(t *testing.T) *nats.Conn{
	"one":   func(t *testing.T) *nats.Conn { t.Helper(); return connect(t, 1) },
	"three": func(t *testing.T) *nats.Conn { t.Helper(); return connect(t, 3) },
}

// connect connects to a new server, or to a cluster.
func connect(tb testing.TB, nodes int) *nats.Conn {
	tb.Helper()
	if nodes == 1 {
		return natstest.Connect(tb, natstest.Start(tb), natskv.ConnectOptions()...)
	}
	return natstest.StartCluster(tb, nodes).Connect(tb, 0, natskv.ConnectOptions()...)
}

// The incarnation is in the sequence, so it must be there after a restart, also of an
// empty stream that was only ever purged.
func TestSequenceSurvivesARestart(t *testing.T) {
	check := func(t *testing.T, s *natskv.Store, incarnation uint32, above kv.Rev) {
		t.Helper()
		if n, err := incarnationOf(t, s); err != nil || n != incarnation {
			t.Fatalf("incarnation %d, %v; want %d", n, err, incarnation)
		}
		rev, err := write(t, s)
		if err != nil || rev <= above {
			t.Fatalf("revision %d, %v; want one above %d", rev, err, above)
		}
	}
	renew := func(t *testing.T, s *natskv.Store) uint32 {
		t.Helper()
		now, err := incarnationOf(t, s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := write(t, s); err != nil {
			t.Fatal(err)
		}
		if _, err := anyhow(func() (uint32, error) { return s.Renew(t.Context(), now+7) }); err != nil {
			t.Fatal(err)
		}
		return now + 7
	}
	t.Run("one", func(t *testing.T) {
		dir := t.TempDir()
		in := func(o *server.Options) { o.StoreDir = dir }
		ns := natstest.Start(t, in)
		s := open(t, natstest.Connect(t, ns, natskv.ConnectOptions()...), "g")
		incarnation := renew(t, s)
		for range 2 { // empty, and with something in it
			natstest.Stop(ns)
			ns = natstest.Start(t, in)
			s = open(t, natstest.Connect(t, ns), "g")
			check(t, s, incarnation, kv.Floor(incarnation))
		}
	})
	t.Run("three", func(t *testing.T) {
		c := natstest.StartCluster(t, 3)
		s := open(t, c.Connect(t, 0, natskv.ConnectOptions()...), "g")
		incarnation := renew(t, s)
		above := kv.Floor(incarnation)
		for i := range c.Nodes {
			natstest.Stop(c.Nodes[i])
			c.Restart(t, i)
			c.Await(t)
			s := open(t, c.Connect(t, i), "g")
			check(t, s, incarnation, above)
			rev, err := anyhow(func() (kv.Rev, error) {
				_, rev, err := s.List(t.Context(), "")
				return rev, err
			})
			if err != nil {
				t.Fatal(err)
			}
			above = rev
		}
	})
}

func incarnationOf(t *testing.T, s *natskv.Store) (uint32, error) {
	t.Helper()
	return anyhow(func() (uint32, error) { return s.Incarnation(t.Context()) })
}

// write writes a key that there was not before.
func write(t *testing.T, s *natskv.Store) (kv.Rev, error) {
	t.Helper()
	return anyhow(func() (kv.Rev, error) {
		return s.Write(t.Context(), kv.Write{Key: fmt.Sprintf("k.%d", time.Now().UnixNano())})
	})
}

// Writes are on their way while the sequence jumps: on replicas the server drops them
// and keeps their keys closed. After Renew every key can be written.
func TestRenewUnderLoad(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	first := open(t, c.Connect(t, 0, natskv.ConnectOptions()...), "g")
	const writers = 12
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	stop := make(chan struct{})
	wrote := make(chan int, 1<<16)
	for i := range writers {
		s := open(t, c.Connect(t, i%3, natskv.ConnectOptions()...), "g")
		wg.Go(func() {
			var last kv.Rev
			key := fmt.Sprintf("session.%d", i)
			for {
				select {
				case <-stop:
					return
				case <-ctx.Done():
					return
				default:
				}
				rev, err := s.Write(ctx, kv.Write{Key: key, Last: last, TTL: time.Minute})
				if err == nil {
					last = rev
					select {
					case wrote <- i:
					default:
					}
					continue
				}
				if e, err := s.Get(ctx, key); err == nil || errors.Is(err, kv.ErrMissing) {
					last = e.Rev
				}
			}
		})
	}
	everybody := func() {
		t.Helper()
		seen := map[int]bool{}
		for len(wrote) > 0 {
			<-wrote
		}
		for len(seen) < writers {
			select {
			case i := <-wrote:
				seen[i] = true
			case <-time.After(patience):
				t.Fatalf("only %d of %d can write", len(seen), writers)
			}
		}
	}
	everybody()
	now, err := incarnationOf(t, first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(3) {
		began := time.Now()
		if _, err := anyhow(func() (uint32, error) { return first.Renew(ctx, now+i+1) }); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		everybody()
		t.Logf("renewed in %v, everybody wrote again after %v", took, time.Since(began))
	}
	close(stop)
}

// Should nobody ask the leader to step down after a purge, the keys heal all the same.
func TestClosedKeysHeal(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	nc := c.Connect(t, 0, natskv.ConnectOptions()...)
	s := open(t, nc, "g")
	const keys = 24
	closed := make(chan string, keys)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	now, err := incarnationOf(t, s)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var purging atomic.Bool
	began := make(chan struct{}, keys)
	for i := range keys {
		wg.Go(func() { // writes until the purge is noticed
			key := fmt.Sprintf("k.%d", i)
			var last kv.Rev
			for n := 0; ctx.Err() == nil; n++ {
				if n == 10 {
					began <- struct{}{}
				}
				rev, err := s.Write(ctx, kv.Write{Key: key, Last: last})
				switch {
				case err == nil:
					last = rev
				case !purging.Load(): // it got no answer, or the one before it did not
					<-time.After(10 * time.Millisecond)
					if e, err := s.Get(ctx, key); err == nil || errors.Is(err, kv.ErrMissing) {
						last = e.Rev
					}
				case errors.Is(err, kv.ErrStale): // this one was not on its way
					return
				default:
					closed <- key
					return
				}
			}
		})
	}
	for range keys {
		select {
		case <-began:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	purging.Store(true)
	// A purge as Renew makes it, by a process that dies before it does the rest.
	if _, err := anyhow(func() (*nats.Msg, error) {
		return nc.Request("$JS.API.STREAM.PURGE.KV_parti-g", fmt.Appendf(nil, `{"seq":%d}`, kv.Floor(now+1)+1), 5*time.Second)
	}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	close(closed)
	if len(closed) == 0 {
		t.Skip("no write was on its way this time")
	}
	t.Logf("%d of %d keys are closed", len(closed), keys)
	since := time.Now()
	for key := range closed {
		for {
			_, err := s.Write(ctx, kv.Write{Key: key})
			if err == nil || errors.Is(err, kv.ErrStale) {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("%s is still closed after %v: %v", key, time.Since(since), err)
			}
		}
	}
	t.Logf("open again after %v", time.Since(since))
}

// A connection that looks whole while the store is silent is moved to another
// server, where there is one.
func TestSilentServerIsLeft(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	s := open(t, c.Connect(t, 0, natskv.ConnectOptions()...), "g", natskv.WithRequestTimeout(300*time.Millisecond))
	before, changed := s.Connection()
	// The two others stop, so there is no quorum; this one still answers pings.
	natstest.Stop(c.Nodes[1])
	natstest.Stop(c.Nodes[2])
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i := 0; ; i++ {
		_, err := s.Write(ctx, kv.Write{Key: "a"})
		if err == nil && i > 0 {
			t.Fatal("a write without a quorum")
		}
		select {
		case <-changed:
			if c, _ := s.Connection(); c.Interrupts == before.Interrupts {
				t.Errorf("%+v after %+v", c, before)
			}
			return
		case <-ctx.Done():
			t.Fatal("the connection was not moved")
		default:
		}
	}
}

// A following whose barrier gets no answer has not begun, although all else is answered: a
// change of its first moment might be missed.
func TestFollowWithoutItsBarrier(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	way := natstest.Connect(t, ns)
	var loses atomic.Bool // what is written
	if _, err := way.Subscribe("WAY.API.>", func(m *nats.Msg) {
		subject := strings.TrimPrefix(m.Subject, "WAY.API.")
		switch {
		case !strings.HasPrefix(subject, "$KV."):
			subject = "$JS.API." + subject
		case loses.Load():
			return
		}
		_ = way.PublishMsg(&nats.Msg{Subject: subject, Reply: m.Reply, Header: m.Header, Data: m.Data})
	}); err != nil {
		t.Fatal(err)
	}
	if err := way.Flush(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.NewWithAPIPrefix(natstest.Connect(t, ns), "WAY.API")
	if err != nil {
		t.Fatal(err)
	}
	s := openOn(t, js, "g")
	loses.Store(true)
	if err := s.Follow(t.Context(), []string{""}, func() { t.Error("ready") }, nil); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	loses.Store(false)
	_, err = anyhow(func() (struct{}, error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return struct{}{}, s.Follow(ctx, []string{""}, cancel, nil)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// While the stream has no leader, one of its servers may answer for it that lags, or has
// nothing yet: that is no list.
func TestListWithoutALeader(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	way := natstest.Connect(t, ns)
	var alone atomic.Bool
	if _, err := way.Subscribe("ALONE.API.>", func(m *nats.Msg) {
		method := strings.TrimPrefix(m.Subject, "ALONE.API.")
		if alone.Load() && strings.HasPrefix(method, "STREAM.INFO.") {
			_ = m.Respond([]byte(`{"state": {"last_seq": 1}, "cluster": {"name": "c"}}`))
			return
		}
		subject := method
		if !strings.HasPrefix(method, "$KV.") {
			subject = "$JS.API." + method
		}
		_ = way.PublishMsg(&nats.Msg{Subject: subject, Reply: m.Reply, Header: m.Header, Data: m.Data})
	}); err != nil {
		t.Fatal(err)
	}
	if err := way.Flush(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.NewWithAPIPrefix(natstest.Connect(t, ns), "ALONE.API")
	if err != nil {
		t.Fatal(err)
	}
	s := openOn(t, js, "g", unhurried)
	for _, is := range []bool{false, true} {
		alone.Store(is)
		_, names := s.Names(t.Context(), "session.")
		_, _, list := s.List(t.Context(), "")
		for _, err := range []error{names, list} {
			if errors.Is(err, kv.ErrUnavailable) != is || err != nil && !is {
				t.Errorf("without a leader: %v; %v", is, err)
			}
		}
	}
	inspect(t, s).have("replicas", kv.Wrong, "has no leader")
}

// A black hole is noticed also where there is more to write than the socket takes: the client
// holds its lock while it waits for room.
func TestBlackHoleWithAFullSocket(t *testing.T) {
	t.Parallel()
	way := new(fullWay)
	s := open(t, natstest.Connect(t, natstest.Start(t), append(natskv.ConnectOptions(), nats.SetCustomDialer(way))...), "g")
	_, changed := s.Connection()
	way.full.Store(true)
	began := time.Now()
	if _, err := s.Write(t.Context(), kv.Write{Key: "a"}); !errors.Is(err, kv.ErrUnknown) {
		t.Errorf("a write into the hole: %v", err)
	}
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("not noticed")
	}
	// Whoever waited for the lock before the one who has noticed has written, too.
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("noticed after %v", took)
	}
	way.full.Store(false)
	awaitUp(t, s)
	if _, err := anyhow(func() (kv.Rev, error) { return s.Write(t.Context(), kv.Write{Key: "b"}) }); err != nil {
		t.Error(err)
	}
}

// A fullWay is the way of one client over TCP, whose socket can be full.
type fullWay struct{ full atomic.Bool }

// Dial is what nats.SetCustomDialer asks for.
func (w *fullWay) Dial(network, address string) (net.Conn, error) {
	if w.full.Load() {
		return nil, errors.New("there is no way")
	}
	c, err := net.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	hole, _ := net.Pipe()
	return &fullConn{c, w, hole}, nil
}

type fullConn struct {
	net.Conn

	way  *fullWay
	hole net.Conn // nobody reads at its other end
}

func (c *fullConn) Write(b []byte) (int, error) {
	if c.way.full.Load() {
		return c.hole.Write(b)
	}
	return c.Conn.Write(b)
}

func (c *fullConn) SetWriteDeadline(at time.Time) error {
	return errors.Join(c.hole.SetWriteDeadline(at), c.Conn.SetWriteDeadline(at))
}

func (c *fullConn) Close() error {
	return errors.Join(c.hole.Close(), c.Conn.Close())
}

// A cluster without three nodes makes a lost bucket anew with one replica, also when each
// call that asks for it has less time than a cluster gets to come together.
func TestRenewOnTwoNodes(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 2)
	nc := c.Connect(t, 0, natskv.ConnectOptions()...)
	s := open(t, nc, "g")
	now, err := incarnationOf(t, s)
	if err != nil {
		t.Fatal(err)
	}
	deleteBucket(t, jetStream(t, nc), "g")
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := s.Renew(ctx, now+1)
		cancel()
		if err == nil {
			return
		}
		if try == 60 {
			t.Fatal(err)
		}
	}
}
