package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// A step is one thing that happens to the fleet, and what must hold after it.
type step struct {
	name string // in the summary
	// ready waits until the step can begin; nil: it can.
	ready func(s *story, ctx context.Context) error // a method of it
	// tell says in plain words what happens and what to look for; do makes it
	// happen and returns once the facts are there.
	tell func(s *story) string
	do   func(s *story, ctx context.Context) error // a method of it
	// bound says how few moves the change needs; nil: none.
	bound func(s *story) int
	// quiet says that no plan may be made.
	quiet bool
}

// stepTime is how long one change may take until everything runs and nothing is
// pending any more: many times what it takes, also on a machine that does much else.
const stepTime = 2 * time.Minute

// A story is the script, and what is known while it is played.
type story struct {
	fleet    *fleet
	feed     *feed
	book     *ledger
	bell     *bell
	producer *producer
	chance   *rand.Rand
	sabotage Sabotage
	patience time.Duration // for one wait

	victim *worker           // whom the step is about
	before map[int]int       // how many partitions each life had when the step began
	owners map[string]string // who had what when the step began

	began    []time.Time // when each step began
	complete bool        // no more messages are sent: what is missing in the end is lost

	mu      sync.Mutex
	at      int // the present step
	text    string
	waiting string
	outcome string
}

// A brokenError is a promise that did not hold.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

func broken(format string, args ...any) error { return &brokenError{fmt.Sprintf(format, args...)} }

func script() []step {
	return []step{
		{
			name: "cold start",
			tell: func(s *story) string {
				return fmt.Sprintf("%d workers start at the same time. One of them becomes leader and shares %d partitions out in one plan, not in one plan per worker.",
					s.fleet.expected, len(s.book.ids))
			},
			do:    (*story).coldStart,
			bound: func(s *story) int { return len(s.book.ids) },
		},
		{
			name: "steady",
			tell: func(*story) string {
				return "Nothing changes, and so no plan is made. Every partition works off its messages."
			},
			do:    (*story).steady,
			quiet: true,
		},
		{
			name: "worker killed",
			tell: func(s *story) string {
				s.victim = s.pick()
				return fmt.Sprintf("%s is killed: its sockets are closed, nothing is said, nothing released. The leader must find out; then its %d partitions go to the others, and nobody else's move.",
					s.victim.name(), s.before[s.victim.life])
			},
			do:    (*story).kill,
			bound: (*story).orphaned,
		},
		{
			name: "worker added",
			tell: func(s *story) string {
				return "A new worker joins. It gets its fair share, and no partition moves between the others."
			},
			do: (*story).add,
			bound: func(s *story) int {
				with := maps.Clone(s.before)
				with[0] = 0 // lives are counted from 1
				return leastMoves(with, len(s.book.ids))
			},
		},
		{
			name: "worker drained",
			tell: func(s *story) string {
				s.victim = s.pick()
				return fmt.Sprintf("An operator drains %s. Each of its %d partitions is let go here before it begins elsewhere; when it is empty, it is stopped.",
					s.victim.name(), s.before[s.victim.life])
			},
			do:    (*story).drain,
			bound: (*story).orphaned,
		},
		{
			name:  "leader killed",
			ready: (*story).seizeLeader,
			tell: func(s *story) string {
				return fmt.Sprintf("The leader, %s, is killed. Another takes over and goes on from what the store says; that alone moves nothing. Only the %d partitions that died with it begin elsewhere.",
					s.victim.name(), s.before[s.victim.life])
			},
			do:    (*story).kill,
			bound: (*story).orphaned,
		},
		{
			name: "rolling restart",
			tell: func(s *story) string {
				return fmt.Sprintf("All %d workers are restarted, one after the other, the leader last. Each comes back under the same identity within RestartGrace, here %v: nothing moves.",
					len(s.fleet.alive()), restartGrace)
			},
			do: (*story).restart,
		},
		{
			name: "quiet",
			tell: func(*story) string {
				return "No more messages are sent. What is under way is worked off, and then the books are closed."
			},
			do:    (*story).finish,
			quiet: true,
		},
	}
}

// orphaned is the number of partitions that the victim had, which have to move.
func (s *story) orphaned() int {
	left := maps.Clone(s.before)
	delete(left, s.victim.life)
	return leastMoves(left, len(s.book.ids))
}

