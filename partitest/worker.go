package partitest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/hatch"
)

// open finds the inside of a worker that runs.
func open(tb testing.TB, who string, mgr *parti.Manager) hatch.Worker {
	tb.Helper()
	w, _ := hatch.Open(mgr)
	if mgr == nil || !w.Started() {
		tb.Fatalf("%s: this Manager was not started: call Start or Run first", who)
	}
	return w
}

// storeConn is a worker's connection, if its store is on one.
func storeConn(mgr *parti.Manager) (*nats.Conn, bool) {
	w, _ := hatch.Open(mgr)
	on, ok := w.Store().(interface{ Conn() *nats.Conn })
	if !ok {
		return nil, false
	}
	return on.Conn(), true
}

// connOf is a worker's connection.
func connOf(tb testing.TB, mgr *parti.Manager) *nats.Conn {
	tb.Helper()
	nc, ok := storeConn(mgr)
	if !ok {
		tb.Fatal("the store of this Manager is on no NATS connection: a fault of the network needs one")
	}
	return nc
}

// CrashWorker ends a worker as SIGKILL ends a process, as far as that can be done from
// inside: its connection is cut for good, it decides and renews nothing any more, and
// nothing is released. The goroutines of its handlers are left alone until the test
// ends, when their contexts end and its Stop returns an error; what they do until then
// is not the fleet's doing. A [Ledger] that watches it does not count them as owners
// any more.
func CrashWorker(tb testing.TB, mgr *parti.Manager) {
	tb.Helper()
	w := open(tb, "CrashWorker", mgr)
	w.Freeze()
	CutConnection(tb, connOf(tb, mgr))
	told(mgr, Crashed) // after the cut: what is entered after a crash is about another process
	tb.Cleanup(w.Bury)
}

// FreezeWorker stops a worker where it stands, as SIGSTOP stops a process, for d, or
// until it is healed where that is 0: nothing is renewed, decided, started or stopped,
// and no probe is answered. Its handlers go on, which is worse than what SIGSTOP does:
// they do not know that they may be owners no more.
func FreezeWorker(tb testing.TB, mgr *parti.Manager, d time.Duration) *Fault {
	tb.Helper()
	w := open(tb, "FreezeWorker", mgr)
	f := &Fault{}
	f.struck.Add(1)
	thaw := w.Freeze()
	told(mgr, Frozen)
	newFault(tb, f, nil, func() {
		told(mgr, Woke)
		thaw()
	})
	if d > 0 {
		timer := time.AfterFunc(d, f.Heal)
		tb.Cleanup(func() { timer.Stop() })
	}
	return f
}

// SlowdownWorker lets a worker run only one part of its time in factor, in turns, as a
// process whose CPU quota is used up: with 3, it works for a second and stands still for
// two. So its heartbeats and its answers to probes are late. Its handlers go on.
func SlowdownWorker(tb testing.TB, mgr *parti.Manager, factor float64) *Fault {
	tb.Helper()
	if !(factor > 1) {
		tb.Fatalf("SlowdownWorker: a factor of %v: it must be above 1, at which nothing is slow", factor)
	}
	w := open(tb, "SlowdownWorker", mgr)
	f := &Fault{}
	var slow sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	begin := func() {
		slow.Go(func() {
			still := time.Duration((factor - 1) * float64(turn))
			for ctx.Err() == nil {
				thaw := w.Freeze()
				f.struck.Add(1)
				wait(ctx, still)
				thaw()
				wait(ctx, turn)
			}
		})
	}
	return newFault(tb, f, begin, func() {
		cancel()
		slow.Wait()
	})
}

// turn is for how long a slow worker works at a time.
const turn = time.Second

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
