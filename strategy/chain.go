package strategy

import "math/bits"

// A chain passes load on where no move or swap of two workers fits, which is where a
// few partitions weigh a large part of what a worker carries. A worker takes one that
// is somewhat too heavy for it and gives up one that is somewhat lighter, which goes to
// another worker, which gives up a lighter one again, and so on: each keeps the
// difference, and all stay within their limits. Where a swap moves two heavy
// partitions for their difference, a chain moves one for each.
//
// It is the ejection chain of Glover (1996), and a [search] finds the one that moves the
// least weight.
type chain struct {
	links []link
	net   int64 // what the first worker is rid of
	n     int64 // paid moves
	cost  int64 // their weight
	ends  bool  // this is all that is needed
}

// A link moves one partition to a worker.
type link struct{ give, to int32 }

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
	s := b.newSearch(h)
	for _, kind := range [...]standing{floating, settled} {
		for _, x := range b.firsts(b.list(h, kind), max(b.crumb, 1)) {
			if kind == settled && !b.affords(1, b.w[x]) {
				continue
			}
			c := s.chainFrom(x, h)
			c.ends = c.net >= excess
			if len(c.links) > 0 && b.affords(c.n, c.cost) && b.falls(&c) && c.better(&best) {
				best = c
			}
		}
	}
	return best
}

// insert places what is heavy of the pool, each by the cheapest chain that begins with
// it, where that leaves everybody within the limits. What is left is placed as if nothing
// could move. Where nothing has an owner yet, or nothing may move, there is nothing to
// pass on.
func (b *board) insert() {
	if !b.coarse || len(b.pool) == len(b.w) || !b.affords(1, 1) {
		return
	}
	b.refine()
	b.open()
	rest := b.pool[:0]
	for _, i := range b.pool {
		if !b.insertOne(i) {
			rest = append(rest, i)
		}
	}
	b.pool = rest
}

func (b *board) insertOne(i int32) bool {
	if b.w[i] < b.bar() || !b.passes(i) {
		return false
	}
	for _, j := range b.order[:min(reach, len(b.order))] {
		if b.up[j]-b.load[j] >= b.w[i] {
			b.move(i, j)
			return true
		}
	}
	c := b.newSearch(-1).chainFrom(i, -1)
	return len(c.links) > 0 && b.affords(c.n, c.cost) && b.carry(&c)
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

// falls says whether the chain brings the sum of squared loads (for their shares) down,
// as every step does: that is why repairing ends. What is lost is rounded down, what is
// gained up.
func (b *board) falls(c *chain) bool {
	by := make(map[int32]int64, len(c.links)+1)
	for _, l := range c.links {
		by[int32(b.to[l.give])] -= b.w[l.give]
		by[l.to] += b.w[l.give]
	}
	var gained, rid square
	for j, gain := range by {
		load := uint64(b.load[j])
		if gain > 0 {
			gained.add(gain, 2*load+uint64(gain), b.share[j], true)
		} else {
			rid.add(-gain, 2*load-uint64(-gain), b.share[j], false)
		}
	}
	return gained.hi < rid.hi || gained.hi == rid.hi && gained.lo < rid.lo
}

// maxBundle is how many partitions a bundle may have.
const maxBundle = 64

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

// has says whether the chain has come to j already.
func (c *chain) has(j int32) bool {
	for _, l := range c.links {
		if l.to == j {
			return true
		}
	}
	return false
}
