package parti

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// stopGrace is how much longer than DrainTimeout Run waits for a clean stop:
// handlers need time after Hard, and the store time for the last words.
const stopGrace = 10 * time.Second

// A Manager is one worker of a group. It claims a worker ID, runs the partitions
// that it is given by calling the handler, and leads the group when it is elected.
//
// A Manager has one life: call Run, or Start and Stop. All methods may be called
// from several goroutines at once, and from hooks and observers.
type Manager struct {
	cfg      Config
	identity string
	store    Store
	source   PartitionSource
	handler  Handler
	opts     options

	ready chan struct{} // closed when the first slice is applied
	done  chan struct{} // closed when all has ended but the last hooks and observers
	err   error         // why, valid then

	assigning sync.WaitGroup // calls of the strategy, also those that were given up

	think func(member.Config, time.Time) brain // makes the brain
	read  func() time.Time                     // reads the wall clock and the monotonic one

	mu       sync.Mutex
	started  bool
	stopped  bool // Stop came first
	exec     *executor
	board    *board
	couriers []*courier
	force    sync.Once
	leave    sync.Once // the process ends
}

// NewManager makes a worker of the group whose state is in store. It starts nothing.
//
// A nil source makes a worker that never leads, a nil handler one that never owns a
// partition; not both. It reports everything that is wrong with cfg and the other
// arguments at once: [ConfigError]s, and what the Check method of a strategy that has one
// says, joined. What is only unwise is logged as a warning.
func NewManager(store Store, source PartitionSource, handler Handler, cfg Config, opts ...Option) (*Manager, error) {
	m := &Manager{
		cfg: withDefaults(cfg), store: store, source: source, handler: handler,
		ready: make(chan struct{}), done: make(chan struct{}), board: newBoard(),
		think: func(c member.Config, now time.Time) brain { return member.New(c, now) }, read: time.Now,
	}
	for _, o := range opts {
		if o != nil {
			o.apply(&m.opts)
		}
	}
	if m.opts.log == nil {
		m.opts.log = slog.New(urgent{slog.Default().Handler()})
	}
	if m.opts.strategy == nil {
		m.opts.strategy = strategy.Sticky()
	}

	var k checker
	k.must(!hollow(store), "store", "nil", "a store, such as natskv.Open returns")
	k.must(source != nil || handler != nil, "handler", "nil", "a Handler, or else there must be a source: a worker with neither does nothing")
	k.must(source == nil || !hollow(source), "source", fmt.Sprintf("a nil %T", source), "a PartitionSource, or plain nil for a worker that never leads")
	k.must(handler == nil || !hollow(handler), "handler", fmt.Sprintf("a nil %T", handler), "a Handler, or plain nil for a worker that never owns a partition")
	k.must(m.opts.log.Handler() != nil, "logger", "a *slog.Logger without a handler", "one that slog.New made, or plain nil for slog.Default")
	if hollow(m.opts.strategy) {
		k.must(false, "strategy", fmt.Sprintf("a nil %T", m.opts.strategy), "an AssignmentStrategy, or plain nil for strategy.Sticky")
	} else if s, ok := m.opts.strategy.(interface{ Check() error }); ok {
		if err := s.Check(); err != nil {
			k.errs = append(k.errs, err)
		}
	}
	if err := errors.Join(append(k.errs, m.cfg.check())...); err != nil {
		return nil, err
	}
	for _, text := range m.cfg.warnings() {
		m.opts.log.Warn("unwise configuration", "what", text)
	}
	m.identity = m.cfg.Identity
	if m.identity == "" {
		m.identity = hostname()
	}
	return m, nil
}

// hollow tells whether v is nil, or an interface around a nil function or pointer.
func hollow(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || (r.Kind() == reflect.Func || r.Kind() == reflect.Pointer) && r.IsNil()
}

