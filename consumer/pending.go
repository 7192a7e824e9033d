package consumer

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Pending is how many messages of a partition are not done: those that wait, and those in
// hand. It needs no lease; the answer is as old as the question. A partition that was
// never owned has no consumer yet, which is an error.
func (d *Durable) Pending(ctx context.Context, partition string) (uint64, error) {
	c, err := d.consumer(ctx, partition, false)
	if err != nil {
		return 0, err
	}
	return pendingOf(c.CachedInfo()), nil
}

// Pending is how many messages of a partition come after its cursor. It needs no lease;
// the answer is as old as the question, and what was done since the cursor was written, or
// out of turn, counts. Of a partition that was never owned it is what it would begin with.
func (c *Cursor) Pending(ctx context.Context, partition string) (uint64, error) {
	filter, err := c.subject.of(partition)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	s, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return c.js.Stream(ctx, c.name) })
	if err != nil {
		return 0, fmt.Errorf("consumer: look at stream %s: %w", c.name, err)
	}
	rec, _, _, err := c.read(ctx, partition)
	if err != nil {
		return 0, err
	}
	start := uint64(1)
	switch info := s.CachedInfo(); {
	case !rec.Begun:
		if start, err = c.first(ctx, info); err != nil {
			return 0, err
		}
	case rec.Created.Equal(info.Created):
		start = rec.Done + 1
	}
	cfg := jetstream.ConsumerConfig{
		Name: c.group + "~" + nuid.Next(), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start, FilterSubject: filter,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: requestTime,
	}
	cons, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return c.stream.CreateConsumer(ctx, cfg) })
	if err != nil {
		return 0, fmt.Errorf("consumer: count the messages of partition %s: %w", partition, err)
	}
	c.remove(ctx, cfg.Name)
	return cons.CachedInfo().NumPending, nil
}
