package memkv

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/parti-go/parti/internal/kv"
)

// follow is a Follow under way.
type follow struct {
	client   *Client
	prefixes []string
	queue    []Change
	broken   error
	wake     chan struct{} // holds one
}

func (f *follow) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *follow) fail(err error) {
	if f.broken == nil {
		f.broken = err
	}
	f.signal()
}

// Follow calls f with every change of a key that matches one of the prefixes.
func (c *Client) Follow(ctx context.Context, prefixes []string, ready func(), f func(kv.Entry)) error {
	if err := kv.CheckPrefixes(prefixes); err != nil {
		return err
	}
	s := c.server
	fo := &follow{client: c, prefixes: kv.Prune(prefixes), wake: make(chan struct{}, 1)}
	defer s.unfollow(fo)
	start, err := call(ctx, c, Op{Kind: OpFollow, Keys: slices.Clone(prefixes)}, func(t *Table) (kv.Rev, error) {
		if t.lost {
			return 0, kv.ErrLost
		}
		s.follow(fo)
		return t.last, nil
	})
	if err != nil {
		return err
	}
	chain := kv.NewChain(start)
	ready()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-fo.wake:
		}
		batch, err := s.take(fo)
		if err != nil {
			return err
		}
		for _, ch := range batch {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := chain.Next(ch.Key, ch.Rev, ch.Before); err != nil {
				return err
			}
			f(ch.Entry)
		}
	}
}

func (s *Server) follow(f *follow) {
	for _, p := range f.prefixes {
		if s.follows[p] == nil {
			s.follows[p] = map[*follow]struct{}{}
		}
		s.follows[p][f] = struct{}{}
	}
}

func (s *Server) unfollow(f *follow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range f.prefixes {
		delete(s.follows[p], f)
		if len(s.follows[p]) == 0 {
			delete(s.follows, p)
		}
	}
	f.fail(kv.ErrHole)
}

// take is what has come since the last take. In a black hole nothing comes.
func (s *Server) take(f *follow) ([]Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.broken != nil {
		return nil, f.broken
	}
	if f.client.black {
		return nil, nil
	}
	batch := f.queue
	f.queue = nil
	return batch, nil
}

// tell passes changes on to those who follow them.
func (s *Server) tell(changes []Change) {
	if len(s.follows) == 0 {
		return
	}
	for _, ch := range changes {
		// The prefixes that match a key are "" and, at each dot and at the end,
		// the tokens so far with and without the dot.
		s.tellAll("", ch)
		for at := 0; ; {
			dot := strings.IndexByte(ch.Key[at:], '.')
			if dot < 0 {
				s.tellAll(ch.Key, ch)
				break
			}
			at += dot + 1
			s.tellAll(ch.Key[:at-1], ch)
			s.tellAll(ch.Key[:at], ch)
		}
	}
}

func (s *Server) tellAll(prefix string, ch Change) {
	for f := range s.follows[prefix] {
		s.deliver(f, ch)
	}
}

// deliver carries one change to one Follow, through the faults of its link.
func (s *Server) deliver(f *follow, ch Change) {
	c := f.client
	if c.lose&Changes != 0 {
		s.strike(c, LostChange)
		return
	}
	var fate Fate
	if c.tamper != nil {
		fate = c.tamper(ch.Entry)
	}
	switch {
	case fate.Drop:
		s.strike(c, LostChange)
		return
	case fate.Delay > 0:
		s.strike(c, DelayedChange)
		s.after(fate.Delay, func() { s.push(f, ch) })
	default:
		s.push(f, ch)
	}
	if fate.Repeat {
		s.strike(c, RepeatedChange)
		s.push(f, ch)
	}
}

func (s *Server) push(f *follow, ch Change) {
	if f.broken != nil {
		return
	}
	if len(f.queue) >= backlog {
		s.strike(f.client, SlowFollower)
		f.fail(fmt.Errorf("%w: %d changes are waiting", kv.ErrHole, len(f.queue)))
		return
	}
	f.queue = append(f.queue, ch)
	if !f.client.black {
		f.signal()
	}
}

// each calls do for the follows of one client.
func (s *Server) each(c *Client, do func(*follow)) {
	for _, fs := range s.follows {
		for f := range fs {
			if f.client == c {
				do(f)
			}
		}
	}
}

// breakFollows ends the follows of a client that has lost its connection.
func (s *Server) breakFollows(c *Client) {
	s.each(c, func(f *follow) { f.fail(fmt.Errorf("%w: %w", kv.ErrHole, errDisconnected)) })
}

// wake lets the follows of a client look again.
func (s *Server) wake(c *Client) { s.each(c, (*follow).signal) }
