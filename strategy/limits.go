package strategy

import (
	"cmp"
	"slices"
)

// limits say for each worker what it may carry. They are in units of the board.
type limits struct {
	up   []int64 // brought down to this when hot, filled to no more than this
	down []int64 // filled up to this when cold
	hot  []int64 // a worker with more is hot
	cold []int64 // a worker with less is cold
	give []int64 // nothing is taken for others from a worker down to less
}

func newLimits(m int) limits {
	all := make([]int64, 5*m)
	return limits{up: all[:m:m], down: all[m : 2*m : 2*m], hot: all[2*m : 3*m : 3*m], cold: all[3*m : 4*m : 4*m], give: all[4*m:]}
}

// A level is the fair load of the workers that can have it: of num in all, a
// worker of share c is due num·c÷den.
type level struct {
	num, den int64
	free     []bool  // workers at the level
	stuck    []int64 // what the others have, or can have
}

// levelOf spreads load over the workers as evenly for their shares as it can be:
// a cordoned worker has what it has, none has more than its room or less than
// what is pinned to it, and the rest are at one level, as water would be.
func (b *board) levelOf(load int64) level {
	l := level{num: load, free: make([]bool, len(b.load)), stuck: make([]int64, len(b.load))}
	for j, c := range b.share {
		if b.frozen[j] {
			l.stuck[j] = b.load[j]
			l.num -= b.load[j]
			continue
		}
		l.free[j] = true
		l.den += c
	}
	for (b.bounded || b.anyFixed) && l.den > 0 {
		var above, below int64
		for j, c := range b.share {
			if !l.free[j] {
				continue
			}
			due := mulDiv(l.num, c, l.den)
			if compareRatio(l.num, l.den, b.room[j], c) > 0 {
				above = addUp(above, due-b.room[j]+1)
			} else if compareRatio(l.num, l.den, b.fixed[j], c) < 0 {
				below = addUp(below, b.fixed[j]-due)
			}
		}
		if above == 0 && below == 0 {
			break
		}
		num, den := l.num, l.den
		for j, c := range b.share {
			switch {
			case !l.free[j]:
				continue
			case above >= below && compareRatio(num, den, b.room[j], c) > 0:
				l.stuck[j] = b.room[j]
			case above < below && compareRatio(num, den, b.fixed[j], c) < 0:
				l.stuck[j] = b.fixed[j]
			default:
				continue
			}
			l.free[j] = false
			l.num = max(l.num-l.stuck[j], 0)
			l.den -= c
		}
	}
	return l
}

// setLimits sets the limits for what is present.
func (b *board) setLimits() {
	if b.up == nil {
		b.limits = newLimits(len(b.load))
	}
	l := b.levelOf(b.present())
	if b.uniform {
		b.setQuotas(l)
		return
	}
	b.setBands(l, 0)
}

// present is the load of what is placed and what is in the pool together.
func (b *board) present() (load int64) {
	for _, l := range b.load {
		load += l
	}
	for _, i := range b.pool {
		load += b.w[i]
	}
	return load
}

// setBands sets the limits of a board of unequal weights: the level, give or take
// the tolerance. No limit is below least, for a share of one.
func (b *board) setBands(l level, least int64) {
	hot := b.s.tolerance
	if b.causeIsLoads() {
		hot = b.s.band
	}
	for j, c := range b.share {
		if !l.free[j] {
			b.setStuck(j, l.stuck[j])
			continue
		}
		fair, rest := scaled(l.num, c, 1000, l.den)
		ceil := fair
		if rest {
			ceil++
		}
		within := func(thousandths, floor int64) int64 {
			x, _ := scaled(l.num, c, 1000+thousandths, l.den)
			return min(max(x, floor), b.room[j])
		}
		b.up[j] = within(b.s.tolerance, max(ceil, least*c))
		b.hot[j] = max(within(hot, ceil), b.up[j])
		b.down[j] = within(-b.s.tolerance, b.fixed[j])
		b.give[j] = min(within(-2*b.s.tolerance, b.fixed[j]), b.down[j])
		b.cold[j] = min(within(-min(2*hot, 1000), 0), b.down[j])
	}
}

// setStuck gives a worker that cannot be at the level its own limits.
func (b *board) setStuck(j int, load int64) {
	b.up[j], b.hot[j] = load, load
	b.down[j], b.give[j], b.cold[j] = b.fixed[j], b.fixed[j], 0
	if !b.frozen[j] && load == b.room[j] {
		b.down[j] = load - mulDiv(load, b.s.tolerance, 1000)
		b.give[j] = load - mulDiv(load, 2*b.s.tolerance, 1000)
		b.cold[j] = b.give[j]
	}
}

// refine raises the limits to what the heaviest partitions allow, so that
// nothing moves for a balance that cannot be had. It is put off until some worker is
// beyond the plain limits, or something might go home, since it looks at all weights.
//
// Partitions above the level each occupy a worker, and are left out of the
// level of the rest. Then, with m workers of equal share, among the heaviest k·m+1 some
// k+1 share a worker.
func (b *board) refine() {
	l := b.levelOf(b.present())
	shares := make([]int64, 0, len(b.share))
	for j, c := range b.share {
		if l.free[j] {
			shares = append(shares, c)
		}
	}
	if len(shares) == 0 {
		return
	}
	slices.SortFunc(shares, func(a, b int64) int { return cmp.Compare(b, a) })
	heavy := b.heavier(max(mulDiv(l.num, shares[0], l.den)/40, 1))

	giants := 0
	for giants < len(heavy) && giants < len(shares)-1 &&
		compareRatio(b.w[heavy[giants]], shares[giants], l.num, l.den) > 0 {
		l.num = max(l.num-b.w[heavy[giants]], 0)
		l.den -= shares[giants]
		giants++
	}
	var least int64
	if b.equal {
		least = crowd(heavy[giants:], b.w, len(shares)-giants)
		least = addUp(least, mulDiv(least, b.s.tolerance, 2500))
	}
	b.setBands(l, least)
}

// heavier is every partition, placed or in the pool, that weighs more than bar
// and may move, heaviest first.
func (b *board) heavier(bar int64) []int32 {
	var ids []int32
	for i, w := range b.w {
		if w > bar && b.to[i] >= 0 && b.stand[i] != pinned && !b.frozen[b.to[i]] {
			ids = append(ids, int32(i))
		}
	}
	for _, i := range b.pool {
		if b.w[i] > bar {
			ids = append(ids, i)
		}
	}
	slices.Sort(ids)
	sortHeavy(ids, b.w)
	return ids
}
