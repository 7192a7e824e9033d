package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/parti-go/parti/internal/pattern"
)

// A reader reads for some partitions, in the order of the stream. Its consumer knows
// nothing that must not be lost: when anything is wrong with it, another one goes on.
type reader struct {
	hub    *hub
	ctx    context.Context //nolint:containedctx // it ends with the reader
	cancel context.CancelFunc
	room   chan struct{} // there may be room in a queue

	// Of the hub's lock:

	pos     uint64 // the last sequence that was read
	members map[string]*tenure
	filters int // how many partitions are asked for
}

// add makes it a partition's reader. h.mu is held.
func (r *reader) add(t *tenure) {
	delete(r.hub.seeking, t)
	t.reader, r.members[t.lease.Partition.ID] = r, t
}

// remove takes a partition away. h.mu is held.
func (r *reader) remove(t *tenure) {
	if r.members[t.lease.Partition.ID] == t {
		delete(r.members, t.lease.Partition.ID)
	}
	t.reader = nil
	r.wake()
	if len(r.members) == 0 {
		r.end()
	}
}

// end ends it. h.mu is held.
func (r *reader) end() {
	delete(r.hub.readers, r)
	r.cancel()
}

func (r *reader) meets(o *reader) bool {
	for _, t := range r.members {
		for _, u := range o.members {
			if t.overlaps(u) {
				return true
			}
		}
	}
	return false
}

// all are the partitions that it reads for.
func (r *reader) all() []*tenure {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	return slices.Collect(maps.Values(r.members))
}

func (r *reader) wake() {
	select {
	case r.room <- struct{}{}:
	default:
	}
}

// run reads until the reader ends.
func (r *reader) run() {
	var missed time.Time
	for failed := 0; r.ctx.Err() == nil; {
		began := time.Now()
		err := r.read()
		if r.ctx.Err() != nil {
			return
		}
		if missed = r.hub.miss(missed, err, r.all); err == nil {
			continue
		}
		if failed++; time.Since(began) > requestTime {
			failed = 1
		}
		r.hub.cursor.opts.observe(Trouble{Err: err})
		if failed >= fullFor && errors.As(err, new(fullError)) {
			r.giveWay()
		}
		pause(r.ctx, again(failed))
	}
}

// fullFor is how often a reader is refused a consumer before there is a reader less. Those that
// were made one a moment ago have not removed their consumers yet, and the reader that takes
// their place would be the next to give way, and so on, until there is one.
const fullFor = 4

// giveWay makes two readers one: rather one less than partitions that are not read.
func (r *reader) giveWay() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if r.ctx.Err() == nil { // else it was made one with another meanwhile
		r.hub.merge()
	}
}

// look ends the partitions of a stream that is not the one any more that they were read
// from, or that has lost its end: they begin again, with a look at their cursors. That is an
// error, and so is a stream that cannot be looked at.
func (r *reader) look(ctx context.Context) error {
	h, members := r.hub, r.all()
	info, err := h.look(ctx, members)
	if err != nil {
		return err
	}
	var another error
	for _, t := range members {
		t.writing.Lock()
		created := t.have.Created
		t.writing.Unlock()
		h.mu.Lock()
		next := t.next
		h.mu.Unlock()
		if !created.Equal(info.Created) || next > info.State.LastSeq+1 {
			another = &StreamError{info.Config.Name, "is another one now, or has lost its end", "its partitions begin again"}
			t.end(another)
		}
	}
	return another
}

