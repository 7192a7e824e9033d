package memkv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// A Client is one process's view of a Server, over a link that can be broken. It
// is a kv.Store.
type Client struct {
	server *Server
	name   string

	// All of this is guarded by the server's mutex.
	faults
	closed   bool
	conn     kv.Connection
	overhear func(Op)
	changed  chan struct{} // closed at the next change of conn
	broken   chan struct{} // closed when the connection is lost
	held     []func()      // requests held up by a black hole
	episode  int           // counts black holes
	struck   map[Fault]int
}

var _ kv.Store = (*Client)(nil)

// Name is what the view was made with.
func (c *Client) Name() string { return c.name }

// Close disconnects this view for good, as when its process ends: nobody answers
// to its names any more, and calls of it under way return.
func (c *Client) Close() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.closed = true
	c.refresh()
	delete(c.server.clients, c)
}

// refresh brings the connection's state in line with the faults.
func (c *Client) refresh() {
	s := c.server
	up := !s.down && !s.closed && !c.closed && !c.cut && !c.noticed
	if up == c.conn.Up && c.closed == c.conn.Closed {
		return
	}
	was := c.conn.Up
	c.conn.Up, c.conn.Closed = up, c.closed
	if up && !was {
		if c.conn.Server == "" {
			c.conn.Server = "memory"
		} else {
			c.conn.Interrupts++
		}
		c.broken = make(chan struct{})
	} else if was {
		c.conn.Interrupts++
		c.held = nil
		close(c.broken)
		s.strike(c, Disconnected)
		s.breakFollows(c)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// Connection tells of the link, level-triggered.
func (c *Client) Connection() (kv.Connection, <-chan struct{}) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.conn, c.changed
}

// Limits are the server's.
func (c *Client) Limits() kv.Limits {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.server.table.Limits
}

// Get reads one key.
func (c *Client) Get(ctx context.Context, key string) (kv.Entry, error) {
	if err := kv.CheckKey(key); err != nil {
		return kv.Entry{Key: key, Gone: true}, err
	}
	e, err := call(ctx, c, Op{Kind: OpGet, Keys: []string{key}}, func(t *Table) (kv.Entry, error) { return t.Get(key) })
	if e.Key == "" {
		e = kv.Entry{Key: key, Gone: true}
	}
	return e, err
}

// List reads all keys that match the prefix.
func (c *Client) List(ctx context.Context, prefix string) ([]kv.Entry, kv.Rev, error) {
	if err := kv.CheckPrefix(prefix); err != nil {
		return nil, 0, err
	}
	type list struct {
		es  []kv.Entry
		rev kv.Rev
	}
	l, err := call(ctx, c, Op{Kind: OpList, Keys: []string{prefix}}, func(t *Table) (list, error) {
		es, rev, err := t.List(prefix)
		return list{c.omitted(es), rev}, err
	})
	return l.es, l.rev, err
}

// Names tells which keys match the prefix.
func (c *Client) Names(ctx context.Context, prefix string) ([]string, error) {
	if err := kv.CheckPrefix(prefix); err != nil {
		return nil, err
	}
	return call(ctx, c, Op{Kind: OpNames, Keys: []string{prefix}}, func(t *Table) ([]string, error) {
		names, err := t.Names(prefix)
		return slices.DeleteFunc(names, c.omits), err
	})
}

// Write makes one conditional change.
func (c *Client) Write(ctx context.Context, w kv.Write) (kv.Rev, error) {
	return call(ctx, c, Op{OpWrite, []string{w.Key}, w.Last == 0}, func(*Table) (kv.Rev, error) { return c.server.apply(w) })
}

// Commit makes several changes at once.
func (c *Client) Commit(ctx context.Context, ws []kv.Write) (kv.Rev, error) {
	op := Op{Kind: OpCommit, Keys: make([]string, len(ws))}
	for i, w := range ws {
		op.Keys[i] = w.Key
		op.Creates = op.Creates || w.Last == 0
	}
	return call(ctx, c, op, func(*Table) (kv.Rev, error) { return c.server.apply(ws...) })
}

// Incarnation tells how often the store was made anew.
func (c *Client) Incarnation(ctx context.Context) (uint32, error) {
	return call(ctx, c, Op{Kind: OpIncarnation}, func(t *Table) (uint32, error) { return t.Incarnation() })
}

// Renew makes the store anew.
func (c *Client) Renew(ctx context.Context, incarnation uint32) (uint32, error) {
	if err := kv.CheckIncarnation(incarnation); err != nil {
		return 0, err
	}
	return call(ctx, c, Op{Kind: OpRenew}, func(t *Table) (uint32, error) { return t.Renew(incarnation), nil })
}

// reply is what became of a request at the server.
type reply[T any] struct {
	value T
	err   error
}

// errNoAnswer says that the time for a request is over.
var errNoAnswer = errors.New("no answer in time")

// errDisconnected says that the connection was lost during a request.
var errDisconnected = errors.New("the connection was lost")

// call carries a request to the server and its answer back, through the faults.
// Serve runs at most once, with the mutex held.
func call[T any](ctx context.Context, c *Client, op Op, serve func(*Table) (T, error)) (T, error) {
	var zero T
	if ctx.Err() != nil {
		return zero, context.Cause(ctx)
	}
	s := c.server
	s.mu.Lock()
	if err := c.refused(op); err != nil {
		s.mu.Unlock()
		return zero, err
	}
	there := c.delay()
	back := c.delay()
	late := op.writes() && c.late > 0
	if late {
		there += c.late
	}
	unanswered := late || c.lose&Answers != 0
	answer := make(chan reply[T], 1)
	arrive := func() {
		var r reply[T]
		switch {
		case s.closed || s.down:
			return
		case op.reads() && c.stale != nil:
			s.strike(c, StaleRead)
			r.value, r.err = serve(c.stale)
		default:
			r.value, r.err = serve(s.table)
			if op.writes() && c.again > 0 {
				s.after(c.again, func() {
					if !s.closed && !s.down {
						_, _ = serve(s.table)
						s.strike(c, RepeatedWrite)
					}
				})
			}
		}
		switch {
		case late:
			s.strike(c, LateWrite)
		case unanswered:
			s.strike(c, LostAnswer)
		case op.writes() && c.loseAnswer > 0:
			c.loseAnswer--
			s.strike(c, LostAnswer)
			answer <- reply[T]{err: fmt.Errorf("%w: the answer was lost", kv.ErrUnknown)}
		case back > 0:
			s.after(back, func() { answer <- r })
		default:
			answer <- r
		}
	}
	send := arrive
	if op.writes() {
		send = func() {
			if s.noQuorum {
				s.strike(c, Held)
				s.queued = append(s.queued, arrive)
				return
			}
			arrive()
		}
	}
	switch {
	case c.hang != nil && c.hang(op):
		s.strike(c, Hung)
	case c.lose&Requests != 0:
		s.strike(c, LostRequest)
	case c.black:
		s.strike(c, Held)
		c.held = append(c.held, send)
	case there > 0:
		s.after(there, send)
	default:
		send()
	}
	broken := c.broken
	s.mu.Unlock()

	select {
	case r := <-answer:
		return r.value, r.err
	default:
	}
	timeout := time.NewTimer(s.Timeout)
	defer timeout.Stop()
	var why error
	select {
	case r := <-answer:
		return r.value, r.err
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-timeout.C:
		why = errNoAnswer
	case <-broken:
		why = errDisconnected
	}
	switch {
	case op.writes():
		return zero, fmt.Errorf("%w: %w", kv.ErrUnknown, why)
	case ctx.Err() != nil:
		return zero, why
	default:
		return zero, fmt.Errorf("%w: %w", kv.ErrUnavailable, why)
	}
}

// refused says whether a request fails before it is sent.
func (c *Client) refused(op Op) error {
	s := c.server
	if !c.conn.Up {
		s.strike(c, Unreachable)
		return kv.ErrUnavailable
	}
	if c.overhear != nil {
		c.overhear(op)
	}
	if c.refuse != nil {
		if err := c.refuse(op); err != nil {
			s.strike(c, Refused)
			return err
		}
	}
	return nil
}

// omitted leaves out what Omit says.
func (c *Client) omitted(es []kv.Entry) []kv.Entry {
	return slices.DeleteFunc(es, func(e kv.Entry) bool { return c.omits(e.Key) })
}

// omits says whether Omit leaves the key out.
func (c *Client) omits(key string) bool {
	if c.omit == nil || !c.omit(key) {
		return false
	}
	c.server.strike(c, Omitted)
	return true
}

// delay is how long one way takes.
func (c *Client) delay() time.Duration {
	if c.slow == nil {
		return 0
	}
	d := c.slow()
	if d > 0 {
		c.server.strike(c, Slowed)
	}
	return d
}
