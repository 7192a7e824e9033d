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
		b.insert()
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
		if ok && !b.frozen[j] && b.up[j]-b.load[j] >= b.w[i] && b.may(i, int32(j)) {
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
// the partition included, in a zone that may have it. Workers of similar share in
// one zone are in one heap, of which only the coldest is asked.
func (b *board) placeCold() {
	classes := b.classes()
	for _, i := range b.pool {
		w := b.w[i]
		best, spread := -1, -1 // the coldest of all, and of the zones that may have it
		for k := range classes {
			c := &classes[k]
			if !c.settle(b, w) {
				continue
			}
			if best < 0 || c.open[0].coldWith(w, classes[best].open[0]) {
				best = k
			}
			if b.group != nil && b.inZone(i, c.zone) && (spread < 0 || c.open[0].coldWith(w, classes[spread].open[0])) {
				spread = k
			}
		}
		if b.group != nil && (b.strict || spread >= 0 && (b.below(classes[spread].open[0], w) || !b.below(classes[best].open[0], w))) {
			best = spread
		}
		if best < 0 {
			b.out = append(b.out, i)
			continue
		}
		top := &classes[best].open[0]
		b.put(i, int(top.worker))
		top.load += w
		classes[best].open.sink(0)
	}
}

// below says whether a worker stays within its limit with w more.
func (b *board) below(t tile, w int64) bool { return b.up[t.worker]-t.load >= w }

// A class holds workers of one zone and of similar share: those that are open,
// coldest first, and those that have no room for the weight at hand, the one with most
// room first.
type class struct {
	zone       int32
	open, full heap
}

// classes sorts whoever may take something into classes.
func (b *board) classes() []class {
	byShare := make([]class, 64*max(int(b.nZones), 1))
	for j := range b.load {
		if room := b.most(j) - b.load[j]; room > 0 && !b.frozen[j] {
			k := bits.Len64(uint64(b.share[j]))
			if b.group != nil {
				k += 64 * int(b.zone[j])
				byShare[k].zone = b.zone[j]
			}
			byShare[k].open.add(tile{b.load[j], b.share[j], int32(j)})
		}
	}
	return slices.DeleteFunc(byShare, func(c class) bool { return len(c.open) == 0 })
}

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
	var still []int32
	for len(b.out) > 0 {
		last := len(b.out) - 1
		i := b.out[last]
		best, most := -1, int64(math.MinInt64)
		for j := range b.load {
			if room := b.room[j] - b.load[j]; !b.frozen[j] && room > most && (!b.strict || b.may(i, int32(j))) {
				best, most = j, room
			}
		}
		if best < 0 || most < b.w[i] {
			if b.group == nil || !b.strict {
				break // the next ones weigh more
			}
			still = append(still, i) // others may go to other zones
		} else {
			b.put(i, best)
			placed = true
		}
		b.out = b.out[:last]
	}
	b.out = append(b.out, still...)
	b.setLimits() // for what is really on the board
	return placed
}
