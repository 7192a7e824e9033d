package natskv

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/parti-go/parti/internal/kv"
)

// Headers of an atomic batch (ADR-50 of NATS): the messages of one ID, numbered from
// one without a gap, are kept aside until the one that commits; then the server
// checks all conditions and stores all of them, or none. A batch that is not
// committed within ten seconds is forgotten.
const (
	headerBatch    = "Nats-Batch-Id"
	headerSequence = "Nats-Batch-Sequence"
	headerCommit   = "Nats-Batch-Commit"
)

// sendBatch sends all changes and waits for the answer to the last, which is that
// to the batch. The answers in between are not asked for: whatever goes wrong with
// one message, the batch is then incomplete and refused as a whole.
func (s *Store) sendBatch(ctx context.Context, ws []kv.Write, markers map[string]kv.Rev) (*nats.Msg, error) {
	if s.life().Err() != nil {
		return nil, errUnsent
	}
	before := s.nc.LastError()
	id := nuid.Next()
	for i, w := range ws {
		m := s.message(w, markers)
		m.Header[headerBatch] = []string{id}
		m.Header[headerSequence] = []string{strconv.Itoa(i + 1)}
		if i == len(ws)-1 {
			m.Header[headerCommit] = []string{"1"}
			answer, err := s.ask(ctx, m, true)
			// What the server denied before, it has said before it answered.
			for _, w := range ws[:i] {
				if denied := s.denied(before, s.writes+w.Key); denied != nil {
					return nil, denied
				}
			}
			return answer, err
		}
		// Without its end a batch is nothing.
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", errUnended, context.Cause(ctx))
		}
		if err := s.nc.PublishMsg(m); err != nil {
			return nil, fmt.Errorf("%w: %w", errUnsent, err)
		}
	}
	panic("natskv: a batch of nothing") // change has refused it
}
