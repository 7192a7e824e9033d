package strategy

import "github.com/parti-go/parti/plan"

// InTurn is the strategy that [RoundRobin] returns. It is a value without state; any
// number of goroutines may use it at once.
type InTurn struct{}

// RoundRobin returns the strategy that deals partitions out in order of their IDs to
// the workers in order of theirs, one each in turn.
//
// It promises: pins, capacities, cordons and budgets hold; where a partition goes
// depends on the lists and not on where it was, unless a cordon or a budget keeps it;
// the counts of any two workers differ by at most one, but for pins, cordons and
// capacities, and then by as little as dealing to whoever has the fewest can make it.
// Weights count only against capacities, shares not at all. A worker or a partition
// more or less moves almost everything: it is for lists that do not change, for
// tests, and to compare with.
func RoundRobin() InTurn { return InTurn{} }

// Assign chooses for every partition the index of its worker, or -1 where none
// can take it. The error is that of [plan.ValidInput].
func (InTurn) Assign(in plan.Input) ([]int, error) {
	return assignBy(&turnSeeker{}, in)
}

// Explain measures an assignment as that of [Sticky] does, with its tolerance.
func (InTurn) Explain(in plan.Input, to []int) plan.Explanation {
	return Sticky().Explain(in, to)
}

// A turnSeeker asks whoever has had the fewest.
type turnSeeker struct{ turns heap }

func (s *turnSeeker) order(_ *board, ids []int32) []int32 { return ids }

func (s *turnSeeker) begin(b *board) {
	count := make([]int64, len(b.load))
	for _, j := range b.to {
		if j >= 0 {
			count[j]++
		}
	}
	s.turns = s.turns[:0]
	for j, n := range count {
		if !b.frozen[j] {
			s.turns.add(tile{n, 1, int32(j)})
		}
	}
}

func (s *turnSeeker) first(b *board, i int32) int {
	var full heap // has no room for this one, but may have for another
	found := -1
	for len(s.turns) > 0 && found < 0 {
		if t := &s.turns[0]; b.roomFor(int(t.worker), b.w[i]) {
			found = int(t.worker)
			t.load++
			s.turns.sink(0)
		} else {
			full = append(full, s.turns.pop())
		}
	}
	for _, t := range full {
		if b.room[t.worker] > b.load[t.worker] {
			s.turns.add(t)
		}
	}
	return found
}
