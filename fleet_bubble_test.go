package parti

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

func TestOneWorkerRunsAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(7)...)
		m := f.make("a", Config{ExpectedWorkers: 1}, nil)
		if s := m.State(); s != StateInit {
			t.Errorf("it is %v before the start", s)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.settled(time.Second, 7, m)
		synctest.Wait()
		a, s := m.CurrentAssignment(), m.Status()
		if len(a.Leases) != 7 || a.Version == 0 || a.Term != 1 || a.Leases[3].Partition.ID != "p-003" || a.Leases[3].Token == 0 {
			t.Errorf("assignment %+v", a)
		}
		if err := a.Leases[0].Check(); err != nil {
			t.Error(err)
		}
		if !s.Leader || !s.Ready || s.State != StateStable || s.Running != 7 || s.WorkerID != m.WorkerID() || s.Phase != plan.Stable || s.TrustedFor < 10_000 || !s.Live() {
			t.Errorf("status %v", s)
		}
		m.leave()
		if err := a.Leases[0].Check(); !errors.Is(err, ErrFenced) {
			t.Errorf("after the stop, Check says %v", err)
		}
		if s := m.Status(); s.State != StateStopped || s.Running != 0 || s.TrustedFor != 0 || s.Live() || s.Err != "" {
			t.Errorf("status at the end %v", s)
		}
		states := happened[event.StateChanged](m)
		want := []string{"ClaimingID", "WaitingAssignment", "Stable", "ShuttingDown", "Stopped"}
		if got := slices.Collect(func(yield func(string) bool) {
			for _, s := range states {
				yield(s.To)
			}
		}); !slices.Equal(got, want) {
			t.Errorf("states %v, want %v", got, want)
		}
	})
}

func TestJoinEvensOutAndLeaveLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(30)...)
		a := f.join("a", Config{ExpectedWorkers: 1})
		f.settled(5*time.Second, 30, a)
		b := f.join("b", Config{})
		c := f.join("c", Config{})
		took := f.settled(20*time.Second, 30, a, b, c)
		t.Logf("evened out in %v", took)
		before := f.ledger.owners()
		b.leave()
		took = f.settled(time.Second, 30, a, c)
		t.Logf("what b had was moved in %v", took)
		for id, owner := range f.ledger.owners() {
			if before[id] != b.name && owner != before[id] {
				t.Errorf("%s moved from %s to %s", id, before[id], owner)
			}
		}
		stopAll(a, c)
	})
}

func TestCrashIsRepaired(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(30)...)
		mates := []*mate{f.join("a", Config{ExpectedWorkers: 3}), f.join("b", Config{}), f.join("c", Config{})}
		f.settled(40*time.Second, 30, mates...)
		for i := range 2 {
			at := slices.IndexFunc(mates, func(m *mate) bool { return m.IsLeader() == (i == 1) })
			victim := mates[at]
			mates = slices.Delete(mates, at, at+1)
			victim.crash()
			took := f.settled(30*time.Second, 30, mates...)
			t.Logf("%s (leader: %v) was lost; repaired in %v", victim.name, i == 1, took)
		}
		stopAll(mates...)
	})
}

