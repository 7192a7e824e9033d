package strategytest

import (
	"cmp"
	"slices"

	"github.com/parti-go/parti/plan"
)

// tolerance is how far, in thousandths, a worker may be from its fair share in the
// assignments that the bounds speak of.
const tolerance = 50

// bounds are lower bounds of what any assignment within the tolerance has to place
// or move, and of the heaviest worker, for workers that are all alike.
type bounds struct {
	moves  int
	weight int64
	peak   int64 // weight of the heaviest worker
}

// boundsOf looks at one thing at a time: what has no owner must be placed; what a
// worker has above its limit must leave it; what one lacks must come from
// somewhere; and among the heaviest k·m+1 partitions some k+1 are on one worker.
func boundsOf(in plan.Input) bounds {
	m := int64(len(in.Workers))
	heavy := make([]int, len(in.Partitions)) // indexes, heaviest first
	kept := make([]int64, m)
	var total, lost int64
	var b bounds
	for i := range in.Partitions {
		heavy[i] = i
		w := in.Partitions[i].Load()
		total += w
		if j := in.Current[i]; j >= 0 {
			kept[j] += w
		} else {
			lost += w
			b.moves++
		}
	}
	slices.SortFunc(heavy, func(x, y int) int {
		return cmp.Or(cmp.Compare(in.Partitions[y].Load(), in.Partitions[x].Load()), cmp.Compare(x, y))
	})
	mean := (total + m - 1) / m
	b.peak = mean
	for k := 0; k*int(m) < len(heavy); k++ {
		b.peak = max(b.peak, int64(k+1)*in.Partitions[heavy[k*int(m)]].Load())
	}
	up, down := max(total*(1000+tolerance)/(1000*m), mean), total*(1000-tolerance)/(1000*m)
	if len(heavy) > 0 && in.Partitions[heavy[0]].Load() == in.Partitions[heavy[len(heavy)-1]].Load() {
		unit := in.Partitions[heavy[0]].Load() // counts can be as even as counts can be
		count := total / unit
		up, down = (count+m-1)/m*unit, count/m*unit
	}
	excess := make([]int64, m)
	var over, lack int64
	for j, has := range kept {
		excess[j] = max(0, has-up)
		over += excess[j]
		lack += max(0, down-has)
	}
	b.weight = max(lost+over, lack)
	out, in2 := 0, 0
	need := lack - lost
	for _, i := range heavy {
		j, w := in.Current[i], in.Partitions[i].Load()
		if j >= 0 && excess[j] > 0 {
			excess[j] -= w
			out++
		}
		if j >= 0 && need > 0 {
			need -= w
			in2++
		}
	}
	b.moves += max(out, in2)
	return b
}
