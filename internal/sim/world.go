package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A world is one run of a scenario: a heap of timers, and what they act upon.
type world struct {
	sc    *Scenario
	now   time.Duration // since the beginning, true time
	queue queue
	seq   uint64
	rng   *rand.Rand
	over  bool

	store  *bucket
	hosts  []*host
	source *source
	ledger *ledger
	// poison and done are partitions that crash their process, or are done.
	poison, done map[string]int
	// answering is who can be probed, by nonce.
	answering map[string]*process

	stats Stats
	trace *[]string
}

// Stats are what a run amounted to.
type Stats struct {
	Steps, Events, Ops, Writes int
	Plans, Grants, Starts      int
	Moves                      int
	Counted                    int // causes after which moves were counted against the fewest
	Older                      int // leases adopted although a younger one may run: the open hole

	// What became of leaders and of what they decided.
	Sliced   int // plans that change a slice
	Led      int // terms that were taken once the group had settled
	TwoLead  int // how often a process began to lead while another did
	Declined int // commits that the store refused
	Refused  int // commits of which their leader says that somebody else had written
	Midway   int // changes of leadership while a partition was being released
	// What was said of workers and partitions.
	Slowed, Suspected, Lost, Quarantined, Poisoned int
	// Degraded and Fenced count how often a worker became so.
	Degraded, Fenced int
	Waiting          int // the most partitions that a plan left unassigned once the group had settled

	Renewed int // how often the store was made anew

	Settled     time.Duration // when the group had settled first; 0: it never had
	LastPlan    time.Duration // when a plan last changed a slice
	Virtual     time.Duration
	Injected    [64]int // by place in Kinds: faults that took effect
	Touched     [64]int // how often a fault of the kind changed what would have happened
	Fingerprint uint64  // of everything that happened
	MaxBare     time.Duration
}

// Took is how often a fault of the kind has changed what would have happened.
func (s *Stats) Took(k Kind) int { return s.Touched[index[k]] }

// A timer is something to do at a time; those of one time are done in the order
// in which they were asked for.
type timer struct {
	at  time.Duration
	seq uint64
	do  func()
}

type queue []timer

func (q queue) less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}

func (q *queue) push(t timer) {
	*q = append(*q, t)
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (q *queue) pop() timer {
	h := *q
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = timer{}
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*q = h
	return top
}

// after does something d from now.
func (w *world) after(d time.Duration, do func()) { w.at(w.now+max(d, 0), do) }

func (w *world) at(t time.Duration, do func()) {
	w.seq++
	w.queue.push(timer{at: max(t, w.now), seq: w.seq, do: do})
}

// upTo is a random duration below d.
func (w *world) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(d)))
}

// chance is true in n of 100 cases.
func (w *world) chance(n int) bool { return n > 0 && w.rng.IntN(100) < n }

// touched counts that a fault of the kind has changed something.
func (w *world) touched(k Kind) { w.stats.Touched[index[k]]++ }

// say adds a line to the trace, when there is one.
func (w *world) say(format string, args ...any) {
	if w.trace != nil {
		*w.trace = append(*w.trace, fmt.Sprintf("%12s  ", w.now.Round(time.Microsecond))+fmt.Sprintf(format, args...))
	}
}

// mark mixes something that happened into the fingerprint.
func (w *world) mark(x uint64) {
	f := w.stats.Fingerprint ^ x ^ uint64(w.now)
	f *= 0x9E3779B97F4A7C15
	w.stats.Fingerprint = f ^ f>>29
}

// A Violation is a promise that did not hold.
type Violation struct {
	Promise   Promise
	At        time.Duration
	Text      string
	Partition string // when it is about one
}

func (v *Violation) Error() string {
	return fmt.Sprintf("promise %s, at %s: %s", v.Promise, v.At.Round(time.Millisecond), v.Text)
}

// A Result is how a run went.
type Result struct {
	Violation *Violation // the first
	Stats     Stats
	Trace     []string
}

// Options say how to run.
type Options struct {
	Trace bool
}

// Run plays a scenario to its end, or to the first violation.
func Run(sc *Scenario, o Options) (res Result) {
	w := &world{
		sc: sc, rng: rand.New(rand.NewPCG(sc.Seed, 0x5151)), answering: map[string]*process{},
		poison: map[string]int{}, done: map[string]int{},
	}
	if o.Trace {
		w.trace = &res.Trace
	}
	w.ledger = newLedger(w)
	w.store = newBucket(w)
	w.source = newSource(w)
	for i := range sc.Hosts {
		w.hosts = append(w.hosts, newHost(w, i))
	}
	defer func() {
		if w.trace != nil {
			res.Trace = *w.trace
		}
		res.Stats = w.stats
		res.Violation = w.ledger.violation
	}()
	for _, h := range w.hosts {
		if h.spec.Start >= 0 {
			w.at(h.spec.Start, h.boot)
		}
	}
	for i := range sc.Faults {
		f := &sc.Faults[i]
		w.at(f.At, func() { w.inject(f) })
	}
	end := sc.Run + sc.Quiet
	w.at(sc.Run, w.calm)
	w.after(time.Second, w.second)
	for len(w.queue) > 0 && !w.over {
		t := w.queue.pop()
		if t.at > end {
			break
		}
		w.now = t.at
		w.stats.Events++
		t.do()
	}
	w.stats.Virtual = w.now
	if !w.over {
		w.now = end
		w.ledger.end()
	}
	return res
}

// second is what happens every second: the store looks for what has expired, and
// the ledger for what has lasted too long.
func (w *world) second() {
	w.store.sweep()
	w.ledger.second()
	w.after(time.Second, w.second)
}

// calm begins the quiet time. All faults have been undone by then; a fleet of which
// nobody is left who could lead, or own something, gets one worker back, since the promises
// are for as long as one is alive.
func (w *world) calm() {
	w.say("-- quiet --")
	w.revive()
}

// revive starts host 0 if it is needed, as soon as its last process is gone.
func (w *world) revive() {
	leads, owns := false, false
	for _, h := range w.hosts {
		if h.proc != nil && !h.proc.leaving {
			leads, owns = leads || !h.spec.Follows, owns || !h.spec.Idle
		}
	}
	switch {
	case leads && owns:
	case w.hosts[0].proc != nil:
		w.after(time.Second, w.revive)
	default:
		w.hosts[0].boot()
	}
}
