package partitest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parti-go/parti"
)

// A Ledger is the account of what a fleet really did while a test broke it. Handlers
// enter when they start, act and return; the faults of this package enter what was done
// to whom. Nobody's word about ownership is taken: what overlapped, what nobody ran and
// what came too late is computed from the entries.
//
// All methods may be called from several goroutines at once.
type Ledger struct {
	tb testing.TB

	mu      sync.Mutex
	entries []Entry
	now     *account         // of the entries in the order in which they came
	more    chan struct{}    // closed at the next entry
	lives   map[string]*life // the newest of each worker
	sinks   map[string]uint64
	acting  int64 // ticks of the sink's own clock
	acts    map[string][]act
}

// A life is one process of a worker, or what stands for it.
type life struct{ over bool }

// An Entry is one line of a [Ledger].
type Entry struct {
	At        time.Time // when it happened; zero: now. Entries of one machine can be compared
	What      What
	Worker    string // empty for a Mark
	Partition string // of Started and Returned; Told of it
	Token     uint64 // of Started and Returned
	Text      string // of a Mark, of an effect, or what was Told

	called time.Time // of an effect, if known: it took place between that and At
	all    bool      // Told of the fleet, not only of the worker
}

// What an [Entry] says.
type What uint8

// What may be entered.
const (
	Started  What = iota + 1 // a handler was called
	Returned                 // and it returned
	Acted                    // an effect of a handler was accepted
	Refused                  // or it was not
	Crashed                  // a worker's process ended; what it ran is owned no more
	Frozen                   // a worker stands still
	Woke                     // and goes on
	Isolated                 // a worker does not reach NATS
	Back                     // and does again
	Mark                     // something that a reader of the account should know
	Told                     // what a worker says of itself or, as leader, of others; nothing follows from it
)

func (w What) String() string {
	if w < Started || w > Told {
		return fmt.Sprintf("What(%d)", uint8(w))
	}
	return [...]string{"", "starts", "returns", "acts", "is refused", "crashes", "freezes", "wakes", "is isolated", "is back", "mark", "says"}[w]
}

// NewLedger begins an account.
func NewLedger(tb testing.TB) *Ledger {
	tb.Helper()
	return &Ledger{
		tb: tb, now: newAccount(), more: make(chan struct{}),
		lives: map[string]*life{}, sinks: map[string]uint64{}, acts: map[string][]act{},
	}
}

// Enter enters what happened elsewhere, in a process of its own for example. Entries
// may come late and out of order; [Ledger.Check] and [Ledger.Report] go by At.
func (l *Ledger) Enter(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter(e)
}

// enter is Enter under the lock.
func (l *Ledger) enter(e Entry) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if e.What == Crashed {
		l.live(e.Worker).over = true
	}
	l.entries = append(l.entries, e)
	l.now.apply(e)
	l.wake()
}

func (l *Ledger) live(worker string) *life {
	if l.lives[worker] == nil {
		l.lives[worker] = &life{}
	}
	return l.lives[worker]
}

// wake lets those look again who wait. The lock is held.
func (l *Ledger) wake() {
	close(l.more)
	l.more = make(chan struct{})
}

// nudge is wake without an entry.
func (l *Ledger) nudge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake()
}

// Mark writes a line into the timelines: what the test did.
func (l *Ledger) Mark(format string, args ...any) {
	l.Enter(Entry{What: Mark, Text: fmt.Sprintf(format, args...)})
}

// Watch is h, whose starts and returns are entered as those of a worker, whose process
// begins with this call. It is a [parti.Preparer] if h is one.
func (l *Ledger) Watch(worker string, h parti.Handler) parti.Handler {
	mine := &life{}
	l.mu.Lock()
	l.lives[worker] = mine
	l.mu.Unlock()
	watched := parti.HandlerFunc(func(ctx context.Context, lease parti.Lease) error {
		e := Entry{What: Started, Worker: worker, Partition: lease.Partition.ID, Token: lease.Token}
		if !l.begin(mine, e) {
			return nil
		}
		defer func() {
			e.What = Returned
			l.Enter(e)
		}()
		return h.Run(ctx, lease)
	})
	if p, ok := h.(parti.Preparer); ok {
		return struct {
			parti.Handler
			parti.Preparer
		}{watched, p}
	}
	return watched
}

// begin enters a start, unless the process has crashed: then no handler of it starts.
func (l *Ledger) begin(of *life, e Entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of.over {
		l.now.ghosts++
		return false
	}
	l.enter(e)
	return true
}

