package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
)

// Cursor is the [parti.Handler] that [NewCursor] makes. It is safe for concurrent use,
// and may serve one Manager.
type Cursor struct {
	*core
	mu  sync.Mutex
	hub *hub // while any partition is held
}

var _ parti.Handler = (*Cursor)(nil)

// NewCursor makes a handler for thousands of partitions: a worker reads its partitions'
// subjects together, through few ephemeral consumers, and how far a partition is done
// stands in a key of a bucket, its cursor, as Kafka keeps offsets. The stream must have
// limits retention.
//
// A cursor is written under the token of the partition's lease, and on condition of the
// one before: once the next owner has begun, no former one can move it. It is written
// as often as [CursorEvery] says, and when the partition is let go of.
//
// group and subject are as for [NewDurable]; so no ID may begin with another ID and a dot
// where the subject ends with >. The bucket, see [CursorBucket], is made if it
// is not there, with as many replicas as the stream; workers that are not permitted to do
// that say [WithoutCreate]. A bucket that is there must keep its values: no TTL, and no
// limits that let old ones go. A cursor names its group and subject, and under others the
// partition fails with a [CursorError]: so does one whose subject was changed.
//
// It looks at stream and bucket before anything runs, and fails with [OptionError]s, a
// [DeniedError] or a [StreamError], which say what to do. It does not work through a
// JetStream domain or another prefix of the API.
func NewCursor(ctx context.Context, js jetstream.JetStream, group, stream, subject string, handle Func, opts ...Option) (*Cursor, error) {
	c, err := newCore(js, group, subject, handle, opts, wayCursor)
	if err != nil {
		return nil, err
	}
	if !usual(js) {
		return nil, errors.New("consumer: NewCursor does not work through a JetStream domain or another API prefix: connect to a server of that domain")
	}
	if err := c.look(ctx, stream); err != nil {
		return nil, err
	}
	if r := c.stream.CachedInfo().Config.Retention; r != jetstream.LimitsPolicy {
		return nil, &StreamError{stream, fmt.Sprintf("has retention %v, and removes what several readers need", r), "use NewDurable, or a stream with limits retention"}
	}
	if after := c.stream.CachedInfo().Config.ConsumerLimits.InactiveThreshold; after > 0 && after < idleConsumer {
		return nil, &StreamError{stream, fmt.Sprintf("takes no consumer that may be inactive for more than %v, and readers have %v", after, idleConsumer), fmt.Sprintf("raise inactive_threshold of its consumer_limits to %v, or take it out", idleConsumer)}
	}
	if c.opts.bucket == "" {
		c.opts.bucket = group + "-cursors"
	}
	cur := &Cursor{core: c}
	if err := c.cursors(ctx); err != nil {
		return nil, err
	}
	if c.opts.provision {
		return cur, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := cur.allowed(ctx, cur.needs()...); err != nil {
		return nil, err
	}
	key := nats.NewMsg(cur.cursorSubject(nobody))
	key.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "9999999999999999999") // it is refused
	if err := cur.permits(ctx, key); err != nil {
		return nil, err
	}
	return cur, nil
}

// cursors finds the bucket of cursors, or makes it.
func (c *core) cursors(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	name := "KV_" + c.opts.bucket
	if err := c.allowed(ctx, c.api()+"STREAM.INFO."+name); err != nil {
		return err
	}
	s, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return c.js.Stream(ctx, name) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if !c.opts.create {
			return &StreamError{name, "is not there, and is to keep the cursors", "let NewCursor make it once without WithoutCreate, or name another bucket with CursorBucket"}
		}
		if err := c.allowed(ctx, c.api()+"STREAM.CREATE."+name); err != nil {
			return err
		}
		// AllowDirect is off, so that a read finds what was written last.
		cfg := jetstream.StreamConfig{
			Name: name, Description: "how far partitions of group " + c.group + " are done", Subjects: []string{"$KV." + c.opts.bucket + ".>"},
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DenyDelete: true, AllowRollup: true,
			Storage: jetstream.FileStorage, Replicas: c.stream.CachedInfo().Config.Replicas,
		}
		s, err = ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return c.js.CreateStream(ctx, cfg) })
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another worker was quicker, or of another version
			s, err = c.js.Stream(ctx, name)
		}
	}
	if err != nil {
		return fmt.Errorf("consumer: bucket %s of cursors: %w", c.opts.bucket, err)
	}
	cfg := s.CachedInfo().Config
	switch {
	case cfg.MaxAge > 0:
		return &StreamError{name, fmt.Sprintf("forgets its values after %v, and is to keep the cursors", cfg.MaxAge), "use a bucket without TTL"}
	case (cfg.MaxMsgs > 0 || cfg.MaxBytes > 0) && cfg.Discard == jetstream.DiscardOld:
		return &StreamError{name, "lets old values go when it is full, and is to keep the cursors", "use a bucket that discards new ones, or without limits"}
	case cfg.Retention != jetstream.LimitsPolicy:
		return &StreamError{name, fmt.Sprintf("has retention %v, and is to keep the cursors", cfg.Retention), "use a key-value bucket"}
	}
	return nil
}

// Run consumes one partition for as long as it is owned. It is called by the Manager.
func (c *Cursor) Run(ctx context.Context, l parti.Lease) error {
	if c.opts.provision {
		return errProvisionOnly
	}
	filter, err := c.subject.of(l.Partition.ID)
	if err != nil {
		return err
	}
	owned := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.Hard(), func() { cancel(context.Cause(l.Hard())) })()
	t := &tenure{holding: c.holding(l), cursor: c, filter: filter, end: cancel, more: make(chan struct{}, 1)}
	if err := t.claim(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	h := c.join(t)
	t.work(ctx, h)
	h.leave(t)
	t.release(h)
	if owned.Err() != nil || l.Hard().Err() != nil {
		c.refused.forget(l.Partition.ID)
	}
	if err := context.Cause(ctx); ended(err) {
		return err
	}
	return nil
}

// ended says whether it is for us that a partition has ended.
func ended(cause error) bool {
	return errors.As(cause, new(*movedError)) || errors.As(cause, new(*fencedError)) || errors.As(cause, new(*StreamError)) || errors.As(cause, new(*CursorError))
}

// join begins to read for a partition.
func (c *Cursor) join(t *tenure) *hub {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hub == nil {
		c.hub = newHub(c)
	}
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tenures[t] = struct{}{}
	h.seek(t)
	return h
}
