package member

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// group starts n workers and waits until every partition runs.
func (w *world) group(n, partitions int) {
	w.t.Helper()
	w.parts = parts(partitions)
	for i := range n {
		w.start(w.config(fmt.Sprintf("id-%d", i)))
	}
	w.must("the first plan", 40*time.Second, w.settled)
	w.run(3 * time.Second)
}

// settled tells whether every partition runs and nothing is on its way.
func (w *world) settled() bool {
	if w.running() != len(w.parts) {
		return false
	}
	for _, b := range w.boxes {
		if !b.dead && b.rd.State != Stable {
			return false
		}
	}
	return w.leader() != nil
}

// other is a live process that does not lead.
func (w *world) other() *box {
	for _, b := range w.boxes {
		if !b.dead && !b.rd.Leading {
			return b
		}
	}
	return nil
}

func TestOneAndTwo(t *testing.T) {
	w := newWorld(t)
	w.group(1, 6)
	if n := len(w.boxes[0].run); n != 6 {
		t.Fatalf("the only worker runs %d of 6", n)
	}
	b := w.start(w.config("second"))
	w.must("the handoff", 20*time.Second, func() bool { return len(b.run) == 3 && len(w.boxes[0].run) == 3 })
	w.must("quiet", time.Second, w.settled)
	if h := w.store.head(); h.Releasing != 0 || h.Unassigned != 0 {
		t.Errorf("the head says %+v", h)
	}
	if n := len(saw[event.Released](w.boxes[0])); n != 3 {
		t.Errorf("%d released, want 3", n)
	}
	w.boxes[0].step(Leave{})
	w.must("the end", 20*time.Second, func() bool { return w.boxes[0].dead && len(b.run) == 6 })
	for i, e := range saw[event.Released](w.boxes[0]) {
		if want := []string{"revoked", "stopped"}[i/3]; e.Why != want || e.Took <= 0 {
			t.Errorf("%+v, want why %s", e, want)
		}
	}
	for _, b := range w.boxes {
		if n := len(saw[event.Failed](b)); n != 0 {
			t.Errorf("%s failed %d times", b.name, n)
		}
	}
}

func TestIdleGroupIsQuiet(t *testing.T) {
	w := newWorld(t)
	w.group(10, 20)
	n := map[string]int{}
	w.fault = func(_ *box, op Op) fault {
		switch r := op.Do.(type) {
		case Put:
			n["put "+r.Record.Key.Kind.String()]++
		case Get:
			n["get"]++
		default:
			n[fmt.Sprintf("%T", op.Do)]++
		}
		return fault{}
	}
	version := w.store.head().Version
	w.run(100 * time.Second)
	if v := w.store.head().Version; v != version {
		t.Errorf("plan %v became %v though nothing changed", version, v)
	}
	for what, most := range map[string]int{
		"put session": 10*100 + 20, "put leader": 101, "get": 10 * 3 * 25, "member.Commit": 0, "member.List": 2 * 4, // sessions and controls, every half minute
		"member.Probe": (10 + 14) * 200, // by the leader, and of it
	} {
		if n[what] > most {
			t.Errorf("%s: %d in 100 s of 10 workers, want at most %d", what, n[what], most)
		}
	}
	t.Logf("%v", n)
}

func TestRenewalWithoutAnAnswer(t *testing.T) {
	for _, f := range []fault{
		{err: kv.ErrUnknown, stored: true},
		{err: kv.ErrUnknown},
		{err: kv.ErrUnavailable},
		{err: kv.ErrUnknown, late: 2500 * time.Millisecond},
		{err: fmt.Errorf("out of the blue")},
	} {
		t.Run(fmt.Sprintf("%v, stored %v, late %v", f.err, f.stored, f.late), func(t *testing.T) {
			w := newWorld(t)
			w.group(2, 4)
			b, n := w.other(), 0
			trusted := b.rd.Trusted
			w.fault = func(x *box, op Op) fault {
				if x == b && isClaim(op) && n < 3 {
					n++
					return f
				}
				return fault{}
			}
			w.run(20 * time.Second)
			if n != 3 {
				t.Fatalf("%d faults, want 3", n)
			}
			if !w.settled() || len(b.run) != 2 || len(saw[event.SessionLost](b)) != 0 {
				t.Errorf("not as before\n%s", w.tail())
			}
			if !b.rd.Trusted.After(trusted) {
				t.Error("not trusted again")
			}
		})
	}
}

// A store whose answers to writes come too late looks well in every other way: people are
// told what it is, once, and that it is over.
func TestRenewalsAnsweredTooLate(t *testing.T) {
	about := func(b *box) []event.Alert {
		return slices.DeleteFunc(saw[event.Alert](b), func(a event.Alert) bool { return a.About != lateAbout })
	}
	slow := func(b *box, f fault) func(*box, Op) fault {
		return func(x *box, op Op) fault {
			if p, ok := op.Do.(Put); ok && x == b && p.Record.Key.Kind == KindSession {
				return f
			}
			return fault{}
		}
	}
	w := newWorld(t)
	w.group(2, 4)
	b := w.other()
	w.fault = slow(b, fault{err: kv.ErrUnknown, stored: true, wait: 2 * time.Second})
	w.must("the alert", 9*time.Second, func() bool { return len(about(b)) == 1 })
	if text := about(b)[0].Text; !strings.Contains(text, "longer than 2s to answer writes") || !strings.Contains(text, "natskv.WithRequestTimeout") {
		t.Errorf("says %q", text)
	}
	w.run(30 * time.Second)
	if n := len(about(b)); n != 1 {
		t.Errorf("told %d times", n)
	}
	w.fault = nil
	w.run(5 * time.Second)
	if as := about(b); len(as) != 2 || as[1].Text != "" {
		t.Errorf("it is not over: %+v", as)
	}
	// One now and then, writes that are not stored, and errors of another kind, are none.
	n := 0
	w.fault = func(x *box, op Op) fault {
		f := slow(b, fault{err: kv.ErrUnknown, stored: true, wait: time.Second})(x, op)
		if f.err != nil {
			n++
		}
		if n%2 == 0 {
			return fault{}
		}
		return f
	}
	w.run(20 * time.Second)
	for _, f := range []fault{{err: kv.ErrUnknown}, {err: kv.ErrUnavailable}, {err: errors.New("a test"), stored: true}} {
		w.fault = slow(b, f)
		w.run(5 * time.Second)
	}
	if as := about(b); len(as) != 2 {
		t.Errorf("told of %+v", as[2:])
	}
	// It ends with the session, too.
	w.fault = slow(b, fault{err: kv.ErrUnknown, stored: true, wait: 2 * time.Second})
	w.must("the alert", 12*time.Second, func() bool { return len(about(b)) == 3 })
	w.twoOwners = true
	w.buried(b)
	w.must("the end", 5*time.Second, func() bool { return len(about(b)) == 4 && about(b)[3].Text == "" })
}

