package parti

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

const (
	// sourceTimeout is how long a source may take to list. It is promised in
	// [PartitionSource].
	sourceTimeout = 30 * time.Second
	// listTimeout is how long the store may take to list: a thousand workers that start
	// together, and read a thousand sessions each, need that long of one server.
	listTimeout = 30 * time.Second
	// maxProbes is how many probes are on their way at a time. They cost a goroutine
	// each, and a leader of a thousand workers has a thousand every half second.
	maxProbes = 64
)

// An operator carries out requests, each on a goroutine of its own, and answers
// each once.
type operator struct {
	store   Store
	source  PartitionSource
	clock   *clock
	answer  func(...member.Fact)
	timeout time.Duration // of one request to the store

	ctx    context.Context //nolint:containedctx // the life of all requests
	cancel context.CancelFunc
	wait   sync.WaitGroup // for what asks the store
	writes sync.WaitGroup
	lists  sync.WaitGroup // for what asks the source

	mu      sync.Mutex
	probes  []probe // that wait for a goroutine
	probers int
	listing bool // the source is still busy with an earlier listing
}

type probe struct {
	id  int
	req member.Probe
}

// send begins a request. It never waits.
func (o *operator) send(op member.Op) {
	switch req := op.Do.(type) {
	case member.Probe:
		o.sendProbe(probe{op.ID, req})
	case member.Put, member.Commit:
		o.writes.Add(1)
		o.wait.Go(func() {
			defer o.writes.Done()
			o.answer(o.do(op))
		})
	case member.Partitions:
		o.list(op.ID)
	case member.Get, member.List, member.Incarnation, member.Renew:
		o.wait.Go(func() { o.answer(o.do(op)) })
	}
}

// do asks the store.
func (o *operator) do(op member.Op) member.Answer {
	ctx, cancel := context.WithTimeout(o.ctx, o.patience(op.Do))
	defer cancel()
	a := member.Answer{ID: op.ID, Sent: o.clock.now()}
	switch req := op.Do.(type) {
	case member.Get:
		var e kv.Entry
		if e, a.Err = o.store.Get(ctx, keyOf(req.Key)); a.Err == nil || errors.Is(a.Err, kv.ErrMissing) {
			a.Records = []member.Record{decode(req.Key, e)}
		}
	case member.List:
		if req.Names {
			a.Records, a.Err = o.names(ctx, req.Kind)
			break
		}
		var entries []kv.Entry
		entries, a.Rev, a.Err = o.store.List(ctx, prefixOf(member.Follow{Kind: req.Kind}))
		for _, e := range entries {
			if key, ok := parseKey(e.Key); ok {
				a.Records = append(a.Records, decode(key, e))
			}
		}
	case member.Put:
		var w kv.Write
		if w, a.Err = encode(req); a.Err == nil {
			a.Rev, a.Err = o.store.Write(ctx, w)
		}
	case member.Commit:
		ws := make([]kv.Write, len(req.Puts))
		for i, p := range req.Puts {
			if ws[i], a.Err = encode(p); a.Err != nil {
				return a
			}
		}
		a.Rev, a.Err = o.store.Commit(ctx, ws)
	case member.Incarnation:
		a.Incarnation, a.Err = o.store.Incarnation(ctx)
	case member.Renew:
		a.Incarnation, a.Err = o.store.Renew(ctx, req.Incarnation)
	case member.Probe, member.Partitions: // not asked of the store
	}
	a.Err = classified(a.Err)
	return a
}

// names asks the store which keys of a kind there are.
func (o *operator) names(ctx context.Context, kind member.Kind) ([]member.Record, error) {
	names, err := o.store.Names(ctx, prefixOf(member.Follow{Kind: kind}))
	var records []member.Record
	for _, name := range names {
		if key, ok := parseKey(name); ok {
			records = append(records, member.Record{Key: key})
		}
	}
	return records, err
}

// patience is how long a request may take.
func (o *operator) patience(req member.Request) time.Duration {
	switch req := req.(type) {
	case member.List:
		if !req.Names {
			return listPatience(o.timeout)
		}
		return 3 * o.timeout // there may be pages
	case member.Renew:
		return 3 * o.timeout // it is many requests
	case member.Get, member.Put, member.Commit, member.Incarnation, member.Probe, member.Partitions:
	}
	return o.timeout
}

// listPatience is how long a listing may take where one request may take so long.
func listPatience(request time.Duration) time.Duration { return max(listTimeout, 3*request) }

// classified gives an error of the request's own deadline its class: nobody knows
// what became of a write without an answer.
func classified(err error) error {
	if err != nil && member.Outcome(err) == member.Strange && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return fmt.Errorf("%w: %w", kv.ErrUnknown, err)
	}
	return err
}

// sendProbe begins a probe, or lets it wait for one of the goroutines at work.
func (o *operator) sendProbe(p probe) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.probes = append(o.probes, p)
	if o.probers < maxProbes {
		o.probers++
		o.wait.Go(o.probe)
	}
}

// probe sends probes until none waits.
func (o *operator) probe() {
	for {
		o.mu.Lock()
		if len(o.probes) == 0 {
			o.probes = nil
			o.probers--
			o.mu.Unlock()
			return
		}
		p := o.probes[0]
		o.probes = o.probes[1:]
		o.mu.Unlock()

		ctx, cancel := context.WithTimeout(o.ctx, p.req.Within)
		sent := o.clock.now()
		_, err := o.store.Probe(ctx, p.req.Nonce)
		cancel()
		o.answer(member.Answer{ID: p.id, Err: err, Sent: sent})
	}
}

// list asks the source. One that ignores its context is not asked again before it
// has answered.
func (o *operator) list(id int) {
	o.mu.Lock()
	busy := o.listing
	o.listing = true
	o.mu.Unlock()
	sent := o.clock.now()
	if busy {
		o.answer(member.Answer{ID: id, Sent: sent, Err: errors.New("an earlier ListPartitions has not returned yet")})
		return
	}
	o.lists.Go(func() {
		ctx, cancel := context.WithTimeout(o.ctx, sourceTimeout)
		defer cancel()
		answered := make(chan member.Answer, 1)
		o.lists.Go(func() {
			a := member.Answer{ID: id, Sent: sent, Err: errGoexit}
			defer func() { answered <- a }()
			defer func() { // before the answer, after which it may be asked again
				o.mu.Lock()
				o.listing = false
				o.mu.Unlock()
			}()
			a.Partitions, a.Err = o.listPartitions(ctx)
		})
		select {
		case a := <-answered:
			o.answer(a)
		case <-ctx.Done():
			o.answer(member.Answer{ID: id, Sent: sent, Err: fmt.Errorf("ListPartitions did not return in time: %w", context.Cause(ctx))})
		}
	})
}

func (o *operator) listPartitions(ctx context.Context) (all []plan.Partition, err error) {
	if o.source == nil {
		return nil, errors.New("there is no source")
	}
	err = guarded(func() (err error) {
		all, err = o.source.ListPartitions(ctx)
		return err
	})
	return all, err
}

// finishWrites waits for the writes that are on their way.
func (o *operator) finishWrites(most time.Duration) {
	finished := make(chan struct{})
	o.wait.Go(func() {
		o.writes.Wait()
		close(finished)
	})
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-finished:
	case <-timer.C:
	}
}
