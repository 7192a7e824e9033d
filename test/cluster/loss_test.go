package cluster

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
)

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	var held []net.Listener
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	for _, l := range held { // all at the end, so that no port comes twice
		_ = l.Close()
	}
	return ports
}

// ledger watches every handler of the fleet.
type ledger struct {
	mu      sync.Mutex
	running map[string]string // partition to the worker that runs it
	tokens  map[string]uint64
	starts  int
	broken  []string
}

func (l *ledger) handle(name string) parti.HandlerFunc {
	return func(ctx context.Context, le parti.Lease) error {
		id := le.Partition.ID
		l.mu.Lock()
		if by, two := l.running[id]; two {
			l.broken = append(l.broken, fmt.Sprintf("%s starts %s while %s runs it", name, id, by))
		}
		if le.Token < l.tokens[id] {
			l.broken = append(l.broken, fmt.Sprintf("%s: token %d after %d", id, le.Token, l.tokens[id]))
		}
		l.running[id], l.tokens[id] = name, le.Token
		l.starts++
		l.mu.Unlock()
		<-ctx.Done()
		finish := time.NewTimer(rand.N(2 * time.Second)) // what it has in hand
		defer finish.Stop()
		select {
		case <-finish.C:
		case <-le.Hard().Done():
		}
		l.mu.Lock()
		delete(l.running, id)
		l.mu.Unlock()
		return nil
	}
}

func (l *ledger) covered(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.running) == n
}

func (l *ledger) started() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.starts
}

// shares counts the partitions of each worker.
func (l *ledger) shares() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := map[string]int{}
	for _, by := range l.running {
		n[by]++
	}
	return n
}

type member struct {
	nc    *nats.Conn
	store *natskv.Store
	mgr   *parti.Manager
}

func join(ctx context.Context, n *nodes, l *ledger, name string, at int, parts []parti.Partition, isolation parti.Isolation) (*member, error) {
	urls := append(append([]string{}, n.urls[at:]...), n.urls[:at]...)
	opts := append(natskv.ConnectOptions(), nats.DontRandomize())
	nc, err := nats.Connect(strings.Join(urls, ","), opts...)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	store, err := natskv.Open(ctx, js, "loss")
	if err != nil {
		nc.Close()
		return nil, err
	}
	mgr, err := parti.NewManager(store, source.Static(parts...), l.handle(name), parti.Config{
		Identity: name, Isolation: isolation, SettleTime: 500 * time.Millisecond, ScaleWindow: time.Second, Cooldown: time.Second, MovesInFlight: 2,
		// No worker is lost here. Under Freeze, one that does not find another node soon would be
		// taken for lost, and has a second owner beside it for as long as it does not know.
		LostAfter: time.Minute, EmergencyGrace: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	return &member{nc, store, mgr}, mgr.Start(ctx)
}

// whole waits until the cluster makes streams of three replicas.
func whole(t *testing.T, n *nodes) {
	t.Helper()
	nc, err := nats.Connect(strings.Join(n.urls[:], ","), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster makes a stream of three replicas", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "whole", Subjects: []string{"whole"}, Replicas: 3})
		return err == nil && len(s.CachedInfo().Cluster.Replicas) == 2
	})
}

// TestNodeLostDuringARebalance kills the node that leads the coordination stream in
// the moment in which a joiner's partitions are on their way. Nothing is lost, no
// partition ever has two handlers, tokens grow, and the rebalance comes to its end.
func TestNodeLostDuringARebalance(t *testing.T) {
	for _, isolation := range []parti.Isolation{parti.Freeze, parti.Fence} {
		t.Run(isolation.String(), func(t *testing.T) { nodeLost(t, isolation) })
	}
}

// A fleet is four workers that run sixty partitions.
type fleet struct {
	t         *testing.T
	nodes     *nodes
	ledger    *ledger
	parts     []parti.Partition
	isolation parti.Isolation
	all       []*member
	joined    chan *member
}

// settle starts a fleet, and waits until every partition runs. It stops with the test.
func settle(t *testing.T, n *nodes, isolation parti.Isolation) *fleet {
	t.Helper()
	f := &fleet{t: t, nodes: n, isolation: isolation, ledger: &ledger{running: map[string]string{}, tokens: map[string]uint64{}}, joined: make(chan *member, 4)}
	for i := range 60 {
		f.parts = append(f.parts, parti.Partition{ID: fmt.Sprintf("p-%03d", i)})
	}
	t.Cleanup(f.stop)
	whole(t, n)
	for i := range 4 {
		go f.enter(i)
	}
	for range 4 {
		f.await()
	}
	if t.Failed() {
		t.FailNow()
	}
	f.even()
	return f
}

// even waits until every partition runs, and each worker has as many as the others.
func (f *fleet) even() {
	f.t.Helper()
	eventually(f.t, "every partition runs, and evenly", func() bool {
		s := f.ledger.shares()
		for _, k := range s {
			if k != len(f.parts)/len(f.all) {
				return false
			}
		}
		return f.ledger.covered(len(f.parts)) && len(s) == len(f.all)
	})
}

// enter lets a worker join, at the node after the one before it; await takes it in.
func (f *fleet) enter(i int) {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	m, err := join(ctx, f.nodes, f.ledger, fmt.Sprintf("w%d", i), i%3, f.parts, f.isolation)
	if err != nil {
		f.t.Errorf("w%d: %v", i, err)
	}
	f.joined <- m
}

func (f *fleet) await() {
	if m := <-f.joined; m != nil {
		f.all = append(f.all, m)
	}
}

func (f *fleet) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for _, m := range f.all {
		wg.Go(func() {
			if err := m.mgr.Stop(ctx); err != nil {
				f.t.Error(err)
			}
			m.store.Close()
			m.nc.Close()
		})
	}
	wg.Wait()
}

