package natstest_test

import (
	"context"
	"net"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti/test/natstest"
)

// Both ports of a node are taken while it is down: it comes back on others, the cluster is
// whole, and clients hear where it is.
func TestRestartElsewhere(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	told := make(chan struct{}, 1)
	nc := c.Connect(t, 0, nats.DiscoveredServersHandler(func(*nats.Conn) {
		select {
		case told <- struct{}{}:
		default:
		}
	}))
	ns := c.Nodes[1]
	old := ns.ClientURL()
	taken := []string{ns.Addr().String(), ns.ClusterAddr().String()}
	natstest.Stop(ns)
	for _, addr := range taken {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	c.Restart(t, 1)
	c.Await(t)
	now := c.Nodes[1].ClientURL()
	if now == old {
		t.Fatalf("the node listens at %s, which was taken", old)
	}
	for !slices.Contains(nc.Servers(), now) {
		select {
		case <-told:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}