// Run is the worker's whole life: it starts, and when ctx ends it stops cleanly and
// returns nil. It takes up to Config.DrainTimeout for that, and ten seconds more;
// then it returns an error that names what would not stop, a [StuckError]. It
// returns earlier, with an error, when the worker cannot go on, as with
// [ErrIdentityInUse] or [ErrConnectionClosed], and with nil when Stop has stopped it.
// Nothing is left behind then: Run waits for the last hooks and observers, too. Where
// something does not end though it was told to, that takes some seconds more: give the
// process DrainTimeout and half a minute before it is killed.
//
// Handlers, hooks and the source get the values of ctx, but not its end.
func (m *Manager) Run(ctx context.Context) error {
	switch err := m.begin(ctx); {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return nil // there was nothing to stop
	case err != nil:
		return err
	}
	select {
	case <-ctx.Done():
	case <-m.done:
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.DrainTimeout+stopGrace)
	defer cancel()
	return m.stop(patience, make([]uint64, len(m.couriers)))
}

// Start starts the worker and returns nil once its first slice, perhaps an empty
// one, is applied: it may be long until there is a leader, until there are enough
// workers, and, where all worker IDs are taken, until one is free. It returns an error
// when the worker cannot go on or is stopped before. When ctx ends first, what was begun
// is stopped again, for up to Config.DrainTimeout and ten seconds; the error wraps ctx's
// cause. A worker that ends by itself later closes Done, and Stop then says why.
//
// After that ctx does not matter any more; call Stop. Handlers, hooks and the
// source get its values, but not its end.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	select {
	case <-m.ready:
		return nil
	case <-m.done:
		return m.ended()
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.DrainTimeout+stopGrace)
	defer cancel()
	return errors.Join(fmt.Errorf("parti: not ready in time: %w", context.Cause(ctx)), m.Stop(patience))
}

// ended is why a worker ended before it was ready.
func (m *Manager) ended() error {
	if m.err != nil {
		return m.err
	}
	return fmt.Errorf("%w: stopped before it was ready", ErrNotRunning)
}

// Stop drains what runs here, each partition moving on as it is released, gives up
// the worker ID, and returns once nothing of this worker runs any more. It is
// terminal: nothing is written after it. Every Stop, and the first Run, returns the
// same, but for whom it would not wait for; before a start it returns nil and makes starting impossible.
//
// When ctx ends before that, the error wraps its cause. All Hard contexts end then,
// and handlers have one more second. If any was still running, or the store did not
// answer, the session is left to lapse instead of given up. Handlers that have not
// returned by the end of that second are named by a [StuckError] and left behind, and
// so is a hook or an observer: nothing can end a goroutine from outside.
//
// Stop may be called from a hook or an observer; whoever calls it, it does not wait for
// the call of a hook or an observer that is under way by then. It must not be called from
// a handler, a Prepare, a source or a strategy, which it waits for.
func (m *Manager) Stop(ctx context.Context) error {
	m.mu.Lock()
	if !m.started {
		if !m.stopped {
			m.stopped = true
			m.board.set(StateStopped)
			close(m.done)
		}
		m.mu.Unlock()
		return nil
	}
	m.mu.Unlock()

	asked := make([]uint64, len(m.couriers))
	for i, c := range m.couriers {
		asked[i] = c.current()
	}
	return m.stop(ctx, asked)
}

// stop stops a worker that has begun. It does not wait for the calls of hooks and
// observers of these numbers.
func (m *Manager) stop(ctx context.Context, under []uint64) error {
	m.exec.queue.push(member.Leave{})
	select {
	case <-m.done:
	case <-ctx.Done():
		m.abandon(m.exec, context.Cause(ctx))
	}
	errs := []error{m.err}
	for i, c := range m.couriers {
		errs = append(errs, c.delivered(ctx, under[i]))
	}
	return errors.Join(errs...)
}

// giveUp stops a worker whose connection is closed for good, in the time that Run takes
// for it: it cannot come back, and others take over what it has.
func (m *Manager) giveUp() {
	m.exec.queue.push(member.Leave{})
	late := time.NewTimer(m.cfg.DrainTimeout + stopGrace)
	defer late.Stop()
	select {
	case <-m.done:
	case <-late.C:
		m.abandon(m.exec, ErrConnectionClosed)
	}
}