// honest checks that no partition ever had two handlers, and that tokens grew.
func (f *fleet) honest() {
	f.t.Helper()
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	for _, b := range f.ledger.broken {
		f.t.Error(b)
	}
}

func nodeLost(t *testing.T, isolation parti.Isolation) {
	n := startNodes(t, "")
	f := settle(t, n, isolation)
	l, parts := f.ledger, f.parts

	lost := leaderOf(t, f.all[0])
	go f.enter(4)
	eventually(t, "the joiner gets its first partition", func() bool { return l.shares()["w4"] > 0 })
	n.kill(lost)
	if k := l.shares()["w4"]; k >= len(parts)/5 {
		t.Fatalf("the joiner had all of its %d partitions before the node was killed", k)
	}
	t.Logf("n%d killed when %d of the joiner's partitions ran", lost, l.shares()["w4"])
	f.await()

	f.even()
	n.start(lost)
	eventually(t, "a leader", func() bool {
		for _, m := range f.all {
			if m.mgr.IsLeader() {
				return true
			}
		}
		return false
	})
	f.honest()
}

// TestNodesUpgraded replaces the servers of an earlier version one by one, as an upgrade of
// NATS does: for a while the cluster has two versions. Nothing moves, and under Freeze no
// handler is started anew.
func TestNodesUpgraded(t *testing.T) {
	earlier := os.Getenv("PARTI_EARLIER_NATS_SERVER")
	if earlier == "" {
		t.Skip("PARTI_EARLIER_NATS_SERVER names no server: make upgrade")
	}
	for _, isolation := range []parti.Isolation{parti.Freeze, parti.Fence} {
		t.Run(isolation.String(), func(t *testing.T) {
			n := startNodes(t, earlier)
			f := settle(t, n, isolation)
			versions := map[string]bool{f.all[0].nc.ConnectedServerVersion(): true}
			before, starts := f.ledger.shares(), f.ledger.started()
			for i := range n.cmd {
				n.stop(i)
				n.start(i)
				whole(t, n)
				eventually(t, "every partition runs", func() bool { return f.ledger.covered(len(f.parts)) })
			}
			for _, m := range f.all {
				eventually(t, "everybody is connected", m.nc.IsConnected)
				versions[m.nc.ConnectedServerVersion()] = true
			}
			if len(versions) != 2 {
				t.Errorf("these versions were there: %v", versions)
			}
			if after := f.ledger.shares(); !maps.Equal(before, after) {
				t.Errorf("%v became %v", before, after)
			}
			if n := f.ledger.started() - starts; n != 0 && isolation == parti.Freeze {
				t.Errorf("%d handlers were started anew", n)
			}
			f.honest()
		})
	}
}

// leaderOf is the node that leads the stream of the group.
func leaderOf(t *testing.T, m *member) (i int) {
	t.Helper()
	js, err := jetstream.New(m.nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a node leads the stream of the group", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "KV_parti-loss")
		if err != nil || s.CachedInfo().Cluster.Leader == "" {
			return false
		}
		c := s.CachedInfo().Cluster
		if len(c.Replicas) != 2 {
			t.Fatalf("%d replicas besides the leader, want 2: the cluster was not whole when the bucket was made", len(c.Replicas))
		}
		if _, err := fmt.Sscanf(c.Leader, "n%d", &i); err != nil {
			t.Fatal(err)
		}
		return true
	})
	return i
}
