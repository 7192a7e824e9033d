package strategy

// The lower bounds hold for every assignment, however it was found, in which each
// worker ends between down and up. They are derived by looking at one thing at a
// time: what has no owner has to be placed; what a worker has above its limit has to
// leave it; what one lacks has to come from somewhere.

// weightBound is the least weight that has to be placed or moved: all that is
// lost, and beyond it what exceeds the limits; or, where that is more, what is lacking.
func weightBound(kept, up, down []int64, lost int64) int64 {
	var excess, lack int64
	for j, load := range kept {
		excess += max(0, load-up[j])
		lack += max(0, down[j]-load)
	}
	return max(addUp(lost, excess), lack)
}

// moveBound is the fewest partitions that have to be placed or moved: the lost,
// and of the others either enough to cover each worker's excess, with its own
// heaviest, or enough to cover what is lacking when the lost have been placed, with the
// heaviest there are. own lists what may leave worker j, all what may leave any,
// both heaviest first; they are only asked for when there is something to cover.
func moveBound(w, kept, up, down []int64, lost int, lostWeight int64, own func(j int) []int32, all func() []int32) int {
	count := func(ids []int32, weight int64) (n int) {
		for _, i := range ids {
			if weight <= 0 {
				break
			}
			weight -= w[i]
			n++
		}
		return n
	}
	out := 0
	lack := -lostWeight
	for j, load := range kept {
		if load > up[j] {
			out += count(own(j), load-up[j])
		}
		lack += max(0, down[j]-load)
	}
	in := 0
	if lack > 0 {
		in = count(all(), lack)
	}
	return lost + max(out, in)
}

// peakBound is the least that the heaviest of m workers of equal share can
// carry of the partitions, given heaviest first.
func peakBound(ids []int32, w []int64, m int) int64 {
	var total int64
	for _, i := range ids {
		total += w[i]
	}
	even := total / int64(m)
	if total%int64(m) != 0 {
		even++
	}
	return max(even, crowd(ids, w, m))
}

// crowd is the part of peakBound that comes from single partitions: among the
// heaviest k·m+1, some k+1 are on one worker, and none of them is lighter than the last.
func crowd(ids []int32, w []int64, m int) int64 {
	var most int64
	for k := 0; k*m < len(ids); k++ {
		most = max(most, mulDiv(int64(k+1), w[ids[k*m]], 1))
	}
	return most
}