// Follow tells the ledger what the faults of this package do to a Manager that goes by
// that name: [CrashWorker], [FreezeWorker], and what keeps it from NATS.
func (l *Ledger) Follow(worker string, mgr *parti.Manager) {
	l.tb.Helper()
	l.follow(mgr, func(w What) { l.Enter(Entry{What: w, Worker: worker}) })
}

// follow calls f with what is done to a Manager, until it has crashed: what ends later is
// no more about it, and under its name there may be its successor.
func (l *Ledger) follow(mgr *parti.Manager, f func(What)) {
	l.tb.Helper()
	var crashed atomic.Bool
	tell := func(w What) {
		if w == Crashed && crashed.Swap(true) || w != Crashed && crashed.Load() {
			return
		}
		f(w)
	}
	followed.Store(mgr, tell)
	l.tb.Cleanup(func() { followed.Delete(mgr) })
	if on, ok := storeConn(mgr); ok {
		if link, ok := links.Load(on); ok {
			link.(*Link).follow(tell)
		}
	}
}

// followed finds whom to tell of what is done to a worker: *parti.Manager to func(What).
var followed sync.Map

// told tells the ledger of a worker, if there is one.
func told(mgr *parti.Manager, w What) {
	if tell, ok := followed.Load(mgr); ok {
		tell.(func(What))(w)
	}
}

// Errors of an effect.
var (
	// ErrRefused means that a sink has seen a larger token of that partition.
	ErrRefused = errors.New("partitest: refused: a later owner has been here")
	// ErrCrashed means that the worker was crashed: a process that is gone has no effects.
	ErrCrashed = errors.New("partitest: the worker has crashed: this goroutine should not be here any more")
)

// Act is an effect of a lease on a sink of the ledger's own, which accepts it unless it
// has seen a larger token of that partition, as a table or a bucket does that the user
// fences with tokens. It fails with [ErrRefused] or [ErrCrashed].
func (l *Ledger) Act(lease parti.Lease, what string) error {
	id := lease.Partition.ID
	return l.Effect(lease, what, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.sinks[id] > lease.Token {
			return ErrRefused
		}
		l.sinks[id] = lease.Token
		return nil
	})
}

// Effect is an effect of a lease on the user's own sink. do returns nil when it was
// accepted, an error that wraps [ErrRefused] when it was refused because of its token,
// and any other when nobody knows: it may take place later. All effects of a partition
// must go through here, or a refusal comes from nowhere.
func (l *Ledger) Effect(lease parti.Lease, what string, do func() error) error {
	id := lease.Partition.ID
	l.mu.Lock()
	run := l.now.find(id, lease.Token)
	if run == nil {
		l.mu.Unlock()
		return fmt.Errorf("partitest: no handler that Watch wraps runs %s with token %d", id, lease.Token)
	}
	if run.dead {
		l.now.ghosts++
		l.mu.Unlock()
		return ErrCrashed
	}
	e := Entry{What: Acted, Worker: run.worker, Partition: id, Token: lease.Token, Text: what, called: time.Now()}
	i := l.try(e, l.tick())
	l.mu.Unlock()

	err := do()

	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, ErrRefused):
		e.What = Refused
	case err != nil:
		return err
	}
	l.answer(e, i, l.tick())
	return err
}

// try notes that an effect is under way, as one of which nobody knows what becomes. The
// lock is held.
func (l *Ledger) try(e Entry, call int64) (i int) {
	l.acts[e.Partition] = append(l.acts[e.Partition], act{token: e.Token, call: call, back: never, outcome: unknown})
	return len(l.acts[e.Partition]) - 1
}

// never is later than all ticks.
const never = math.MaxInt64

// answer enters what became of the effect i. The lock is held.
func (l *Ledger) answer(e Entry, i int, back int64) {
	a := &l.acts[e.Partition][i]
	a.back, a.outcome = back, accepted
	if e.What == Refused {
		a.outcome = refused
	}
	l.enter(e)
}

// tick is the time for the checker: later than the last one also where the clock stands
// still. The lock is held.
func (l *Ledger) tick() int64 {
	l.acting = max(l.acting+1, ticks(time.Now()))
	return l.acting
}

// Owner is the worker whose handler of a partition runs, and that could own it: one
// that has crashed or is frozen could not. With several, it is the one with the largest
// token.
func (l *Ledger) Owner(partition string) (worker string, token uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.owner(partition)
}

// Shares counts the partitions that each worker owns, as [Ledger.Owner] says.
func (l *Ledger) Shares() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.shares()
}

