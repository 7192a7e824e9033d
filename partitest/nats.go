package partitest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/partitest/internal/frame"
)

// patience is how long a server may take to come up, or a cluster to come together.
// Nothing waits this long when all is well.
const patience = 2 * time.Minute

// A NATS is one nats-server with JetStream, or a cluster of some, in this process, on
// loopback, and the network that lies before and between them. Every connection goes
// over that network, on which the faults of this package happen. It is stopped, and all
// faults are healed, when the test ends. The network reads the protocol, so TLS is not
// for it. It does not run in a testing/synctest bubble:
// what goes over sockets is not in the bubble's time.
type NATS struct {
	tb    testing.TB
	seed  uint64
	nodes []*Node
	run   sync.WaitGroup // all goroutines of the network

	mu    sync.Mutex
	links map[string]*Link
	pairs map[[2]int]*lane
	made  int // links without a name of their own
}

// A ServerOption changes the options that a node is started with. Listeners, names,
// the cluster and the directory of its storage are the kit's own. A nil ServerOption is ignored.
type ServerOption func(*server.Options)

// SeedEnv names the environment variable that gives the seed of the network's chances;
// otherwise they are new each time. A test that fails says which they were.
const SeedEnv = "PARTITEST_SEED"

// StartNATS starts one node.
func StartNATS(tb testing.TB, opts ...ServerOption) *NATS {
	tb.Helper()
	return startNATS(tb, 1, opts)
}

// StartNATSCluster starts a cluster of n nodes that can hold streams of n replicas.
func StartNATSCluster(tb testing.TB, n int, opts ...ServerOption) *NATS {
	tb.Helper()
	if n < 2 {
		tb.Fatalf("StartNATSCluster: %d nodes are no cluster: StartNATS starts one", n)
	}
	return startNATS(tb, n, opts)
}

func startNATS(tb testing.TB, n int, opts []ServerOption) *NATS {
	tb.Helper()
	s := &NATS{tb: tb, seed: rand.Uint64(), links: map[string]*Link{}, pairs: map[[2]int]*lane{}}
	if text := os.Getenv(SeedEnv); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			tb.Fatalf("%s: %v", SeedEnv, err)
		}
		s.seed = seed
	}
	for i := range n {
		s.nodes = append(s.nodes, &Node{
			nats: s, index: i, name: fmt.Sprintf("n%d", i+1), dir: tb.TempDir(), opts: opts, born: make(chan struct{}),
		})
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the network's seed was %s=%d", SeedEnv, s.seed)
		}
		s.stop()
	})
	for _, node := range s.nodes {
		node.clients = s.listen(node.fromAnybody)
		node.routes = s.listen(node.fromNode)
	}
	for _, node := range s.nodes {
		node.start(tb)
	}
	for _, node := range s.nodes {
		node.awaitReady(tb)
	}
	s.AwaitWhole()
	return s
}

func (s *NATS) stop() {
	s.mu.Lock()
	links := s.links
	s.links = map[string]*Link{}
	s.mu.Unlock()
	for _, l := range links {
		for _, f := range l.fronts {
			f.close()
		}
	}
	for _, node := range s.nodes {
		node.clients.close()
		node.routes.close()
	}
	for _, node := range s.nodes { // nothing is handed over to nodes that stop as well
		node.end()
	}
	s.run.Wait()
}

// Nodes are its nodes, n1 and so on.
func (s *NATS) Nodes() []*Node { return s.nodes }

// Node is the node of that index, from 0.
func (s *NATS) Node(i int) *Node { return s.nodes[i] }

// AwaitWhole waits until all of its nodes run and know one another, so that a stream
// of as many replicas can be made.
func (s *NATS) AwaitWhole() {
	s.tb.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !s.whole() {
		select {
		case <-again.C:
		case <-late.C:
			s.tb.Fatalf("the nodes did not come together within %v", patience)
		}
	}
}

func (s *NATS) whole() bool {
	if len(s.nodes) == 1 {
		return s.nodes[0].Server() != nil
	}
	leads := false
	for _, node := range s.nodes {
		ns := node.Server()
		if ns == nil {
			return false
		}
		if ns.JetStreamIsLeader() {
			leads = len(ns.JetStreamClusterPeers()) == len(s.nodes)
		}
	}
	return leads
}

