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

	// HeaderDropped is how many bytes of data the message had, where the letter has none:
	// with them it would have been larger than the server, or the stream, takes.
	HeaderDropped = "Parti-Data-Dropped"
)

// hopeless says whether a message whose Func returned err is to be given up.
func (o *options) hopeless(m *Msg, err error) bool {
	if o.dead == "" {
		return false
	}
	return errors.Is(err, ErrPermanent) || o.maxDeliver > 0 && m.Tries >= o.maxDeliver
}

// The reasons of messages of which no error is known.
var (
	errWorn      = errors.New("consumer: it was given out as often as it may be, and each time its owner was lost, or gave it back without an error")
	errGivenBack = errors.New("consumer: it was given out as often as it may be, and was given back without an error")
)

// worn says whether a message that was given out so often is one that kills its owners:
// one that returned an error would have been given up before. A message may also have
// been given out and given back without a try, as when its partition moved: not so often.
func (o *options) worn(tries int) bool {
	return o.maxDeliver > 0 && tries > 2*o.maxDeliver+untried
}

// untried is how often a message may well be given back without a try.
const untried = 3

// bury stores the message under the dead-letter subject, without its data if it is too
// large with it. Its ID makes a second try harmless, within the stream's window for
// duplicates. When the message was stored is in the ID since a stream that is made anew
// gives the same sequences out again.
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
	id := jetstream.WithMsgID(fmt.Sprintf("%s/%s/%d/%d", c.group, m.Stream, m.Sequence, m.Stored.UnixNano()))
	_, err := c.js.PublishMsg(ctx, letter, id)
	if tooLarge(err) {
		letter.Data = nil
		letter.Header[HeaderDropped] = []string{strconv.Itoa(len(m.Data))}
		_, err = c.js.PublishMsg(ctx, letter, id)
	}
	if err != nil {
		return fmt.Errorf("consumer: message %d of %s could not be stored under %s, and stays: %w", m.Sequence, m.Stream, c.opts.dead, err)
	}
	return nil
}

// messageTooLarge is JetStream's error when a stream takes no messages of that size.
const messageTooLarge = 10054

func tooLarge(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.As(err, &api) && api.ErrorCode == messageTooLarge
}

// orders are what headers begin with that say to the stream that a message is published to
// what to do with it, or that only another stream may say. A stored message still has them,
// and they are not for the stream that keeps the dead letter: one of a batch, say, would
// wait there for the batch's end, and one that says which stream it was copied from is
// refused.
//
//nolint:gochecknoglobals // a constant
var orders = []string{
	jetstream.MsgIDHeader, jetstream.MsgRollup, jetstream.MsgTTLHeader,
	"Nats-Expected-", "Nats-Batch-", "Nats-Schedule", "Nats-Incr", "Nats-Stream-Source",
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
