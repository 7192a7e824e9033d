package strategy_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// input makes an Input of partitions a, b, c… with these weights and workers
// u, v, w… as given.
func input(weights []int64, current []int, workers ...plan.Worker) plan.Input {
	in := plan.Input{Current: current, Workers: workers, Cause: plan.Members}
	for i, w := range weights {
		in.Partitions = append(in.Partitions, plan.Partition{ID: string(rune('a' + i)), Weight: w})
	}
	for j := range in.Workers {
		in.Workers[j].ID = string(rune('u' + j))
	}
	return in
}

func none(n int) []int { return slices.Repeat([]int{-1}, n) }

func assign(t *testing.T, in plan.Input, opts ...strategy.Option) []int {
	t.Helper()
	to, err := strategy.Sticky(opts...).Assign(in)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestWhatItDoes(t *testing.T) {
	var one plan.Worker
	for _, c := range []struct {
		name string
		in   plan.Input
		with func(*plan.Input)
		want []int
	}{
		{name: "the first plan goes round", in: input([]int64{1, 1, 1, 1}, none(4), one, one), want: []int{0, 1, 0, 1}},
		{name: "what is even stays", in: input([]int64{1, 1, 1, 1}, []int{1, 1, 0, 0}, one, one), want: []int{1, 1, 0, 0}},
		{name: "one more is not uneven", in: input([]int64{1, 1, 1}, []int{1, 1, 0}, one, one), want: []int{1, 1, 0}},
		{name: "a new worker gets its part", in: input([]int64{1, 1, 1, 1}, []int{0, 0, 1, 1}, one, one, one), want: []int{0, 0, 2, 1}},
		{name: "only what is lost moves", in: input([]int64{1, 1, 1, 1}, []int{0, -1, 1, -1}, one, one), want: []int{0, 0, 1, 1}},
		{name: "heaviest first", in: input([]int64{7, 5, 4, 3, 1}, none(5), one, one), want: []int{0, 1, 1, 0, 1}},
		{name: "where that is not even, partitions are swapped", in: input([]int64{3, 3, 2, 2, 2}, none(5), one, one), want: []int{1, 1, 0, 0, 0}},
		{name: "shares count", in: input(uniform(6), none(6), plan.Worker{Share: 2}, one), want: []int{0, 0, 1, 0, 0, 1}},
		{name: "shares of different scale", in: input(uniform(6), none(6), plan.Worker{Share: 20}, plan.Worker{Share: 10}), want: []int{0, 0, 1, 0, 0, 1}},
		{name: "a cordoned worker keeps and gets nothing", in: input(uniform(5), []int{0, -1, -1, -1, -1}, plan.Worker{NoNew: true}, one), want: []int{0, 1, 1, 1, 1}},
		{name: "a cordoned worker is not emptied", in: input(uniform(5), []int{0, 0, 0, 0, 1}, plan.Worker{NoNew: true}, one), want: []int{0, 0, 0, 0, 1}},
		{name: "nobody may take it", in: input(uniform(2), []int{0, -1}, plan.Worker{NoNew: true}), want: []int{0, -1}},
		{
			name: "a pin moves", in: input(uniform(4), []int{0, 0, 1, 1}, one, one),
			with: func(in *plan.Input) { in.Pins = []int{1, -1, -1, -1} }, want: []int{1, 0, 0, 1},
		},
		{
			name: "a pin goes before a cordon", in: input(uniform(2), []int{0, 0}, one, plan.Worker{NoNew: true}),
			with: func(in *plan.Input) { in.Pins = []int{1, -1} }, want: []int{1, 0},
		},
		{
			name: "pinned partitions do not make room for balance", in: input(uniform(4), []int{0, 0, 0, 0}, one, one),
			with: func(in *plan.Input) { in.Pins = []int{0, 0, 0, -1} }, want: []int{0, 0, 0, 1},
		},
		{
			name: "a pin evicts where room is scarce", in: input([]int64{4, 4, 4}, []int{0, 1, -1}, plan.Worker{Capacity: 8}, plan.Worker{Capacity: 4}),
			with: func(in *plan.Input) { in.Pins = []int{-1, -1, 1} }, want: []int{0, 0, 1},
		},
		{name: "capacity holds", in: input([]int64{5, 5, 5}, none(3), plan.Worker{Capacity: 5}, one), want: []int{0, 1, 1}},
		{
			name: "a capacity that was cut", in: input([]int64{5, 3, 1}, []int{0, 0, 0}, plan.Worker{Capacity: 6}, one),
			with: func(in *plan.Input) { in.Budget = plan.NoMoves() }, want: []int{0, 1, 0},
		},
		{name: "the fewest stay out", in: input([]int64{1, 6, 1, 5, 1}, none(5), plan.Worker{Capacity: 9}), want: []int{0, 0, 0, -1, 0}},
		{name: "who has an owner keeps it", in: input([]int64{1, 1, 1}, []int{-1, 0, 0}, plan.Worker{Capacity: 2}), want: []int{-1, 0, 0}},
		{
			name: "what is lost goes home", in: input([]int64{1, 1, 1, 1}, []int{0, -1, 1, -1}, one, one),
			with: func(in *plan.Input) { in.Home = []string{"u", "v", "v", "u"} }, want: []int{0, 1, 1, 0},
		},
		{
			name: "a worker that is back takes its own", in: input(uniform(4), []int{0, 0, 0, 0}, one, one),
			with: func(in *plan.Input) { in.Home = []string{"", "v", "", "v"} }, want: []int{0, 1, 0, 1},
		},
		{
			name: "no budget, no move", in: input([]int64{1, 1, 1, 1}, []int{0, 0, 0, -1}, one, one),
			with: func(in *plan.Input) { in.Budget = plan.NoMoves() }, want: []int{0, 0, 0, 1},
		},
		{
			name: "a budget in moves", in: input(uniform(8), make([]int, 8), one, one),
			with: func(in *plan.Input) { in.Budget.Moves = 2 }, want: []int{1, 1, 0, 0, 0, 0, 0, 0},
		},
		{
			name: "a budget in weight", in: input(slices.Repeat([]int64{10}, 8), make([]int, 8), one, one),
			with: func(in *plan.Input) { in.Budget.Weight = 29 }, want: []int{1, 1, 0, 0, 0, 0, 0, 0},
		},
		{name: "no partitions", in: input(nil, nil, one), want: []int{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.with != nil {
				c.with(&c.in)
			}
			if got := assign(t, c.in); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// The options are tested where they make the difference.
func TestOptions(t *testing.T) {
	weights := slices.Repeat([]int64{3, 2, 1}, 100) // 600 in all, 300 each
	uneven := func(cause plan.Cause, by int64) plan.Input {
		in := input(weights, none(len(weights)), plan.Worker{}, plan.Worker{})
		for i := range in.Partitions {
			in.Partitions[i].ID = string([]rune{rune('a' + i/26), rune('a' + i%26)})
		}
		in.Cause = cause
		sum := int64(0)
		for i, w := range weights {
			in.Current[i] = 1
			if sum+w <= 300+by {
				in.Current[i] = 0
				sum += w
			}
		}
		return in
	}
	moves := func(in plan.Input, opts ...strategy.Option) int {
		return strategy.Sticky(opts...).Explain(in, assign(t, in, opts...)).Moved
	}
	for _, c := range []struct {
		name  string
		in    plan.Input
		opts  []strategy.Option
		moves bool
	}{
		{"4 % is within 5", uneven(plan.Members, 12), nil, false},
		{"4 % is beyond 3", uneven(plan.Members, 12), []strategy.Option{strategy.Tolerance(30)}, true},
		{"8 % is beyond 5", uneven(plan.Members, 24), nil, true},
		{"8 % is within 10", uneven(plan.Members, 24), []strategy.Option{strategy.Tolerance(100)}, false},
		{"8 % by load alone is within 10", uneven(plan.Loads, 24), nil, false},
		{"8 % by load alone is beyond 7", uneven(plan.Loads, 24), []strategy.Option{strategy.LoadBand(70)}, true},
		{"12 % by load alone is beyond 10", uneven(plan.Loads, 36), nil, true},
		{"12 % by load alone is within 15", uneven(plan.Loads, 36), []strategy.Option{strategy.LoadBand(150)}, false},
	} {
		if got := moves(c.in, c.opts...); got > 0 != c.moves {
			t.Errorf("%s: %d moves", c.name, got)
		}
	}
	for _, opt := range []strategy.Option{
		strategy.Tolerance(0), strategy.Tolerance(501), strategy.LoadBand(49), strategy.LoadBand(1001), strategy.LoadBand(-1),
	} {
		_, err := strategy.Sticky(opt).Assign(uneven(plan.Members, 0))
		if _, ok := errors.AsType[*strategy.OptionError](err); !ok {
			t.Errorf("got %v, want an OptionError", err)
		}
	}
	if _, err := strategy.Sticky(nil).Assign(uneven(plan.Members, 0)); err != nil {
		t.Errorf("with an option that is nil: %v", err)
	}
}

func TestInputThatIsNotValid(t *testing.T) {
	in := input(uniform(2), []int{0, 5}, plan.Worker{})
	_, err := strategy.Sticky().Assign(in)
	var invalid *plan.InvalidError
	if !errors.As(err, &invalid) || invalid.Rule != plan.RuleReference {
		t.Errorf("got %v", err)
	}
	if e := strategy.Sticky().Explain(in, []int{0, 0}); !reflect.DeepEqual(e, plan.Explanation{}) {
		t.Errorf("got %+v", e)
	}
}

func TestExplain(t *testing.T) {
	in := input([]int64{10, 10, 10, 10, 10, 10}, []int{0, 0, 0, 1, -1, 2}, plan.Worker{}, plan.Worker{}, plan.Worker{})
	in.Pins = []int{-1, -1, -1, -1, -1, 1}
	got := strategy.Sticky().Explain(in, []int{0, 0, 2, 1, 2, 1})
	got.Transfers = nil // see TestReasons
	want := plan.Explanation{
		Moved: 2, MovedWeight: 20, Forced: 1, ForcedWeight: 10, Placed: 1, PlacedWeight: 10,
		BoundMoves: 3, BoundWeight: 30, PeakBefore: 1500, PeakAfter: 1000, BoundPeak: 1000,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
