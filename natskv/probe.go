package natskv

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti/internal/kv"
)

func (s *Store) probed(name string) string { return "$PARTI." + s.group + ".probe." + name }

// Answer lets this process be probed under name until stop is called.
func (s *Store) Answer(name string, reply func() []byte) (stop func(), err error) {
	if err := kv.CheckKey(name); err != nil {
		return nil, err
	}
	select {
	case <-s.quit:
		return nil, fmt.Errorf("%w: %w", kv.ErrUnavailable, errClosed)
	default:
	}
	for try := 1; ; try++ {
		before := s.nc.LastError()
		sub, err := s.nc.Subscribe(s.probed(name), func(m *nats.Msg) {
			_ = m.Respond(reply()) // who asked will ask again
		})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		}
		stop = sync.OnceFunc(func() {
			_ = sub.Unsubscribe()
			s.settle()
		})
		s.settle()
		err = s.denied(before, sub.Subject)
		if err == nil && (try == deniedTries || !s.overheard(before)) {
			return stop, nil
		}
		stop()
		if err != nil {
			return nil, err
		}
	}
}

// settle waits until the server knows of the subscriptions, if there is one now.
// Without a connection it will learn of them with the next.
func (s *Store) settle() {
	ctx, cancel, err := s.bounded(context.Background())
	if err != nil {
		return
	}
	defer cancel()
	_ = s.flush(ctx)
}

// Probe asks the process that answers under name.
func (s *Store) Probe(ctx context.Context, name string) ([]byte, error) {
	if err := kv.CheckKey(name); err != nil {
		return nil, err
	}
	bounded, cancel, err := s.bounded(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	answer, err := s.request(bounded, nats.NewMsg(s.probed(name)))
	switch {
	case err == nil:
		return answer.Data, nil
	case errors.Is(err, errNobody):
		return nil, kv.ErrNoResponders
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, errSilence):
		return nil, context.DeadlineExceeded
	default:
		return nil, classify(err)
	}
}
