package demo

import (
	"maps"
	"slices"
)

// leastMoves is the fewest partitions that must begin somewhere else so that counts
// differ by one at the most: those without an owner, and what the emptiest workers
// lack. loads are the partitions that each living worker has now, all is their number
// in the group. It is counted here once more, so that the leader's own account is
// not the only one.
func leastMoves(loads map[int]int, all int) int {
	if len(loads) == 0 {
		return 0
	}
	have := slices.Sorted(maps.Values(loads))
	slices.Reverse(have) // who has most may keep one more than the others
	least, more := all/len(have), all%len(have)
	moves := 0
	for i, n := range have {
		want := least
		if i < more {
			want++
		}
		moves += max(0, want-n)
	}
	return moves
}

// tolerated is what a change may move when at least bound must move.
func tolerated(bound int) int { return bound + bound/20 }