func TestSourceChanges(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		n, fail := 10, error(nil)
		f := newFleet(t)
		f.source = source.Func(func(context.Context) ([]Partition, error) {
			mu.Lock()
			defer mu.Unlock()
			return parts(n), fail
		})
		set := func(to int, err error) {
			mu.Lock()
			defer mu.Unlock()
			n, fail = to, err
		}
		a, b := f.join("a", Config{ExpectedWorkers: 2}), f.join("b", Config{})
		f.settled(40*time.Second, 10, a, b)
		follower := a
		if a.IsLeader() {
			follower = b
		}
		set(16, nil)
		if err := follower.RefreshPartitions(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.settled(30*time.Second, 16, a, b)
		set(0, errSomething)
		if err := follower.RefreshPartitions(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.eventually(10*time.Second, "the failure is told", func() bool {
			return len(happened[event.SourceFailed](a))+len(happened[event.SourceFailed](b)) > 0
		})
		time.Sleep(time.Minute)
		f.settled(0, 16, a, b)
		set(14, nil)
		if err := follower.RefreshPartitions(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.settled(time.Minute, 14, a, b)
		stopAll(a, b)
		if err := follower.RefreshPartitions(t.Context()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("after the stop: %v", err)
		}
	})
}

// watched is a source that notices changes.
type watched struct {
	source.Func

	mu      sync.Mutex
	changed func()
	watches int
	err     error
}

func (w *watched) Watch(ctx context.Context, changed func()) error {
	w.mu.Lock()
	w.watches++
	w.changed = changed
	err := w.err
	w.mu.Unlock()
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (w *watched) tell() {
	w.mu.Lock()
	changed := w.changed
	w.mu.Unlock()
	changed()
}

func TestSourceThatWatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := 4
		w := &watched{err: errSomething}
		w.Func = func(context.Context) ([]Partition, error) { w.mu.Lock(); defer w.mu.Unlock(); return parts(n), nil }
		f := newFleet(t)
		f.source = w
		a := f.join("a", Config{ExpectedWorkers: 1})
		f.settled(5*time.Second, 4, a)
		f.eventually(time.Minute, "it is watched again", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.watches > 2 })
		w.mu.Lock()
		w.err = nil
		n = 6
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.tell()
		f.settled(20*time.Second, 6, a)
		if len(happened[event.Failed](a)) == 0 {
			t.Error("nobody was told that it could not be watched")
		}
		a.leave()
		w.tell() // late, and harmless
	})
}

// A Watch that ends its goroutine, as t.FailNow does, has failed, and is called again.
func TestAWatchEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		var watches atomic.Int32
		f.source = &unread{
			list: func(context.Context) ([]Partition, error) { return parts(2), nil },
			watch: func(ctx context.Context) error {
				if watches.Add(1) == 1 {
					runtime.Goexit()
				}
				<-ctx.Done()
				return nil
			},
		}
		a := f.join("a", Config{ExpectedWorkers: 1})
		f.eventually(time.Minute, "it is watched again", func() bool { return watches.Load() == 2 })
		if all := happened[event.Failed](a); len(all) != 1 || all[0].Err != errGoexit.Error() {
			t.Errorf("%+v", all)
		}
		stopAll(a)
	})
}

// Many wishes for a refresh, over slow links or while the store is away, are few requests, and
// none fails because there are others. The last is fulfilled like the first.
func TestManyWishesAreFew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		set := f.changeable(parts(4))
		mates := []*mate{f.join("a", Config{ExpectedWorkers: 3}), f.join("b", Config{}), f.join("c", Config{})}
		f.settled(40*time.Second, 4, mates...)
		followers := slices.DeleteFunc(slices.Clone(mates), func(m *mate) bool { return m.IsLeader() })
		wish := func(op memkv.Op) bool {
			return len(op.Keys) == 1 && strings.HasSuffix(op.Keys[0], string(plan.Refresh))
		}
		var asked atomic.Int32
		for _, m := range followers {
			m.store.Slow(func() time.Duration { return 200 * time.Millisecond })
			m.store.Overhear(func(op memkv.Op) {
				if wish(op) {
					asked.Add(1)
				}
			})
		}
		wishes := func(n int, pause time.Duration) {
			for range n {
				for _, m := range followers {
					if err := m.RefreshPartitions(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(pause)
			}
		}
		wishes(100, 20*time.Millisecond)
		set(parts(7))
		wishes(1, time.Minute)
		f.settled(0, 7, mates...)
		if n := asked.Load(); n < 4 || n > 60 { // two at a time, for two seconds
			t.Errorf("%d requests for 200 wishes", n)
		}

		for _, m := range followers {
			m.store.Refuse(func(op memkv.Op) error {
				if wish(op) {
					return kv.ErrUnavailable
				}
				return nil
			})
		}
		asked.Store(0)
		wishes(600, time.Second)
		if n := asked.Load(); n > 600 { // one in five seconds, and more at first
			t.Errorf("%d requests in ten minutes without an answer", n)
		}
		set(parts(9))
		for _, m := range followers {
			m.store.Mend()
		}
		time.Sleep(time.Minute)
		f.settled(0, 9, mates...)
		for _, m := range mates {
			if all := happened[event.Failed](m); len(all) > 0 {
				t.Errorf("%s: %d failures, such as %+v", m.name, len(all), all[0])
			}
		}
		stopAll(mates...)
	})
}

func TestIdentityOfALiveProcessIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(4)...)
		a := f.join("a", Config{ExpectedWorkers: 1})
		f.settled(5*time.Second, 4, a)
		twin := f.make("twin", Config{Identity: "a"}, nil)
		err := twin.Run(t.Context())
		if !errors.Is(err, ErrIdentityInUse) || !strings.Contains(err.Error(), a.WorkerID()) {
			t.Errorf("the twin ran, and ended with %v", err)
		}
		var who *IdentityInUseError
		if !errors.As(err, &who) || who.Identity != "a" || who.Worker != a.WorkerID() {
			t.Errorf("it does not say who: %+v", who)
		}
		if s := twin.Status(); s.State != StateStopped || s.Err == "" || len(s.Alerts) != 1 {
			t.Errorf("its status is %v", s)
		}
		if all := happened[Event](twin); !isLast(all[len(all)-1]) {
			t.Errorf("the last event is not that it has stopped: %+v", all)
		}
		f.settled(0, 4, a)
		id := a.WorkerID()
		a.leave()
		next := f.make("next", Config{Identity: "a"}, nil)
		if err := next.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if next.WorkerID() != id {
			t.Errorf("the successor is %s, was %s", next.WorkerID(), id)
		}
		stopAll(next)
	})
}

// cutOff runs three workers, cuts one off for a while, and tells what it saw.
func cutOff(t *testing.T, cfg Config, away time.Duration, during func(f *fleet, cut *mate, others []*mate)) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(12)...)
		first := cfg
		first.ExpectedWorkers = 3
		mates := []*mate{f.join("a", first), f.join("b", cfg), f.join("c", cfg)}
		f.settled(40*time.Second, 12, mates...)
		at := slices.IndexFunc(mates, func(m *mate) bool { return !m.IsLeader() })
		cut := mates[at]
		others := slices.Delete(slices.Clone(mates), at, at+1)
		f.ledger.twoAllowed(cfg.Isolation == Freeze)
		cut.store.Cut()
		begun := time.Now()
		during(f, cut, others)
		time.Sleep(time.Until(begun.Add(away)))
		cut.store.Mend()
		f.eventually(2*time.Minute, "all is even again", func() bool {
			n := 0
			for _, m := range mates {
				k := m.Status().Running
				if k != 4 || m.State() != StateStable {
					return false
				}
				n += k
			}
			return n == 12
		})
		stopAll(mates...)
	})
}

func TestIsolationFreeze(t *testing.T) {
	cutOff(t, Config{}, 10*time.Minute, func(f *fleet, cut *mate, others []*mate) {
		leases := cut.CurrentAssignment().Leases
		time.Sleep(20 * time.Second)
		if cut.State() != StateDegraded || cut.Status().Running != 4 {
			f.t.Errorf("it is %v and runs %d", cut.State(), cut.Status().Running)
		}
		if err := leases[0].Check(); !errors.Is(err, ErrFenced) {
			f.t.Errorf("isolated, Check says %v", err)
		}
		if leases[0].Hard().Err() != nil {
			f.t.Error("it was fenced")
		}
		f.eventually(time.Minute, "the others have taken over", func() bool {
			return others[0].Status().Running+others[1].Status().Running == 12
		})
		time.Sleep(5 * time.Minute)
		var levels []string
		for _, e := range happened[event.Degraded](cut) {
			levels = append(levels, e.Level)
		}
		if levels = slices.Compact(levels); !slices.Equal(levels, []string{"info", "warn", "error"}) {
			f.t.Errorf("alerts %v", levels)
		}
	})
}

func TestIsolationFence(t *testing.T) {
	cutOff(t, Config{Isolation: Fence}, 10*time.Minute, func(f *fleet, cut *mate, others []*mate) {
		lease := cut.CurrentAssignment().Leases[0]
		begun := time.Now()
		f.eventually(time.Minute, "it has stopped", func() bool { return cut.Status().Running == 0 })
		if took := time.Since(begun); took > 15*time.Second-1875*time.Millisecond {
			f.t.Errorf("it ran for %v", took)
		}
		if context.Cause(lease.Hard()) == nil || lease.Check() == nil {
			f.t.Error("the lease still holds")
		}
		f.eventually(time.Minute, "the others have taken over", func() bool {
			return others[0].Status().Running+others[1].Status().Running == 12
		})
	})
}

