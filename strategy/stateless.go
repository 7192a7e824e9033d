package strategy

import (
	"math"

	"github.com/parti-go/parti/plan"
)

// A seeker is a rule that chooses without looking at today's owners.
type seeker interface {
	// order is the order in which partitions choose; it may sort ids.
	order(b *board, ids []int32) []int32
	// begin is called before partitions choose one after the other: until the next
	// begin, no worker's load falls.
	begin(b *board)
	// first is the worker with room that i wants most, or -1.
	first(b *board, i int32) int
}

// assignBy is what the strategies without memory have in common. Pins, cordons
// and capacities hold; whoever is left chooses in the seeker's order. A budget is kept
// by letting the first ones move, in order of ID, until it is used up; so that a
// number of plans, each with a budget, ends where one without would.
func assignBy(s seeker, in plan.Input) ([]int, error) {
	if err := plan.ValidInput(in); err != nil {
		return nil, err
	}
	b := newBoard(Sticky(), in)
	b.keep()
	free := make([]int32, 0, len(b.to))
	for i := range b.to {
		if j := b.to[i]; b.stand[i] != pinned && (j < 0 || !b.frozen[j]) {
			free = append(free, int32(i))
		}
	}
	if b.moves == math.MaxInt64 && b.weight == math.MaxInt64 {
		for _, i := range free {
			if b.to[i] >= 0 {
				b.take(i)
			}
		}
		b.choose(s, s.order(b, free))
		return b.to, nil
	}
	return b.approach(s, free), nil
}

// choose gives each of ids, none of which has an owner, to whom it wants most.
func (b *board) choose(s seeker, ids []int32) {
	s.begin(b)
	for _, i := range ids {
		if j := s.first(b, i); j >= 0 {
			b.put(i, j)
		}
	}
}

// approach goes as far as the budget allows from where the partitions are kept to
// where they want to be.
func (b *board) approach(s seeker, free []int32) []int {
	ideal := *b
	ideal.to, ideal.load = make([]int, len(b.to)), make([]int64, len(b.load))
	for i, j := range b.to {
		if ideal.to[i] = -1; j >= 0 && (b.stand[i] == pinned || b.frozen[j]) {
			ideal.put(int32(i), j)
		}
	}
	ordered := s.order(b, append([]int32(nil), free...))
	ideal.choose(s, ordered)
	fits := func(i int32) bool {
		j := ideal.to[i]
		return j >= 0 && b.room[j]-b.load[j] >= b.w[i]
	}
	for _, i := range ordered {
		if b.to[i] < 0 && fits(i) {
			b.put(i, ideal.to[i])
		}
	}
	for _, i := range free {
		if b.to[i] >= 0 && b.to[i] != ideal.to[i] && b.stand[i] == settled && b.affords(1, b.w[i]) && fits(i) {
			b.pay(b.w[i])
			b.take(i)
			b.put(i, ideal.to[i])
		}
	}
	var left []int32
	for _, i := range ordered {
		if b.to[i] < 0 {
			left = append(left, i)
		}
	}
	b.choose(s, left)
	return b.to
}

// roomFor says whether j takes something of weight w.
func (b *board) roomFor(j int, w int64) bool { return !b.frozen[j] && b.room[j]-b.load[j] >= w }
