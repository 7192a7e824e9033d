package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/measure"
	"github.com/parti-go/parti/natskv"
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

// newFleet is a fleet without workers, each of which will have a connection of its own.
func newFleet(n *natsServers, group string, partitions int, cfg parti.Config) *measure.Fleet {
	o := measure.Options{Group: group, Config: cfg, Connect: n.connect}
	for i := range partitions {
		o.Partitions = append(o.Partitions, parti.Partition{ID: fmt.Sprintf("tool-%05d.chamber-1", i)})
	}
	if n.memory {
		o.Store = append(o.Store, natskv.WithMemory())
	}
	return measure.New(o)
}

func (n *natsServers) connect(_ context.Context, worker int) (jetstream.JetStream, error) {
	nc, err := nats.Connect(n.servers[worker%len(n.servers)].ClientURL(), natskv.ConnectOptions()...)
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc)
}
