package directory

import (
	"context"
	"iter"
)

// A Change is one of a partition's owner.
type Change struct {
	Partition string
	// Before is the owner that the same iteration told of last; the zero Owner where there
	// was none. After is the owner now; the zero Owner where there is none.
	Before, After Owner
}

// Changes tells of every partition that has an owner, with a Before of nobody, and from
// then on of each change, until ctx ends or the Directory is closed. It begins when the
// iteration does.
//
// The changes of one partition come in order, and each Before is the After of the one
// before it. Between partitions there is no order. A reader that is slow delays nobody: it
// finds the changes of a partition merged into one, and one that came and went in none.
// What it has not read takes memory for each partition, not for each change. That
// Owner.Version alone has grown is no change.
//
// Any number of iterations may run at once, each for itself. The body may call every
// method of the Directory.
func (d *Directory) Changes(ctx context.Context) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		r := &reader{wake: make(chan struct{}, 1), before: map[string]*entry{}}
		d.mu.Lock()
		begin := d.book.snapshot()
		d.readers[r] = struct{}{}
		d.mu.Unlock()
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.readers, r)
		}()
		more := true
		begin.each(func(id string, e *entry) bool {
			c := d.begin(r, id, e)
			more = !d.over(ctx) && (c.After.Worker == "" || yield(c))
			return more
		})
		for more {
			if d.over(ctx) {
				return
			}
			if c, ok := d.next(r); ok {
				more = yield(c)
				continue
			}
			select {
			case <-ctx.Done():
			case <-d.done:
			case <-r.wake:
			}
		}
	}
}

// over says whether an iteration has to end.
func (d *Directory) over(ctx context.Context) bool {
	select {
	case <-d.done:
		return true
	default:
		return ctx.Err() != nil
	}
}

// A reader is one iteration over changes. The Directory's mutex guards what it has not read.
type reader struct {
	wake   chan struct{}     // holds one
	queue  []string          // partitions that have changed; some may have been told of meanwhile
	before map[string]*entry // of those that have not, what was told of last
}

// tell notes a change for everybody who reads. The mutex is held.
func (d *Directory) tell(id string, before *entry) {
	for r := range d.readers {
		if _, waits := r.before[id]; !waits {
			r.before[id] = before
			r.queue = append(r.queue, id)
			signal(r.wake)
		}
	}
}

// begin is the first change of a partition. If there are others already, they are in it.
func (d *Directory) begin(r *reader, id string, e *entry) Change {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, waits := r.before[id]; waits {
		delete(r.before, id)
		e = d.book.table.Load().get(id)
	}
	return Change{Partition: id, After: e.owner()}
}

// next is the next change that is one; false when there is none.
func (d *Directory) next(r *reader) (Change, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(r.queue) > 0 {
		id := r.queue[0]
		r.queue = r.queue[1:]
		before, waits := r.before[id]
		if !waits {
			continue
		}
		delete(r.before, id)
		if now := d.book.table.Load().get(id); !same(before, now) {
			return Change{Partition: id, Before: before.owner(), After: now.owner()}, true
		}
	}
	r.queue, r.before = nil, map[string]*entry{} // a map does not shrink
	return Change{}, false
}
