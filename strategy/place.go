package strategy

import (
	"math"
	"math/bits"
	"slices"
)

// homes counts for each worker what in the pool had its last home there; nil
// when nothing has a home.
func (b *board) homes() []int64 {
	if b.in.Home == nil || len(b.pool) == 0 {
		return nil
	}
	byID := b.workersByID()
	count := make([]int64, len(b.load))
	for _, i := range b.pool {
		if j, ok := byID[b.in.Home[i]]; ok && !b.frozen[j] {
			count[j]++
		}
	}
	return count
}

func (b *board) workersByID() map[string]int {
	byID := make(map[string]int, len(b.in.Workers))
	for j := range b.in.Workers {
		byID[b.in.Workers[j].ID] = j
	}
	return byID
}

// place empties the pool, heaviest first. A partition goes home, if that ends
// within the limit, otherwise to the coldest worker with room for it (the greedy
// rule "largest first"). What finds no room is in out afterwards.
func (b *board) place() {
	if len(b.pool) > 0 {
		sortHeavy(b.pool, b.w)
		b.placeHome()
		b.placeCold()
		b.pool = nil
	}
	if b.waiting() {
		b.squeeze()
	}
}

func (b *board) placeHome() {
	if b.in.Home == nil {
		return
	}
	if !b.uniform {
		b.refine()
	}
	byID := b.workersByID()
	rest := b.pool[:0]
	for _, i := range b.pool {
		j, ok := byID[b.in.Home[i]]
		if ok && !b.frozen[j] && b.up[j]-b.load[j] >= b.w[i] {
			b.put(i, j)
		} else {
			rest = append(rest, i)
		}
	}
	b.pool = rest
}

// most is the most that placing may load onto j. Equal weights keep to the quotas.
func (b *board) most(j int) int64 {
	if b.uniform {
		return b.up[j]
	}
	return b.room[j]
}

// placeCold gives each partition to the worker that has the least for its share,
// the partition included. Workers of similar share are in one heap, of which only
// the coldest is asked.
func (b *board) placeCold() {
	var classes [64]class
	for j := range b.load {
		if room := b.most(j) - b.load[j]; room > 0 && !b.frozen[j] {
			k := bits.Len64(uint64(b.share[j]))
			classes[k].open.add(tile{b.load[j], b.share[j], int32(j)})
		}
	}
	used := slices.DeleteFunc(classes[:], func(c class) bool { return len(c.open) == 0 })
	for _, i := range b.pool {
		w := b.w[i]
		best := -1
		for k := range used {
			if used[k].settle(b, w) && (best < 0 || used[k].open[0].coldWith(w, used[best].open[0])) {
				best = k
			}
		}
		if best < 0 {
			b.out = append(b.out, i)
			continue
		}
		top := &used[best].open[0]
		b.put(i, int(top.worker))
		top.load += w
		used[best].open.sink(0)
	}
}

// A class holds workers of similar share: those that are open, coldest first,
// and those that have no room for the weight at hand, the one with most room first.
type class struct{ open, full heap }

// settle sets aside workers until the coldest open one has room for w, and
// says whether there is one. Since weights come in falling order, a worker that was set
// aside has its turn again once what comes is light enough.
func (c *class) settle(b *board, w int64) bool {
	if !b.bounded && !b.uniform {
		return true
	}
	for len(c.full) > 0 && -c.full[0].load >= w {
		t := c.full.pop()
		t.load, t.share = b.load[t.worker], b.share[t.worker]
		c.open.add(t)
	}
	for len(c.open) > 0 {
		t := c.open[0]
		room := b.most(int(t.worker)) - t.load
		if room >= w {
			return true
		}
		c.open.pop()
		if room > 0 {
			c.full.add(tile{-room, 1, t.worker})
		}
	}
	return false
}

// squeeze gives what waits, lightest first, to whoever has the most room for it
// beyond what it has, and says whether it could place anything. Afterwards nothing
// that waits fits anywhere.
func (b *board) squeeze() bool {
	placed := false
	sortHeavy(b.out, b.w)
	for len(b.out) > 0 {
		i := b.out[len(b.out)-1]
		best, most := -1, int64(math.MinInt64)
		for j := range b.load {
			if room := b.room[j] - b.load[j]; !b.frozen[j] && room > most {
				best, most = j, room
			}
		}
		if best < 0 || most < b.w[i] {
			break
		}
		b.put(i, best)
		b.out = b.out[:len(b.out)-1]
		placed = true
	}
	b.setLimits() // for what is really on the board
	return placed
}
