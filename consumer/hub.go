package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/parti-go/parti/internal/pattern"
)

// A hub reads for all partitions that a Cursor holds, through few readers.
//
// A partition that comes is given to a new reader, together with those that come at the
// same time and begin near to it: the others go on meanwhile. One that is slower than
// the rest leaves its reader when its queue is full, so that it does not hold them up,
// and comes back when there is room. When there are many readers, or the stream may have no
// more consumers, two are made one.
//
// It is safe to have a partition read by whichever reader began at or before its next
// message: what it has is dropped, and no reader leaves anything out.
type hub struct {
	cursor *Cursor
	ctx    context.Context //nolint:containedctx // it ends with the last partition
	cancel context.CancelFunc
	run    sync.WaitGroup
	asked  chan struct{} // somebody seeks

	mu      sync.Mutex
	tenures map[*tenure]struct{}
	seeking map[*tenure]struct{}
	readers map[*reader]struct{}
}

func newHub(c *Cursor) *hub {
	h := &hub{
		cursor: c, asked: make(chan struct{}, 1),
		tenures: map[*tenure]struct{}{}, seeking: map[*tenure]struct{}{}, readers: map[*reader]struct{}{},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.run.Go(h.place)
	h.run.Go(h.write)
	return h
}

// leave ends the reading for a partition. With the last one, the hub ends.
func (h *hub) leave(t *tenure) {
	h.cursor.mu.Lock()
	h.mu.Lock()
	if r := t.reader; r != nil {
		// Its position counts on: nothing comes between.
		if r.pos >= t.next {
			t.next = r.pos + 1
		}
		r.remove(t)
	}
	delete(h.seeking, t)
	delete(h.tenures, t)
	last := len(h.tenures) == 0
	if last {
		h.cursor.hub = nil
	}
	h.mu.Unlock()
	h.cursor.mu.Unlock()
	if last {
		h.cancel()
		h.run.Wait()
	}
}

// seek asks for a reader. h.mu is held.
func (h *hub) seek(t *tenure) {
	h.seeking[t] = struct{}{}
	select {
	case h.asked <- struct{}{}:
	default:
	}
}

const (
	gatherFor   = 2 * time.Millisecond // how long a partition waits for others to come with it
	gatherMost  = 50 * time.Millisecond
	readerMost  = 256  // partitions of a reader: the server's work for so many filters grows with their square
	readersMost = 8    // readers, unless there are more than readerMost partitions for each
	nearby      = 4096 // messages between the beginnings of two partitions that go together
)

// place gives readers to the partitions that seek one.
func (h *hub) place() {
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.asked:
		}
		h.gather()
		var missed time.Time
		for tries := 1; ; tries++ {
			err := h.placeAll()
			if err == nil || h.ctx.Err() != nil {
				break
			}
			missed = h.miss(missed, err, h.sought)
			h.cursor.opts.observe(Trouble{Err: err})
			if tries%fullFor == 0 && exceeds(err) { // it takes a consumer to find where they begin
				h.mu.Lock()
				h.merge()
				h.mu.Unlock()
			}
			pause(h.ctx, again(tries))
		}
	}
}

// again is how long to wait before what has failed so often is tried again.
func again(failed int) time.Duration {
	return min(time.Second, time.Duration(failed*failed)*10*time.Millisecond)
}

// gather waits until no more come.
func (h *hub) gather() {
	begin := time.Now()
	for n := 0; time.Since(begin) < gatherMost; {
		h.mu.Lock()
		now := len(h.seeking)
		h.mu.Unlock()
		if now == n {
			return
		}
		n = now
		pause(h.ctx, gatherFor)
	}
}

// placeAll gives each partition that seeks one a reader.
func (h *hub) placeAll() error {
	ctx, cancel := context.WithTimeout(h.ctx, requestTime)
	defer cancel()
	seek := h.sought()
	if len(seek) == 0 {
		return nil
	}
	info, err := h.look(ctx, seek)
	if err != nil {
		return err
	}
	if err := h.begin(ctx, seek, info); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	seek = slices.DeleteFunc(seek, func(t *tenure) bool { _, still := h.seeking[t]; return !still || t.next == 0 })
	for _, group := range groups(seek) {
		h.read(group)
	}
	for merged := true; merged && len(h.readers) > h.most(); {
		merged = h.merge()
	}
	return nil
}

