package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/parti-go/parti/strategy/strategytest"
)

var weights = []struct {
	name string
	of   strategytest.Weights
}{
	{"uniform", strategytest.Uniform},
	{"lognormal (σ = 1)", strategytest.Lognormal},
	{"zipf (1 ÷ k)", strategytest.Zipf},
	{"heavy tail (5 % are 100–500 times as heavy)", strategytest.HeavyTail},
}

// tables prints for each kind of weights what each method moves, and how even it is.
// Peaks are the heaviest worker over the mean. LB is the least that any assignment
// within 5 % of even must place or move, from where that method stood.
func tables(o options, tw *tabwriter.Writer) error {
	fmt.Printf("%s partitions, %d workers. peak: heaviest worker ÷ mean, the worst of all plans. moved: partitions that changed or got\n"+
		"their owner, in all. ÷ LB: over the least that any assignment within 5 %% of even must, from where that method stood: below 1\n"+
		"it stays uneven. Loss: a tenth of the workers at once. extra: weight moved beyond what was lost, of all.\n", size(o.partitions), o.workers)
	for _, w := range weights {
		fmt.Fprintf(tw, "\n%s\t\t\t+1 worker\t\t−1 worker\t\t200 events\t\t\t\trolling\t\tloss\t\tdoubling\t\n", w.name)
		fmt.Fprint(tw, "method\t\tfirst\tpeak\tmoved\tpeak\tmoved\tpeak\tits ÷ LB\tmoves ÷ LB\tweight ÷ LB\tpeak\tmoved\tpeak\textra\tpeak\tmoved\n")
		for _, m := range methods() {
			measure := func(s strategytest.Scenario) (strategytest.Report, error) {
				return strategytest.Measure(m, strategytest.Fleet{Partitions: o.partitions, Workers: o.workers, Weights: w.of, Scenario: s, Seed: 1})
			}
			var rs [6]strategytest.Report
			for k, s := range [...]strategytest.Scenario{strategytest.Join, strategytest.Leave, strategytest.Churn, strategytest.Rolling, strategytest.Loss, strategytest.Double} {
				var err error
				if rs[k], err = measure(s); err != nil {
					// Loss asks for a plan without optional moves; methods that know no budget make one with them.
					return fmt.Errorf("%s: %v: %w", m.name, s, err)
				}
			}
			join, leave, churn, rolling, loss, double := rs[0], rs[1], rs[2], rs[3], rs[4], rs[5]
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%d\n", m.name, m.kind, milli(join.First),
				milli(join.Peak), join.Moves, milli(leave.Peak), leave.Moves,
				milli(churn.Peak), milli(churn.PeakRatio), ratio(int64(churn.Moves), int64(churn.BoundMoves)), ratio(churn.Weight, churn.BoundWeight),
				milli(rolling.Peak), rolling.Moves, milli(loss.Peak), percent(loss.OptionalWeight, loss.Total), milli(double.Peak), double.Moves)
		}
	}
	return nil
}

func milli(x int64) string { return fmt.Sprintf("%.3f", float64(x)/1000) }

func ratio(a, b int64) string { return fmt.Sprintf("%.2f", float64(a)/float64(max(b, 1))) }

func percent(a, b int64) string { return fmt.Sprintf("%.1f %%", 100*float64(a)/float64(b)) }
