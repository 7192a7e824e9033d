package parti

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// strategyFunc is a strategy.
type strategyFunc func(plan.Input) ([]int, error)

func (f strategyFunc) Assign(in plan.Input) ([]int, error) { return f(in) }

// A strategy that fails, panics or hangs takes nothing down: what runs goes on, and
// once it is well again, so is the group.
func TestStrategyThatFails(t *testing.T) {
	for name, fail := range map[string]func() ([]int, error){
		"error": func() ([]int, error) { return nil, errSomething },
		"panic": func() ([]int, error) { panic("boo") },
		"hangs": func() ([]int, error) { time.Sleep(2 * time.Minute); return nil, errSomething },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, parts(10)...)
				var bad atomic.Bool
				s := WithStrategy(strategyFunc(func(in plan.Input) ([]int, error) {
					if bad.Load() {
						return fail()
					}
					return strategy.Sticky().Assign(in)
				}))
				t.Cleanup(func() { time.Sleep(5 * time.Minute) }) // what hangs returns
				a := f.join("a", Config{ExpectedWorkers: 1, Isolation: Fence}, s)
				f.settled(5*time.Second, 10, a)
				bad.Store(true)
				b := f.join("b", Config{Isolation: Fence}, s)
				time.Sleep(10 * time.Minute)
				if n := f.ledger.counts()["a"]; n != 10 {
					t.Errorf("a runs %d", n)
				}
				if n := f.ledger.started("p-000"); n != 1 {
					t.Errorf("p-000 was started %d times", n)
				}
				if len(happened[event.SessionLost](a)) > 0 {
					t.Error("a session was lost to a strategy")
				}
				bad.Store(false)
				f.settled(5*time.Minute, 10, a, b)
				stopAll(a, b)
			})
		})
	}
}

// One that has not returned when its worker stops is named, as everything that is left behind.
func TestStopNamesAStrategyThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(2)...)
		gate := make(chan struct{})
		defer close(gate)
		var asked atomic.Bool
		m := f.join("a", Config{ExpectedWorkers: 1}, WithStrategy(strategyFunc(func(plan.Input) ([]int, error) {
			asked.Store(true)
			<-gate
			return nil, errSomething
		})))
		f.eventually(10*time.Second, "it is asked", asked.Load)
		begun := time.Now()
		if err := m.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "the strategy does not return") {
			t.Errorf("Stop returned %v", err)
		}
		if took := time.Since(begun); took > 15*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestGuard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := guardStrategy(strategyFunc(func(in plan.Input) ([]int, error) {
			switch len(in.Workers) {
			case 0:
				time.Sleep(time.Minute)
			case 1:
				panic("boo")
			}
			return []int{1}, nil
		}), time.Second, new(sync.WaitGroup))
		if _, explains := g.(Explainer); explains {
			t.Error("it explains what cannot be explained")
		}
		for i, want := range []string{"Assign has not returned after 1s", "Assign: an earlier call has not returned"} {
			if _, err := g.Assign(plan.Input{}); err == nil || err.Error() != want {
				t.Errorf("%d: %v, want %s", i, err, want)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, err := g.Assign(plan.Input{Workers: make([]plan.Worker, 1)}); err == nil || !strings.Contains(err.Error(), "boo") {
			t.Error(err)
		}
		if to, err := g.Assign(plan.Input{Workers: make([]plan.Worker, 2)}); err != nil || len(to) != 1 {
			t.Error(to, err)
		}
	})
	if _, explains := guardStrategy(strategy.Sticky(), time.Second, new(sync.WaitGroup)).(Explainer); !explains {
		t.Error("it does not explain what can be explained")
	}
}

// hanging is a brain that can be held up.
type hanging struct {
	brain

	gate atomic.Pointer[chan struct{}]
}

func (h *hanging) Step(now time.Time, f member.Fact) {
	if gate := h.gate.Load(); gate != nil {
		<-*gate
	}
	h.brain.Step(now, f)
}

