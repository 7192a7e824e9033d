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
type Durable struct {
	*core
}

var _ parti.Handler = (*Durable)(nil)

// NewDurable makes a handler that consumes the messages of each partition through a
// durable consumer of that partition's own. Its name is made of group, which is that of
// the parti group or any other that is used for this purpose alone, and of the partition.
//
// subject is the filter of a partition's consumer: {partition} stands for the ID, as in
// orders.{partition} or orders.{partition}.>. No ID may begin with another ID and a dot
// where the subject ends with >: a message of orders.a.b.new would be of a and of a.b. Both
// are given it, and a work queue refuses the second consumer. [Durable.Provision] refuses
// such a list.
//
// It looks at the stream before anything runs, and fails with [OptionError]s, a
// [DeniedError] or a [StreamError], which say what to do: a stream that is not there,
// subjects that it does not have, a start that a work queue does not know, a limit that
// removes consumers which nobody pulls from, a dead-letter subject that nobody stores.
func NewDurable(ctx context.Context, js jetstream.JetStream, group, stream, subject string, handle Func, opts ...Option) (*Durable, error) {
	c, err := newCore(js, group, subject, handle, opts, wayDurable)
	if err != nil {
		return nil, err
	}
	if err := c.look(ctx, stream); err != nil {
		return nil, err
	}
	if after := c.stream.CachedInfo().Config.ConsumerLimits.InactiveThreshold; after > 0 {
		return nil, &StreamError{stream, fmt.Sprintf("removes each consumer that nobody pulls from for %v, and with it how far a partition is done", after), fmt.Sprintf("take inactive_threshold out of its consumer_limits, or use NewCursor, which does with %v", idleConsumer)}
	}
	d := &Durable{core: c}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := d.allowed(ctx, d.needs()...); err != nil {
		return nil, err
	}
	return d, nil
}

// Provision makes the consumers of these partitions, and leaves alone those that are
// there and right, so that workers need no permission to make any; see [WithoutCreate].
// It makes none if it is not permitted to, or if the stream or its account may not have so
// many. Whether the server's own limit is enough (default_max_consumers, 1 000 per stream
// unless the server says otherwise) is known only when it is reached. It stops at the first
// that cannot be made. It makes none either if a message can be of two of the partitions.
//
// The account's limit is heeded if the user may ask for it, at $JS.API.INFO.
func (d *Durable) Provision(ctx context.Context, partitions ...parti.Partition) error {
	if err := d.subject.distinct(partitions); err != nil {
		return err
	}
	if err := d.enough(ctx, partitions); err != nil {
		return err
	}
	for _, p := range partitions {
		_, err := d.consumer(ctx, p.ID, true)
		if errors.As(err, new(fullError)) {
			return d.full(ctx, partitions, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enough says whether consumers may be made, and as many as these need.
func (d *Durable) enough(ctx context.Context, partitions []parti.Partition) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := d.allowed(ctx, d.makes()...); err != nil {
		return err
	}
	s, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return d.js.Stream(ctx, d.name) })
	if err != nil {
		return fmt.Errorf("consumer: look at stream %s: %w", d.name, err)
	}
	cfg := s.CachedInfo().Config
	account, tiered := d.accountLimit(ctx, cfg.Replicas)
	if cfg.MaxConsumers <= 0 && account <= 0 {
		return nil
	}
	n, err := d.count(ctx, s, partitions)
	if err != nil {
		return err
	}
	if most := cfg.MaxConsumers; most > 0 && n.all+n.more > most {
		return &StreamError{d.name, fmt.Sprintf("may have %d consumers, has %d, and %d more are needed", most, n.all, n.more), "raise its max_consumers, or " + fewer}
	}
	if tiered { // it may have others that count elsewhere
		n.all = n.ours
	}
	if account > 0 && n.all+n.more > account {
		return &StreamError{d.name, fmt.Sprintf("may have %d consumers by the limit of its account, has %d, and %d more are needed", account, n.all, n.more), "raise the account's max_consumers, or " + fewer}
	}
	return nil
}

const fewer = "have fewer partitions, or use NewCursor"

// accountLimit is how many consumers the account may have on one stream, and whether this
// is of streams with so many replicas alone. 0 or less: no limit, or none that we may know.
func (d *Durable) accountLimit(ctx context.Context, replicas int) (most int, tiered bool) {
	if d.allowed(ctx, d.api()+"INFO") != nil {
		return 0, false
	}
	info, err := ask(ctx, d.js.AccountInfo)
	switch {
	case err != nil:
		return 0, false // the server says so when it is reached
	case len(info.Tiers) > 0:
		return info.Tiers[fmt.Sprintf("R%d", replicas)].Limits.MaxConsumers, true
	default:
		return info.Limits.MaxConsumers, false
	}
}

// A tally counts consumers of a stream.
type tally struct {
	all  int // that it has
	ours int // of these, of the partitions in question
	more int // that these partitions need
}

func (d *Durable) count(ctx context.Context, s jetstream.Stream, partitions []parti.Partition) (n tally, err error) {
	if err := d.allowed(ctx, d.api()+"CONSUMER.NAMES."+d.name); err != nil {
		return n, err
	}
	wanted := map[string]bool{}
	for _, p := range partitions {
		name, err := consumerName(d.group, p.ID)
		if err != nil {
			return n, err
		}
		wanted[name] = true
	}
	list := s.ConsumerNames(ctx)
	for name := range list.Name() {
		n.all++
		if wanted[name] {
			n.ours++
		}
	}
	if err := list.Err(); err != nil {
		return n, fmt.Errorf("consumer: list the consumers of stream %s: %w", d.name, err)
	}
	n.more = len(wanted) - n.ours
	return n, nil
}

// full says how many are missing where a limit was reached that nobody could know; err
// says that it was.
func (d *Durable) full(ctx context.Context, partitions []parti.Partition, err error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	n, failed := d.count(ctx, d.stream, partitions)
	if failed != nil {
		return err
	}
	return &StreamError{d.name, fmt.Sprintf("has %d consumers, may have no more, and %d more are needed", n.all, n.more), "raise its max_consumers, that of its account or the server's default_max_consumers, or " + fewer}
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
	edited := len(have.BackOff) > 0 || have.HeadersOnly
	if create && (edited || have.AckWait != want.AckWait || have.MaxAckPending != want.MaxAckPending || have.MaxDeliver != want.MaxDeliver) {
		have.AckWait, have.MaxAckPending, have.MaxDeliver = want.AckWait, want.MaxAckPending, want.MaxDeliver
		have.BackOff, have.HeadersOnly = nil, false // by its own times it would give out again what is in hand
		c, err = ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return d.stream.UpdateConsumer(ctx, have) })
		if err != nil {
			return nil, d.noConsumer(err, partition, "update")
		}
	}
	return c, nil
}

