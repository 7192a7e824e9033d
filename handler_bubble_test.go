package parti

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/member"
)

// alone is a fleet of one worker that runs n partitions with h.
func alone(t *testing.T, n int, cfg Config, h Handler, opts ...Option) (*fleet, *mate) {
	t.Helper()
	f := newFleet(t, parts(n)...)
	cfg.ExpectedWorkers = 1
	m := f.joinWith("a", cfg, h, opts...)
	f.eventually(5*time.Second, "it is ready", func() bool { return m.Status().Ready })
	return f, m
}

func TestHandlerThatReturnsEarlyIsRunAgainAfterABackOff(t *testing.T) {
	for name, how := range map[string]func() error{
		"error":  func() error { return errSomething },
		"nil":    func() error { return nil },
		"panic":  func() error { panic("boo") },
		"goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var log bytes.Buffer
				var mu sync.Mutex
				var at []time.Time
				begin := func() int {
					mu.Lock()
					defer mu.Unlock()
					at = append(at, time.Now())
					return len(at)
				}
				f, m := alone(t, 1, Config{}, HandlerFunc(func(ctx context.Context, l Lease) error {
					if begin() > 4 {
						return wait(ctx, l)
					}
					return how()
				}), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
				f.eventually(time.Minute, "it runs for the fifth time", func() bool { return f.ledger.started("p-000") == 5 })
				mu.Lock()
				defer mu.Unlock()
				returned := happened[event.Returned](m)
				for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
					if got := at[i+1].Sub(at[i]); got < want || got > want+100*time.Millisecond {
						t.Errorf("back-off %d was %v, want %v", i, got, want)
					}
					if i < len(returned) && returned[i].BackOff != want {
						t.Errorf("event %d says that the back-off is %v, want %v", i, returned[i].BackOff, want)
					}
				}
				if len(returned) != 4 || returned[0].Partition != "p-000" || returned[0].Final || returned[0].Panicked != (name == "panic") {
					t.Errorf("events %+v", returned)
				}
				stopAll(m)
				if got := strings.Contains(log.String(), "handler_bubble_test.go"); got != (name == "panic") {
					t.Errorf("a stack in the log: %v\n%s", got, log.String())
				}
			})
		})
	}
}

func TestDoneAndReject(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(4)...)
		var mu sync.Mutex
		var ran []string
		handler := func(name string) Handler {
			return HandlerFunc(func(ctx context.Context, l Lease) error {
				mu.Lock()
				ran = append(ran, name+" "+l.Partition.ID)
				mu.Unlock()
				switch {
				case l.Partition.ID == "p-001":
					return fmt.Errorf("no more of it: %w", ErrDone)
				case l.Partition.ID == "p-002" && name == "a":
					return fmt.Errorf("not here: %w", ErrReject)
				}
				return wait(ctx, l)
			})
		}
		a := f.joinWith("a", Config{ExpectedWorkers: 2}, handler("a"))
		b := f.joinWith("b", Config{}, handler("b"))
		f.eventually(time.Minute, "p-002 runs on b, and p-001 nowhere", func() bool {
			o := f.ledger.owners()
			return len(o) == 3 && o["p-002"] == "b"
		})
		time.Sleep(10 * time.Minute)
		mu.Lock()
		if n := len(slices.DeleteFunc(slices.Clone(ran), func(s string) bool { return !strings.HasSuffix(s, "p-001") })); n != 1 {
			t.Errorf("p-001 was run %d times though it was done: %v", n, ran)
		}
		mu.Unlock()
		if o := f.ledger.owners(); len(o) != 3 || o["p-002"] != "b" {
			t.Errorf("owners %v", o)
		}
		stopAll(a, b)
	})
}

