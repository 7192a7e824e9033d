package natskv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
)

// Renew makes the store anew under a higher incarnation.
//
// The incarnation is nowhere written down: it is the upper part of the stream's
// sequence (see kv.Floor), so it cannot disagree with the revisions, and reading
// it is reading the last sequence. There are two ways to raise it:
//
//   - The bucket is gone: it is created, with a first sequence in the incarnation.
//     Creating is atomic, whoever is second is refused.
//   - The bucket is there, of an earlier incarnation (it went back, or was made by
//     somebody who knew of less): it is purged up to the incarnation's first
//     sequence. A purge up to a sequence beyond the last removes everything and
//     lets the sequence go on from there. It is idempotent and monotone by
//     nature: one that comes late, or twice, or after a higher one, finds nothing
//     below its sequence and changes nothing. That is why its sequence is exactly the
//     incarnation's first, without a random part: a second caller with a larger one would
//     remove what was written after the first. And that is why nothing is ever
//     deleted: a deletion that comes late would take the new bucket.
//
// On replicas, writes that were on their way when the sequence jumped are dropped by
// the server without an answer, and their keys stay closed to conditional writes
// (error 10164) until the stream has a new leader. So the leader is asked to step
// down after a purge. Should this process die in between, the next whose writes stay
// refused asks for it: see wedged.
func (s *Store) Renew(ctx context.Context, incarnation uint32) (uint32, error) {
	if err := kv.CheckIncarnation(incarnation); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	var err error
	for range renewTries {
		if err != nil && sleep(ctx, jitter(formWait)) != nil {
			break
		}
		var now uint32
		if now, err = s.Incarnation(ctx); err == nil && now >= incarnation {
			return now, nil
		}
		if err == nil || errors.Is(err, kv.ErrLost) {
			err = s.raise(ctx, incarnation)
		}
		if err != nil && !errors.Is(err, kv.ErrUnknown) && (!errors.Is(err, kv.ErrUnavailable) || errors.Is(err, errUnsent)) {
			return 0, err
		}
	}
	if err == nil || errors.Is(err, kv.ErrUnavailable) {
		err = fmt.Errorf("%w: the stream %s did not settle", kv.ErrUnknown, s.stream)
	}
	return 0, err
}

// renewTries is how often Renew looks and tries again. Each try is idempotent, and
// one may well be lost: others may be renewing too, and each makes the leader step down.
const renewTries = 8

// raise does one of the two.
func (s *Store) raise(ctx context.Context, incarnation uint32) error {
	info, err := s.info(ctx, "", 0)
	switch {
	case isCode(err, codeNoStream):
		return s.createStream(ctx, incarnation)
	case err != nil:
		return classify(err)
	case kv.Rev(info.State.LastSeq).Incarnation() >= incarnation:
		return nil
	default:
		return s.purge(ctx, incarnation, info)
	}
}

// awaitLeader waits until the stream answers under another leadership than that.
// It gives up in silence: a caller who comes too early finds the store unavailable for
// a moment, and that is an ordinary thing.
func (s *Store) awaitLeader(ctx context.Context, was *jetstream.ClusterInfo) {
	for range openTries {
		info, err := s.info(ctx, "", 0)
		if err == nil && info.Cluster != nil && info.Cluster.Leader != "" && !sameLeadership(info.Cluster, was) {
			return
		}
		if sleep(ctx, formWait/5) != nil {
			return
		}
	}
}

func sameLeadership(a, b *jetstream.ClusterInfo) bool {
	since := func(c *jetstream.ClusterInfo) time.Time {
		if c.LeaderSince == nil {
			return time.Time{}
		}
		return *c.LeaderSince
	}
	return a.Leader == b.Leader && since(a).Equal(since(b))
}

// purge raises a bucket that is there.
func (s *Store) purge(ctx context.Context, incarnation uint32, info *streamInfo) error {
	request := struct {
		Seq uint64 `json:"seq"`
	}{uint64(kv.Floor(incarnation)) + 1}
	bounded, cancel, err := s.bounded(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if err := s.call(bounded, "STREAM.PURGE."+s.stream, request, nil); err != nil {
		return unknown(err)
	}
	if info.Cluster == nil || len(info.Cluster.Replicas) == 0 {
		return nil
	}
	if err := s.stepDown(bounded); err != nil {
		if denied, is := errors.AsType[*kv.DeniedError](err); is {
			return denied
		}
		// Whoever finds a key closed will ask for it again.
		s.log.Warn("the stream's leader did not step down after a purge", "stream", s.stream, "error", err)
	}
	s.awaitLeader(ctx, info.Cluster)
	return nil
}
