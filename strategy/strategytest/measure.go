package strategytest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/parti-go/parti/plan"
)

// Scenario is what happens to a [Fleet] that is measured.
type Scenario uint8

// The scenarios.
const (
	Churn   Scenario = iota // workers join and leave by chance, one at a time
	Join                    // one worker joins
	Leave                   // one worker leaves
	Rolling                 // each worker in turn leaves, and comes back after a plan
	Loss                    // a tenth of the workers is lost at once: a plan without optional moves, then one with
	Double                  // as many workers again join at once
)

// String is the word for s.
func (s Scenario) String() string {
	return [...]string{"churn", "join", "leave", "rolling", "loss", "double"}[s]
}

// A Fleet is what [Measure] measures: workers that are all alike.
type Fleet struct {
	Partitions, Workers int
	Weights             Weights // nil: Uniform
	Scenario            Scenario
	Events              int         // of Churn; 0: 200
	Seed                uint64      // of weights and chance
	Budget              plan.Budget // of every plan, but for the first of Loss
}

// String says size and scenario in a few words.
func (f Fleet) String() string {
	return fmt.Sprintf("%d partitions, %d workers, %v", f.Partitions, f.Workers, f.Scenario)
}

// A Report is what a series of plans cost. Weights are in the unit of the
// partitions, peaks and ratios in thousandths.
type Report struct {
	Plans int
	// Moves and Weight are what had an owner that lives and has another now, or had
	// none and has one now; Bound… what any assignment within 5 % of even must place
	// or move, from where this one stood.
	Moves, BoundMoves   int
	Weight, BoundWeight int64
	// Optional and OptionalWeight are the part of it that had an owner.
	Optional       int
	OptionalWeight int64
	// Total is the weight of all partitions.
	Total int64
	// Peak is the heaviest worker of all plans over its fair share, PeakBound the
	// lowest that any assignment could have had in that plan, and PeakRatio the
	// worst of peak over bound in any plan. First is the peak of the first plan,
	// before anything happened; the others do not count it.
	Peak, PeakBound, PeakRatio, First int64
	// MostWeight and MostOptional are the most of Weight and of OptionalWeight in one plan.
	MostWeight, MostOptional int64
	// Unplaced counts partitions without an owner, over all plans.
	Unplaced int
}

// String is the report in one line.
func (r Report) String() string {
	return fmt.Sprintf("%d plans, moves %d ÷ %d = %.3f, weight ÷ bound %.3f, at most %.1f %% in one plan, worst peak %.3f (bound %.3f, worst ratio %.3f)",
		r.Plans, r.Moves, r.BoundMoves, over(int64(r.Moves), int64(r.BoundMoves)), over(r.Weight, r.BoundWeight),
		100*over(r.MostWeight, r.Total), float64(r.Peak)/1000, float64(r.PeakBound)/1000, float64(r.PeakRatio)/1000)
}

func over(a, b int64) float64 {
	if a == b {
		return 1
	}
	return float64(a) / float64(b)
}

// Measure has s plan for f, from nothing through all that its scenario has happen,
// and reports what that cost. An error is that of s, or that of [Check].
func Measure(s Strategy, f Fleet) (Report, error) {
	if f.Weights == nil {
		f.Weights = Uniform
	}
	if f.Events == 0 {
		f.Events = 200
	}
	m := &meter{s: s, rand: rand.New(rand.NewPCG(f.Seed, 4))}
	for i, w := range f.Weights(f.Partitions, f.Seed) {
		m.in.Partitions = append(m.in.Partitions, plan.Partition{ID: fmt.Sprintf("part.%07d", i), Weight: w})
		m.report.Total += m.in.Partitions[i].Load()
	}
	m.in.Current, m.in.Home = slices.Repeat([]int{-1}, f.Partitions), make([]string, f.Partitions)
	m.in.Cause, m.in.Budget = plan.Members, f.Budget
	for range f.Workers {
		m.join()
	}
	first := m.report
	if err := m.plan(); err != nil {
		return m.report, err
	}
	first.First = m.report.Peak
	m.report = first
	err := m.run(f)
	return m.report, err
}