// Leader is the node that leads a stream of the global account; nil while there is none.
func (s *NATS) Leader(stream string) *Node {
	for _, node := range s.nodes {
		if ns := node.Server(); ns != nil && ns.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return node
		}
	}
	return nil
}

// pair is the lane between two nodes.
func (s *NATS) pair(a, b int) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]int{min(a, b), max(a, b)}
	if s.pairs[key] == nil {
		s.pairs[key] = &lane{}
	}
	return s.pairs[key]
}

// chance is a source of chances of its own for each use: they depend on the seed and on
// what they are for.
func (s *NATS) chance(what string) *chance {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], s.seed)
	copy(seed[8:], what)
	return &chance{rand: rand.New(rand.NewChaCha8(seed))}
}

// A Node is one nats-server. Its addresses stay the same over restarts.
type Node struct {
	nats  *NATS
	index int
	name  string
	dir   string
	opts  []ServerOption
	all   lane // of every connection to it
	born  chan struct{}
	once  sync.Once

	clients *front
	routes  *front

	mu     sync.Mutex
	server *server.Server // nil: it does not run
	id     string         // of its last run
}

// Name is that of the server.
func (n *Node) Name() string { return n.name }

// URL is where anybody may connect who needs no link of their own: no fault of a link
// touches these connections.
func (n *Node) URL() string { return n.clients.url() }

// Server is the server itself; nil while it does not run.
func (n *Node) Server() *server.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server
}

// start begins to start it.
func (n *Node) start(tb testing.TB) {
	tb.Helper()
	o := &server.Options{
		JetStream: true, NoSigs: true, NoLog: true,
		LameDuckDuration: time.Second, LameDuckGracePeriod: 100 * time.Millisecond,
	}
	for _, opt := range n.opts {
		if opt != nil {
			opt(o)
		}
	}
	o.ServerName, o.Host, o.Port, o.StoreDir = n.name, "127.0.0.1", server.RANDOM_PORT, n.dir
	if len(n.nats.nodes) > 1 {
		o.Cluster.Name, o.Cluster.Host, o.Cluster.Port, o.Cluster.Advertise = "partitest", "127.0.0.1", server.RANDOM_PORT, n.routes.addr()
		o.Routes = nil
		for _, other := range n.nats.nodes {
			if other != n {
				o.Routes = append(o.Routes, server.RoutesFromStr("nats://"+other.routes.addr())...)
			}
		}
	}
	ns, err := server.NewServer(o)
	if err != nil {
		tb.Fatalf("%s: %v", n.name, err)
	}
	n.mu.Lock()
	n.server, n.id = ns, ns.ID()
	n.mu.Unlock()
	ns.Start()
}

func (n *Node) awaitReady(tb testing.TB) {
	tb.Helper()
	if ns := n.Server(); ns == nil || !ns.ReadyForConnections(patience) {
		tb.Fatalf("%s is not ready after %v", n.name, patience)
	}
	n.once.Do(func() { close(n.born) })
}

// Start starts a node again that was stopped or killed, on what its storage holds. It
// returns when clients can connect; a cluster may take longer, see [NATS.AwaitWhole].
func (n *Node) Start() {
	n.nats.tb.Helper()
	if n.Server() != nil {
		n.nats.tb.Fatalf("%s: Start of a node that runs", n.name)
	}
	n.start(n.nats.tb)
	n.awaitReady(n.nats.tb)
}

// Stop stops the node in order: it hands over what it leads, says goodbye and writes
// everything down.
func (n *Node) Stop() { n.end() }

// Kill ends the node without a goodbye: its connections are cut first. Unlike a process
// that is killed it still writes down what it has in memory.
func (n *Node) Kill() {
	n.nats.tb.Helper()
	f := &Fault{kind: cut, lanes: []*lane{&n.all}}
	newFault(n.nats.tb, f, nil, nil)
	n.end()
	f.Heal()
}

// LameDuck lets the node go as an operator does before maintenance: it takes no new
// connections, hands over what it leads, asks its clients to leave, and stops. It
// returns when that is done.
func (n *Node) LameDuck() {
	if ns := n.Server(); ns != nil {
		ns.LameDuckShutdown()
	}
	n.end()
}

