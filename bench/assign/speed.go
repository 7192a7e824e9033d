package main

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
	"github.com/parti-go/parti/strategy/strategytest"
)

// tooMany is how many pairs of a partition and a worker are too many for methods that
// look at each.
const tooMany = 10_000_000

// speed prints the time of one plan of each of our strategies: the first, one
// worker more, one less, and nothing to do; and how that grows.
func speed(o options, tw *tabwriter.Writer) error {
	sizes := [][2]int{{6_000, 100}, {100_000, 1_000}}
	if o.large {
		sizes = append(sizes, [2]int{1_000_000, 1_000})
	}
	fmt.Fprintf(tw, "least of %d runs\tpartitions × workers\tweights\tfirst\t+1 worker\t−1 worker\tnothing to do\tfirst ÷ nothing\tallocations of first\n", o.runs)
	for _, m := range methods() {
		if m.kind != ours {
			continue
		}
		for _, wh := range sizes {
			if m.name == "Rendezvous" && wh[0]*wh[1] > tooMany {
				continue
			}
			for _, w := range weights[:2] {
				t, err := timesOf(m, wh[0], wh[1], w.of, o.runs)
				if err != nil {
					return err
				}
				fmt.Fprintf(tw, "%s\t%s × %s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%d\n", m.name, size(wh[0]), size(wh[1]), w.name,
					ms(t.first), ms(t.join), ms(t.leave), ms(t.none), float64(t.first)/float64(t.none), t.allocs)
			}
		}
	}
	fmt.Fprint(tw, "\t\t\t\t\t\t\t\t\n")
	return growth(o, tw)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }

// times are of one strategy at one size.
type times struct {
	first, join, leave, none time.Duration
	allocs                   uint64
}

func timesOf(s strategytest.Strategy, partitions, workers int, w strategytest.Weights, runs int) (t times, err error) {
	in := plan.Input{Current: slices.Repeat([]int{-1}, partitions), Cause: plan.Members}
	for i, weight := range w(partitions, 1) {
		in.Partitions = append(in.Partitions, plan.Partition{ID: fmt.Sprintf("part.%07d", i), Weight: weight})
	}
	for j := range workers + 1 {
		in.Workers = append(in.Workers, plan.Worker{ID: fmt.Sprintf("worker-%06d", j)})
	}
	all := in.Workers
	in.Workers = all[:workers]
	settled := in
	if settled.Current, err = s.Assign(in); err != nil {
		return t, err
	}
	joined := settled
	joined.Workers = all
	left := settled
	left.Workers = all[1:workers]
	left.Current = make([]int, partitions)
	for i, j := range settled.Current {
		left.Current[i] = j - 1
	}
	for _, c := range []struct {
		in   plan.Input
		into *time.Duration
	}{{in, &t.first}, {joined, &t.join}, {left, &t.leave}, {settled, &t.none}} {
		*c.into = math.MaxInt64
		for range runs {
			runtime.GC()
			began := time.Now()
			if _, err := s.Assign(c.in); err != nil {
				return t, err
			}
			*c.into = min(*c.into, time.Since(began))
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := s.Assign(in); err != nil {
		return t, err
	}
	runtime.ReadMemStats(&after)
	t.allocs = after.Mallocs - before.Mallocs
	return t, nil
}

// growth fits time = c · size^k over four sizes, each twice the one before.
func growth(o options, tw *tabwriter.Writer) error {
	fmt.Fprint(tw, "Sticky, lognormal: time ~ size^k\tsizes\t\tk of first\tof +1 worker\tof −1 worker\tof nothing\t\t\n")
	for _, g := range []struct {
		what                string
		partitions, workers [4]int
	}{
		{"partitions", [4]int{25_000, 50_000, 100_000, 200_000}, [4]int{500, 500, 500, 500}},
		{"workers", [4]int{100_000, 100_000, 100_000, 100_000}, [4]int{125, 250, 500, 1000}},
		{"both", [4]int{12_500, 25_000, 50_000, 100_000}, [4]int{125, 250, 500, 1000}},
	} {
		var xs [4]float64
		var ys [4][4]float64
		for k := range xs {
			t, err := timesOf(strategy.Sticky(), g.partitions[k], g.workers[k], strategytest.Lognormal, o.runs)
			if err != nil {
				return err
			}
			xs[k] = float64(k) * math.Ln2
			for c, d := range [...]time.Duration{t.first, t.join, t.leave, t.none} {
				ys[c][k] = math.Log(float64(d))
			}
		}
		fmt.Fprintf(tw, "in %s\t%s × %s … %s × %s\t\t%.2f\t%.2f\t%.2f\t%.2f\t\t\n", g.what,
			size(g.partitions[0]), size(g.workers[0]), size(g.partitions[3]), size(g.workers[3]),
			slope(xs, ys[0]), slope(xs, ys[1]), slope(xs, ys[2]), slope(xs, ys[3]))
	}
	return nil
}

// slope is that of the least-squares line.
func slope(xs, ys [4]float64) float64 {
	var mx, my, xy, xx float64
	for k := range xs {
		mx += xs[k] / 4
		my += ys[k] / 4
	}
	for k := range xs {
		xy += (xs[k] - mx) * (ys[k] - my)
		xx += (xs[k] - mx) * (xs[k] - mx)
	}
	return xy / xx
}