// What was to be prepared for a session that is lost need not be, also when it ran nothing.
func TestPreparedForNothing(t *testing.T) {
	w := newWorld(t)
	w.group(1, 4)
	w.boxes[0].wedge = true
	cfg := w.config("second")
	cfg.Session.Prepares = true
	b := w.start(cfg)
	w.must("an announcement", 20*time.Second, func() bool { return len(b.ahead) == 2 })
	w.buried(b)
	w.must("the loss", 2*time.Second, func() bool { return len(saw[event.SessionLost](b)) == 1 })
	if len(b.ahead) != 0 || len(saw[event.Assigned](b)) != 0 {
		t.Errorf("prepares %v", b.ahead)
	}
}

// A partition whose handler had returned early is released, once, when it moves away, when
// the session is lost, when trust in it has ended under Fence, and when the worker leaves.
func TestReleasedInBackOff(t *testing.T) {
	for _, c := range []struct {
		why  string
		n    int // of 4
		then func(w *world, b *box)
	}{
		{"revoked", 2, func(w *world, _ *box) { w.start(w.config("second")) }},
		{"fenced", 4, func(w *world, b *box) { w.buried(b) }},
		{"fenced", 4, func(_ *world, b *box) { b.cut = true }},
		{"stopped", 4, func(_ *world, b *box) { b.step(Leave{}) }},
	} {
		w := newWorld(t)
		w.parts = parts(4)
		cfg := w.config("first")
		cfg.Session.Fenced, cfg.Hold.Fence = true, true
		b := w.start(cfg)
		b.fails = true
		w.must("long back-offs", 2*time.Minute, func() bool {
			all := saw[event.Returned](b)
			return len(all) > 0 && all[len(all)-1].BackOff == cfg.Hold.RestartMax
		})
		w.run(time.Second)
		if n := len(saw[event.Released](b)); n != 0 {
			t.Errorf("%s: %d released before that", c.why, n)
		}
		here := map[string]bool{}
		c.then(w, b)
		w.must("the release", 40*time.Second, func() bool { return len(saw[event.Released](b)) >= c.n })
		w.run(100 * time.Millisecond)
		for _, e := range saw[event.Released](b) {
			if e.Why != c.why || e.Took != 0 || here[e.Partition] {
				t.Errorf("%+v, want why %s", e, c.why)
			}
			here[e.Partition] = true
		}
	}
}

// However many handlers wait for their back-off, a fact costs what it costs when all run.
func TestManyInBackOff(t *testing.T) {
	w := newWorld(t)
	w.parts = parts(1000)
	cfg := w.config("first")
	cfg.Hold.RestartMin, cfg.Hold.RestartMax, cfg.Hold.MovesInFlight = time.Hour, time.Hour, len(w.parts)
	b := w.start(cfg)
	w.must("all run", time.Minute, func() bool { return len(b.run) == len(w.parts) })
	cost := func() float64 {
		return testing.AllocsPerRun(100, func() {
			b.m.session.tell(hold.Tick{})
			b.m.session.pump()
		})
	}
	running := cost()
	for l := range b.run {
		b.end(l)
	}
	w.run(time.Second)
	if n := len(b.m.session.early); n != len(w.parts) {
		t.Fatalf("%d wait for a back-off", n)
	}
	if waiting := cost(); waiting > running+1 {
		t.Errorf("%v allocations, %v when all run", waiting, running)
	}
	b.step(Leave{})
	w.run(time.Second)
	if n := len(saw[event.Released](b)); n != len(w.parts) {
		t.Errorf("%d released", n)
	}
}

// buried puts a tombstone over b's session.
func (w *world) buried(b *box) {
	id := b.rd.WorkerID
	s := w.store.session(id)
	s.Tombstone = &roster.Tombstone{By: "worker-9", Term: 9, Why: "a test"}
	rev, _ := w.store.rev(Key{KindSession, id})
	w.store.do(&box{w: w}, Put{Record: Record{Key: Key{KindSession, id}, Rev: rev, Value: s}, TTL: time.Minute})
}

func TestTombstoned(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	b := w.other()
	w.twoOwners = true // it is not true, and it takes a moment to learn of it
	id, nonce := b.rd.WorkerID, b.rd.Answering
	w.buried(b)
	w.must("the loss", 2*time.Second, func() bool { return len(saw[event.SessionLost](b)) == 1 })
	w.must("another session", 2*time.Second, func() bool { return b.claimed() && b.rd.Answering != nonce })
	w.must("as before", 20*time.Second, w.settled)
	if got := w.store.session(b.rd.WorkerID).Previous; b.rd.WorkerID != id || got != (roster.Previous{Nonce: nonce, End: roster.EndTombstone}) {
		t.Errorf("joined as %s with %+v", b.rd.WorkerID, got)
	}
}

