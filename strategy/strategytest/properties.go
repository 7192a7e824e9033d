package strategytest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/parti-go/parti/plan"
)

// A property is something that every strategy must have. It returns what is wrong
// for one valid Input.
type property struct {
	name  string
	holds func(s Strategy, in plan.Input) error
}

// properties are what [Test] looks at, in this order.
var properties = []property{
	{"Proper", proper},
	{"Deterministic", deterministic},
	{"OrderIndependent", orderIndependent},
	{"Settles", settles},
	{"NoMoves", noMoves},
	{"Budget", budget},
}

// proper: the answer breaks no rule of Check, and the question is as it was.
func proper(s Strategy, in plan.Input) error {
	was := clone(in)
	to, err := s.Assign(in)
	if err != nil {
		return fmt.Errorf("it failed for a valid input: %w", err)
	}
	if !reflect.DeepEqual(in, was) {
		return errors.New("it has changed the input")
	}
	return Check(in, to)
}

// deterministic: the same question has the same answer, whatever was asked in between,
// and in whatever piece of memory it stands.
func deterministic(s Strategy, in plan.Input) error {
	first, err := s.Assign(in)
	if err != nil {
		return err
	}
	first = slices.Clone(first)
	if _, err := s.Assign(draw(uint64(len(in.Partitions)))); err != nil {
		return err
	}
	again, err := s.Assign(clone(in))
	if err != nil {
		return err
	}
	return same(in, first, again, "asked again")
}

// orderIndependent: where lists come in another order than by ID, which no leader
// does but tools and tests may, the strategy refuses them, or gives every
// partition to the same worker as otherwise.
func orderIndependent(s Strategy, in plan.Input) error {
	want, err := s.Assign(in)
	if err != nil {
		return err
	}
	want = slices.Clone(want)
	got, err := s.Assign(backwards(in))
	if err != nil {
		return nil //nolint:nilerr // it refuses, as it may
	}
	if len(got) != len(want) {
		return fmt.Errorf("there are %d answers for %d partitions", len(got), len(want))
	}
	slices.Reverse(got)
	for i, j := range got {
		if j >= 0 {
			got[i] = len(in.Workers) - 1 - j
		}
	}
	return same(in, want, got, "asked with reversed lists")
}

// settlesAfter is how many plans a strategy may need to be content with its own answer.
const settlesAfter = 3

// settles: a strategy leaves its own answer as it is. One that does not would move
// partitions for ever.
func settles(s Strategy, in plan.Input) error {
	for range settlesAfter + 1 {
		to, err := s.Assign(in)
		if err != nil {
			return err
		}
		if slices.Equal(to, in.Current) {
			return nil
		}
		in.Current = slices.Clone(to)
	}
	return fmt.Errorf("it still moves partitions after %d plans", settlesAfter)
}

// noMoves: with a budget of nothing, whatever has an owner keeps it, unless a pin or
// a capacity demands otherwise.
func noMoves(s Strategy, in plan.Input) error {
	in.Pins, in.Workers = nil, slices.Clone(in.Workers)
	for j := range in.Workers {
		in.Workers[j].Capacity = 0
	}
	in.Budget = plan.NoMoves()
	to, err := s.Assign(in)
	if err != nil {
		return err
	}
	for i, j := range in.Current {
		if j >= 0 && to[i] != j {
			return fmt.Errorf("%s moved, with a budget of nothing", in.Partitions[i].ID)
		}
	}
	return nil
}

// budget: no more moves than the budget allows, where none is forced.
func budget(s Strategy, in plan.Input) error {
	in.Pins, in.Workers = nil, slices.Clone(in.Workers)
	for j := range in.Workers {
		in.Workers[j].Capacity = 0
	}
	for i := range in.Partitions {
		in.Budget.Weight += in.Partitions[i].Load() / 10
	}
	in.Budget.Weight = max(in.Budget.Weight, 1)
	in.Budget.Moves = 1 + len(in.Partitions)/10
	to, err := s.Assign(in)
	if err != nil {
		return err
	}
	moves, weight := 0, int64(0)
	for i, j := range in.Current {
		if j >= 0 && to[i] != j {
			moves++
			weight += in.Partitions[i].Load()
		}
	}
	if moves > in.Budget.Moves || weight > in.Budget.Weight {
		return fmt.Errorf("%d moves of weight %d, with a budget of %d of %d", moves, weight, in.Budget.Moves, in.Budget.Weight)
	}
	return nil
}

// same compares two answers to one question.
func same(in plan.Input, want, got []int, when string) error {
	if slices.Equal(want, got) {
		return nil
	}
	name := func(j int) string {
		if j < 0 || j >= len(in.Workers) {
			return "nobody"
		}
		return in.Workers[j].ID
	}
	var differ []string
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] && len(differ) < maxReported {
			differ = append(differ, fmt.Sprintf("%s: %s, not %s", in.Partitions[i].ID, name(got[i]), name(want[i])))
		}
	}
	return fmt.Errorf("%s, it gives another answer: %s", when, strings.Join(differ, "; "))
}

// backwards is in with all its lists in reverse order.
func backwards(in plan.Input) plan.Input {
	in = clone(in)
	slices.Reverse(in.Partitions)
	slices.Reverse(in.Workers)
	slices.Reverse(in.Current)
	slices.Reverse(in.Pins)
	slices.Reverse(in.Home)
	for _, list := range [...][]int{in.Current, in.Pins} {
		for i, j := range list {
			if j >= 0 {
				list[i] = len(in.Workers) - 1 - j
			}
		}
	}
	return in
}

func clone(in plan.Input) plan.Input {
	in.Partitions, in.Workers = slices.Clone(in.Partitions), slices.Clone(in.Workers)
	in.Current, in.Pins, in.Home = slices.Clone(in.Current), slices.Clone(in.Pins), slices.Clone(in.Home)
	for i := range in.Partitions {
		in.Partitions[i].Labels = maps.Clone(in.Partitions[i].Labels)
	}
	return in
}
