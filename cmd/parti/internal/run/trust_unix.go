//go:build unix

package run

import "time"

// A trust says when a guardian is to end everything by itself, under Fence. The times
// are those of [parti.Handler]: commands are asked to end when a quarter of the trust
// is left, and are killed so early that they are gone when nothing is.
type trust struct {
	left   func() time.Duration // as parti.Status has it: rounded up to milliseconds
	length time.Duration        // of the trust in a session that was renewed just now
}

// dying is the time that killing takes: a part of the trust, but not more than maxDying.
const (
	dyingPart = 16
	maxDying  = 250 * time.Millisecond
)

// times are by machineTime. There are none while ownership is not provable; what was
// told before still holds then, since trust that was proved is not taken back.
func (t trust) times() (termAt, killAt time.Duration, ok bool) {
	// The clock is read first: the times are never too late, however long this takes.
	now := machineTime()
	left := t.left() - time.Millisecond
	if left <= 0 {
		return 0, 0, false
	}
	termAt, killAt = t.plan(now + left)
	return termAt, killAt, true
}

// plan is when to do what if trust lasts until then.
func (t trust) plan(until time.Duration) (termAt, killAt time.Duration) {
	return until - t.length/4, until - min(t.length/dyingPart, maxDying)
}