// A tombstone, or another session, ends this one though the plan or the slice cannot be read.
func TestTombstonedWhileThePlanCannotBeRead(t *testing.T) {
	for _, kind := range []Kind{KindPlan, KindSlice} {
		t.Run(kind.String(), func(t *testing.T) {
			w := newWorld(t)
			w.group(2, 4)
			w.twoOwners = true // it is not true, and it takes a moment to learn of it
			b := w.other()
			w.fault = func(x *box, op Op) fault {
				if g, ok := op.Do.(Get); ok && x == b && g.Key.Kind == kind {
					return fault{err: kv.ErrUnavailable}
				}
				return fault{}
			}
			w.buried(b)
			w.must("the loss", 2*time.Second, func() bool { return len(saw[event.SessionLost](b)) == 1 })
			w.fault = nil
			w.must("as before", 30*time.Second, w.settled)
		})
	}
}

var errDenied = &kv.DeniedError{Op: "publish", Subject: "session"}

// unwritten has every write of b's session fail, and nothing is stored.
func (w *world) unwritten(b *box, err error) {
	w.fault = func(x *box, op Op) fault {
		if p, ok := op.Do.(Put); ok && x == b && p.Record.Key.Kind == KindSession {
			return fault{err: err}
		}
		return fault{}
	}
}

// Who may not renew, or cannot, is never refused, and finds out all the same that its session is over:
// by a tombstone, by a successor, and where its key is gone and the plan goes on without it.
func TestLostWithoutRenewals(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		fence bool
		end   func(w *world, b *box)
		why   string
	}{
		"declared lost":                {err: errDenied, end: func(*world, *box) {}, why: "declared it lost"},
		"declared lost, and fence":     {err: errDenied, fence: true, end: func(*world, *box) {}, why: "declared it lost"},
		"declared lost, and it cannot": {err: kv.ErrUnavailable, end: func(*world, *box) {}, why: "declared it lost"},
		"succeeded": {err: errDenied, end: func(w *world, b *box) {
			key := Key{KindSession, b.rd.WorkerID}
			x := w.store.session(b.rd.WorkerID)
			rev, _ := w.store.rev(key)
			x.Nonce, x.Host = "another", "elsewhere"
			w.store.put(Put{Record: Record{Key: key, Rev: rev, Value: x}})
		}, why: "taken over"},
		"gone": {err: errDenied, end: func(w *world, b *box) {
			for _, kind := range []Kind{KindSession, KindSlice} {
				w.store.put(Put{Record: Record{Key: Key{kind, b.rd.WorkerID}, Gone: true}})
			}
		}, why: "has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.parts = parts(4)
			for _, id := range []string{"one", "two"} {
				cfg := w.config(id)
				if c.fence {
					cfg = w.fenced(id)
				}
				w.start(cfg)
			}
			w.must("the first plan", 40*time.Second, w.settled)
			w.run(3 * time.Second)
			b := w.other()
			w.twoOwners = !c.fence
			w.unwritten(b, c.err)
			w.run(2 * time.Second)
			c.end(w, b)
			w.must("the loss", b.m.cfg.Hold.TTL+2*b.m.cfg.Reconcile, func() bool { return len(saw[event.SessionLost](b)) == 1 })
			w.run(time.Second)
			if len(b.run) != 0 {
				t.Errorf("it still runs %d", len(b.run))
			}
			if lost := saw[event.SessionLost](b)[0]; !strings.Contains(lost.Why, c.why) {
				t.Errorf("lost: %+v", lost)
			}
		})
	}
}

// What stands at the key is read seldom, and is no news while it is the session's own.
func TestDeniedForAWhile(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	b, reads := w.other(), 0
	w.unwritten(b, errDenied)
	denied := w.fault
	w.fault = func(x *box, op Op) fault {
		if g, ok := op.Do.(Get); ok && x == b && g.Key.Kind == KindSession {
			reads++
		}
		return denied(x, op)
	}
	w.run(10 * time.Second)
	if reads < 1 || reads > 3 {
		t.Errorf("%d reads of its key in ten seconds, want one in %v", reads, b.m.cfg.Reconcile)
	}
	w.fault = nil
	w.run(10 * time.Second)
	if !w.settled() || len(b.run) != 2 || len(saw[event.SessionLost](b)) != 0 || b.rd.Trusted.IsZero() {
		t.Errorf("not as before\n%s", w.tail())
	}
}

// A look that found nothing is forgotten when the key stands again: the next renewal that
// fails is taken for what it is.
func TestDeniedWhileTheKeyIsGone(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	b := w.other()
	w.store.put(Put{Record: Record{Key: Key{KindSession, b.rd.WorkerID}, Gone: true}})
	var fails error = errDenied
	denied, reads := 0, 0
	w.fault = func(x *box, op Op) fault {
		switch do := op.Do.(type) {
		case Put:
			if x == b && do.Record.Key.Kind == KindSession && denied == 0 {
				denied++
				return fault{err: fails}
			}
		case Get:
			if x == b && do.Key.Kind == KindSession {
				reads++
			}
		}
		return fault{}
	}
	w.must("the resumption", 5*time.Second, func() bool { return len(saw[event.SessionResumed](b)) == 1 })
	w.run(5 * time.Second)
	if denied != 1 || reads < 2 {
		t.Fatalf("denied %d times, %d looks: nothing is shown", denied, reads)
	}
	fails, denied, reads = kv.ErrUnavailable, 0, 0
	w.run(5 * time.Second)
	if denied != 1 || reads > 0 {
		t.Errorf("denied %d times, %d looks", denied, reads)
	}
}

