package parti

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/source"
)

func TestRunIsAWholeLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(3)...)
		type key struct{}
		var value atomic.Value
		m := f.make("a", Config{ExpectedWorkers: 1}, HandlerFunc(func(ctx context.Context, l Lease) error {
			value.Store(ctx.Value(key{}))
			return wait(ctx, l)
		}))
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		<-m.Ready()
		f.settled(time.Second, 3, m)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if value.Load() != "v" {
			t.Error("the handler did not get the values of Run's context")
		}
		select {
		case <-m.Done():
		default:
			t.Error("it is not done")
		}
		// The ID is free, and its last words are said.
		entries, _, err := f.server.Client("reader").List(t.Context(), "session.")
		if err != nil || len(entries) != 1 || !strings.Contains(string(entries[0].Value), `"left":true`) {
			t.Errorf("%v, %v", err, entries)
		}
	})
}

func TestMisuse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(1)...)
		ctx := t.Context()
		m := f.make("a", Config{ExpectedWorkers: 1}, nil)
		if err := m.RefreshPartitions(ctx); !errors.Is(err, ErrNotRunning) {
			t.Errorf("refresh before the start: %v", err)
		}
		over, cancel := context.WithCancelCause(ctx)
		cancel(errSomething)
		if err := m.Start(over); !errors.Is(err, errSomething) {
			t.Errorf("start with a context that has ended: %v", err)
		}
		if err := m.Start(ctx); err != nil {
			t.Errorf("start after that: %v", err)
		}
		if err := m.Start(ctx); !errors.Is(err, ErrStarted) {
			t.Errorf("start twice: %v", err)
		}
		if err := m.Run(ctx); !errors.Is(err, ErrStarted) {
			t.Errorf("run after start: %v", err)
		}
		if err := m.RefreshPartitions(over); !errors.Is(err, errSomething) {
			t.Errorf("refresh with a context that has ended: %v", err)
		}
		m.leave()
		if err := m.Stop(ctx); err != nil {
			t.Errorf("stop twice: %v", err)
		}
		if err := m.Start(ctx); !errors.Is(err, ErrStarted) {
			t.Errorf("start after stop: %v", err)
		}

		never := f.make("b", Config{}, nil)
		for range 2 {
			if err := never.Stop(ctx); err != nil {
				t.Errorf("stop before start: %v", err)
			}
		}
		if err := never.Run(ctx); !errors.Is(err, ErrNotRunning) {
			t.Errorf("run after that: %v", err)
		}
		if s := never.State(); s != StateStopped {
			t.Errorf("it is %v", s)
		}
		<-never.Done()
		if never.WorkerID() != "" || never.IsLeader() || len(never.CurrentAssignment().Leases) != 0 {
			t.Error("it has something")
		}
	})
}

func TestStopDuringStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(1)...)
		for _, after := range []time.Duration{0, time.Millisecond, time.Second} {
			m := f.make(fmt.Sprint("m", after), Config{SettleTime: time.Minute}, nil)
			started := make(chan error)
			go func() { started <- m.Start(t.Context()) }()
			time.Sleep(after)
			synctest.Wait()
			m.leave()
			if err := <-started; !errors.Is(err, ErrNotRunning) {
				t.Errorf("after %v: Start returned %v", after, err)
			}
			select {
			case <-m.Ready():
				t.Error("it was ready")
			default:
			}
		}
	})
}

// A worker that is degraded all the time, since one of its requests always fails, and runs what
// it was given all the same, has started.
func TestStartThoughDegraded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(4)...)
		a := f.join("a", Config{ExpectedWorkers: 1})
		f.settled(5*time.Second, 4, a)
		b := f.make("b", Config{Degraded: Degraded{ErrorThreshold: 1, ExitAfter: time.Hour}}, nil)
		claimed := false
		b.store.Refuse(func(op memkv.Op) error {
			switch {
			case op.Kind == memkv.OpWrite && strings.HasPrefix(op.Keys[0], wire.Session.Prefix()):
				claimed = true
			case claimed && op.Kind == memkv.OpGet && op.Keys[0] == wire.Leader.Prefix():
				return kv.ErrUnavailable
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Start(ctx); err != nil {
			t.Fatal(err)
		}
		f.settled(30*time.Second, 4, a, b)
		if s := b.Status(); s.State != StateDegraded || !s.Ready {
			t.Errorf("status %v", s)
		}
		b.store.Mend()
		stopAll(a, b)
	})
}

func TestStartThatTakesTooLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(1)...)
		f.server.Down()
		m := f.make("a", Config{}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		err := m.Start(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Minute+5*time.Second {
			t.Errorf("it took %v", took)
		}
		if s := m.State(); s != StateStopped {
			t.Errorf("it is %v", s)
		}
	})
}

func TestStopNamesWhatWouldNotStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := make(chan struct{})
		defer func() { close(gate); synctest.Wait() }()
		f, m := alone(t, 4, Config{DrainTimeout: time.Second}, HandlerFunc(func(ctx context.Context, l Lease) error {
			if id := l.Partition.ID; id == "p-001" || id == "p-003" {
				<-gate
			}
			return wait(ctx, l)
		}))
		f.settled(time.Second, 4, m)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begun := time.Now()
		err := m.Stop(ctx)
		var stuck *StuckError
		if !errors.As(err, &stuck) || !slices.Equal(stuck.Partitions, []string{"p-001", "p-003"}) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop returned %v", err)
		}
		if took := time.Since(begun); took > 13*time.Second {
			t.Errorf("it took %v", took)
		}
		if err2 := m.Stop(t.Context()); err2 == nil || err2.Error() != err.Error() {
			t.Errorf("the second Stop returned %v", err2)
		}
		if s := m.Status(); s.State != StateStopped || !strings.Contains(s.Err, "p-001, p-003") {
			t.Errorf("status %v", s)
		}
		// The session is left to lapse: there are no last words.
		entries, _, err := f.server.Client("reader").List(t.Context(), "session.")
		if err != nil || len(entries) != 1 || strings.Contains(string(entries[0].Value), `"left":true`) {
			t.Errorf("%v, %v", err, entries)
		}
		f.ledger.kill("a")
	})
}

// A worker whose connection is closed for good cannot come back: it stops by itself, and
// says why. Others have what it had.
func TestConnectionClosedForGood(t *testing.T) {
	for _, isolation := range []Isolation{Freeze, Fence} {
		t.Run(isolation.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, parts(6)...)
				a, b := f.join("a", Config{ExpectedWorkers: 2, Isolation: isolation}), f.join("b", Config{Isolation: isolation})
				f.settled(10*time.Second, 6, a, b)
				a.store.Close()
				select {
				case <-a.Done():
				case <-time.After(time.Minute):
					t.Fatalf("it goes on: %v", a.Status())
				}
				if err := a.Stop(t.Context()); !errors.Is(err, ErrConnectionClosed) {
					t.Errorf("Stop says %v", err)
				}
				if s := a.Status(); s.Live() || !s.Closed {
					t.Errorf("status %v", s)
				}
				f.settled(time.Minute, 6, b)
				stopAll(b)
			})
		})
	}
}

// One that has no session, here since all IDs are taken, has nothing to hand over, and says so.
func TestConnectionClosedForGoodWithoutASession(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(6)...)
		a := f.join("a", Config{MaxWorkers: 1})
		f.settled(10*time.Second, 6, a)
		b := f.join("b", Config{MaxWorkers: 1})
		time.Sleep(time.Minute)
		b.store.Close()
		select {
		case <-b.Done():
		case <-time.After(time.Minute):
			t.Fatalf("it goes on: %v", b.Status())
		}
		if err := b.Stop(t.Context()); !errors.Is(err, ErrConnectionClosed) {
			t.Errorf("Stop says %v", err)
		}
		f.settled(time.Minute, 6, a)
		stopAll(a)
	})
}

