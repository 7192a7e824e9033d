package memkv

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// answerer is a name that a client answers to.
type answerer struct {
	client *Client
	reply  func() []byte
}

// Answer lets this view be probed under name until stop is called.
func (c *Client) Answer(name string, reply func() []byte) (stop func(), err error) {
	if err := kv.CheckKey(name); err != nil {
		return nil, err
	}
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.refuse != nil {
		if err := c.refuse(Op{Kind: OpAnswer, Keys: []string{name}}); err != nil {
			s.strike(c, Refused)
			return nil, err
		}
	}
	a := &answerer{c, reply}
	s.names[name] = append(s.names[name], a)
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.names[name] = slices.DeleteFunc(s.names[name], func(b *answerer) bool { return a == b })
		if len(s.names[name]) == 0 {
			delete(s.names, name)
		}
	}), nil
}

// Probe asks the view that answers under name.
func (c *Client) Probe(ctx context.Context, name string) ([]byte, error) {
	if err := kv.CheckKey(name); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	reply, latency, broken, err := c.findAnswerer(name)
	if err != nil {
		return nil, err
	}
	timeout := time.NewTimer(c.server.Timeout)
	defer timeout.Stop()
	var late <-chan time.Time
	if latency > 0 {
		t := time.NewTimer(latency)
		defer t.Stop()
		late = t.C
	}
	answer := make(chan []byte, 1)
	if reply != nil {
		go func() { answer <- reply() }() // it may hang, and Probe may not
	}
	for {
		arrived := answer
		if late != nil {
			arrived = nil
		}
		select {
		case b := <-arrived:
			return b, nil
		case <-late:
			late = nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-broken:
			return nil, fmt.Errorf("%w: %w", kv.ErrUnavailable, errDisconnected)
		case <-timeout.C:
			return nil, context.DeadlineExceeded
		}
	}
}

// findAnswerer is who answers to a name; a nil reply means that none will come. Broken is
// closed when the connection over which it is asked is lost.
func (c *Client) findAnswerer(name string) (reply func() []byte, latency time.Duration, broken <-chan struct{}, err error) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.refused(Op{Kind: OpProbe, Keys: []string{name}}); err != nil {
		return nil, 0, nil, err
	}
	latency, broken = c.delay()+c.delay(), c.broken
	if c.lose&Asking != 0 || c.black {
		s.strike(c, LostProbe)
		return nil, latency, broken, nil
	}
	for _, a := range s.names[name] {
		switch {
		case !a.client.conn.Up:
			continue
		case a.client.lose&Asked != 0 || a.client.black:
			s.strike(a.client, LostProbe)
			return nil, latency, broken, nil
		default:
			return a.reply, latency + a.client.delay() + a.client.delay(), broken, nil
		}
	}
	return nil, 0, nil, kv.ErrNoResponders
}