func TestKeyExpired(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	b := w.other()
	nonce := b.rd.Answering
	w.store.put(Put{Record: Record{Key: Key{KindSession, b.rd.WorkerID}, Gone: true}})
	w.must("the resumption", 2*time.Second, func() bool { return len(saw[event.SessionResumed](b)) == 1 })
	w.run(20 * time.Second)
	if s := w.store.session(b.rd.WorkerID); s.Nonce != nonce || !s.Resumed || len(b.run) != 2 {
		t.Errorf("%+v, and runs %d", s, len(b.run))
	}
	if n := len(saw[event.Revoked](b)); n != 0 {
		t.Errorf("%d handlers were stopped", n)
	}
}

func TestStoreLost(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	before := slices.Clone(w.boxes)
	defer func() {
		if t.Failed() {
			t.Log(w.tail())
		}
	}()
	w.store.there, w.store.keys = false, map[Key]*entry{}
	w.must("the store is there", 3*time.Second, func() bool { return w.store.there })
	w.must("a leader", 20*time.Second, func() bool { return w.leader() != nil && w.store.head().Version.Incarnation() == 101 })
	w.must("as before", 60*time.Second, w.settled)
	w.run(20 * time.Second)
	if w.store.renewals != 1 || w.store.incarnation != 101 {
		t.Errorf("made anew %d times, incarnation %d", w.store.renewals, w.store.incarnation)
	}
	for _, b := range before {
		if n := len(saw[event.Revoked](b)); n != 0 {
			t.Errorf("%s stopped %d handlers", b.name, n)
		}
		if n := len(saw[event.SessionResumed](b)); n != 1 {
			t.Errorf("%s resumed %d times", b.name, n)
		}
	}
}

// Whoever makes the store anew and remembers a plan tells a leader that does not.
func TestWhoMakesTheStoreAnewSaysSo(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	var first *plan.Head
	w.fault = func(_ *box, op Op) fault {
		if p, ok := op.Do.(Put); ok && p.Record.Key.Kind == KindPlan && first == nil {
			h := p.Record.Value.(plan.Head)
			first = &h
			if p.Record.Rev != 0 || w.store.head().Term != 0 {
				t.Errorf("it would take the place of another: %+v", p)
			}
		}
		return fault{}
	}
	w.store.there, w.store.keys = false, map[Key]*entry{}
	w.must("a plan in it", 20*time.Second, func() bool { return w.store.there && w.store.head().Version.Incarnation() == 101 })
	if first == nil || first.Term != 0 || !first.Adopting || first.Version != plan.MakeVersion(101, 0) {
		t.Errorf("said %+v", first)
	}
}

// Who starts as the store is made anew does not take the ID of one who has not come
// back yet.
func TestNewcomerAfterALoss(t *testing.T) {
	w := newWorld(t)
	w.parts = parts(6)
	few := func(identity string) Config {
		c := w.config(identity)
		c.MaxWorkers = 3
		return c
	}
	for i := range 3 {
		w.start(few(fmt.Sprintf("id-%d", i)))
	}
	w.must("the first plan", 40*time.Second, w.settled)
	w.run(3 * time.Second)
	b := w.other()
	id := b.rd.WorkerID
	b.freeze()
	w.store.there, w.store.keys = false, map[Key]*entry{}
	w.must("a plan in it", 20*time.Second, func() bool { return w.store.there && w.store.head().Adopting })
	late := w.start(few("late"))
	w.run(1500 * time.Millisecond)
	b.thaw()
	w.must("it is back", 5*time.Second, func() bool { return len(saw[event.SessionResumed](b)) == 1 })
	w.run(30 * time.Second)
	if n := len(saw[event.Revoked](b)); n != 0 || b.rd.WorkerID != id {
		t.Errorf("%s has stopped %d handlers, and is %s now", id, n, b.rd.WorkerID)
	}
	if len(saw[event.Alert](late)) != 1 { // it waits as a spare
		t.Errorf("the newcomer is %q", late.rd.WorkerID)
	}
}

// A plan goes on without a session only where it grants something.
func TestStands(t *testing.T) {
	for _, c := range []struct {
		head Record
		want bool
	}{
		{Record{Gone: true}, false},
		{Record{Value: plan.Head{Adopting: true}}, false},
		{Record{Value: plan.Head{Term: 1}}, false}, // the first term of a store that is new to its leader
		{Record{Value: plan.Head{Term: 1, Started: true, Adopting: true}}, false},
		{Record{Value: plan.Head{Term: 1, Started: true}}, true},
	} {
		if got := stands(c.head); got != c.want {
			t.Errorf("%+v stands: %v", c.head, got)
		}
	}
}

// There is no bucket yet, and nobody knows of any.
func TestFirstStore(t *testing.T) {
	w := newWorld(t)
	w.store.there = false
	w.group(3, 6)
	if w.store.renewals != 1 || w.store.incarnation != 7 {
		t.Errorf("made %d times, incarnation %d", w.store.renewals, w.store.incarnation)
	}
}

// A leader that stops while the outcome of its commit stays unknown drains all the
// same, and does not go on renewing the key.
func TestLeaderStopsWithAnOpenCommit(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	l := w.leader()
	open := false
	w.fault = func(b *box, op Op) fault {
		switch do := op.Do.(type) {
		case Commit:
			open = true
			return fault{err: kv.ErrUnknown}
		case Get:
			if b == l && open && do.Key.Kind == KindPlan {
				return fault{err: kv.ErrUnavailable}
			}
		}
		return fault{}
	}
	w.parts = parts(8)
	l.step(Refresh{})
	w.must("a commit", 20*time.Second, func() bool { return open })
	l.step(Leave{})
	w.run(4 * time.Second)
	if len(l.run) != 0 {
		t.Errorf("still runs %d", len(l.run))
	}
	w.must("the stop", 10*time.Second, func() bool { return l.rd.Done })
	w.fault = nil
	w.must("all run elsewhere", 30*time.Second, w.settled)
}

