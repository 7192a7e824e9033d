package strategy_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
	"github.com/parti-go/parti/strategy/strategytest"
)

// zoned makes workers of these zones, one letter for each worker, and gives each
// partition a label, one letter each, a blank for none.
func zoned(weights []int64, current []int, zones, sets string) plan.Input {
	in := input(weights, current, make([]plan.Worker, len(zones))...)
	for j := range in.Workers {
		in.Workers[j].Zone = zones[j : j+1]
	}
	for i := range in.Partitions {
		if sets[i] != ' ' {
			in.Partitions[i].Labels = map[string]string{"set": sets[i : i+1]}
		}
	}
	return in
}

func TestZones(t *testing.T) {
	prefer, require := strategy.PreferSpread("set"), strategy.RequireSpread("set")
	for _, c := range []struct {
		name            string
		in              plan.Input
		with            func(*plan.Input)
		prefer, require []int
	}{
		{
			"copies go to different zones", zoned(uniform(4), none(4), "xxyy", "aabb"), nil,
			[]int{0, 2, 1, 3},
			[]int{0, 2, 1, 3},
		},
		{
			"others go anywhere", zoned(uniform(4), none(4), "xxyy", "    "), nil,
			[]int{0, 1, 2, 3},
			[]int{0, 1, 2, 3},
		},
		{
			"more copies than zones", zoned(uniform(4), none(4), "xxy", "aaaa"), nil,
			[]int{2, 1, 2, 0},
			[]int{0, 1, 2, 2},
		},
		{
			"what is together changes places", zoned(uniform(4), []int{0, 0, 1, 1}, "xy", "aabb"), nil,
			[]int{1, 0, 1, 0},
			[]int{1, 0, 0, 1},
		},
		{
			"without a budget only a rule moves", zoned(uniform(4), []int{0, 0, 1, 1}, "xy", "aabb"),
			func(in *plan.Input) { in.Budget = plan.NoMoves() },
			[]int{0, 0, 1, 1},
			[]int{1, 0, 0, 1},
		},
		{
			"balance goes before a preference, not before a rule", zoned([]int64{9, 9, 9, 9}, none(4), "xyyy", "aaaa"), nil,
			[]int{0, 1, 2, 3},
			[]int{0, 1, 2, 0},
		},
		{
			"a rule leaves out", zoned([]int64{1, 1}, none(2), "xy", "aa"),
			func(in *plan.Input) {
				in.Workers[0].Capacity = 9
				in.Partitions[1].Weight, in.Partitions[0].Weight = 10, 10
			},
			[]int{1, 1},
			[]int{1, -1},
		},
		{
			"a zone that takes nothing does not count", zoned(uniform(4), []int{-1, -1, -1, -1}, "xyz", "aaaa"),
			func(in *plan.Input) { in.Workers[2].NoNew = true },
			[]int{0, 1, 0, 1},
			[]int{0, 1, 0, 1},
		},
		{
			"what is pinned or on a cordoned worker stays", zoned(uniform(4), []int{0, 0, 1, 1}, "xxy", "aaaa"),
			func(in *plan.Input) { in.Workers[1].NoNew = true; in.Pins = []int{0, 0, -1, -1} },
			[]int{0, 0, 1, 1},
			[]int{0, 0, 1, 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.with != nil {
				c.with(&c.in)
			}
			if got := assign(t, c.in, prefer); !slices.Equal(got, c.prefer) {
				t.Errorf("preferred: got %v, want %v", got, c.prefer)
			}
			if got := assign(t, c.in, require); !slices.Equal(got, c.require) {
				t.Errorf("required: got %v, want %v", got, c.require)
			}
		})
	}
}

// drawZoned draws an Input with zones, and partitions in groups.
func drawZoned(t *rapid.T) plan.Input {
	in := drawInput(t)
	zones, sets := rapid.IntRange(1, 4).Draw(t, "zones"), rapid.IntRange(1, 12).Draw(t, "sets")
	for j := range in.Workers {
		in.Workers[j].Zone = fmt.Sprint(rapid.IntRange(0, zones-1).Draw(t, "zone"))
	}
	for i := range in.Partitions {
		if set := rapid.IntRange(0, sets).Draw(t, "set"); set > 0 {
			in.Partitions[i].Labels = map[string]string{"set": fmt.Sprint(set), "other": "x"}
		}
	}
	return in
}

// A spreading counts how many of each group are in each zone, and the most there may be.
type spreading struct {
	has    map[[2]string]int // group, zone
	limits map[string]int
}

func spreadingOf(in plan.Input, to []int) spreading {
	s := spreading{map[[2]string]int{}, map[string]int{}}
	takes := map[string]bool{}
	for _, w := range in.Workers {
		if !w.NoNew {
			takes[w.Zone] = true
		}
	}
	for i, p := range in.Partitions {
		if set := p.Labels["set"]; set != "" {
			s.limits[set]++
			if to[i] >= 0 {
				s.has[[2]string{set, in.Workers[to[i]].Zone}]++
			}
		}
	}
	for set, k := range s.limits {
		s.limits[set] = (k + len(takes) - 1) / max(len(takes), 1)
	}
	return s
}

