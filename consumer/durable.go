package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
)

// Durable is the [parti.Handler] that [NewDurable] makes. It is safe for concurrent
// use, and may serve one Manager.
type Durable struct{ *core }

var _ parti.Handler = (*Durable)(nil)

// NewDurable makes a handler that consumes the messages of each partition through a
// durable consumer of that partition's own. Its name is made of group, which is that of
// the parti group or any other that is used for this purpose alone, and of the partition.
//
// subject is the filter of a partition's consumer: {partition} stands for the ID, as in
// orders.{partition} or orders.{partition}.>.
//
// It looks at the stream before anything runs, and fails with an [OptionError] or a
// [StreamError], which say what to do: a stream that is not there, subjects that it does
// not have, a start that a work queue does not know, a dead-letter subject that nobody
// stores.
func NewDurable(ctx context.Context, js jetstream.JetStream, group, stream, subject string, handle Func, opts ...Option) (*Durable, error) {
	c, err := newCore(js, group, subject, handle, opts, wayDurable)
	if err != nil {
		return nil, err
	}
	if err := c.look(ctx, stream); err != nil {
		return nil, err
	}
	d := &Durable{c}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := d.allowed(ctx, d.needs()...); err != nil {
		return nil, err
	}
	return d, nil
}

// Provision makes the consumers of these partitions, and leaves alone those that are
// there and right, so that workers need no permission to make any; see [WithoutCreate].
// It makes none if the stream may not have so many, and stops at the first that cannot be
// made.
func (d *Durable) Provision(ctx context.Context, partitions ...parti.Partition) error {
	if err := d.enough(ctx, partitions); err != nil {
		return err
	}
	for _, p := range partitions {
		if _, err := d.consumer(ctx, p.ID, true); err != nil {
			return err
		}
	}
	return nil
}

// enough says whether the stream may have as many consumers as it needs for these.
func (d *Durable) enough(ctx context.Context, partitions []parti.Partition) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	s, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return d.js.Stream(ctx, d.name) })
	if err != nil {
		return fmt.Errorf("consumer: look at stream %s: %w", d.name, err)
	}
	most := s.CachedInfo().Config.MaxConsumers
	if most <= 0 {
		return nil // the server's own limit is told when it is reached
	}
	there := map[string]bool{}
	list := s.ConsumerNames(ctx)
	for name := range list.Name() {
		there[name] = true
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("consumer: list the consumers of stream %s: %w", d.name, err)
	}
	have, more := len(there), 0
	for _, p := range partitions {
		name, err := consumerName(d.group, p.ID)
		if err != nil {
			return err
		}
		if !there[name] {
			there[name] = true
			more++
		}
	}
	if have+more > most {
		return &StreamError{d.name, fmt.Sprintf("may have %d consumers, has %d, and %d more are needed", most, have, more), "raise its max_consumers, or have fewer partitions, or use NewCursor"}
	}
	return nil
}

// config is what the consumer of a partition must be.
func (d *Durable) config(partition string) (cfg jetstream.ConsumerConfig, err error) {
	cfg = jetstream.ConsumerConfig{
		Description:   "messages of partition " + partition + " of group " + d.group,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       d.opts.ackWait,
		MaxAckPending: d.opts.inFlight,
		MaxDeliver:    -1, // we count, and say what becomes of it
		Metadata:      map[string]string{metaGroup: d.group, metaPartition: partition},
	}
	if cfg.Durable, err = consumerName(d.group, partition); err != nil {
		return cfg, err
	}
	if cfg.FilterSubject, err = d.subject.of(partition); err != nil {
		return cfg, err
	}
	switch d.opts.start.kind {
	case startNew:
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	case startTime:
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &d.opts.start.at
	default:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	return cfg, nil
}

// consumer finds the consumer of a partition, or makes it.
func (d *Durable) consumer(ctx context.Context, partition string, create bool) (jetstream.Consumer, error) {
	want, err := d.config(partition)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	c, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return d.stream.Consumer(ctx, want.Durable) })
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound) && create:
		c, err = ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return d.stream.CreateConsumer(ctx, want) })
		if err != nil {
			return nil, d.noConsumer(err, partition, "make")
		}
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, &StreamError{d.name, "has no consumer for partition " + partition, "make it with Provision, or let the workers make it"}
	case err != nil:
		return nil, d.noConsumer(err, partition, "look at")
	}
	have := c.CachedInfo().Config
	if wrong := differences(&have, &want); len(wrong) > 0 {
		return nil, &SettingsError{Stream: d.name, Consumer: want.Durable, Partition: partition, Wrong: wrong}
	}
	if create && (have.AckWait != want.AckWait || have.MaxAckPending != want.MaxAckPending || have.MaxDeliver != want.MaxDeliver) {
		have.AckWait, have.MaxAckPending, have.MaxDeliver = want.AckWait, want.MaxAckPending, want.MaxDeliver
		c, err = ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return d.stream.UpdateConsumer(ctx, have) })
		if err != nil {
			return nil, d.noConsumer(err, partition, "update")
		}
	}
	return c, nil
}

// consumersExceeded is JetStream's error when a stream may have no more consumers.
const consumersExceeded = 10026

func (d *Durable) noConsumer(err error, partition, doing string) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == consumersExceeded {
		return &StreamError{d.name, "may have no more consumers, and partition " + partition + " needs one", "raise the stream's max_consumers or the server's default_max_consumers, or have fewer partitions"}
	}
	return fmt.Errorf("consumer: %s the consumer of partition %s on stream %s: %w", doing, partition, d.name, err)
}

// differences names what an existing consumer has that cannot be changed.
func differences(have, want *jetstream.ConsumerConfig) (wrong []string) {
	if have.FilterSubject != want.FilterSubject || len(have.FilterSubjects) > 0 {
		wrong = append(wrong, fmt.Sprintf("filter is %s, must be %s", strings.Join(append(have.FilterSubjects, have.FilterSubject), " "), want.FilterSubject))
	}
	if have.AckPolicy != want.AckPolicy {
		wrong = append(wrong, fmt.Sprintf("ack policy is %v, must be %v", have.AckPolicy, want.AckPolicy))
	}
	if have.DeliverSubject != "" {
		wrong = append(wrong, "it pushes to "+have.DeliverSubject+", must be pulled from")
	}
	return wrong
}
