package parti

import (
	"sync/atomic"
	"time"
)

// jumpAfter is by how much two clocks must part before it is called a jump: far
// above the time between two readings, far below any margin.
const jumpAfter = 20 * time.Millisecond

// A clock tells the time by which trust is measured: it counts the time for which
// the machine was suspended, which package time does not on most systems. Its
// readings carry the monotonic clock, put right, and so compare by that; what they are
// as dates [clock.date] tells.
//
// Where package time is not the machine's time, as in a testing/synctest bubble, it
// is package time alone.
type clock struct {
	// stepAfter is by how much the wall clock must run ahead between two looks before
	// that is taken for a suspension which no other clock has counted, as when a
	// virtual machine was paused.
	stepAfter time.Duration

	read      func() time.Time // the wall clock, with the monotonic one
	start     time.Time
	boot      func() (time.Duration, bool) // since the machine started, suspension included; nil: there is no such clock
	sinceBoot time.Duration                // at start

	suspended atomic.Int64  // nanoseconds of suspension since start, as far as looked
	ahead     time.Duration // of the wall clock before the monotonic one, at the last look
}

// newClock makes a clock for a session with that margin: what stays below it needs
// no notice.
func newClock(margin time.Duration, read func() time.Time) *clock {
	boot := bootTime
	if !realTime() {
		boot = nil
	}
	return newClockWith(boot, min(margin/2, time.Second), read)
}

func newClockWith(boot func() (time.Duration, bool), stepAfter time.Duration, read func() time.Time) *clock {
	c := &clock{read: read, start: read(), stepAfter: stepAfter}
	if boot == nil {
		return c
	}
	// The clocks cannot be read at the same moment. Of several tries the closest is
	// kept, and boot time is read first, so that elapsed comes out too large rather
	// than too small.
	closest := time.Duration(-1)
	for range 5 {
		before, ok := boot()
		now := read()
		after, ok2 := boot()
		if !ok || !ok2 {
			return c
		}
		if gap := after - before; closest < 0 || gap < closest {
			closest = gap
			c.start, c.sinceBoot = now, before
		}
	}
	c.boot = boot
	return c
}

// elapsed is the time since the clock was made, suspension included. It may be
// called from any goroutine.
func (c *clock) elapsed() time.Duration {
	if c.boot != nil {
		if b, ok := c.boot(); ok {
			return b - c.sinceBoot
		}
	}
	return time.Since(c.start) + time.Duration(c.suspended.Load())
}

// now is the time as the machine is told it. It may be called from any goroutine.
func (c *clock) now() time.Time {
	return c.read().Add(time.Duration(c.suspended.Load()))
}

// date is what the wall clock says at t, a reading of now. It goes on by itself while the
// machine is suspended, so that what now adds for that is wrong as a date.
func (c *clock) date(t time.Time) time.Time {
	return t.Add(-time.Duration(c.suspended.Load())).Round(0)
}

// since is how long t, a reading of now, is after the clock was made.
func (c *clock) since(t time.Time) time.Duration { return t.Sub(c.start) }

// look compares the clocks and reports whether the process has been suspended since
// the last look. It is for one goroutine.
func (c *clock) look() (jumped bool) {
	if c.boot != nil {
		if b, ok := c.boot(); ok {
			// Package time is read second: a suspension comes out too small rather than too large.
			if s := b - c.sinceBoot - time.Since(c.start); s > time.Duration(c.suspended.Load())+jumpAfter {
				c.suspended.Store(int64(s))
				jumped = true
			}
		}
	}
	now := c.read()
	ahead := now.Round(0).Sub(c.start.Round(0)) - now.Sub(c.start)
	if ahead > c.ahead+c.stepAfter {
		jumped = true
	}
	c.ahead = ahead
	return jumped
}