// Await waits until so, which looks at the ledger, and is asked again after each entry.
// The test fails when that takes longer than most.
func (l *Ledger) Await(what string, most time.Duration, so func() bool) {
	l.tb.Helper()
	late := time.NewTimer(most)
	defer late.Stop()
	for {
		l.mu.Lock()
		more := l.more
		l.mu.Unlock()
		if so() {
			return
		}
		select {
		case <-more:
		case <-late.C:
			l.tb.Fatalf("not so after %v: %s\n%v own %v", most, what, l.Shares(), l.tail("", 40))
		}
	}
}

// Covered waits until each of these partitions runs on one worker, and on no other.
func (l *Ledger) Covered(most time.Duration, partitions ...parti.Partition) {
	l.tb.Helper()
	l.Await(fmt.Sprintf("%d partitions run on one worker each", len(partitions)), most, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !slices.ContainsFunc(partitions, func(p parti.Partition) bool { return l.now.running(p.ID) != 1 })
	})
}

// A Bound is what [Ledger.Check] asserts beyond what holds for every fleet.
type Bound func(Report) []string

// MaxGap bounds the longest time for which nobody ran a partition that had run before.
func MaxGap(d time.Duration) Bound {
	return func(r Report) (broken []string) {
		for _, g := range r.Gaps {
			if g.Lasted > d {
				broken = append(broken, fmt.Sprintf("%s: nobody ran it for %v after %s, the bound is %v", g.Partition, g.Lasted.Round(time.Millisecond), g.Cause, d))
			}
		}
		return broken
	}
}

// MaxMoves bounds how many partitions another worker started than the one before.
func MaxMoves(n int) Bound {
	return func(r Report) []string {
		if r.Moves > n {
			return []string{fmt.Sprintf("%d moves, the bound is %d", r.Moves, n)}
		}
		return nil
	}
}

// Check asserts, of all that was entered so far, what Parti promises under a policy:
//
//   - tokens grow with each lease of a partition; a handler that has returned early is
//     called again under the same one;
//   - no two handlers of a partition run at once, but for workers that have crashed,
//     that are frozen, or woke a moment ago, and, under [parti.Freeze], that are isolated;
//   - no effect is accepted after one with a larger token;
//   - each partition's history is that of a lock with epochs, as a checker of
//     linearizability finds (Herlihy and Wing, 1990);
//   - every partition that ever ran runs now, unless [Ledger.Over] was said;
//   - and these bounds.
//
// A failure shows the timeline of the partition. Call it while the fleet still runs; after
// Over it does not find what nobody runs.
func (l *Ledger) Check(policy parti.Isolation, bounds ...Bound) {
	l.tb.Helper()
	for _, text := range l.Violations(policy, bounds...) {
		l.tb.Error(text)
	}
}

// Violations is what [Ledger.Check] would report, each with the timeline of its
// partition; of many only the first, and how many there are. It is for programs that are
// no tests.
func (l *Ledger) Violations(policy parti.Isolation, bounds ...Bound) (texts []string) {
	r := l.Report()
	found := append(r.breaches(policy), l.still().irregular(policy)...)
	for _, b := range bounds {
		for _, text := range b(r) {
			found = append(found, breach{text: text})
		}
	}
	for i, b := range found {
		if i == maxBreaches {
			return append(texts, fmt.Sprintf("and %d more", len(found)-i))
		}
		if b.partition == "" {
			b.partition, _, _ = strings.Cut(b.text, ":")
		}
		texts = append(texts, b.text+"\n"+l.tail(b.partition, 100))
	}
	return texts
}

// maxBreaches is how many are shown.
const maxBreaches = 5

// Over says that what ends from now on ends with the test: it leaves no gap, and nobody need
// run anything any more, nor what nobody runs by now.
func (l *Ledger) Over() { l.Mark(overMark) }

const overMark = "the test is over"

// Report says in numbers what happened so far.
func (l *Ledger) Report() Report {
	a := newAccount()
	for _, e := range l.sorted() {
		a.apply(e)
	}
	a.linger(time.Now()) // also where nothing was entered since an excuse was over
	l.mu.Lock()
	ghosts := l.now.ghosts
	l.mu.Unlock()
	a.ghosts = ghosts
	return a.report()
}