// Handlers that were asked to stop say that their partitions are done: nobody runs them
// again, though they were about to go elsewhere.
func TestDoneWhileItMoves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(8)...)
		last := func(ctx context.Context, _ Lease) error {
			<-ctx.Done()
			if errors.Is(context.Cause(ctx), ErrRevoked) {
				return ErrDone
			}
			return nil
		}
		a := f.joinWith("a", Config{ExpectedWorkers: 1}, HandlerFunc(last))
		f.settled(10*time.Second, 8, a)
		b := f.join("b", Config{})
		f.eventually(time.Minute, "four are done", func() bool { return f.ledger.counts()["a"] <= 4 })
		time.Sleep(10 * time.Minute)
		if n := f.ledger.counts()["b"]; n > 0 {
			t.Errorf("b runs %d partitions", n)
		}
		for _, p := range parts(8) {
			if n := f.ledger.started(p.ID); n != 1 {
				t.Errorf("%s was run %d times", p.ID, n)
			}
		}
		for _, e := range happened[event.Released](a) {
			if e.Err != "" {
				t.Errorf("to be done is no error: %+v", e)
			}
		}
		stopAll(a, b)
	})
}

// A lease is its handler's own: it says under which ID, and its labels may be changed.
func TestALeaseIsOnesOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, Partition{ID: "p", Labels: map[string]string{"line": "a"}})
		var mu sync.Mutex
		var seen []string
		h := HandlerFunc(func(ctx context.Context, l Lease) error {
			mu.Lock()
			seen = append(seen, l.Worker+" "+l.Partition.Labels["line"])
			mu.Unlock()
			l.Partition.Labels["line"] = "changed"
			return wait(ctx, l)
		})
		a := f.joinWith("a", Config{ExpectedWorkers: 1}, h)
		f.settled(10*time.Second, 1, a)
		id := a.WorkerID()
		a.leave()
		b := f.joinWith("b", Config{ExpectedWorkers: 1}, h)
		f.settled(30*time.Second, 1, b)
		mu.Lock()
		if want := []string{id + " a", b.WorkerID() + " a"}; !slices.Equal(seen, want) {
			t.Errorf("seen %q, want %q", seen, want)
		}
		mu.Unlock()
		stopAll(b)
	})
}

// So are the leases of CurrentAssignment: they are read while handlers change theirs.
func TestAnAssignmentIsOnesOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, Partition{ID: "p", Labels: map[string]string{"line": "a"}})
		m := f.joinWith("a", Config{ExpectedWorkers: 1}, HandlerFunc(func(ctx context.Context, l Lease) error {
			for ctx.Err() == nil {
				l.Partition.Labels["line"] += "b"
				time.Sleep(time.Millisecond)
			}
			return nil
		}))
		f.settled(10*time.Second, 1, m)
		for range 100 {
			time.Sleep(time.Millisecond)
			l := m.CurrentAssignment().Leases[0]
			if text, err := json.Marshal(l.Partition.Labels); err != nil || l.Partition.Labels["line"] != "a" {
				t.Fatalf("%s, %v", text, err)
			}
			l.Partition.Labels["line"] = "changed"
		}
		stopAll(m)
	})
}

// A lost is an error whose methods need a pointer that is not nil.
type lost struct{ why error }

func (l *lost) Error() string { return l.why.Error() }

// errNothing is what a function returns that declares a *lost and never sets it.
func errNothing() error {
	var err *lost
	return err
}

// errInside hides such a thing where only errors.Is comes upon it.
func errInside() error {
	var err *fs.PathError
	return fmt.Errorf("it is in here: %w", err)
}

// The methods of an error are its author's code, too: a nil pointer as an error is the
// failure of whoever returned it, and not the process's.
func TestAnErrorThatCannotBeRead(t *testing.T) {
	for name, unreadable := range map[string]func() error{"Error": errNothing, "Unwrap": errInside} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, parts(1)...)
				var well atomic.Bool
				f.source = &unread{
					list: func(context.Context) ([]Partition, error) {
						if !well.Load() {
							return nil, unreadable()
						}
						return parts(1), nil
					},
					watch: func(context.Context) error { return unreadable() },
				}
				m := f.joinWith("a", Config{ExpectedWorkers: 1}, HandlerFunc(func(ctx context.Context, l Lease) error {
					_ = wait(ctx, l)
					return unreadable()
				}))
				time.Sleep(time.Minute)
				well.Store(true)
				f.eventually(5*time.Minute, "it runs", func() bool { return f.ledger.counts()["a"] == 1 })
				stopAll(m)
				is := func(text string) bool { return strings.Contains(text, "its error") }
				if all := happened[event.SourceFailed](m); !slices.ContainsFunc(all, func(e event.SourceFailed) bool { return is(e.Err) }) {
					t.Errorf("ListPartitions: %+v", all)
				}
				if all := happened[event.Failed](m); !slices.ContainsFunc(all, func(e event.Failed) bool { return is(e.Err) }) {
					t.Errorf("Watch: %+v", all)
				}
				if all := happened[event.Released](m); len(all) == 0 || !is(all[len(all)-1].Err) {
					t.Errorf("Run: %+v", all)
				}
			})
		})
	}
}