// look asks for the stream's state. That it ends before what one of them has done would
// mean that it has lost messages: this is believed when it is still so a second later.
func (h *hub) look(ctx context.Context, seek []*tenure) (info *jetstream.StreamInfo, err error) {
	for began := time.Now(); ; {
		s, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return h.cursor.js.Stream(ctx, h.cursor.name) })
		if err != nil {
			return nil, h.missing(fmt.Errorf("consumer: look at stream %s: %w", h.cursor.name, err))
		}
		info = s.CachedInfo()
		if c := info.Cluster; c != nil && c.Leader == "" { // another of its servers has answered, which may lag
			return nil, fmt.Errorf("consumer: stream %s has no leader", h.cursor.name)
		}
		h.mu.Lock()
		behind := slices.ContainsFunc(seek, func(t *tenure) bool { return t.next > info.State.LastSeq+1 })
		h.mu.Unlock()
		if !behind || time.Since(began) > lagMost {
			return info, nil
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// lagMost is how long a stream's leader may take to know what a reader was given.
const lagMost = time.Second

// sought are the partitions that seek a reader.
func (h *hub) sought() []*tenure {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.seeking))
}

// A missingError says that the stream is not there.
type missingError struct{ *StreamError }

func (e missingError) Unwrap() error { return e.StreamError }

// missing is a missingError where the stream is not there, and err otherwise.
func (h *hub) missing(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return missingError{&StreamError{h.cursor.name, "is not there any more", "make it again: its partitions begin with its first message"}}
	}
	return err
}

// miss ends partitions when their stream is not there, and was not since then, for longer than
// it takes to make it anew: whoever runs them is to know. It returns since when it is not.
func (h *hub) miss(since time.Time, err error, partitions func() []*tenure) time.Time {
	gone := missingError{}
	switch {
	case !errors.As(err, &gone):
		return time.Time{}
	case since.IsZero():
		return time.Now()
	case time.Since(since) > requestTime:
		for _, t := range partitions() {
			t.end(gone.StreamError)
		}
	}
	return since
}

// most is how many readers there may be. h.mu is held.
func (h *hub) most() int { return readersMost + len(h.tenures)/readerMost }

// groups puts those together that begin near to one another, and whose filters do not
// overlap: the server does not take such.
func groups(ts []*tenure) (all [][]*tenure) {
	slices.SortFunc(ts, func(a, b *tenure) int {
		return cmp.Or(cmp.Compare(a.next, b.next), strings.Compare(a.filter, b.filter))
	})
	for _, t := range ts {
		fits := func(g []*tenure) bool {
			return len(g) < readerMost && t.next-g[0].next <= nearby && !slices.ContainsFunc(g, t.overlaps)
		}
		if i := slices.IndexFunc(all, fits); i >= 0 {
			all[i] = append(all[i], t)
		} else {
			all = append(all, []*tenure{t})
		}
	}
	return all
}

// overlaps says whether a message can be of both. They may be two leases of one partition,
// the first of which is ending. Otherwise only what ends with > has room for another ID.
func (t *tenure) overlaps(o *tenure) bool {
	return t.filter == o.filter || strings.HasSuffix(t.filter, ">") && pattern.Meet(t.filter, o.filter)
}