func TestStoreAway(t *testing.T) {
	for _, isolation := range []Isolation{Freeze, Fence} {
		t.Run(isolation.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, parts(12)...)
				cfg := Config{Isolation: isolation, ExpectedWorkers: 3}
				mates := []*mate{f.join("a", cfg), f.join("b", cfg), f.join("c", cfg)}
				f.settled(40*time.Second, 12, mates...)
				before := f.ledger.owners()
				starts := f.ledger.started("p-000")
				f.server.Down()
				time.Sleep(time.Minute)
				want := 12
				if isolation == Fence {
					want = 0
				}
				if got := len(f.ledger.owners()); got != want {
					t.Errorf("%d run while the store is away, want %d", got, want)
				}
				time.Sleep(9 * time.Minute)
				f.server.Up()
				took := f.settled(time.Minute, 12, mates...)
				t.Logf("well after %v", took)
				if isolation == Freeze {
					time.Sleep(time.Minute)
					if got := f.ledger.started("p-000"); got != starts {
						t.Errorf("a handler was started %d times for an outage that it should not have felt", got-starts)
					}
					for id, owner := range f.ledger.owners() {
						if owner != before[id] {
							t.Errorf("%s moved from %s to %s", id, before[id], owner)
						}
					}
				}
				if f.server.Struck(memkv.Disconnected) < 3 {
					t.Error("the fault did not strike")
				}
				stopAll(mates...)
			})
		})
	}
}

func TestStoreLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(12)...)
		mates := []*mate{f.join("a", Config{ExpectedWorkers: 3}), f.join("b", Config{}), f.join("c", Config{})}
		f.settled(40*time.Second, 12, mates...)
		before, starts := f.ledger.owners(), f.ledger.started("p-000")
		f.server.Wipe()
		time.Sleep(2 * time.Minute)
		f.settled(time.Minute, 12, mates...)
		if got := f.ledger.owners(); got["p-000"] != before["p-000"] || f.ledger.started("p-000") != starts {
			t.Errorf("p-000 was with %s, is with %s, started %d times", before["p-000"], got["p-000"], f.ledger.started("p-000")-starts)
		}
		stopAll(mates...)
	})
}

// The bucket is lost under more workers than one commit may have slices: the plan is
// rebuilt over several commits, and nothing stops or moves.
func TestStoreLostSmallBatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(24)...)
		f.server.SetLimits(kv.Limits{MaxPayload: 1 << 20, MaxBatch: 10})
		var mates []*mate
		for i := range 12 {
			mates = append(mates, f.join(fmt.Sprint("w", i), Config{ExpectedWorkers: 12}))
		}
		f.settled(time.Minute, 24, mates...)
		before := f.ledger.owners()
		f.server.Wipe()
		time.Sleep(2 * time.Minute)
		f.settled(time.Minute, 24, mates...)
		if after := f.ledger.owners(); !maps.Equal(before, after) {
			t.Errorf("before %v, after %v", before, after)
		}
		stopAll(mates...)
	})
}

// A worker that stops drains all that it has at once: a hundred handlers that take 7 s each
// are well within the DrainTimeout of 30 s, and none of them meets its Hard.
func TestStopDrainsAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(100)...)
		var hurried atomic.Int64
		m := f.make("a", Config{ExpectedWorkers: 1}, HandlerFunc(func(ctx context.Context, l Lease) error {
			<-ctx.Done()
			select {
			case <-time.After(7 * time.Second):
			case <-l.Hard().Done():
				hurried.Add(1)
			}
			return nil
		}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		f.settled(time.Minute, 100, m)
		begun := time.Now()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 8*time.Second || hurried.Load() > 0 {
			t.Errorf("it took %v, and %d had to hurry", took, hurried.Load())
		}
	})
}