// abandon ends a stop that takes too long.
func (m *Manager) abandon(exec *executor, cause error) {
	exec.abandon(cause)
	timer := time.NewTimer(abandonGrace)
	defer timer.Stop()
	select {
	case <-m.done:
		return
	case <-timer.C:
	}
	m.force.Do(func() { close(exec.force) })
	<-m.done
}

// begin starts the worker's goroutines.
func (m *Manager) begin(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.started:
		return ErrStarted
	case m.stopped:
		return fmt.Errorf("%w: it was stopped", ErrNotRunning)
	}
	m.started = true
	m.live(context.WithoutCancel(ctx)) //nolint:contextcheck // a start that is over ends nothing
	return nil
}

// live makes the executor and lets it run.
func (m *Manager) live(values context.Context) {
	hooks, cancelHooks := context.WithCancel(values)
	tellers := m.tellers(hooks, values)

	life, cancel := context.WithCancel(values)
	clock := newClock(m.cfg.FenceMargin, m.read)
	queue := newQueue()
	e := &executor{
		clock: clock, queue: queue, fence: m.cfg.Isolation == Fence, gate: newGate(),
		exit: m.exit, assigning: &m.assigning,
		ready: func() { close(m.ready) }, force: make(chan struct{}),
		closed: func() { go m.giveUp() },
		publish: func(events []Event) {
			m.board.fold(events)
			for _, tell := range tellers {
				tell(events)
			}
		},
	}
	e.ops = &operator{
		store: m.store, source: m.source, clock: clock, answer: queue.push,
		timeout: m.patience(), ctx: life, cancel: cancel,
	}
	e.runner = newRunner(m.handler, values, m.cfg.MovesInFlight, e.check, queue.push, m.opts.log)
	e.jobs = &jobs{store: m.store, report: queue.push, note: e.note, about: m.aboutText, gate: e.gate, ctx: life, cancel: cancel}
	if w, ok := m.source.(Watcher); ok {
		e.jobs.watch = w.Watch
	}
	e.brain = m.think(m.memberConfig(clock), clock.now())
	m.exec = e

	e.jobs.start()
	go func() {
		err := e.loop() //nolint:contextcheck // handlers have contexts of their own
		err = errors.Join(err, e.finish())
		m.err = err
		last := m.lastEvents(err)
		m.board.ended(err)
		cancelHooks() // before the last hooks are called: they have a context of their own
		e.publish(last)
		for _, c := range m.couriers {
			close(c.closed)
		}
		close(m.done)
	}()
}

// exit ends the process, or has it ended: by the user's function on a goroutine of its own,
// since that may wait for this worker, whose loop calls this. That a panic there ends the
// process is right.
func (m *Manager) exit(why string) {
	m.leave.Do(func() {
		if f := m.opts.exit; f != nil {
			go f(why)
			return
		}
		fmt.Fprintln(os.Stderr, "parti: this process ends: "+why)
		os.Exit(1) //nolint:forbidigo // it is what was asked for
	})
}

// lastEvents tell that it is over.
func (m *Manager) lastEvents(err error) []Event {
	var events []Event
	if err != nil {
		events = append(events, event.Alert{About: "end", Text: err.Error()})
	}
	return append(events, event.StateChanged{From: m.State().String(), To: StateStopped.String()})
}

// tellers starts a goroutine for each who wants events, and returns how to tell them.
func (m *Manager) tellers(hooks, values context.Context) []func([]Event) {
	var all []func([]Event)
	begin := func(whose string, c *courier, tell func([]Event), run func()) {
		c.whose = whose
		m.couriers = append(m.couriers, c)
		all = append(all, tell)
		go run()
	}
	log := m.opts.log
	if log.Handler() != slog.DiscardHandler {
		s := newStream(log, func(e Event) { logEvent(log, e) })
		begin("the log's handler", &s.courier, s.tell, s.run)
	}
	if observers := m.opts.observers; len(observers) > 0 {
		s := newStream(log, observers...)
		begin("an observer", &s.courier, s.tell, s.run)
	}
	if !m.opts.hooks.none() {
		f := newHookFeed(m.opts.hooks, log)
		begin("a hook", &f.courier, f.tell, func() { f.run(hooks, values) })
	}
	return all
}

