package strategy

import (
	"slices"

	"github.com/parti-go/parti/plan"
)

// repair evens out what is beyond the limits, as far as the budget goes. Hot
// workers give to the coldest, then cold ones take from the hottest, one step each in
// turn; one that no step can help is passed over until another round. Every step
// brings the sum of squared loads (for their shares) down, so this ends.
func (b *board) repair() {
	if !b.uneven() {
		return
	}
	if !b.uniform {
		b.refine()
		if !b.uneven() {
			return
		}
	}
	b.open()
	b.rounds()
	if b.group != nil && !b.strict && b.uneven() { // balance goes before a preference
		b.lax = true
		b.rounds()
		b.lax = false
	}
}

func (b *board) rounds() {
	for stepped := true; stepped; {
		stepped = b.round(b.isHot, b.relieve) || b.round(b.isCold, b.fill)
	}
}

func (b *board) causeIsLoads() bool { return b.in.Cause == plan.Loads }

func (b *board) uneven() bool {
	for j, load := range b.load {
		if !b.frozen[j] && (load > b.hot[j] || load < b.cold[j]) {
			return true
		}
	}
	return false
}

func (b *board) isHot(j int32) bool  { return b.load[j] > b.hot[j] }
func (b *board) isCold(j int32) bool { return b.load[j] < b.cold[j] }

// round lets each worker in need have one step after the other, the one in most need
// first, and says whether there was any step.
func (b *board) round(need, step func(int32) bool) bool {
	var list []int32
	for _, j := range b.order {
		if need(j) {
			list = append(list, j)
		}
	}
	if len(list) > 0 && b.isHot(list[0]) {
		slices.Reverse(list)
	}
	once := false
	for len(list) > 0 {
		list = slices.DeleteFunc(list, func(j int32) bool {
			stepped := step(j)
			once = once || stepped
			return !stepped
		})
	}
	return once
}

// partners is how many workers a step looks at. More would find closer fits,
// at more cost.
const partners = 8

// relieve takes one step that brings a hot worker closer to its limit. It
// prefers, in this order, one that moves only what floats; one that ends the excess
// with the least weight; one that moves the most; a swap, or a chain or a
// bundle that costs less; and only then one that lifts the other worker beyond its limit.
// Where few partitions have most of the weight, a swap, a chain and a bundle are weighed
// against a move as well.
func (b *board) relieve(h int32) bool {
	excess := b.load[h] - b.up[h]
	if excess <= 0 {
		return false
	}
	var buf [partners]int32
	cold := b.coldest(h, buf[:0])
	var best step
	for _, kind := range [...]standing{floating, settled} {
		for _, c := range cold {
			b.single(&best, h, c, kind, excess)
		}
		if best.found && (!b.coarse || kind == floating) {
			return b.do(best)
		}
	}
	for _, c := range cold {
		b.swap(&best, h, c, excess, min(b.up[c]-b.load[c], b.gap(h, c)))
	}
	if !b.uniform && (!best.found || !best.ends || best.score > excess) {
		c := b.push(h, excess)
		if best.found && best.ends && (!c.ends || best.score <= c.cost) {
			c = chain{cost: best.score, ends: true} // the swap
		}
		if d := b.bundle(h, excess); d.ends && (!c.ends || d.cost <= c.cost/lightPrice) {
			return b.carry(&d)
		}
		if len(c.links) > 0 && (!best.found || c.ends) {
			return b.carry(&c)
		}
	}
	if !best.found && !b.uniform {
		b.beyond(&best, h)
	}
	return best.found && b.do(best)
}

// single offers the best move of one partition from h to c that leaves c within its limit.
func (b *board) single(best *step, h, c int32, kind standing, excess int64) {
	most := min(b.up[c]-b.load[c], b.gap(h, c))
	list := b.list(h, kind)
	if kind == settled {
		most = min(most, b.weight)
		if b.moves < 1 {
			return
		}
	}
	least := b.least(h)
	if b.deficit > b.excess {
		// Others need load anyway: rather one large partition than several small ones.
		want := min(most, max(excess, min(b.load[h]-b.give[h], b.down[c]-b.load[c])))
		if i := b.heaviestOf(list, c, excess, want); i >= 0 {
			best.offer(step{give: i, back: -1, to: c, ends: true, score: -b.w[i]})
			return
		}
	}
	if i := b.lightest(list, c, max(excess, least), most); i >= 0 {
		best.offer(step{give: i, back: -1, to: c, ends: true, score: b.w[i]})
	} else if i := b.heaviestOf(list, c, least, most); i >= 0 {
		best.offer(step{give: i, back: -1, to: c, score: -b.w[i]})
	}
}

// fill takes one step that brings a cold worker closer to where it should be:
// from one of the hottest, the lightest partition that does it, else the heaviest.
func (b *board) fill(c int32) bool {
	lack := b.down[c] - b.load[c]
	if lack < b.crumb {
		return false
	}
	for _, try := range [...]struct {
		kind standing
		deep bool
	}{{floating, false}, {settled, false}, {floating, true}, {settled, true}} {
		var best step
		seen := 0
		for k := len(b.order) - 1; k >= 0 && seen < 2*partners; k-- {
			h := b.order[k]
			if h == c {
				break
			}
			seen++
			b.filling(&best, h, c, try.kind, lack, try.deep)
		}
		if best.found {
			return b.do(best)
		}
	}
	return b.uniform && b.strict && b.group != nil && b.fillFromZone(c)
}

// fillFromZone takes one partition for c from one of the hottest of its own zone. Where a rule
// keeps the load in other zones, those have less than their quota as well, and give nothing
// for it; but whoever has just joined has nothing at all.
func (b *board) fillFromZone(c int32) bool {
	for _, kind := range [...]standing{floating, settled} {
		if kind == settled && b.moves < 1 {
			continue
		}
		seen := 0
		for k := len(b.order) - 1; k >= 0 && seen < partners; k-- {
			h := b.order[k]
			if h == c {
				break
			}
			if b.zone[h] != b.zone[c] {
				continue
			}
			seen++
			most := evenOut(b.load[h], b.share[h], b.load[c], b.share[c])
			most = min(b.up[c]-b.load[c], most-most/2)
			if kind == settled {
				most = min(most, b.weight)
			}
			if i := b.heaviestOf(b.list(h, kind), c, 1, most); i >= 0 {
				return b.do(step{give: i, back: -1, to: c})
			}
		}
	}
	return false
}

// filling offers the best move of one partition from h to c that leaves h with
// what it should have; or, in deep need, at least with more than c ends with.
func (b *board) filling(best *step, h, c int32, kind standing, lack int64, deep bool) {
	gap := b.gap(h, c)
	most := min(b.up[c]-b.load[c], gap, b.load[h]-b.give[h])
	if deep && !b.uniform { // equal weights only pass from above a quota to below one
		most = min(b.room[c]-b.load[c], gap-gap/2)
	}
	if kind == settled {
		most = min(most, b.weight)
		if b.moves < 1 {
			return
		}
	}
	list := b.list(h, kind)
	if i := b.lightest(list, c, lack, most); i >= 0 {
		best.offer(step{give: i, back: -1, to: c, ends: true, score: b.w[i]})
	} else if i := b.heaviestOf(list, c, b.crumb, most); i >= 0 {
		best.offer(step{give: i, back: -1, to: c, score: -b.w[i]})
	}
}
