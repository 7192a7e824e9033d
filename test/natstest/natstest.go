// Package natstest starts real nats-servers for tests, in the process, on
// loopback: one node, a cluster, or one inside a testing/synctest bubble.
// Everything that it starts is stopped when the test ends.
package natstest

import (
	"flag"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// patience is how long a server may take to come up, a cluster to come together, and a
// request to be answered. Nothing sleeps this long when all is well.
const patience = 2 * time.Minute

// helloTime is how long a client waits for a server's hello.
const helloTime = 30 * time.Second

// Options are what tests change of a server.
type Options func(*server.Options)

// Start starts one node with JetStream.
func Start(tb testing.TB, opts ...Options) *server.Server {
	tb.Helper()
	o := &server.Options{
		ServerName: "n1",
		Host:       "127.0.0.1",
		Port:       -1,
		JetStream:  true,
		StoreDir:   tb.TempDir(),
		NoSigs:     true,
		NoLog:      true,
	}
	for _, opt := range opts {
		opt(o)
	}
	return run(tb, o)
}

func run(tb testing.TB, o *server.Options) *server.Server {
	tb.Helper()
	ns, err := server.NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { Stop(ns) })
	ns.Start()
	if !ns.ReadyForConnections(patience) {
		tb.Fatalf("the nats-server %s is not ready", o.ServerName)
	}
	return ns
}

// Stop stops a server and waits until it is gone.
func Stop(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}

// Connect connects to a server, with these options above what tests need. The
// connection is closed when the test ends.
func Connect(tb testing.TB, ns *server.Server, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	return dial(tb, ns.ClientURL(), opts...)
}

func dial(tb testing.TB, url string, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	closed := make(chan struct{})
	// Errors are what these tests provoke; whoever wants to see them says so. And a server on a
	// busy machine may not get to say hello within the two seconds that a client waits by itself.
	opts = append([]nats.Option{nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), nats.Timeout(helloTime)}, opts...)
	opts = append(opts, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// SideBySide lets more tests go side by side than there are cores, where most of them
// wait most of the time, unless go test was told how many. It is for TestMain.
func SideBySide() {
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if told {
		return
	}
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
}
