package strategy

import (
	"math"
	"slices"
)

// A step moves one partition to a worker, and perhaps one back.
type step struct {
	found      bool
	give, back int32 // back is -1 for none
	to         int32
	ends       bool  // this is all that is needed
	score      int64 // the less the better, among those that end it or those that do not
}

// offer keeps s if it is better than the best so far; the first of equals stays.
func (best *step) offer(s step) {
	if !best.found || s.ends && !best.ends || s.ends == best.ends && s.score < best.score {
		*best = s
		best.found = true
	}
}

// do does the step.
func (b *board) do(s step) bool {
	h := int32(b.to[s.give])
	b.move(s.give, s.to)
	if s.back >= 0 {
		b.move(s.back, h)
	}
	return true
}

// coldest appends to list the coldest workers, other than h, that are not full.
func (b *board) coldest(h int32, list []int32) []int32 {
	for _, c := range b.order {
		if c != h && b.room[c] > b.load[c] && (!b.uniform || b.up[c] > b.load[c]) {
			if list = append(list, c); len(list) == cap(list) {
				break
			}
		}
	}
	return list
}

// gap is the most that can pass from h to c so that the sum of squared loads
// (for their shares) still falls: less than twice what would make them even. Equal
// weights have exact quotas instead.
func (b *board) gap(h, c int32) int64 {
	if b.uniform {
		return math.MaxInt64
	}
	return evenOut(b.load[h], b.share[h], b.load[c], b.share[c])
}

// least is the least worth taking from h: no crumbs, unless h is so far above
// its limit that not even its heaviest partition explains it.
func (b *board) least(h int32) int64 {
	if b.load[h]-b.up[h] > b.heaviest {
		return 1
	}
	return b.crumb
}

// runLimit bounds how many partitions of equal weight are looked through.
const runLimit = 256

// like is the first of the partitions that weigh the same as the one at place k
// of the list and may go to worker c, or better one of them that has its home there;
// -1 if none may.
func (b *board) like(list []int32, k int, c int32) int32 {
	w := b.w[list[k]]
	first := heaviestWithin(list, b.w, w)
	if b.in.Home == nil && b.group == nil {
		return list[first]
	}
	found := int32(-1)
	for _, i := range list[first:min(first+runLimit, len(list))] {
		switch {
		case b.w[i] != w:
			return found
		case !b.may(i, c):
		case b.in.Home == nil || b.in.Home[i] == b.in.Workers[c].ID:
			return i
		case found < 0:
			found = i
		}
	}
	return found
}

// lightest is the lightest of the list that weighs from least to most and may go to c, or -1.
func (b *board) lightest(list []int32, c int32, least, most int64) int32 {
	k := lightestCovering(list, b.w, least)
	for range runLimit {
		if k < 0 || b.w[list[k]] > most {
			break
		}
		if i := b.like(list, k, c); i >= 0 {
			return i
		}
		k = heaviestWithin(list, b.w, b.w[list[k]]) - 1
	}
	return -1
}

// heaviestOf is the heaviest of the list that weighs from least to most and may go to c, or -1.
func (b *board) heaviestOf(list []int32, c int32, least, most int64) int32 {
	k := heaviestWithin(list, b.w, most)
	for range runLimit {
		if k >= len(list) || b.w[list[k]] < least {
			break
		}
		if i := b.like(list, k, c); i >= 0 {
			return i
		}
		k = lightestCovering(list, b.w, b.w[list[k]]) + 1
	}
	return -1
}

// swapCost bounds what a swap may move for what it achieves: not more than this
// many times its net transfer.
const swapCost = 32

// swap offers exchanges between h and c that take at least need off h, or as
// much of it as can be, and no more than most.
func (b *board) swap(best *step, h, c int32, need, most int64) {
	if most < b.crumb {
		return
	}
	for _, gives := range [...]standing{floating, settled} {
		for _, takes := range [...]standing{floating, settled} {
			b.swapOf(best, c, b.list(h, gives), b.list(c, takes), int64(gives), int64(takes), need, most)
		}
	}
}

// swapOf walks up both lists at once, from the lightest: for each partition that
// c could give back, the lightest of h's that weighs enough more, and the heaviest
// that weighs not too much more. gives and takes are 1 where the list's moves are
// paid for.
func (b *board) swapOf(best *step, c int32, gs, ts []int32, gives, takes, need, most int64) {
	enough, within := len(gs)-1, len(gs)-1
	try := func(g, t int32, ends bool) bool {
		net := b.w[g] - b.w[t]
		if net < b.crumb || net > most || b.w[g]+b.w[t] > mulDiv(net, swapCost, 1) ||
			!b.affords(gives+takes, gives*b.w[g]+takes*b.w[t]) || !b.mayChange(g, t) {
			return false
		}
		score := gives*b.w[g] + takes*b.w[t]
		if !ends {
			score = -net
		}
		best.offer(step{give: g, back: t, to: c, ends: ends, score: score})
		return true
	}
	for _, t := range slices.Backward(ts) {
		for enough >= 0 && b.w[gs[enough]]-b.w[t] < need {
			enough--
		}
		if enough >= 0 && try(gs[enough], t, true) {
			return // the next ones weigh more
		}
		for within >= 0 && b.w[gs[within]]-b.w[t] <= most {
			within--
		}
		if within+1 < len(gs) && b.w[gs[within+1]]-b.w[t] < need {
			try(gs[within+1], t, false)
		}
	}
}

// beyond offers steps that lift the other worker above its limit, but bring the
// hotter of the two down: as close to even as can be.
func (b *board) beyond(best *step, h int32) {
	var buf [partners]int32
	for _, c := range b.coldest(h, buf[:0]) {
		gap := b.gap(h, c)
		most := min(gap, b.room[c]-b.load[c], mulDiv(b.load[h], b.share[c], b.share[h])-b.load[c]-b.crumb)
		if most < b.crumb {
			continue
		}
		even := max((gap+1)/2, b.crumb)
		for _, kind := range [...]standing{floating, settled} {
			list := b.list(h, kind)
			k := heaviestWithin(list, b.w, min(even, most))
			for _, k := range [...]int{k, k - 1} {
				if k < 0 || k >= len(list) {
					continue
				}
				w := b.w[list[k]]
				if w >= b.crumb && w <= most && (kind == floating || b.affords(1, w)) && b.may(list[k], c) {
					best.offer(step{give: list[k], back: -1, to: c, score: -min(w, gap-w)})
				}
			}
		}
		if !best.found {
			b.swap(best, h, c, math.MaxInt64, min(even, most))
		}
	}
}