// unread is a source of functions.
type unread struct {
	list  func(context.Context) ([]Partition, error)
	watch func(context.Context) error
}

func (u *unread) ListPartitions(ctx context.Context) ([]Partition, error) { return u.list(ctx) }

func (u *unread) Watch(ctx context.Context, _ func()) error { return u.watch(ctx) }

// full is a log that takes nothing about panics until it is closed, as a pipe that nobody
// reads.
type full chan struct{}

func (f full) Enabled(context.Context, slog.Level) bool { return true }

func (f full) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "panic" {
		<-f
	}
	return nil
}

func (f full) WithAttrs([]slog.Attr) slog.Handler { return f }

func (f full) WithGroup(string) slog.Handler { return f }

// That a handler has returned is known, and it is run again, though the log takes nothing.
func TestAPanicIsReportedBeforeItIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log := make(full)
		var panicked atomic.Bool
		f, m := alone(t, 1, Config{}, HandlerFunc(func(ctx context.Context, l Lease) error {
			if panicked.CompareAndSwap(false, true) {
				panic("boo")
			}
			return wait(ctx, l)
		}), WithLogger(slog.New(log)))
		defer stopAll(m)
		defer close(log)
		f.eventually(time.Minute, "it is run again", func() bool { return f.ledger.started("p-000") == 2 })
		if all := happened[event.Returned](m); len(all) != 1 || !all[0].Panicked {
			t.Errorf("%+v", all)
		}
	})
}

func TestCausesOfTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(2)...)
		var mu sync.Mutex
		causes := map[string]error{}
		note := HandlerFunc(func(ctx context.Context, l Lease) error {
			<-ctx.Done()
			if l.Hard().Err() != nil || l.Check() != nil {
				t.Error("Hard has ended with ctx")
			}
			mu.Lock()
			causes[l.Partition.ID] = context.Cause(ctx)
			mu.Unlock()
			time.Sleep(time.Second) // what is in hand
			if err := l.Check(); err != nil {
				t.Errorf("while it drains, Check says %v", err)
			}
			return context.Cause(ctx)
		})
		a := f.joinWith("a", Config{ExpectedWorkers: 1}, note)
		f.settled(5*time.Second, 2, a)
		b := f.joinWith("b", Config{}, note)
		f.settled(20*time.Second, 2, a, b)
		if len(causes) != 1 {
			t.Errorf("%v", causes)
		}
		for id, err := range causes {
			if !errors.Is(err, ErrRevoked) {
				t.Errorf("%s ended with %v", id, err)
			}
		}
		stopAll(b)
		stopAll(a)
		if len(causes) != 2 {
			t.Errorf("%v", causes)
		}
		for id, err := range causes {
			if !errors.Is(err, ErrStopped) {
				t.Errorf("%s ended with %v", id, err)
			}
		}
	})
}

// preparing is a handler that writes down what it was asked to prepare.
type preparing struct {
	HandlerFunc

	mu       sync.Mutex
	calls    map[string]int
	busy     map[string]bool
	prepared map[string]bool
	now      atomic.Int32
	most     int32
	takes    time.Duration
	fail     func(id string) error
	t        *testing.T
}

func newPreparing(t *testing.T) *preparing {
	t.Helper()
	p := &preparing{calls: map[string]int{}, busy: map[string]bool{}, prepared: map[string]bool{}, t: t}
	p.HandlerFunc = func(ctx context.Context, l Lease) error {
		p.mu.Lock()
		if !p.prepared[l.Partition.ID] {
			t.Errorf("%s is run unprepared", l.Partition.ID)
		}
		p.prepared[l.Partition.ID] = false
		p.mu.Unlock()
		return wait(ctx, l)
	}
	return p
}

