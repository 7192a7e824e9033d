package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
)

// A run is one lease of one partition.
type run struct {
	holding
	durable *Durable
	end     context.CancelCauseFunc

	cons    jetstream.Consumer
	wait    sync.WaitGroup
	came    atomic.Int64  // messages so far
	drained chan struct{} // closed: the server knows that nothing more is asked for
	silent  chan struct{} // the consumer gives no sign of life

	mu     sync.Mutex
	last   string               // the reply subject of the newest acknowledgement that is not known to have arrived
	causes map[uint64]error     // why messages in hand are to be buried, by sequence, where that failed
	later  map[uint64]time.Time // until when messages rest that were given back for later, by sequence
	back   <-chan struct{}      // closed: the next message may be given back that nobody has begun with
}

// Run consumes one partition for as long as it is owned. It is called by the Manager.
func (d *Durable) Run(ctx context.Context, l parti.Lease) error {
	if d.opts.provision {
		return errProvisionOnly
	}
	owned := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.Hard(), func() { cancel(context.Cause(l.Hard())) })()
	cons, err := d.consumer(ctx, l.Partition.ID, d.opts.create)
	if err == nil {
		err = d.serves(cons.CachedInfo(), l.Partition.ID)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	r := &run{holding: d.holding(l), durable: d, end: cancel, cons: cons, drained: make(chan struct{}), silent: make(chan struct{}, 1), causes: map[uint64]error{}, later: map[uint64]time.Time{}}
	r.back = r.drained
	r.takeOver(ctx, cons.CachedInfo(), nil)
	watched, unwatch := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { r.watch(watched) })
	err = r.pull(ctx)
	unwatch()
	watching.Wait()
	r.wait.Wait()
	r.arrived()
	if owned.Err() != nil || l.Hard().Err() != nil {
		d.refused.forget(l.Partition.ID)
	}
	if fenced := (*fencedError)(nil); errors.As(context.Cause(ctx), &fenced) {
		return fenced
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// pull hands out messages until ctx ends, or something is wrong that does not end by
// itself. What comes after ctx has ended is given back.
func (r *run) pull(ctx context.Context) error {
	defer close(r.drained)
	expiry, batch := r.opts.expiry, r.batchOf(r.cons)
	iter, err := r.cons.Messages(
		jetstream.PullMaxMessagesWithBytesLimit(batch, r.pullBytes()), // the server sends no more than may be in flight
		jetstream.PullExpiry(expiry), jetstream.PullHeartbeat(beat(expiry, batch)),
	)
	if err != nil {
		return fmt.Errorf("consumer: pull: %w", err)
	}
	defer context.AfterFunc(ctx, iter.Drain)()
	defer iter.Stop()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	var looked time.Time
	for {
		if ctx.Err() != nil {
			iter.Drain() // now, not soon: Next would ask for more, and what comes then is in nobody's hand
		}
		msg, err := iter.Next()
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			select {
			case r.silent <- struct{}{}:
			default: // that is known
			}
			if ctx.Err() == nil && r.js.Conn().IsConnected() && time.Since(looked) > requestTime {
				looked = time.Now()
				if err := r.unanswered(ctx, batch); err != nil {
					return err
				}
			}
			continue // it asks again by itself
		}
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				return nil
			}
			return fmt.Errorf("consumer: pull: %w", err)
		}
		r.came.Add(1)
		m, err := r.message(msg)
		if err != nil {
			r.opts.observe(Trouble{Partition: r.lease.Partition.ID, Subject: msg.Subject(), Err: err})
			continue // AckWait gives it out again
		}
		r.handOut(ctx, waiting, m)
	}
}

// beat is how often a request that waits gives a sign of life: so seldom that all of these, that
// it has expired and a message fit where they wait while one is in hand. There are as many
// places as the request asks for messages, and what does not fit is lost.
func beat(expiry time.Duration, batch int) time.Duration {
	return min(max(time.Second, expiry/time.Duration(max(batch-2, 1))), expiry/2)
}

// unanswered is why a consumer does not answer to requests for so many messages, where that does
// not end by itself.
//
// That it is not there any more the server says to those whose requests it has at that moment.
// Who asks later, or was cut off, gets no answer, as from a consumer that has no leader for a
// while, and which is waited for.
func (r *run) unanswered(ctx context.Context, batch int) error {
	one, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	info, err := r.cons.Info(one)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("consumer: the consumer of partition %s on stream %s is not there any more: %w", r.lease.Partition.ID, r.name, err)
	case err == nil && (r.batchOf(r.cons) < batch || len(r.durable.refuses(&info.Config)) > 0):
		return fmt.Errorf("consumer: the consumer of partition %s on stream %s was edited, and refuses what it is asked for", r.lease.Partition.ID, r.name)
	}
	return nil
}

