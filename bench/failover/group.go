package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/parti-go/parti/bench/internal/process"
	"github.com/parti-go/parti/plan"
)

// A worker is one process.
type worker struct {
	*process.Process

	identity string
	gone     chan struct{} // closed when it has ended and all that it said was heard

	id    string // the worker ID that it has claimed
	phase string // of the group, while it leads
}

// A run is a handler of a partition, from its call until it returns.
type run struct {
	by    *worker
	token uint64
	began time.Time
	ended time.Time // zero while it runs
}

// A line is what a worker said.
type line struct {
	at    time.Time
	by    string
	words []string
}

// A group is workers that share partitions, and what they have said.
type group struct {
	setup setup         // of its workers, but for their identity
	slow  time.Duration // a kill that takes longer is told of
	rng   *rand.Rand

	mu      sync.Mutex
	workers []*worker // those that were not killed
	leader  *worker
	term    uint64
	runs    map[string][]*run // of a partition
	aside   map[string]bool   // the partitions that are quarantined
	said    []line            // since the last kill
	counts  counts
	changed chan struct{}
}

// counts are over all kills.
type counts struct {
	starts, quarantined int
	doubles, stale      int // must be 0
}

func (c *counts) add(d counts) {
	c.starts += d.starts
	c.quarantined += d.quarantined
	c.doubles += d.doubles
	c.stale += d.stale
}

func newGroup(s setup, slow time.Duration, seed uint64) *group {
	return &group{setup: s, slow: slow, rng: rand.New(rand.NewPCG(seed, 0)), runs: map[string][]*run{}, aside: map[string]bool{}, changed: make(chan struct{}, 1)}
}

func (g *group) add(identity string) error {
	s := g.setup
	s.identity = identity
	p, err := s.start()
	if err != nil {
		return err
	}
	w := &worker{Process: p, identity: identity, gone: make(chan struct{})}
	g.mu.Lock()
	g.workers = append(g.workers, w)
	g.mu.Unlock()
	go func() {
		defer close(w.gone)
		for text := range p.Lines {
			g.hear(w, text)
		}
	}()
	return nil
}