func (p *preparing) Prepare(ctx context.Context, part Partition) error {
	p.mu.Lock()
	if p.busy[part.ID] {
		p.t.Errorf("%s is prepared by two", part.ID)
	}
	p.busy[part.ID] = true
	p.calls[part.ID]++
	p.most = max(p.most, p.now.Add(1))
	p.mu.Unlock()
	sleep(ctx, p.takes)
	p.now.Add(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy[part.ID] = false
	if p.fail != nil {
		if err := p.fail(part.ID); err != nil {
			return err
		}
	}
	p.prepared[part.ID] = true
	return ctx.Err()
}

// slowToLetGo leaves others time to prepare.
var slowToLetGo = HandlerFunc(func(ctx context.Context, _ Lease) error {
	<-ctx.Done()
	time.Sleep(5 * time.Second)
	return nil
})

func TestPrepareAheadOfTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(40)...)
		a := f.joinWith("a", Config{ExpectedWorkers: 1}, slowToLetGo)
		f.settled(5*time.Second, 40, a)
		p := newPreparing(t)
		p.takes = time.Second
		failures := 0
		p.fail = func(string) error {
			if failures++; failures <= 2 {
				panic("not yet")
			}
			return nil
		}
		b := f.joinWith("b", Config{MovesInFlight: 4}, p)
		f.eventually(40*time.Second, "some are prepared while a still runs all", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.calls) > 0 && f.ledger.counts()["b"] == 0
		})
		f.settled(time.Minute, 40, a, b)
		time.Sleep(time.Minute)
		p.mu.Lock()
		twice := 0
		for id, n := range p.calls {
			if n > 2 {
				t.Errorf("%s was prepared %d times", id, n)
			}
			if n == 2 {
				twice++
			}
		}
		if len(p.calls) != 20 || twice != 2 || p.most > 8 {
			t.Errorf("%d partitions were prepared, %d of them twice, at most %d at a time", len(p.calls), twice, p.most)
		}
		p.mu.Unlock()
		stopAll(a, b)
	})
}

// A Prepare that ends its goroutine takes nothing from what is to be prepared after it.
func TestPrepareEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(40)...)
		a := f.joinWith("a", Config{ExpectedWorkers: 1}, slowToLetGo)
		f.settled(5*time.Second, 40, a)
		p := newPreparing(t)
		p.takes = 100 * time.Millisecond
		ends := 0
		p.fail = func(string) error {
			if ends++; ends <= 4 { // as many as are prepared at a time
				runtime.Goexit()
			}
			return nil
		}
		b := f.joinWith("b", Config{MovesInFlight: 4}, p)
		f.eventually(40*time.Second, "all the others are prepared while a still runs all", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.prepared) == 16 && f.ledger.counts()["b"] == 0
		})
		f.settled(time.Minute, 40, a, b)
		stopAll(a, b)
	})
}

// A Prepare ahead of time that is cut short has prepared nothing, whatever it returns.
func TestPrepareCutShort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		calls := 0
		w := newWarmer(prepareFunc(func(ctx context.Context, _ Partition) error {
			if calls++; calls == 1 {
				<-ctx.Done()
			}
			return nil
		}), t.Context(), 1)
		w.ahead(Partition{ID: "p"})
		synctest.Wait()
		w.cool("p")
		if err := w.warm(t.Context(), Partition{ID: "p"}); err != nil || calls != 2 {
			t.Errorf("%v, after %d calls", err, calls)
		}
		w.close()
	})
}

type prepareFunc func(ctx context.Context, p Partition) error

func (f prepareFunc) Prepare(ctx context.Context, p Partition) error { return f(ctx, p) }