func TestStoreWentBack(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	restore := w.store.backup()
	w.run(5 * time.Second)
	restore()
	w.must("the proof", 3*time.Second, func() bool { return w.store.renewals > 0 })
	w.must("as before", 60*time.Second, w.settled)
	w.run(20 * time.Second)
	if w.store.renewals != 1 || w.store.incarnation != 101 {
		t.Errorf("made anew %d times, incarnation %d", w.store.renewals, w.store.incarnation)
	}
	n := 0
	for _, b := range w.boxes {
		n += len(saw[event.StoreRenewed](b))
		if x := len(saw[event.Revoked](b)); x != 0 {
			t.Errorf("%s stopped %d handlers", b.name, x)
		}
	}
	if n == 0 {
		t.Error("nobody says so")
	}
}

// What a store accepts that went back extends no trust, however often it accepts it.
func TestProofIsNoTrust(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	restore := w.store.backup()
	w.run(15 * time.Second)
	b, proofs := w.other(), 0
	w.fault = func(x *box, op Op) fault {
		if _, anew := op.Do.(Renew); anew { // nor can it be made anew
			if x == b {
				proofs++
			}
			return fault{err: kv.ErrUnavailable}
		}
		return fault{}
	}
	restore()
	w.run(10 * time.Millisecond) // what was under way has been answered
	until := b.rd.Until
	w.run(2500 * time.Millisecond)
	if proofs == 0 {
		t.Fatal("it has no proof: the test is hollow")
	}
	if b.rd.Until.After(until) {
		t.Errorf("its trust, which was to end at %v, ends at %v", until, b.rd.Until)
	}
}

// A replica that was left behind answers reads with what was: that is no proof.
func TestOldReadsProveNothing(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	b := w.other()
	old := map[Key]*entry{}
	maps.Copy(old, w.store.keys)
	w.run(5 * time.Second)
	reads := 0
	stale := w.now.Add(8 * time.Second)
	w.store.lie = func(x *box, k Key) *entry {
		if x == b && w.now.Before(stale) {
			reads++
			return old[k]
		}
		return nil
	}
	refused := 0
	w.fault = func(x *box, op Op) fault {
		if x == b && isClaim(op) && refused < 2 {
			refused++
			return fault{err: kv.ErrUnknown, stored: true}
		}
		return fault{}
	}
	w.run(30 * time.Second)
	if reads == 0 || refused != 2 {
		t.Fatalf("%d old reads, %d lost answers", reads, refused)
	}
	if w.store.renewals != 0 {
		t.Error("the store was made anew for an old read")
	}
	if !w.settled() || len(saw[event.SessionLost](b)) != 0 {
		t.Errorf("not as before\n%s", w.tail())
	}
}

func TestLeaderKilled(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	l := w.leader()
	l.kill()
	w.must("another leader", 4*time.Second, func() bool { return w.leader() != nil })
	w.must("all run again", 2*time.Second, w.settled) // what was known of its silence is not learnt anew
	if w.leader().m.Term() != 2 {
		t.Errorf("term %d", w.leader().m.Term())
	}
}

func TestDeposed(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	l := w.leader()
	term := l.m.Term()
	key := Key{Kind: KindLeader}
	rev, _ := w.store.rev(key)
	w.store.do(&box{w: w}, Put{Record: Record{Key: key, Rev: rev, Gone: true}})
	w.must("the end of the term", 100*time.Millisecond, func() bool { return !l.rd.Leading })
	w.must("another leader", time.Second, func() bool { return w.leader() != nil })
	if w.leader() == l || w.leader().m.Term() != term+1 {
		t.Errorf("%s leads term %d", w.leader().name, w.leader().m.Term())
	}
	if d := saw[event.Deposed](l); len(d) != 1 || d[0].Term != term {
		t.Errorf("deposed: %+v", d)
	}
	w.run(10 * time.Second)
	for _, b := range w.boxes {
		if n := len(saw[event.Revoked](b)); n != 0 {
			t.Errorf("%s stopped %d handlers for a change of leader", b.name, n)
		}
	}
}

// Another leader has written the plan: the store refuses the old one, whatever it believes.
func TestRefusedCommit(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	l := w.leader()
	h := w.store.head()
	rev, _ := w.store.rev(Key{Kind: KindPlan})
	h.Version, h.Term, h.Leader, h.Session = h.Version.Next(), h.Term+1, "worker-9", "stranger"
	h.Changed = nil
	w.store.do(&box{w: w}, Put{Record: Record{Key: Key{Kind: KindPlan}, Rev: rev, Value: h}})
	w.parts = parts(6)
	l.step(Refresh{})
	w.must("the refusal", 30*time.Second, func() bool { return len(saw[event.Refused](l)) == 1 })
	if w.store.head().Session != "stranger" {
		t.Error("a deposed leader's commit was stored")
	}
	w.must("a new term", 20*time.Second, func() bool { return w.leader() != nil && w.store.head().Term == h.Term+1 })
	w.must("all run", 30*time.Second, w.settled)
}

