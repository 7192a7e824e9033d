package partitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti"
)

// An Option tunes [Exercise]. A nil Option is ignored.
type Option func(*exercise)

// Partitions says what to run the handler with, at least one. By default three
// partitions named exercise-1 and so on.
func Partitions(all ...parti.Partition) Option {
	return func(x *exercise) { x.partitions = all }
}

// Watch is for how long a handler is watched that should go on. By default 100 ms.
func Watch(d time.Duration) Option { return func(x *exercise) { x.watch = d } }

// Patience is how long a handler may take to return after its context has ended,
// without Hard; and how long what it started may take to end after its return. By
// default 5 s.
func Patience(d time.Duration) Option { return func(x *exercise) { x.patience = d } }

// HardPatience is how long a handler may take to return once Hard has ended. By
// default 1 s: under Isolation fence there is no more than Config.FenceMargin.
func HardPatience(d time.Duration) Option { return func(x *exercise) { x.hard = d } }

// Exercise runs h as a Manager would, and fails the test where h breaks the
// contract of [parti.Handler]:
//
//   - it goes on for as long as it owns the partition;
//   - it returns once ctx has ended, whatever the cause, within Patience;
//   - it returns once Hard has ended, within HardPatience;
//   - it returns when ctx has ended before it began;
//   - what it started ends with it, and does not use the lease any more;
//   - it runs again under a larger token, after a return;
//   - it runs several partitions at once, and ends one without the others;
//   - of a [parti.Preparer], Prepare returns when its ctx ends, and may be called
//     again, and Run after it.
//
// A handler that works on something outside needs that to be there. Where one
// returns by itself when there is nothing to do, make it wait instead, or return
// [parti.ErrDone]: such a return is accepted.
//
// Goroutines are told apart by the profiler's labels, which h must not replace.
func Exercise(t *testing.T, h parti.Handler, opts ...Option) {
	t.Helper()
	newExercise(h, opts).run(subtests{t})
}

// A reporter is a *testing.T, or the tests' own.
type reporter interface {
	Run(name string, f func(r reporter))
	Errorf(format string, args ...any)
	Helper()
}

type subtests struct{ *testing.T }

func (s subtests) Run(name string, f func(reporter)) {
	s.T.Run(name, func(t *testing.T) { f(subtests{t}) })
}

type exercise struct {
	handler               parti.Handler
	partitions            []parti.Partition
	watch, patience, hard time.Duration
}

func newExercise(h parti.Handler, opts []Option) *exercise {
	x := &exercise{handler: h, watch: 100 * time.Millisecond, patience: 5 * time.Second, hard: time.Second}
	for i := range 3 {
		x.partitions = append(x.partitions, parti.Partition{ID: fmt.Sprintf("exercise-%d", i+1)})
	}
	for _, o := range opts {
		if o != nil {
			o(x)
		}
	}
	return x
}

func (x *exercise) run(r reporter) {
	r.Helper()
	first := x.partitions[0]
	for name, end := range map[string]func(*Lease){
		"returns when the partition is revoked": (*Lease).Revoke,
		"returns when the worker stops":         (*Lease).Stop,
		"returns when the worker is fenced":     (*Lease).Fence,
	} {
		r.Run(name, func(r reporter) {
			c := x.start(first)
			c.goesOn(r)
			end(c.lease)
			c.returns(r, x.patience, "its context has ended")
		})
	}
	r.Run("returns when Hard ends", func(r reporter) {
		c := x.start(first)
		c.goesOn(r)
		c.lease.EndHard()
		c.returns(r, x.hard, "Hard has ended")
	})
	r.Run("returns when it begins too late", func(r reporter) {
		lease := NewLease(first)
		lease.Revoke()
		x.call(lease).returns(r, x.patience, "its context had ended before it began")
	})
	r.Run("runs again", func(r reporter) {
		for range 2 {
			c := x.start(first)
			c.goesOn(r)
			c.lease.Revoke()
			c.returns(r, x.patience, "its context has ended")
		}
	})
	r.Run("runs several partitions", func(r reporter) {
		var calls []*call
		for _, p := range x.partitions {
			calls = append(calls, x.start(p))
		}
		for i, c := range calls {
			for _, other := range calls[i:] {
				other.goesOn(r)
			}
			c.lease.Revoke()
			c.returns(r, x.patience, "its context has ended")
		}
	})
	if p, ok := x.handler.(parti.Preparer); ok {
		r.Run("prepares", func(r reporter) { x.prepare(r, p) })
	}
}