// The ctx of a Prepare ahead of time ends when the partition is not to come after all, and
// not before: also not when it is granted, since Run waits for it then.
func TestPrepareAheadOfTimeEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		set := f.changeable(parts(4))
		a := f.joinWith("a", Config{ExpectedWorkers: 1}, HandlerFunc(func(ctx context.Context, l Lease) error {
			<-ctx.Done()
			sleep(l.Hard(), 25*time.Second)
			return nil
		}))
		f.settled(5*time.Second, 4, a)
		p := newPreparing(t)
		p.takes = time.Hour
		b := f.joinWith("b", Config{}, p)
		var came []string
		f.eventually(time.Minute, "two are prepared", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			came = slices.Sorted(maps.Keys(p.busy))
			return len(came) == 2
		})
		busy := func(want ...string) func() bool {
			return func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.busy[came[0]] == slices.Contains(want, came[0]) && p.busy[came[1]] == slices.Contains(want, came[1])
			}
		}
		set(slices.DeleteFunc(parts(4), func(p Partition) bool { return p.ID == came[0] }))
		if err := a.RefreshPartitions(t.Context()); err != nil {
			t.Error(err)
		}
		f.eventually(15*time.Second, "one is prepared", busy(came[1]))
		time.Sleep(30 * time.Second)
		if s := b.Status(); !busy(came[1])() || p.calls[came[1]] != 1 || s.Running != 0 {
			t.Errorf("it was let go of, and b says %v, and has prepared %v", s, p.calls)
		}
		stopAll(b)
		if !busy()() {
			t.Error("b has stopped while it prepares")
		}
		stopAll(a)
	})
}

func TestPrepareBeforeRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPreparing(t)
		p.takes = 100 * time.Millisecond
		first := true
		p.fail = func(string) error {
			if first {
				first = false
				return errSomething
			}
			return nil
		}
		f, m := alone(t, 3, Config{}, p)
		f.settled(10*time.Second, 3, m)
		returned := happened[event.Returned](m)
		if len(returned) != 1 || !strings.Contains(returned[0].Err, "prepare: something") {
			t.Errorf("%+v", returned)
		}
		stopAll(m)
	})
}

// cold is a handler whose Prepare of some partitions takes until the gate opens.
type cold struct {
	HandlerFunc

	gate chan struct{}
	some func(id string) bool
}

func (h *cold) Prepare(_ context.Context, p Partition) error {
	if h.some(p.ID) {
		<-h.gate
	}
	return nil
}

// A Prepare that does not return keeps its own partition from running and no other, does
// not count as running, and is an alert until it returns.
func TestPrepareThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := &cold{HandlerFunc: wait, gate: make(chan struct{}), some: func(id string) bool { return id < "p-002" }}
		open := sync.OnceFunc(func() { close(h.gate) })
		defer open()
		f, m := alone(t, 6, Config{MovesInFlight: 2, StuckAfter: 10 * time.Second}, h)
		if n, s := len(m.CurrentAssignment().Leases), m.Status(); n != 0 || s.Running != 0 || len(s.Alerts) != 0 {
			t.Errorf("while the first two are prepared, %d run, and it says %v", n, s)
		}
		f.eventually(11*time.Second, "the others run", func() bool { return f.ledger.counts()["a"] == 4 })
		s := m.Status()
		for i, a := range s.Alerts {
			if want := fmt.Sprintf("Prepare of p-00%d has not returned for 10s", i); !strings.Contains(a.Text, want) {
				t.Errorf("alert %q, want %q", a.Text, want)
			}
		}
		if n := len(m.CurrentAssignment().Leases); n != 4 || s.Running != 4 || len(s.Alerts) != 2 {
			t.Errorf("%d run, and it says %v", n, s)
		}
		open()
		f.settled(time.Second, 6, m)
		if s := m.Status(); s.Running != 6 || len(s.Alerts) != 0 {
			t.Errorf("once all are prepared, it says %v", s)
		}
		stopAll(m)
	})
}

