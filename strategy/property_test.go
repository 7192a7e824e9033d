package strategy_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// drawWeights draws weights of one of several kinds: equal, small, wide, or with giants.
func drawWeights(t *rapid.T, n int) []int64 {
	kind := rapid.SampledFrom([]string{"equal", "small", "wide", "giants"}).Draw(t, "weights")
	equal := rapid.Int64Range(0, 9).Draw(t, "equal")
	ws := make([]int64, n)
	for i := range ws {
		switch kind {
		case "equal":
			ws[i] = equal
		case "small":
			ws[i] = rapid.Int64Range(0, 4).Draw(t, "w")
		case "wide":
			ws[i] = rapid.Int64Range(1, 100_000).Draw(t, "w")
		case "giants":
			ws[i] = rapid.SampledFrom([]int64{1, 2, 3, 90, 400}).Draw(t, "w")
		}
	}
	return ws
}

// drawPlain draws an Input of equal workers without limits, pins or budgets.
func drawPlain(t *rapid.T, owned bool) plan.Input {
	n, m := rapid.IntRange(0, 40).Draw(t, "partitions"), rapid.IntRange(1, 8).Draw(t, "workers")
	in := plan.Input{Cause: plan.Cause(rapid.IntRange(0, 3).Draw(t, "cause"))}
	for j := range m {
		in.Workers = append(in.Workers, plan.Worker{ID: fmt.Sprintf("w%02d", j)})
	}
	least := -1
	if owned {
		least = 0
	}
	for i, w := range drawWeights(t, n) {
		in.Partitions = append(in.Partitions, plan.Partition{ID: fmt.Sprintf("p%03d", i), Weight: w})
		in.Current = append(in.Current, rapid.IntRange(least, m-1).Draw(t, "current"))
	}
	return in
}

// drawInput draws an Input with anything in it that there can be.
func drawInput(t *rapid.T) plan.Input {
	in := drawPlain(t, false)
	n, m := len(in.Partitions), len(in.Workers)
	if rapid.Bool().Draw(t, "shares") {
		for j := range in.Workers {
			in.Workers[j].Share = rapid.Int64Range(0, 5).Draw(t, "share")
		}
	}
	if rapid.Bool().Draw(t, "capacities") {
		all := int64(0)
		for _, p := range in.Partitions {
			all += p.Load()
		}
		for j := range in.Workers {
			in.Workers[j].Capacity = rapid.Int64Range(0, 2*all/int64(m)+1).Draw(t, "capacity")
		}
	}
	if rapid.Bool().Draw(t, "cordons") {
		for j := range in.Workers {
			in.Workers[j].NoNew = rapid.IntRange(0, 3).Draw(t, "cordon") == 0
		}
	}
	if rapid.Bool().Draw(t, "pins") {
		for range n {
			in.Pins = append(in.Pins, max(-1, rapid.IntRange(-3*m, m-1).Draw(t, "pin")))
		}
	}
	if rapid.Bool().Draw(t, "homes") {
		for range n {
			in.Home = append(in.Home, rapid.SampledFrom([]string{"", "w00", "w01", "w02", "gone"}).Draw(t, "home"))
		}
	}
	return in
}

func drawBudget(t *rapid.T) plan.Budget {
	return plan.Budget{Moves: rapid.IntRange(-1, 5).Draw(t, "moves"), Weight: rapid.Int64Range(-1, 500).Draw(t, "weight")}
}

func assignTo(t *rapid.T, in plan.Input) []int {
	t.Helper()
	to, err := strategy.Sticky().Assign(in)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// Every partition has one owner, or there is none that may have it; pins, capacities
// and cordons hold.
func TestTotal(t *testing.T) { rapid.Check(t, total) }

// FuzzSticky looks further for what breaks TestTotal.
func FuzzSticky(f *testing.F) { f.Fuzz(rapid.MakeFuzz(total)) }

func total(t *rapid.T) {
	in := drawInput(t)
	in.Budget = drawBudget(t)
	to := assignTo(t, in)
	if len(to) != len(in.Partitions) {
		t.Fatalf("%d answers for %d partitions", len(to), len(in.Partitions))
	}
	has := loads(in, to)
	for j, w := range in.Workers {
		if w.Capacity > 0 && has[j] > w.Capacity {
			t.Fatalf("%d on %s, which has room for %d", has[j], w.ID, w.Capacity)
		}
	}
	for i, at := range to {
		p, pin := in.Partitions[i], -1
		if in.Pins != nil {
			pin = in.Pins[i]
		}
		switch {
		case pin >= 0 && at != pin && at != -1:
			t.Fatalf("%s is on %d, but pinned to %d", p.ID, at, pin)
		case at >= 0 && in.Workers[at].NoNew && in.Current[i] != at && pin != at:
			t.Fatalf("%s was given to a cordoned worker", p.ID)
		case at == -1 && pin == -1:
			for j, w := range in.Workers {
				if !w.NoNew && (w.Capacity == 0 || w.Capacity-has[j] >= p.Load()) {
					t.Fatalf("%s is left out, but %s has room: %v", p.ID, w.ID, to)
				}
			}
		}
	}
}

// The same question has the same answer, and asking changes nothing.
func TestDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Budget = drawBudget(t)
		was := in
		was.Current, was.Partitions, was.Workers = slices.Clone(in.Current), slices.Clone(in.Partitions), slices.Clone(in.Workers)
		was.Pins, was.Home = slices.Clone(in.Pins), slices.Clone(in.Home)
		first := assignTo(t, in)
		if again := assignTo(t, in); !slices.Equal(first, again) {
			t.Fatalf("first %v, then %v", first, again)
		}
		if !reflect.DeepEqual(in, was) {
			t.Fatal("the input has changed")
		}
	})
}