func (x *exercise) prepare(r reporter, p parti.Preparer) {
	part := x.partitions[0]
	for _, early := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		if early {
			cancel()
		}
		done := make(chan error, 1)
		go func() { done <- guarded(func() error { return p.Prepare(ctx, part) }) }()
		select {
		case err := <-done:
			if err != nil && (!early || strings.HasPrefix(err.Error(), "panic: ")) {
				r.Errorf("Prepare of %s failed: %v", part.ID, err)
			}
		case <-time.After(x.patience):
			r.Errorf("Prepare of %s has not returned after %v", part.ID, x.patience)
		}
		cancel()
	}
	c := x.start(part)
	c.goesOn(r)
	c.lease.Revoke()
	c.returns(r, x.patience, "its context has ended")
}

// A call is one Run.
type call struct {
	x     *exercise
	lease *Lease
	label string
	done  chan struct{}
	err   error // valid when done
}

func (x *exercise) start(p parti.Partition) *call { return x.call(NewLease(p)) }

func (x *exercise) call(lease *Lease) *call {
	c := &call{x: x, lease: lease, label: fmt.Sprintf("%s-%d", lease.Partition.ID, lease.Token), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = errGoexit
		pprof.Do(lease.Context(), pprof.Labels("partitest", c.label), func(ctx context.Context) {
			c.err = guarded(func() error { return x.handler.Run(ctx, lease.Lease) })
		})
	}()
	return c
}

var errGoexit = errors.New("it ended its goroutine instead of returning")

func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}

// goesOn checks that the handler does not return by itself.
func (c *call) goesOn(r reporter) {
	r.Helper()
	select {
	case <-c.done:
		if !errors.Is(c.err, parti.ErrDone) && !errors.Is(c.err, parti.ErrReject) {
			r.Errorf("Run of %s returned while it owned the partition, with: %v; a Manager would call it again and again", c.lease.Partition.ID, c.err)
		}
	case <-time.After(c.x.watch):
	}
}

// returns checks that the handler returns in time and leaves nothing behind.
func (c *call) returns(r reporter, within time.Duration, since string) {
	r.Helper()
	defer c.lease.EndHard() // so that what is left behind ends, if it listens
	select {
	case <-c.done:
	case <-time.After(within):
		r.Errorf("Run of %s has not returned %v after %s", c.lease.Partition.ID, within, since)
		return
	}
	if c.err != nil && strings.HasPrefix(c.err.Error(), "panic: ") || errors.Is(c.err, errGoexit) {
		r.Errorf("Run of %s failed: %v", c.lease.Partition.ID, c.err)
	}
	c.lease.returned.Store(true)
	n := c.left()
	for waited, pause := time.Duration(0), time.Millisecond; n > 0 && waited < c.x.patience; pause *= 2 {
		time.Sleep(pause) //nolint:forbidigo // nothing tells when somebody else's goroutine ends
		waited += pause
		n = c.left()
	}
	if n > 0 {
		r.Errorf("Run of %s has returned, but %d goroutines that it started have not: somebody else may own the partition now", c.lease.Partition.ID, n)
	}
	if n := c.lease.late.Load(); n > 0 {
		r.Errorf("the lease of %s was used %d times after Run had returned", c.lease.Partition.ID, n)
	}
}

// left counts the goroutines that this call started and that have not ended.
func (c *call) left() int {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return 0
	}
	n, at := 0, 0
	for line := range strings.Lines(profile.String()) {
		// "3 @ 0x… 0x…" begins a group of goroutines that are alike; its labels follow.
		if count := 0; strings.Contains(line, " @ ") {
			if _, err := fmt.Sscanf(line, "%d @", &count); err == nil {
				at = count
			}
		} else if strings.HasPrefix(line, "# labels:") && strings.Contains(line, fmt.Sprintf("%q:%q", "partitest", c.label)) {
			n += at
		}
	}
	return n
}