// handOut processes a message as soon as it may, and waits for that if there is to be one
// in hand only. It is given back if waiting ends before.
//
// From when it has come there are signs of life: the server would take one that waits for
// lost otherwise, give it out again, and count a try.
func (r *run) handOut(ctx, waiting context.Context, m *Msg) {
	stop := m.working(r.opts.ackWait / 3)
	work := func() {
		defer stop()
		if !r.begin(waiting) {
			stop()
			r.giveBack(m)
			return
		}
		defer r.done()
		r.process(ctx, m)
	}
	if r.opts.inFlight == 1 {
		work()
	} else {
		r.wait.Go(work)
	}
}

// giveBack gives back a message that nobody has begun with: for the next owner, also when
// this one's time is over, since it was given to this one's own request. What has come before
// goes first.
//
// It waits until that request is gone: the server would give the message to what is left of
// it, and that might come to nobody. Where that takes long, as while the connection is broken,
// the next owner may have begun meanwhile, and have asked for the message: it would come twice.
func (r *run) giveBack(m *Msg) {
	began, done := time.Now(), make(chan struct{})
	r.mu.Lock()
	turn := r.back
	r.back = done
	r.mu.Unlock()
	r.wait.Go(func() {
		defer close(done)
		<-turn
		if r.lease.Hard().Err() != nil && time.Since(began) > quietTime {
			return
		}
		_ = m.msg.NakWithDelay(0)
		r.acknowledged(m.reply)
	})
}

// process gives one message to the function, and then says what becomes of it.
func (r *run) process(ctx context.Context, m *Msg) {
	m.begin()
	err := r.kept(m)
	if r.opts.worn(m.Tries) {
		err = cmp.Or(err, errWorn)
	} else {
		var over bool
		if over, err = r.try(ctx, m); over {
			return
		}
	}
	if err == nil {
		err = r.settle(ctx, m, m.Ack)
	} else {
		err = r.failed(ctx, m, err)
	}
	if err == nil || m.isSettled() {
		r.acknowledged(m.reply)
	}
}

// try calls the function. It reports that the lease is over when the function says so:
// then nothing is said of the message. It may say so for want of proof; this is waited for,
// and the message, which is in hand all the time, tried again. Where ownership can be proved
// it is called once more before it is believed, since the proof may have come while it
// returned.
func (r *run) try(ctx context.Context, m *Msg) (over bool, err error) {
	var again bool
	for {
		err = r.call(m)
		if !errors.Is(err, parti.ErrFenced) || m.isSettled() {
			return false, err
		}
		proved := r.lease.Check() == nil
		over = proved && again
		if over && !r.durable.refused.believe(m) {
			return false, err
		}
		again = proved
		r.opts.observe(Trouble{Partition: m.Partition, Subject: m.Subject, Sequence: m.Sequence, Tries: m.Tries, Err: err})
		if over {
			r.end(&fencedError{m.Partition, err})
			return true, err
		}
		if !proved && !r.proven(ctx) {
			return true, err
		}
	}
}

// tries is how many tries of a message count that was given out so often.
func (d *Durable) tries(partition string, seq, given uint64) int {
	return max(int(given)-d.refused.of(partition, seq), 1) // a stream that is made anew begins anew
}

func (r *run) message(msg jetstream.Msg) (*Msg, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("consumer: a message without its metadata: %w", err)
	}
	seq := meta.Sequence.Stream
	r.rests(seq, time.Time{})
	return &Msg{
		Subject: msg.Subject(), Header: msg.Headers(), Data: msg.Data(),
		Partition: r.lease.Partition.ID, Token: r.lease.Token,
		Stream: meta.Stream, Sequence: seq, Stored: meta.Timestamp,
		Tries: r.durable.tries(r.lease.Partition.ID, seq, meta.NumDelivered),
		lease: r.lease, msg: given{msg, r, seq}, reply: msg.Reply(),
	}, nil
}

