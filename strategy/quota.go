package strategy

import (
	"cmp"
	"slices"
)

// setQuotas sets the limits of a board of equal weights: each worker is due
// exactly its fair count, rounded up for some and down for others. Those that have
// more than the lower count anyway are rounded up first, so that the fewest move;
// then those to which more wants to return; then those closest to the higher count.
func (b *board) setQuotas(l level) {
	type candidate struct {
		j          int
		has, wants bool  // more than the count rounded down
		rest       int64 // in thousandths of a partition
	}
	homes := b.homes()
	var next []candidate
	over := l.num
	for j, c := range b.share {
		if !l.free[j] {
			b.setQuota(j, l.stuck[j])
			continue
		}
		base, rounded := scaled(l.num, c, 1000, l.den)
		b.setQuota(j, base)
		over -= base
		if rounded {
			fine, _ := scaled(l.num, c, 1000*1000, l.den)
			next = append(next, candidate{j, b.load[j] > base, homes != nil && b.load[j]+homes[j] > base, fine - 1000*base})
		}
	}
	slices.SortFunc(next, func(x, y candidate) int {
		return cmp.Or(-compareBool(x.has, y.has), -compareBool(x.wants, y.wants), cmp.Compare(y.rest, x.rest), cmp.Compare(x.j, y.j))
	})
	for _, c := range next[:min(max(over, 0), int64(len(next)))] {
		b.setQuota(c.j, b.up[c.j]+1)
	}
}

func (b *board) setQuota(j int, count int64) {
	b.up[j], b.hot[j], b.down[j], b.cold[j], b.give[j] = count, count, count, count, count
}

func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}
