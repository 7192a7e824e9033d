package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
	"github.com/parti-go/parti/strategy/strategytest"
)

// optimum takes the events of heavy-tailed fleets that moved most, and asks an integer
// program for the least that could have moved: CBC (the program cbc) finds it, and proves
// it. Light partitions are a liquid there, and nobody has to be filled up, so that what is
// really possible is somewhat more.
func optimum(o options, tw *tabwriter.Writer) error {
	if _, err := exec.LookPath("cbc"); err != nil {
		return errors.New("optimum needs the solver cbc: apt-get install coinor-cbc")
	}
	dir, err := os.MkdirTemp("", "optimum")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(tw, "fleet\tseed\tevent\tlost\tmoved\tthe least")
	for _, n := range []struct{ partitions, workers int }{{3600, 60}, {1800, 30}, {1000, 20}} {
		for seed := range uint64(o.seeds) {
			w := &witness{s: strategy.Sticky()}
			if _, err := strategytest.Measure(w, strategytest.Fleet{Partitions: n.partitions, Workers: n.workers, Weights: strategytest.HeavyTail, Seed: seed}); err != nil {
				return err
			}
			slices.SortFunc(w.events, func(a, b moved) int { return int(b.weight - a.weight) })
			for k, e := range w.events[:3] {
				least, err := solve(filepath.Join(dir, "event.lp"), e)
				if err != nil {
					return err
				}
				fmt.Fprintf(tw, "%s × %d\t%d\t%d of %d\t%.1f %%\t%.1f %%\t%s\n", size(n.partitions), n.workers, seed, k+1, len(w.events),
					e.percent(e.lost), e.percent(e.weight), least)
			}
		}
	}
	return nil
}

// A witness is a strategy, and sees what it moves.
type witness struct {
	s      strategy.Budgeted
	events []moved
}

// moved is one plan: where it began, what it moved, and what had lost its owner of that.
type moved struct {
	in                  plan.Input
	weight, lost, total int64
	limit               int64 // of a worker's load: 1.05 of the bound, and a thousandth for its rounding
}

func (m *moved) percent(w int64) float64 { return 100 * float64(w) / float64(m.total) }

// Assign asks the strategy.
func (w *witness) Assign(in plan.Input) ([]int, error) {
	to, err := w.s.Assign(in)
	if err != nil {
		return nil, err
	}
	m := moved{in: in}
	m.in.Current = slices.Clone(in.Current)
	for i, at := range to {
		load := in.Partitions[i].Load()
		m.total += load
		if in.Current[i] < 0 {
			m.lost += load
		}
		if at != in.Current[i] {
			m.weight += load
		}
	}
	if m.lost < m.total { // not the first plan of all
		bound := (w.s.Explain(in, to).BoundPeak + 1) * m.total / 1000 / int64(len(in.Workers))
		m.limit = bound * 105 / 100
		w.events = append(w.events, m)
	}
	return to, nil
}

// solve says the least weight that can move, or what the solver knows of it after a minute.
func solve(file string, m moved) (string, error) {
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	if err := errors.Join(program(f, &m), f.Close()); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(context.Background(), "cbc", file, "-sec", "60", "-solve").Output()
	if err != nil {
		return "", fmt.Errorf("cbc: %w", err)
	}
	figure := func(name string) string {
		x := regexp.MustCompile(name + `:\s+([0-9.]+)`).FindSubmatch(out)
		if x == nil {
			return "?"
		}
		v, _ := strconv.ParseFloat(string(x[1]), 64)
		return fmt.Sprintf("%.1f %%", v)
	}
	least := figure("Objective value")
	if slices.Contains(regexp.MustCompile(`Result - .*`).FindAllString(string(out), 1), "Result - Optimal solution found") {
		return least, nil
	}
	return "between " + figure("Lower bound") + " and " + least, nil
}

// program writes the integer program: which worker has each heavy partition, and what flows
// of the light ones, so that nobody has more than the limit and the least moves. Weights
// are in per cent of all.
func program(to io.Writer, m *moved) error {
	w := bufio.NewWriter(to)
	n := len(m.in.Workers)
	bar := m.total / int64(n) / 40
	light := make([]int64, n)
	var heavy []int
	var pool int64 // light, without an owner
	for i, p := range m.in.Partitions {
		switch at := m.in.Current[i]; {
		case p.Load() > bar:
			heavy = append(heavy, i)
		case at < 0:
			pool += p.Load()
		default:
			light[at] += p.Load()
		}
	}
	fmt.Fprint(w, "Minimize\n")
	for _, i := range heavy {
		for j := range n {
			if j != m.in.Current[i] {
				fmt.Fprintf(w, " + %.6f x_%d_%d\n", m.percent(m.in.Partitions[i].Load()), i, j)
			}
		}
	}
	for j := range n {
		fmt.Fprintf(w, " + in_%d\n", j)
	}
	fmt.Fprint(w, "Subject To\n")
	for _, i := range heavy {
		for j := range n {
			fmt.Fprintf(w, " + x_%d_%d\n", i, j)
		}
		fmt.Fprint(w, " = 1\n")
	}
	for j := range n {
		for _, i := range heavy {
			fmt.Fprintf(w, " + %.6f x_%d_%d\n", m.percent(m.in.Partitions[i].Load()), i, j)
		}
		fmt.Fprintf(w, " + in_%d - out_%d <= %.6f\n", j, j, m.percent(m.limit-light[j]))
		fmt.Fprintf(w, " out_%d <= %.6f\n", j, m.percent(light[j]))
	}
	for j := range n {
		fmt.Fprintf(w, " + in_%d - out_%d\n", j, j)
	}
	fmt.Fprintf(w, " = %.6f\nBinary\n", m.percent(pool))
	for _, i := range heavy {
		for j := range n {
			fmt.Fprintf(w, " x_%d_%d\n", i, j)
		}
	}
	fmt.Fprint(w, "End\n")
	return w.Flush()
}