// Its handler does not return: it ends all the same, and names it.
func TestConnectionClosedForGoodAndStuck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := make(chan struct{})
		defer func() { close(gate); synctest.Wait() }()
		f, m := alone(t, 2, Config{DrainTimeout: time.Second}, HandlerFunc(func(ctx context.Context, l Lease) error {
			if l.Partition.ID == "p-001" {
				<-gate
			}
			return wait(ctx, l)
		}))
		f.settled(time.Second, 2, m)
		m.store.Close()
		select {
		case <-m.Done():
		case <-time.After(time.Minute):
			t.Fatalf("it goes on: %v", m.Status())
		}
		err := m.Stop(t.Context())
		var stuck *StuckError
		if !errors.As(err, &stuck) || !slices.Equal(stuck.Partitions, []string{"p-001"}) || !errors.Is(err, ErrConnectionClosed) {
			t.Errorf("Stop says %v", err)
		}
		f.ledger.kill("a")
	})
}

func TestStuckErrorNamesTen(t *testing.T) {
	e := &StuckError{}
	for _, p := range parts(12) {
		e.Partitions = append(e.Partitions, p.ID)
	}
	if got, want := e.Error(), "parti: 12 handlers do not return although Hard has ended: p-000, p-001, p-002, p-003, p-004, p-005, p-006, p-007, p-008, p-009 and 2 more"; got != want {
		t.Error(got)
	}
	if got, want := (&StuckError{Partitions: []string{"x"}}).Error(), "parti: 1 handler does not return although Hard has ended: x"; got != want {
		t.Error(got)
	}
}

// Run gives a handler that needs Hard to end the time it is promised.
func TestRunStopsWithinItsTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(2)...)
		m := f.make("a", Config{ExpectedWorkers: 1, DrainTimeout: 5 * time.Second}, HandlerFunc(func(_ context.Context, l Lease) error {
			<-l.Hard().Done()
			time.Sleep(time.Second)
			return nil
		}))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		<-m.Ready()
		synctest.Wait()
		cancel()
		begun := time.Now()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < 6*time.Second || took > 7*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestNothingIsWrittenAfterStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(10)...)
		for _, away := range []time.Duration{0, 5 * time.Millisecond, 2500 * time.Millisecond, 20 * time.Second} {
			m := f.join(fmt.Sprint("m", away), Config{ExpectedWorkers: 1})
			time.Sleep(away)
			m.store.Slow(func() time.Duration { return 100 * time.Millisecond })
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = m.Stop(ctx)
			reader := f.server.Client("reader")
			highest := func() (rev kv.Rev) {
				entries, _, err := reader.List(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					rev = max(rev, e.Rev)
				}
				return rev
			}
			time.Sleep(300 * time.Millisecond) // what was on its way has arrived
			before := highest()
			for range 30 {
				time.Sleep(time.Second)
				if after := highest(); after > before {
					t.Fatalf("stopped after %v, it wrote revision %d after %d", away, after, before)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestStopFromAHookAndFromAnObserver(t *testing.T) {
	for _, from := range []string{"hook", "observer"} {
		for _, with := range []string{"its own context", "another context"} {
			t.Run(from+" with "+with, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFleet(t, parts(3)...)
					var m *mate
					var stopped atomic.Bool
					var states []State
					stop := func(ctx context.Context) {
						if with != "its own context" {
							ctx = context.Background()
						}
						if err := m.Stop(ctx); err != nil {
							t.Error(err)
						}
						if s := m.State(); s != StateStopped {
							t.Errorf("after Stop it is %v", s)
						}
						stopped.Store(true)
					}
					opts := []Option{
						WithHooks(Hooks{
							OnAssignmentChanged: func(ctx context.Context, _, _ []Partition) error {
								if from == "hook" && !stopped.Load() {
									stop(ctx)
								}
								return nil
							},
							OnStateChanged: func(_ context.Context, _, to State) error {
								states = append(states, to)
								return nil
							},
						}),
						WithObserver(func(e Event) {
							if _, ok := e.(event.Assigned); ok && from == "observer" && !stopped.Load() {
								stop(context.Background())
							}
						}),
					}
					m = f.make("a", Config{ExpectedWorkers: 1}, nil, opts...)
					if err := m.Run(t.Context()); err != nil {
						t.Error(err)
					}
					if !stopped.Load() || len(states) == 0 || states[len(states)-1] != StateStopped {
						t.Errorf("stopped: %v, states told: %v", stopped.Load(), states)
					}
				})
			})
		}
	}
}

