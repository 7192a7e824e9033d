package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
)

// A Leftover is what is left on the server of a partition that is not listed any more.
type Leftover struct {
	Partition string    // empty: a key that says of none
	Name      string    // of the consumer, or of the cursor's key
	Pending   uint64    // messages that nobody has processed, in hand ones included
	Since     time.Time // when Sweep found it first (Durable), or when its owner wrote it last (Cursor)
	Removed   bool
	Why       string // it was not removed
}

// errNoPartitions protects against a source that has failed.
var errNoPartitions = errors.New("consumer: Sweep without any partition would take all consumers for leftovers: give it the partitions that there are")

// MinGrace is the least grace of Sweep: no list is so old, and no idle cursor.
const MinGrace = 10 * time.Minute

func checkSweep(partitions []parti.Partition, grace time.Duration) error {
	switch {
	case len(partitions) == 0:
		return errNoPartitions
	case grace < MinGrace:
		return &OptionError{Option: "Sweep", Value: grace.String(), Want: "give a grace of " + MinGrace.String() + " or more"}
	}
	return nil
}

const (
	metaGroup     = "parti-group"
	metaPartition = "parti-partition"
	metaStale     = "parti-stale-since" // RFC 3339; only on consumers of partitions that are not listed
)

// Sweep reports the consumers of this group whose partitions are not among those given,
// and removes those that have been so for the grace, have no message left and nobody who
// pulls. When it has found one stands with the consumer on the server, by the server's
// clock, so that anybody may call Sweep, again and again, with all partitions that there
// are: once an hour from any worker is enough, and several at once do no harm. What could
// not be done with one consumer is its Why, and part of the error; the others are swept.
//
// A partition that comes back within the grace goes on where it was. One that comes back
// after its consumer was removed begins as one that was never seen, see [StartAt]: so does
// one that comes back in the moment between Sweep's last look at its consumer and the
// removal, which JetStream cannot do on condition. With a work queue nothing is lost by
// that, since what is not done is still in the stream; with limits retention and [FromNew],
// what came before the new consumer is. A stream with interest retention drops what comes
// for a partition without a consumer: its consumers are reported, and never removed.
//
// It needs the permissions of a provisioner, and fails with a [DeniedError] before it does
// anything if it lacks one.
func (d *Durable) Sweep(ctx context.Context, partitions []parti.Partition, grace time.Duration) ([]Leftover, error) {
	if err := checkSweep(partitions, grace); err != nil {
		return nil, err
	}
	may, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := d.allowed(may, d.sweeps()...); err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, p := range partitions {
		listed[p.ID] = true
	}
	list := d.stream.ListConsumers(ctx)
	var infos []*jetstream.ConsumerInfo
	for info := range list.Info() {
		if d.owns(info) {
			infos = append(infos, info)
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("consumer: list the consumers of stream %s: %w", d.name, err)
	}
	var (
		left   []Leftover
		failed []error
	)
	for _, info := range infos {
		if ctx.Err() != nil {
			failed = append(failed, context.Cause(ctx))
			break
		}
		if listed[info.Config.Metadata[metaPartition]] {
			failed = append(failed, d.mark(ctx, info, ""))
			continue
		}
		l, err := d.leftover(ctx, info, grace)
		if err != nil {
			l.Why = err.Error()
		}
		left, failed = append(left, l), append(failed, err)
	}
	slices.SortFunc(left, func(a, b Leftover) int { return strings.Compare(a.Partition, b.Partition) })
	return left, errors.Join(failed...)
}

// owns says whether a consumer is that of a partition of this group, and not, say, a copy
// that somebody has made of one.
func (d *Durable) owns(info *jetstream.ConsumerInfo) bool {
	name, err := consumerName(d.group, info.Config.Metadata[metaPartition])
	return err == nil && info.Config.Metadata[metaGroup] == d.group && info.Config.Durable == name
}

// leftover deals with one consumer of a partition that is not listed.
func (d *Durable) leftover(ctx context.Context, info *jetstream.ConsumerInfo, grace time.Duration) (Leftover, error) {
	l := Leftover{Partition: info.Config.Metadata[metaPartition], Name: info.Name, Pending: pendingOf(info)}
	since, err := time.Parse(time.RFC3339, info.Config.Metadata[metaStale])
	if err != nil { // it is new
		l.Since, l.Why = info.TimeStamp, "the grace has begun"
		return l, d.mark(ctx, info, l.Since.UTC().Format(time.RFC3339))
	}
	l.Since = since
	if l.Why = stays(info, since, grace); l.Why != "" {
		return l, nil
	}
	// A list is old by the time it has been gone through.
	again, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	c, err := ask(again, func(ctx context.Context) (jetstream.Consumer, error) { return d.stream.Consumer(ctx, info.Name) })
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound): // somebody else has swept
		l.Removed = true
		return l, nil
	case err != nil:
		return l, fmt.Errorf("consumer: look at %s of stream %s: %w", info.Name, d.name, err)
	}
	now := c.CachedInfo()
	l.Pending = pendingOf(now)
	switch {
	case !now.Created.Equal(info.Created) || now.Config.Metadata[metaStale] != info.Config.Metadata[metaStale]:
		l.Why = "its partition has come back meanwhile, by somebody else's list"
	default:
		l.Why = stays(now, since, grace)
	}
	if l.Why != "" {
		return l, nil
	}
	// The consumer's leader may not have heard yet of what the stream's leader has stored.
	switch _, err := d.stored(again, d.name, which{Seq: now.Delivered.Stream + 1, Next: now.Config.FilterSubject}); {
	case err == nil:
		l.Pending, l.Why = 1, notDone(1)
		return l, nil
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return l, fmt.Errorf("consumer: look for messages of %s of stream %s: %w", info.Name, d.name, err)
	}
	// What it had when this process began may have been changed since.
	s, err := ask(again, func(ctx context.Context) (jetstream.Stream, error) { return d.js.Stream(ctx, d.name) })
	switch {
	case err != nil:
		return l, fmt.Errorf("consumer: look at stream %s: %w", d.name, err)
	case s.CachedInfo().Config.Retention == jetstream.InterestPolicy:
		l.Why = "the stream has interest retention, and would drop what comes"
		return l, nil
	}
	// Once: by the second time it may be the one of a partition that has come back.
	if err := d.stream.DeleteConsumer(again, info.Name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return l, fmt.Errorf("consumer: remove %s of stream %s: %w", info.Name, d.name, err)
	}
	l.Removed = true
	return l, nil
}

