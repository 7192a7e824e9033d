package parti

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/member"
)

const (
	// lookAtLeast is how often the clocks are compared, so that a suspension is
	// noticed soon after it.
	lookAtLeast = time.Second
	// spinGuard is the least time between two steps that no fact asked for.
	spinGuard = time.Millisecond
	// lastWords is how long the writes of a member that has ended may take.
	lastWords = 2 * time.Second
	// abandonGrace is how long handlers whose Hard has ended may take to return once
	// nobody has time to wait for them.
	abandonGrace = time.Second
	// closeGrace is how long a store and a source may take to return once their context
	// has ended: on a busy machine that is no matter of milliseconds.
	closeGrace = 5 * time.Second
)

// A brain is a [member.Machine], or a test's.
type brain interface {
	Step(now time.Time, f member.Fact)
	Ready() member.Ready
}

// An executor gives a brain hands: one goroutine owns it, tells it facts in the
// order in which they came, and carries out what it wants.
//
//	ops, probes, followings, handlers ──► queue ──► brain ──► Ready
//	      ▲                                                     │
//	      └──────────────────── carryOut ◄──────────────────────┘
type executor struct {
	brain   brain
	clock   *clock
	queue   *queue
	ops     *operator
	runner  *runner
	jobs    *jobs
	publish func([]Event)

	// trusted is until when ownership is provable, as time elapsed on the clock; zero
	// or less: it is not.
	trusted atomic.Int64

	fence   bool         // never go on without trust
	until   atomic.Int64 // the same of the session itself: no handler goes on after that
	deadman *time.Timer  // of the fence

	exit      func(why string) // ends the process; called once or more
	assigning *sync.WaitGroup  // calls of the strategy

	gate *gate // that a test may shut
	asks asks

	mu    sync.Mutex
	notes []Event // of the shell's own, for the next turn
	seen  member.Ready
	group glimpse
	hasty error // why nobody has time to wait any more

	glimpse glimpse // the loop's own

	ready  func()        // called once, when the first slice is applied; without a handler none is waited for
	closed func()        // called once, when the connection is closed for good
	force  chan struct{} // closed when nobody waits any more
}

// check is the session's part of [Lease.Check].
func (e *executor) check() error {
	if t := e.trusted.Load(); t <= 0 || e.clock.elapsed() >= time.Duration(t) {
		return ErrFenced
	}
	return nil
}

// note adds an event of the shell's own.
func (e *executor) note(ev Event) {
	e.mu.Lock()
	e.notes = append(e.notes, ev)
	e.mu.Unlock()
	e.queue.wake()
}

// loop is the goroutine that owns the brain. It returns when the member has ended,
// with its error, or when it is forced to.
func (e *executor) loop() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for e.gate.enter(e.force) {
		done, err := e.turn(timer)
		e.gate.leave()
		if done {
			return err
		}
		select {
		case <-e.queue.signal:
		case <-timer.C:
		case <-e.force:
			return nil
		}
	}
	return nil
}

// forced reports whether nobody waits any more.
func (e *executor) forced() bool {
	select {
	case <-e.force:
		return true
	default:
		return false
	}
}

// turn tells the brain what has happened, and sets the timer for the next turn. It
// reports whether the member has ended, or was forced to.
func (e *executor) turn(timer *time.Timer) (done bool, err error) {
	e.answerAsks()
	facts := e.queue.take()
	if e.clock.look() {
		facts = append([]member.Fact{member.Jumped{}}, facts...)
	}
	if len(facts) == 0 {
		facts = []member.Fact{member.Tick{}}
	}
	var rd member.Ready
	for _, f := range facts {
		if e.forced() { // there may be many
			return true, nil
		}
		// One Ready for each fact: lists of orders from two would have lost their order.
		e.glimpse.look(f)
		e.brain.Step(e.clock.now(), f)
		rd = e.brain.Ready()
		e.carryOut(rd)
		if rd.Done {
			return true, rd.Err
		}
	}
	timer.Reset(e.sleep(rd.WakeAt))
	return false, nil
}

// sleep is how long to wait when nothing happens.
func (e *executor) sleep(until time.Time) time.Duration {
	if until.IsZero() {
		return lookAtLeast
	}
	return min(max(until.Sub(e.clock.now()), spinGuard), lookAtLeast)
}