// The hook that tells of the end has a context that does not end with the worker.
func TestTheLastHookHasTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var told []error
		_, m := alone(t, 1, Config{}, nil, WithHooks(Hooks{OnStateChanged: func(ctx context.Context, _, to State) error {
			if to == StateStopped {
				sleep(ctx, time.Second)
				told = append(told, ctx.Err())
			}
			return nil
		}}))
		stopAll(m)
		if len(told) != 1 || told[0] != nil {
			t.Errorf("it was called, and its context had then ended: %v", told)
		}
	})
}

func TestASlowHookDelaysNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(10)...)
		gate := make(chan struct{})
		var added, removed int
		a := f.join("a", Config{ExpectedWorkers: 1}, WithHooks(Hooks{
			OnStateChanged: func(context.Context, State, State) error { <-gate; return nil },
			OnAssignmentChanged: func(_ context.Context, plus, minus []Partition) error {
				added, removed = added+len(plus), removed+len(minus)
				return nil
			},
		}))
		f.settled(5*time.Second, 10, a)
		b := f.join("b", Config{})
		f.settled(20*time.Second, 10, a, b)
		close(gate)
		synctest.Wait()
		if added != 5 || removed != 0 {
			t.Errorf("%d added, %d removed; the changes should have been merged", added, removed)
		}
		stopAll(a, b)
		if removed != 5 {
			t.Errorf("%d removed at the end", removed)
		}
	})
}

func TestManyStopsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, m := alone(t, 5, Config{}, nil)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := m.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// A worker that cannot reach the store any more stops all the same, and leaves its
// session to lapse.
func TestStopWithoutTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, m := alone(t, 5, Config{DrainTimeout: 5 * time.Second}, nil)
		m.store.BlackHole()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		begun := time.Now()
		err := m.Stop(ctx)
		if err == nil || !strings.Contains(err.Error(), "last words") {
			t.Errorf("Stop returned %v", err)
		}
		if took := time.Since(begun); took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		if m.store.Struck(memkv.Held) == 0 {
			t.Error("the fault did not strike")
		}
	})
}

// A source that ignores its context delays nothing but the end, and that only for a
// moment.
func TestSourceThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := make(chan struct{})
		var calls atomic.Int32
		f := newFleet(t)
		f.source = source.Func(func(context.Context) ([]Partition, error) {
			calls.Add(1)
			<-gate
			return nil, nil
		})
		a := f.join("a", Config{ExpectedWorkers: 1})
		time.Sleep(2 * time.Minute)
		if calls.Load() != 1 {
			t.Errorf("it was asked %d times", calls.Load())
		}
		if len(happened[event.SourceFailed](a)) == 0 {
			t.Error("nobody was told")
		}
		err := a.Stop(t.Context())
		if err == nil || !strings.Contains(err.Error(), "source does not return") {
			t.Errorf("Stop returned %v", err)
		}
		close(gate)
	})
}

func TestSourceThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		n := 0
		f.source = source.Func(func(context.Context) ([]Partition, error) {
			if n++; n < 3 {
				panic("boo")
			}
			return parts(2), nil
		})
		a := f.join("a", Config{ExpectedWorkers: 1})
		f.settled(time.Minute, 2, a)
		stopAll(a)
	})
}

