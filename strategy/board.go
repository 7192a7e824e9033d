package strategy

import (
	"math"

	"github.com/parti-go/parti/plan"
)

// standing is what a move of a partition costs.
type standing uint8

const (
	floating standing = iota // its owner is gone or had to give it up, or it moves anyway: free
	settled                  // it has a living owner: a move is optional and costs
	pinned                   // it does not move at all
)

// A board is one assignment in the making. Partitions and workers are their
// indexes in the Input; everything is in a few slices of that length.
type board struct {
	in plan.Input
	s  Budgeted

	// Partitions.
	w     []int64 // load, in units of unit
	to    []int   // worker, or -1
	stand []standing
	pool  []int32 // to be placed, in order of ID
	out   []int32 // has no room for now

	// Workers.
	share  []int64 // in units of their greatest common divisor
	room   []int64 // capacity, rounded down to units; MaxInt64: no limit
	load   []int64
	fixed  []int64 // the pinned part of load
	frozen []bool  // takes nothing and gives nothing

	unit     int64 // greatest common divisor of all weights
	total    int64 // of w
	heaviest int64
	uniform  bool // all of w are 1
	equal    bool // all shares are 1
	bounded  bool // some room is limited
	anyFixed bool // there are pins
	coarse   bool // few partitions have most of the weight

	limits
	game
	zones
}

func newBoard(s Budgeted, in plan.Input) *board {
	n, m := len(in.Partitions), len(in.Workers)
	b := &board{
		in: in, s: s,
		w: make([]int64, n), to: make([]int, n), stand: make([]standing, n),
		frozen: make([]bool, m),
	}
	b.weigh()
	per := make([]int64, 4*m)
	b.share, b.room, b.load, b.fixed = per[:m:m], per[m:2*m:2*m], per[2*m:3*m:3*m], per[3*m:]
	var divisor int64
	for j, w := range in.Workers {
		b.share[j] = w.Portion()
		divisor = gcd(w.Portion(), divisor)
	}
	b.equal = true
	for j, w := range in.Workers {
		b.share[j] /= divisor
		b.equal = b.equal && b.share[j] == 1
		b.room[j] = math.MaxInt64
		if w.Capacity > 0 {
			b.room[j], b.bounded = w.Capacity/b.unit, true
		}
		b.frozen[j] = w.NoNew
	}
	b.purse = newPurse(in.Budget, b.unit)
	b.divide()
	return b
}

// weigh reads the weights and brings them to units of their greatest common
// divisor, so that only their proportions count.
func (b *board) weigh() {
	var unit int64
	for i := range b.in.Partitions {
		load := b.in.Partitions[i].Load()
		b.w[i] = load
		if unit != 1 && load != unit {
			unit = gcd(load, unit)
		}
	}
	b.unit = max(unit, 1)
	if b.unit > 1 {
		for i := range b.w {
			b.w[i] /= b.unit
		}
	}
	for _, w := range b.w {
		b.total += w
		b.heaviest = max(b.heaviest, w)
	}
	b.uniform = b.heaviest <= 1

	// Most of it is in partitions that are each a twentieth of what a worker carries, or more.
	if large := b.total / int64(len(b.in.Workers)) / 20; b.heaviest > large && !b.uniform {
		var sum int64
		for _, w := range b.w {
			if w > large {
				sum += w
			}
		}
		b.coarse = sum > b.total/2
	}
}

// put gives i to j.
func (b *board) put(i int32, j int) {
	b.to[i] = j
	b.load[j] += b.w[i]
	b.mark(i, j, 1)
}

// take makes i ownerless.
func (b *board) take(i int32) {
	b.load[b.to[i]] -= b.w[i]
	b.mark(i, b.to[i], -1)
	b.to[i] = -1
}

// waiting says that something has no room.
func (b *board) waiting() bool { return len(b.out) > 0 }

// colder orders workers by load for their share, then by ID.
func (b *board) colder(j, k int32) bool {
	if c := compareRatio(b.load[j], b.share[j], b.load[k], b.share[k]); c != 0 {
		return c < 0
	}
	return j < k
}