// read makes a consumer that begins after the last message that was read, and reads
// until something is wrong with it.
func (r *reader) read() error {
	h := r.hub
	h.mu.Lock()
	filters := make([]string, 0, len(r.members))
	for _, t := range r.members {
		filters = append(filters, t.filter)
	}
	start := r.pos + 1
	r.filters = len(filters)
	h.mu.Unlock()
	if len(filters) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, requestTime)
	defer cancel()
	cfg := jetstream.ConsumerConfig{
		Name:          h.cursor.group + "~" + nuid.Next(),
		Description:   "a reader of group " + h.cursor.group,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		FilterSubjects: filters, InactiveThreshold: idleConsumer,
		Metadata: map[string]string{metaGroup: h.cursor.group},
	}
	// What was on its way when the connection broke is known by the number of what comes
	// next; after the last message nothing does.
	nc := h.cursor.js.Conn()
	reconnects := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(reconnects)
	cons, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return h.cursor.stream.CreateConsumer(ctx, cfg) })
	if exceeds(err) {
		return fullError{&StreamError{h.cursor.name, fmt.Sprintf("may have no more consumers, and one is needed that reads %d partitions", len(filters)), "raise the stream's max_consumers or the server's default_max_consumers"}}
	}
	if err != nil {
		return h.missing(fmt.Errorf("consumer: make a consumer for %d partitions of stream %s: %w", len(filters), h.cursor.name, err))
	}
	defer r.drop(cfg.Name)
	// After it was made: if the stream is made anew from now on, this consumer goes with it.
	if err := r.look(ctx); err != nil {
		return err
	}
	return r.consume(cons, reconnects)
}

// errReconnected ends a consumer of which something may be lost on the way.
var errReconnected = errors.New("consumer: the connection broke: another consumer reads on")

// consume hands out what a consumer sends until something is wrong with it, or nobody
// wants it any more: that is no error.
func (r *reader) consume(cons jetstream.Consumer, reconnects <-chan nats.Status) error {
	o := &r.hub.cursor.opts
	failed := make(chan error, 1)
	end := func(err error) {
		select {
		case failed <- err:
		default: // it has ended before
		}
	}
	want, over := uint64(0), false // of the one goroutine that messages come on
	read, err := cons.Consume(func(msg jetstream.Msg) {
		if over {
			return
		}
		want++
		more, err := r.receive(msg, want)
		if !more {
			over = true
			end(err)
		}
	},
		jetstream.PullMaxMessagesWithBytesLimit(r.hub.cursor.batchOf(cons), r.hub.cursor.pullBytes()),
		jetstream.PullExpiry(o.expiry), jetstream.PullHeartbeat(min(time.Second, o.expiry/2)),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { end(fmt.Errorf("consumer: read: %w", err)) }),
	)
	if err != nil {
		return fmt.Errorf("consumer: read: %w", err)
	}
	select {
	case err = <-failed:
	case <-reconnects:
		err = errReconnected
	case <-r.ctx.Done():
	}
	read.Stop()
	<-read.Closed() // no message is on its way into a queue
	return err
}

// receive takes one message, which must be the consumer's of that number. It reports
// false when there should be another consumer, or none.
func (r *reader) receive(msg jetstream.Msg, number uint64) (more bool, err error) {
	meta, err := msg.Metadata()
	switch {
	case err != nil:
		return false, fmt.Errorf("consumer: a message without its metadata: %w", err)
	case meta.Sequence.Consumer != number:
		return false, fmt.Errorf("consumer: message %d of a reader came as its number %d", number, meta.Sequence.Consumer)
	}
	return r.deliver(msg, meta), nil
}

const (
	idleConsumer = 30 * time.Second // after how long without a reader its consumer goes
	thin         = 8                // filters that are never worth another consumer

	// How long a partition without room may hold up the others of its reader, when there
	// are so many readers already that it should not have one of its own.
	stuckAfter = 50 * time.Millisecond
)

// drop removes the consumer.
func (r *reader) drop(name string) {
	if r.hub.cursor.js.Conn().IsConnected() {
		r.hub.cursor.remove(context.Background(), name)
	}
}

// remove removes a consumer of ours that is not needed any more. It goes by itself otherwise:
// whoever waits for this does not wait for long.
func (c *Cursor) remove(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	_, _ = ask(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, c.stream.DeleteConsumer(ctx, name) })
}

