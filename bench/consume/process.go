package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// roles are what this program can be besides the measurement.
var roles = map[string]func(args []string) error{"role-node": runNode, "role-worker": runWorker, "role-rate": runRate}

// A process is this program in one of its roles. It ends with its parent.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // of its standard output; closed when it has ended
}

var (
	processes   []*process
	processesMu sync.Mutex
)

func start(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(context.Background(), self, args...), lines: make(chan string, 1024)}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	processesMu.Lock()
	processes = append(processes, p)
	processesMu.Unlock()
	go func() {
		defer close(p.lines)
		s := bufio.NewScanner(out)
		for s.Scan() {
			p.lines <- s.Text()
		}
		_ = p.cmd.Wait() // killed, mostly
	}()
	return p, nil
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v: %w", s, err)
	}
	return nil
}

func killAll() {
	processesMu.Lock()
	defer processesMu.Unlock()
	for _, p := range processes {
		_ = p.signal(syscall.SIGKILL)
	}
}

// A node is a nats-server.
type node struct {
	*process

	args []string
	url  string
}

// A site is one node, or three.
type site struct {
	dir   string
	nodes []*node
}

func startSite(n int) (*site, error) {
	dir, err := os.MkdirTemp("", "parti-consume-")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir}
	ports := make([]string, n)
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	for i := range n {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		args := []string{"role-node", fmt.Sprint("n", i+1), dir, port}
		if n > 1 {
			args = append(args, ports[i], strings.Join(ports, ","))
		}
		s.nodes = append(s.nodes, &node{args: args, url: "nats://127.0.0.1:" + port})
	}
	for i := range s.nodes {
		if err := s.start(i); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// start starts a node, also again.
func (s *site) start(i int) (err error) {
	n := s.nodes[i]
	if n.process, err = start(n.args...); err != nil {
		return err
	}
	select {
	case line, ok := <-n.lines:
		if !ok || line != "ready" {
			return fmt.Errorf("node %d: %s", i+1, line)
		}
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("node %d does not start", i+1)
	}
}

func (s *site) stop() {
	for _, n := range s.nodes {
		if n.process != nil {
			_ = n.signal(syscall.SIGKILL)
		}
	}
	for _, n := range s.nodes {
		if n.process != nil {
			for line := range n.lines { // until it has ended
				_ = line
			}
		}
	}
	_ = os.RemoveAll(s.dir)
}

func (s *site) urls() string {
	var all []string
	for _, n := range s.nodes {
		all = append(all, n.url)
	}
	return strings.Join(all, ",")
}

func freePort() (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// runNode is a nats-server: name, directory, port, and in a cluster its port of routes and
// those of all.
func runNode(args []string) error {
	port, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	o := &server.Options{
		ServerName: args[0], Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: args[1] + "/" + args[0],
		NoSigs: true, NoLog: true, JetStreamLimits: server.JSLimitOpts{},
	}
	if len(args) > 4 {
		route, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		o.Cluster = server.ClusterOpts{Name: "parti", Host: "127.0.0.1", Port: route}
		var routes []string
		for p := range strings.SplitSeq(args[4], ",") {
			routes = append(routes, "nats://127.0.0.1:"+p)
		}
		o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
	}
	ns, err := server.NewServer(o)
	if err != nil {
		return err
	}
	ns.Start()
	if !ns.ReadyForConnections(30 * time.Second) {
		return errors.New("it is not ready")
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent ends
	return nil
}