// Its own answer it leaves as it is.
func TestIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		to := assignTo(t, in)
		in.Current = to
		if again := assignTo(t, in); !slices.Equal(to, again) {
			t.Fatalf("first %v, then %v", to, again)
		}
	})
}

// What moves for balance stays within the budget.
func TestBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Budget = drawBudget(t)
		e := strategy.Sticky().Explain(in, assignTo(t, in))
		moves, weight := e.Moved-e.Forced, e.MovedWeight-e.ForcedWeight
		if none := in.Budget.Moves < 0 || in.Budget.Weight < 0; none && moves > 0 ||
			in.Budget.Moves > 0 && moves > in.Budget.Moves || in.Budget.Weight > 0 && weight > in.Budget.Weight {
			t.Fatalf("%d moves of weight %d", moves, weight)
		}
	})
}

// A move for balance lifts nobody above the former peak, and brings the sum of
// the squared loads down.
func TestMovesImprove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawPlain(t, true)
		in.Budget = drawBudget(t)
		to := assignTo(t, in)
		before, after := loads(in, in.Current), loads(in, to)
		if slices.Max(after) > slices.Max(before) {
			t.Fatalf("from %v to %v", before, after)
		}
		if !slices.Equal(to, in.Current) && squares(after) >= squares(before) {
			t.Fatalf("from %v to %v", before, after)
		}
	})
}

func squares(loads []int64) (sum int64) {
	for _, l := range loads {
		sum += l * l
	}
	return sum
}

// Whatever there was before, no worker ends above its fair share and the tolerance
// and the heaviest partition; while only weights change, the wider band counts.
func TestPeak(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawPlain(t, false)
		if len(in.Partitions) == 0 {
			return
		}
		has := loads(in, assignTo(t, in))
		total, heaviest := int64(0), int64(0)
		for _, p := range in.Partitions {
			total += p.Load()
			heaviest = max(heaviest, p.Load())
		}
		band := 1.05
		if in.Cause == plan.Loads {
			band = 1.10
		}
		most := math.Ceil(float64(total)/float64(len(in.Workers))*band) + float64(heaviest)
		if float64(slices.Max(has)) > most {
			t.Fatalf("%v, which is above %v", has, most)
		}
	})
}

// When a worker is lost and only forced moves are allowed, what it had moves and
// nothing else.
func TestCrash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Pins = nil // indexes: they would have to follow
		in.Current = assignTo(t, in)
		m := len(in.Workers)
		if m == 1 {
			return
		}
		dead := rapid.IntRange(0, m-1).Draw(t, "dead")
		in.Workers = slices.Delete(slices.Clone(in.Workers), dead, dead+1)
		for i, at := range in.Current {
			switch {
			case at == dead:
				in.Current[i] = -1
			case at > dead:
				in.Current[i]--
			}
		}
		in.Cause, in.Budget = plan.Members, plan.NoMoves()
		for i, at := range assignTo(t, in) {
			if was := in.Current[i]; was >= 0 && at != was {
				t.Fatalf("%s moved from %d to %d", in.Partitions[i].ID, was, at)
			}
		}
	})
}

// A worker that joins and leaves again leaves things as they were, to nineteen in
// twenty, if what it had knows where it came from and is not too coarse.
func TestThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.IntRange(2, 10).Draw(t, "workers")
		n := m * rapid.IntRange(25, 60).Draw(t, "partitions of each")
		weights := uniform(n)
		if rapid.Bool().Draw(t, "unequal") {
			weights = nearly(n, rapid.Uint64().Draw(t, "seed"))
		}
		f := newFleet(strategy.Sticky(), m, weights)
		at := func() []int {
			f.in.Current = assignTo(t, f.in)
			return slices.Clone(f.in.Current)
		}
		before := at()
		f.join()
		at()
		for _, j := range before {
			f.in.Home = append(f.in.Home, f.in.Workers[j].ID)
		}
		f.leave(m)
		back := 0
		for i, j := range at() {
			if j == before[i] {
				back++
			}
		}
		if 100*back < 95*n {
			t.Fatalf("%d of %d are back", back, n)
		}
	})
}

// Only proportions and the order of IDs count.
func TestScaledAndRenamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Budget = drawBudget(t)
		want := assignTo(t, in)

		scale, shares := rapid.Int64Range(1, 1<<40).Draw(t, "scale"), rapid.Int64Range(1, 1<<40).Draw(t, "share scale")
		other := in
		other.Budget.Weight *= scale
		other.Partitions, other.Workers, other.Home = slices.Clone(in.Partitions), slices.Clone(in.Workers), slices.Clone(in.Home)
		for i := range other.Partitions {
			other.Partitions[i].Weight = in.Partitions[i].Load() * scale
			other.Partitions[i].ID = "some." + in.Partitions[i].ID + ".other"
		}
		for j := range other.Workers {
			other.Workers[j].Share = in.Workers[j].Portion() * shares
			other.Workers[j].Capacity *= scale
			other.Workers[j].ID = "x" + in.Workers[j].ID
		}
		for i := range other.Home {
			other.Home[i] = "x" + in.Home[i]
		}
		if got := assignTo(t, other); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
