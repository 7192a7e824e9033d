package natskv

import (
	"testing"
	"time"
)

// Refusals with a long time between them say nothing of a key that stays closed, and those
// that go on do: the stream's leader is asked to step down, and not again at once.
func TestKeyThatStaysClosed(t *testing.T) {
	var w wedged
	now := time.Now()
	refusedFor := func(d time.Duration) (due []time.Duration) {
		for at := time.Duration(0); at < d; at += time.Second {
			if w.due("leader", now.Add(at)) {
				due = append(due, at)
			}
		}
		return due
	}
	for range 3 {
		if due := refusedFor(3 * time.Second); due != nil {
			t.Errorf("due after %v of refusals weeks after others", due)
		}
		now = now.Add(14 * 24 * time.Hour)
	}
	if due := refusedFor(40 * time.Second); len(due) != 2 || due[0] != patience || due[1] != patience+nudge {
		t.Errorf("due after %v, want %v and %v", due, patience, patience+nudge)
	}
}

// Whoever writes seldom tries seldom, and notices all the same.
func TestKeyOfALongHeartbeatStaysClosed(t *testing.T) {
	var w wedged
	now := time.Now()
	if w.due("session.w", now) || !w.due("session.w", now.Add(time.Minute)) {
		t.Error("it is not due a minute later")
	}
}