// still is a copy for the checker, to which nothing is added. Of the effects with one
// token of which nobody knows, the first is enough: it may take place at any time later.
func (l *Ledger) still() *Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &Ledger{entries: slices.Clone(l.entries), acts: map[string][]act{}}
	for id, all := range l.acts {
		first := map[uint64]int{} // by token, in kept
		var kept []act
		for _, a := range all {
			if a.outcome == unknown {
				if i, more := first[a.token]; more {
					kept[i].call = min(kept[i].call, a.call)
					continue
				}
				first[a.token] = len(kept)
			}
			kept = append(kept, a)
		}
		c.acts[id] = kept
	}
	return c
}

// sorted are the entries by time.
func (l *Ledger) sorted() []Entry {
	l.mu.Lock()
	all := slices.Clone(l.entries)
	l.mu.Unlock()
	place(all)
	slices.SortStableFunc(all, func(a, b Entry) int { return a.At.Compare(b.At) })
	return all
}

// place settles when effects took place that were accepted while others were under way:
// before all of the partition that were accepted with a larger token, if that is within
// the time in which they were tried.
func place(all []Entry) {
	acted := map[string][]*Entry{}
	for i := range all {
		if e := &all[i]; e.What == Acted {
			acted[e.Partition] = append(acted[e.Partition], e)
		}
	}
	for _, es := range acted {
		slices.SortStableFunc(es, func(a, b *Entry) int { return cmp.Compare(b.Token, a.Token) })
		// Of the effects with larger tokens: the first answer, and the first place.
		var answered, placed time.Time
		for len(es) > 0 {
			same := 1
			for same < len(es) && es[same].Token == es[0].Token {
				same++
			}
			nextAnswered, nextPlaced := answered, placed
			for _, e := range es[:same] {
				nextAnswered = earlier(nextAnswered, e.At)
				if !answered.IsZero() && !e.At.Before(placed) && !e.called.IsZero() && !answered.Before(e.called) {
					e.At = placed.Add(-1)
				}
				nextPlaced = earlier(nextPlaced, e.At)
			}
			answered, placed, es = nextAnswered, nextPlaced, es[same:]
		}
	}
	for i := range all {
		all[i].called = time.Time{}
	}
}

// earlier is the earlier one; a zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// Timeline is what was entered of a partition and of the workers that had it, and what
// workers said of it, of themselves or, as leaders, of others, a line each in the order of
// time; what was done again and again is one line.
func (l *Ledger) Timeline(partition string) string { return l.tail(partition, math.MaxInt) }

// tail is the end of the timeline of a partition, or of all.
func (l *Ledger) tail(partition string, most int) string {
	all := l.sorted()
	if len(all) == 0 {
		return "nothing was entered"
	}
	began := all[0].At
	had := map[string]bool{}
	for _, e := range all {
		had[e.Worker] = had[e.Worker] || e.What == Started && e.Partition == partition
	}
	var lines []string
	type again struct{ line, times int }
	acts := map[Entry]again{} // since something else happened
	for _, e := range all {
		switch {
		case partition != "" && e.Partition != "" && e.Partition != partition:
			continue
		case partition != "" && e.Worker != "" && !had[e.Worker] && !e.all && (e.What != Told || e.Partition == ""):
			continue
		}
		at := e.At.Sub(began).Seconds()
		e.At = time.Time{}
		if e.What != Acted && e.What != Refused {
			clear(acts)
		} else if a := acts[e]; a.times > 0 { // a handler does the same again and again
			a.times++
			lines[a.line] = fmt.Sprintf("%10.3fs  %s, %d times until then", at, e, a.times)
			acts[e] = a
			continue
		} else {
			acts[e] = again{len(lines), 1}
		}
		lines = append(lines, fmt.Sprintf("%10.3fs  %s", at, e))
	}
	if len(lines) > most {
		lines = append([]string{fmt.Sprintf("... %d lines before", len(lines)-most)}, lines[len(lines)-most:]...)
	}
	return strings.Join(lines, "\n")
}

func (e Entry) String() string {
	switch e.What {
	case Mark:
		return "-- " + e.Text
	case Told:
		if e.Partition != "" {
			return fmt.Sprintf("   %s on %s: %s", e.Worker, e.Partition, e.Text)
		}
		return fmt.Sprintf("   %s: %s", e.Worker, e.Text)
	case Started, Returned:
		return fmt.Sprintf("%s %s %s (token %d)", e.Worker, e.What, e.Partition, e.Token)
	case Acted, Refused:
		return fmt.Sprintf("%s %s on %s: %s (token %d)", e.Worker, e.What, e.Partition, e.Text, e.Token)
	default:
		return e.Worker + " " + e.What.String()
	}
}
