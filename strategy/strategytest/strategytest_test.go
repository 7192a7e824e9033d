package strategytest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// strategyFunc is a strategy that is a function.
type strategyFunc func(in plan.Input) ([]int, error)

func (f strategyFunc) Assign(in plan.Input) ([]int, error) { return f(in) }

// bent is Sticky with something wrong about it: with what it is asked, or with its answer.
func bent(ask func(*plan.Input), answer func(plan.Input, []int) []int) strategyFunc {
	return func(in plan.Input) ([]int, error) {
		changed := in
		if ask != nil {
			ask(&changed)
		}
		to, err := strategy.Sticky().Assign(changed)
		if err == nil && answer != nil {
			to = answer(in, to)
		}
		return to, err
	}
}

// The test of the suite: every property notices what is against it.
func TestSuiteNotices(t *testing.T) {
	calls := 0
	for _, c := range []struct {
		name, by, says string
		s              Strategy
	}{
		{"ignores pins", "Proper", "pinned", bent(func(in *plan.Input) { in.Pins = nil }, nil)},
		{"ignores capacities", "Proper", "capacity", bent(func(in *plan.Input) {
			in.Workers = slices.Clone(in.Workers)
			for j := range in.Workers {
				in.Workers[j].Capacity = 0
			}
		}, nil)},
		{"ignores cordons", "Proper", "cordoned", bent(func(in *plan.Input) {
			in.Workers = slices.Clone(in.Workers)
			for j := range in.Workers {
				in.Workers[j].NoNew = false
			}
		}, nil)},
		{"leaves out", "Proper", "left out", bent(nil, func(_ plan.Input, to []int) []int {
			if len(to) > 5 {
				to[5] = -1
			}
			return to
		})},
		{"forgets those without an owner", "Proper", "left out", bent(nil, func(in plan.Input, to []int) []int {
			for i, j := range in.Current {
				if j < 0 {
					to[i] = -1
				}
			}
			return to
		})},
		{"answers too little", "Proper", "answers for", bent(nil, func(_ plan.Input, to []int) []int { return to[:len(to)/2] })},
		{"invents a worker", "Proper", "worker number", bent(nil, func(in plan.Input, to []int) []int {
			if len(to) > 0 {
				to[0] = len(in.Workers)
			}
			return to
		})},
		{"writes into its input", "Proper", "changed", bent(nil, func(in plan.Input, to []int) []int { copy(in.Current, to); return to })},
		{"fails", "Proper", "no luck", strategyFunc(func(plan.Input) ([]int, error) { return nil, errors.New("no luck") })},
		{"panics", "Proper", "panicked", strategyFunc(func(in plan.Input) ([]int, error) { return make([]int, len(in.Workers)/len(in.Partitions)), nil })},
		{"remembers", "Deterministic", "another answer", strategyFunc(func(in plan.Input) ([]int, error) {
			calls++
			in.Pins = make([]int, len(in.Partitions))
			for i := range in.Pins {
				in.Pins[i] = (i + calls) % len(in.Workers)
			}
			return strategy.Sticky().Assign(in)
		})},
		{"goes by places in lists", "OrderIndependent", "another answer", strategyFunc(func(in plan.Input) ([]int, error) {
			to := make([]int, len(in.Partitions))
			for i := range to {
				to[i] = i % len(in.Workers)
			}
			return to, nil
		})},
		{"never rests", "Settles", "still moves", strategyFunc(func(in plan.Input) ([]int, error) {
			to := make([]int, len(in.Partitions))
			for i := range to {
				to[i] = (in.Current[i] + 1) % len(in.Workers)
			}
			return to, nil
		})},
		{"knows no budget", "NoMoves", "moved", bent(func(in *plan.Input) { in.Budget = plan.Budget{} }, nil)},
		{"knows no budget in moves", "Budget", "moves of weight", bent(func(in *plan.Input) { in.Budget.Moves = 0 }, nil)},
		{"knows no budget in weight", "Budget", "moves of weight", bent(func(in *plan.Input) { in.Budget.Weight = 0 }, nil)},
	} {
		var found []string
		for _, p := range properties {
			if p.name != c.by {
				continue
			}
			for _, in := range edges() {
				if err := try(p, c.s, clone(in)); err != nil {
					found = append(found, err.Error())
				}
			}
			for seed := range uint64(seeds) {
				if err := try(p, c.s, draw(seed)); err != nil {
					found = append(found, err.Error())
				}
			}
		}
		if !slices.ContainsFunc(found, func(text string) bool { return strings.Contains(text, c.says) }) {
			t.Errorf("%s: %s does not say %q, but %.200q", c.name, c.by, c.says, found)
		}
	}
}

