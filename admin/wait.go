package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// Least and most time between two snapshots of Watch.
const (
	watchLeast = 200 * time.Millisecond
	watchMost  = 2 * time.Second
	// watchShare bounds what watching costs: looking takes one part in so many of the time,
	// but for the waiting for those that do not answer.
	watchShare = 5
)

// Watch calls f with a snapshot now and whenever something has changed, and every few
// seconds anyway, since ages grow: two to four, and the time that a look takes. It returns
// when f returns false, with nil; when ctx ends, with its cause; and when the first snapshot
// cannot be taken. A later failure is given to f with the snapshot before; f is called again
// once it is over. f is called by the caller's goroutine.
func (g *Group) Watch(ctx context.Context, f func(Snapshot, error) bool) error {
	last, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	return g.noticing(ctx, telltales, func(changed <-chan struct{}) error {
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
	})
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

// telltales are the records whose changes a watcher is told of.
var telltales = []string{wire.Plan.Prefix(), wire.Leader.Prefix(), wire.Aside.Prefix(), wire.Control.Prefix()}

// noticing calls f, which waits on changed for what changes under the prefixes.
func (g *Group) noticing(ctx context.Context, prefixes []string, f func(changed <-chan struct{}) error) error {
	watching, cancel := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.notice(watching, prefixes, changed)
	}()
	defer func() { cancel(); <-done }()
	return f(changed)
}

// notice tells of changes under the prefixes until ctx ends. Without the right to follow,
// time alone tells.
func (g *Group) notice(ctx context.Context, prefixes []string, changed chan<- struct{}) {
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // one is enough
		}
	}
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
	if err := g.there(ctx, worker); err != nil {
		return err
	}
	key := wire.Key{Kind: wire.Slice, Name: worker}
	return g.noticing(ctx, []string{key.String()}, func(changed <-chan struct{}) error {
		told := -1
		var last error // since it was told
		for {
			// The slice is all that is to be known of it, so that nobody has to be asked.
			left, err := g.left(ctx, key)
			switch {
			case err != nil && ctx.Err() == nil && told < 0:
				return err
			case err != nil && ctx.Err() == nil:
				last = err
			case err == nil && left >= 0 && left != told:
				told, last = left, nil
				if progress != nil {
					progress(left)
				}
			}
			if err == nil && left == 0 {
				return nil
			}
			if pause(ctx, watchMost, changed) {
				continue
			}
			state := "it is not known what " + worker + " has"
			if told >= 0 {
				state = worker + " still has " + counted(told)
			}
			return fmt.Errorf("%s: %w", state, errors.Join(context.Cause(ctx), last))
		}
	})
}

// there reports a worker that is not there and has nothing either.
func (g *Group) there(ctx context.Context, worker string) error {
	p, err := g.read(ctx)
	if err != nil {
		return err
	}
	if ids := p.workerIDs(); !slices.Contains(ids, worker) {
		return notFound("worker", worker, ids)
	}
	return nil
}

// left is how many partitions a slice has that were not let go of; negative: that is not
// known, since the store was made anew, and the plan is not whole again.
func (g *Group) left(ctx context.Context, key wire.Key) (int, error) {
	e, found, err := g.get(ctx, key)
	if err != nil {
		return 0, lost(err)
	}
	if !found {
		var head plan.Head
		e, stands, err := g.get(ctx, wire.Key{Kind: wire.Plan})
		if err != nil {
			return 0, lost(err)
		}
		if !stands {
			return -1, nil
		}
		if err := wire.Decode(e.Key, e.Value, &head); err != nil {
			return 0, err
		}
		if head.Adopting {
			return -1, nil
		}
		return 0, nil
	}
	var s plan.Slice
	if err := wire.Decode(e.Key, e.Value, &s); err != nil {
		return 0, err
	}
	return len(s.Granted) + len(s.Releasing), nil
}

// AwaitSettled waits until the group is at rest and well, and its leader has heard of every
// order, and calls progress, unless nil, with each snapshot until then. A group that is
// paused is not at rest: what is uneven waits for the end of the pause.
func (g *Group) AwaitSettled(ctx context.Context, progress func(Snapshot)) error {
	return g.await(ctx, progress, func(s *Snapshot) bool { return s.Settled })
}

func (g *Group) await(ctx context.Context, progress func(Snapshot), so func(*Snapshot) bool) error {
	var last string
	err := g.Watch(ctx, func(s Snapshot, err error) bool {
		if err != nil {
			return true
		}
		last = s.Sentence
		if progress != nil {
			progress(s)
		}
		return !so(&s)
	})
	if err != nil && last != "" {
		return fmt.Errorf("%s: %w", last, err)
	}
	return err
}

// AwaitOwner waits until a partition is owned by that worker and by nobody else. A move that
// was asked for and that the leader could not do is a [RefusedError] with the leader's
// reason: it is not tried again. A pin that cannot be kept, as while its worker is not there
// or takes nothing new, may be kept later: this waits until ctx ends, and so it does for what
// nobody has asked for. The leader's alerts say why it waits; see [Snapshot].
func (g *Group) AwaitOwner(ctx context.Context, partition, worker string) error {
	at := "nowhere"
	var refused, before error
	err := g.Watch(ctx, func(s Snapshot, err error) bool {
		if err != nil {
			return true
		}
		p, err := s.Partition(partition)
		if at = p.Owner; err != nil {
			at = "nowhere"
		} else if p.State == Owned && p.Owner == worker {
			return false
		}
		// What a worker says of its alerts may be a moment older than what it says of the
		// orders that it has heard: it is believed the second time.
		said := s.unmoved(partition, worker)
		if said != nil && before != nil {
			refused = said
		}
		before = said
		return refused == nil
	})
	if err != nil {
		return fmt.Errorf("%s is on %s: %w", partition, at, err)
	}
	return refused
}

// unmoved is why the leader has not done a move that was asked for; nil where it has, or may
// yet, or where a pin will do it.
func (s *Snapshot) unmoved(partition, worker string) error {
	ordered := func(kind plan.ControlKind) bool {
		return slices.ContainsFunc(s.Controls, func(c plan.Control) bool {
			return c.Kind == kind && c.Partition == partition && c.Worker == worker
		})
	}
	if s.Leader == nil || !s.Leader.Leads || !s.Leader.Answers || s.Unheard || !ordered(plan.MoveTo) || ordered(plan.Pin) {
		return nil
	}
	for _, a := range s.Alerts {
		why, is := strings.CutPrefix(a.Text, partition+" was not moved to "+worker+": ")
		if is && a.Leader && a.About == "move "+partition {
			return &RefusedError{What: "move " + partition + " to " + worker, Why: why, Try: "move it again when that has changed"}
		}
	}
	return nil
}

func counted(n int) string { return number(n) + " " + plural(n, "partition") }
