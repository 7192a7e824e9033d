package strategy_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
	"github.com/parti-go/parti/strategy/strategytest"
)

var rewrite = flag.Bool("rewrite", false, "write the golden file anew")

// memoryless are the strategies that do not look at today's owners.
func memoryless() map[string]strategytest.Strategy {
	return map[string]strategytest.Strategy{
		"ConsistentHash": strategy.ConsistentHash(),
		"Unbounded":      strategy.ConsistentHash(strategy.MaxLoad(0)),
		"Rendezvous":     strategy.Rendezvous(),
		"RoundRobin":     strategy.RoundRobin(),
	}
}

func answer(tb rapid.TB, s strategytest.Strategy, in plan.Input) []int {
	tb.Helper()
	to, err := s.Assign(in)
	if err != nil {
		tb.Fatal(err)
	}
	return to
}

// Who owns what is the same in every process, release and architecture: the golden
// file is written once, and for all.
func TestGolden(t *testing.T) {
	const file = "testdata/assignments.golden.txt"
	in := plan.Input{Cause: plan.Members}
	for i, w := range lognormalIntegers(60) {
		in.Partitions = append(in.Partitions, plan.Partition{ID: fmt.Sprintf("tool-%03d.chamber-%d", i/3, i%3), Weight: w})
		in.Current = append(in.Current, -1)
	}
	for j, share := range []int64{1, 1, 2, 3, 1, 5, 1} {
		in.Workers = append(in.Workers, plan.Worker{ID: fmt.Sprintf("worker-%d", j), Share: share})
	}
	alike := in
	alike.Workers = slices.Clone(in.Workers)
	for j := range alike.Workers {
		alike.Workers[j].Share = 1
	}
	var b strings.Builder
	for _, name := range []string{"Sticky", "ConsistentHash", "Unbounded", "Rendezvous", "RoundRobin"} {
		s := memoryless()[name]
		if s == nil {
			s = strategy.Sticky()
		}
		fmt.Fprintf(&b, "%s, equal shares  %v\n", name, answer(t, s, alike))
		fmt.Fprintf(&b, "%s, unequal shares %v\n", name, answer(t, s, in))
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// lognormalIntegers draws weights of a wide range without floating point.
func lognormalIntegers(n int) []int64 {
	ws := make([]int64, n)
	x := uint64(1)
	for i := range ws {
		x = x*6364136223846793005 + 1442695040888963407
		ws[i] = 1 + int64(x>>40)>>(x>>60)
	}
	return ws
}

// Where a partition goes does not depend on where it was.
func TestMemoryless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		for j := range in.Workers {
			in.Workers[j].NoNew = false
		}
		other := in
		other.Current, other.Home, other.Cause = none(len(in.Current)), nil, plan.Loads
		for name, s := range memoryless() {
			if got, want := answer(t, s, other), answer(t, s, in); !slices.Equal(got, want) {
				t.Fatalf("%s: %v, and from nothing %v", name, want, got)
			}
		}
	})
}

// Plans with a budget come to where one without goes, unless capacities are in the way.
func TestBudgetsArrive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		for j := range in.Workers {
			in.Workers[j].Capacity = 0
		}
		for name, s := range memoryless() {
			want := answer(t, s, in)
			step := in
			step.Budget = plan.Budget{Moves: 3}
			for range len(in.Partitions)/3 + 2 {
				step.Current = answer(t, s, step)
			}
			if !slices.Equal(step.Current, want) {
				t.Fatalf("%s: arrived at %v, not %v", name, step.Current, want)
			}
		}
	})
}

// A worker that joins takes from others, and no two others exchange anything.
func TestOnlyTheNewcomer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawPlain(t, false)
		for j := range in.Workers {
			in.Workers[j].Share = rapid.Int64Range(1, 4).Draw(t, "share")
		}
		in.Workers[0].Share = 1 // the smallest share sets the number of nodes
		grown := in
		grown.Workers = append(slices.Clone(in.Workers), plan.Worker{ID: "x", Share: rapid.Int64Range(1, 4).Draw(t, "share")})
		for _, name := range []string{"Unbounded", "Rendezvous"} {
			s := memoryless()[name]
			before, after := answer(t, s, in), answer(t, s, grown)
			for i, j := range after {
				if j != before[i] && j != len(in.Workers) {
					t.Fatalf("%s: %s moved from %d to %d", name, in.Partitions[i].ID, before[i], j)
				}
			}
		}
	})
}

