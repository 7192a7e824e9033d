package measure

import (
	"context"
	"errors"
	"time"
)

// A Change is what came about when a fleet changed.
type Change struct {
	// After is how long it took until all of it had come about.
	After time.Duration
	// Gaps are for how long nobody ran each partition that went from one worker to another.
	Gaps Times
	// Plans are the plans that moved something, Moved the handlers that were started.
	Plans, Moved int
}

// change is what was measured since Reset. The fleet is locked.
func (f *Fleet) change(after time.Duration) Change {
	c := Change{After: after, Gaps: f.gaps, Moved: f.starts}
	for _, d := range f.plans {
		if len(d.Moves) > 0 {
			c.Plans++
		}
	}
	return c
}

func (f *Fleet) since(began time.Time) Change {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.change(time.Since(began))
}

// Cold starts all workers, and is over when every partition runs.
func (f *Fleet) Cold(ctx context.Context) (Change, error) {
	f.Reset()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	began, wait := f.Start(ctx, f.workers...)
	started := make(chan error, 1)
	go func() {
		err := wait()
		if err != nil { // then nothing will run
			fail(err)
		}
		started <- err
	}()
	err := f.await(ctx, "every partition runs", f.covered)
	c := f.since(began)
	if failed := <-started; failed != nil {
		return c, failed
	}
	return c, err
}

// Join adds a worker, and is over when it has its share.
func (f *Fleet) Join(ctx context.Context) (Change, error) {
	f.Reset()
	began := time.Now()
	w, err := f.Add(ctx)
	if err != nil {
		return Change{}, err
	}
	_, wait := f.Start(ctx, w)
	if err := wait(); err != nil {
		return Change{}, err
	}
	err = f.await(ctx, "the joiner has its share", func() bool { return f.starts > 0 && f.settled() })
	return f.since(began), err
}

// Leave stops a worker that does not lead, cleanly. It is over when what it had runs
// elsewhere; After counts from the return of its last handler.
func (f *Fleet) Leave(ctx context.Context) (Change, error) {
	w, err := f.follower(ctx)
	if err != nil {
		return Change{}, err
	}
	had := len(w.Manager.CurrentAssignment().Leases)
	f.Reset()
	done := make(chan error, 1)
	go func() { done <- w.Manager.Stop(ctx) }()
	err = f.await(ctx, "what the stopped worker had runs elsewhere", func() bool { return f.starts >= had && f.covered() })
	f.mu.Lock()
	c := f.change(time.Since(f.lastEnd()))
	f.mu.Unlock()
	err = errors.Join(err, <-done)
	f.gone(w)
	w.close()
	return c, err
}

// Lose cuts a worker off that does not lead, for good: to the others its process has ended.
// It is over when what it had runs elsewhere.
func (f *Fleet) Lose(ctx context.Context) (Change, error) {
	w, err := f.follower(ctx)
	if err != nil {
		return Change{}, err
	}
	had := len(w.Manager.CurrentAssignment().Leases)
	f.Reset()
	began := time.Now()
	f.mu.Lock()
	for id := range w.runs {
		w.ends(id)
	}
	w.fallen = true
	f.mu.Unlock()
	w.Stream.Conn().Close()
	err = f.await(ctx, "what the lost worker had runs elsewhere", func() bool { return f.starts >= had && f.covered() })
	c := f.since(began)
	f.gone(w)
	_ = w.Manager.Stop(ctx) // it has no connection: its handlers end
	w.close()
	return c, err
}

// Succeed stops the leader cleanly, and is over when another's term stands. Moved is what
// was started elsewhere until then.
func (f *Fleet) Succeed(ctx context.Context) (Change, error) {
	var old *Worker
	if err := f.await(ctx, "somebody leads", func() bool { old = f.leader(nil); return old != nil }); err != nil {
		return Change{}, err
	}
	f.Reset()
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- old.Manager.Stop(ctx) }()
	err := f.await(ctx, "another leads", func() bool { return f.leader(old) != nil })
	c := f.since(began)
	err = errors.Join(err, <-done)
	f.gone(old)
	old.close()
	return c, err
}

// follower is a worker that runs something and does not lead.
func (f *Fleet) follower(ctx context.Context) (w *Worker, err error) {
	err = f.await(ctx, "a worker besides the leader has partitions", func() bool {
		for _, w = range f.workers {
			if !w.Manager.IsLeader() && len(w.runs) > 0 && f.settled() {
				return true
			}
		}
		return false
	})
	return w, err
}