// failed says what becomes of a message whose function returned an error.
func (r *run) failed(ctx context.Context, m *Msg, cause error) error {
	trouble := Trouble{Partition: m.Partition, Subject: m.Subject, Sequence: m.Sequence, Tries: m.Tries, Err: cause}
	defer func() { r.opts.observe(trouble) }()
	if m.isSettled() || r.lease.Hard().Err() != nil {
		return nil
	}
	delay := r.opts.pause(m.Tries)
	if r.opts.hopeless(m, cause) {
		hard, cancel := context.WithTimeout(r.lease.Hard(), requestTime)
		defer cancel()
		err := m.Check()
		if err == nil {
			err = r.bury(hard, m, cause)
		}
		if err == nil {
			trouble.Dead = true
			return r.settle(ctx, m, func() error { return m.Term(oneLine(cause.Error())) })
		}
		r.keep(m, cause)
		trouble.Err = errors.Join(cause, err)
	}
	if ctx.Err() != nil {
		delay = 0 // the next owner does not know of this one's patience
	}
	return r.settle(ctx, m, func() error { return m.Nak(delay) })
}

// keep keeps the cause of a message that could not be buried: it will have been given out so
// often, in the end, that it is not tried any more.
func (r *run) keep(m *Msg, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.causes[m.Sequence] = cause
}

// kept returns the cause that was kept of a message, and forgets it.
func (r *run) kept(m *Msg) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer delete(r.causes, m.Sequence)
	return r.causes[m.Sequence]
}

// settle does it as soon as ownership can be proved. It gives up when the lease ends:
// then the message belongs to the next owner; and a while after the partition was to be let
// go of, since without proof it is to no avail: the message is repeated.
func (r *run) settle(ctx context.Context, m *Msg, how func() error) error {
	hard := r.lease.Hard()
	var since time.Time // ctx has ended
	for {
		err := how()
		switch {
		case err == nil, errors.Is(err, ErrSettled):
			return nil
		case !errors.Is(err, parti.ErrFenced):
			r.opts.observe(Trouble{Partition: m.Partition, Subject: m.Subject, Sequence: m.Sequence, Tries: m.Tries, Err: err})
			return err
		}
		if ctx.Err() != nil && since.IsZero() {
			since = time.Now()
		}
		if pause(hard, unprovenPause); hard.Err() != nil || !since.IsZero() && time.Since(since) > toldTime {
			r.opts.observe(Trouble{Partition: m.Partition, Subject: m.Subject, Sequence: m.Sequence, Tries: m.Tries, Err: errUnproven})
			return errUnproven
		}
	}
}

func (r *run) acknowledged(reply string) {
	r.mu.Lock()
	r.last = reply
	r.mu.Unlock()
}

// arrived waits until the server has every acknowledgement, so that the next owner finds
// nothing in hand that is done. They go the same way in order: to have the last one
// acknowledged again and answered is enough.
func (r *run) arrived() {
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	if last == "" || r.lease.Check() != nil {
		return
	}
	r.told(r.lease.Hard(), last, "+WPI")
}

// told says something of a message to the server, and waits until it has heard it.
func (r *run) told(ctx context.Context, reply, what string) {
	ctx, cancel := context.WithTimeout(ctx, toldTime)
	defer cancel()
	if _, err := r.js.Conn().RequestMsgWithContext(ctx, &nats.Msg{Subject: reply, Data: []byte(what)}); err != nil {
		r.opts.observe(Trouble{Partition: r.lease.Partition.ID, Err: fmt.Errorf("consumer: a message may be repeated, or come late, as a change of owner was not heard of: %w", err)})
	}
}

// toldTime is how long a release, or a start, may wait for the server, or for the servers to
// agree.
const toldTime = 2 * time.Second

// A given message is one that this owner was given. Once it has given it back for later, the
// server counts it among those that are out, and nobody is to ask for it before its time.
type given struct {
	jetstream.Msg
	run *run
	seq uint64
}

func (g given) NakWithDelay(delay time.Duration) error {
	if delay > 0 {
		g.run.rests(g.seq, time.Now().Add(delay))
	}
	err := g.Msg.NakWithDelay(delay)
	if err != nil { // it is out, and not given back
		g.run.rests(g.seq, time.Time{})
	}
	return err
}

// rests notes until when a message rests; the zero time: it does not.
func (r *run) rests(seq uint64, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until.IsZero() {
		delete(r.later, seq)
		return
	}
	now := time.Now()
	maps.DeleteFunc(r.later, func(_ uint64, t time.Time) bool { return !now.Before(t) }) // some may never come: the stream let them go
	r.later[seq] = until
}

