package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/bench/internal/process"
)

// sessionTTL is the default.
const sessionTTL = 15 * time.Second

// A goal is what repair and plan must not exceed. Zero: anything is well.
type goal struct{ p50, p99 time.Duration }

var goals = map[parti.Isolation]goal{
	parti.Freeze: {p50: 1500 * time.Millisecond, p99: 2500 * time.Millisecond},
	parti.Fence:  {p99: sessionTTL + time.Second},
}

// errMissed says that a goal was missed, or safety broken; the last line has said which.
var errMissed = errors.New("not all is as it should be")

// measure kills workers under each isolation, and prints what it took.
func measure(ctx context.Context, o options) error {
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	var missed []string
	for _, isolation := range o.isolations {
		m := watchMachine()
		samples, c, err := killAll(ctx, o, isolation)
		m.stop()
		fmt.Fprintln(tw)
		missed = append(missed, report(tw, isolation, samples)...)
		fmt.Fprintf(tw, "%d partitions began, %d while another living worker ran them, %d under a token that had not grown; %d were quarantined\n", c.starts, c.doubles, c.stale, c.quarantined)
		fmt.Fprintln(tw, m)
		_ = tw.Flush()
		if c.doubles > 0 || c.stale > 0 {
			missed = append(missed, fmt.Sprintf("%v: safety: double owners %d, tokens that did not grow %d", isolation, c.doubles, c.stale))
		}
		if err != nil {
			return fmt.Errorf("%v: %w", isolation, err)
		}
	}
	if len(missed) > 0 {
		fmt.Println("missed:", strings.Join(missed, "; "))
		return errMissed
	}
	fmt.Println("goals met")
	return nil
}

// killAll lets groups run side by side until there were enough kills.
func killAll(ctx context.Context, o options, isolation parti.Isolation) (samples []sample, c counts, err error) {
	site, err := process.StartSite(o.nodes)
	if err != nil {
		return nil, c, err
	}
	defer site.Stop()
	var (
		mu    sync.Mutex
		begun atomic.Int64
		all   sync.WaitGroup
		until = time.Now().Add(o.duration)
	)
	more := func() bool {
		if o.duration > 0 {
			return time.Now().Before(until)
		}
		return begun.Add(1) <= int64(o.kills)
	}
	took := func(s sample) {
		mu.Lock()
		defer mu.Unlock()
		if samples = append(samples, s); len(samples)%20 == 0 {
			fmt.Fprintf(os.Stderr, "%v: %d kills\n", isolation, len(samples))
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for i := range o.groups {
		all.Go(func() {
			g := newGroup(setup{
				urls: site.URLs(), group: fmt.Sprint(isolation, "-", i+1), isolation: isolation, workers: o.workers, partitions: o.partitions,
			}, cmp.Or(o.slow, goals[isolation].p99), o.seed+uint64(i))
			if err := g.killOften(ctx, o, more, took); err != nil {
				cancel(fmt.Errorf("%s: %w", g.setup.group, err))
			}
			mu.Lock()
			defer mu.Unlock()
			c.add(g.counts)
		})
	}
	all.Wait()
	return samples, c, context.Cause(ctx)
}

// killOften is what happens to one group.
func (g *group) killOften(ctx context.Context, o options, more func() bool, took func(sample)) error {
	defer g.end()
	err := process.Retry(ctx, func(ctx context.Context) error { // three nodes take a while to find each other
		_, end, err := open(ctx, g.setup.urls, g.setup.group)
		if err == nil {
			end()
		}
		return err
	})
	if err != nil {
		return err
	}
	for i := range g.setup.workers {
		if err := g.add(fmt.Sprint("host-", i+1)); err != nil {
			return err
		}
	}
	for i := 1; more(); i++ {
		if err := g.rest(ctx); err != nil {
			return err
		}
		s, err := g.kill(ctx, g.choose(i%o.leaders == 0))
		if err != nil {
			return err
		}
		took(s)
	}
	return g.rest(ctx) // judges the last one
}

// report prints the tables, and returns which goals were missed.
func report(tw *tabwriter.Writer, isolation parti.Isolation, samples []sample) (missed []string) {
	fmt.Fprintln(tw, "isolation\tkilled\t\tn\tp50\tp90\tp99\tmax\t")
	for _, led := range []bool{false, true} {
		who := map[bool]string{false: "worker", true: "leader"}[led]
		var repair, each, plan []time.Duration
		for _, s := range samples {
			if s.led == led {
				repair, plan, each = append(repair, s.repair), append(plan, s.plan), append(each, s.each...)
			}
		}
		for _, x := range []struct {
			what  string
			times []time.Duration
			goal  goal
		}{{"repair", repair, goals[isolation]}, {"plan", plan, goals[isolation]}, {"partition", each, goal{}}} {
			fmt.Fprintf(tw, "%v\t%s\t%s\t%d\t", isolation, who, x.what, len(x.times))
			for _, q := range []float64{0.5, 0.9, 0.99, 1} {
				fmt.Fprintf(tw, "%v\t", quantile(x.times, q))
			}
			fmt.Fprintln(tw)
			for _, g := range []struct {
				name string
				q    float64
				most time.Duration
			}{{"p50", 0.5, x.goal.p50}, {"p99", 0.99, x.goal.p99}} {
				if got := quantile(x.times, g.q); g.most > 0 && got > g.most {
					missed = append(missed, fmt.Sprintf("%v, %s killed, %s: %s %v > %v", isolation, who, x.what, g.name, got, g.most))
				}
			}
		}
	}
	fmt.Fprintln(tw, "\nisolation\tkilled\tlost by no responders\tby silence\tby its TTL\totherwise\t")
	for _, led := range []bool{false, true} {
		var n [4]int
		for _, s := range samples {
			if s.led == led {
				n[reason(s.why)]++
			}
		}
		fmt.Fprintf(tw, "%v\t%s\t%d\t%d\t%d\t%d\t\n", isolation, map[bool]string{false: "worker", true: "leader"}[led], n[0], n[1], n[2], n[3])
	}
	return missed
}

// reason sorts the words in which a leader says why it declared a worker lost.
func reason(why string) int {
	for i, words := range []string{"no responders for", "silent for", "not renewed for its TTL"} {
		if strings.HasPrefix(why, words) {
			return i
		}
	}
	return 3
}

// quantile is the least of the times that is not exceeded by so many of them.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	times = slices.Sorted(slices.Values(times))
	return times[max(0, int(math.Ceil(q*float64(len(times))))-1)].Round(time.Millisecond)
}