func pendingOf(info *jetstream.ConsumerInfo) uint64 {
	return info.NumPending + uint64(info.NumAckPending)
}

// notDone says that so many messages keep something from being removed.
func notDone(n uint64) string {
	if n == 1 {
		return "1 message is not done"
	}
	return fmt.Sprintf("%d messages are not done", n)
}

// stays says why a consumer may not be removed whose partition has not been listed since
// then; empty: it may.
func stays(info *jetstream.ConsumerInfo, since time.Time, grace time.Duration) string {
	switch n := pendingOf(info); {
	case n > 0:
		return notDone(n)
	case info.NumWaiting > 0:
		return "somebody pulls from it"
	case info.TimeStamp.Sub(since) < grace:
		return "the grace is not over"
	default:
		return ""
	}
}

// mark writes down since when the consumer's partition is not listed; empty: it is.
func (d *Durable) mark(ctx context.Context, info *jetstream.ConsumerInfo, since string) error {
	cfg := info.Config
	if cfg.Metadata[metaStale] == since {
		return nil
	}
	cfg.Metadata = map[string]string{}
	for k, v := range info.Config.Metadata {
		if !strings.HasPrefix(k, "_nats") && k != metaStale {
			cfg.Metadata[k] = v
		}
	}
	if since != "" {
		cfg.Metadata[metaStale] = since
	}
	one, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_, err := ask(one, func(ctx context.Context) (jetstream.Consumer, error) { return d.stream.UpdateConsumer(ctx, cfg) })
	if err != nil && !errors.Is(err, jetstream.ErrConsumerDoesNotExist) {
		return fmt.Errorf("consumer: mark %s of stream %s: %w", info.Name, d.name, err)
	}
	return nil
}

