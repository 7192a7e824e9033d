// Package process starts what a measurement needs as processes of their own: servers,
// and the measuring program itself in other roles. They can be killed and frozen for
// real, and end with their parent.
package process

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

// A Process is this program in one of its roles. It ends with its parent.
type Process struct {
	In    io.WriteCloser // its standard input
	Lines chan string    // of its standard output, to be read to the end; closed when it has ended

	cmd *exec.Cmd
}

var (
	processes   []*Process
	processesMu sync.Mutex
)

// Start starts this program with such arguments, of which the first is the role.
func Start(args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.CommandContext(context.Background(), self, args...), Lines: make(chan string, 1024)}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if p.In, err = p.cmd.StdinPipe(); err != nil {
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
		defer close(p.Lines)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20) // a line may name thousands of partitions
		for s.Scan() {
			p.Lines <- s.Text()
		}
		_ = p.cmd.Wait() // killed, mostly
	}()
	return p, nil
}

// PID is its number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends it a signal, unless it has ended.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v: %w", s, err)
	}
	return nil
}

// KillAll ends whatever was started.
func KillAll() {
	processesMu.Lock()
	defer processesMu.Unlock()
	for _, p := range processes {
		_ = p.Signal(syscall.SIGKILL)
	}
}

// A Node is a nats-server.
type Node struct {
	*Process

	args []string
	url  string
}

// A Site is one node, or three.
type Site struct {
	Nodes []*Node // n1 and so on

	dir string
}

// StartSite starts so many nodes.
func StartSite(n int) (*Site, error) {
	dir, err := os.MkdirTemp("", "parti-bench-")
	if err != nil {
		return nil, err
	}
	s := &Site{dir: dir}
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
		s.Nodes = append(s.Nodes, &Node{args: args, url: "nats://127.0.0.1:" + port})
	}
	for i := range s.Nodes {
		if err := s.Start(i); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Start starts a node, also again.
func (s *Site) Start(i int) (err error) {
	n := s.Nodes[i]
	if n.Process, err = Start(n.args...); err != nil {
		return err
	}
	select {
	case line, ok := <-n.Lines:
		if !ok || line != "ready" {
			return fmt.Errorf("node %d: %s", i+1, line)
		}
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("node %d does not start", i+1)
	}
}

// Stop ends the nodes and removes what they have stored.
func (s *Site) Stop() {
	for _, n := range s.Nodes {
		if n.Process != nil {
			_ = n.Signal(syscall.SIGKILL)
		}
	}
	for _, n := range s.Nodes {
		if n.Process != nil {
			for line := range n.Lines { // until it has ended
				_ = line
			}
		}
	}
	_ = os.RemoveAll(s.dir)
}

// URLs are those of all nodes, for nats.Connect.
func (s *Site) URLs() string {
	var all []string
	for _, n := range s.Nodes {
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

// Await waits until a condition holds on what a lock guards; it looks at every change.
func Await(ctx context.Context, mu sync.Locker, changed <-chan struct{}, what string, cond func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		mu.Lock()
		ok := cond()
		mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		}
	}
}

// Retry repeats until it succeeds, or ctx ends.
func Retry(ctx context.Context, do func(ctx context.Context) error) error {
	for {
		one, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := do(one)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Wait lets time pass.
func Wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// RunNode is the role "role-node", a nats-server: name, directory, port, and in a cluster
// its port of routes and those of all. Every program that calls StartSite must offer it.
func RunNode(args []string) error {
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
