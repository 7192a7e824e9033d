package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
	"github.com/parti-go/parti/strategy/strategytest"
)

// A bar is something that is demanded of Sticky.
type bar struct {
	what  string
	fleet strategytest.Fleet
	// budget bounds the optional weight of each plan, in thousandths of all; 0: no limit.
	budget int64
	says   func(r strategytest.Report) (figures string, holds bool)
}

// bars prints what is demanded and what is done, the worst of some seeds.
func bars(o options, tw *tabwriter.Writer) error {
	churn := func(partitions, workers int, w strategytest.Weights) strategytest.Fleet {
		return strategytest.Fleet{Partitions: partitions, Workers: workers, Weights: w}
	}
	tail := func(r strategytest.Report) (string, bool) {
		return fmt.Sprintf("peak ÷ LB %s; weight per event: mean %.1f %%, most %s, of which optional %s",
			milli(r.PeakRatio), 100*float64(r.Weight)/float64(r.Total)/float64(r.Plans), percent(r.MostWeight, r.Total), percent(r.MostOptional, r.Total)), r.PeakRatio <= 1050 && r.MostWeight*10 <= r.Total
	}
	fmt.Fprint(tw, "demanded\tfleet\tmeasured, one line for each seed\tholds\n")
	for _, b := range []bar{
		{"lognormal: moves ÷ LB ≤ 1.10, weight ÷ LB ≤ 1.05, peak ≤ max(1.05, 1.02·LB)", churn(1000, 20, strategytest.Lognormal), 0, func(r strategytest.Report) (string, bool) {
			return fmt.Sprintf("%s, %s, %s", ratio3(int64(r.Moves), int64(r.BoundMoves)), ratio3(r.Weight, r.BoundWeight), milli(r.Peak)),
				r.Moves*100 <= r.BoundMoves*110 && r.Weight*100 <= r.BoundWeight*105 && r.Peak*1000 <= max(1050*1000, 1020*r.PeakBound)
		}},
		{"uniform: counts differ by ≤ 1, moves = the fewest", churn(1000, 20, strategytest.Uniform), 0, func(r strategytest.Report) (string, bool) {
			return fmt.Sprintf("worst peak ÷ LB %s, moves %d of %d", milli(r.PeakRatio), r.Moves, r.BoundMoves), r.PeakRatio == 1000 && r.Moves == r.BoundMoves
		}},
		{"one crash: nothing but what was lost, then ≤ 1 % for balance", strategytest.Fleet{Partitions: 1000, Workers: 10, Weights: strategytest.Lognormal, Scenario: strategytest.Loss}, 0, func(r strategytest.Report) (string, bool) {
			return fmt.Sprintf("moved for balance %s, peak %s", percent(r.OptionalWeight, r.Total), milli(r.Peak)), r.OptionalWeight*100 <= r.Total
		}},
		{"heavy tail: peak ≤ 1.05·LB, ≤ 10 % of the weight moved per event", churn(6000, 100, strategytest.HeavyTail), 0, tail},
		{"the same, 60 workers", churn(3600, 60, strategytest.HeavyTail), 0, tail},
		{"the same, 30 workers", churn(1800, 30, strategytest.HeavyTail), 0, tail},
		{"the same, few workers", churn(1000, 20, strategytest.HeavyTail), 0, tail},
		{"the same, few workers, with a budget of 4 % of the weight", churn(1000, 20, strategytest.HeavyTail), 40, tail},
	} {
		for seed := range uint64(o.seeds) {
			f := b.fleet
			f.Seed = seed
			if b.budget > 0 {
				total := int64(0)
				for _, w := range f.Weights(f.Partitions, seed) {
					total += w
				}
				f.Budget = plan.Budget{Weight: total * b.budget / 1000}
			}
			r, err := strategytest.Measure(strategy.Sticky(), f)
			if err != nil {
				return err
			}
			figures, holds := b.says(r)
			answer := "yes"
			if !holds {
				answer = "NO"
			}
			what, where := b.what, fmt.Sprintf("%s × %d", size(f.Partitions), f.Workers)
			if seed > 0 {
				what, where = "", ""
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", what, where, figures, answer)
		}
	}
	return nil
}

func ratio3(a, b int64) string { return fmt.Sprintf("%.3f", float64(a)/float64(max(b, 1))) }
