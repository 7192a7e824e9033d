package consumer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A which says which message of a stream is meant.
type which struct {
	Seq  uint64 `json:"seq,omitempty"`          // with Next: at this sequence or later
	Next string `json:"next_by_subj,omitempty"` // the first with this subject
	Last string `json:"last_by_subj,omitempty"` // the last with this subject
}

// noMessage is JetStream's error when there is no such message.
const noMessage = 10037

// stored asks the leader of a stream for a message. The client's own calls ask any replica
// where a stream allows it: one that lags does not have what was stored last, and it takes
// a permission of its own.
func (c *core) stored(ctx context.Context, stream string, w which) (*jetstream.RawStreamMsg, error) {
	request, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	return ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		reply, err := c.js.Conn().RequestWithContext(ctx, c.api()+"STREAM.MSG.GET."+stream, request)
		if err != nil {
			return nil, err
		}
		var answer struct {
			Error   *jetstream.APIError `json:"error"`
			Message struct {
				Subject  string    `json:"subject"`
				Sequence uint64    `json:"seq"`
				Header   []byte    `json:"hdrs"`
				Data     []byte    `json:"data"`
				Time     time.Time `json:"time"`
			} `json:"message"`
		}
		switch err := json.Unmarshal(reply.Data, &answer); {
		case err != nil:
			return nil, fmt.Errorf("consumer: message of stream %s: %w", stream, err)
		case answer.Error != nil && answer.Error.ErrorCode == noMessage:
			return nil, jetstream.ErrMsgNotFound
		case answer.Error != nil:
			return nil, answer.Error
		}
		m := answer.Message
		msg := &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Data: m.Data, Time: m.Time}
		if len(m.Header) > 0 {
			if msg.Header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
				return nil, fmt.Errorf("consumer: headers of message %d of stream %s: %w", m.Sequence, stream, err)
			}
		}
		return msg, nil
	})
}