// A Run whose context has ended before it begins has nothing to stop, and says so.
func TestRunThatIsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := newFleet(t, parts(1)...).make("a", Config{}, nil).Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// A hundred workers that start together need a few tries each to claim an ID, and
// make one plan.
func TestAHundredStartTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(200)...)
		mates := make([]*mate, 100)
		for i := range mates {
			mates[i] = f.join(fmt.Sprintf("m%02d", i), Config{ExpectedWorkers: 100})
		}
		took := f.settled(10*time.Second, 200, mates...)
		tries, worst, plans := 0, 0, 0
		for _, m := range mates {
			for _, c := range happened[event.Claimed](m) {
				tries += c.Tries
				worst = max(worst, c.Tries)
			}
			for _, p := range happened[event.Planned](m) {
				if len(p.Decision.Moves) > 0 {
					plans++
				}
			}
		}
		t.Logf("all run after %v; %d tries, at most %d; %d plans", took, tries, worst, plans)
		if tries > 300 || worst > 8 {
			t.Errorf("%d tries for 100 workers, at most %d", tries, worst)
		}
		if plans != 1 {
			t.Errorf("%d plans", plans)
		}
		stopAll(mates...)
	})
}

// Hours of a group's life: workers come, leave and crash, one at a time; after each
// all partitions run again, evenly, and nothing was ever run twice.
func TestHoursOfLife(t *testing.T) {
	life, seeds := 90*time.Minute, uint64(2)
	if testing.Short() || raceEnabled { // the race detector does not bear long bubbles
		life, seeds = 5*time.Minute, 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				f := newFleet(t, parts(40)...)
				var mates []*mate
				for i := range 4 {
					mates = append(mates, f.join(fmt.Sprint("m", i), Config{ExpectedWorkers: 4}))
				}
				f.settled(time.Minute, 40, mates...)
				end := time.Now().Add(life)
				joined, left, crashed := 4, 0, 0
				for time.Now().Before(end) {
					time.Sleep(time.Duration(rnd.IntN(300)) * time.Second)
					at := rnd.IntN(len(mates))
					switch k := rnd.IntN(3); {
					case k == 0 || len(mates) < 3:
						mates = append(mates, f.join(fmt.Sprint("m", joined), Config{}))
						joined++
					case k == 1:
						mates[at].leave()
						mates = slices.Delete(mates, at, at+1)
						left++
					default:
						mates[at].crash()
						mates = slices.Delete(mates, at, at+1)
						crashed++
					}
					// What was with three crashed owners in a row is set aside for a minute, or
					// two: that is allowed here.
					f.eventually(3*time.Minute, "all run", func() bool { return len(f.ledger.owners()) == 40 })
				}
				f.settled(3*time.Minute, 40, mates...)
				t.Logf("%d joined, %d left, %d crashed", joined, left, crashed)
				stopAll(mates...)
			})
		})
	}
}

// A leader whose connection blinks all the time is not in doubt for ever.
func TestDoubtEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(12)...)
		mates := []*mate{f.join("a", Config{ExpectedWorkers: 3}), f.join("b", Config{}), f.join("c", Config{})}
		f.settled(40*time.Second, 12, mates...)
		at := slices.IndexFunc(mates, func(m *mate) bool { return m.IsLeader() })
		leader, victim := mates[at], mates[(at+1)%3]
		victim.crash()
		for range 12 { // two minutes
			leader.store.Cut()
			time.Sleep(50 * time.Millisecond)
			leader.store.Mend()
			time.Sleep(10 * time.Second)
		}
		if n := len(f.ledger.owners()); n != 12 {
			t.Errorf("two minutes after the crash %d of 12 run", n)
		}
		stopAll(leader, mates[(at+2)%3])
	})
}

// A source that is wrong for a tenth of a second, and tells of two changes meanwhile,
// says twice the same wrong thing: it is asked again only later.
func TestAGlitchOfTheSource(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		set := f.changeable(parts(10))
		m := f.join("a", Config{ExpectedWorkers: 1})
		f.settled(5*time.Second, 10, m)
		set(parts(3))
		for range 3 {
			if err := m.RefreshPartitions(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Millisecond)
		}
		set(parts(10))
		time.Sleep(time.Minute)
		f.settled(5*time.Second, 10, m)

		set(parts(3)) // for good
		if err := m.RefreshPartitions(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.settled(time.Minute, 3, m)
		stopAll(m)
	})
}

