package demo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
)

const (
	// ackWait is after how long a message that a dead worker had in hand is given
	// to the next one.
	ackWait = 2 * time.Second
	// workTime is what the pretended work on one message takes.
	workTime = 2 * time.Millisecond
	// requestTime is how long one request to the server may take.
	requestTime = 5 * time.Second
)

// traffic is the stream that the partitions' messages go through: one subject and
// one durable consumer for each partition, made once. The consumer is the cursor: it
// belongs to the partition, whoever runs it.
type traffic struct {
	stream string
	prefix string
}

func newTraffic(group string) traffic {
	return traffic{stream: "parti-demo-" + group, prefix: "parti-demo." + group + "."}
}

// provision makes the stream and its consumers.
func (t traffic) provision(ctx context.Context, js jetstream.JetStream, partitions []string) error {
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: t.stream, Subjects: []string{t.prefix + "*"},
		Description: "messages of `parti demo`; may be deleted when no demo runs",
		MaxAge:      time.Hour,
	})
	if err != nil {
		return fmt.Errorf("make the stream %s: %w", t.stream, err)
	}
	for _, id := range partitions {
		_, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
			Durable: id, FilterSubject: t.prefix + id, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: ackWait, MaxAckPending: 1, // in order
		})
		if err != nil {
			return fmt.Errorf("make the consumer of %s: %w", id, err)
		}
	}
	return nil
}

// remove deletes the stream.
func (t traffic) remove(ctx context.Context, js jetstream.JetStream) error {
	if err := js.DeleteStream(ctx, t.stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete the stream %s: %w", t.stream, err)
	}
	return nil
}

// A producer publishes numbered messages to every partition in turn.
type producer struct {
	traffic traffic
	js      jetstream.JetStream
	book    *ledger
	ids     []string
	rate    int // messages per second, all together

	cancel context.CancelFunc
	done   sync.WaitGroup
}

const producerTick = 10 * time.Millisecond

func (p *producer) start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	p.done.Go(func() { p.run(ctx) })
}

// stop returns when nothing is published any more.
func (p *producer) stop() {
	if p.cancel != nil {
		p.cancel()
	}
	p.done.Wait()
}

func (p *producer) run(ctx context.Context) {
	tick := time.NewTicker(producerTick)
	defer tick.Stop()
	began, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := int(time.Since(began).Seconds() * float64(p.rate))
		if due-n > p.rate { // it was held up: no use in a flood
			began, n, due = time.Now(), 0, 0
		}
		for ; n < due; n++ {
			if !p.publish(ctx, p.ids[n%len(p.ids)]) {
				return
			}
		}
	}
}

// publish sends the partition's next message until the server has it. It reports
// false when ctx ended and the server would not say; a try that is under way ends
// by itself.
func (p *producer) publish(ctx context.Context, id string) bool {
	seq := p.book.Next(id)
	text := strconv.FormatUint(seq, 10)
	for {
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTime)
		// The message ID makes a second try harmless.
		_, err := p.js.Publish(try, p.traffic.prefix+id, []byte(text), jetstream.WithMsgID(id+"#"+text))
		cancel()
		if err == nil {
			p.book.Sent(id, seq)
			return true
		}
		if !pause(ctx, 100*time.Millisecond) {
			return false
		}
	}
}

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A puller is the handler of one worker's partitions.
type puller struct {
	traffic traffic
	js      jetstream.JetStream
	book    *ledger
	self    func() owner
	lose    *atomic.Bool // sabotage: acknowledge the next message without processing it
}

// Run pulls the partition's messages, one after the other, until it is asked to stop.
func (h *puller) Run(ctx context.Context, l parti.Lease) error {
	r := h.book.Begin(l.Partition.ID, h.self(), l.Token)
	defer func() { r.End(why(ctx)) }()
	for ctx.Err() == nil {
		h.pull(ctx, l, r)
		pause(ctx, 50*time.Millisecond) // only after a failure
	}
	return nil
}

// why translates what ended a handler's context.
func why(ctx context.Context) cause {
	switch err := context.Cause(ctx); {
	case err == nil:
		return byReturn
	case errors.Is(err, parti.ErrRevoked):
		return byHandoff
	case errors.Is(err, parti.ErrStopped):
		return byStop
	default:
		return byFence
	}
}

// pull works until ctx ends or something fails, then gives back what it has not begun.
func (h *puller) pull(ctx context.Context, l parti.Lease, r *run) {
	consumer, err := h.js.Consumer(ctx, h.traffic.stream, l.Partition.ID)
	if err != nil {
		return
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(2), jetstream.PullExpiry(2*time.Second), jetstream.PullHeartbeat(500*time.Millisecond))
	if err != nil {
		return
	}
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			continue // the server is slow or away; the iterator asks again
		}
		if err != nil {
			break
		}
		if !h.process(l, r, msg) { //nolint:contextcheck // what is in hand is finished under Hard, not under ctx
			break
		}
	}
	messages.Drain()
	for {
		msg, err := messages.Next(jetstream.NextContext(l.Hard())) //nolint:contextcheck // ctx has ended
		if err != nil {
			messages.Stop()
			return
		}
		_ = msg.Nak()
	}
}

// process does the work on one message, the effect, and the acknowledgement, in
// this order: a worker that dies in between leaves a message that comes again, never
// one that is lost. It reports false when it could not.
func (h *puller) process(l parti.Lease, r *run, msg jetstream.Msg) bool {
	seq, err := strconv.ParseUint(string(msg.Data()), 10, 64)
	if err != nil || seq == 0 {
		_ = msg.Term() // not ours
		return true
	}
	if !pause(l.Hard(), workTime) || l.Check() != nil {
		_ = msg.Nak()
		return false
	}
	ctx, cancel := context.WithTimeout(l.Hard(), ackWait)
	defer cancel()
	if h.lose.CompareAndSwap(true, false) {
		lost := msg.DoubleAck(ctx) == nil
		h.lose.Store(!lost) // an acknowledgement that did not arrive loses nothing
		return lost
	}
	return r.Effect(seq) && msg.DoubleAck(ctx) == nil
}