// play plays one step and says what came of it. The error is a brokenError, or
// ctx's, or that of something that should not fail.
func (s *story) play(ctx context.Context, n int, st step, tell func(string)) (Step, error) {
	if st.ready != nil {
		if err := st.ready(s, ctx); err != nil {
			s.began = append(s.began, time.Now())
			return Step{Name: st.name}, st.of(err)
		}
	}
	s.book.Step(n)
	s.before, _ = s.book.Loads()
	s.owners = s.book.Owners()
	for _, w := range s.fleet.alive() {
		s.before[w.life] += 0 // also who has nothing
	}
	text := st.tell(s)
	bound := 0
	if st.bound != nil {
		bound = st.bound(s)
	}
	s.set(n, text)
	tell(text)

	counted, began := s.book.Counters(), time.Now()
	s.began = append(s.began, began)
	err := st.do(s, ctx)
	took := time.Since(began)

	now := s.book.Counters().since(counted)
	out := Step{
		Name: st.name, TookMs: took.Milliseconds(), Moved: now.Placed + now.Moved, Bound: bound,
		Processed: now.Processed, Repeated: now.Repeated,
	}
	out.Plans, out.LeaderBound = s.plans(n)
	if s.late(n) {
		out.Bound = max(out.Bound, out.LeaderBound)
	}
	var gaps []gap
	for _, g := range s.book.Gaps() {
		if g.Step == n {
			gaps = append(gaps, g)
		}
	}
	out.Unowned = spread(gaps)
	s.closed(out.String())
	if err != nil {
		return out, st.of(err)
	}
	return out, s.judge(n, st, out)
}

// of says in which step a promise was broken.
func (st step) of(err error) error {
	if be := (*brokenError)(nil); errors.As(err, &be) {
		return broken("%s: %s", st.name, be.text)
	}
	return err
}

// plans counts the plans that were decided in step n, and what had to move in the
// leader's own account. What only goes back to where it was before does not move.
func (s *story) plans(n int) (count, bound int) {
	for _, d := range s.feed.Plans() {
		if d.At.Before(s.began[n]) || (n+1 < len(s.began) && !d.At.Before(s.began[n+1])) {
			continue
		}
		count++
		if d.Strategy != nil && d.Why != plan.WhyReturn {
			bound += d.Strategy.BoundMoves
		}
	}
	return count, bound
}

// late reports whether the first plan, if it was made in step n, the cold start, went
// without some: on a busy machine they start more than a settle time apart, and what they
// get then has to move.
func (s *story) late(n int) bool {
	if n != 0 {
		return false
	}
	for _, d := range s.feed.Plans() {
		if d.Why == plan.WhyFirstPlan {
			return d.Workers < s.fleet.expected
		}
	}
	return false
}

// terms counts the plans since step n began that only say who leads: a leader gives way when
// the machine has stood still for longer than it may.
func (s *story) terms(n int) (count int) {
	for _, d := range s.feed.Plans() {
		if d.Why == plan.WhyTerm && len(d.Moves) == 0 && !d.At.Before(s.began[n]) {
			count++
		}
	}
	return count
}

// judge says which promise of economy step n broke.
func (s *story) judge(n int, st step, out Step) error {
	switch {
	case out.Moved > tolerated(out.Bound):
		return broken("%s: %d partitions moved where %d were enough", st.name, out.Moved, out.Bound)
	case st.quiet && out.Plans > s.terms(n):
		return broken("%s: %d plans were made although nothing had changed", st.name, out.Plans-s.terms(n))
	}
	return nil
}

func (s *story) set(n int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.text, s.outcome = n, text, ""
}

func (s *story) closed(outcome string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting, s.outcome = "", outcome
}

func (s *story) wait(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = text
}

func (s *story) scene() (at int, text, waiting, outcome string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, s.text, s.waiting, s.outcome
}

// look is how often facts are looked at that ring no bell.
const look = 50 * time.Millisecond

