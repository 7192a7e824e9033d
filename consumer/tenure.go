package consumer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
)

// A tenure is one lease of one partition that is read by a hub.
//
// Its messages go from queue to out when they are taken, and leave out when they are done
// and all before them are: what is before the first that is left is what the cursor says,
// and which of those after it are done, when several are in flight.
type tenure struct {
	holding
	cursor *Cursor
	filter string
	end    context.CancelCauseFunc

	// Of the hub's lock:

	reader  *reader // that it gets messages from; nil: it looks for one
	next    uint64  // the first sequence that it has not been given, or is known not to need
	queue   []*letter
	bytes   int // of queue
	out     []*letter
	had     []uint64 // what a former owner had done beyond its cursor, in order
	moved   bool     // something was done since the cursor was written
	head    uint64   // the message that the former owner had tried already
	tries   int      // of head
	careful int      // how many messages are still to be begun with care

	more chan struct{} // something has come into the queue, or may be taken from it
	wait sync.WaitGroup

	writing sync.Mutex // of the cursor; covers what follows
	have    record     // as it was written last
	rev     uint64     // the sequence of the cursor in its bucket
	unsure  bool       // the beginning may have been written, but that was not answered
	looked  time.Time  // when it was idle, and its cursor was due
}

// A letter is a message in this process.
type letter struct {
	msg    jetstream.Msg // nil when it is done
	seq    uint64
	stored time.Time
	stream string
	tries  int // so far
	done   bool
	cause  error // of the last try of this process; nil: it has made none
	again  bool  // the last try was refused as by a later lease, while this one could be proved
}

// A queue holds no more than so many messages and bytes, but one at least.
const (
	queueMost  = 256
	queueBytes = 1 << 20
)

// room says whether another message may come into the queue. h.mu is held.
func (t *tenure) room() bool {
	return len(t.queue) < queueMost && t.bytes < queueBytes
}

// position is the last sequence of which it is known that it, and all before it, needs
// nothing more from this partition; and which message after it was tried how often.
// h.mu is held.
func (t *tenure) position() (done, trying uint64, tries int) {
	switch {
	case len(t.out) > 0:
		return t.out[0].seq - 1, t.out[0].seq, t.out[0].tries
	case len(t.queue) > 0:
		return t.queue[0].seq - 1, t.queue[0].seq, t.queue[0].tries
	case t.reader != nil && t.reader.pos >= t.next:
		done = t.reader.pos
	case t.next > 0:
		done = t.next - 1
	}
	return done, t.head, t.tries
}