func TestCommitWithoutAnAnswer(t *testing.T) {
	for _, f := range []fault{
		{err: kv.ErrUnknown, stored: true},
		{err: kv.ErrUnknown},
		{err: kv.ErrUnavailable},
		{err: kv.ErrUnknown, late: time.Second},
		{err: kv.ErrStale},
	} {
		t.Run(fmt.Sprintf("%v, stored %v, late %v", f.err, f.stored, f.late), func(t *testing.T) {
			w := newWorld(t)
			w.group(2, 4)
			l, n := w.leader(), 0
			versions := map[plan.Version]int{}
			w.fault = func(_ *box, op Op) fault {
				if _, ok := op.Do.(Commit); ok && n == 0 {
					n++
					return f
				}
				return fault{}
			}
			w.parts = parts(6)
			l.step(Refresh{})
			w.must("all run", 30*time.Second, w.settled)
			w.run(5 * time.Second)
			for _, p := range saw[event.Planned](l) {
				versions[p.Decision.Version]++
			}
			for v, k := range versions {
				if k != 1 {
					t.Errorf("%v was planned %d times", v, k)
				}
			}
			if n != 1 || len(saw[event.Deposed](l)) != 0 || w.leader() != l {
				t.Errorf("%d faults; deposed %v", n, saw[event.Deposed](l))
			}
		})
	}
}

func TestCleanStopOfALeader(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	l := w.leader()
	id := l.rd.WorkerID
	var order []string
	w.fault = func(b *box, op Op) fault {
		if p, ok := op.Do.(Put); ok && b == l {
			switch v := p.Record.Value.(type) {
			case nil:
				order = append(order, "remove "+p.Record.Key.String())
			case roster.Session:
				if v.Left {
					order = append(order, "left")
				}
			}
		}
		return fault{}
	}
	l.step(Leave{})
	w.must("the stop", 10*time.Second, func() bool { return l.rd.Done })
	if !slices.Equal(order, []string{"remove leader", "left"}) {
		t.Errorf("wrote %v", order)
	}
	if l.rd.Err != nil || !w.store.session(id).Left || len(l.run) != 0 {
		t.Errorf("ended with %v; %+v", l.rd.Err, w.store.session(id))
	}
	writes := l.writes
	w.must("all run elsewhere", 20*time.Second, w.settled)
	w.run(20 * time.Second)
	if l.writes != writes {
		t.Error("wrote after Done")
	}
	for _, b := range w.boxes {
		if n := len(saw[event.Lost](b)); n != 0 {
			t.Errorf("a clean stop counts as a loss")
		}
	}
}

// However long LeaderTTL is, handlers are asked to end long before the time of a stop is over.
func TestStopWhileTheStoreIsAwayLongLeaderTTL(t *testing.T) {
	w := newWorld(t)
	w.parts = parts(4)
	cfg := w.config("id-0")
	cfg.LeaderTTL = 10 * time.Minute
	b := w.start(cfg)
	w.must("the first plan", 40*time.Second, w.settled)
	b.cut = true
	b.step(Leave{})
	w.must("its handlers end", handOverMost+time.Second, func() bool { return len(b.run) == 0 })
}

func TestStopWhileTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	b := w.leader()
	w.boxes[0].cut, w.boxes[1].cut = true, true
	b.step(Leave{})
	w.run(10 * time.Second)
	if b.rd.Done {
		t.Fatal("done without last words")
	}
	if len(b.run) != 0 {
		t.Errorf("still runs %d", len(b.run))
	}
	b.step(Abandon{})
	w.must("the end", 5*time.Second, func() bool { return b.rd.Done })
}

// A term that cannot be taken ends some time, so that another can lead, and people are told.
func TestTermThatCannotBeTaken(t *testing.T) {
	for name, c := range map[string]struct {
		fails func(Request) (fault, bool)
		why   string
	}{
		"its lists hang": {func(r Request) (fault, bool) { _, is := r.(List); return fault{hangs: true}, is }, "could not be taken within 30s"},
		"its lists fail": {func(r Request) (fault, bool) { _, is := r.(List); return fault{err: kv.ErrUnavailable}, is }, "could not be taken within 30s"},
		"its reads of the plan hang": {func(r Request) (fault, bool) {
			g, is := r.(Get)
			return fault{hangs: true}, is && g.Key.Kind == KindPlan
		}, "could not be taken within 30s"},
		"its commits hang": {func(r Request) (fault, bool) { _, is := r.(Commit); return fault{hangs: true}, is }, "a commit has had no outcome for 6s"},
		"its commits have no answer": {func(r Request) (fault, bool) {
			_, is := r.(Commit)
			return fault{err: kv.ErrUnknown, wait: time.Second}, is
		}, "a commit has had no outcome for 6s"},
		"the incarnation cannot be read": {func(r Request) (fault, bool) {
			_, is := r.(Incarnation)
			return fault{err: kv.ErrUnavailable}, is
		}, "incarnation cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.group(3, 6)
			l := w.leader()
			term := l.m.Term()
			var broken *box
			w.fault = func(b *box, op Op) fault {
				f, is := c.fails(op.Do)
				if !is || b == l || b.m.term == nil || broken != nil && b != broken {
					return fault{}
				}
				broken = b
				return f
			}
			l.step(StepDown{})
			w.must("another leads", 50*time.Second, func() bool { return w.leader() != nil })
			if broken == nil || w.leader() == broken || w.leader().m.Term() != term+1 {
				t.Fatalf("%s leads term %d\n%s", w.leader().name, w.leader().m.Term(), w.tail())
			}
			if !slices.ContainsFunc(saw[event.Failed](broken), func(f event.Failed) bool {
				return f.Doing == "taking over the leadership" && strings.Contains(f.Err, c.why)
			}) {
				t.Errorf("people are told %+v", saw[event.Failed](broken))
			}
		})
	}
}

// Who is only slow in reading takes the term, and keeps it.
func TestTermThatIsTakenSlowly(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	l := w.leader()
	w.fault = func(b *box, op Op) fault {
		if _, is := op.Do.(List); is && b != l {
			return fault{wait: 25 * time.Second}
		}
		return fault{}
	}
	l.step(StepDown{})
	w.must("another leads", 26*time.Second, func() bool { return w.leader() != nil })
	x := w.leader()
	w.run(time.Minute)
	if w.leader() != x || x.m.Term() != 2 {
		t.Errorf("%s leads, and %s led term 2", w.leader().name, x.name)
	}
}

