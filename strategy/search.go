package strategy

import (
	"math"
	"slices"
)

// A search finds the cheapest chain. What is in hand is put on a worker, which gives up
// something lighter if it has to, and so the hand grows lighter with every link: going
// through the partitions from the heaviest to the lightest meets each one after
// everything that it can be put in the place of, and one sweep finds the cheapest way
// to have it in hand (a shortest path in a graph without cycles).
//
// A worker that takes a little too much can shed light partitions for it. Of these there
// are many, and they are counted at [lightPrice]. A search holds until the board changes.
type search struct {
	b *board

	spares []spare // the workers that links lead to, coldest first
	reach  int64   // no link leaves more than so much with a worker

	items []int32 // their heavy partitions, the heaviest first
	at    []int32 // the place in spares of each one's worker
	cost  []int64 // what the cheapest chain costs that has it in hand in the end
	prev  []int32 // the place in items of what is put in its place, or first
}

// A spare worker can take so much, and so much more if it sheds what is light.
type spare struct {
	worker      int32
	slack, shed int64
}

const (
	first = -1                // a place in items: what the chain begins with
	never = math.MaxInt64 / 2 // the cost of what cannot be had
)

// The bounds of a search: how many workers it looks at, and how many partitions of theirs,
// since it takes the square of that; and how many times its weight a light partition
// counts. Where a heavy one weighs as much as hundreds of others, weight alone would move
// hundreds.
const (
	reach      = 96
	mostItems  = 512
	lightPrice = 8
)

// bar is the least weight of what is heavy: a fortieth of what a worker carries.
func (b *board) bar() int64 { return max(b.crumb, b.total/int64(len(b.load))/40) }

// newSearch looks at the coldest workers other than h, which may be -1 for none.
func (b *board) newSearch(h int32) *search {
	s := &search{b: b}
	bar := b.bar()
	place := make([]int32, len(b.load))
	for _, j := range b.order {
		if j == h {
			continue
		}
		if len(s.spares) == reach || len(s.items) >= mostItems {
			break
		}
		v := spare{worker: j, slack: b.up[j] - b.load[j]}
		for _, kind := range [...]standing{floating, settled} {
			list := b.list(j, kind)
			for _, i := range list[:heaviestWithin(list, b.w, bar-1)] {
				if b.passes(i) && (kind == floating || b.affords(1, b.w[i])) {
					s.items = append(s.items, i)
				}
			}
		}
		n := 0
		for i := range b.lightOf(j) {
			if n++; n > maxBundle {
				break
			}
			v.shed += b.w[i]
		}
		place[j] = int32(len(s.spares))
		s.spares = append(s.spares, v)
		s.reach = max(s.reach, v.slack+v.shed)
	}
	slices.Sort(s.items)
	sortHeavy(s.items, b.w)
	n := len(s.items)
	s.at, s.prev, s.cost = make([]int32, n), make([]int32, n), make([]int64, n)
	for k, i := range s.items {
		s.at[k] = place[b.to[i]]
	}
	return s
}

// chainFrom is the cheapest chain that begins with x, a partition of worker h, or one of
// the pool if that is -1. It has no links if there is none.
func (s *search) chainFrom(x, h int32) chain {
	for k := range s.cost {
		s.cost[k] = never
	}
	end := ending{cost: never}
	s.put(&end, first, x, x, h, 0)
	for k, i := range s.items {
		if c := s.cost[k]; c < end.cost {
			s.put(&end, int32(k), i, x, h, c)
		}
	}
	if end.cost == never {
		return chain{}
	}
	return s.write(end, x, h)
}

// An ending is where a chain may end: with item last in hand, which goes to a worker.
type ending struct {
	cost int64
	last int32 // a place in items, or first
	to   spare
}

// put looks for everywhere that i can go, the item at place k, which is in hand at this cost.
func (s *search) put(end *ending, k, i, x, h int32, cost int64) {
	b, w := s.b, s.b.w[i]
	if b.stand[i] == settled {
		cost += w
	}
	leaves := true // x may leave h without anything in its place
	if h >= 0 {
		left := b.load[h] - b.w[x]
		leaves = left >= b.give[h]
		if k != first && left+w <= b.up[h] && cost < end.cost {
			*end = ending{cost, k, spare{worker: h, slack: w}}
		}
	}
	for n, v := range s.spares {
		if !leaves || cost >= end.cost {
			break
		}
		over := max(w-v.slack, 0)
		if c := cost + lightPrice*over; over <= v.shed && c < end.cost && !s.passed(k, int32(n)) {
			*end = ending{c, k, v}
		}
	}
	for n := heaviestWithin(s.items, b.w, w-1); n < len(s.items); n++ {
		net := w - b.w[s.items[n]]
		if net > s.reach {
			break
		}
		v := &s.spares[s.at[n]]
		over := max(net-v.slack, 0)
		if c := cost + lightPrice*over; over <= v.shed && c < s.cost[n] && !s.passed(k, s.at[n]) {
			s.cost[n], s.prev[n] = c, k
		}
	}
}

// passed says whether the chain to item k has been to that worker.
func (s *search) passed(k, spare int32) bool {
	for ; k != first; k = s.prev[k] {
		if s.at[k] == spare {
			return true
		}
	}
	return false
}

// write writes the chain down, and after it what its workers shed, each light one to the
// coldest worker that the chain does not come to. It has no links if nobody has room for that.
func (s *search) write(end ending, x, h int32) (c chain) {
	b := s.b
	var path []int32
	for k := end.last; k != first; k = s.prev[k] {
		path = append(path, k)
	}
	slices.Reverse(path)
	c.net = b.w[x]
	hand := x
	var heavy []spare // who takes too much, and by how much
	link := func(to spare, back int64) {
		c.add(b, hand, to.worker)
		if over := b.w[hand] - back - to.slack; over > 0 {
			heavy = append(heavy, spare{worker: to.worker, shed: over})
		}
	}
	for _, k := range path {
		link(s.spares[s.at[k]], b.w[s.items[k]])
		hand = s.items[k]
	}
	link(end.to, 0)
	if end.to.worker == h {
		c.net -= b.w[hand]
	}
	cold := -1
	var slack int64 // of the one at place cold
	for _, v := range heavy {
		for i := range b.lightOf(v.worker) {
			if v.shed <= 0 {
				break
			}
			for slack < b.w[i] {
				if cold++; cold == len(s.spares) {
					return chain{}
				}
				if slack = 0; !c.has(s.spares[cold].worker) {
					slack = s.spares[cold].slack
				}
			}
			c.add(b, i, s.spares[cold].worker)
			slack -= b.w[i]
			v.shed -= b.w[i]
		}
		if v.shed > 0 {
			return chain{}
		}
	}
	return c
}
