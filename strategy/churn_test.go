package strategy_test

import (
	"math"
	"testing"

	"github.com/parti-go/parti/strategy"
	"github.com/parti-go/parti/strategy/strategytest"
)

// Over 200 joins and leaves by chance, what moves is close to the lower bounds,
// and nobody is ever above the tolerance.
func TestChurn(t *testing.T) {
	skipSame(t)
	for _, c := range []struct {
		name                string
		partitions, workers int
		weights             func(n int, seed uint64) []int64
		seeds               uint64
		moves, weight, peak float64 // the most of moves ÷ bound, weight ÷ bound, and the worst peak
		most                int64   // thousandths of the weight: the most placed or moved at once; 0: any
	}{
		{"equal", 1000, 20, strategytest.Uniform, 3, 1, 1, 1.02, 0},
		{"lognormal", 1000, 20, strategytest.Lognormal, 5, 1.10, 1.05, 1.05, 0},
		// The bound of moves takes the heaviest of all for each newcomer, although their
		// workers cannot spare them: with more workers it is further from what can be had.
		{"lognormal, many", 6000, 100, strategytest.Lognormal, 1, 1.30, 1.05, 1.05, 0},
		// Light partitions make room for heavy ones: many moves of little weight.
		{"heavy tail", 6000, 100, strategytest.HeavyTail, 2, 2.50, 1.40, 1.05, 45},
		{"heavy tail, few", 1800, 30, strategytest.HeavyTail, 2, 2.70, 2.00, 1.05, 150},
		{"nearly equal", 1000, 20, nearly, 3, 1.10, 1.05, 1.05, 0},
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
				if c.most > 0 && sum.most > c.most {
					t.Errorf("%.1f %% of the weight moved in one plan", float64(sum.most)/10)
				}
				if float64(sum.peak) > max(1000*c.peak, 1.02*float64(sum.bound)) {
					t.Error("that is too uneven")
				}
			}
		})
	}
}

// skipSame skips what comes out the same each time where that is of no use: under -short,
// which is for rounds, and under the race detector, since it is one goroutine's sums.
func skipSame(t *testing.T) {
	t.Helper()
	if testing.Short() || raced {
		t.Skip("it draws no seed: once is enough; make explore")
	}
}

// nearly draws weights whose logarithm has a standard deviation of 0.3.
func nearly(n int, seed uint64) []int64 {
	ws := strategytest.Lognormal(n, seed)
	for i, w := range ws {
		ws[i] = int64(1000 * math.Pow(float64(w)/1000, 0.3))
	}
	return ws
}

// Where a few partitions are hundreds of times as heavy as the others, evenness
// costs much movement: the budget in weight is what bounds it. See what that gives.
func TestChurnHeavyTail(t *testing.T) {
	skipSame(t)
	for seed := range uint64(2) {
		f := newFleet(strategy.Sticky(), 20, strategytest.HeavyTail(1000, seed))
		total := f.total()
		f.in.Budget.Weight = total / 20
		sum := churn(t, f, 200, seed)
		t.Logf("seed %d: %v", seed, &sum)
		if most := sum.optional; most > total/20 {
			t.Errorf("%d moved for balance, allowed are %d", most, total/20)
		}
	}
}