// A leader whose tombstones fail says so. One that may not write them gives way to another,
// who repairs the loss; any other error is tried again.
func TestTombstoneThatFails(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		stands bool
	}{
		"denied":    {&kv.DeniedError{Op: "publish", Subject: "$KV.g.session.worker-1"}, false},
		"strange":   {errors.New("out of the blue"), true},
		"too large": {&kv.TooLargeError{Key: "session.worker-1", Size: 9, Max: 8}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.group(3, 6)
			l, b := w.leader(), w.other()
			id, term := b.rd.WorkerID, l.m.Term()
			w.fault = func(x *box, op Op) fault {
				if p, ok := op.Do.(Put); ok && x == l && p.Record.Key == (Key{KindSession, id}) {
					return fault{err: c.err}
				}
				return fault{}
			}
			b.kill()
			w.must("somebody is told", 10*time.Second, func() bool {
				return slices.ContainsFunc(saw[event.Failed](l), func(f event.Failed) bool {
					return f.Doing == "declaring "+id+" lost" && f.Err == c.err.Error()
				})
			})
			if c.stands {
				w.run(20 * time.Second)
				if n := len(saw[event.Failed](l)); n < 3 || n > 60 {
					t.Errorf("told %d times", n)
				}
				w.fault = nil
			}
			w.must("all of it runs", 15*time.Second, w.settled)
			if led := w.leader() == l && l.m.Term() == term; led != c.stands {
				t.Errorf("%s leads term %d", w.leader().name, w.leader().m.Term())
			}
		})
	}
}

// Where nobody may write tombstones, each gives way once; the next stays, and goes on trying.
func TestNobodyMayDeclareLost(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	l, b := w.leader(), w.other()
	id, term := b.rd.WorkerID, l.m.Term()
	w.fault = func(_ *box, op Op) fault {
		if p, ok := op.Do.(Put); ok && p.Record.Key == (Key{KindSession, id}) {
			return fault{err: errDenied}
		}
		return fault{}
	}
	b.kill()
	w.run(5 * time.Minute)
	if now := w.leader(); now == nil || now.m.Term()-term > 2 || len(saw[event.Failed](now)) < 3 {
		t.Errorf("%v\n%s", now, w.tail())
	}
	w.fault = nil
	w.must("all of it runs", 15*time.Second, w.settled)
}

func TestStepDown(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	l := w.leader()
	l.step(StepDown{})
	if l.rd.Leading {
		t.Error("still leads")
	}
	w.must("another leader", time.Second, func() bool { return w.leader() != nil && w.leader() != l })
}

func TestALeaderThatStandsStill(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	l := w.leader()
	l.freeze()
	w.run(7 * time.Second)
	l.thaw()
	if l.rd.Leading {
		t.Error("leads on after its loop stood still for 7 s")
	}
	w.run(40 * time.Second)
	if !w.settled() {
		t.Errorf("not as before\n%s", w.tail())
	}
}

// The record of a session that cannot be read is unknown, never empty.
func TestUnreadable(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	b := w.other()
	w.store.garble = func(k Key) bool { return k == Key{KindSession, b.rd.WorkerID} }
	w.run(30 * time.Second)
	w.leader().step(Hole{})
	w.run(30 * time.Second)
	if len(b.run) != 2 || len(saw[event.Lost](w.leader())) != 0 {
		t.Errorf("took it for lost\n%s", w.tail())
	}
	w.store.garble = nil
	w.run(5 * time.Second)
	if !w.settled() {
		t.Error("not as before")
	}
}

// A leader whose following does not begin, such as for want of a right, is told so every
// second. It finds out all the same that somebody is gone.
func TestLeaderThatMayNotFollow(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	l, b := w.leader(), w.other()
	l.following = false
	b.kill()
	for range 90 {
		l.step(Hole{})
		w.run(time.Second)
	}
	if w.leader() != l {
		t.Fatal("it does not lead any more: the proof is hollow")
	}
	if n := w.running(); n != 6 {
		t.Errorf("%d of 6 run\n%s", n, w.tail())
	}
}

// A listing that lacks a slice is no ground to lead on: what is not listed may run.
func TestListingLacksASlice(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	l, b := w.leader(), w.other()
	w.store.omit = func(k Key) bool { return k == Key{KindSlice, b.rd.WorkerID} }
	term := l.m.Term()
	l.step(StepDown{})
	w.run(lackFor - 10*time.Second)
	told := 0
	for _, x := range w.boxes {
		if x.m.Term() > term {
			t.Errorf("%s leads term %d", x.rd.WorkerID, x.m.Term())
		}
		for _, e := range saw[event.Failed](x) {
			if e.Doing == "listing slices" && e.Err == "the listing has 2 slices of 3" {
				told++
			}
		}
	}
	if told == 0 {
		t.Error("nobody is told")
	}
	w.store.omit = nil
	w.must("somebody leads, and all is as before", 30*time.Second, func() bool { return w.leader() != nil && w.settled() })
	if len(b.run) != 2 {
		t.Errorf("%s runs %d", b.rd.WorkerID, len(b.run))
	}
}

// Somebody deletes a slice by hand: the group has no leader for a while, and then one who
// takes the others for all.
func TestSliceDeletedByHand(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	b := w.other()
	k := Key{KindSlice, b.rd.WorkerID}
	w.store.put(Put{Record: Record{Key: k, Rev: w.store.keys[k].rev, Gone: true}})
	w.leader().step(StepDown{})
	w.run(lackFor / 2)
	if l := w.leader(); l != nil && l.m.Term() > 0 {
		t.Errorf("%s leads", l.rd.WorkerID)
	}
	w.must("somebody leads, and all of it runs", 2*lackFor, func() bool { return w.leader() != nil && w.settled() })
}

