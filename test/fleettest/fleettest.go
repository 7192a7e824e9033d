// Package fleettest has what tests of whole fleets on real sockets share: intervals that are
// shorter than a user's, so that detection and windows take seconds, and how long things
// may take on a machine that does other work as well.
package fleettest

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/partitest"
	"github.com/parti-go/parti/plan"
)

// Patience is how long anything may take on a machine that does much other work as well,
// such as to elect leaders in three clusters at a time. It bounds no promise.
const Patience = 3 * time.Minute

// Hurry is a configuration in which a fleet finds out and settles in a few seconds.
func Hurry(isolation parti.Isolation) parti.Config {
	return parti.Config{
		Isolation:         isolation,
		HeartbeatInterval: 500 * time.Millisecond, SessionTTL: 6 * time.Second, LostAfter: 3 * time.Second,
		LeaderTTL: 4 * time.Second, ProbeInterval: 250 * time.Millisecond, ReconcileInterval: time.Second,
		SettleTime: 300 * time.Millisecond, ScaleWindow: time.Second, Cooldown: time.Second,
		EmergencyGrace: 500 * time.Millisecond, RecoveryGrace: 3 * time.Second, DrainTimeout: 5 * time.Second,
		Degraded: parti.Degraded{EnterAfter: 2 * time.Second, ExitAfter: time.Second},
	}
}

// Calm lets those who join next wait longer before they take anybody for lost, for tests in
// which nobody is to be lost, or not soon. With the intervals of Hurry a worker has three
// seconds to be back after the store was away, and where a machine is busy that is not
// enough for a request that was lost, which costs two, and for a server's hello.
func Calm(f *partitest.Fleet) {
	f.Config.LostAfter, f.Config.EmergencyGrace, f.Config.RecoveryGrace = 15*time.Second, 10*time.Second, 15*time.Second
}

// Detection is how long it may take until the partitions of a worker that crashed run
// elsewhere, with these intervals and on a busy machine: EmergencyGrace, a missed
// renewal, a probe, an election, and as much again.
const Detection = 4 * time.Second

// Slack is how many times as long as it should anything may take here, where the machine is
// busy: who is elected may not get to it, and the next one is. How long it takes on one
// that is not is measured by bench/failover.
const Slack = 2

// Acting is a handler that shows in the ledger's sink who is at work.
func Acting(w *partitest.Worker) parti.Handler {
	return parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		every := time.NewTicker(100 * time.Millisecond)
		defer every.Stop()
		for {
			if l.Check() == nil {
				_ = w.Fleet.Act(l, "works") // refusals are counted
			}
			select {
			case <-every.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// New makes a fleet of that configuration in which nobody is yet.
func New(t *testing.T, on *partitest.NATS, partitions int, isolation parti.Isolation) *partitest.Fleet {
	t.Helper()
	f := partitest.NewFleet(t, on, partitest.Numbered(partitions), Acting)
	f.Config = Hurry(isolation)
	return f
}

// Crew lets so many workers join and waits until the partitions run evenly.
func Crew(t *testing.T, f *partitest.Fleet, n int) []*partitest.Worker {
	t.Helper()
	f.Config.ExpectedWorkers = n
	var all []*partitest.Worker
	for i := range n {
		all = append(all, f.Join(Name(i)))
	}
	f.Settled(Patience)
	return all
}

// Name is the name of the i-th worker.
func Name(i int) string { return "w" + string(rune('0'+i/10)) + string(rune('0'+i%10)) }

// Eventually is [partitest.Ledger.Await] for what no entry tells.
func Eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	Look(t, what, 10*time.Millisecond, so)
}

// Look is eventually for what takes long to find out.
func Look(t *testing.T, what string, every time.Duration, so func() bool) {
	t.Helper()
	late := time.After(Patience)
	again := time.NewTicker(every)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("not so after %v: %s", Patience, what)
		}
	}
}

// Leads waits until somebody leads: on a busy machine leaders change at any time.
func Leads(t *testing.T, f *partitest.Fleet) *partitest.Worker {
	t.Helper()
	var w *partitest.Worker
	Eventually(t, "somebody leads", func() bool {
		w = f.Leader()
		return w != nil
	})
	return w
}

// Plans counts the plans that moved something, of all workers so far.
func Plans(all []*partitest.Worker) (n int) {
	for _, w := range all {
		for _, p := range partitest.Happened[event.Planned](w) {
			if len(p.Decision.Moves) > 0 {
				n++
			}
		}
	}
	return n
}

// OneSequence checks that the plans of all leaders were one sequence: no two had the same
// version, and none was of an earlier term than the one before.
func OneSequence(t *testing.T, all []*partitest.Worker) {
	t.Helper()
	var made []plan.Decision
	for _, w := range all {
		for _, p := range partitest.Happened[event.Planned](w) {
			made = append(made, p.Decision)
		}
	}
	slices.SortFunc(made, func(a, b plan.Decision) int { return cmp.Compare(a.Version, b.Version) })
	for i, d := range made[1:] {
		if before := made[i]; d.Version == before.Version || d.Term < before.Term {
			t.Errorf("plan %v of term %d by %s comes after %v of term %d by %s", d.Version, d.Term, d.Leader, before.Version, before.Term, before.Leader)
		}
	}
}

// Both runs a test under each policy.
func Both(t *testing.T, test func(t *testing.T, isolation parti.Isolation)) {
	t.Helper()
	for _, isolation := range []parti.Isolation{parti.Freeze, parti.Fence} {
		t.Run(isolation.String(), func(t *testing.T) {
			t.Parallel()
			test(t, isolation)
		})
	}
}