func (e *executor) carryOut(rd member.Ready) {
	e.trusted.Store(int64(e.elapsedAt(rd.Trusted)))
	e.trust(e.elapsedAt(rd.Until))

	// What is to be started and to end was started first: it ends before it begins.
	runs := make([]*run, len(rd.Start))
	for i, g := range rd.Start {
		runs[i] = e.runner.add(g, rd.WorkerID)
	}
	for _, s := range rd.Hard {
		e.runner.end(s, true)
	}
	for _, s := range rd.Stop {
		e.runner.end(s, false)
	}
	for _, run := range runs {
		e.runner.start(run)
	}
	for _, id := range rd.Forget {
		e.runner.forget(id)
	}
	for _, p := range rd.Prepare {
		e.runner.prepare(p)
	}
	for _, op := range rd.Ops {
		e.ops.send(op)
	}
	e.jobs.set(rd)

	e.mu.Lock()
	events := e.notes
	e.notes = nil
	from := e.seen.State
	e.glimpse.mine(rd)
	e.seen, e.group = rd, e.glimpse
	e.mu.Unlock()
	events = append(events, rd.Events...)
	if rd.State != from && !slices.ContainsFunc(rd.Events, isStateChange) {
		events = append(events, event.StateChanged{From: stateOf(from).String(), To: stateOf(rd.State).String()})
	}
	if rd.Done { // that it has stopped is told last, when all of it has
		events = slices.DeleteFunc(events, isLast)
	}
	if len(events) > 0 {
		e.publish(events)
	}
	if e.ready != nil && rd.Applied && (rd.State == member.Stable || rd.State == member.Degraded) {
		e.ready()
		e.ready = nil
	}
	if rd.Exit != nil {
		e.exit(fmt.Sprintf("the handler of %s ignores Hard, and %s asked for this process to end: %s", rd.Exit.Partition, rd.Exit.Who, cmp.Or(rd.Exit.Why, "no reason given")))
	}
	if rd.Closed && e.closed != nil {
		e.closed()
		e.closed = nil
	}
	// Nobody takes the last words any more, and whoever has none to say ends for the same cause.
	if rd.Closed && !e.runner.busy() && (rd.State == member.ShuttingDown || rd.Done && rd.Err == nil) {
		e.abandon(ErrConnectionClosed)
	}
}

// elapsedAt is t as time elapsed on the clock; 0 for the zero time.
func (e *executor) elapsedAt(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return e.clock.since(t)
}

// trust notes until when the session can be proved.
//
// Under Fence the brain ends all Hard contexts by then, also where nothing is provable before,
// since the own slice is to be heard again. Should it not, because its goroutine hangs, a
// timer does it.
func (e *executor) trust(until time.Duration) {
	was := time.Duration(e.until.Swap(int64(until)))
	if !e.fence || was == until {
		return
	}
	left := until - e.clock.elapsed()
	switch {
	case left <= 0: // the brain is awake, and knows
		if e.deadman != nil {
			e.deadman.Stop()
		}
	case e.deadman == nil:
		e.deadman = time.AfterFunc(left, e.fenceAll)
	default:
		e.deadman.Reset(left)
	}
}

// fenceAll ends all Hard contexts if the session cannot be proved.
func (e *executor) fenceAll() {
	select {
	case <-e.gate.isOpen():
	case <-e.force:
	}
	if e.clock.elapsed() >= time.Duration(e.until.Load()) {
		e.runner.endAll(ErrFenced)
	}
}

func isStateChange(ev Event) bool {
	_, ok := ev.(event.StateChanged)
	return ok
}

// finish ends all that the executor began, once its loop has returned. It says
// what did not end.
func (e *executor) finish() error {
	e.trusted.Store(0)
	e.until.Store(0)
	if e.deadman != nil {
		e.deadman.Stop()
	}
	e.queue.shutDown()
	if !e.forced() {
		e.ops.finishWrites(lastWords)
	}
	e.mu.Lock()
	errs := []error{e.hasty}
	e.seen.Leading = false // also where the brain could not say so any more
	e.mu.Unlock()
	if stuck := e.runner.abandon(abandonGrace); len(stuck) > 0 {
		errs = append(errs, &StuckError{Partitions: stuck})
	}
	e.jobs.cancel()
	e.ops.cancel()
	late := time.Now().Add(closeGrace) // for all of them together
	for _, x := range []struct {
		all   *sync.WaitGroup
		whose string
	}{
		{&e.jobs.wait, "the store"},
		{&e.ops.wait, "the store"},
		{&e.jobs.source, "the partition source's Watch"},
		{&e.ops.lists, "the partition source"},
	} {
		if !within(max(time.Until(late), closeGrace/50), x.all.Wait) {
			errs = append(errs, fmt.Errorf("parti: %s does not return although its context has ended", x.whose))
		}
	}
	if !within(max(time.Until(late), closeGrace/50), e.assigning.Wait) {
		errs = append(errs, errors.New("parti: the strategy does not return"))
	}
	return errors.Join(errs...)
}

// status is what the brain said last.
func (e *executor) status() (member.Ready, glimpse) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen, e.group
}

// trustedFor is for how long ownership is provable from now on.
func (e *executor) trustedFor() time.Duration {
	return max(time.Duration(e.trusted.Load())-e.clock.elapsed(), 0)
}

// abandon says that nobody has time to wait any more.
func (e *executor) abandon(cause error) {
	what := "before the store had taken the last words"
	if e.runner.busy() {
		what = "while handlers ran"
	}
	err := fmt.Errorf("parti: time to stop was over %s; the session is left to lapse: %w", what, cause)
	if errors.Is(cause, ErrConnectionClosed) {
		err = fmt.Errorf("%w; the session is left to lapse", cause)
	}
	e.mu.Lock()
	first := e.hasty == nil
	e.hasty = cmp.Or(e.hasty, err)
	e.mu.Unlock()
	if first {
		e.queue.push(member.Abandon{})
	}
}
