package strategy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// A fleet is a group whose workers come and go, with whatever strategy it is given.
type fleet struct {
	s     strategy.Budgeted
	in    plan.Input
	names int
}

func newFleet(s strategy.Budgeted, workers int, weights []int64) *fleet {
	f := &fleet{s: s}
	for i, w := range weights {
		f.in.Partitions = append(f.in.Partitions, plan.Partition{ID: fmt.Sprintf("part.%07d", i), Weight: w})
		f.in.Current = append(f.in.Current, -1)
	}
	for range workers {
		f.join()
	}
	f.in.Cause = plan.Members
	return f
}

func (f *fleet) total() (sum int64) {
	for i := range f.in.Partitions {
		sum += f.in.Partitions[i].Load()
	}
	return sum
}

// join adds a worker at the end of the list, under a new name.
func (f *fleet) join() {
	f.in.Workers = append(slices.Clip(f.in.Workers), plan.Worker{ID: fmt.Sprintf("worker-%06d", f.names)})
	f.names++
}

// leave removes worker j.
func (f *fleet) leave(j int) {
	f.in.Workers = slices.Delete(slices.Clone(f.in.Workers), j, j+1)
	for i, at := range f.in.Current {
		if at == j {
			f.in.Current[i] = -1
		} else if at > j {
			f.in.Current[i] = at - 1
		}
	}
}

// assign makes a plan and puts it in force.
func (f *fleet) assign(tb testing.TB) plan.Explanation {
	tb.Helper()
	to, err := f.s.Assign(f.in)
	if err != nil {
		tb.Fatal(err)
	}
	e := f.s.Explain(f.in, to)
	f.in.Current = to
	return e
}

// loads is what each worker has under to.
func loads(in plan.Input, to []int) []int64 {
	sum := make([]int64, len(in.Workers))
	for i, at := range to {
		if at >= 0 {
			sum[at] += in.Partitions[i].Load()
		}
	}
	return sum
}

func uniform(n int) []int64 { return slices.Repeat([]int64{1}, n) }

// A tally sums up what a series of plans cost.
type tally struct {
	moves, boundMoves   int
	weight, boundWeight int64
	peak, bound         int64 // the worst peak and the bound of that plan
	over                int64 // the worst peak ÷ its own bound, in thousandths
	most                int64 // the most weight placed or moved in one plan, in thousandths of all
	optional            int64 // the most weight moved for balance in one plan
}

func (s *tally) add(e plan.Explanation, total int64) {
	s.moves += e.Moved + e.Placed
	s.boundMoves += e.BoundMoves
	s.weight += e.MovedWeight + e.PlacedWeight
	s.boundWeight += e.BoundWeight
	if e.PeakAfter > s.peak {
		s.peak, s.bound = e.PeakAfter, e.BoundPeak
	}
	s.over = max(s.over, 1000*e.PeakAfter/e.BoundPeak)
	s.optional = max(s.optional, e.MovedWeight-e.ForcedWeight)
	s.most = max(s.most, 1000*(e.MovedWeight+e.PlacedWeight)/total)
}

func (s *tally) String() string {
	return fmt.Sprintf("moves %d / bound %d = %.3f, weight / bound = %.3f, worst peak %.3f (bound %.3f, worst ratio %.3f), most weight in one plan %.1f%%",
		s.moves, s.boundMoves, float64(s.moves)/float64(s.boundMoves), float64(s.weight)/float64(s.boundWeight),
		float64(s.peak)/1000, float64(s.bound)/1000, float64(s.over)/1000, float64(s.most)/10)
}

// churn runs events, each a join or a leave of one worker by chance.
func churn(tb testing.TB, f *fleet, events int, seed uint64) tally {
	tb.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	start := len(f.in.Workers)
	f.assign(tb)
	var sum tally
	total := f.total()
	for range events {
		grow := r.IntN(2) == 0
		if len(f.in.Workers) <= start*3/4 {
			grow = true
		} else if len(f.in.Workers) >= start*5/4 {
			grow = false
		}
		if grow {
			f.join()
		} else {
			f.leave(r.IntN(len(f.in.Workers)))
		}
		sum.add(f.assign(tb), total)
	}
	return sum
}
