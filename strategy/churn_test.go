package strategy_test

import (
	"testing"

	"github.com/parti-go/parti/strategy"
)

// Over 200 joins and leaves by chance, what moves is close to the lower bounds,
// and nobody is ever above the tolerance.
func TestChurn(t *testing.T) {
	for _, c := range []struct {
		name                string
		partitions, workers int
		weights             func(n int, seed uint64) []int64
		seeds               uint64
		moves, weight, peak float64 // the most of moves ÷ bound, weight ÷ bound, and the worst peak
	}{
		{"equal", 1000, 20, func(n int, _ uint64) []int64 { return uniform(n) }, 3, 1, 1, 1.02},
		{"lognormal", 1000, 20, sigma(1), 5, 1.10, 1.05, 1.05},
		// The bound of moves takes the heaviest of all for each newcomer, although their
		// workers cannot spare them: with more workers it is further from what can be had.
		{"lognormal, many", 6000, 100, sigma(1), 1, 1.30, 1.05, 1.05},
		{"nearly equal", 1000, 20, sigma(0.3), 3, 1.10, 1.05, 1.05},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range c.seeds {
				f := newFleet(strategy.Sticky(), c.workers, c.weights(c.partitions, seed))
				sum := churn(t, f, 200, seed)
				t.Logf("seed %d: %v", seed, &sum)
				if float64(sum.moves) > c.moves*float64(sum.boundMoves) ||
					float64(sum.weight) > c.weight*float64(sum.boundWeight) {
					t.Error("that is too much to move")
				}
				if float64(sum.peak) > max(1000*c.peak, 1.02*float64(sum.bound)) {
					t.Error("that is too uneven")
				}
			}
		})
	}
}

func sigma(sigma float64) func(n int, seed uint64) []int64 {
	return func(n int, seed uint64) []int64 { return lognormal(n, seed, sigma) }
}

// Where a few partitions are hundreds of times as heavy as the others, evenness
// costs much movement: the budget in weight is what bounds it. See what that gives.
func TestChurnHeavyTail(t *testing.T) {
	for seed := range uint64(2) {
		f := newFleet(strategy.Sticky(), 20, heavyTailed(1000, seed))
		total := int64(0)
		for _, p := range f.in.Partitions {
			total += p.Load()
		}
		f.in.Budget.Weight = total / 20
		sum := churn(t, f, 200, seed)
		t.Logf("seed %d: %v", seed, &sum)
		if most := sum.optional; most > total/20 {
			t.Errorf("%d moved for balance, allowed are %d", most, total/20)
		}
	}
}