// A leader that leads no more takes its alerts along.
func TestAlertsEndWithTheTerm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(10)...)
		a := f.join("a", Config{ExpectedWorkers: 1, Capacity: 4})
		f.settled(5*time.Second, 4, a)
		f.eventually(10*time.Second, "somebody is told", func() bool { return len(a.Status().Alerts) > 0 })
		b := f.join("b", Config{Capacity: 4})
		f.settled(30*time.Second, 8, a, b)
		a.exec.queue.push(member.StepDown{})
		f.eventually(30*time.Second, "b leads", func() bool { return b.IsLeader() && !a.IsLeader() })
		f.eventually(time.Minute, "b tells instead", func() bool { return len(a.Status().Alerts) == 0 && len(b.Status().Alerts) > 0 })
		stopAll(a, b)
	})
}

// What a leader is not told it reads again: changes are told at most once.
func TestChangesThatAreNeverTold(t *testing.T) {
	for name, lose := range map[string]func(key string) bool{
		"one control": func() func(string) bool {
			var once sync.Once
			return func(key string) (lost bool) {
				if strings.HasPrefix(key, "control.") {
					once.Do(func() { lost = true })
				}
				return lost
			}
		}(),
		"everything": func(string) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t)
				set := f.changeable(parts(6))
				leader := f.make("a", Config{ExpectedWorkers: 1}, nil)
				var lost atomic.Int32
				leader.store.Tamper(func(e kv.Entry) memkv.Fate {
					drop := lose(e.Key)
					if drop {
						lost.Add(1)
					}
					return memkv.Fate{Drop: drop}
				})
				if err := leader.begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.settled(30*time.Second, 6, leader)
				other := f.join("b", Config{})
				f.settled(2*time.Minute, 6, leader, other)
				set(parts(10))
				if err := other.RefreshPartitions(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.settled(2*time.Minute, 10, leader, other)
				if lost.Load() == 0 {
					t.Error("nothing was lost: the proof is hollow")
				}
				stopAll(leader, other)
			})
		})
	}
}

// Whatever the store refuses for good, somebody is told of it, by its subject.
func TestRefusalsAreTold(t *testing.T) {
	for _, kind := range []memkv.OpKind{memkv.OpGet, memkv.OpList, memkv.OpIncarnation, memkv.OpFollow} {
		for name, refusal := range map[string]error{
			"denied":  &kv.DeniedError{Op: "publish", Subject: "the.subject"},
			"strange": errors.New("an answer about the.subject that belongs to no class"),
		} {
			t.Run(fmt.Sprint(kind, " ", name), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFleet(t, parts(3)...)
					m := f.make("a", Config{ExpectedWorkers: 1}, nil)
					m.store.Refuse(func(op memkv.Op) error {
						if op.Kind == kind {
							return refusal
						}
						return nil
					})
					if err := m.begin(t.Context()); err != nil {
						t.Fatal(err)
					}
					f.eventually(10*time.Second, "somebody is told", func() bool {
						return slices.ContainsFunc(happened[event.Failed](m), func(e event.Failed) bool { return strings.Contains(e.Err, "the.subject") })
					})
					m.crash()
				})
			})
		}
	}
}

// The bucket is lost while a worker that knows nothing of the group starts, and may make
// it anew and lead: the group comes to rest again, and under Fence nothing is run by two.
func TestStoreLostWhileAWorkerStarts(t *testing.T) {
	for _, isolation := range []Isolation{Freeze, Fence} {
		for _, delay := range []time.Duration{0, 20 * time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
			t.Run(fmt.Sprint(isolation, " ", delay), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFleet(t, parts(12)...)
					cfg := Config{Isolation: isolation, ExpectedWorkers: 3}
					mates := []*mate{f.join("a", cfg), f.join("b", cfg), f.join("c", cfg)}
					f.settled(40*time.Second, 12, mates...)
					time.Sleep(10 * time.Second)
					cut := mates[2]
					if cut.IsLeader() {
						cut = mates[1]
					}
					if isolation == Fence {
						cut.store.BlackHole() // well within its trust
						time.Sleep(100 * time.Millisecond)
					}
					f.server.Wipe()
					time.Sleep(delay)
					mates = append(mates, f.join("d", Config{Isolation: isolation}))
					time.Sleep(8 * time.Second)
					cut.store.Mend()
					f.settled(2*time.Minute, 12, mates...)
					stopAll(mates...)
				})
			})
		}
	}
}
