package partitest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/parti-go/parti"
)

// What is excused for a moment after a fault is over.
const (
	// wakeGrace is how long a process that woke may take to stop its handlers.
	wakeGrace = time.Second
	// backGrace is how long a worker that was isolated may take to hear that it owns
	// nothing any more: a reconcile interval, and a reconnect.
	backGrace = 7 * time.Second
	// nodesGrace is backGrace where nodes of a cluster may have been apart: one that comes
	// back has voted for itself meanwhile, and deposes the leader of every stream. An
	// election takes nine seconds, and longer on a busy machine.
	nodesGrace = 20 * time.Second
)

// An account is what entries come to.
type account struct {
	books   map[string]*book
	workers map[string]*standing
	sum     Report
	ghosts  int
	over    bool
	last    time.Time
	beside  []overlap // that are excused for now
}

// An overlap is a run that began while the handler of a worker that was frozen or
// isolated ran.
type overlap struct {
	partition  string
	older, run *run
}

// A book is the account of one partition.
type book struct {
	runs    []*run // open
	top     uint64 // the largest token that was started
	acted   uint64 // the largest token whose effect was accepted
	owner   string // of the newest run
	lessee  string // the process of that; empty: it has crashed
	idle    bool   // it has run, and nobody runs it
	since   time.Time
	cause   string
	started int
}

// A run is one call of a handler.
type run struct {
	worker string
	token  uint64
	dead   bool // its process has crashed
	over   bool // it has returned
}

// standing is what was done to a worker's process.
type standing struct {
	frozen   int
	isolated int
	woke     time.Time
	back     time.Time
}

// still reports whether it is frozen, or was a moment ago.
func (w *standing) still(at time.Time) bool {
	return w.frozen > 0 || !w.woke.IsZero() && at.Sub(w.woke) < wakeGrace
}

// apart reports whether it is isolated, or was a moment ago.
func (w *standing) apart(at time.Time) bool {
	return w.isolated > 0 || !w.back.IsZero() && at.Sub(w.back) < nodesGrace
}

// excused reports whether it need not know yet what it owns no more. Under Freeze, one
// that woke hears of it as one that is back.
func (w *standing) excused(at time.Time) bool {
	return w.still(at) || w.apart(at) || !w.woke.IsZero() && at.Sub(w.woke) < backGrace
}

func newAccount() *account {
	return &account{books: map[string]*book{}, workers: map[string]*standing{}}
}

func (a *account) worker(name string) *standing {
	w := a.workers[name]
	if w == nil {
		w = &standing{}
		a.workers[name] = w
	}
	return w
}

func (a *account) book(partition string) *book {
	b := a.books[partition]
	if b == nil {
		b = &book{}
		a.books[partition] = b
	}
	return b
}

// apply enters one entry.
func (a *account) apply(e Entry) {
	a.last = e.At
	a.linger(e.At)
	a.faults(e)
	switch e.What {
	case Started:
		a.start(e)
	case Returned:
		a.end(e)
	case Acted:
		a.sum.Accepted++
		if b := a.book(e.Partition); e.Token < b.acted {
			a.breachf(e.Partition, always, "%s: an effect of token %d was accepted after one of token %d", e.Partition, e.Token, b.acted)
		} else {
			b.acted = e.Token
		}
	case Refused:
		a.sum.Refused++
	case Crashed:
		for _, b := range a.books {
			if b.lessee == e.Worker {
				b.lessee = ""
			}
			for _, r := range b.runs {
				r.dead = r.dead || r.worker == e.Worker
			}
		}
		a.settle(e.At, "the crash of "+e.Worker)
	case Frozen:
		a.settle(e.At, "the freeze of "+e.Worker)
	case Woke:
		a.settle(e.At, "")
	case Mark:
		a.over = a.over || e.Text == overMark
	case Isolated, Back, Told:
	}
}

// faults enters what was done to workers.
func (a *account) faults(e Entry) {
	w := a.worker(e.Worker)
	switch e.What {
	case Crashed:
		a.sum.Crashes++
		*w = standing{} // what comes after it under that name is another process
	case Frozen:
		a.sum.Freezes++
		w.frozen++
	case Woke:
		w.frozen = max(w.frozen-1, 0)
		w.woke = e.At
	case Isolated:
		a.sum.Isolations++
		w.isolated++
	case Back:
		w.isolated = max(w.isolated-1, 0)
		w.back = e.At
	default:
	}
}

