package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

// stores are the kinds of stores that a fleet is measured on.
var stores = []string{"memory", "file", "cluster"}

// natsServers are one server, or three, on the loopback interface, with its data in a
// temporary folder.
type natsServers struct {
	servers []*server.Server
	dir     string
	memory  bool
}

func startNATS(kind string) (*natsServers, error) {
	dir, err := os.MkdirTemp("", "parti-bench-*")
	if err != nil {
		return nil, err
	}
	n := &natsServers{dir: dir, memory: kind == "memory"}
	count := 1
	var routes []string
	ports := make([]int, 3)
	if kind == "cluster" {
		count = 3
		for i := range ports {
			l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			ports[i] = l.Addr().(*net.TCPAddr).Port
			if err := l.Close(); err != nil {
				return nil, err
			}
			routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
		}
	}
	for i := range count {
		o := &server.Options{
			ServerName: "n" + strconv.Itoa(i), Host: "127.0.0.1", Port: -1, JetStream: true, NoSigs: true, NoLog: true,
			StoreDir: dir + "/" + strconv.Itoa(i), MaxPayload: 1 << 20,
		}
		if count > 1 {
			o.Cluster = server.ClusterOpts{Name: "bench", Host: "127.0.0.1", Port: ports[i]}
			o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		}
		s, err := server.NewServer(o)
		if err != nil {
			return nil, err
		}
		go s.Start()
		n.servers = append(n.servers, s)
	}
	for _, s := range n.servers {
		if !s.ReadyForConnections(10 * time.Second) {
			return nil, errors.New("the server does not start")
		}
	}
	if count > 1 {
		if err := n.awaitCluster(); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// awaitCluster waits until the leader knows all of its peers: creating a stream
// before fails.
func (n *natsServers) awaitCluster() error {
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for range 400 {
		for _, s := range n.servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(n.servers) {
				return nil
			}
		}
		<-poll.C
	}
	return errors.New("the cluster does not form")
}

func (n *natsServers) stop() {
	for _, s := range n.servers {
		s.Shutdown()
	}
	for _, s := range n.servers {
		s.WaitForShutdown()
	}
	_ = os.RemoveAll(n.dir)
}

// A fleet is workers in this process, each with a connection of its own.
type fleet struct {
	nats  *natsServers
	group string
	parts []parti.Partition
	cfg   parti.Config

	mu      sync.Mutex
	nodes   []*node
	running map[string]int       // partition to the number of its handlers
	ended   map[string]time.Time // when a partition's last handler returned
	gaps    []time.Duration      // from a return to the next start
	starts  int
	plans   []plan.Decision
	dawdle  time.Duration // a handler takes a random part of it to return
	changed chan struct{} // closed at every change
}

// A node is one worker.
type node struct {
	fleet *fleet
	host  string
	nc    *nats.Conn
	js    jetstream.JetStream
	store *natskv.Store
	mgr   *parti.Manager
}

func newFleet(n *natsServers, group string, partitions int, cfg parti.Config) *fleet {
	f := &fleet{nats: n, group: group, cfg: cfg, running: map[string]int{}, ended: map[string]time.Time{}, changed: make(chan struct{})}
	for i := range partitions {
		f.parts = append(f.parts, parti.Partition{ID: fmt.Sprintf("tool-%05d.chamber-1", i)})
	}
	return f
}

// add makes a worker; it is not started. Whatever runs for it bears its name, so
// that a profile tells what it costs.
func (f *fleet) add(ctx context.Context) (n *node, err error) {
	host := fmt.Sprintf("host-%03d", len(f.nodes))
	pprof.Do(ctx, pprof.Labels(workerLabel, host), func(ctx context.Context) { n, err = f.make(ctx, host) })
	if err == nil {
		f.nodes = append(f.nodes, n)
	}
	return n, err
}

const workerLabel = "worker"

func (f *fleet) make(ctx context.Context, host string) (*node, error) {
	s := f.nats.servers[len(f.nodes)%len(f.nats.servers)]
	nc, err := nats.Connect(s.ClientURL(), natskv.ConnectOptions()...)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	var opts []natskv.Option
	if f.nats.memory {
		opts = append(opts, natskv.WithMemory())
	}
	store, err := natskv.Open(ctx, js, f.group, opts...)
	if err != nil {
		return nil, err
	}
	n := &node{fleet: f, host: host, nc: nc, js: js, store: store}
	cfg := f.cfg
	cfg.Identity = host
	n.mgr, err = parti.NewManager(store, source.Static(f.parts...), parti.HandlerFunc(f.handle), cfg, parti.WithObserver(f.observe))
	return n, err
}

func (f *fleet) observe(e parti.Event) {
	if p, ok := e.(event.Planned); ok {
		f.mu.Lock()
		f.plans = append(f.plans, p.Decision)
		f.mu.Unlock()
	}
}

func (f *fleet) handle(ctx context.Context, l parti.Lease) error {
	f.note(l.Partition.ID, +1)
	<-ctx.Done()
	f.mu.Lock()
	slow := f.dawdle
	f.mu.Unlock()
	if slow > 0 {
		time.Sleep(rand.N(slow))
	}
	f.note(l.Partition.ID, -1)
	return nil
}

func (f *fleet) note(id string, by int) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[id] += by
	if by > 0 {
		f.starts++
		if at, ok := f.ended[id]; ok {
			f.gaps = append(f.gaps, now.Sub(at))
		}
	} else {
		f.ended[id] = now
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// reset forgets what was measured.
func (f *fleet) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gaps, f.starts, f.plans = nil, 0, nil
	clear(f.ended)
}

// await waits until ok says so; ok is called with the fleet locked.
func (f *fleet) await(ctx context.Context, what string, ok func() bool) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		f.mu.Lock()
		done, changed := ok(), f.changed
		f.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		}
	}
}

// covered reports whether every partition has one handler.
func (f *fleet) covered() bool {
	if len(f.running) < len(f.parts) {
		return false
	}
	for _, n := range f.running {
		if n != 1 {
			return false
		}
	}
	return true
}

// settled reports whether, besides, nothing is on its way.
func (f *fleet) settled() bool {
	if !f.covered() {
		return false
	}
	for _, n := range f.nodes {
		if n.mgr.IsLeader() {
			return n.mgr.Status().Phase == plan.Stable
		}
	}
	return false
}

// start starts workers side by side and returns when the first began.
func start(ctx context.Context, nodes []*node) (began time.Time, wait func() error) {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	began = time.Now()
	for i, n := range nodes {
		wg.Go(func() {
			pprof.Do(ctx, pprof.Labels(workerLabel, n.host), func(ctx context.Context) { errs[i] = n.mgr.Start(ctx) })
		})
	}
	return began, func() error { wg.Wait(); return errors.Join(errs...) }
}

func (f *fleet) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, n := range f.nodes {
		wg.Go(func() {
			_ = n.mgr.Stop(ctx)
			n.store.Close()
			n.nc.Close()
		})
	}
	wg.Wait()
}

// quantiles are p50, p99 and the largest.
func quantiles(ds []time.Duration) string {
	if len(ds) == 0 {
		return "-"
	}
	slices.Sort(ds)
	at := func(q float64) time.Duration {
		return ds[min(int(q*float64(len(ds))), len(ds)-1)].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v  p99 %v  max %v  (n %d)", at(0.5), at(0.99), at(1), len(ds))
}