// The alert about a Prepare ends also when Prepare returns too late for its partition to run.
func TestPrepareThatHangsIsStopped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := &cold{HandlerFunc: wait, gate: make(chan struct{}), some: func(string) bool { return true }}
		open := sync.OnceFunc(func() { close(h.gate) })
		defer open()
		f, m := alone(t, 1, Config{DrainTimeout: time.Second, StuckAfter: 10 * time.Second}, h)
		f.eventually(11*time.Second, "an alert", func() bool { return len(m.Status().Alerts) == 1 })
		go func() {
			sleep(t.Context(), time.Minute)
			open()
		}()
		stopAll(m)
		if s := m.Status(); len(s.Alerts) != 0 || f.ledger.started("p-000") != 0 {
			t.Errorf("it says %v", s)
		}
		if n := len(happened[event.Stuck](m)); n != 1 {
			t.Errorf("after Hard it was called stuck %d times", n)
		}
	})
}

func TestHardEndsAfterTheDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var soft, hard time.Time
		var cause error
		f, m := alone(t, 1, Config{DrainTimeout: 7 * time.Second}, HandlerFunc(func(ctx context.Context, l Lease) error {
			<-ctx.Done()
			soft = time.Now()
			<-l.Hard().Done()
			hard = time.Now()
			cause = l.Check()
			return nil
		}))
		_ = f
		stopAll(m)
		if got := hard.Sub(soft); got != 7*time.Second {
			t.Errorf("Hard ended %v after ctx", got)
		}
		if !errors.Is(cause, ErrStopped) {
			t.Errorf("Check says %v", cause)
		}
	})
}

func TestStuckHandlerIsSeen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gate := make(chan struct{})
		f := newFleet(t, parts(2)...)
		stubborn := HandlerFunc(func(context.Context, Lease) error { <-gate; return nil })
		a := f.joinWith("a", Config{ExpectedWorkers: 1, DrainTimeout: time.Second, StuckAfter: 5 * time.Second}, stubborn)
		f.settled(5*time.Second, 2, a)
		b := f.join("b", Config{})
		f.eventually(time.Minute, "an alert", func() bool { return len(happened[event.Stuck](a)) > 0 })
		if d := a.Status().Draining; len(d) != 1 || f.ledger.owners()[d[0]] != "a" {
			t.Errorf("draining %v, owners %v", d, f.ledger.owners())
		}
		close(gate)
		f.eventually(time.Minute, "b has it", func() bool { return f.ledger.counts()["b"] == 1 })
		stopAll(a, b)
	})
}

// An askingError is one that asks something when it is read.
type askingError struct{ ask func() }

func (e *askingError) Error() string {
	e.ask()
	return "it was asked"
}

// A handler that has returned is not stuck, though its contexts end with it: also not while its
// error is read, which is before the worker knows of its return.
func TestWhoHasReturnedIsNotStuck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(2)...)
		var m *mate
		var stuck atomic.Int64
		m = f.make("a", Config{ExpectedWorkers: 1}, HandlerFunc(func(ctx context.Context, l Lease) error {
			_ = wait(ctx, l)
			return &askingError{func() { stuck.Add(int64(len(m.Status().Stuck))) }}
		}))
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.settled(time.Second, 2, m)
		stopAll(m)
		if n := stuck.Load(); n > 0 {
			t.Errorf("%d are said to be stuck", n)
		}
	})
}

func TestManyHandlersAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPreparing(t)
		p.takes = time.Second
		p.HandlerFunc = wait
		f, m := alone(t, 100, Config{MovesInFlight: 10}, p)
		took := f.settled(time.Minute, 100, m)
		if p.most != 10 || took < 9*time.Second || took > 11*time.Second {
			t.Errorf("%d at a time, %v in all", p.most, took)
		}
		synctest.Wait()
		stopAll(m)
	})
}

// Jobs that are done make room for those that had none.
func TestRoomThatBecomesFreeIsUsed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(10)...)
		m := f.joinWith("a", Config{ExpectedWorkers: 1, Capacity: 4}, HandlerFunc(func(context.Context, Lease) error { return ErrDone }))
		f.eventually(time.Minute, "every job has run", func() bool {
			for _, p := range parts(10) {
				if f.ledger.started(p.ID) == 0 {
					return false
				}
			}
			return true
		})
		f.eventually(time.Minute, "nothing is said to have no room", func() bool { return len(m.Status().Alerts) == 0 })
		stopAll(m)
	})
}

