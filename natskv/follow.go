package natskv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti/internal/kv"
)

// Headers that the server adds when it republishes a message.
const (
	headerSeq     = "Nats-Sequence"
	headerLastSeq = "Nats-Last-Sequence" // of that subject
)

// backlog is how many changes a Follow may lag behind before it is ended.
const backlog = 1 << 13

// Follow calls f with every change of a key that matches one of the prefixes, as
// the server republishes it: over core NATS, at most once.
func (s *Store) Follow(ctx context.Context, prefixes []string, ready func(), f func(kv.Entry)) error {
	if err := kv.CheckPrefixes(prefixes); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	life := s.life()
	if life.Err() != nil {
		return errUnsent
	}
	changes, subs, err := s.subscribe(ctx, s.subjects(prefixes))
	if err != nil {
		return err
	}
	defer unsubscribe(subs)
	start, err := s.begin(ctx)
	if err != nil {
		return err
	}
	chain := kv.NewChain(start)
	ready()
	for {
		var m *nats.Msg
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-life.Done():
			return fmt.Errorf("%w: %w", kv.ErrHole, context.Cause(life)) //nolint:contextcheck // life is the connection's
		case m = <-changes:
		}
		// What was told already may be waiting beside a change.
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if life.Err() != nil {
			return fmt.Errorf("%w: %w", kv.ErrHole, context.Cause(life)) //nolint:contextcheck // life is the connection's
		}
		if len(changes) > backlog/2 {
			for _, sub := range subs {
				if n, err := sub.Dropped(); err != nil || n > 0 {
					return fmt.Errorf("%w: %d were dropped because this process was too slow", kv.ErrHole, n)
				}
			}
		}
		e, last, err := s.changed(m)
		if err != nil {
			return fmt.Errorf("%w: %w", kv.ErrHole, err)
		}
		if err := chain.Next(e.Key, e.Rev, last); err != nil {
			return err
		}
		f(e)
	}
}

// subscribe subscribes to the subjects, and waits until the server has taken that.
func (s *Store) subscribe(ctx context.Context, subjects []string) (<-chan *nats.Msg, []*nats.Subscription, error) {
	for try := 1; ; try++ {
		before := s.nc.LastError()
		changes := make(chan *nats.Msg, backlog)
		subs, err := s.subscribeOnce(ctx, before, subjects, changes)
		if err == nil && (try == deniedTries || !s.overheard(before)) {
			return changes, subs, nil
		}
		unsubscribe(subs)
		if err != nil {
			return nil, nil, err
		}
	}
}

func (s *Store) subscribeOnce(ctx context.Context, before error, subjects []string, changes chan *nats.Msg) (subs []*nats.Subscription, _ error) {
	for _, subject := range subjects {
		sub, err := s.nc.ChanSubscribe(subject, changes)
		if err != nil {
			return subs, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		}
		subs = append(subs, sub)
	}
	bounded, cancel, err := s.bounded(ctx)
	if err != nil {
		return subs, err
	}
	defer cancel()
	if err := s.flush(bounded); err != nil {
		return subs, err
	}
	for _, subject := range subjects {
		if err := s.denied(before, subject); err != nil {
			return subs, err
		}
	}
	return subs, nil
}

func unsubscribe(subs []*nats.Subscription) {
	for _, sub := range subs {
		_ = sub.Unsubscribe() // fails only where the connection is closed
	}
}

// begin returns the last revision as of when the subscriptions are in force everywhere.
func (s *Store) begin(ctx context.Context) (kv.Rev, error) {
	bounded, cancel, err := s.bounded(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	for try := 0; ; try++ {
		var open error // why the barrier is
		if s.withBarrier {
			open = s.barrier(bounded)
		}
		info, err := s.info(ctx, "", 0)
		if err != nil {
			return 0, classify(err)
		}
		switch {
		case open == nil:
		case !errors.Is(open, errNobody):
			return 0, classify(open)
		case info.led() && try >= nobodyTries: // as where an account has imported the API, and not the keys
			s.log.Warn("a change may be missed when following begins", "error", open)
		case pause(bounded, try) != nil:
			return 0, classify(open)
		default:
			continue
		}
		return kv.Rev(info.State.LastSeq), nil
	}
}

// nobodyTries is how often nobody may listen for the barrier, though the stream has a leader:
// it takes a moment until it takes what is written.
const nobodyTries = 10

// barrierKey is a key that is never written.
const barrierKey = "fence"

// barrier waits until the server that leads the stream knows of our subscriptions.
// That our own server does is not enough: on a cluster, what is republished before the
// word has reached the leader's server is not sent here, and nobody would notice. The
// word goes there on the same way as our messages to the stream, and before them;
// requests to the API go another way. So the barrier is a write to the stream whose
// condition cannot hold: the refusal says that it has arrived. Without an answer it may not
// have, also where the request that follows is answered. Where it is denied, a change of the
// first milliseconds may be missed.
func (s *Store) barrier(ctx context.Context) error {
	m := nats.NewMsg(s.writes + barrierKey)
	m.Header[headerLast] = []string{"1"} // no revision is so small
	m.Header[headerStream] = []string{s.stream}
	_, err := s.ask(ctx, m, false)
	if denied, is := errors.AsType[*kv.DeniedError](err); is {
		s.log.Warn("a change may be missed when following begins", "error", denied)
		return nil
	}
	return err
}

// flush waits until the server has seen everything sent so far.
func (s *Store) flush(ctx context.Context) error { //nolint:contextcheck // life is the connection's
	life := s.life()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(life, func() { cancel(context.Cause(life)) })() //nolint:contextcheck // as above
	if err := s.nc.FlushWithContext(ctx); err != nil {
		if ctx.Err() != nil {
			return classify(context.Cause(ctx))
		}
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	return nil
}

// subjects is where the changes of keys with these prefixes come. No key is in two.
func (s *Store) subjects(prefixes []string) []string {
	var subjects []string
	for _, p := range kv.Prune(prefixes) {
		switch {
		case p == "":
			subjects = append(subjects, s.changes()+">")
		case strings.HasSuffix(p, "."):
			subjects = append(subjects, s.changes()+p+">")
		default:
			subjects = append(subjects, s.changes()+p, s.changes()+p+".>")
		}
	}
	return subjects
}

// changed reads a change, and the revision that the key had before.
func (s *Store) changed(m *nats.Msg) (e kv.Entry, last kv.Rev, err error) {
	seq, err := strconv.ParseUint(m.Header.Get(headerSeq), 10, 64)
	if err != nil {
		return e, 0, fmt.Errorf("a change of %s without a revision: %w", m.Subject, err)
	}
	before, err := strconv.ParseUint(m.Header.Get(headerLastSeq), 10, 64)
	if err != nil {
		return e, 0, fmt.Errorf("a change of %s without the one before: %w", m.Subject, err)
	}
	e = kv.Entry{Key: strings.TrimPrefix(m.Subject, s.changes()), Rev: kv.Rev(seq)}
	if isMarker(m.Header) {
		e.Gone = true
	} else {
		e.Value = append([]byte{}, m.Data...)
	}
	return e, kv.Rev(before), nil
}
