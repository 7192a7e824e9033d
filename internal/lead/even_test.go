package lead

import "github.com/parti-go/parti/plan"

// even is a strategy for scripts: it keeps what is there, places the rest on the
// lightest, and moves from the heaviest to the lightest while that helps. It is
// simple on purpose, so that traces change only when the leader's brain does.
type even struct{}

func (even) Assign(in plan.Input) ([]int, error) {
	to := make([]int, len(in.Partitions))
	load := make([]int64, len(in.Workers))
	room := func(w, i int) bool {
		c := in.Workers[w].Capacity
		return !in.Workers[w].NoNew && (c == 0 || load[w]+in.Partitions[i].Load() <= c)
	}
	put := func(i, w int) {
		if to[i] >= 0 {
			load[to[i]] -= in.Partitions[i].Load()
		}
		if to[i] = w; w >= 0 {
			load[w] += in.Partitions[i].Load()
		}
	}
	for i := range to {
		to[i] = -1
		w := in.Current[i]
		if in.Pins != nil && in.Pins[i] >= 0 {
			w = in.Pins[i]
		}
		if w >= 0 {
			put(i, w)
		}
	}
	for i := range to {
		if to[i] >= 0 {
			continue
		}
		best := -1
		for w := range in.Workers {
			if room(w, i) && (best < 0 || load[w] < load[best]) {
				best = w
			}
		}
		for w := range in.Workers { // home, if it is no worse than the best
			if in.Workers[w].ID == in.Home[i] && room(w, i) && load[w] <= load[best] {
				best = w
			}
		}
		put(i, best)
	}
	for in.Budget.Moves >= 0 {
		hot, cold := -1, -1
		for w := range in.Workers {
			if hot < 0 || load[w] > load[hot] {
				hot = w
			}
			if !in.Workers[w].NoNew && (cold < 0 || load[w] < load[cold]) {
				cold = w
			}
		}
		moved := false
		for i := range to {
			l := in.Partitions[i].Load()
			pinned := in.Pins != nil && in.Pins[i] >= 0
			if cold >= 0 && to[i] == hot && !pinned && load[hot]-load[cold] > l && room(cold, i) {
				put(i, cold)
				moved = true
				break
			}
		}
		if !moved {
			break
		}
	}
	return to, nil
}
