package demo

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// A link is a worker's way to the server. Cutting it is what the kernel does for a
// killed process: its sockets are closed, and nothing is said.
type link struct {
	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

var errCut = errors.New("this worker was killed")

// Dial makes a connection, as nats.CustomDialer.
func (l *link) Dial(network, address string) (net.Conn, error) {
	if l.isCut() {
		return nil, errCut
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		_ = conn.Close()
		return nil, errCut
	}
	if l.conns == nil {
		l.conns = map[net.Conn]struct{}{}
	}
	l.conns[conn] = struct{}{}
	return &linked{conn, l}, nil
}

func (l *link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// Cut closes the connection and every later one. What a killed process had not
// written by then was never sent.
func (l *link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

// A linked connection forgets itself when it is closed.
type linked struct {
	net.Conn

	link *link
}

func (c *linked) Close() error {
	c.link.mu.Lock()
	delete(c.link.conns, c.Conn)
	c.link.mu.Unlock()
	return c.Conn.Close()
}