// A meter is a fleet under way.
type meter struct {
	s      Strategy
	in     plan.Input
	names  int
	rand   *rand.Rand
	report Report
}

func (m *meter) run(f Fleet) error {
	switch f.Scenario {
	case Join:
		m.join()
	case Leave:
		m.leave(m.rand.IntN(f.Workers))
	case Double:
		for range f.Workers {
			m.join()
		}
	case Loss:
		for range max(f.Workers/10, 1) {
			m.leave(m.rand.IntN(len(m.in.Workers)))
		}
		m.in.Budget = plan.NoMoves()
		if err := m.plan(); err != nil {
			return err
		}
		m.in.Budget = f.Budget
	case Rolling:
		for j := range f.Workers {
			back := m.in.Workers[j]
			m.leave(j)
			if err := m.plan(); err != nil {
				return err
			}
			m.enter(j, back)
			if err := m.plan(); err != nil {
				return err
			}
		}
		return nil
	case Churn:
		return m.churn(f)
	}
	return m.plan()
}

func (m *meter) churn(f Fleet) error {
	for range f.Events {
		grow := m.rand.IntN(2) == 0
		switch n := len(m.in.Workers); {
		case n <= max(f.Workers*3/4, 1):
			grow = true
		case n >= f.Workers*5/4:
			grow = false
		}
		if grow {
			m.join()
		} else {
			m.leave(m.rand.IntN(len(m.in.Workers)))
		}
		if err := m.plan(); err != nil {
			return err
		}
	}
	return nil
}

// join adds a worker at the end of the list, under a new name.
func (m *meter) join() {
	m.enter(len(m.in.Workers), plan.Worker{ID: fmt.Sprintf("worker-%06d", m.names)})
	m.names++
}

// enter puts a worker at place j of the list.
func (m *meter) enter(j int, w plan.Worker) {
	m.in.Workers = slices.Insert(slices.Clone(m.in.Workers), j, w)
	for i, at := range m.in.Current {
		if at >= j {
			m.in.Current[i] = at + 1
		}
	}
}

// leave removes worker j.
func (m *meter) leave(j int) {
	m.in.Workers = slices.Delete(slices.Clone(m.in.Workers), j, j+1)
	for i, at := range m.in.Current {
		switch {
		case at == j:
			m.in.Current[i] = -1
		case at > j:
			m.in.Current[i] = at - 1
		}
	}
}

// plan asks for a plan, adds up what it costs, and puts it in force.
func (m *meter) plan() error {
	least := boundsOf(m.in)
	to, err := m.s.Assign(m.in)
	if err != nil {
		return err
	}
	if err := Check(m.in, to); err != nil {
		return err
	}
	r := &m.report
	has := make([]int64, len(m.in.Workers))
	var weight, optional, placed int64
	for i, j := range to {
		w, was := m.in.Partitions[i].Load(), m.in.Current[i]
		if j < 0 {
			r.Unplaced++
			continue
		}
		has[j] += w
		placed += w
		if j == was {
			continue
		}
		r.Moves++
		weight += w
		if was >= 0 {
			r.Optional++
			optional += w
		}
		m.in.Home[i] = m.in.Workers[j].ID
	}
	r.Plans++
	r.Weight += weight
	r.OptionalWeight += optional
	r.MostWeight, r.MostOptional = max(r.MostWeight, weight), max(r.MostOptional, optional)
	r.BoundMoves += least.moves
	r.BoundWeight += least.weight
	if placed > 0 {
		n := float64(len(has)) * 1000 / float64(placed)
		peak, bound := int64(float64(slices.Max(has))*n), int64(float64(least.peak)*n)
		if peak > r.Peak {
			r.Peak, r.PeakBound = peak, bound
		}
		r.PeakRatio = max(r.PeakRatio, 1000*peak/bound)
	}
	m.in.Current = slices.Clone(to)
	return nil
}