// fencing is a worker of two partitions under Fence, for a minute already, whose brain can
// be made to hang.
func fencing(t *testing.T) (*fleet, *mate, *hanging) {
	t.Helper()
	f := newFleet(t, parts(2)...)
	m := f.make("a", Config{ExpectedWorkers: 1, Isolation: Fence}, nil)
	h := &hanging{}
	m.think = func(c member.Config, now time.Time) brain {
		h.brain = member.New(c, now)
		return h
	}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.settled(time.Second, 2, m)
	time.Sleep(time.Minute)
	return f, m, h
}

// Under Fence, Hard ends in time even when the goroutine that decides hangs.
func TestFenceDoesNotDependOnTheLoop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, m, h := fencing(t)
		gate := make(chan struct{})
		h.gate.Store(&gate)
		synctest.Wait() // a renewal that was under way may have extended the trust
		begun := time.Now()
		e, lease := m.executor(), m.CurrentAssignment().Leases[0]
		trusted := time.Duration(e.trusted.Load())
		<-lease.Hard().Done()
		if at := e.clock.elapsed(); at != trusted || !errors.Is(lease.Check(), ErrFenced) {
			t.Errorf("Hard ended %v after the start, trust at %v; Check says %v", at, trusted, lease.Check())
		}
		if took := time.Since(begun); took < 5*time.Second {
			t.Errorf("Hard ended after %v already", took)
		}
		h.gate.Store(nil)
		close(gate)
		f.settled(time.Minute, 2, m)
		stopAll(m)
	})
}

// The same while nothing is provable because the own slice is to be heard again: handlers go
// on then, and so does the time until Hard.
func TestFenceDoesNotDependOnTheLoopWhileStale(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, m, h := fencing(t)
		e, lease := m.executor(), m.CurrentAssignment().Leases[0]
		// No renewal is stored from now on. When that was found out, by the session's key, the
		// plan and the slice, the slice cannot be read any more.
		var mu sync.Mutex
		found := 0
		m.store.Hang(func(op memkv.Op) bool {
			mu.Lock()
			defer mu.Unlock()
			session, slice := strings.HasPrefix(op.Keys[0], wire.Session.Prefix()), strings.HasPrefix(op.Keys[0], wire.Slice.Prefix())
			switch {
			case op.Kind == memkv.OpGet && (session || slice && found == 1):
				found++
			case op.Kind == memkv.OpGet && slice:
				return found > 1
			}
			return op.Kind == memkv.OpWrite && session
		})
		synctest.Wait() // a renewal that was under way may have extended the trust
		trusted := time.Duration(e.trusted.Load())
		f.eventually(5*time.Second, "nothing is provable", func() bool { return lease.Check() != nil })
		if left := trusted - e.clock.elapsed(); left < 5*time.Second || lease.Hard().Err() != nil {
			t.Fatalf("%v of trust are left, Hard: %v", left, lease.Hard().Err())
		}
		gate := make(chan struct{})
		h.gate.Store(&gate)
		select {
		case <-lease.Hard().Done():
			if at := e.clock.elapsed(); at != trusted {
				t.Errorf("Hard ended %v after the start, trust at %v", at, trusted)
			}
		case <-time.After(time.Minute):
			t.Error("Hard has not ended")
		}
		h.gate.Store(nil)
		close(gate)
		m.store.Mend()
		f.settled(time.Minute, 2, m)
		stopAll(m)
	})
}

// A strategy's answer that is wrong leaves the plan as it is.
func TestStrategyThatAnswersNonsense(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(10)...)
		var wrong atomic.Bool
		s := WithStrategy(strategyFunc(func(in plan.Input) ([]int, error) {
			to, err := strategy.Sticky().Assign(in)
			if wrong.Load() && err == nil {
				to[len(to)-1] = len(in.Workers)
			}
			return to, err
		}))
		a := f.join("a", Config{ExpectedWorkers: 1}, s)
		f.settled(5*time.Second, 10, a)
		wrong.Store(true)
		b := f.join("b", Config{}, s)
		f.eventually(time.Minute, "somebody is told", func() bool {
			return slices.ContainsFunc(a.Status().Alerts, func(x Alert) bool { return strings.Contains(x.Text, "p-009") })
		})
		if n := f.ledger.counts()["a"]; n != 10 {
			t.Errorf("a runs %d of 10", n)
		}
		wrong.Store(false)
		f.settled(time.Minute, 10, a, b)
		stopAll(a, b)
	})
}