// surplus is how many are too many in their zone.
func (s spreading) surplus() (n int) {
	for at, k := range s.has {
		n += max(0, k-s.limits[at[0]])
	}
	return n
}

// The rule holds: what is too many in a zone is pinned or on a cordoned worker, and
// what is left out has no room in any zone that may have it. Pins, capacities and
// cordons hold too.
func TestZoneRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawZoned(t)
		in.Budget = drawBudget(t)
		to, err := strategy.Sticky(strategy.RequireSpread("set")).Assign(in)
		if err != nil {
			t.Fatal(err)
		}
		s, has := spreadingOf(in, to), loads(in, to)
		takers := slices.ContainsFunc(in.Workers, func(w plan.Worker) bool { return !w.NoNew })
		for i, at := range to {
			p, pinned := in.Partitions[i], in.Pins != nil && in.Pins[i] >= 0
			set := p.Labels["set"]
			if at >= 0 {
				if set != "" && takers && s.has[[2]string{set, in.Workers[at].Zone}] > s.limits[set] && !pinned && !in.Workers[at].NoNew {
					t.Fatalf("%s is one too many of %s in its zone: %v", p.ID, set, to)
				}
				if pinned && at != in.Pins[i] || in.Workers[at].NoNew && in.Current[i] != at && !pinned {
					t.Fatalf("%s is where it may not be", p.ID)
				}
				continue
			}
			for j, w := range in.Workers {
				if !pinned && !w.NoNew && (w.Capacity == 0 || w.Capacity-has[j] >= p.Load()) &&
					(set == "" || s.has[[2]string{set, w.Zone}] < s.limits[set]) {
					t.Fatalf("%s is left out, but %s may have it: %v", p.ID, w.ID, to)
				}
			}
		}
		for j, w := range in.Workers {
			if w.Capacity > 0 && has[j] > w.Capacity {
				t.Fatalf("%d on %s, which has room for %d", has[j], w.ID, w.Capacity)
			}
		}
		in.Budget = plan.Budget{}
		settlesIn(t, in, 1, strategy.RequireSpread("set"))
	})
}

// settlesIn checks that a strategy leaves its own answer as it is, after so many plans.
func settlesIn(t *rapid.T, in plan.Input, plans int, opts ...strategy.Option) {
	s := strategy.Sticky(opts...)
	for range plans + 1 {
		to, err := s.Assign(in)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(to, in.Current) {
			return
		}
		in.Current = to
	}
	t.Fatalf("it still moves, to %v", in.Current)
}

// A preference breaks none of the promises: nothing is left out for it, the budget
// holds, and no worker ends above its fair share and the tolerance and the heaviest.
func TestZonePreference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawZoned(t)
		in.Budget = drawBudget(t)
		s := strategy.Sticky(strategy.PreferSpread("set"))
		to, err := s.Assign(in)
		if err != nil {
			t.Fatal(err)
		}
		has := loads(in, to)
		for i, at := range to {
			if at >= 0 || in.Pins != nil && in.Pins[i] >= 0 {
				continue
			}
			for j, w := range in.Workers {
				if !w.NoNew && (w.Capacity == 0 || w.Capacity-has[j] >= in.Partitions[i].Load()) {
					t.Fatalf("%s is left out, but %s has room: %v", in.Partitions[i].ID, w.ID, to)
				}
			}
		}
		e := s.Explain(in, to)
		moves, weight := e.Moved-e.Forced, e.MovedWeight-e.ForcedWeight
		if none := in.Budget.Moves < 0 || in.Budget.Weight < 0; none && moves > 0 ||
			in.Budget.Moves > 0 && moves > in.Budget.Moves || in.Budget.Weight > 0 && weight > in.Budget.Weight {
			t.Fatalf("%d moves of weight %d", moves, weight)
		}
		in.Budget = plan.Budget{}
		settlesIn(t, in, 4, strategy.PreferSpread("set"))
	})
}

