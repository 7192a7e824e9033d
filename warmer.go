package parti

import (
	"context"
	"sync"
	"time"
)

// warmFor is how long a partition that was prepared ahead of time counts as
// prepared: longer than any drain that is not stuck.
const warmFor = 5 * time.Minute

// A warmer calls Prepare: ahead of time on up to limit goroutines, which last as
// long as there is something to prepare, or before Run on that one's own. No
// partition is prepared by two at a time.
type warmer struct {
	preparer Preparer
	limit    int
	ctx      context.Context //nolint:containedctx // of what is ahead of time
	cancel   context.CancelFunc
	wait     sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*warmth
	queue   []Partition
	workers int
}

// A warmth is one partition that is being prepared, or was.
type warmth struct {
	begun  bool
	cancel context.CancelFunc // of a call ahead of time; nil: it is none
	done   chan struct{}      // closed when Prepare has returned
	err    error              // valid then
	at     time.Time          // when that was
}

func newWarmer(p Preparer, values context.Context, limit int) *warmer { //nolint:revive // values is not the context of this call
	ctx, cancel := context.WithCancel(values)
	return &warmer{preparer: p, limit: limit, ctx: ctx, cancel: cancel, entries: map[string]*warmth{}}
}

// ahead prepares p when its turn comes, unless that was done or asked for already.
func (w *warmer) ahead(p Partition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget()
	if w.entries[p.ID] != nil || w.ctx.Err() != nil {
		return
	}
	w.entries[p.ID] = &warmth{done: make(chan struct{})}
	w.queue = append(w.queue, p)
	w.staff()
}

// staff starts one more goroutine, where there is something to prepare and the limit
// allows it.
func (w *warmer) staff() {
	if len(w.queue) > 0 && w.workers < w.limit && w.ctx.Err() == nil {
		w.workers++
		w.wait.Go(w.work)
	}
}

// forget drops what was prepared too long ago.
func (w *warmer) forget() {
	for id, e := range w.entries {
		if !e.at.IsZero() && time.Since(e.at) > warmFor {
			delete(w.entries, id)
		}
	}
}

// work prepares one after the other. A Prepare that ends its goroutine leaves the rest
// to another one.
func (w *warmer) work() {
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.workers--
		w.staff()
	}()
	for {
		ctx, p, e := w.next()
		if e == nil {
			return
		}
		w.call(ctx, p, e)
	}
}

// next begins the first of the queue whose Run was not faster; nil: there is none.
func (w *warmer) next() (context.Context, Partition, *warmth) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 && w.ctx.Err() == nil {
		p := w.queue[0]
		w.queue = w.queue[1:]
		if e := w.entries[p.ID]; e != nil && !e.begun {
			ctx, cancel := context.WithCancel(w.ctx)
			e.begun, e.cancel = true, cancel
			return ctx, p, e
		}
	}
	return nil, Partition{}, nil
}

// call calls Prepare and keeps the outcome, whatever it does.
func (w *warmer) call(ctx context.Context, p Partition, e *warmth) {
	err := errGoexit
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if e.cancel != nil {
			if err == nil && ctx.Err() != nil { // it need not be prepared, and perhaps it is not
				err = context.Cause(ctx)
			}
			e.cancel()
		}
		e.err, e.at = err, time.Now()
		if err != nil {
			delete(w.entries, p.ID)
		}
		close(e.done)
	}()
	err = guarded(func() error { return w.preparer.Prepare(ctx, p) })
}

// warm returns once p is prepared, for its Run; or when ctx has ended, with nil.
func (w *warmer) warm(ctx context.Context, p Partition) error {
	for {
		w.mu.Lock()
		w.forget()
		e := w.entries[p.ID]
		mine := e == nil || !e.begun
		if mine {
			e = &warmth{begun: true, done: make(chan struct{})}
			w.entries[p.ID] = e
		}
		w.mu.Unlock()
		if mine {
			w.call(ctx, p, e)
			w.used(p.ID, e)
			if ctx.Err() == nil {
				return e.err
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.done:
			w.used(p.ID, e)
			if e.err == nil {
				return nil
			}
		}
	}
}

// used says that the next Run wants a Prepare of its own.
func (w *warmer) used(id string, e *warmth) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.entries[id] == e {
		delete(w.entries, id)
	}
}

// cool ends what is ahead of time for a partition.
func (w *warmer) cool(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := w.entries[id]; {
	case e == nil:
	case !e.begun:
		delete(w.entries, id)
	case e.cancel != nil:
		e.cancel()
	}
}

// close ends what is ahead of time.
func (w *warmer) close() {
	w.cancel()
	w.mu.Lock()
	w.queue = nil
	w.mu.Unlock()
}

// busy names the partitions that are being prepared.
func (w *warmer) busy() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for id, e := range w.entries {
		if e.begun && e.at.IsZero() {
			all = append(all, id)
		}
	}
	return all
}
