package strategy

import (
	"math"

	"github.com/parti-go/parti/plan"
)

// Explain says what to costs and how even it is, and how little and how even it
// could be at best. to is Assign's answer to in, or any other of the same length with
// workers' indexes or -1. For an Input or an answer that is not valid it is zero.
func (s Budgeted) Explain(in plan.Input, to []int) plan.Explanation {
	if s.Check() != nil || plan.ValidInput(in) != nil || !answers(in, to) {
		return plan.Explanation{}
	}
	b := newBoard(s, in)
	b.keep()
	e := b.count(to)
	b.boundMoves(&e)
	before, after := b.loads(in.Current), b.loads(to)
	b.peaks(&e, to, before, after)
	b.transfers(&e, to, before, after)
	if e.Unplaced > 0 {
		e.Left = b.left(to, after, plan.MaxNamed)
	}
	return e
}

// Left lists all that to leaves without an owner, sorted by ID, each with what is
// in its way; of which Explain names only the first. For an Input that is not
// valid it is empty.
func (s Budgeted) Left(in plan.Input, to []int) []plan.LeftOut {
	if s.Check() != nil || plan.ValidInput(in) != nil || !answers(in, to) {
		return nil
	}
	b := newBoard(s, in)
	return b.left(to, b.loads(to), len(to))
}

// answers says whether to has an entry for each partition, each a worker's index or -1.
func answers(in plan.Input, to []int) bool {
	for _, j := range to {
		if j < -1 || j >= len(in.Workers) {
			return false
		}
	}
	return len(to) == len(in.Partitions)
}

// count compares to with today's owners. The board is as after keep.
func (b *board) count(to []int) (e plan.Explanation) {
	for i, is := range to {
		was, w := b.in.Current[i], b.w[i]*b.unit
		switch {
		case is < 0:
			e.Unplaced++
		case was < 0:
			e.Placed++
			e.PlacedWeight += w
		case is != was:
			e.Moved++
			e.MovedWeight += w
			if b.stand[i] != settled {
				e.Forced++
				e.ForcedWeight += w
			}
		}
	}
	return e
}

// boundMoves fills in the lower bounds of what must be placed or moved. What
// comes to a pin is on the board already and counts as it is; what has no room
// anywhere does not count: no assignment places it.
func (b *board) boundMoves(e *plan.Explanation) {
	var pool, pins int64
	for _, i := range b.pool {
		pool += b.w[i]
	}
	for i, is := range b.to {
		if b.stand[i] == pinned && is >= 0 && is != b.in.Current[i] {
			e.BoundMoves++
			pins += b.w[i]
		}
	}
	b.setLimits()
	lost := len(b.pool)
	b.pool = nil
	b.open()
	own := func(j int) []int32 { return b.list(int32(j), settled) }
	all := func() []int32 { return b.heavier(0) }
	e.BoundMoves += moveBound(b.w, b.load, b.up, b.down, lost, pool, own, all)
	e.BoundWeight = b.unit * (pins + weightBound(b.load, b.up, b.down, pool))
}

// peaks fills in how far the heaviest worker is above its fair share, before and
// after, of what is placed after. With unequal shares the bound only says that
// someone has the heaviest partition.
func (b *board) peaks(e *plan.Explanation, to []int, before, after []int64) {
	m := len(b.share)
	var placed []int32
	var total, heaviest int64
	for i, is := range to {
		if is >= 0 {
			total += b.w[i]
			heaviest = max(heaviest, b.w[i])
			placed = append(placed, int32(i))
		}
	}
	if total == 0 {
		return
	}
	var shares, largest int64
	for _, c := range b.share {
		shares += c
		largest = max(largest, c)
	}
	over := func(load, share int64) int64 {
		x, _ := scaled(load, shares, 1000*1000, total)
		return min(x, math.MaxInt64) / share
	}
	for j, c := range b.share {
		e.PeakBefore = max(e.PeakBefore, over(before[j], c))
		e.PeakAfter = max(e.PeakAfter, over(after[j], c))
	}
	e.BoundPeak = max(1000, over(heaviest, largest))
	if b.equal {
		sortHeavy(placed, b.w)
		e.BoundPeak = over(peakBound(placed, b.w, m), 1)
	}
}
