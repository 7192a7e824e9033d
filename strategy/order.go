package strategy

import (
	"cmp"
	"math/bits"
	"slices"
)

// small is up to how many partitions comparing is quicker than counting digits.
const small = 512

// sortHeavy sorts partitions by weight, heaviest first, and by index among equals.
func sortHeavy(ids []int32, w []int64) {
	if len(ids) > small {
		radixHeavy(ids, w)
		return
	}
	slices.SortFunc(ids, func(a, b int32) int {
		if c := cmp.Compare(w[b], w[a]); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
}

// radixHeavy is sortHeavy for many: it sorts by the digits of the weight, the
// least first, keeping the order among equals. One pass of 11 bits costs about as much
// as one reading of the list.
func radixHeavy(ids []int32, w []int64) {
	const digit, mask = 11, 1<<11 - 1
	type entry struct {
		key uint64 // how much lighter than the heaviest
		id  int32
	}
	if !slices.IsSorted(ids) {
		slices.Sort(ids)
	}
	var heaviest int64
	for _, id := range ids {
		heaviest = max(heaviest, w[id])
	}
	entries := make([]entry, 2*len(ids))
	from, to := entries[:len(ids)], entries[len(ids):]
	var widest uint64
	for k, id := range ids {
		from[k] = entry{uint64(heaviest - w[id]), id}
		widest |= from[k].key
	}
	for shift := 0; shift < bits.Len64(widest); shift += digit {
		var at [mask + 1]int32
		for _, e := range from {
			at[e.key>>shift&mask]++
		}
		var sum int32
		for d := range at {
			at[d], sum = sum, sum+at[d]
		}
		for _, e := range from {
			d := e.key >> shift & mask
			to[at[d]] = e
			at[d]++
		}
		from, to = to, from
	}
	for k, e := range from {
		ids[k] = e.id
	}
}

// heaviestWithin is the place in ids, sorted by sortHeavy, of the heaviest that
// weighs at most most, or len(ids).
func heaviestWithin(ids []int32, w []int64, most int64) int {
	lo, hi := 0, len(ids)
	for lo < hi {
		mid := (lo + hi) / 2
		if w[ids[mid]] > most {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// lightestCovering is the place of the lightest that weighs at least least, or -1.
func lightestCovering(ids []int32, w []int64, least int64) int {
	return heaviestWithin(ids, w, least-1) - 1
}

// fewestCovering picks from ids, sorted by sortHeavy, the fewest that weigh at
// least weight together, and among those little more than it: the heaviest while
// one alone does not do, then the lightest that does. It calls pick for each.
func fewestCovering(ids []int32, w []int64, weight int64, pick func(id int32)) {
	for weight > 0 && len(ids) > 0 {
		k := max(lightestCovering(ids, w, weight), 0)
		pick(ids[k])
		weight -= w[ids[k]]
		ids = ids[1:] // k is 0 unless this was the last
	}
}
