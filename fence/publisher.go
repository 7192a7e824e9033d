package fence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Publisher publishes to a stream on condition that no later lease has begun to. The
// condition is on a subject of the same stream, the fence, whose last message is that of
// the newest lease: the server checks it with every message.
//
// Make one per lease and share it: a second one of the same lease takes the place of the
// first, which is refused from then on. Calls of one Publisher wait for one another: on
// replicas, the server refuses messages that have the same fence and are on their way at the
// same time.
//
// It does not work through a JetStream domain or another prefix of the API.
type Publisher struct {
	js     jetstream.JetStream
	stream string
	fence  string
	token  uint64
	last   uint64        // the sequence of our message under fence
	turn   chan struct{} // of one
}

// NewPublisher writes the token under the subject fence, from when on publishers of
// earlier leases are refused. The stream must take that subject, and keep its last message
// for as long as partitions live: give it limits retention and no age limit, and, where it has
// a limit of messages or bytes, let it refuse new ones rather than remove old ones. Each
// partition needs a subject of its own, such as fence.<partition>. It fails with [ErrFenced]
// when a later lease has been here.
func NewPublisher(ctx context.Context, js jetstream.JetStream, stream, fence string, token uint64) (*Publisher, error) {
	s, err := find(ctx, js, stream)
	if err != nil {
		return nil, fmt.Errorf("fence: stream %s: %w", stream, err)
	}
	switch c := s.CachedInfo().Config; {
	case c.Retention != jetstream.LimitsPolicy:
		return nil, fmt.Errorf("fence: stream %s has retention %v, and may lose the fence: use one with limits", stream, c.Retention)
	case c.MaxAge > 0:
		return nil, fmt.Errorf("fence: stream %s forgets its messages after %v, and so the fence: use one without an age limit", stream, c.MaxAge)
	}
	b := &Bucket{js: js, stream: stream}
	last, err := b.write(ctx, fence, nil, token, false)
	if err != nil {
		return nil, err
	}
	return &Publisher{js: js, stream: stream, fence: fence, token: token, last: last, turn: make(chan struct{}, 1)}, nil
}

// Publish publishes the message, with the token in a header, and waits until it is stored.
// The header is set in m itself, which must not be in use elsewhere meanwhile.
// [ErrFenced] says that a later lease has begun, or another Publisher of this one, or that the
// stream has lost the fence, and that it is not stored. After another error it may be stored:
// give it a message ID if it is to be tried again.
//
// A message can have one condition on the last sequence of a subject, and that is the
// fence: an option that sets another is of no effect.
func (p *Publisher) Publish(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx) // nothing was sent
	}
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header.Set(HeaderToken, strconv.FormatUint(p.token, 10))
	opts = append(slices.Clip(opts), jetstream.WithExpectLastSequenceForSubject(p.last, p.fence))
	began := time.Now()
	for try := 1; ; try++ {
		ack, err := publish(ctx, p.js, p.stream, m, opts...)
		var api *jetstream.APIError
		switch {
		case err == nil:
			return ack, nil
		case !errors.As(err, &api):
			return nil, fmt.Errorf("fence: publish to %s: %w", m.Subject, err)
		case api.ErrorCode == wrongLast:
			return nil, p.refused(ctx, m, err)
		case api.ErrorCode != inFlight || time.Since(began) > contested:
			return nil, fmt.Errorf("fence: publish to %s: %w", m.Subject, err)
		}
		if !pause(ctx, again(try)) {
			return nil, context.Cause(ctx)
		}
	}
}

// refused says whether it was the fence that did not hold, or another condition of the
// message.
func (p *Publisher) refused(ctx context.Context, m *nats.Msg, refusal error) error {
	now, err := newest(ctx, p.js, p.stream, p.fence)
	if err == nil && now.seq == p.last {
		return fmt.Errorf("fence: publish to %s: %w", m.Subject, refusal)
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return &goneError{p.fence, p.stream}
	}
	if err == nil {
		switch have := tokenOf(now.header); {
		case have > p.token:
			return &TokenError{What: p.fence, Have: have, Mine: p.token}
		case have == p.token:
			return &replacedError{p.fence, p.token}
		}
	}
	return fmt.Errorf("%w: %s is not as this lease has left it", ErrFenced, p.fence)
}

// A replacedError is an [ErrFenced] for which no later lease is to blame.
type replacedError struct {
	fence string
	token uint64
}

func (e *replacedError) Error() string {
	return fmt.Sprintf("fence: another Publisher of this lease, of token %d, has taken the place of this one at %s: make one per lease and share it", e.token, e.fence)
}

// Unwrap is [ErrFenced].
func (e *replacedError) Unwrap() error { return ErrFenced }

// A goneError is an [ErrFenced] for which no lease is to blame.
type goneError struct{ fence, stream string }

func (e *goneError) Error() string {
	return fmt.Sprintf("fence: there is no message under %s any more, by which earlier leases are refused: let the stream %s keep it, without an age limit, and, if the number or the size of its messages has a limit, let it refuse new ones", e.fence, e.stream)
}

// Unwrap is [ErrFenced].
func (e *goneError) Unwrap() error { return ErrFenced }
