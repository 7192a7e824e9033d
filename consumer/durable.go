package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
)

// Durable is the [parti.Handler] that [NewDurable] makes. It is safe for concurrent
// use, and may serve one Manager.
type Durable struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	group   string
	subject template
	handle  Func
	opts    options
	slots   chan struct{} // of the worker; nil: no bound
}

var _ parti.Handler = (*Durable)(nil)

// requestTime is how long one request to the server may take.
const requestTime = 5 * time.Second

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
	d := &Durable{js: js, group: group, subject: template(subject), handle: handle, opts: defaults()}
	for _, set := range opts {
		set(&d.opts)
	}
	if !groupName.MatchString(group) {
		return nil, fmt.Errorf("consumer: group %q: a name is letters, digits, - and _", group)
	}
	if handle == nil {
		return nil, errors.New("consumer: a nil Func: give one that processes a message")
	}
	if err := errors.Join(d.opts.check(), d.subject.check()); err != nil {
		return nil, err
	}
	for _, wrap := range slices.Backward(d.opts.wrap) {
		d.handle = wrap(d.handle)
	}
	if d.opts.perWorker > 0 {
		d.slots = make(chan struct{}, d.opts.perWorker)
	}
	if err := d.look(ctx, stream); err != nil {
		return nil, err
	}
	return d, nil
}

// look checks the stream.
func (d *Durable) look(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	s, err := d.js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return &StreamError{name, "is not there", "make it first, or see whether its name is right"}
	case err != nil:
		return fmt.Errorf("consumer: look at stream %s (does the user have the permission to publish to $JS.API.STREAM.INFO.%s?): %w", name, name, err)
	}
	d.stream = s
	cfg := s.CachedInfo().Config
	all := strings.Replace(string(d.subject), placeholder, "*", 1)
	_, after, _ := strings.Cut(string(d.subject), placeholder)
	if after == "" {
		all = strings.Replace(string(d.subject), placeholder, ">", 1) // an ID may have several tokens
	}
	switch {
	case !covers(cfg.Subjects, strings.Replace(string(d.subject), placeholder, "x", 1)) && !covers(cfg.Subjects, all):
		return &StreamError{name, fmt.Sprintf("does not have the subjects %s, but %s", d.subject, strings.Join(cfg.Subjects, ", ")), "give it these as well, or use another subject"}
	case cfg.Retention == jetstream.WorkQueuePolicy && d.opts.start.kind != startFirst:
		return &StreamError{name, "is a work queue, whose consumers begin with the first message", "use consumer.FromFirst(), or a stream with limits retention"}
	case cfg.NoAck:
		return &StreamError{name, "does not acknowledge what is published (NoAck)", "use one that does: messages may be lost before they are stored"}
	}
	return d.lookDead(ctx, name)
}

// lookDead checks the dead-letter subject.
func (d *Durable) lookDead(ctx context.Context, name string) error {
	if d.opts.dead == "" {
		return nil
	}
	if strings.ContainsAny(d.opts.dead, " *>\t") {
		return &OptionError{Option: "DeadLetter", Value: d.opts.dead, Want: "use a subject without wildcards"}
	}
	if covers([]string{strings.Replace(string(d.subject), placeholder, "*", 1)}, d.opts.dead) {
		return &OptionError{Option: "DeadLetter", Value: d.opts.dead, Want: fmt.Sprintf("use a subject that %s does not match, or dead letters come back", d.subject)}
	}
	_, err := d.js.StreamNameBySubject(ctx, d.opts.dead)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return &StreamError{name, "has dead letters that nobody keeps", fmt.Sprintf("make a stream that takes %s", d.opts.dead)}
	case err != nil:
		return fmt.Errorf("consumer: look for a stream that takes %s (does the user have the permission to publish to $JS.API.STREAM.NAMES?): %w", d.opts.dead, err)
	}
	return nil
}

// Provision makes the consumers of these partitions, and leaves alone those that are
// there and right, so that workers need no permission to make any; see [WithoutCreate].
// It stops at the first that cannot be made.
func (d *Durable) Provision(ctx context.Context, partitions ...parti.Partition) error {
	for _, p := range partitions {
		if _, err := d.consumer(ctx, p.ID, true); err != nil {
			return err
		}
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
		Metadata:      map[string]string{"parti-group": d.group, "parti-partition": partition},
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
	var c jetstream.Consumer
	err = insist(ctx, func() (err error) { c, err = d.stream.Consumer(ctx, want.Durable); return err })
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound) && create:
		if err := insist(ctx, func() (err error) { c, err = d.stream.CreateConsumer(ctx, want); return err }); err != nil {
			return nil, d.noConsumer(err, partition, "make")
		}
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, &StreamError{d.stream.CachedInfo().Config.Name, "has no consumer for partition " + partition, "make it with Provision, or let the workers make it"}
	case err != nil:
		return nil, d.noConsumer(err, partition, "look at")
	}
	have := c.CachedInfo().Config
	if wrong := differences(&have, &want); len(wrong) > 0 {
		return nil, &SettingsError{Stream: d.stream.CachedInfo().Config.Name, Consumer: want.Durable, Partition: partition, Wrong: wrong}
	}
	if create && (have.AckWait != want.AckWait || have.MaxAckPending != want.MaxAckPending || have.MaxDeliver != want.MaxDeliver) {
		have.AckWait, have.MaxAckPending, have.MaxDeliver = want.AckWait, want.MaxAckPending, want.MaxDeliver
		if err := insist(ctx, func() (err error) { c, err = d.stream.UpdateConsumer(ctx, have); return err }); err != nil {
			return nil, d.noConsumer(err, partition, "update")
		}
	}
	return c, nil
}

// insist repeats a request for as long as ctx allows while nobody is there to answer it, as
// when the stream or the consumer is about to have another leader.
func insist(ctx context.Context, request func() error) error {
	for {
		err := request()
		var api *jetstream.APIError
		if !errors.Is(err, nats.ErrNoResponders) && (!errors.As(err, &api) || api.ErrorCode != notAvailable) {
			return err
		}
		if pause(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return err
		}
	}
}

// notAvailable is JetStream's error when it has no leader right now.
const notAvailable = 10008

// consumersExceeded is JetStream's error when a stream may have no more consumers.
const consumersExceeded = 10026

func (d *Durable) noConsumer(err error, partition, doing string) error {
	name := d.stream.CachedInfo().Config.Name
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == consumersExceeded {
		return &StreamError{name, "may have no more consumers, and partition " + partition + " needs one", "raise the stream's max_consumers or the server's default_max_consumers, or have fewer partitions"}
	}
	return fmt.Errorf("consumer: %s the consumer of partition %s on stream %s: %w", doing, partition, name, err)
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
