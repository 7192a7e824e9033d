package strategy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// coarse draws an Input in which few partitions have most of the weight, with anything
// else in it that there can be but a spread.
func coarse(r *rand.Rand) plan.Input {
	m := 2 + r.IntN(12)
	n := m * (2 + r.IntN(30))
	in := plan.Input{Cause: plan.Cause(r.IntN(4))}
	var total int64
	heavy := 1 + r.IntN(400)
	for i := range n {
		w := 1 + r.Int64N(5)
		if r.IntN(10) == 0 {
			w = int64(heavy + r.IntN(heavy))
		}
		total += w
		in.Partitions = append(in.Partitions, plan.Partition{ID: fmt.Sprintf("p%04d", i), Weight: w})
		in.Current = append(in.Current, max(-1, r.IntN(m+m/3+1)-m/3-1))
	}
	shares, capacities, cordons := r.IntN(3) == 0, r.IntN(2) == 0, r.IntN(3) == 0
	for j := range m {
		w := plan.Worker{ID: fmt.Sprintf("w%02d", j)}
		if shares {
			w.Share = 1 + r.Int64N(4)
		}
		if capacities {
			w.Capacity = total/int64(m) + r.Int64N(total/int64(m)+1)
		}
		w.NoNew = cordons && r.IntN(4) == 0
		in.Workers = append(in.Workers, w)
	}
	if r.IntN(4) == 0 {
		for range n {
			in.Pins = append(in.Pins, max(-1, r.IntN(5*m)-4*m))
		}
	}
	return in
}

// coarses counts the rounds of TestCoarse.
var coarses uint64

// Where few partitions have most of the weight, too, capacities and budgets hold, and its
// own answer it leaves as it is.
func TestCoarse(t *testing.T) {
	first, last := uint64(0), uint64(20_000)
	switch {
	case testing.Short(): // the next ones in each round
		const each = 50
		first = coarses * each
		last = first + each
		coarses++
	case raced:
		last = 300
	}
	for seed := first; seed < last; seed++ {
		r := rand.New(rand.NewPCG(seed, 11))
		in := coarse(r)
		if r.IntN(2) == 0 {
			in.Budget = plan.Budget{Moves: r.IntN(8) - 1, Weight: r.Int64N(1000) - 1}
		}
		to, err := strategy.Sticky().Assign(in)
		if err != nil {
			t.Fatal(err)
		}
		for j, load := range loads(in, to) {
			if c := in.Workers[j].Capacity; c > 0 && load > c {
				t.Errorf("seed %d: %d on %s, which has room for %d", seed, load, in.Workers[j].ID, c)
			}
		}
		e := strategy.Sticky().Explain(in, to)
		moves, weight := e.Moved-e.Forced, e.MovedWeight-e.ForcedWeight
		if none := in.Budget.Moves < 0 || in.Budget.Weight < 0; none && moves > 0 ||
			in.Budget.Moves > 0 && moves > in.Budget.Moves || in.Budget.Weight > 0 && weight > in.Budget.Weight {
			t.Errorf("seed %d: %d moves of weight %d, allowed are %+v", seed, moves, weight, in.Budget)
		}
		in.Current, in.Budget = to, plan.Budget{}
		once, err := strategy.Sticky().Assign(in)
		if err != nil {
			t.Fatal(err)
		}
		in.Current = once
		if again, _ := strategy.Sticky().Assign(in); !slices.Equal(once, again) {
			t.Errorf("seed %d: first %v, then %v", seed, once, again)
		}
	}
}