// linger finds the overlaps that nothing excuses any more.
func (a *account) linger(at time.Time) {
	a.beside = slices.DeleteFunc(a.beside, func(o overlap) bool {
		if o.older.over || o.older.dead || o.run.over || o.run.dead {
			return true
		}
		if a.worker(o.older.worker).excused(at) || !a.owns(o.run) {
			return false
		}
		a.sum.Doubles++
		a.breachf(o.partition, always, "%s: %s still runs it beside %s, though it is neither frozen nor isolated any more", o.partition, o.older.worker, o.run.worker)
		return true
	})
}

func (a *account) start(e Entry) {
	b := a.book(e.Partition)
	a.sum.Starts++
	b.started++
	mine := &run{worker: e.Worker, token: e.Token}
	// Under Freeze, one that is isolated calls its handlers again, whoever has them by now.
	unknowing := e.Token < b.top && a.worker(e.Worker).apart(e.At)
	// A handler that returned before its lease was over is called again under it.
	if !unknowing && (e.Token < b.top || e.Token == b.top && b.lessee != e.Worker) {
		a.breachf(e.Partition, always, "%s: %s starts it with token %d after %d", e.Partition, e.Worker, e.Token, b.top)
	}
	for _, o := range b.runs {
		switch w := a.worker(o.worker); {
		case o.dead:
		case unknowing:
			a.sum.OverlapIsolated++
			a.beside = append(a.beside, overlap{e.Partition, mine, o})
			a.breachf(e.Partition, underFence, "%s: %s starts it again while %s runs it, and is isolated: under Fence it may not", e.Partition, e.Worker, o.worker)
		case w.still(e.At):
			a.sum.OverlapFrozen++
			a.beside = append(a.beside, overlap{e.Partition, o, mine})
		case w.apart(e.At):
			a.sum.OverlapIsolated++
			a.beside = append(a.beside, overlap{e.Partition, o, mine})
			a.breachf(e.Partition, underFence, "%s: %s starts it while %s runs it, which is isolated: under Fence it must have stopped by then", e.Partition, e.Worker, o.worker)
		default:
			a.sum.Doubles++
			a.breachf(e.Partition, always, "%s: %s starts it while %s runs it", e.Partition, e.Worker, o.worker)
		}
	}
	if b.owner != "" && b.owner != e.Worker && !unknowing {
		a.sum.Moves++
	}
	if e.Token > b.top {
		b.top, b.owner, b.lessee = e.Token, e.Worker, e.Worker
	}
	b.runs = append(b.runs, mine)
	a.turn(e.Partition, b, e.At, "")
}

func (a *account) end(e Entry) {
	b := a.book(e.Partition)
	i := slices.IndexFunc(b.runs, func(r *run) bool { return r.worker == e.Worker && r.token == e.Token })
	if i < 0 {
		a.breachf(e.Partition, always, "%s: %s returns with token %d and has not started it", e.Partition, e.Worker, e.Token)
		return
	}
	b.runs[i].over = true
	b.runs = slices.Delete(b.runs, i, i+1)
	a.turn(e.Partition, b, e.At, "its return on "+e.Worker)
}

// settle looks at all partitions again.
func (a *account) settle(at time.Time, cause string) {
	for id, b := range a.books {
		a.turn(id, b, at, cause)
	}
}

// turn notes when a partition begins or ends to be without a handler.
func (a *account) turn(id string, b *book, at time.Time, cause string) {
	switch idle := a.alive(b) == 0; {
	case idle && !b.idle && b.started > 0 && !a.over:
		b.idle, b.since, b.cause = true, at, cause
	case !idle && b.idle:
		b.idle = false
		a.sum.Gaps = append(a.sum.Gaps, Gap{Partition: id, Cause: b.cause, Lasted: at.Sub(b.since)})
	}
}

// alive counts the runs of workers that could own it.
func (a *account) alive(b *book) (n int) {
	for _, r := range b.runs {
		if a.owns(r) {
			n++
		}
	}
	return n
}

