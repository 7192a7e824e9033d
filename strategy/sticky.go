// Package strategy chooses owners for partitions: deterministically, evenly, and
// moving little.
//
// A strategy is a pure function of a [plan.Input]. It sees today's owners and
// leaves alone what is good enough. The default is [Sticky].
package strategy

import (
	"fmt"
	"slices"

	"github.com/parti-go/parti/plan"
)

// The defaults of [Tolerance] and [LoadBand], in thousandths of the fair share.
const (
	DefaultTolerance = 50  // half of what a plain hash ring is off by at its best
	DefaultLoadBand  = 100 // weights are measured, and measurements waver
)

// Budgeted is the budgeted sticky assignment that [Sticky] returns. It is a
// value without state; any number of goroutines may use it at once. Its zero value
// refuses to assign: Sticky fills in the defaults.
type Budgeted struct {
	tolerance int64  // thousandths
	band      int64  // thousandths
	label     string // to spread over zones; empty: none
	strict    bool   // that is a rule
}

// An Option tunes [Sticky]. A nil Option is ignored.
type Option func(*Budgeted)

// Tolerance sets how far above its fair share a worker may be before partitions
// move for balance, in thousandths. Load below the fair share harms nobody as load
// above does, so below it is wider: a worker is left alone down to twice the
// tolerance, and one with less, such as a new one, is filled up to the tolerance.
// Default: [DefaultTolerance]. Range: 1 to 500.
func Tolerance(thousandths int) Option {
	return func(b *Budgeted) { b.tolerance = int64(thousandths) }
}

// LoadBand sets how far above its fair share a worker may be while only weights
// have changed ([plan.Loads]), in thousandths. A worker beyond it is brought back
// to the Tolerance. Default: [DefaultLoadBand], or the Tolerance where that is
// larger. Range: the Tolerance to 1000; 0 is the default.
func LoadBand(thousandths int) Option {
	return func(b *Budgeted) { b.band = int64(thousandths) }
}

// PreferSpread spreads partitions over the workers' zones: of those that share a value
// of the label, no zone is to have more than their number divided by that of the
// zones, rounded up. It decides between workers that are within the tolerance, and
// moves partitions, within the budget, as long as everybody stays there. A partition
// without the label is not spread; workers without a zone are in one of their own.
// Now and then it takes another plan or two to finish what the first has begun.
// Default: nothing is spread; nor is it while there is only one zone, or with an
// empty label.
func PreferSpread(label string) Option {
	return func(b *Budgeted) { b.label, b.strict = label, false }
}

// RequireSpread makes a rule of it: as PreferSpread, but whatever is too many in its
// zone has to move, whatever the budget and the balance, and stays without an owner
// where no worker of another zone has room. Only pins and cordons go before it. The
// zones that count are those with a worker that is not cordoned: when a zone is
// lost, the others take its partitions. Of PreferSpread and RequireSpread the last
// one counts.
func RequireSpread(label string) Option {
	return func(b *Budgeted) { b.label, b.strict = label, true }
}

// An OptionError is an option outside its range. Assign returns it.
type OptionError struct {
	Option   string // its name
	Value    int64
	Min, Max int64 // its range
}

// Error names option, value and range.
func (e *OptionError) Error() string {
	return fmt.Sprintf("strategy: %s(%d) is out of range: use %d to %d", e.Option, e.Value, e.Min, e.Max)
}

// Sticky returns the budgeted sticky assignment. It promises, in this order:
//
//   - Pins, capacities, cordons and the rule of RequireSpread hold. What has no room
//     stays out (-1), so that the fewest partitions, and among those the least
//     weight, are without an owner; whoever has an owner keeps it before one that
//     waits gets one.
//   - What has a living owner stays there, but for moves that a pin, a capacity or a
//     rule forces, and for moves for balance. The latter keep within the Budget,
//     never lift a worker above the former peak, and are none while every worker is
//     within the tolerance; only PreferSpread moves more.
//   - Equal weights: each worker's count ends at its fair share, rounded up or
//     down, with the fewest moves that can do it.
//   - Other weights: unless the Budget ends first, no worker ends above
//     fair share × (1 + Tolerance) + the heaviest partition. Mostly the peak is at
//     the tolerance or below, and what moves is close to the lower bounds that
//     Explain gives.
//
// It keeps what it can, places the rest largest first (the greedy rule for making
// spans even), each where it was before or on the coldest worker, and then repairs
// what is beyond the limits by moves, swaps and chains, each of which must be worth its
// weight. Where few partitions have most of the weight, those are placed by chains, too.
// A partition that has no owner is placed and placed again for free.
//
// The answer depends on nothing but the Input: there is no chance, clock or
// floating point in it, weights are compared in units of their greatest common
// divisor, and ties go to the smaller ID. Its own answer it leaves as it is.
func Sticky(opts ...Option) Budgeted {
	b := Budgeted{tolerance: DefaultTolerance}
	for _, set := range opts {
		if set != nil {
			set(&b)
		}
	}
	if b.band == 0 {
		b.band = max(DefaultLoadBand, b.tolerance)
	}
	return b
}

// Check returns an [*OptionError] if an option was out of range.
func (s Budgeted) Check() error {
	switch {
	case s.tolerance < 1 || s.tolerance > 500:
		return &OptionError{Option: "Tolerance", Value: s.tolerance, Min: 1, Max: 500}
	case s.band < s.tolerance || s.band > 1000:
		return &OptionError{Option: "LoadBand", Value: s.band, Min: s.tolerance, Max: 1000}
	}
	return nil
}

// Assign chooses for every partition the index of its worker, or -1 where none
// can take it. The error is an [*OptionError] or that of [plan.ValidInput].
func (s Budgeted) Assign(in plan.Input) ([]int, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := plan.ValidInput(in); err != nil {
		return nil, err
	}
	b := s.assign(in)
	for again := 0; b.coarse && again < mostAgain; again++ {
		in.Current, in.Budget = b.to, b.unspent()
		c := s.assign(in)
		if slices.Equal(c.to, b.to) {
			break
		}
		b = c
	}
	return b.to, nil
}

// mostAgain is how often Assign asks itself about its own answer where few partitions have
// most of the weight: chains that it saw no way to begin with may be there at the end.
const mostAgain = 3

func (s Budgeted) assign(in plan.Input) *board {
	b := newBoard(s, in)
	b.keep()
	b.setLimits()
	b.place()
	b.repair()
	for b.waiting() && b.squeeze() { // what moved may have made room
		b.repair()
	}
	b.scatter()
	return b
}