// deliver puts a message into the queues of the partitions that it is of. It reports
// false when there should be another consumer, or none.
func (r *reader) deliver(msg jetstream.Msg, meta *jetstream.MsgMetadata) bool {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	waited := false
	for r.ctx.Err() == nil {
		full := r.offer(msg, meta)
		if full == nil {
			r.pos = max(r.pos, meta.Sequence.Stream)
			return 2*len(r.members) > r.filters || r.filters < thin
		}
		if len(r.members) > 1 && (waited || len(h.readers)+len(h.seeking) < h.most()) {
			// It comes back when there is room. What it was not given begins here.
			full.next = max(full.next, meta.Sequence.Stream)
			r.remove(full)
			continue
		}
		h.mu.Unlock()
		waited = r.waitRoom()
		h.mu.Lock()
	}
	return false
}

// waitRoom waits until there may be room in a queue, and reports whether it was in vain.
func (r *reader) waitRoom() bool {
	t := time.NewTimer(stuckAfter)
	defer t.Stop()
	select {
	case <-r.room:
	case <-r.ctx.Done():
	case <-t.C:
		return true
	}
	return false
}

// offer gives a message to the partition that it is of; filters of one reader do not
// overlap. It returns the partition if that has no room. h.mu is held.
func (r *reader) offer(msg jetstream.Msg, meta *jetstream.MsgMetadata) (full *tenure) {
	return r.give(r.member(msg.Subject()), msg, meta)
}

// member is the partition that a subject is of. h.mu is held.
func (r *reader) member(subject string) *tenure {
	c := r.hub.cursor
	if id, ok := c.shape.id(subject, func(id string) bool { return r.members[id] != nil }); ok {
		return r.members[id]
	}
	for _, id := range c.subject.partitions(subject) {
		if t := r.members[id]; t != nil {
			return t
		}
	}
	return nil
}

// give puts a message into a partition's queue, unless that has had it. It returns the
// partition if there is no room. h.mu is held.
func (r *reader) give(t *tenure, msg jetstream.Msg, meta *jetstream.MsgMetadata) (full *tenure) {
	seq := meta.Sequence.Stream
	if t == nil || seq < t.next {
		return nil
	}
	if _, had := slices.BinarySearch(t.had, seq); had {
		t.next = seq + 1
		return nil
	}
	if !t.room() {
		return t
	}
	x := &letter{msg: msg, seq: seq, stored: meta.Timestamp, stream: meta.Stream}
	if seq == t.head {
		x.tries = t.tries
	}
	t.head, t.tries = 0, 0
	t.next = seq + 1
	t.bytes += len(msg.Data())
	t.queue = append(t.queue, x)
	if len(t.queue) == 1 {
		t.wake()
	}
	return nil
}

// A shape is a template by its numbers of tokens: most subjects can be matched by these.
type shape struct {
	before, after int  // tokens besides the ID
	open          bool // the last is >
}

func (t template) shape() (s shape) {
	before, after, _ := strings.Cut(string(t), placeholder)
	return shape{strings.Count(before, "."), strings.Count(after, "."), strings.HasSuffix(after, ">")}
}

// id is the ID in a subject that matches the template. Where it can be one of several, it
// is the first that is known. It reports false when it cannot tell.
func (s shape) id(subject string, known func(id string) bool) (string, bool) {
	rest := subject
	for range s.before {
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return "", false
		}
		rest = after
	}
	if !s.open {
		for range s.after {
			i := strings.LastIndexByte(rest, '.')
			if i < 0 {
				return "", false
			}
			rest = rest[:i]
		}
		return rest, true
	}
	if s.after > 1 {
		return "", false
	}
	for i := range len(rest) {
		if rest[i] == '.' && known(rest[:i]) {
			return rest[:i], true
		}
	}
	return "", false
}

// partitions are the IDs that a subject may have been made from: one, unless what comes
// after the ID may have any number of tokens.
func (t template) partitions(subject string) (ids []string) {
	have, want := strings.Split(subject, "."), strings.Split(string(t), ".")
	at := 0
	for want[at] != placeholder {
		at++
	}
	rest := strings.Join(want[at+1:], ".")
	for n := 1; at+n <= len(have); n++ {
		if pattern.Within(strings.Join(have[at+n:], "."), rest) {
			ids = append(ids, strings.Join(have[at:at+n], "."))
		}
	}
	return ids
}