// patience is how long one request to the store may take: several fit into the
// trust in a session, and a store that has lost its leader is asked again soon
// after it has a new one.
func (m *Manager) patience() time.Duration {
	return min(max((m.cfg.SessionTTL-m.cfg.FenceMargin)/4, 500*time.Millisecond), 5*time.Second)
}

// Limits that no knob sets.
const (
	probeAgain  = 100 * time.Millisecond // how often a probe without responders is repeated
	coalesce    = 10 * time.Millisecond  // receipts within it share a commit
	restartSoon = time.Second            // a handler that returns early is run again after this, at first
	restartLate = time.Minute            // and after this at last
)

// memberConfig translates the Config.
func (m *Manager) memberConfig(clock *clock) member.Config {
	c := m.cfg
	limits := m.store.Limits()
	_, prepares := m.handler.(Preparer)
	host := hostname()
	return member.Config{
		Prefix: c.WorkerIDPrefix, MaxWorkers: c.MaxWorkers,
		Identity: m.identity, Strict: c.Identity != "",
		Session: roster.Session{
			Identity: m.identity, Host: host, Software: c.Software, Started: clock.now().UTC(), Schema: wire.Schema,
			TTL: plan.ToMillis(c.SessionTTL), Margin: plan.ToMillis(c.FenceMargin), Fenced: c.Isolation == Fence,
			Owns: m.handler != nil, Prepares: prepares,
			Share: c.Share, Capacity: c.Capacity, Zone: c.Zone, Labels: c.Labels,
		},
		Hold: hold.Config{
			TTL: c.SessionTTL, Margin: c.FenceMargin, Interval: c.HeartbeatInterval,
			Fence: c.Isolation == Fence, MaxFreeze: c.MaxFreeze,
			DrainTimeout: c.DrainTimeout, StuckAfter: c.StuckAfter, MovesInFlight: c.MovesInFlight,
			RestartMin: restartSoon, RestartMax: restartLate,
			Degraded: hold.Degraded(c.Degraded), Alerts: hold.Alerts(c.Alerts),
		},
		Lead: lead.Config{
			Strategy:        guardStrategy(m.opts.strategy, m.patience(), &m.assigning),
			ExpectedWorkers: c.ExpectedWorkers,
			Settle:          c.SettleTime, ColdStart: c.ColdStartWindow, Scale: c.ScaleWindow,
			Cooldown: c.Cooldown, RestartGrace: c.RestartGrace, Coalesce: coalesce, Refresh: c.RefreshInterval,
			StuckAfter: c.DrainTimeout + c.StuckAfter, // the worker's own alert comes first
			MaxBatch:   limits.MaxBatch, MaxPayload: limits.MaxPayload,
			Wall: clock.date,
			Roster: roster.Config{
				Heartbeat: c.HeartbeatInterval, ProbeInterval: c.ProbeInterval, ProbeAgain: probeAgain,
				LostAfter: c.LostAfter, EmergencyGrace: c.EmergencyGrace, RecoveryGrace: c.RecoveryGrace, TTL: c.SessionTTL,
			},
		},
		Leads:     m.source != nil,
		Heartbeat: c.HeartbeatInterval, LeaderTTL: c.LeaderTTL, ProbeInterval: c.ProbeInterval,
		EmergencyGrace: c.EmergencyGrace, Reconcile: c.ReconcileInterval, LostAfter: c.LostAfter,
		Listing: listPatience(m.patience()),
		Nonce:   rand.Text, Random: mrand.Uint64,
		FirstIncarnation: func() uint32 { return kv.FirstIncarnation(clock.date(clock.now())) },
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
