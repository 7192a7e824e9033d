package natskv

import (
	"context"
	"errors"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti/internal/kv"
)

// errInterrupted ends requests whose connection was lost: they get no answer.
var errInterrupted = errors.New("the connection was interrupted")

// errClosed ends requests of a Store that was closed.
var errClosed = errors.New("the store was closed")

// link is what is known of the connection.
type link struct {
	mu      sync.Mutex
	conn    kv.Connection
	changed chan struct{} // closed at the next change of conn

	// whole ends when the connection is interrupted, with errInterrupted as its cause.
	whole  context.Context //nolint:containedctx // it is the connection's life
	broken context.CancelCauseFunc
}

// watchLink follows the connection until Close. The user's own handlers are left alone.
func (s *Store) watchLink() {
	events := s.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	l := &s.link
	l.changed = make(chan struct{})
	l.whole, l.broken = context.WithCancelCause(context.Background())
	l.conn = kv.Connection{Up: s.nc.IsConnected(), Closed: s.nc.IsClosed(), Server: s.nc.ConnectedServerName()}
	if !l.conn.Up {
		l.broken(errInterrupted)
	}
	s.done.Go(func() {
		defer func() {
			s.nc.RemoveStatusListener(events)
			l.mu.Lock()
			l.conn.Up = false
			l.broken(errClosed)
			close(l.changed)
			l.changed = make(chan struct{})
			l.mu.Unlock()
		}()
		for {
			select {
			case <-s.quit:
				return
			case status, ok := <-events:
				if !ok { // the connection is closed, or somebody else has ended our listening
					l.set(s.nc.IsConnected(), s.nc.IsClosed(), s.nc.ConnectedServerName())
					return
				}
				l.set(status == nats.CONNECTED, status == nats.CLOSED, s.nc.ConnectedServerName())
				if len(events) == 0 {
					// The events may be fewer than what happened; the state is not.
					l.set(s.nc.IsConnected(), s.nc.IsClosed(), s.nc.ConnectedServerName())
				}
			}
		}
	})
}

func (l *link) set(up, closed bool, server string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if up == l.conn.Up && closed == l.conn.Closed {
		return
	}
	was := l.conn.Up
	l.conn.Up, l.conn.Closed = up, closed
	switch {
	case up == was:
	case up:
		if l.conn.Server != "" {
			l.conn.Interrupts++
		}
		l.conn.Server = server
		l.whole, l.broken = context.WithCancelCause(context.Background())
	default:
		l.conn.Interrupts++
		l.broken(errInterrupted)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Connection tells of the connection, level-triggered.
func (s *Store) Connection() (kv.Connection, <-chan struct{}) {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	return s.link.conn, s.link.changed
}

// life is the present connection's: it ends when that is interrupted.
func (s *Store) life() context.Context {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	return s.link.whole
}
