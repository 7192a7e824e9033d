package natstest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// A Cluster is a few nodes that replicate.
type Cluster struct {
	Nodes   []*server.Server
	options []*server.Options
}

// StartCluster starts a cluster of n nodes, and waits until it can place a
// stream of as many replicas.
func StartCluster(tb testing.TB, n int, opts ...Options) *Cluster {
	tb.Helper()
	for try := 1; ; try++ {
		c := &Cluster{}
		if c.start(tb, n, opts, portTime*time.Duration(try)) {
			tb.Cleanup(c.stop)
			c.Await(tb)
			return c
		}
		c.stop()
		if try == portTries {
			tb.Fatalf("no nats-server was ready with %d sets of ports", try)
		}
	}
}

// The nodes must know one another's ports before they start. Somebody else may take such
// a port meanwhile, for a connection that goes out, say: then others are tried. Later tries
// have longer, since it may be the machine that is busy.
const (
	portTries = 5
	portTime  = 6 * time.Second
)

func (c *Cluster) stop() {
	for _, ns := range c.Nodes {
		ns.Shutdown()
	}
	for _, ns := range c.Nodes {
		ns.WaitForShutdown()
	}
}

// start reports false when a port was taken: a node is not ready for so long.
func (c *Cluster) start(tb testing.TB, n int, opts []Options, within time.Duration) bool {
	tb.Helper()
	ports := make([]int, n)
	for i := range ports {
		ports[i] = freePort(tb)
	}
	// Of its own: a node of another test may listen one day where one of these did.
	name := nuid.Next()
	for i := range n {
		o := &server.Options{
			ServerName: fmt.Sprintf("n%d", i+1),
			Host:       "127.0.0.1",
			Port:       -1,
			JetStream:  true,
			StoreDir:   tb.TempDir(),
			NoSigs:     true,
			NoLog:      true,
			Cluster:    server.ClusterOpts{Name: name, Host: "127.0.0.1", Port: ports[i]},
			Routes:     routes(ports),
		}
		for _, opt := range opts {
			opt(o)
		}
		ns, err := server.NewServer(o)
		if err != nil {
			tb.Fatal(err)
		}
		c.Nodes = append(c.Nodes, ns)
		c.options = append(c.options, o)
	}
	for _, ns := range c.Nodes {
		ns.Start()
	}
	for _, ns := range c.Nodes {
		if !ns.ReadyForConnections(within) {
			return false
		}
	}
	return true
}

// Await waits until the leader of the cluster knows all nodes. Having a leader is
// not enough: it refuses replicas until it has heard of the others.
func (c *Cluster) Await(tb testing.TB) {
	tb.Helper()
	late := time.After(patience)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !c.whole() {
		select {
		case <-again.C:
		case <-late:
			tb.Fatal("the cluster did not come together")
		}
	}
}

func (c *Cluster) whole() bool {
	for _, ns := range c.Nodes {
		if ns.JetStreamIsLeader() {
			return len(ns.JetStreamClusterPeers()) == len(c.Nodes)
		}
	}
	return false
}

// Restart starts a node again that was stopped, with its data. What another process, or a
// test beside this one, connects from may be a port that the node had: the other nodes hear
// of a new one from itself, and clients from them, whom a node that runs must tell.
func (c *Cluster) Restart(tb testing.TB, i int) {
	tb.Helper()
	o := c.options[i]
	for try := range portTries {
		var ports []int
		for j, other := range c.options {
			if j == i {
				other.Cluster.Port = freePort(tb)
			}
			ports = append(ports, other.Cluster.Port)
		}
		o.Routes = routes(ports)
		if try >= portTries/2 {
			o.Port = server.RANDOM_PORT
		}
		ns, err := server.NewServer(o)
		if err != nil {
			tb.Fatal(err)
		}
		c.Nodes[i] = ns
		ns.Start()
		if ns.ReadyForConnections(portTime * time.Duration(1+try/2)) {
			return
		}
		Stop(ns)
	}
	tb.Fatalf("the nats-server %s is not ready", o.ServerName)
}

// routes are the addresses at which the nodes hear one another.
func routes(ports []int) []*url.URL {
	var all []*url.URL
	for _, port := range ports {
		all = append(all, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	return all
}

// Connect connects to one node first, and to the others when that one is gone.
func (c *Cluster) Connect(tb testing.TB, first int, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	var urls []string
	for i := range c.Nodes {
		urls = append(urls, c.Nodes[(first+i)%len(c.Nodes)].ClientURL())
	}
	return dial(tb, strings.Join(urls, ","), append([]nats.Option{nats.DontRandomize()}, opts...)...)
}

// freePort is a port that nobody listens on right now.
func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // of a TCP listener
}