// Shares are kept on average: to a few per cent with many partitions.
func TestSharesOnAverage(t *testing.T) {
	in := newFleet(strategy.Sticky(), 5, uniform(50_000)).in
	shares := []int64{1, 2, 3, 4, 10}
	for j, c := range shares {
		in.Workers[j].Share = c
	}
	for name, off := range map[string]float64{"Rendezvous": 0.03, "Unbounded": 0.20, "ConsistentHash": 0.20} {
		for j, has := range loads(in, answer(t, memoryless()[name], in)) {
			due := 50_000 * float64(shares[j]) / 20
			if math.Abs(float64(has)/due-1) > off {
				t.Errorf("%s: worker %d has %d, due are %.0f", name, j, has, due)
			}
		}
	}
}

// No worker ends above the bound, and the heaviest partition, as long as partitions
// find a worker below it.
func TestMaxLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawPlain(t, false)
		if len(in.Partitions) == 0 {
			return
		}
		most := rapid.IntRange(1001, 3000).Draw(t, "max")
		has := loads(in, answer(t, strategy.ConsistentHash(strategy.MaxLoad(most)), in))
		total, heaviest, unit := int64(0), int64(0), int64(0)
		for _, p := range in.Partitions {
			total += p.Load()
			heaviest = max(heaviest, p.Load())
			for a, b := p.Load(), unit; ; a, b = b, a%b {
				if b == 0 {
					unit = a
					break
				}
			}
		}
		m := float64(len(in.Workers))
		// The bound is rounded up to a multiple of what the weights have in common.
		bound := max(math.Ceil(float64(total/unit)*float64(most)/1000/m)*float64(unit), float64(heaviest))
		// The coldest is below the mean, so one partition on top of that is the worst.
		if worst := max(bound, float64(total)/m+float64(heaviest)); float64(slices.Max(has)) > worst {
			t.Fatalf("%v, which is above %v", has, worst)
		}
	})
	f := newFleet(strategy.Sticky(), 20, strategytest.Lognormal(1000, 1))
	for _, bound := range []int{1050, 1150, 1250, 2000} {
		has := loads(f.in, answer(t, strategy.ConsistentHash(strategy.MaxLoad(bound)), f.in))
		total := int64(0)
		for _, l := range has {
			total += l
		}
		if peak := int(slices.Max(has) * 20 * 1000 / total); peak > bound+1 {
			t.Errorf("a peak of %d with a bound of %d", peak, bound)
		}
	}
}

// Counts differ by at most one, in order of IDs.
func TestRoundRobin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawPlain(t, false)
		for i, j := range answer(t, strategy.RoundRobin(), in) {
			if j != i%len(in.Workers) {
				t.Fatalf("%d is on %d of %d", i, j, len(in.Workers))
			}
		}
		in = drawInput(t)
		for j := range in.Workers {
			in.Workers[j].NoNew, in.Workers[j].Capacity = false, 0
		}
		in.Pins = nil
		count := make([]int, len(in.Workers))
		for _, j := range answer(t, strategy.RoundRobin(), in) {
			count[j]++
		}
		if slices.Max(count)-slices.Min(count) > 1 {
			t.Fatalf("%v", count)
		}
	})
}

func TestOptionsOfTheRing(t *testing.T) {
	in := newFleet(strategy.Sticky(), 7, uniform(500)).in
	few := loads(in, answer(t, strategy.ConsistentHash(strategy.VirtualNodes(1), strategy.MaxLoad(0)), in))
	many := loads(in, answer(t, strategy.ConsistentHash(strategy.VirtualNodes(1000), strategy.MaxLoad(0)), in))
	if slices.Max(few) < slices.Max(many)*5/4 {
		t.Errorf("with 1 node %v, with 1000 %v", few, many)
	}
	for _, opt := range []strategy.RingOption{
		strategy.VirtualNodes(0), strategy.VirtualNodes(10_001), strategy.MaxLoad(1000), strategy.MaxLoad(-1), strategy.MaxLoad(1_000_001),
	} {
		_, err := strategy.ConsistentHash(opt).Assign(in)
		if _, ok := errors.AsType[*strategy.OptionError](err); !ok {
			t.Errorf("got %v, want an OptionError", err)
		}
	}
	if _, err := strategy.ConsistentHash(nil).Assign(in); err != nil {
		t.Errorf("with an option that is nil: %v", err)
	}
	in.Current[0] = 99
	for name, s := range memoryless() {
		_, err := s.Assign(in)
		if _, ok := errors.AsType[*plan.InvalidError](err); !ok {
			t.Errorf("%s: got %v, want an InvalidError", name, err)
		}
	}
}