// owns reports whether it could be its owner's.
func (a *account) owns(r *run) bool { return !r.dead && a.worker(r.worker).frozen == 0 }

func (a *account) running(partition string) int { return a.alive(a.book(partition)) }

func (a *account) find(partition string, token uint64) *run {
	for _, r := range a.book(partition).runs {
		if r.token == token {
			return r
		}
	}
	return nil
}

func (a *account) owner(partition string) (worker string, token uint64, ok bool) {
	for _, r := range a.book(partition).runs {
		if a.owns(r) && r.token >= token {
			worker, token, ok = r.worker, r.token, true
		}
	}
	return worker, token, ok
}

func (a *account) shares() map[string]int {
	n := map[string]int{}
	for id := range a.books {
		if worker, _, ok := a.owner(id); ok {
			n[worker]++
		}
	}
	return n
}

// A breach is one broken promise.
type breach struct {
	partition string
	text      string
	when      when
}

// when a promise holds.
type when uint8

const (
	always when = iota
	underFence
)

func (a *account) breachf(partition string, w when, format string, args ...any) {
	a.sum.found = append(a.sum.found, breach{partition: partition, text: fmt.Sprintf(format, args...), when: w})
}

// A Report is what a fleet did, in numbers.
type Report struct {
	Partitions int // that ever ran
	Starts     int // of handlers
	Moves      int // starts by another worker than the one before
	Accepted   int // effects
	Refused    int // effects, because of their token
	Ghosts     int // starts and effects that goroutines of crashed workers tried, and could not have

	Crashes    int
	Freezes    int
	Isolations int

	Doubles         int // starts beside another handler, which nothing excuses
	OverlapFrozen   int // starts beside a handler of a worker that was frozen: what only tokens protect from
	OverlapIsolated int // starts beside a handler of a worker that was isolated: what the policy Freeze costs

	Gaps    []Gap    // that are over, longest first
	Missing []string // partitions that nobody runs now, sorted

	found []breach
}

// A Gap is a time in which nobody ran a partition that had run before.
type Gap struct {
	Partition string
	Cause     string // what ended the run before it
	Lasted    time.Duration
}

func (a *account) report() Report {
	r := a.sum
	r.Partitions, r.Ghosts = 0, a.ghosts
	for _, id := range slices.Sorted(maps.Keys(a.books)) {
		b := a.books[id]
		if b.started > 0 {
			r.Partitions++
		}
		if b.idle && !a.over {
			r.Missing = append(r.Missing, id)
			r.found = append(r.found, breach{partition: id, text: fmt.Sprintf("%s: nobody runs it since %s, for %v by now", id, b.cause, a.last.Sub(b.since).Round(time.Millisecond))})
		}
	}
	slices.SortStableFunc(r.Gaps, func(x, y Gap) int { return cmp.Compare(y.Lasted, x.Lasted) })
	return r
}

// breaches are those that count under a policy.
func (r Report) breaches(policy parti.Isolation) (found []breach) {
	for _, b := range r.found {
		if b.when == always || policy == parti.Fence {
			found = append(found, b)
		}
	}
	return found
}

// LongestGap is the longest time in which nobody ran a partition that had run before.
func (r Report) LongestGap() time.Duration {
	if len(r.Gaps) == 0 {
		return 0
	}
	return r.Gaps[0].Lasted
}

// String is a table.
func (r Report) String() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	line("partitions", r.Partitions)
	line("starts of handlers", r.Starts)
	line("  on another worker than before", r.Moves)
	line("  beside another handler", r.Doubles)
	line("  beside one of a frozen worker", r.OverlapFrozen)
	line("  beside one of an isolated worker", r.OverlapIsolated)
	line("effects accepted", r.Accepted)
	line("effects refused", r.Refused)
	line("workers crashed, frozen, isolated", fmt.Sprintf("%d, %d, %d", r.Crashes, r.Freezes, r.Isolations))
	line("gaps", len(r.Gaps))
	if len(r.Gaps) > 0 {
		g := r.Gaps[0]
		line("  the longest", fmt.Sprintf("%v, %s, after %s", g.Lasted.Round(time.Millisecond), g.Partition, g.Cause))
	}
	line("partitions that nobody runs", len(r.Missing))
	w.Flush()
	return text.String()
}
