package join

import (
	"math"
	"strconv"
	"time"
)

// The window from which a free ID is drawn. The first try is among a few, so that
// small groups have low numbers. A refusal says that others start at the same time,
// nobody knows how many: each makes the window eight times as large, and a hundred
// that start together need less than three tries each.
const (
	firstWindow = 4
	growth      = 8
	crowd       = 8 // where n are there, n/crowd are likely to join together
)

// window is how many of the free IDs to draw from, after so many refused tries, in
// a group of which seen are there.
func window(refused, seen, free int) int {
	w := max(firstWindow, seen/crowd)
	for range refused {
		if w > math.MaxInt/growth {
			break
		}
		w *= growth
	}
	return min(w, free)
}

// name is the n-th worker ID.
func (c Config) name(n int) string { return c.Prefix + "-" + strconv.Itoa(n) }

// pick is a random number below n.
func (c Config) pick(n int) int { return int(c.Random() % uint64(n)) }

// upTo is a random time below most, in milliseconds.
func (c Config) upTo(most time.Duration) time.Duration {
	return time.Duration(c.pick(max(1, int(most/time.Millisecond)))) * time.Millisecond
}
