package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/wire"
)

// Least and most time between two snapshots of Watch.
const (
	watchLeast = 200 * time.Millisecond
	watchMost  = 2 * time.Second
	// watchShare bounds what watching costs: looking takes one part in so many of the time,
	// but for the waiting for those that do not answer.
	watchShare = 5
)

// Watch calls f with a snapshot now and whenever something has changed, and at least
// every two seconds, since ages grow. It returns when f returns false, with nil; when ctx
// ends, with its cause; and when the first snapshot cannot be taken. A later failure is
// given to f with the snapshot before; f is called again once it is over. f is called by
// the caller's goroutine.
func (g *Group) Watch(ctx context.Context, f func(Snapshot, error) bool) error {
	last, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.notice(watching, changed)
	}()
	defer func() { cancel(); <-done }()
	for more := f(last, nil); more; {
		began := time.Now()
		s, err := g.Snapshot(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			last = s
		}
		if more = f(last, err); !more {
			break
		}
		if !pause(ctx, min(max(watchLeast, watchShare*time.Since(began)), watchMost), nil) || !pause(ctx, watchMost, changed) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// pause waits for d, or for wake; false when ctx ends.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return false
	}
	return true
}

// notice tells of changes to what is planned and wanted, until ctx ends. Without the right
// to follow, time alone tells.
func (g *Group) notice(ctx context.Context, changed chan<- struct{}) {
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // one is enough
		}
	}
	prefixes := []string{wire.Plan.Prefix(), wire.Leader.Prefix(), wire.Aside.Prefix(), wire.Control.Prefix()}
	for ctx.Err() == nil {
		_ = g.store.Follow(ctx, prefixes, tell, func(e kv.Entry) {
			if e.Key != wire.Leader.Prefix() || e.Gone { // it is renewed all the time
				tell()
			}
		})
		pause(ctx, watchMost, nil)
	}
}

// AwaitDrained waits until a worker has nothing left, and calls progress, unless nil, with
// how many partitions are left whenever that changes. A [NotFoundError] when it is not
// there to begin with; one that goes meanwhile has nothing left. When ctx ends first, the
// error wraps its cause and says what was left.
func (g *Group) AwaitDrained(ctx context.Context, worker string, progress func(left int)) error {
	known, left := false, -1
	var missing error
	err := g.Watch(ctx, func(s Snapshot, err error) bool {
		if err != nil {
			return true
		}
		w, err := s.Worker(worker)
		if err != nil {
			if !known {
				missing = err
			}
			return false
		}
		known = true
		if n := w.Partitions + w.Releasing; n != left {
			left = n
			if progress != nil {
				progress(left)
			}
		}
		return left > 0
	})
	if err != nil && left > 0 {
		return fmt.Errorf("%s still has %s: %w", worker, counted(left), err)
	}
	if err != nil {
		return err
	}
	return missing
}

// AwaitSettled waits until the group is at rest and well, and its leader has heard of every
// order, and calls progress, unless nil, with each snapshot until then.
func (g *Group) AwaitSettled(ctx context.Context, progress func(Snapshot)) error {
	var last string
	err := g.Watch(ctx, func(s Snapshot, err error) bool {
		if err != nil {
			return true
		}
		last = s.Sentence
		if progress != nil {
			progress(s)
		}
		return !s.Settled
	})
	if err != nil && last != "" {
		return fmt.Errorf("%s: %w", last, err)
	}
	return err
}

// AwaitOwner waits until a partition is owned by that worker and by nobody else.
func (g *Group) AwaitOwner(ctx context.Context, partition, worker string) error {
	at := "nowhere"
	err := g.Watch(ctx, func(s Snapshot, err error) bool {
		if err != nil {
			return true
		}
		p, err := s.Partition(partition)
		if err != nil {
			at = "nowhere"
			return true
		}
		at = p.Owner
		return p.State != Owned || p.Owner != worker
	})
	if err != nil {
		return fmt.Errorf("%s is on %s: %w", partition, at, err)
	}
	return nil
}

func counted(n int) string { return number(n) + " " + plural(n, "partition") }