// hear takes what a worker says.
func (g *group) hear(w *worker, text string) {
	words := strings.Fields(text)
	if len(words) < 2 {
		fmt.Fprintf(os.Stderr, "%s of %s: %s\n", w.identity, g.setup.group, text)
		return
	}
	ns, _ := strconv.ParseInt(words[1], 10, 64)
	l := line{at: time.Unix(0, ns), by: w.identity, words: slices.Delete(words, 1, 2)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said = append(g.said, l)
	switch args := l.words[1:]; l.words[0] {
	case "began":
		token, _ := strconv.ParseUint(args[1], 10, 64)
		g.runs[args[0]] = append(g.runs[args[0]], &run{by: w, token: token, began: l.at})
		g.counts.starts++
		delete(g.aside, args[0])
	case "ended":
		for _, r := range g.runs[args[0]] {
			if r.by == w && r.ended.IsZero() {
				r.ended = l.at
			}
		}
	case "claimed":
		w.id = args[0]
	case "led":
		if term, _ := strconv.ParseUint(args[0], 10, 64); term > g.term {
			g.term, g.leader = term, w
		}
	case "aside":
		g.aside[args[0]] = true
		g.counts.quarantined++
	case "phase":
		w.phase = args[0]
	}
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// running is how many partitions each worker runs. g.mu is held.
func (g *group) running() (of map[*worker]int, once bool) {
	of, once = map[*worker]int{}, len(g.runs) == g.setup.partitions
	for _, runs := range g.runs {
		n := 0
		for _, r := range runs {
			if r.ended.IsZero() {
				of[r.by]++
				n++
			}
		}
		once = once && n == 1
	}
	return of, once
}

// atRest reports whether each partition runs once, all workers have their share, and the
// leader has nothing in mind. g.mu is held.
func (g *group) atRest() bool {
	if g.leader == nil || g.leader.phase != plan.Stable.String() {
		return false
	}
	of, once := g.running()
	for _, w := range g.workers {
		if less := g.setup.partitions / len(g.workers); of[w] < less || of[w] > less+1 {
			return false
		}
	}
	return once
}

// rest waits until the group is at rest, and then for a time by chance. It judges what
// happened since it was last at rest.
func (g *group) rest(ctx context.Context) error {
	for {
		if err := process.Await(ctx, &g.mu, g.changed, "it is even and at rest", g.atRest); err != nil {
			return err
		}
		// All have been probed twice by then, in both directions.
		process.Wait(ctx, 1200*time.Millisecond+time.Duration(g.rng.Int64N(int64(time.Second))))
		g.mu.Lock()
		still := g.atRest()
		if still {
			g.judge()
		}
		g.mu.Unlock()
		if still {
			return ctx.Err()
		}
	}
}

// judge looks for runs of one partition that overlap, or whose tokens do not grow, and
// forgets those that are over. g.mu is held, and each partition runs once.
func (g *group) judge() {
	for p, runs := range g.runs {
		slices.SortFunc(runs, func(a, b *run) int { return a.began.Compare(b.began) })
		for i, r := range runs {
			for _, earlier := range runs[:i] {
				if earlier.ended.IsZero() || r.began.Before(earlier.ended) {
					g.counts.doubles++
					fmt.Fprintf(os.Stderr, "%s: %s began on %s while it ran on %s\n", g.setup.group, p, r.by.identity, earlier.by.identity)
				}
				if r.token <= earlier.token {
					g.counts.stale++
					fmt.Fprintf(os.Stderr, "%s: %s began under token %d after %d\n", g.setup.group, p, r.token, earlier.token)
				}
			}
		}
		g.runs[p] = slices.DeleteFunc(runs, func(r *run) bool { return !r.ended.IsZero() && len(runs) > 1 })
	}
}

// choose names the worker that is killed next.
func (g *group) choose(leader bool) *worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	if leader {
		return g.leader
	}
	others := slices.DeleteFunc(slices.Clone(g.workers), func(w *worker) bool { return w == g.leader })
	return others[g.rng.IntN(len(others))]
}

// A sample is what became of one kill. Times are from the kill on.
type sample struct {
	led    bool
	repair time.Duration   // until the last partition ran elsewhere
	each   []time.Duration // until each of them did
	plan   time.Duration   // until a plan that grants one of them was committed
	why    string          // the worker was lost
}

// kill kills a worker, and waits until all that it ran runs elsewhere.
func (g *group) kill(ctx context.Context, w *worker) (s sample, err error) {
	g.mu.Lock()
	g.said = nil
	s.led = w == g.leader
	g.mu.Unlock()
	at := time.Now()
	if err := w.Signal(syscall.SIGKILL); err != nil {
		return s, err
	}
	<-w.gone
	g.mu.Lock()
	g.workers = slices.DeleteFunc(g.workers, func(x *worker) bool { return x == w })
	orphans := map[string]bool{}
	for p, runs := range g.runs {
		for _, r := range runs {
			if r.by == w && r.ended.IsZero() {
				r.ended = at
				orphans[p] = true
			}
		}
	}
	g.mu.Unlock()
	err = process.Await(ctx, &g.mu, g.changed, "its partitions run elsewhere", func() bool { return g.repaired(at, w, orphans, &s) })
	if err != nil || max(s.repair, s.plan) > g.slow {
		g.tell(at, w, s)
	}
	if err != nil {
		return s, err
	}
	return s, g.add(w.identity)
}

// repaired reports whether all that a worker ran when it was killed runs elsewhere, and
// fills in the sample when it is so. g.mu is held.
func (g *group) repaired(at time.Time, w *worker, orphans map[string]bool, s *sample) bool {
	s.each, s.repair, s.plan, s.why = nil, 0, 0, ""
	waiting := 0
	for p := range orphans {
		if g.aside[p] {
			continue // it is not to run anywhere
		}
		waiting++
		for _, r := range g.runs[p] {
			if r.began.After(at) {
				s.each = append(s.each, r.began.Sub(at))
				break
			}
		}
	}
	if len(s.each) < waiting {
		return false
	}
	s.repair = slices.Max(s.each)
	for _, l := range g.said {
		switch {
		case l.words[0] == "plan" && s.plan == 0 && slices.ContainsFunc(l.words[1:], func(p string) bool { return orphans[p] }):
			s.plan = l.at.Sub(at)
		case l.words[0] == "lost" && l.words[1] == w.id:
			s.why = strings.Join(l.words[2:], " ")
		}
	}
	return s.plan > 0 // whoever committed it says so a little later, perhaps
}

// tell says what was said since a kill.
func (g *group) tell(at time.Time, w *worker, s sample) {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.SortStableFunc(g.said, func(a, b line) int { return a.at.Compare(b.at) })
	fmt.Fprintf(os.Stderr, "%s: %s (%s, led: %v) was killed: plan %v, repair %v\n", g.setup.group, w.identity, w.id, s.led, s.plan, s.repair)
	for _, l := range g.said {
		fmt.Fprintf(os.Stderr, "  %+.3fs %s: %s\n", l.at.Sub(at).Seconds(), l.by, strings.Join(l.words, " "))
	}
}

// end ends all workers.
func (g *group) end() {
	g.mu.Lock()
	workers := slices.Clone(g.workers)
	g.mu.Unlock()
	for _, w := range workers {
		_ = w.Signal(syscall.SIGKILL) // it ends with this process otherwise
	}
	for _, w := range workers {
		<-w.gone
	}
}
