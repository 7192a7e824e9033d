package natstest

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
)

// Register must be called once before bubbles, in TestMain: the server would
// otherwise start a clock of its own in the first bubble, and fake time would never
// advance again.
func Register() { ats.Register() }

// Bubble runs a test in a bubble of its own, as synctest.Test does. The client pools
// timers, and one that was made inside is of no use outside, and the reverse: so the
// pools are emptied before and after.
func Bubble(t *testing.T, run func(t *testing.T)) {
	t.Helper()
	drain()
	defer drain()
	synctest.Test(t, run)
}

// drain empties every sync.Pool, which takes two collections.
func drain() {
	runtime.GC()
	runtime.GC()
}

// InBubble starts one node that can be used inside the bubble of the caller: it
// listens nowhere and is reached over net.Pipe.
func InBubble(tb testing.TB, opts ...Options) *server.Server {
	tb.Helper()
	o := &server.Options{
		ServerName: "n1",
		DontListen: true,
		JetStream:  true,
		StoreDir:   tb.TempDir(),
		NoSigs:     true,
		NoLog:      true,
	}
	for _, opt := range opts {
		opt(o)
	}
	// A server does not wait for all of its goroutines: one of the file store may still
	// be asleep when the bubble's own has returned, and time then stands still.
	tb.Cleanup(func() { time.Sleep(time.Second) }) //nolint:forbidigo // in fake time
	return run(tb, o)
}

// A Link is the way of one client to a server in a bubble. It can be cut.
type Link struct {
	mu     sync.Mutex
	ns     *server.Server
	cut    bool
	frozen bool
	live   []net.Conn
}

// NewLink makes a way to the server.
func NewLink(ns *server.Server) *Link { return &Link{ns: ns} }

// Lead lets new connections go to another server.
func (l *Link) Lead(ns *server.Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ns = ns
}

// Freeze swallows whatever the client sends, in connections old and new, until
// Mend. What comes from the server arrives.
func (l *Link) Freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = true
}

// linked is one connection over a Link.
type linked struct {
	net.Conn
	link *Link
}

func (c linked) Write(b []byte) (int, error) {
	c.link.mu.Lock()
	frozen := c.link.frozen
	c.link.mu.Unlock()
	if frozen {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// InProcessConn is what nats.InProcessServer asks for.
func (l *Link) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("the link is cut")
	}
	c, err := l.ns.InProcessConn()
	if err != nil {
		return nil, err
	}
	l.live = append(l.live, c)
	return linked{c, l}, nil
}

// Cut closes its connections and lets no new one through until Mend.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for _, c := range l.live {
		_ = c.Close()
	}
	l.live = nil
}

// Mend lets connections through again.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.frozen = false, false
}

// Connect connects over the link. The connection is closed when the test ends.
func (l *Link) Connect(tb testing.TB, opts ...nats.Option) *nats.Conn {
	tb.Helper()
	return dial(tb, "", append([]nats.Option{nats.InProcessServer(l), nats.ReconnectWait(10 * time.Millisecond)}, opts...)...)
}
