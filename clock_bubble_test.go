package parti

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// suspendable is a boot clock of a machine that can be suspended.
type suspendable struct {
	begun     time.Time
	suspended atomic.Int64
}

func (s *suspendable) boot() (time.Duration, bool) {
	return time.Hour + time.Since(s.begun) + time.Duration(s.suspended.Load()), true
}

func TestClockCountsSuspension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machine := &suspendable{begun: time.Now()}
		c := newClockWith(machine.boot, time.Second, time.Now)
		before := c.now()
		time.Sleep(time.Second)
		if c.look() {
			t.Error("a jump without a suspension")
		}
		if got := c.now().Sub(before); got != time.Second {
			t.Errorf("%v passed, want 1s", got)
		}

		machine.suspended.Add(int64(time.Minute))
		if got := c.elapsed(); got != time.Minute+time.Second {
			t.Errorf("elapsed %v before anybody looked, want 1m1s: Check must not trust for longer", got)
		}
		if !c.look() {
			t.Error("no jump after a minute of suspension")
		}
		if c.look() {
			t.Error("the same jump twice")
		}
		if got := c.now().Sub(before); got != time.Minute+time.Second {
			t.Errorf("%v passed, want 1m1s", got)
		}
		if got, want := c.date(c.now()), time.Now(); !got.Equal(want) {
			t.Errorf("the wall clock says %v, and it is %v", got, want)
		}
		if got := c.since(c.now()); got != c.elapsed() {
			t.Errorf("now is %v after the start, elapsed %v", got, c.elapsed())
		}

		machine.suspended.Add(int64(jumpAfter / 2))
		if c.look() {
			t.Error("the time between two readings is taken for a jump")
		}
	})
}

func TestClockInABubbleIsPackageTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(time.Second, time.Now)
		if c.boot != nil {
			t.Fatal("it asks the machine for the time")
		}
		for range 100 {
			time.Sleep(time.Hour)
			if c.look() {
				t.Fatal("a jump")
			}
		}
		if got := c.elapsed(); got != 100*time.Hour {
			t.Errorf("elapsed %v", got)
		}
	})
}

func TestClockOutsideABubble(t *testing.T) {
	c := newClock(time.Second, time.Now)
	if _, ok := bootTime(); ok && c.boot == nil {
		t.Error("it does not ask the machine for the time though it could")
	}
	for range 1000 {
		if c.look() {
			t.Fatal("a jump")
		}
	}
	// No reading is later than one that is taken after it, whichever way they are taken.
	for range 1000 {
		a, b := c.since(c.now()), c.elapsed()
		if a > b {
			t.Fatalf("now is %v after the start, elapsed only %v: trust would be proved for too long", a, b)
		}
	}
}

func TestClockNoticesAWallClockThatRunsAhead(t *testing.T) {
	c := newClock(2*time.Second, time.Now)
	c.ahead -= 3 * time.Second // as if the wall clock had been set by that much since the last look
	if !c.look() {
		t.Error("no jump")
	}
	if c.look() {
		t.Error("the same jump twice")
	}
	c.ahead += 3 * time.Second // and back
	if c.look() {
		t.Error("a wall clock that is set back is no suspension")
	}
}

func BenchmarkCheck(b *testing.B) {
	e := &executor{clock: newClock(time.Second, time.Now)}
	e.trusted.Store(int64(time.Hour))
	for b.Loop() {
		if err := e.check(); err != nil {
			b.Fatal(err)
		}
	}
}