// A new leader knows what is done as well as what runs: a listing that leaves most of it
// out is not believed, and nothing that was done is run again.
func TestDoneIsNotForgottenByANewLeader(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		set := f.changeable(parts(10))
		h := HandlerFunc(func(ctx context.Context, l Lease) error {
			if l.Partition.ID >= "p-002" {
				return ErrDone
			}
			return wait(ctx, l)
		})
		cfg := Config{ExpectedWorkers: 2, RefreshInterval: time.Minute}
		a, b := f.joinWith("a", cfg, h), f.joinWith("b", cfg, h)
		f.settled(30*time.Second, 2, a, b)
		time.Sleep(2 * time.Minute)
		leader, other := a, b
		if b.IsLeader() {
			leader, other = b, a
		}
		set(parts(2))
		leader.exec.queue.push(member.StepDown{})
		f.eventually(30*time.Second, "the other leads", func() bool { return other.IsLeader() })
		time.Sleep(500 * time.Millisecond) // one listing, and not a second
		set(parts(10))
		time.Sleep(5 * time.Minute)
		for _, p := range parts(10)[2:] {
			if n := f.ledger.started(p.ID); n != 1 {
				t.Errorf("%s was done, and was run %d times", p.ID, n)
			}
		}
		stopAll(a, b)
	})
}

// More jobs are done than one record can name: the group goes on, and says so, until
// the source forgets them.
func TestMoreDoneThanARecordHolds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		set := f.changeable(parts(600))
		f.server.SetLimits(kv.Limits{MaxPayload: 16 << 10, MaxBatch: 1000})
		m := f.joinWith("a", Config{ExpectedWorkers: 1, RefreshInterval: time.Second}, HandlerFunc(func(context.Context, Lease) error { return ErrDone }))
		f.eventually(5*time.Minute, "somebody is told", func() bool {
			return slices.ContainsFunc(m.Status().Alerts, func(a Alert) bool { return strings.Contains(a.Text, "lets the group remember") })
		})
		time.Sleep(time.Minute)
		if n := len(happened[event.Deposed](m)); n > 0 {
			t.Errorf("%d terms were lost", n)
		}
		for n := 400; n >= 0; n -= 200 { // those that are done go, at most half at a time
			set(parts(600)[600-n:])
			time.Sleep(30 * time.Second)
		}
		f.eventually(time.Minute, "all is well again", func() bool { return len(m.Status().Alerts) == 0 })
		for _, p := range parts(600) {
			if n := f.ledger.started(p.ID); n > 1 {
				t.Errorf("%s was run %d times", p.ID, n)
			}
		}
		stopAll(m)
	})
}

// A partition that its only worker rejects is offered to it again, and one that all
// reject is not passed round and round.
func TestRejections(t *testing.T) {
	reject := func(most int32) (Handler, *atomic.Int32) {
		n := new(atomic.Int32)
		return HandlerFunc(func(ctx context.Context, l Lease) error {
			if l.Partition.ID == "p-001" {
				if n.Add(1) <= most {
					return ErrReject
				}
			}
			return wait(ctx, l)
		}), n
	}
	t.Run("once, by the only worker", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, parts(3)...)
			h, _ := reject(1)
			m := f.joinWith("a", Config{ExpectedWorkers: 1}, h)
			f.eventually(30*time.Second, "somebody is told", func() bool {
				return slices.ContainsFunc(m.Status().Alerts, func(a Alert) bool { return strings.Contains(a.Text, "has rejected p-001") })
			})
			f.settled(2*time.Minute, 3, m)
			stopAll(m)
		})
	})
	t.Run("by everybody", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			f := newFleet(t, parts(3)...)
			h, n := reject(math.MaxInt32)
			a, b := f.joinWith("a", Config{ExpectedWorkers: 2}, h), f.joinWith("b", Config{ExpectedWorkers: 2}, h)
			time.Sleep(20 * time.Minute)
			if n := len(f.ledger.owners()); n < 2 {
				t.Errorf("%d of the others run", n)
			}
			if n := n.Load(); n < 10 || n > 40 {
				t.Errorf("it was tried %d times in twenty minutes", n)
			}
			stopAll(a, b)
		})
	})
}
