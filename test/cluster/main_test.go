// Package cluster breaks a real three-node NATS cluster, node by node, with
// SIGKILL, under a fleet that is moving partitions.
package cluster

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/parti-go/parti/test/natstest"
)

// asNode says that this process is a node of the cluster and not a test.
const asNode = "PARTI_TEST_NODE"

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // what goes wrong here does so on purpose
	if spec := os.Getenv(asNode); spec != "" {
		os.Exit(node(spec))
	}
	natstest.VerifyTestMain(m)
}

// node runs one server until it is told to end. The spec is its name, its client
// port, its cluster port, its folder, and its routes.
func node(spec string) int {
	f := strings.Split(spec, "|")
	var client, cluster int
	if _, err := fmt.Sscan(f[1], &client); err != nil {
		return 1
	}
	if _, err := fmt.Sscan(f[2], &cluster); err != nil {
		return 1
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	var s *server.Server
	for try := 0; ; try++ {
		var err error
		if s, err = server.NewServer(&server.Options{
			ServerName: f[0], Host: "127.0.0.1", Port: client, JetStream: true, StoreDir: f[3], NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: cluster}, Routes: server.RoutesFromStr(f[4]),
		}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		s.Start()
		if s.ReadyForConnections(20 * time.Second) { // what is not ready by then is not only slow
			break
		}
		// While it was down, somebody took one of its ports for a connection that goes out,
		// say. The others hear of new ones from itself.
		s.Shutdown()
		s.WaitForShutdown()
		if cluster = server.RANDOM_PORT; try > 0 {
			client = server.RANDOM_PORT
		}
	}
	<-end
	s.Shutdown()
	s.WaitForShutdown()
	return 0
}

// nodes are three processes.
type nodes struct {
	t    *testing.T
	spec [3]string
	urls [3]string
	cmd  [3]*exec.Cmd
}

// startNodes starts them: of this build, or of another server's if its path is given.
func startNodes(t *testing.T, other string) *nodes {
	t.Helper()
	n := &nodes{t: t}
	ports := freePorts(t, 6)
	var routes []string
	for i := range n.spec {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[3+i]))
	}
	for i := range n.spec {
		n.spec[i] = fmt.Sprintf("n%d|%d|%d|%s|%s", i, ports[i], ports[3+i], t.TempDir(), strings.Join(routes, ","))
		n.urls[i] = fmt.Sprintf("nats://127.0.0.1:%d", ports[i])
		if other == "" {
			n.start(i)
		} else {
			n.startOther(i, other)
		}
	}
	t.Cleanup(func() {
		for i := range n.cmd {
			n.kill(i)
		}
	})
	return n
}

func (n *nodes) start(i int) {
	n.t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), asNode+"="+n.spec[i])
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.cmd[i] = c
}

// startOther starts a node with a server of another version.
func (n *nodes) startOther(i int, path string) {
	n.t.Helper()
	f := strings.Split(n.spec[i], "|")
	c := exec.Command(path, "--name", f[0], "--addr", "127.0.0.1", "--port", f[1], "--jetstream", "--store_dir", f[3],
		"--cluster_name", "test", "--cluster", "nats://127.0.0.1:"+f[2], "--routes", f[4])
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.cmd[i] = c
}

// stop ends a node as its operator does.
func (n *nodes) stop(i int) {
	n.t.Helper()
	if err := n.cmd[i].Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	_ = n.cmd[i].Wait() // it says by which signal
	n.cmd[i] = nil
}

// kill is a power cut: nothing is handed over.
func (n *nodes) kill(i int) {
	if c := n.cmd[i]; c != nil {
		_ = c.Process.Kill()
		_ = c.Wait()
		n.cmd[i] = nil
	}
}

// patience is how long anything may take on a busy machine; it measures nothing.
const patience = 3 * time.Minute

// eventually waits for something that a poll tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-late.C:
			t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}