// LoseStorage kills the node and removes what it has stored. Start starts it empty.
func (n *Node) LoseStorage() {
	n.nats.tb.Helper()
	n.Kill()
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		n.nats.tb.Fatalf("%s: %v", n.name, err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(n.dir, e.Name())); err != nil {
			n.nats.tb.Fatalf("%s: %v", n.name, err)
		}
	}
}

func (n *Node) end() {
	n.once.Do(func() { close(n.born) })
	n.mu.Lock()
	ns := n.server
	n.server = nil
	n.mu.Unlock()
	if ns != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
	}
}

// Connect connects over a link of its own to this node first, and to the others when
// it is gone. See [NATS.Connect].
func (n *Node) Connect(opts ...nats.Option) *nats.Conn {
	n.nats.tb.Helper()
	return n.nats.newLink("").connect(n.nats.tb, n.index, opts)
}

// Connect connects over a link of its own, on which the faults of this package can be
// put. It has the options of [natskv.ConnectOptions], and these above them. The
// connections of a test are spread over the nodes. It is closed when the test ends.
func (s *NATS) Connect(opts ...nats.Option) *nats.Conn {
	s.tb.Helper()
	l := s.newLink("")
	return l.connect(s.tb, l.number%len(s.nodes), opts)
}

// Link is the link of that name, for a process of its own, which connects to its URL.
// There is one of each name.
func (s *NATS) Link(name string) *Link {
	s.tb.Helper()
	return s.newLink(name)
}

// A Link is the way of one client to all nodes.
type Link struct {
	nats   *NATS
	number int
	all    lane
	each   []*lane  // by node
	fronts []*front // by node
	asked  *asked

	mu   sync.Mutex
	told []func(What) // of the workers that use it
}

// follow asks to be told when the link is cut off, and when it is back.
func (l *Link) follow(tell func(What)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, tell)
}

func (l *Link) tell(w What) {
	l.mu.Lock()
	told := slices.Clone(l.told)
	l.mu.Unlock()
	for _, tell := range told {
		tell(w)
	}
}

// cutOff reports whether a fault keeps it from a node: then that has been told already.
func (l *Link) cutOff() bool {
	return slices.ContainsFunc(active(append([]*lane{&l.all}, l.each...)), func(f *Fault) bool { return f.kind == cut || f.kind == hole })
}

// URL is where a client connects that goes over this link: one address for each node.
func (l *Link) URL() string { return l.urls(0) }

// newLink finds the link of that name, or makes one.
func (s *NATS) newLink(name string) *Link {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	number := s.made
	if name == "" {
		s.made++
		name = fmt.Sprintf("link %d", number)
	}
	if l := s.links[name]; l != nil {
		return l
	}
	l := &Link{nats: s, number: number, asked: &asked{by: map[string]string{}}}
	l.all.link = l
	for _, node := range s.nodes {
		way := &lane{link: l}
		l.each = append(l.each, way)
		l.fronts = append(l.fronts, s.listen(func(near net.Conn) {
			node.serve(near, s.chance(name), l.asked, &l.all, way)
		}))
	}
	s.links[name] = l
	return l
}

// urls lists the fronts, that node's first.
func (l *Link) urls(first int) string {
	var all []string
	for i := range l.fronts {
		all = append(all, l.fronts[(first+i)%len(l.fronts)].url())
	}
	return strings.Join(all, ",")
}

// links finds the link of a connection that was made over one.
var links sync.Map // *nats.Conn to *Link

func (l *Link) connect(tb testing.TB, first int, opts []nats.Option) *nats.Conn {
	tb.Helper()
	all := append(natskv.ConnectOptions(),
		nats.DontRandomize(), nats.IgnoreDiscoveredServers(),
		// Errors are what such tests provoke; whoever wants to see them says so.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	nc, err := nats.Connect(l.urls(first), append(all, opts...)...)
	if err != nil {
		tb.Fatalf("connect: %v", err)
	}
	links.Store(nc, l)
	tb.Cleanup(func() {
		closed := nc.StatusChanged(nats.CLOSED)
		if !nc.IsClosed() {
			nc.Close()
			<-closed
		}
		links.Delete(nc)
	})
	return nc
}

// linkOf finds the link of a client.
func linkOf(tb testing.TB, client any) *Link {
	tb.Helper()
	switch c := client.(type) {
	case *Link:
		return c
	case *parti.Manager:
		return linkOf(tb, connOf(tb, c))
	case *nats.Conn:
		if l, ok := links.Load(c); ok {
			return l.(*Link)
		}
		tb.Fatal("this connection was not made by NATS.Connect of partitest, or the test has closed it: no fault can be put on it")
	default:
		tb.Fatalf("a %T is no member of a network; there are *nats.Conn, *parti.Manager, *partitest.Link, and *partitest.Node in a Group", c)
	}
	return nil
}

// A front is a listener of the network.
type front struct {
	listener net.Listener
	mu       sync.Mutex
	closed   bool
	conns    map[net.Conn]struct{}
}

// listen accepts connections and serves each.
func (s *NATS) listen(serve func(net.Conn)) *front {
	s.tb.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		s.tb.Fatalf("listen: %v", err)
	}
	f := &front{listener: l, conns: map[net.Conn]struct{}{}}
	s.run.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if !f.enter(c) {
				_ = c.Close()
				return
			}
			s.run.Go(func() {
				defer f.leave(c)
				serve(c)
			})
		}
	})
	return f
}

