package parti

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/hatch"
	"github.com/parti-go/parti/internal/memkv"
)

func (m *mate) inside() hatch.Worker {
	m.fleet.t.Helper()
	w, ok := hatch.Open(m.Manager)
	if !ok || !w.Started() {
		m.fleet.t.Fatal("it was not started")
	}
	return w
}

// A frozen worker renews nothing, answers nothing and stops nothing, so others take
// over; its handlers go on until it wakes, and it stops them then.
func TestFreeze(t *testing.T) {
	for _, isolation := range []Isolation{Freeze, Fence} {
		t.Run(isolation.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, parts(12)...)
				cfg := Config{ExpectedWorkers: 3, Isolation: isolation}
				a, b, c := f.join("a", cfg), f.join("b", cfg), f.join("c", cfg)
				f.settled(40*time.Second, 12, a, b, c)
				thaw, again := a.inside().Freeze(), a.inside().Freeze()
				f.ledger.twoAllowed(true)
				f.settled(time.Minute, 12, b, c)
				synctest.Wait()
				if n := len(a.CurrentAssignment().Leases); n != 4 {
					t.Errorf("%d of its 4 handlers still run", n)
				}
				thaw()
				thaw()
				time.Sleep(time.Minute)
				if n := len(a.CurrentAssignment().Leases); n != 4 {
					t.Errorf("it is awake, although it was frozen twice: %d handlers", n)
				}
				again()
				f.eventually(100*time.Millisecond, "its handlers are stopped", func() bool {
					return len(a.CurrentAssignment().Leases) == 0
				})
				f.ledger.twoAllowed(false)
				f.settled(time.Minute, 12, a, b, c)
				stopAll(a, b, c)
			})
		})
	}
}

// A short freeze costs nothing.
func TestFreezeForASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(12)...)
		a, b := f.join("a", Config{ExpectedWorkers: 2}), f.join("b", Config{})
		f.settled(40*time.Second, 12, a, b)
		owners, starts := f.marks()
		thaw := a.inside().Freeze()
		time.Sleep(2 * time.Second)
		thaw()
		time.Sleep(time.Minute)
		f.settled(0, 12, a, b)
		for _, wrong := range f.unmoved(owners, starts) {
			t.Error(wrong)
		}
		stopAll(a, b)
	})
}

// What is buried says nothing any more: others find it lost, as after a kill.
func TestBury(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(12)...)
		a, b, c := f.join("a", Config{ExpectedWorkers: 3}), f.join("b", Config{}), f.join("c", Config{})
		f.settled(40*time.Second, 12, a, b, c)
		var asked atomic.Int32
		in := a.inside()
		if in.Store() != any(a.store) {
			t.Error("another store")
		}
		in.Freeze()
		synctest.Wait() // what was on its way has arrived
		a.store.Refuse(func(memkv.Op) error {
			asked.Add(1)
			return nil
		})
		f.ledger.kill("a")
		in.Bury()
		if err := a.Stop(context.Background()); !errors.Is(err, errBuried) {
			t.Errorf("Stop: %v", err)
		}
		f.settled(time.Minute, 12, b, c)
		if n := asked.Load(); n > 0 {
			t.Errorf("it has asked the store %d times", n)
		}
		a.gone = true
		stopAll(b, c)
	})
}

func TestHatch(t *testing.T) {
	if _, ok := hatch.Open("a manager"); ok {
		t.Error("a string is no Manager")
	}
	f := newFleet(t)
	m, err := NewManager(f.server.Client("x"), nil, HandlerFunc(wait), Config{})
	if err != nil {
		t.Fatal(err)
	}
	w, ok := hatch.Open(m)
	if !ok || w.Started() {
		t.Errorf("a way in: %v, and it was started", ok)
	}
	if err := w.Begin(t.Context()); err != nil || !w.Started() {
		t.Errorf("it was not started: %v", err)
	}
	w.Bury()
}