// consumersExceeded is JetStream's error when a stream may have no more consumers.
const consumersExceeded = 10026

// A fullError says that a consumer was not made since there may be no more.
type fullError struct{ *StreamError }

func (e fullError) Unwrap() error { return e.StreamError }

// exceeds says whether a consumer was not made since there may be no more.
func exceeds(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == consumersExceeded
}

func (d *Durable) noConsumer(err error, partition, doing string) error {
	if exceeds(err) {
		return fullError{&StreamError{d.name, "may have no more consumers, and partition " + partition + " needs one", "raise the stream's max_consumers or the server's default_max_consumers, or " + fewer}}
	}
	return fmt.Errorf("consumer: %s the consumer of partition %s on stream %s: %w", doing, partition, d.name, err)
}

// differences names what an existing consumer has that it must not have, and that is not for
// us to change.
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
	if have.InactiveThreshold > 0 {
		wrong = append(wrong, fmt.Sprintf("inactive_threshold is %v, must be 0 (this may be edited), or the server removes it while nobody pulls", have.InactiveThreshold))
	}
	return wrong
}

// serves says why a partition cannot be run by a consumer that may be looked at all the same.
func (d *Durable) serves(info *jetstream.ConsumerInfo, partition string) error {
	wrong := d.refuses(&info.Config)
	if info.Config.HeadersOnly && !d.opts.create { // who may update has done so
		wrong = append(wrong, "it gives headers only, must give data (this may be edited)")
	}
	if len(wrong) > 0 {
		return &SettingsError{Stream: d.name, Consumer: info.Name, Partition: partition, Wrong: wrong}
	}
	return nil
}

// refuses names the limits of an existing consumer by which it refuses each of our requests for
// messages: a client passes over that, and nothing would ever come.
func (d *Durable) refuses(have *jetstream.ConsumerConfig) (wrong []string) {
	if most := have.MaxRequestExpires; most > 0 && most < d.opts.expiry {
		wrong = append(wrong, fmt.Sprintf("max_expires is %v, must be 0 or PullExpiry, %v, or more (this may be edited)", most, d.opts.expiry))
	}
	if most := have.MaxRequestMaxBytes; most > 0 && most < d.pullBytes() {
		wrong = append(wrong, fmt.Sprintf("max_bytes is %d, must be 0 or %d or more (this may be edited)", most, d.pullBytes()))
	}
	return wrong
}