// await returns once missing says "". It breaks the promise that the group gets
// there when that takes too long, naming what was missing.
func (s *story) await(ctx context.Context, missing func() string) error {
	late := time.NewTimer(s.patience)
	defer late.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		heard := s.bell.heard()
		what := missing()
		for _, w := range s.fleet.alive() {
			select {
			case <-w.up:
				if w.fail != nil {
					return broken("%s ended by itself: %v", w.name(), w.fail)
				}
			default:
			}
		}
		s.wait(what)
		if what == "" {
			return nil
		}
		select {
		case <-heard:
		case <-tick.C:
		case <-late.C:
			return broken("after %v still waiting for %s", s.patience, what)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// settled says what is missing until every partition runs on exactly one living
// worker, evenly, and the leader says that nothing is pending.
func (s *story) settled() string {
	loads, orphans := s.book.Loads()
	if orphans > 0 {
		return fmt.Sprintf("%d partitions to run", orphans)
	}
	least, most := len(s.book.ids), 0
	alive := s.fleet.alive()
	for _, w := range alive {
		n := loads[w.life]
		least, most = min(least, n), max(most, n)
		delete(loads, w.life)
	}
	if len(loads) > 0 {
		return "a worker that is gone to let go"
	}
	if most-least > 1 {
		return fmt.Sprintf("an even share: between %d and %d partitions now", least, most)
	}
	// A token is the version of the plan that granted it. The account of a plan may
	// come a little later than its effect.
	if v := plan.Version(s.book.Newest()); v > s.feed.Newest() {
		return "the leader's account of plan " + number(v)
	}
	w := s.fleet.leader()
	if w == nil {
		return "a leader"
	}
	if phase := w.mgr.Status().Phase; phase != plan.Stable {
		return fmt.Sprintf("the leader to say that nothing is pending (%v now)", phase)
	}
	return ""
}

// pick chooses a worker that does not lead.
func (s *story) pick() *worker {
	alive := slices.DeleteFunc(s.fleet.alive(), func(w *worker) bool { return w.mgr.IsLeader() })
	return alive[s.chance.IntN(len(alive))]
}

// seizeLeader makes the leader the victim. There may be none for a while, since a spectator
// looks on between two steps: the machine may have slept, and another is being elected.
func (s *story) seizeLeader(ctx context.Context) error {
	return s.await(ctx, func() string {
		if s.victim = s.fleet.leader(); s.victim == nil {
			return "a leader"
		}
		return ""
	})
}

func (s *story) coldStart(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, s.fleet.expected)
	for i := range errs {
		name := s.fleet.newName()
		wg.Go(func() { _, errs[i] = s.fleet.start(ctx, name) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := s.await(ctx, s.settled); err != nil {
		return err
	}
	asked := 0
	for _, d := range s.feed.Plans() {
		if d.Why == plan.WhyFirstPlan {
			asked++
		}
	}
	if asked != 1 {
		return broken("%d first plans were made, not one", asked)
	}
	return nil
}

// steadyMessages is what every partition must work off before the next step.
const steadyMessages = 5

func (s *story) steady(ctx context.Context) error {
	s.producer.start(context.WithoutCancel(ctx))
	began := s.book.Done()
	err := s.await(ctx, func() string {
		behind := 0
		for id, n := range s.book.Done() {
			if n < began[id]+steadyMessages {
				behind++
			}
		}
		if behind > 0 {
			return fmt.Sprintf("%d messages on each of %d partitions", steadyMessages, behind)
		}
		return ""
	})
	if err != nil {
		return err
	}
	return s.sabotaged(ctx)
}

func (s *story) kill(ctx context.Context) error {
	s.fleet.kill(ctx, s.victim)
	if err := s.await(ctx, s.settled); err != nil {
		return err
	}
	return s.stayed()
}

// stayed checks that nothing moved between those who were there before and after.
func (s *story) stayed() error {
	gone := s.victim.name()
	var moved []string
	for id, now := range s.book.Owners() {
		if was := s.owners[id]; was != gone && was != now {
			moved = append(moved, id)
		}
	}
	if len(moved) > 0 {
		slices.Sort(moved)
		return broken("%d partitions of workers that were not concerned moved: %s", len(moved), some(moved))
	}
	return nil
}

func (s *story) add(ctx context.Context) error {
	w, err := s.fleet.start(ctx, s.fleet.newName())
	if err != nil {
		return err
	}
	if err := s.await(ctx, s.settled); err != nil {
		return err
	}
	var moved []string
	for id, now := range s.book.Owners() {
		if now != s.owners[id] && now != w.name() {
			moved = append(moved, id)
		}
	}
	if len(moved) > 0 {
		slices.Sort(moved)
		return broken("%d partitions moved between workers that were there before: %s", len(moved), some(moved))
	}
	return nil
}

func (s *story) drain(ctx context.Context) error {
	lift, err := s.order(ctx, plan.Control{Kind: plan.Drain, Worker: s.victim.name(), Who: "parti demo", When: time.Now().UTC(), Why: "to show it"})
	if err != nil {
		return err
	}
	if err := s.await(ctx, func() string {
		loads, _ := s.book.Loads()
		if n := loads[s.victim.life]; n > 0 {
			return fmt.Sprintf("%s to let go of %d partitions", s.victim.name(), n)
		}
		return ""
	}); err != nil {
		return err
	}
	if err := s.fleet.stop(ctx, s.victim); err != nil {
		return err
	}
	if err := s.await(ctx, s.settled); err != nil {
		return err
	}
	if err := lift(ctx); err != nil {
		return err
	}
	return s.stayed()
}

// order writes an operator's wish into the store, and returns how to take it back. It does
// so by the connection of a worker that stays; nobody need lead at that moment.
func (s *story) order(ctx context.Context, c plan.Control) (lift func(context.Context) error, err error) {
	others := slices.DeleteFunc(s.fleet.alive(), func(w *worker) bool { return w == s.victim })
	if len(others) == 0 {
		return nil, errors.New("nobody is left")
	}
	w := others[0]
	key := wire.Key{Kind: wire.Control, Name: string(c.Kind) + "." + c.Worker}.String()
	value, err := wire.Encode(c)
	if err != nil {
		return nil, err
	}
	rev, err := w.store.Write(ctx, kv.Write{Key: key, Value: value})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", key, err)
	}
	return func(ctx context.Context) error {
		if _, err := w.store.Write(ctx, kv.Write{Key: key, Last: rev, Remove: true}); err != nil {
			return fmt.Errorf("remove %s: %w", key, err)
		}
		return nil
	}, nil
}

func (s *story) restart(ctx context.Context) error {
	all := s.fleet.alive()
	leader := s.fleet.leader()
	slices.SortStableFunc(all, func(a, b *worker) int {
		switch {
		case a == leader && b != leader:
			return 1
		case b == leader && a != leader:
			return -1
		default:
			return 0
		}
	})
	for _, w := range all {
		id := w.name()
		if err := s.fleet.stop(ctx, w); err != nil {
			return err
		}
		if _, err := s.fleet.start(ctx, w.identity); err != nil {
			return err
		}
		if err := s.await(ctx, s.settled); err != nil {
			return err
		}
		for p, now := range s.book.Owners() {
			if now != s.owners[p] {
				return broken("%s went from %s to %s when %s was restarted", p, s.owners[p], now, id)
			}
		}
	}
	return nil
}

// lostAfter is how long nothing may be processed before what is missing is lost: by
// then the server has given it out again, six times, or the machine has stood still for
// longer than one that works does.
const lostAfter = 6 * ackWait

func (s *story) finish(ctx context.Context) error {
	s.producer.stop()
	s.complete = true
	done, last := uint64(0), time.Now()
	return s.await(ctx, func() string {
		n, named := s.book.Missing()
		if now := s.book.Counters().Processed; now != done {
			done, last = now, time.Now()
		}
		if n == 0 || time.Since(last) > lostAfter {
			return "" // the books say what is lost
		}
		return fmt.Sprintf("%d messages: %s", n, some(named))
	})
}

// some names a few.
func some(names []string) string {
	if len(names) > maxFound {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxFound], ", "), len(names)-maxFound)
	}
	return strings.Join(names, ", ")
}