// Sweep reports the cursors of this group, stream and subject whose partitions are not
// among those given, and removes those that nobody has written for the grace, and after
// which no message has come. Anybody may call it, again and again, with all partitions that
// there are. The grace is counted from when the last owner has written, by its clock, to now,
// by the clock of who calls: let it be long beside what the two may differ. A partition that
// comes back after that begins as one that was never seen, see [StartAt]. What could not be
// done with one cursor is its Why, and part of the error; the others are swept.
//
// It needs the permissions of a worker.
func (c *Cursor) Sweep(ctx context.Context, partitions []parti.Partition, grace time.Duration) ([]Leftover, error) {
	if err := checkSweep(partitions, grace); err != nil {
		return nil, err
	}
	listed := map[string]bool{}
	for _, p := range partitions {
		listed[keyOf(c.name, p.ID)] = true
	}
	prefix := "$KV." + c.opts.bucket + "."
	one, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	s, err := ask(one, func(ctx context.Context) (jetstream.Stream, error) { return c.js.Stream(ctx, "KV_"+c.opts.bucket) })
	if err != nil {
		return nil, fmt.Errorf("consumer: look at bucket %s: %w", c.opts.bucket, err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(prefix+keyed(c.name)+".>"))
	if err != nil {
		return nil, fmt.Errorf("consumer: list the keys of bucket %s: %w", c.opts.bucket, err)
	}
	var (
		left   []Leftover
		failed []error
	)
	for _, subject := range slices.Sorted(maps.Keys(info.State.Subjects)) {
		if ctx.Err() != nil {
			failed = append(failed, context.Cause(ctx))
			break
		}
		key := strings.TrimPrefix(subject, prefix)
		if listed[key] {
			continue
		}
		l, err := c.leftover(ctx, key, grace)
		if err != nil {
			l.Why = err.Error()
		}
		if failed = append(failed, err); l.Name != "" {
			left = append(left, l)
		}
	}
	slices.SortFunc(left, func(a, b Leftover) int { return strings.Compare(a.Partition, b.Partition) })
	return left, errors.Join(failed...)
}

// leftover deals with one cursor of a partition that is not listed. It is nobody's when
// the key is gone, or another's.
func (c *Cursor) leftover(ctx context.Context, key string, grace time.Duration) (l Leftover, err error) {
	one, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	partition, odd := partitionOf(strings.TrimPrefix(key, keyed(c.name)+"."))
	m, err := c.stored(one, "KV_"+c.opts.bucket, which{Last: "$KV." + c.opts.bucket + "." + key})
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), err == nil && isMarker(m.Header):
		return l, nil
	case err != nil:
		return Leftover{Partition: partition, Name: key}, fmt.Errorf("consumer: read %s of bucket %s: %w", key, c.opts.bucket, err)
	case odd != nil:
		return Leftover{Name: key}, fmt.Errorf("consumer: key %s of bucket %s: %w", key, c.opts.bucket, odd)
	}
	var rec record
	if err := json.Unmarshal(m.Data, &rec); err != nil {
		return Leftover{Partition: partition, Name: key}, fmt.Errorf("consumer: key %s of bucket %s is not a cursor: %w", key, c.opts.bucket, err)
	}
	if c.foreign(&rec) {
		return l, nil
	}
	l = Leftover{Partition: partition, Name: key, Since: rec.Written}
	if l.Pending, err = c.Pending(ctx, partition); err != nil {
		return l, err
	}
	switch {
	case l.Pending > 0:
		l.Why = notDone(l.Pending)
		return l, nil
	case time.Since(rec.Written) < grace:
		l.Why = "the grace is not over"
		return l, nil
	}
	del := nats.NewMsg(m.Subject)
	del.Header.Set("KV-Operation", "DEL")
	del.Header.Set(HeaderToken, m.Header.Get(HeaderToken))
	var api *jetstream.APIError
	switch _, err := c.js.PublishMsg(ctx, del, jetstream.WithExpectLastSequencePerSubject(m.Sequence)); {
	case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		l.Why = "somebody has written it meanwhile"
	case err != nil:
		return l, fmt.Errorf("consumer: remove key %s of bucket %s: %w", key, c.opts.bucket, err)
	default:
		l.Removed = true
	}
	return l, nil
}

func isMarker(h nats.Header) bool {
	return h.Get("KV-Operation") != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}

// partitionOf undoes what keyed does to a partition's ID.
func partitionOf(key string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		if key[i] != '=' {
			b.WriteByte(key[i])
			continue
		}
		if i+2 >= len(key) {
			return "", errors.New("it ends in the middle of a character")
		}
		n, err := strconv.ParseUint(key[i+1:i+3], 16, 8)
		if err != nil {
			return "", err
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), nil
}