// read begins a reader. h.mu is held.
func (h *hub) read(group []*tenure) {
	r := &reader{hub: h, pos: group[0].next - 1, members: map[string]*tenure{}, room: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(h.ctx)
	for _, t := range group {
		r.pos = min(r.pos, t.next-1)
		r.add(t)
	}
	h.readers[r] = struct{}{}
	h.run.Go(r.run)
}

// merge makes the two readers one that are nearest to one another. h.mu is held.
func (h *hub) merge() bool {
	all := make([]*reader, 0, len(h.readers))
	for r := range h.readers {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *reader) int { return cmp.Compare(a.pos, b.pos) })
	best := -1
	for i := range len(all) - 1 {
		if len(all[i].members)+len(all[i+1].members) > readerMost || all[i].meets(all[i+1]) {
			continue
		}
		if best < 0 || all[i+1].pos-all[i].pos < all[best+1].pos-all[best].pos {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	var both []*tenure
	for _, r := range all[best : best+2] {
		for _, t := range r.members {
			// Nothing of it is between its next message and where its reader is.
			t.next = max(t.next, r.pos+1)
			both = append(both, t)
		}
		r.end()
	}
	h.read(both)
	return true
}

// write writes the cursors of those that are at work, and now and then those of the
// others, so that their next owner need not read what there is nothing of theirs in.
func (h *hub) write() {
	tick := time.NewTicker(cmp.Or(h.cursor.opts.every, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-tick.C:
			var all sync.WaitGroup
			lanes := make(chan struct{}, writeLanes)
			for _, t := range h.due(now) {
				lanes <- struct{}{}
				all.Go(func() {
					t.write(h.ctx, h, false)
					<-lanes
				})
			}
			all.Wait()
		}
	}
}

const (
	writeLanes = 16              // cursors that are written at once
	idleEvery  = 5 * time.Minute // how often the cursor of an idle partition is written
)

func (h *hub) due(now time.Time) (due []*tenure) {
	var idle []*tenure
	h.mu.Lock()
	for t := range h.tenures {
		if t.moved {
			due = append(due, t)
		} else {
			idle = append(idle, t)
		}
	}
	h.mu.Unlock()
	for _, t := range idle {
		if !t.writing.TryLock() {
			continue
		}
		if now.Sub(t.have.Written) >= idleEvery && now.Sub(t.looked) >= idleEvery {
			t.looked = now // where it has not got on, nothing is written
			due = append(due, t)
		}
		t.writing.Unlock()
	}
	return due
}

// begin finds out where partitions begin.
func (h *hub) begin(ctx context.Context, seek []*tenure, info *jetstream.StreamInfo) error {
	first := sync.OnceValues(func() (uint64, error) { return h.cursor.first(ctx, info) })
	errs := make([]error, len(seek))
	var all sync.WaitGroup
	lanes := make(chan struct{}, writeLanes)
	for i, t := range seek {
		lanes <- struct{}{}
		all.Go(func() {
			errs[i] = t.begin(ctx, h, info, first)
			<-lanes
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// begin finds out where a partition begins that has no cursor, or one that does not fit
// the stream, and writes that down, before anything is read.
func (t *tenure) begin(ctx context.Context, h *hub, info *jetstream.StreamInfo, first func() (uint64, error)) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	h.mu.Lock()
	next := t.next
	_, seeks := h.seeking[t]
	h.mu.Unlock()
	if !seeks { // it was let go of while the stream was looked at
		return nil
	}
	rec := t.have
	rec.Stream, rec.Created = info.Config.Name, info.Created.UTC()
	switch {
	case !rec.Begun:
		var err error
		if next, err = first(); err != nil {
			return err
		}
	case !t.have.Created.Equal(rec.Created):
		t.noted(&StreamError{info.Config.Name, "was made anew since the cursor of partition " + t.lease.Partition.ID + " was written", "the partition begins with its first message"})
		next = 1
	case next > info.State.LastSeq+1:
		t.noted(&StreamError{info.Config.Name, fmt.Sprintf("ends with message %d, and the cursor of partition %s says %d: the stream has lost messages", info.State.LastSeq, t.lease.Partition.ID, next-1), "the partition goes on with what comes"})
		next = info.State.LastSeq + 1
	default:
		return nil
	}
	rec.Begun, rec.Done, rec.Beyond, rec.Trying, rec.Tries = true, next-1, nil, 0, 0
	err := t.replace(ctx, &rec)
	t.unsure = err != nil
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		t.next, t.head, t.tries, t.had = next, 0, 0, nil
	case errors.As(err, new(*movedError)), errors.As(err, new(*CursorError)): // its time is over
		t.next, err = 0, nil
	}
	return err
}

// first is where a partition begins that was never seen.
func (c *Cursor) first(ctx context.Context, info *jetstream.StreamInfo) (uint64, error) {
	switch c.opts.start.kind {
	case startNew:
		return info.State.LastSeq + 1, nil
	case startTime:
		// A consumer that begins then says where that is.
		at := c.opts.start.at
		cfg := jetstream.ConsumerConfig{
			Name: c.group + "~" + nuid.Next(), DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at,
			AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: requestTime,
		}
		cons, err := ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return c.stream.CreateConsumer(ctx, cfg) })
		if err != nil {
			return 0, fmt.Errorf("consumer: find the first message of %v: %w", at, err)
		}
		c.remove(ctx, cfg.Name)
		return cons.CachedInfo().Delivered.Stream + 1, nil
	default:
		return 1, nil
	}
}