// beyond are the sequences after done that need nothing more either, in order. h.mu is held.
func (t *tenure) beyond(done uint64) []uint64 {
	t.forget(done)
	all := slices.Clone(t.had)
	for _, x := range t.out {
		if x.done {
			all = append(all, x.seq)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return all
}

// forget drops what need not be known any more, as all up to done is done. h.mu is held.
func (t *tenure) forget(done uint64) {
	i, _ := slices.BinarySearch(t.had, done+1)
	t.had = t.had[i:]
}

// most is how many messages may be known beyond the cursor, those in hand included: what a
// message that fails, or takes long, lets others pass it.
func (t *tenure) most() int { return t.opts.inFlight + queueMost }

// work hands out messages until ctx ends, and waits for what is in hand.
func (t *tenure) work(ctx context.Context, h *hub) {
	defer t.wait.Wait()
	var taken []*letter
	for {
		select {
		case <-ctx.Done():
			return
		case t.turns <- struct{}{}:
		}
		if len(taken) == 0 {
			if taken = t.take(ctx, h); len(taken) == 0 {
				return
			}
		}
		x := taken[0]
		taken = taken[1:]
		work := func() {
			t.process(ctx, h, x)
			<-t.turns
		}
		if t.opts.inFlight == 1 {
			work()
		} else {
			t.wait.Go(work)
		}
	}
}

// take waits for messages, and takes as many as may be. They are none when ctx has ended.
func (t *tenure) take(ctx context.Context, h *hub) []*letter {
	for ctx.Err() == nil {
		h.mu.Lock()
		taken := t.unqueue()
		switch {
		case len(taken) == 0:
		case t.reader != nil:
			t.reader.wake()
		case len(t.queue) <= queueMost/2 && t.bytes <= queueBytes/2: // for less, a reader is not worth it
			h.seek(t)
		}
		h.mu.Unlock()
		if len(taken) > 0 {
			return taken
		}
		select {
		case <-ctx.Done():
		case <-t.more:
		}
	}
	return nil
}

// unqueue moves messages from queue to out, unless there are too many beyond the cursor; the
// first that is not done always. h.mu is held.
func (t *tenure) unqueue() []*letter {
	done, _, _ := t.position()
	t.forget(done)
	n := t.most() - len(t.out) - len(t.had)
	if len(t.out) == 0 {
		n = max(n, 1)
	}
	n = min(max(n, 0), len(t.queue))
	taken := t.queue[:n:n]
	if t.queue = t.queue[n:]; len(t.queue) == 0 {
		t.queue = nil
	}
	for _, x := range taken {
		t.bytes -= len(x.msg.Data())
	}
	t.out = append(t.out, taken...)
	return taken
}

// finish says that a message needs nothing more. Others may be taken for it.
func (t *tenure) finish(h *hub, x *letter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x.msg, x.done, t.moved = nil, true, true
	n := 0
	for n < len(t.out) && t.out[n].done {
		t.out[n] = nil
		n++
	}
	t.out = t.out[n:]
	t.wake()
}

// wake lets take look again.
func (t *tenure) wake() {
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// process gives a message to the function until it is done, or the partition moves.
func (t *tenure) process(ctx context.Context, h *hub, x *letter) {
	for t.enter(ctx) {
		wait, done := t.try(ctx, h, x)
		t.exit()
		if done {
			t.finish(h, x)
			if t.opts.every == 0 {
				t.insist(ctx, h)
			}
			return
		}
		pause(ctx, wait)
	}
}

// insist writes the cursor, again and again for as long as the partition is to be worked
// at: the next message waits for it.
func (t *tenure) insist(ctx context.Context, h *hub) {
	for tries := 1; !t.write(t.lease.Hard(), h, false) && ctx.Err() == nil; tries++ {
		pause(ctx, again(tries))
	}
}

// try gives a message to the function once, and says whether it is done, or after how
// long it is to be tried again.
func (t *tenure) try(ctx context.Context, h *hub, x *letter) (wait time.Duration, done bool) {
	h.mu.Lock()
	spent := t.opts.maxDeliver > 0 && x.tries >= t.opts.maxDeliver
	if !spent {
		x.tries++
	}
	h.mu.Unlock()
	said := &verdict{}
	m := &Msg{
		Subject: x.msg.Subject(), Header: x.msg.Headers(), Data: x.msg.Data(),
		Partition: t.lease.Partition.ID, Token: t.lease.Token,
		Stream: x.stream, Sequence: x.seq, Stored: x.stored, Tries: x.tries,
		lease: t.lease, msg: said,
	}
	var cause error
	if spent { // it could not be buried yet, or has killed its owners
		cause = cmp.Or(x.cause, errWorn)
	} else {
		t.care(ctx, h)
		if cause = t.call(m); !errors.Is(cause, parti.ErrFenced) {
			x.cause, x.again = cmp.Or(cause, errGivenBack), false
		}
	}
	switch {
	case m.isSettled() && said.again:
		if cause != nil {
			t.trouble(m, false, cause)
		}
		return said.delay, false
	case cause == nil || m.isSettled():
		if cause != nil {
			t.trouble(m, false, cause)
		}
		return 0, true
	case errors.Is(cause, parti.ErrFenced) && !t.doubted(m, x, cause):
		t.untried(h, x)
		t.trouble(m, false, cause)
		return 0, false // as soon as ownership is proved
	case t.lease.Hard().Err() != nil:
		t.trouble(m, false, cause)
		return 0, false
	}
	if t.opts.hopeless(m, cause) {
		err := t.give(m, cause)
		if err == nil {
			t.trouble(m, true, cause)
			return 0, true
		}
		cause = errors.Join(cause, err)
	}
	t.trouble(m, false, cause)
	return t.opts.pause(m.Tries), false
}

// doubted says whether a function is not believed any more that another owner has the
// partition. Where it is, that ends the tenure; where ownership can be proved, it is called
// once more before, since the proof may have come while it returned.
func (t *tenure) doubted(m *Msg, x *letter, cause error) bool {
	proved := t.lease.Check() == nil
	over := proved && x.again
	x.again = proved
	switch {
	case !over:
		return false
	case t.cursor.refused.believe(m):
		t.end(&fencedError{m.Partition, cause})
		return false
	default:
		x.cause = cause
		return true
	}
}

// untried does not count a message's last try.
func (t *tenure) untried(h *hub, x *letter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x.tries--
}

func (t *tenure) trouble(m *Msg, dead bool, err error) {
	t.opts.observe(Trouble{Partition: m.Partition, Subject: m.Subject, Sequence: m.Sequence, Tries: m.Tries, Dead: dead, Err: err})
}

// give stores a dead letter.
func (t *tenure) give(m *Msg, cause error) error {
	hard, cancel := context.WithTimeout(t.lease.Hard(), requestTime)
	defer cancel()
	if err := m.Check(); err != nil {
		return err
	}
	return t.bury(hard, m, cause)
}

// A verdict is what was said of a message before its function returned.
type verdict struct {
	again bool
	delay time.Duration
}

func (v *verdict) Ack() error                  { return nil }
func (v *verdict) TermWithReason(string) error { return nil }
func (v *verdict) InProgress() error           { return nil }
func (v *verdict) NakWithDelay(d time.Duration) error {
	v.again, v.delay = true, d
	return nil
}

const (
	carefulAfter = 2    // owners that the partition has lost without getting on
	carefulFor   = 1000 // how many messages are begun with care then
)

// tried is how often the message that the former owner was at has been tried. Only one that
// begins with care writes down the very message that it may die of. What another has written
// may be one that does no harm, and was in hand by chance: it has a try left.
func (t *tenure) tried(rec *record) int {
	if t.opts.maxDeliver > 0 && rec.Crashes <= carefulAfter {
		return min(rec.Tries, t.opts.maxDeliver-1)
	}
	return rec.Tries
}

// care writes down that a message is tried before it is, when it may be the one that
// kills its owners.
func (t *tenure) care(ctx context.Context, h *hub) {
	h.mu.Lock()
	careful := t.careful > 0
	t.careful = max(t.careful-1, 0)
	h.mu.Unlock()
	if careful && t.opts.maxDeliver > 0 {
		t.write(ctx, h, false)
	}
}
