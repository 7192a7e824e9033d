package strategy

import "github.com/parti-go/parti/plan"

// HighestWeight is the rendezvous hashing that [Rendezvous] returns. It is a value
// without state; any number of goroutines may use it at once.
type HighestWeight struct{}

// Rendezvous returns rendezvous hashing, also called highest random weight (Thaler and
// Ravishankar, Using Name-Based Mappings to Increase Hit Rates, 1998): every
// partition ranks all workers by a hash of both IDs and goes to the first that has
// room. A worker that has twice the share comes first twice as often (the
// logarithmic method of Schindelhauer and Schomaker, Weighted Distributed Hash Tables,
// 2005, in integers).
//
// It promises: pins, capacities, cordons and budgets hold; where a partition goes
// depends on its ID and the workers there are and not on where it was, unless a
// cordon or a budget keeps it; while no capacity is reached, a worker that joins or
// leaves moves only what it takes or had. Weights count only against capacities,
// in whose shortage heavy partitions choose first. Balance is a matter of luck: with k
// partitions of equal weight on each worker, loads differ by about √k. Its cost is
// partitions × workers.
func Rendezvous() HighestWeight { return HighestWeight{} }

// Assign chooses for every partition the index of its worker, or -1 where none
// can take it. The error is that of [plan.ValidInput].
func (HighestWeight) Assign(in plan.Input) ([]int, error) {
	return assignBy(&rankSeeker{}, in)
}

// Explain measures an assignment as that of [Sticky] does, with its tolerance.
func (HighestWeight) Explain(in plan.Input, to []int) plan.Explanation {
	return Sticky().Explain(in, to)
}

// A rankSeeker ranks all workers.
type rankSeeker struct {
	workers []uint64
	logs    *logTable // nil where all shares are equal
}

func (s *rankSeeker) order(b *board, ids []int32) []int32 {
	if b.bounded {
		sortHeavy(ids, b.w)
	}
	return ids
}

func (s *rankSeeker) begin(b *board) {
	if s.workers == nil {
		s.workers = make([]uint64, len(b.load))
		for j := range b.in.Workers {
			s.workers[j] = digest(b.in.Workers[j].ID)
		}
		if !b.equal {
			s.logs = newLogTable()
		}
	}
}

func (s *rankSeeker) first(b *board, i int32) int {
	p, w := digest(b.in.Partitions[i].ID), b.w[i]
	best, most, soonest := -1, uint64(0), int64(0)
	for j, d := range s.workers {
		if !b.roomFor(j, w) {
			continue
		}
		h := pair(p, d)
		if s.logs == nil {
			if best < 0 || h > most {
				best, most = j, h
			}
			continue
		}
		if t := s.logs.waiting(h); best < 0 || compareRatio(t, b.share[j], soonest, b.share[best]) < 0 {
			best, soonest = j, t
		}
	}
	return best
}
