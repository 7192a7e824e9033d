package strategy

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/parti-go/parti/plan"
)

// heavyBoard is a board of a few workers with a few heavy partitions each, and light ones.
func heavyBoard(r *rand.Rand) *board {
	in := plan.Input{Cause: plan.Members}
	for j := range 3 + r.IntN(3) {
		in.Workers = append(in.Workers, plan.Worker{ID: fmt.Sprintf("w%d", j)})
	}
	add := func(w int64, at int) {
		in.Partitions = append(in.Partitions, plan.Partition{ID: fmt.Sprintf("p%03d", len(in.Partitions)), Weight: w})
		in.Current = append(in.Current, at)
	}
	for j := range in.Workers {
		for range 1 + r.IntN(3) {
			add(100+r.Int64N(400), j)
		}
		for range r.IntN(30) {
			add(1+r.Int64N(3), j)
		}
	}
	add(100+r.Int64N(400), -1)
	b := newBoard(Sticky(), in)
	b.keep()
	b.setLimits()
	b.refine()
	b.open()
	return b
}

// everyChain is what the cheapest of all chains costs that begin with x, which are those
// that come to no worker twice and grow lighter with every link; light partitions that are
// shed have room somewhere.
func everyChain(s *search, x int32) int64 {
	b, best := s.b, int64(never)
	been := make(map[int]bool)
	var try func(hand int32, cost int64)
	try = func(hand int32, cost int64) {
		w := b.w[hand]
		if b.stand[hand] == settled {
			cost += w
		}
		for k, v := range s.spares {
			if over := max(w-v.slack, 0); !been[k] && over <= v.shed {
				best = min(best, cost+lightPrice*over)
			}
		}
		for n, i := range s.items {
			k := int(s.at[n])
			v := s.spares[k]
			if over := max(w-b.w[i]-v.slack, 0); !been[k] && b.w[i] < w && over <= v.shed {
				been[k] = true
				try(i, cost+lightPrice*over)
				been[k] = false
			}
		}
	}
	try(x, 0)
	return best
}

// A chain leaves everybody within the limits, and is hardly ever dearer than the cheapest
// there is: only where that comes to a worker to which a still cheaper beginning came before.
func TestSearchAgainstEveryChain(t *testing.T) {
	var found, dearer, none int
	for seed := range uint64(2000) {
		b := heavyBoard(rand.New(rand.NewPCG(seed, 1)))
		x := b.pool[0]
		s := b.newSearch(-1)
		least := everyChain(s, x)
		c := s.chainFrom(x, -1)
		if len(c.links) == 0 {
			if none++; least < never {
				dearer++ // nobody has room for what it sheds
			}
			continue
		}
		found++
		cost := int64(0)
		for _, l := range c.links {
			if w := b.w[l.give]; b.stand[l.give] == settled && w >= b.bar() {
				cost += w
			}
		}
		if cost < least {
			over := c.cost - cost // light
			cost += lightPrice * over
		}
		if cost > least+lightPrice*3 { // light ones are shed whole
			dearer++
		}
		was := append([]int64(nil), b.load...)
		b.carry(&c)
		for j, load := range b.load {
			if load > max(b.up[j], was[j]) {
				t.Fatalf("seed %d: worker %d has %d, had %d, and may have %d: %+v", seed, j, load, was[j], b.up[j], c)
			}
		}
		if b.to[x] < 0 {
			t.Fatalf("seed %d: it has no owner", seed)
		}
	}
	t.Logf("%d chains, of which %d are dearer than the cheapest or not found; none in %d boards", found, dearer, none)
	if found < 500 || dearer*50 > found {
		t.Errorf("%d chains, %d dearer", found, dearer)
	}
}