func TestWorkersWithoutAHandlerOrASource(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(6)...)
		leader, err := NewManager(f.server.Client("leader"), f.source, nil, Config{ExpectedWorkers: 2})
		if err != nil {
			t.Fatal(err)
		}
		worker, err := NewManager(f.server.Client("worker"), nil, f.ledger.wrap("worker", nil), Config{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, m := range []*Manager{leader, worker} {
			wg.Go(func() {
				if err := m.Start(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		f.eventually(time.Minute, "the worker runs all", func() bool { return f.ledger.counts()["worker"] == 6 })
		if !leader.IsLeader() || worker.IsLeader() || len(leader.CurrentAssignment().Leases) != 0 {
			t.Errorf("leader: %v, worker: %v", leader.Status(), worker.Status())
		}
		for _, m := range []*Manager{worker, leader} {
			if err := m.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// slowLists is a store that takes its time to list, and no longer than it is given.
type slowLists struct {
	Store
	takes time.Duration
}

func (s slowLists) List(ctx context.Context, prefix string) ([]kv.Entry, kv.Rev, error) {
	select {
	case <-time.After(s.takes):
		return s.Store.List(ctx, prefix)
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
}

// A group comes up also where a listing of all sessions takes half a minute.
func TestListingsAreWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(3)...)
		m, err := NewManager(slowLists{f.server.Client("a"), 28 * time.Second}, f.source, f.ledger.wrap("a", nil), Config{ExpectedWorkers: 1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := m.Start(ctx); err != nil {
			t.Fatal(err)
		}
		f.eventually(time.Minute, "it runs all", func() bool { return f.ledger.counts()["a"] == 3 })
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A rolling update, one by one, in which nobody comes back under the name it had, as the
// pods of a deployment: who comes takes the ID whose partitions wait, and nothing moves.
func TestRollingUpdateUnderNewNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(40)...)
		cfg := Config{ExpectedWorkers: 5, RestartGrace: time.Minute}
		var mates []*mate
		for i := range 5 {
			mates = append(mates, f.join(fmt.Sprint("old", i), cfg))
		}
		f.settled(10*time.Second, 40, mates...)
		before := f.ledger.owners()
		for i, old := range mates {
			had, id := f.ledger.counts()[old.name], old.WorkerID()
			old.leave()
			time.Sleep(10 * time.Second)
			mates[i] = f.join(fmt.Sprint("new", i), cfg)
			f.settled(10*time.Second, 40, mates...)
			if n := f.ledger.counts()[mates[i].name]; n != had || mates[i].WorkerID() != id {
				t.Errorf("%s has %d partitions as %s, and %s had %d as %s", mates[i].name, n, mates[i].WorkerID(), old.name, had, id)
			}
			time.Sleep(30 * time.Second)
		}
		for id, now := range f.ledger.owners() {
			if was := before[id]; strings.TrimPrefix(was, "old") != strings.TrimPrefix(now, "new") {
				t.Errorf("%s has moved from %s to %s", id, was, now)
			}
			if n := f.ledger.started(id); n != 2 {
				t.Errorf("%s was started %d times", id, n)
			}
		}
		stopAll(mates...)
	})
}

// Last words stay for as long as a successor may come, in whole seconds.
func TestStopWithAnOddRestartGrace(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(3)...)
		m := f.join("a", Config{ExpectedWorkers: 1, RestartGrace: 2500 * time.Millisecond})
		f.settled(5*time.Second, 3, m)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := m.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// What ignores its context is named and left behind: Stop and Run keep to their time.
func TestStopLeavesBehindWhatIgnoresIt(t *testing.T) {
	for name, c := range map[string]struct {
		says string
		make func(f *fleet, free chan struct{}) []Option
	}{
		"hook": {"a hook does not return", func(_ *fleet, free chan struct{}) []Option {
			return []Option{WithHooks(Hooks{OnStateChanged: func(_ context.Context, _, to State) error {
				if to == StateShuttingDown || to == StateStopped { // a slow hook is told of both at once
					<-free
				}
				return nil
			}})}
		}},
		"observer": {"an observer does not return", func(_ *fleet, free chan struct{}) []Option {
			return []Option{WithObserver(func(e Event) {
				if s, ok := e.(event.StateChanged); ok && s.To == StateShuttingDown.String() {
					<-free
				}
			})}
		}},
		"watch": {"Watch does not return", func(f *fleet, free chan struct{}) []Option {
			f.source = stubborn{f.source, free}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				free := make(chan struct{})
				f := newFleet(t, parts(3)...)
				m := f.join("a", Config{ExpectedWorkers: 1}, c.make(f, free)...)
				f.settled(5*time.Second, 3, m)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				begun := time.Now()
				err := m.Stop(ctx)
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v; want one that says %q", err, c.says)
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("Stop took %v", took)
				}
				close(free)
				m.gone = true
			})
		})
	}
}

// stubborn is a source whose Watch ignores its context.
type stubborn struct {
	PartitionSource

	free chan struct{}
}

func (s stubborn) Watch(context.Context, func()) error {
	<-s.free
	return nil
}