// Sabotage breaks a promise on purpose, to see that the demo notices.
type Sabotage string

// The kinds of sabotage.
const (
	SabotageNone  Sabotage = ""
	SabotageLose  Sabotage = "lose"  // a message is acknowledged and not processed
	SabotageTwice Sabotage = "twice" // a partition is run by two workers at once
	SabotageToken Sabotage = "token" // a partition begins under an old token
	SabotageStuck Sabotage = "stuck" // the script waits for what never comes
)

// Sabotages are all of them.
func Sabotages() []string {
	return []string{string(SabotageLose), string(SabotageTwice), string(SabotageToken), string(SabotageStuck)}
}

func (s *story) sabotaged(ctx context.Context) error {
	owners := s.book.Owners()
	id := s.book.ids[0]
	other := s.fleet.alive()[0]
	if other.name() == owners[id] {
		other = s.fleet.alive()[1]
	}
	switch s.sabotage {
	case SabotageLose:
		s.fleet.lose.Store(true)
	case SabotageTwice, SabotageToken:
		token := uint64(1)
		if s.sabotage == SabotageTwice {
			token = s.book.Newest()
		}
		// The end of a run is told by nobody but itself; this one ends at once.
		s.book.Begin(id, owner{other.life, other.name()}, token).End(byReturn)
	case SabotageStuck:
		s.patience = time.Second
		return s.await(ctx, func() string { return "something that never comes" })
	case SabotageNone:
	}
	return nil
}
