package plan_test

import (
	"math"
	"testing"

	"github.com/parti-go/parti/plan"
)

func TestRatios(t *testing.T) {
	for _, c := range []struct {
		name                string
		e                   plan.Explanation
		moves, weight, peak int64
	}{
		{"nothing happened", plan.Explanation{}, 1000, 1000, 1000},
		{"nothing had to", plan.Explanation{Moved: 1, MovedWeight: 5}, math.MaxInt64, math.MaxInt64, 1000},
		{"less than the bound", plan.Explanation{BoundMoves: 4, BoundWeight: 8, Placed: 3, PlacedWeight: 4}, 750, 500, 1000},
		{"both count", plan.Explanation{BoundMoves: 2, BoundWeight: 4, Moved: 1, Placed: 2, MovedWeight: 1, PlacedWeight: 4}, 1500, 1250, 1000},
		{"the peak", plan.Explanation{PeakAfter: 1100, BoundPeak: 1010}, 1000, 1000, 1089},
		{"large weights", plan.Explanation{MovedWeight: 1 << 61, BoundWeight: 1 << 60}, 1000, 2000, 1000},
	} {
		if c.e.MoveRatio() != c.moves || c.e.WeightRatio() != c.weight || c.e.PeakRatio() != c.peak {
			t.Errorf("%s: %d %d %d", c.name, c.e.MoveRatio(), c.e.WeightRatio(), c.e.PeakRatio())
		}
	}
}