// resting are the messages that are given back for later, and whose time has not come.
func (r *run) resting() map[uint64]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, now := map[uint64]bool{}, time.Now()
	for seq, until := range r.later {
		if now.Before(until) {
			all[seq] = true
		}
	}
	return all
}

// watch looks again whether anything is out that is in nobody's hand, see [run.search]: when
// the partition begins, and whenever something may have been lost on its way, as a message
// to a connection that broke, or an acknowledgement to a consumer that has another leader.
// It would come only after AckWait otherwise, and with one in flight the partition waits.
func (r *run) watch(ctx context.Context) {
	nc := r.js.Conn()
	reconnects := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(reconnects)
	for ctx.Err() == nil {
		r.search(ctx)
		select {
		case <-reconnects:
		case <-r.silent:
		case <-ctx.Done():
		}
	}
}

// search looks again whether the former owner has anything in hand, when the last request is
// over that it can have had with the server: to a process that is frozen, or has forgotten
// it, what is given never arrives. Nor does what the server sends, in a cluster, to one that
// has let go a moment ago, before all nodes have heard of that.
//
// Of what is out, and has not come for a while, nothing comes any more. What was resting at
// the first of the two looks that this takes may come while it is asked for.
func (r *run) search(ctx context.Context) {
	pause(ctx, r.opts.expiry-quietTime)
	came := r.came.Load()
	var out uint64              // how many the consumer had given out when it was looked at before; 0: not so
	var resting map[uint64]bool // then
	for range watchMost {
		if pause(ctx, quietTime); ctx.Err() != nil {
			return
		}
		if now := r.came.Load(); len(r.turns) > 0 || now != came || r.lease.Check() != nil {
			came, out = now, 0 // where ownership cannot be proved, what is out may be in another owner's hand
			continue
		}
		rests := r.resting()
		one, cancel := context.WithTimeout(ctx, requestTime)
		info, err := r.cons.Info(one)
		cancel()
		switch {
		case err != nil:
			out = 0
		case info.NumAckPending <= len(rests):
			return
		case info.Delivered.Consumer != out:
			out, resting = info.Delivered.Consumer, rests
		default:
			r.takeOver(ctx, info, resting)
			out = 0
		}
	}
}

const (
	quietTime = time.Second // by then what was given out has come, or will not
	watchMost = 60          // how often it is looked, where something comes all the time
)

// takeOver asks for what the former owner had in hand, which the server would otherwise
// keep back until AckWait, but for what is resting. Nothing of it is in hand any more: the
// former owner has returned, or is lost.
//
// A consumer tells how many messages are out, and not which. They are above its floor
// and not above the last one that it gave out; to give back one that is not out
// changes nothing.
//
// It returns when the server has done it: a message that it gave to this owner's own
// request before would come twice.
func (r *run) takeOver(ctx context.Context, info *jetstream.ConsumerInfo, resting map[uint64]bool) {
	if info.NumAckPending == 0 || !usual(r.js) {
		return
	}
	filter := info.Config.FilterSubject
	subject := fmt.Sprintf("$JS.ACK.%s.%s.1.%%d.%d.0.0", info.Stream, info.Name, info.Delivered.Consumer)
	next := info.AckFloor.Stream + 1
	last := "" // they are done in order
	defer func() {
		if last != "" {
			r.told(ctx, last, "-NAK")
		}
	}()
	for range info.Config.MaxAckPending + searchAtMost {
		if next > info.Delivered.Stream || ctx.Err() != nil {
			return
		}
		one, cancel := context.WithTimeout(ctx, requestTime)
		msg, err := r.stored(one, info.Stream, which{Seq: next, Next: filter})
		cancel()
		if err != nil {
			if !errors.Is(err, jetstream.ErrMsgNotFound) {
				r.opts.observe(Trouble{Partition: r.lease.Partition.ID, Err: fmt.Errorf("consumer: what the former owner had in hand comes only after AckWait: %w", err)})
			}
			return
		}
		if msg.Sequence > info.Delivered.Stream {
			return
		}
		next = msg.Sequence + 1
		if resting[msg.Sequence] {
			continue
		}
		if last != "" {
			_ = r.js.Conn().Publish(last, []byte("-NAK"))
		}
		last = fmt.Sprintf(subject, msg.Sequence)
	}
}

// searchAtMost is how many messages that are done are passed over in search of those
// that are in hand.
const searchAtMost = 256