func TestCheckNamesEach(t *testing.T) {
	in := plan.Input{
		Partitions: []plan.Partition{{ID: "p"}, {ID: "q", Weight: 5}, {ID: "r"}},
		Workers:    []plan.Worker{{ID: "a", Capacity: 4}, {ID: "b", NoNew: true}, {ID: "c"}},
		Current:    []int{-1, -1, -1}, Pins: []int{2, -1, -1},
	}
	const want = "a has 6, and a capacity of 4\np is pinned to c, and given to a\nr is given to b, which is cordoned"
	if err := Check(in, []int{0, 0, 1}); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if err := Check(in, []int{2, 2, 0}); err != nil {
		t.Error(err)
	}
}

// The bounds of this package and those of Sticky, written apart, agree.
func TestBoundsAgree(t *testing.T) {
	seen := 0
	for seed := range uint64(2000) {
		in := draw(seed)
		in.Pins, in.Cause = nil, plan.Members
		for j := range in.Workers {
			in.Workers[j] = plan.Worker{ID: in.Workers[j].ID}
		}
		if len(in.Partitions) == 0 {
			continue
		}
		to, err := strategy.Sticky().Assign(in)
		if err != nil {
			t.Fatal(err)
		}
		e, b := strategy.Sticky().Explain(in, to), boundsOf(in)
		total, unit := int64(0), int64(0)
		for _, p := range in.Partitions {
			total += p.Load()
			unit = gcd(unit, p.Load())
		}
		// Sticky rounds its limits to what weights have in common.
		slack := (unit - 1) * int64(len(in.Workers))
		if e.BoundMoves != b.moves || e.BoundWeight < b.weight || e.BoundWeight > b.weight+slack {
			t.Errorf("seed %d: %d moves of %d, and %d of %d", seed, b.moves, b.weight, e.BoundMoves, e.BoundWeight)
		}
		if peak := b.peak * int64(len(in.Workers)) * 1000 / total; peak != e.BoundPeak {
			t.Errorf("seed %d: peaks of %d and %d", seed, peak, e.BoundPeak)
		}
		seen++
	}
	if seen < 1000 {
		t.Errorf("only %d inputs", seen)
	}
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Measure counts what happens.
func TestMeasure(t *testing.T) {
	for _, c := range []struct {
		f                  Fleet
		plans, moves, most int
	}{
		{Fleet{Partitions: 20, Workers: 5, Scenario: Leave}, 1, 4, 4},
		{Fleet{Partitions: 20, Workers: 4, Scenario: Join}, 1, 4, 4},
		{Fleet{Partitions: 20, Workers: 5, Scenario: Double}, 1, 10, 10},
		{Fleet{Partitions: 20, Workers: 5, Scenario: Rolling}, 10, 40, 4},
		{Fleet{Partitions: 40, Workers: 20, Scenario: Loss}, 2, 4, 4},
		{Fleet{Partitions: 12, Workers: 4, Scenario: Churn, Events: 3}, 3, 0, 0},
	} {
		r, err := Measure(strategy.Sticky(), c.f)
		if err != nil {
			t.Fatal(err)
		}
		if c.moves == 0 {
			c.moves, c.most = r.BoundMoves, int(r.MostWeight)
		}
		if r.Plans != c.plans || r.Moves != c.moves || r.BoundMoves != c.moves || r.Weight != int64(c.moves) || int(r.MostWeight) != c.most || r.Unplaced != 0 {
			t.Errorf("%v: %+v", c.f, r)
		}
	}
	if _, err := Measure(bent(nil, func(_ plan.Input, to []int) []int { to[0] = -1; return to }), Fleet{Partitions: 9, Workers: 3}); err == nil {
		t.Error("a breach of a rule went unnoticed")
	}
}