func (f *front) addr() string { return f.listener.Addr().String() }

func (f *front) url() string { return "nats://" + f.addr() }

func (f *front) enter(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.conns[c] = struct{}{}
	return true
}

func (f *front) leave(c net.Conn) {
	_ = c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// close closes the listener and what came over it.
func (f *front) close() {
	_ = f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for c := range f.conns {
		_ = c.Close()
	}
}

// fromAnybody serves a client that has no link.
func (n *Node) fromAnybody(near net.Conn) { n.serve(near, nil, nil) }

// serve carries a client's connection.
func (n *Node) serve(near net.Conn, chance *chance, asked *asked, lanes ...*lane) {
	far, ok := n.dial((*server.Server).Addr)
	if !ok {
		return
	}
	w := newWire(append(lanes, &n.all), near, far, chance)
	for _, p := range w.pumps {
		p.read, p.asked = frame.Read, asked
	}
	w.pumps[1].alter = discreet
	w.run()
}

// discreet takes the addresses of other servers out of what a server says of itself:
// over those a client would get around its link.
func discreet(f frame.Frame) frame.Frame {
	rest, is := strings.CutPrefix(string(f.Data), "INFO ")
	if !is {
		return f
	}
	var info map[string]json.RawMessage
	if json.Unmarshal([]byte(rest), &info) != nil {
		return f
	}
	delete(info, "connect_urls")
	delete(info, "ws_connect_urls")
	text, err := json.Marshal(info)
	if err != nil {
		return f
	}
	f.Data = append(append([]byte("INFO "), text...), "\r\n"...)
	return f
}

// dial connects to the server behind the network.
func (n *Node) dial(addr func(*server.Server) net.Addr) (net.Conn, bool) {
	<-n.born
	ns := n.Server()
	if ns == nil {
		return nil, false
	}
	a := addr(ns)
	if a == nil {
		return nil, false
	}
	far, err := new(net.Dialer).DialContext(context.Background(), "tcp", a.String())
	return far, err == nil
}

// fromNode carries the connection of another node, which says who it is first.
func (n *Node) fromNode(near net.Conn) {
	head := bufio.NewReader(near)
	hello, err := frame.Read(head)
	if err != nil {
		return
	}
	other := n.nats.whoSays(hello)
	if other == nil {
		return
	}
	far, ok := n.dial(func(ns *server.Server) net.Addr {
		if a := ns.ClusterAddr(); a != nil {
			return a
		}
		return nil
	})
	if !ok {
		return
	}
	w := newWire([]*lane{n.nats.pair(n.index, other.index), &n.all, &other.all}, near, far, nil)
	w.pumps[0].from = head
	w.pumps[0].ready = append(w.pumps[0].ready, hello.Data)
	w.run()
}

// whoSays finds the node whose CONNECT this is.
func (s *NATS) whoSays(f frame.Frame) *Node {
	rest, is := strings.CutPrefix(string(f.Data), "CONNECT ")
	if !is {
		return nil
	}
	var hello struct {
		Name string `json:"name"` // the server's ID
	}
	if json.Unmarshal([]byte(rest), &hello) != nil {
		return nil
	}
	for _, node := range s.nodes {
		node.mu.Lock()
		id := node.id
		node.mu.Unlock()
		if id == hello.Name {
			return node
		}
	}
	return nil
}
