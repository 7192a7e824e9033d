// Package strategytest tests an assignment strategy, one's own or one of package
// strategy, as the leader will use it.
//
// [Test] runs the whole suite. [Check] looks at one answer. [Measure] has a fleet
// grow and shrink, and compares what moves, and how even it is, with what any
// strategy would have to move.
package strategytest

import (
	"fmt"
	"testing"

	"github.com/parti-go/parti/plan"
)

// A Strategy chooses an owner for every partition; it is what parti calls an
// AssignmentStrategy.
type Strategy interface {
	Assign(in plan.Input) ([]int, error)
}

// seeds is how many drawn inputs each property is tried on.
const seeds = 300

// Test checks that s is fit for use, in subtests whose names are:
//
//   - Proper: its answers break no rule of [Check], on inputs with all there can be in
//     them (weights, shares, capacities, cordons, pins, homes), and at the limits of
//     what is valid; and it does not change its input;
//   - Deterministic: the same question has the same answer, whatever was asked in
//     between;
//   - OrderIndependent: lists in another order are refused, or answered alike;
//   - Settles: it leaves its own answer as it is, after three plans at the most;
//   - NoMoves, Budget: it keeps within the budget where nothing forces it to move;
//   - Measure, which does not fail: it logs movement and balance against their bounds.
//
// Inputs are drawn from fixed seeds, so that a failure comes again; the message names
// the seed.
func Test(t *testing.T, s Strategy) {
	t.Helper()
	for _, p := range properties {
		t.Run(p.name, func(t *testing.T) {
			for name, in := range edges() {
				if err := try(p, s, in); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			for seed := range uint64(seeds) {
				if err := try(p, s, draw(seed)); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		})
	}
	t.Run("Measure", func(t *testing.T) {
		for _, f := range []Fleet{
			{Partitions: 1000, Workers: 20, Scenario: Join},
			{Partitions: 1000, Workers: 20, Scenario: Leave},
			{Partitions: 1000, Workers: 20, Events: 50},
			{Partitions: 1000, Workers: 20, Events: 50, Weights: Lognormal},
		} {
			r, err := Measure(s, f)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v: %v", f, r)
		}
	})
}

// try turns a panic into an error.
func try(p property, s Strategy, in plan.Input) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panicked: %v", r)
		}
	}()
	return p.holds(s, in)
}
