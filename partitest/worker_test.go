package partitest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/parti-go/parti"
)

// hurried is a fleet whose workers do not wait for others, with two of them.
func hurried(t *testing.T, on *NATS) (f *Fleet, a, b *Worker) {
	t.Helper()
	f = NewFleet(t, on, Numbered(12), func(w *Worker) parti.Handler {
		return parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
			_ = w.Fleet.Act(l, "begins")
			<-ctx.Done()
			_ = w.Fleet.Act(l, "ends")
			return nil
		})
	})
	f.Config = parti.Config{
		SettleTime: time.Second, ScaleWindow: time.Second, Cooldown: time.Second, ExpectedWorkers: 2,
		LostAfter: 12 * time.Second, // a worker on a busy machine may be silent for the usual 6 s
	}
	a, b = f.Join("a"), f.Join("b")
	f.Settled(ample)
	return f, a, b
}

// A worker that crashed is found lost by its connection, long before LostAfter; its
// goroutines are still there, and end with the test.
func TestCrashWorker(t *testing.T) {
	t.Parallel()
	f, a, _ := hurried(t, StartNATS(t))
	before := f.Report() // the second may have come too late for the first plan
	a.Crash()
	f.Settled(ample)
	f.Await("all have begun", ample, func() bool { return f.Report().Accepted >= 18 })
	if n := len(a.CurrentAssignment().Leases); n != 6 {
		t.Errorf("%d handlers of the crashed worker run", n)
	}
	f.Check(parti.Fence, MaxGap(15*time.Second), MaxMoves(before.Moves+6))
	if r := f.Report(); r.Crashes != 1 || r.Moves != before.Moves+6 || len(r.Gaps) != len(before.Gaps)+6 || r.LongestGap() < 500*time.Millisecond {
		t.Errorf("%v", r)
	}
	f.Join("a") // its successor
	f.Settled(ample)
	f.Check(parti.Fence, MaxGap(15*time.Second))
}

// Who is stopped or crashed as a Manager is no worker of the fleet any more: nobody waits
// for it, and the end of the test is clean.
func TestGoneAsManager(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *Worker) error{
		"stopped": func(t *testing.T, w *Worker) error { t.Helper(); return w.Stop(t.Context()) },
		"crashed": func(t *testing.T, w *Worker) error { t.Helper(); CrashWorker(t, w.Manager); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			f, a, b := hurried(t, StartNATS(t))
			if err := end(t, a); err != nil {
				t.Fatal(err)
			}
			f.Settled(ample)
			if shares := f.Shares(); shares[b.Name] != 12 {
				t.Errorf("%v", shares)
			}
			f.Check(parti.Fence)
		})
	}
}

// allActed reports whether each owner has acted: from then on the sink refuses those before it.
func allActed(f *Fleet) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.ContainsFunc(f.partitions, func(p parti.Partition) bool {
		_, token, owned := f.now.owner(p.ID)
		return !owned || f.sinks[p.ID] != token
	})
}

// ample is how long a fleet may take to settle, on a machine that does much else as well.
const ample = 2 * time.Minute

// The successor of one that crashed is not taken for isolated, although that one's
// connection stays cut, and the cut ends later.
func TestSuccessorOfACrash(t *testing.T) {
	t.Parallel()
	f, a, _ := hurried(t, StartNATS(t))
	apart := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.now.worker(a.Name).apart(time.Now())
	}
	cut := CutConnection(t, a.Manager)
	if !apart() {
		t.Error("it is not isolated")
	}
	t.Run("crash", func(t *testing.T) {
		CrashWorker(t, a.Manager)
		f.Join(a.Name)
		f.Settled(ample)
		if apart() {
			t.Error("while the cut lasts")
		}
	})
	cut.Heal()
	if apart() {
		t.Error("after it")
	}
	f.Check(parti.Freeze)
}

// A worker that is frozen is found lost by its silence. What it goes on with is
// excused; what it writes when it has woken is refused.
func TestFreezeWorker(t *testing.T) {
	t.Parallel()
	f, a, b := hurried(t, StartNATS(t))
	ice := FreezeWorker(t, a.Manager, 0)
	f.Await("b has everything", ample, func() bool { return f.Shares()[b.Name] == 12 && allActed(f) })
	if n := len(a.CurrentAssignment().Leases); n != 6 || ice.Count() != 1 {
		t.Errorf("%d handlers of the frozen worker run; struck %d times", n, ice.Count())
	}
	ice.Heal()
	f.Settled(ample)
	f.Check(parti.Fence)
	if r := f.Report(); r.Freezes != 1 || r.OverlapFrozen != 6 || r.Refused != 6 || r.Doubles != 0 || r.LongestGap() < 4*time.Second {
		t.Errorf("%v", r)
	}
}

// One that works a third of its time only is late with everything, and keeps what it has.
func TestSlowdownWorker(t *testing.T) {
	t.Parallel()
	f, a, _ := hurried(t, StartNATS(t))
	before := f.Report()
	slow := SlowdownWorker(t, a.Manager, 3)
	eventually(t, "three turns", func() bool { return slow.Count() >= 3 })
	slow.Heal()
	f.Check(parti.Fence, MaxMoves(before.Moves))
	if n := f.Report().Starts - before.Starts; n > 0 {
		t.Errorf("%d starts", n)
	}
	ice := FreezeWorker(t, a.Manager, 10*time.Millisecond)
	eventually(t, "it is awake", ice.isHealed)
}

// Workers that reach nobody go on under Freeze, and are told the truth when they are
// back: nothing moves for an outage of everybody.
func TestPartitionWorkers(t *testing.T) {
	t.Parallel()
	f, a, b := hurried(t, StartNATS(t))
	before := f.Report()
	apart := PartitionNetwork(t, Group{a.Manager, b.Conn}, Group{f.NATS.Node(0)})
	for _, w := range []*Worker{a, b} {
		eventually(t, "it is degraded", func() bool { return w.State() == parti.StateDegraded })
	}
	apart.Heal()
	for _, w := range []*Worker{a, b} {
		eventually(t, "it is stable", func() bool { return w.State() == parti.StateStable })
	}
	f.Check(parti.Freeze, MaxMoves(before.Moves))
	if r := f.Report(); r.Starts != before.Starts || r.Isolations < 2 || apart.Count() < 2 {
		t.Errorf("struck %d times; %v", apart.Count(), r)
	}
}

// Under Freeze, one that is cut off and goes on costs an overlap; it is reported, and
// no more than that.
func TestIsolatedUnderFreeze(t *testing.T) {
	t.Parallel()
	f, a, b := hurried(t, StartNATS(t))
	cut := CutConnection(t, a.Manager)
	f.Await("b has everything", ample, func() bool { return f.Shares()[b.Name] == 12 })
	cut.Heal()
	f.Settled(ample)
	f.Check(parti.Freeze)
	if r := f.Report(); r.OverlapIsolated != 6 || r.Doubles != 0 {
		t.Errorf("%v", r)
	}
}
