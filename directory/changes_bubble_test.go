package directory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/roster"
)

// A listener reads changes, as fast as it is let.
type listener struct {
	t    *testing.T
	gate chan struct{} // nil: it is not held up

	mu    sync.Mutex
	told  []string          // such as "a: w1:1 to w2:2"
	knows map[string]string // what it was told of each partition last
	ended bool
}

func (c *caller) listen(ctx context.Context, gate chan struct{}) *listener {
	l := &listener{t: c.t, gate: gate, knows: map[string]string{}}
	go func() {
		for change := range c.Changes(ctx) {
			l.take(change)
			if gate != nil {
				<-gate
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = true
	}()
	return l
}

func (l *listener) take(c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, after := word(c.Before), word(c.After)
	l.told = append(l.told, fmt.Sprintf("%s: %s to %s", c.Partition, before, after))
	if l.knows[c.Partition] != before {
		l.t.Errorf("%s was said to be of %q, and now to have been of %q", c.Partition, l.knows[c.Partition], before)
	}
	if l.knows[c.Partition] = after; after == "" {
		delete(l.knows, c.Partition)
	}
}

// heard is what it was told since the last time, sorted.
func (l *listener) heard() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	told := l.told
	l.told = nil
	slices.Sort(told)
	return told
}

func (l *listener) hears(want ...string) {
	l.t.Helper()
	if got := l.heard(); !slices.Equal(got, want) {
		l.t.Errorf("told %q, want %q", got, want)
	}
}

func (l *listener) over() bool {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.sessions("w1", "w2")
		g.commit(map[string]share{"w1": {"a:1", "b:1"}, "w2": {}})
		d := g.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		one := d.listen(ctx, nil)
		one.hears("a:  to w1:1", "b:  to w1:1")
		g.commit(map[string]share{"w1": {"a:1", "b:1>w2"}})
		one.hears("b: w1:1 to w1:1>w2")
		g.commit(map[string]share{"w1": {"a:1"}, "w2": {"b:3", "c:3"}})
		if got := one.heard(); !slices.Contains(got, "c:  to w2:3") || one.knows["b"] != "w2:3" {
			t.Errorf("told %v", got)
		}
		other := d.listen(t.Context(), nil)
		other.hears("a:  to w1:1", "b:  to w2:3", "c:  to w2:3")
		g.commit(map[string]share{"w2": {"b:3"}})
		one.hears("c: w2:3 to ")
		other.hears("c: w2:3 to ")
		// A plan that changes nothing of a partition is no change of it.
		g.commit(map[string]share{"w1": {"a:1"}, "w2": {"b:3"}})
		one.hears()
		cancel()
		if !one.over() || other.over() {
			t.Error("the end of one context is that of its iteration")
		}
		g.commit(map[string]share{"w1": nil})
		other.hears("a: w1:1 to ")
		d.Close()
		if !other.over() {
			t.Error("it goes on after Close")
		}
		if len(d.readers) != 0 {
			t.Error("a reader is left")
		}
	})
}

// A slow reader finds changes merged; nobody else waits for it.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.sessions("w1", "w2")
		g.commit(map[string]share{"w1": {"a:1", "b:1", "c:1"}, "w2": {}})
		d := g.open(t)
		gate := make(chan struct{})
		slow := d.listen(t.Context(), gate)
		slow.hears("a:  to w1:1")
		// It has been told of a, and not yet of b and c.
		g.commit(map[string]share{"w1": {"c:1"}, "w2": {"a:2", "b:2"}})
		g.commit(map[string]share{"w1": {"a:3"}, "w2": {"b:2", "d:3"}})
		g.commit(map[string]share{"w1": {"a:3"}, "w2": {"b:4", "e:4"}})
		synctest.Wait()
		quick := d.listen(t.Context(), nil)
		quick.hears("a:  to w1:3", "b:  to w2:4", "e:  to w2:4")
		close(gate)
		// c has gone before it was told of, d has come and gone.
		slow.hears("a: w1:1 to w1:3", "b:  to w2:4", "e:  to w2:4")
		g.commit(map[string]share{"w1": {}, "w2": {"b:4", "e:4", "a:5"}})
		if slow.heard(); !maps.Equal(slow.knows, map[string]string{"a": "w2:5", "b": "w2:4", "e": "w2:4"}) {
			t.Errorf("it knows %v", slow.knows)
		}
	})
}

// The process of an owner that is read later is a change.
func TestProcessIsAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1"}})
		d := g.open(t)
		begun := time.Now()
		time.AfterFunc(time.Second, func() {
			g.session(roster.Session{Worker: "w1", Nonce: "n-w1", Labels: map[string]string{"addr": "h1"}})
		})
		for c := range d.Changes(t.Context()) {
			if c.After.Process.Label("addr") == "h1" {
				if c.Before.Worker != "w1" || c.Before.Process != nil {
					t.Errorf("before: %+v", c.Before)
				}
				break
			}
		}
		if took := time.Since(begun); took > 5*time.Second || len(d.readers) != 0 {
			t.Errorf("it took %v, and leaves %d readers", took, len(d.readers))
		}
	})
}

// The body may call the Directory, and iterate itself.
func TestChangesWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1", "b:1"}})
		d := g.open(t)
		n := 0
		for c := range d.Changes(t.Context()) {
			for inner := range d.Changes(t.Context()) {
				if o, ok := d.Owner(inner.Partition); !ok || o != inner.After {
					t.Errorf("%+v", inner)
				}
				break
			}
			if n++; n == d.Len() {
				d.Close()
			}
			_ = c
		}
		if n != 2 {
			t.Errorf("%d changes", n)
		}
	})
}

// A context that has ended begins nothing.
func TestChangesOfAnEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1"}})
		d := g.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for c := range d.Changes(ctx) {
			t.Errorf("it tells of %+v", c)
		}
	})
}
