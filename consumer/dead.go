package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of a dead letter, beside those that the message came with.
const (
	HeaderReason    = "Parti-Reason"    // the last error
	HeaderSubject   = "Parti-Subject"   // where the message was
	HeaderStream    = "Parti-Stream"    //
	HeaderSequence  = "Parti-Sequence"  // in the stream
	HeaderTries     = "Parti-Tries"     // how often it was given out
	HeaderPartition = "Parti-Partition" //
	HeaderToken     = "Parti-Token"     // of the lease under which it was given up
)

// hopeless says whether a message whose Func returned err is to be given up.
func (o *options) hopeless(m *Msg, err error) bool {
	if o.dead == "" {
		return false
	}
	return errors.Is(err, ErrPermanent) || o.maxDeliver > 0 && m.Tries >= o.maxDeliver
}

// errWorn is the reason of messages of which no error is known.
var errWorn = errors.New("consumer: it was given out as often as it may be, and each time its owner was lost")

// worn says whether a message that was given out so often is one that kills its owners:
// one that returned an error would have been given up before. A message may also have
// been given out and given back without a try, as when its partition moved: not so often.
func (o *options) worn(tries int) bool {
	return o.maxDeliver > 0 && tries > 2*o.maxDeliver+untried
}

// untried is how often a message may well be given back without a try.
const untried = 3

// bury stores the message under the dead-letter subject. Its ID makes a second try
// harmless, within the stream's window for duplicates.
func (c *core) bury(ctx context.Context, m *Msg, reason error) error {
	letter := nats.NewMsg(c.opts.dead)
	letter.Data = m.Data
	for k, v := range m.Header {
		if !slices.ContainsFunc(orders, func(o string) bool { return strings.HasPrefix(k, o) }) {
			letter.Header[k] = v
		}
	}
	for k, v := range map[string]string{
		HeaderReason: oneLine(reason.Error()), HeaderSubject: m.Subject, HeaderStream: m.Stream,
		HeaderSequence: strconv.FormatUint(m.Sequence, 10), HeaderTries: strconv.Itoa(m.Tries),
		HeaderPartition: m.Partition, HeaderToken: strconv.FormatUint(m.Token, 10),
	} {
		letter.Header[k] = []string{v}
	}
	id := fmt.Sprintf("%s/%s/%d", c.group, m.Stream, m.Sequence)
	if _, err := c.js.PublishMsg(ctx, letter, jetstream.WithMsgID(id)); err != nil {
		return fmt.Errorf("consumer: message %d of %s could not be stored under %s, and stays: %w", m.Sequence, m.Stream, c.opts.dead, err)
	}
	return nil
}

// orders are what headers begin with that say to the stream that a message is published to
// what to do with it. A stored message still has them, and they are not for the stream
// that keeps the dead letter: one of a batch, say, would wait there for the batch's end.
//
//nolint:gochecknoglobals // a constant
var orders = []string{
	jetstream.MsgIDHeader, jetstream.MsgRollup, jetstream.MsgTTLHeader,
	"Nats-Expected-", "Nats-Batch-", "Nats-Schedule", "Nats-Incr",
}

// oneLine is what may stand in a header.
func oneLine(s string) string {
	const most = 1000
	b := []byte(s)
	if len(b) > most {
		b = b[:most]
	}
	for i, c := range b {
		if c == '\r' || c == '\n' {
			b[i] = ' '
		}
	}
	return string(b)
}
