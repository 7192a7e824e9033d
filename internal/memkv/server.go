package memkv

import (
	"maps"
	"sync"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// noticeAfter is how long a client takes to find out that its connection leads
// nowhere: the time of natskv.ConnectOptions.
const noticeAfter = 6 * time.Second

// backlog is how many changes a Follow may lag behind before it is ended.
const backlog = 1 << 16

// A Server is a store in memory. Its methods may be called at any time.
type Server struct {
	// Timeout is the time for a request, after which a client stops waiting. Set
	// it before the first client is made; it is 2 s by default.
	Timeout time.Duration

	mu       sync.Mutex // never held across a wait or a call of somebody else's code but a fault's function
	table    *Table
	clients  map[*Client]struct{}
	follows  map[string]map[*follow]struct{} // by prefix
	names    map[string][]*answerer
	down     bool
	noQuorum bool
	queued   []func() // writes that wait for a quorum
	closed   bool

	expiry  *time.Timer // runs expire
	expires time.Time   // when it fires
	timers  map[*time.Timer]struct{}
	struck  map[Fault]int
}

// New makes an empty store of incarnation 1.
func New() *Server {
	return &Server{
		Timeout: 2 * time.Second,
		table:   NewTable(1),
		clients: map[*Client]struct{}{},
		follows: map[string]map[*follow]struct{}{},
		names:   map[string][]*answerer{},
		timers:  map[*time.Timer]struct{}{},
		struck:  map[Fault]int{},
	}
}

// Client makes a new view of the store, connected over a link of its own. The
// name is for people; two views may have the same.
func (s *Server) Client(name string) *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Client{server: s, name: name, changed: make(chan struct{}), broken: make(chan struct{}), struck: map[Fault]int{}}
	s.clients[c] = struct{}{}
	c.refresh()
	return c
}

// Close ends the store and all its clients, and stops every timer. Calls under
// way return; nothing happens afterwards.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.clients {
		c.refresh()
	}
	for t := range s.timers {
		t.Stop()
	}
	clear(s.timers)
	if s.expiry != nil {
		s.expiry.Stop()
	}
	s.queued = nil
}

// SetLimits changes what the server allows.
func (s *Server) SetLimits(l kv.Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.Limits = l
}

// Down stops the server: everybody is disconnected. The data stays, and time
// goes on: what expires meanwhile is gone when it is back.
func (s *Server) Down() { s.setDown(true) }

// Up starts it again, and everybody whose link is whole is connected again.
func (s *Server) Up() { s.setDown(false) }

func (s *Server) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	for c := range s.clients {
		c.refresh()
	}
	if !down {
		s.expire(time.Now())
		s.arm()
	}
}

// LoseQuorum keeps everybody connected and reads going, but no write happens and
// nothing expires until FindQuorum.
func (s *Server) LoseQuorum() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noQuorum = true
}

// FindQuorum ends it. With keep, the writes that were sent meanwhile happen now,
// in order, as far as their conditions hold; without, they never do. Then what
// should have expired meanwhile expires, all at once.
func (s *Server) FindQuorum(keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noQuorum = false
	queued := s.queued
	s.queued = nil
	if keep {
		for _, arrive := range queued {
			arrive()
		}
	}
	s.expire(time.Now())
	s.arm()
}

// Wipe loses the bucket: everything answers ErrLost until somebody calls Renew.
// As on a real server, a Follow is not told.
func (s *Server) Wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.Wipe()
	s.strike(nil, Wiped)
}

// Snapshot is a copy of the present state, for Restore.
func (s *Server) Snapshot() *Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Clone()
}

// Restore goes back to an earlier state: keys, markers, revisions and what is
// left of TTLs. As on a real server, a Follow is not told.
func (s *Server) Restore(snapshot *Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = snapshot.Clone()
	s.strike(nil, WentBack)
	s.arm()
}

// Struck counts how often faults of that kind struck anybody.
func (s *Server) Struck(f Fault) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.struck[f]
}

// AllStruck counts all faults that struck anybody.
func (s *Server) AllStruck() map[Fault]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.struck)
}

// strike counts; c is nil when the fault is the server's own. The mutex is held,
// as in everything below.
func (s *Server) strike(c *Client, f Fault) {
	s.struck[f]++
	if c != nil {
		c.struck[f]++
	}
}

// after runs f, with the mutex held, when d is over, unless the server is closed.
func (s *Server) after(d time.Duration, f func()) {
	if s.closed {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			return
		}
		delete(s.timers, t)
		f()
	})
	s.timers[t] = struct{}{}
}

// apply makes the changes, tells the followers, and sets the alarm for expiry.
func (s *Server) apply(ws ...kv.Write) (kv.Rev, error) {
	now := time.Now()
	s.expire(now)
	rev, changes, err := s.table.Apply(now, ws...)
	s.tell(changes)
	s.arm()
	return rev, err
}

func (s *Server) expire(now time.Time) {
	if !s.noQuorum && !s.down {
		s.tell(s.table.Expire(now))
	}
}

// arm sets the alarm for the next expiry. An alarm that comes too early is
// harmless and cheaper than setting it anew at every renewal.
func (s *Server) arm() {
	next := s.table.Next()
	if next.IsZero() || s.closed || s.noQuorum || s.down || (!s.expires.IsZero() && !s.expires.After(next)) {
		return
	}
	s.expires = next
	wait := time.Until(next)
	if s.expiry != nil {
		s.expiry.Reset(wait)
		return
	}
	s.expiry = time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.expires = time.Time{}
		if !s.closed {
			s.expire(time.Now())
			s.arm()
		}
	})
}
