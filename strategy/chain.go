package strategy

import "math/bits"

// A chain passes load on where no move or swap of two workers fits, which is where a
// few partitions weigh a large part of what a worker carries. A worker takes one that
// is somewhat too heavy for it and gives up one that is somewhat lighter, which goes to
// another worker, which gives up a lighter one again, and so on: each keeps the
// difference, and all stay within their limits. Where a swap moves two heavy
// partitions for their difference, a chain moves one for each.
//
// It is the ejection chain of Glover (1996), without the search: at every link it takes
// the lightest partition that can be given up, since a lighter one is easier to place,
// and every link costs what it moves.
type chain struct {
	links []link
	net   int64 // what the first worker is rid of
	n     int64 // paid moves
	cost  int64 // their weight
	ends  bool  // this is all that is needed
}

// A link moves one partition to a worker.
type link struct{ give, to int32 }

// The bounds of the search: how many links a chain has, and of how many of the coldest
// workers each link chooses.
const (
	maxLinks = 24
	reach    = 96
)

// better says whether c is to be preferred to d: one that ends the need, with the
// least cost; else the one that achieves most for what it costs.
func (c *chain) better(d *chain) bool {
	switch {
	case len(d.links) == 0:
		return true
	case c.ends != d.ends:
		return c.ends
	case c.ends:
		return c.cost < d.cost
	}
	// c.net ÷ c.cost > d.net ÷ d.cost
	hi1, lo1 := bits.Mul64(uint64(c.net), uint64(d.cost))
	hi2, lo2 := bits.Mul64(uint64(d.net), uint64(c.cost))
	if hi1 != hi2 {
		return hi1 > hi2
	}
	return lo1 > lo2
}

// add appends a link, and reports whether the budget allows for it.
func (c *chain) add(b *board, i, to int32) bool {
	if b.stand[i] == settled {
		c.n++
		c.cost += b.w[i]
	}
	c.links = append(c.links, link{i, to})
	return b.affords(c.n, c.cost)
}

// passes says whether i may be passed from worker to worker. What is spread over zones
// is not: how many of a group are in a zone changes with every link.
func (b *board) passes(i int32) bool { return b.group == nil || b.group[i] < 0 }

// carry carries a chain out.
func (b *board) carry(c *chain) bool {
	for _, l := range c.links {
		b.move(l.give, l.to)
	}
	return true
}

// push looks for the best chain that begins with something of a hot worker.
func (b *board) push(h int32, excess int64) (best chain) {
	var c chain
	for _, kind := range [...]standing{floating, settled} {
		for _, x := range b.firsts(b.list(h, kind), max(b.crumb, 1)) {
			c = chain{links: c.links[:0]}
			if b.pushFrom(&c, h, x, excess) && c.better(&best) {
				best, c = c, best
			}
		}
	}
	return best
}

// firsts are the partitions of a list that a chain may begin with: the heaviest, each
// weight once.
func (b *board) firsts(list []int32, least int64) []int32 {
	var few []int32
	for _, i := range list {
		switch {
		case b.w[i] < least || len(few) == partners:
			return few
		case len(few) > 0 && b.w[few[len(few)-1]] == b.w[i], !b.passes(i):
		default:
			few = append(few, i)
		}
	}
	return few
}

// pushFrom makes the chain that begins with x, and reports whether there is one. It
// ends with whoever takes the partition in hand as it is, perhaps h itself.
func (b *board) pushFrom(c *chain, h, x int32, excess int64) bool {
	left := b.load[h] - b.w[x]
	hand := x
	for len(c.links) < maxLinks {
		w := b.w[hand]
		if hand != x && left+w <= b.up[h] {
			c.net = b.w[x] - w
			c.ends = true
			return c.add(b, hand, h) && b.falls(c, h)
		}
		to, next := b.lightestLeft(c, h, hand)
		if to < 0 {
			return false
		}
		if next < 0 {
			if left < b.give[h] {
				return false
			}
			c.net = b.w[x]
			c.ends = c.net >= excess
			return c.add(b, hand, to) && b.falls(c, h)
		}
		if !c.add(b, hand, to) {
			return false
		}
		hand = next
	}
	return false
}

// falls says whether the chain brings the sum of squared loads (for their shares) down,
// as every step does: that is why repairing ends. What h is rid of is rounded down, what
// the others gain up.
func (b *board) falls(c *chain, h int32) bool {
	var gained, rid square
	rid.add(c.net, 2*uint64(b.load[h])-uint64(c.net), b.share[h], false)
	for k, l := range c.links {
		if l.to == h {
			continue
		}
		gain := b.w[l.give]
		if k+1 < len(c.links) {
			gain -= b.w[c.links[k+1].give]
		}
		gained.add(gain, 2*uint64(b.load[l.to])+uint64(gain), b.share[l.to], true)
	}
	return gained.hi < rid.hi || gained.hi == rid.hi && gained.lo < rid.lo
}

// A bundle is bounded in number, and done where everything else would move so many times
// its weight.
const (
	maxBundle  = 64
	bundleWins = 8
)

// bundle looks for partitions of a hot worker that are each not worth a move, and all
// together are: the fewest that end the excess, for the coldest workers. Where a few
// partitions are hundreds of times as heavy as the rest, it is the rest that evens out.
func (b *board) bundle(h int32, excess int64) (c chain) {
	cold := 0 // in order
	var slack int64
	for _, kind := range [...]standing{floating, settled} {
		list := b.list(h, kind)
		for _, i := range list[heaviestWithin(list, b.w, b.crumb-1):] {
			if !b.passes(i) || b.w[i] == 0 {
				continue
			}
			for cold < len(b.order) && slack < b.w[i] {
				j := b.order[cold]
				cold++
				if slack = 0; j != h {
					slack = b.up[j] - b.load[j]
				}
			}
			if slack < b.w[i] || len(c.links) == maxBundle || !c.add(b, i, b.order[cold-1]) {
				return chain{}
			}
			slack -= b.w[i]
			if c.net += b.w[i]; c.net >= excess {
				c.ends = true
				return c
			}
		}
	}
	return chain{}
}

// lightestLeft finds who can take the partition in hand, and the lightest that is then
// to be given up; -1 for nothing, and for nobody.
func (b *board) lightestLeft(c *chain, h, hand int32) (to, next int32) {
	to, next = -1, -1
	w := b.w[hand]
	seen := 0
	for _, j := range b.order {
		if j == h || int(j) == b.to[hand] || c.has(j) {
			continue
		}
		if seen++; seen > reach {
			break
		}
		slack := b.up[j] - b.load[j]
		if slack >= w {
			return j, -1
		}
		if slack < b.crumb {
			continue
		}
		for _, kind := range [...]standing{floating, settled} {
			list := b.list(j, kind)
			k := lightestCovering(list, b.w, w-slack)
			if k < 0 || b.w[list[k]] > w-b.crumb || !b.passes(list[k]) {
				continue
			}
			if next < 0 || b.w[list[k]] < b.w[next] {
				to, next = j, list[k]
			}
		}
	}
	return to, next
}

// has says whether the chain has come to j already.
func (c *chain) has(j int32) bool {
	for _, l := range c.links {
		if l.to == j {
			return true
		}
	}
	return false
}
