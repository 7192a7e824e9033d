package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
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
		finish := time.NewTimer(time.Duration(rand.IntN(800)) * time.Millisecond) // what it has in hand
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
	eventually(t, "the cluster makes a stream of three replicas", 40*time.Second, func() bool {
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

func nodeLost(t *testing.T, isolation parti.Isolation) {
	n := startNodes(t)
	l := &ledger{running: map[string]string{}, tokens: map[string]uint64{}}
	var parts []parti.Partition
	for i := range 60 {
		parts = append(parts, parti.Partition{ID: fmt.Sprintf("p-%03d", i)})
	}
	var all []*member
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for _, m := range all {
			wg.Go(func() {
				if err := m.mgr.Stop(ctx); err != nil {
					t.Error(err)
				}
				m.store.Close()
				m.nc.Close()
			})
		}
		wg.Wait()
	}()
	whole(t, n)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	joined := make(chan *member, 4)
	enter := func(i int) {
		m, err := join(ctx, n, l, fmt.Sprintf("w%d", i), i%3, parts, isolation)
		if err != nil {
			t.Errorf("w%d: %v", i, err)
		}
		joined <- m
	}
	for i := range 4 {
		go enter(i)
	}
	for range 4 {
		if m := <-joined; m != nil {
			all = append(all, m)
		}
	}
	if t.Failed() {
		return
	}
	eventually(t, "every partition runs", 40*time.Second, func() bool { return l.covered(len(parts)) })

	go enter(4)
	eventually(t, "the joiner gets its first partition", 30*time.Second, func() bool { return l.shares()["w4"] > 0 })
	lost := leaderOf(t, all[0])
	n.kill(lost)
	if k := l.shares()["w4"]; k >= len(parts)/5 {
		t.Fatalf("the joiner had all of its %d partitions before the node was killed", k)
	}
	t.Logf("n%d killed when %d of the joiner's partitions ran", lost, l.shares()["w4"])
	if m := <-joined; m != nil {
		all = append(all, m)
	}

	eventually(t, "every partition runs, and evenly", 60*time.Second, func() bool {
		s := l.shares()
		for _, k := range s {
			if k != len(parts)/5 {
				return false
			}
		}
		return l.covered(len(parts)) && len(s) == 5
	})
	n.start(lost)
	eventually(t, "a leader", 30*time.Second, func() bool {
		for _, m := range all {
			if m.mgr.IsLeader() {
				return true
			}
		}
		return false
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.broken {
		t.Error(b)
	}
}

// leaderOf is the node that leads the stream of the group.
func leaderOf(t *testing.T, m *member) (i int) {
	t.Helper()
	js, err := jetstream.New(m.nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_parti-loss")
	if err != nil {
		t.Fatal(err)
	}
	info := s.CachedInfo()
	if len(info.Cluster.Replicas) != 2 {
		t.Fatalf("%d replicas besides the leader, want 2: the cluster was not whole when the bucket was made", len(info.Cluster.Replicas))
	}
	if _, err := fmt.Sscanf(info.Cluster.Leader, "n%d", &i); err != nil {
		t.Fatal(err)
	}
	return i
}