// Where a rule keeps half of the load in a small zone, the workers of the large one have less
// than their share. Whoever joins there has its part of what that zone has all the same.
func TestZoneRuleAndANewcomer(t *testing.T) {
	const sets = 40
	var in plan.Input
	for j, zone := range []string{"x", "x", "y", "y", "y", "y", "y"} {
		in.Workers = append(in.Workers, plan.Worker{ID: fmt.Sprintf("w%d", j), Zone: zone})
	}
	for i := range sets {
		for k, at := range []int{i % 2, 2 + i%4} {
			in.Partitions = append(in.Partitions, plan.Partition{
				ID: fmt.Sprintf("p%02d-%d", i, k), Labels: map[string]string{"set": fmt.Sprint(i)},
			})
			in.Current = append(in.Current, at)
		}
	}
	s := strategy.Sticky(strategy.RequireSpread("set"))
	to, err := s.Assign(in)
	if err != nil {
		t.Fatal(err)
	}
	if has := loads(in, to); !slices.Equal(has, []int64{20, 20, 8, 8, 8, 8, 8}) {
		t.Errorf("loads %v", has)
	}
	if e := s.Explain(in, to); e.Moved != sets/5 {
		t.Errorf("%d move", e.Moved)
	}
	if n := spreadingOf(in, to).surplus(); n > 0 {
		t.Errorf("%d are too many in their zone", n)
	}
	in.Current = to
	if again, err := s.Assign(in); err != nil || !slices.Equal(again, to) {
		t.Errorf("it moves more, to %v, %v", again, err)
	}
}

// With room to choose, a preference is met; and it stays so while workers come and go.
func TestZonesOfAFleet(t *testing.T) {
	for _, weights := range [][]int64{uniform(300), strategytest.Lognormal(300, 1)} {
		s := strategy.Sticky(strategy.PreferSpread("set"))
		f := newFleet(s, 12, weights)
		for i := range f.in.Partitions {
			f.in.Partitions[i].Labels = map[string]string{"set": fmt.Sprint(i / 3)}
		}
		place := func() {
			for j := range f.in.Workers {
				f.in.Workers[j].Zone = fmt.Sprint(j % 3)
			}
		}
		place()
		f.assign(t)
		if n := spreadingOf(f.in, f.in.Current).surplus(); n > 0 {
			t.Errorf("%d of 300 share a zone", n)
		}
		for k := range 6 {
			f.leave(k)
			f.join()
			place() // all but one of those after it change their zones, too
			e := f.assign(t)
			if n := spreadingOf(f.in, f.in.Current).surplus(); n > 3 {
				t.Errorf("%d of 300 share a zone", n)
			}
			if e.PeakAfter > 1085 {
				t.Errorf("the peak is %d", e.PeakAfter)
			}
		}
	}
}

// Left and the reasons of transfers.
func TestReasons(t *testing.T) {
	in := zoned([]int64{2, 2, 2, 50, 2, 2, 2}, []int{0, 0, -1, -1, 1, -1, -1}, "xy", "aa  b  ")
	in.Workers[0].Capacity, in.Workers[1].Capacity = 4, 8
	in.Home = []string{"", "", "v", "", "", "gone", ""}
	in.Pins = []int{-1, -1, -1, -1, 0, -1, -1}
	s := strategy.Sticky(strategy.RequireSpread("set"))
	to := []int{1, 0, 1, -1, 0, 1, 1}
	e := s.Explain(in, to)
	var whys []string
	for _, x := range e.Transfers {
		whys = append(whys, x.Partition+" "+x.From+">"+x.To+" "+x.Why.String())
	}
	want := []string{"a u>v zone", "c >v return", "e v>u pin", "f >v lost", "g >v partitions"}
	if !slices.Equal(whys, want) {
		t.Errorf("got %q, want %q", whys, want)
	}
	if x := e.Transfers[0]; x.Weight != 2 || x.FromBefore != 4*1000/31 {
		t.Errorf("got %+v", x)
	}
	for _, c := range []struct {
		name string
		with func(*plan.Input, []int)
		want string
	}{
		{"it is heavier than any capacity", nil, "d too-heavy"},
		{"all is full", func(in *plan.Input, _ []int) { in.Partitions[3].Weight = 7 }, "d no-room"},
		{"there was room", func(in *plan.Input, _ []int) { in.Workers[1].Capacity = 100 }, "d unasked"},
		{"its pin is full", func(in *plan.Input, to []int) { in.Pins[6], to[6], to[3] = 0, -1, 1 }, "g pin-full"},
		{"nobody takes anything", func(in *plan.Input, _ []int) { in.Workers[0].NoNew, in.Workers[1].NoNew = true, true }, "d no-taker"},
		{"the rule", func(in *plan.Input, to []int) {
			in.Partitions[3].Weight = 1
			in.Workers[1].Capacity = 9
			in.Workers[0].Capacity = 4
			in.Partitions[3].Labels = map[string]string{"set": "a"}
			in.Partitions[2].Labels = map[string]string{"set": "a"}
		}, "d zone-rule"},
	} {
		in, to := in, slices.Clone(to)
		in.Partitions, in.Workers, in.Pins = slices.Clone(in.Partitions), slices.Clone(in.Workers), slices.Clone(in.Pins)
		if c.with != nil {
			c.with(&in, to)
		}
		left := s.Left(in, to)
		if len(left) != 1 || left[0].Partition+" "+string(left[0].Obstacle) != c.want {
			t.Errorf("%s: %+v", c.name, left)
		}
		if e := s.Explain(in, to); !slices.Equal(e.Left, left) {
			t.Errorf("%s: %+v", c.name, e.Left)
		}
	}
}