// The same where whoever finds that a slice is lacking stands back for long before it looks again.
func TestSliceDeletedByHandLongLeaderTTL(t *testing.T) {
	w := newWorld(t)
	w.parts = parts(6)
	for i := range 3 {
		cfg := w.config(fmt.Sprintf("id-%d", i))
		cfg.LeaderTTL = 2 * time.Minute
		w.start(cfg)
	}
	w.must("the first plan", 40*time.Second, w.settled)
	w.run(3 * time.Second)
	b := w.other()
	k := Key{KindSlice, b.rd.WorkerID}
	w.store.put(Put{Record: Record{Key: k, Rev: w.store.keys[k].rev, Gone: true}})
	w.leader().step(StepDown{})
	w.run(lackFor / 2)
	if l := w.leader(); l != nil && l.m.Term() > 0 {
		t.Errorf("%s leads", l.rd.WorkerID)
	}
	w.must("somebody leads, and all of it runs", 10*time.Minute, func() bool { return w.leader() != nil && w.settled() })
}

func TestRefreshByAFollower(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	w.parts = parts(6)
	w.other().step(Refresh{})
	w.must("the new ones run", 30*time.Second, w.settled)
}

func TestMissedChanges(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	b := w.other()
	b.following = false // stalls, and nobody notices
	w.parts = parts(8)
	w.leader().step(Refresh{})
	w.must("all run", 25*time.Second, func() bool { return w.running() == 8 })
}

func TestSameFactsSameAnswers(t *testing.T) {
	run := func() string {
		w := newWorld(t)
		w.group(5, 20)
		w.leader().kill()
		w.run(20 * time.Second)
		return fmt.Sprint(w.log)
	}
	if first, second := run(), run(); first != second {
		t.Error("two runs with the same facts differ")
	}
}

// fenced is config with Isolation Fence.
func (w *world) fenced(identity string) Config {
	c := w.config(identity)
	c.Session.Fenced, c.Hold.Fence = true, true
	return c
}

func TestCutUnderFence(t *testing.T) {
	w := newWorld(t)
	w.parts = parts(6)
	for i := range 3 {
		w.start(w.fenced(fmt.Sprintf("id-%d", i)))
	}
	w.must("the first plan", 40*time.Second, w.settled)
	w.run(3 * time.Second)
	b := w.other()
	b.cut = true
	w.must("it stops by itself", 14*time.Second, func() bool { return len(b.run) == 0 })
	w.must("others run all", 20*time.Second, func() bool { return w.running() == 6 })
	b.cut = false
	b.step(Connected{Up: true, Interrupts: 2})
	b.step(Hole{})
	b.follow = nil
	w.must("it is back", 60*time.Second, w.settled)
	if n := len(saw[event.SessionLost](b)); n != 1 {
		t.Errorf("lost its session %d times", n)
	}
}

func TestCutUnderFreeze(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	w.twoOwners = true
	b := w.other()
	b.cut = true
	w.run(60 * time.Second)
	if len(b.run) != 2 || b.rd.State != Degraded {
		t.Errorf("runs %d, state %v: under Freeze it goes on", len(b.run), b.rd.State)
	}
	if len(saw[event.Degraded](b)) == 0 {
		t.Error("no alert")
	}
	b.cut = false
	b.step(Connected{Up: true, Interrupts: 2})
	b.follow = nil
	w.must("it is back", 60*time.Second, w.settled)
	owners := map[string]int{}
	for _, b := range w.boxes {
		for l := range b.run {
			owners[l.Partition]++
		}
	}
	for id, n := range owners {
		if n != 1 {
			t.Errorf("%s runs %d times", id, n)
		}
	}
}

// The leader is cut off: it gives up by itself, another leads, and nothing is lost.
func TestLeaderCut(t *testing.T) {
	w := newWorld(t)
	w.group(3, 6)
	w.twoOwners = true
	l := w.leader()
	l.cut = true
	w.must("it gives up", 12*time.Second, func() bool { return !l.rd.Leading })
	w.must("another leads", 5*time.Second, func() bool { return w.leader() != nil })
	w.run(20 * time.Second)
	l.cut = false
	l.step(Connected{Up: true, Interrupts: 2})
	l.follow = nil
	w.must("it is back", 60*time.Second, w.settled)
}

// TestChain: every commit also moves a key that only its leader writes, so that it
// is refused in a store that went back, even where the head's revision recurs. The
// next leader removes the chain of the one before.
func TestChain(t *testing.T) {
	w := newWorld(t)
	w.group(2, 4)
	l := w.leader()
	mine := Key{KindChain, l.rd.Answering}
	chain := func(k Key) (kv.Rev, bool) { return w.store.rev(k) }
	head, _ := chain(Key{Kind: KindPlan})
	at, gone := chain(mine)
	if gone || at <= head || at > head+4 {
		t.Fatalf("the head is at %d, the chain at %d: not of one commit", head, at)
	}
	// The store forgets the chain's last link. The head is as the leader left it.
	w.store.put(Put{Record: Record{Key: mine, Rev: at, Value: plan.Version(1)}})
	w.start(w.config("another"))
	w.must("a refusal", 30*time.Second, func() bool { return len(saw[event.Refused](l)) > 0 })
	w.must("another term", 30*time.Second, func() bool { return w.leader() != nil && w.leader() != l && w.settled() })
	if _, gone := chain(mine); !gone {
		t.Error("the chain of the leader before still stands")
	}
}
