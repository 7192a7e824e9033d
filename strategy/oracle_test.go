package strategy_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// optimum is what looking at every assignment finds.
type optimum struct {
	moves  int   // the fewest placed or moved within the balance
	weight int64 // the least weight of that
	peak   int64 // the lowest heaviest worker of all
}

// everyAssignment looks at all m^n assignments that leave nothing out. Balanced are
// those in which every worker has between down and up.
func everyAssignment(in plan.Input, down, up int64) optimum {
	best := optimum{moves: math.MaxInt, weight: math.MaxInt64, peak: math.MaxInt64}
	has := make([]int64, len(in.Workers))
	var try func(i, moves int, weight int64)
	try = func(i, moves int, weight int64) {
		if i == len(in.Partitions) {
			best.peak = min(best.peak, slices.Max(has))
			if slices.Min(has) >= down && slices.Max(has) <= up {
				best.moves, best.weight = min(best.moves, moves), min(best.weight, weight)
			}
			return
		}
		w := in.Partitions[i].Load()
		for j := range has {
			has[j] += w
			if in.Current[i] == j {
				try(i+1, moves, weight)
			} else {
				try(i+1, moves+1, weight+w)
			}
			has[j] -= w
		}
	}
	try(0, 0, 0)
	return best
}

// The lower bounds are below what every assignment needs, and equal weights reach it.
func TestAgainstEveryAssignment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, m := rapid.IntRange(1, 8).Draw(t, "partitions"), rapid.IntRange(1, 3).Draw(t, "workers")
		in := plan.Input{Cause: plan.Members}
		for j := range m {
			in.Workers = append(in.Workers, plan.Worker{ID: fmt.Sprintf("w%d", j)})
		}
		total := int64(0)
		weights := drawWeights(t, n)
		for i, w := range weights {
			in.Partitions = append(in.Partitions, plan.Partition{ID: fmt.Sprintf("p%d", i), Weight: w})
			in.Current = append(in.Current, rapid.IntRange(-1, m-1).Draw(t, "current"))
			total += in.Partitions[i].Load()
		}
		equal := slices.Min(weights) == slices.Max(weights)
		unit, k := in.Partitions[0].Load(), int64(m)
		down, up := total*95/(100*k), max(total*105/(100*k), (total+k-1)/k)
		if equal {
			down, up = unit*(int64(n)/k), unit*((int64(n)+k-1)/k)
		}
		best := everyAssignment(in, down, up)
		to := assignTo(t, in)
		e := strategy.Sticky().Explain(in, to)
		if best.moves < math.MaxInt && (e.BoundMoves > best.moves || e.BoundWeight > best.weight) {
			t.Fatalf("the bounds say %d and %d, the optimum is %+v", e.BoundMoves, e.BoundWeight, best)
		}
		if floor := best.peak * k * 1000 / total; e.BoundPeak > floor {
			t.Fatalf("the bound says a peak of %d, the optimum is %d", e.BoundPeak, floor)
		}
		if equal && (e.Moved+e.Placed != best.moves || slices.Max(loads(in, to)) != best.peak) {
			t.Fatalf("%d moves to %v, the optimum is %+v", e.Moved+e.Placed, loads(in, to), best)
		}
	})
}

// Equal weights: counts differ by at most one, with the fewest moves.
func TestEqualWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, m := rapid.IntRange(0, 200).Draw(t, "partitions"), rapid.IntRange(1, 20).Draw(t, "workers")
		f := newFleet(strategy.Sticky(), m, slices.Repeat([]int64{rapid.Int64Range(0, 7).Draw(t, "weight")}, n))
		f.in.Cause = plan.Cause(rapid.IntRange(0, 3).Draw(t, "cause"))
		have, lost := make([]int, m), 0
		for i := range f.in.Current {
			j := rapid.IntRange(-1, m-1).Draw(t, "current")
			if f.in.Current[i] = j; j < 0 {
				lost++
			} else {
				have[j]++
			}
		}
		// Those that have the most keep one more, if not all can have the same.
		slices.SortFunc(have, func(a, b int) int { return b - a })
		fewest := lost
		for k, h := range have {
			quota := n / m
			if k < n%m {
				quota++
			}
			fewest += max(0, h-quota)
		}
		to := assignTo(t, f.in)
		got := make([]int, m)
		moves := 0
		for i, j := range to {
			got[j]++
			if f.in.Current[i] != j {
				moves++
			}
		}
		if slices.Max(got)-slices.Min(got) > 1 || moves != fewest {
			t.Fatalf("%v with %d moves, while %d would do", got, moves, fewest)
		}
		if e := strategy.Sticky().Explain(f.in, to); e.BoundMoves != fewest {
			t.Fatalf("the bound is %d, should be %d", e.BoundMoves, fewest)
		}
	})
}
