package member

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/join"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
)

func (b *box) claimed() bool { return b.rd.WorkerID != "" }

func TestClaim(t *testing.T) {
	w := newWorld(t)
	b := w.start(w.config("one"))
	w.must("the claim", time.Second, b.claimed)
	s := w.store.session(b.rd.WorkerID)
	if s.Nonce != b.rd.Answering || s.Identity != "one" || s.Worker != b.rd.WorkerID || s.TTL != 15_000 {
		t.Errorf("the session says %+v", s)
	}
	if !b.rd.Trusted.Equal(w.store.sent(b).Add(15*time.Second - 1875*time.Millisecond)) {
		t.Errorf("trusted until %v at %v: trust counts from when the claim was sent", b.rd.Trusted, w.now)
	}
}

// sent is when the only claim of b was sent: two requests' ways before now.
func (s *fakeStore) sent(b *box) time.Time { return s.w.now.Add(-2 * hop) }

// The clock jumps while a claim is on its way: nobody can tell how long ago it was sent, and
// so it proves nothing. The first renewal does.
func TestClaimOverAJump(t *testing.T) {
	w := newWorld(t)
	w.fault = func(_ *box, op Op) fault {
		if p, ok := op.Do.(Put); ok && p.Record.Key.Kind == KindSession {
			return fault{wait: time.Second}
		}
		return fault{}
	}
	b := w.start(w.config("one"))
	w.must("a claim on its way", time.Second, func() bool { return b.rd.Answering != "" })
	b.step(Jumped{})
	w.must("the claim", 2*time.Second, b.claimed)
	if !b.rd.Until.IsZero() {
		t.Errorf("what was sent before the clock jumped is trusted until %v at %v", b.rd.Until, w.now)
	}
	w.must("trust", 2*time.Second, func() bool { return !b.rd.Until.IsZero() })
}

func TestHundredStartTogether(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.start(w.config(fmt.Sprintf("id-%d", i)))
	}
	w.must("all claims", 10*time.Second, func() bool {
		for _, b := range w.boxes {
			if !b.claimed() {
				return false
			}
		}
		return true
	})
	tries, ids := 0, map[string]bool{}
	for _, b := range w.boxes {
		tries += saw[event.Claimed](b)[0].Tries
		ids[b.rd.WorkerID] = true
	}
	t.Logf("%.2f tries each", float64(tries)/100)
	if tries > 300 {
		t.Errorf("%d tries for 100 workers, want at most 3 each", tries)
	}
	if len(ids) != 100 {
		t.Errorf("%d IDs for 100 workers", len(ids))
	}
}

// unseatedReads counts what those without a session read of sessions: a listing is one
// request for the names and, unless these will do, one for each.
func (w *world) unseatedReads() *int {
	n := new(int)
	w.fault = func(b *box, op Op) fault {
		if l, ok := op.Do.(List); ok && l.Kind == KindSession && b.m.session == nil {
			*n++
			if !l.Names {
				*n += len(w.store.sessions())
			}
		}
		return fault{}
	}
	return n
}

// What a worker reads to join does not grow with the crowd that starts together with it.
func TestCrowdReadsLittle(t *testing.T) {
	for _, n := range []int{64, 256} {
		w := newWorld(t)
		reads := w.unseatedReads()
		for i := range n {
			c := w.config(fmt.Sprintf("id-%d", i))
			c.MaxWorkers, c.Leads = 2*n, false
			w.start(c)
		}
		w.must("all claims", 10*time.Second, func() bool {
			return !slices.ContainsFunc(w.boxes, func(b *box) bool { return !b.claimed() })
		})
		t.Logf("%d workers read sessions %d times, %.1f each", n, *reads, float64(*reads)/float64(n))
		if *reads > 5*n {
			t.Errorf("%d reads of sessions by %d workers that start together, want at most 5 each", *reads, n)
		}
	}
}

func TestIdentityTakesItsIDBack(t *testing.T) {
	t.Run("left", func(t *testing.T) {
		w := newWorld(t)
		a := w.start(w.config("me"))
		w.must("the claim", time.Second, a.claimed)
		id := a.rd.WorkerID
		a.step(Leave{})
		w.must("the stop", 5*time.Second, func() bool { return a.rd.Done })
		if !w.store.session(id).Left {
			t.Fatal("no last words")
		}
		b := w.start(w.config("me"))
		w.must("the second claim", time.Second, b.claimed)
		s := w.store.session(b.rd.WorkerID)
		if b.rd.WorkerID != id || s.Previous.End != roster.EndLeft {
			t.Errorf("claimed %s (%+v), want %s after its last words", b.rd.WorkerID, s.Previous, id)
		}
	})
	t.Run("killed", func(t *testing.T) {
		w := newWorld(t)
		a := w.start(w.config("me"))
		w.must("the claim", time.Second, a.claimed)
		a.kill()
		b := w.start(w.config("me"))
		w.must("the second claim", 3*time.Second, b.claimed)
		s := w.store.session(b.rd.WorkerID)
		if b.rd.WorkerID != a.rd.WorkerID || s.Previous != (roster.Previous{Nonce: a.rd.Answering}) {
			t.Errorf("claimed %s (%+v), want %s displaced", b.rd.WorkerID, s.Previous, a.rd.WorkerID)
		}
	})
	t.Run("killed, and a leader says so", func(t *testing.T) {
		w := newWorld(t)
		w.parts = parts(4)
		l := w.start(w.config("leader"))
		w.must("leading", 5*time.Second, func() bool { return l.rd.Leading })
		a := w.start(w.config("me"))
		w.must("the claim", time.Second, a.claimed)
		w.run(5 * time.Second)
		a.kill()
		b := w.start(w.config("me"))
		w.must("the second claim", 3*time.Second, b.claimed)
		s := w.store.session(b.rd.WorkerID)
		if b.rd.WorkerID != a.rd.WorkerID || s.Previous.End != roster.EndTombstone {
			t.Errorf("claimed %s (%+v), want %s after its tombstone", b.rd.WorkerID, s.Previous, a.rd.WorkerID)
		}
	})
	t.Run("listens and does not answer", func(t *testing.T) {
		w := newWorld(t)
		a := w.start(w.config("me"))
		w.must("the claim", time.Second, a.claimed)
		id := a.rd.WorkerID
		a.deaf = true
		w.fault = func(b *box, _ Op) fault {
			if b == a {
				return fault{err: kv.ErrUnavailable}
			}
			return fault{}
		}
		b := w.start(w.config("me"))
		w.run(14 * time.Second)
		if b.claimed() {
			t.Fatal("displaced before its TTL was over")
		}
		w.must("the second claim", 2*time.Second, b.claimed)
		if b.rd.WorkerID != id {
			t.Errorf("claimed %s, want %s", b.rd.WorkerID, id)
		}
	})
}

func TestIdentityInUse(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.config("me"))
	w.must("the claim", time.Second, a.claimed)
	strict := w.config("me")
	strict.Strict = true
	b := w.start(strict)
	w.must("the refusal", time.Second, func() bool { return b.rd.Done })
	var use *join.InUseError
	if !errors.Is(b.rd.Err, join.ErrIdentityInUse) || !errors.As(b.rd.Err, &use) || use.Worker != a.rd.WorkerID || use.Host != "host-of-me" {
		t.Errorf("refused with %v", b.rd.Err)
	}
	c := w.start(w.config("me"))
	w.must("another ID", time.Second, c.claimed)
	if c.rd.WorkerID == a.rd.WorkerID {
		t.Error("took over an ID whose holder answers")
	}
}

func TestSpare(t *testing.T) {
	w := newWorld(t)
	cfg := func(id string) Config {
		c := w.config(id)
		c.MaxWorkers = 2
		return c
	}
	a, b := w.start(cfg("a")), w.start(cfg("b"))
	w.must("two claims", time.Second, func() bool { return a.claimed() && b.claimed() })
	c := w.start(cfg("c"))
	w.run(10 * time.Second)
	if c.claimed() || c.rd.State != ClaimingID {
		t.Fatalf("the third of two is %v", c.rd.State)
	}
	if as := saw[event.Alert](c); len(as) != 1 || as[0].About != "spare" {
		t.Errorf("alerts: %+v", as)
	}
	a.step(Leave{})
	w.must("the stop", time.Second, func() bool { return a.rd.Done })
	w.must("the spare's turn", 100*time.Millisecond, c.claimed)
	if as := saw[event.Alert](c); len(as) != 2 || as[1].Text != "" {
		t.Errorf("alerts: %+v", as)
	}
}

// crew starts n workers, and as many spares as there are more.
func (w *world) crew(n, spares int) {
	for i := range n + spares {
		c := w.config(fmt.Sprintf("id-%d", i))
		c.MaxWorkers, c.Leads = n, false
		w.start(c)
	}
	w.run(20 * time.Second)
}

// seated counts the live workers that have an ID.
func (w *world) seated() int {
	n := 0
	for _, b := range w.boxes {
		if !b.dead && b.claimed() {
			n++
		}
	}
	return n
}

// Spares at rest read little, however many workers there are.
func TestSparesAtRestReadLittle(t *testing.T) {
	w := newWorld(t)
	w.crew(20, 20)
	reads := w.unseatedReads()
	w.run(10 * time.Minute)
	t.Logf("20 spares of 20 workers read sessions %d times in ten minutes", *reads)
	if *reads > 20*(15+2*20) {
		t.Errorf("%d reads of sessions by 20 spares, want at most 55 each: a name a minute, and all twice", *reads)
	}
	if n := w.seated(); n != 20 {
		t.Errorf("%d workers have an ID, want 20", n)
	}
}

// A spare that could not be told of an end finds it as soon as it follows again.
func TestSpareAfterAGap(t *testing.T) {
	w := newWorld(t)
	w.crew(3, 2)
	w.run(10 * time.Minute)
	var spares []*box
	for _, b := range w.boxes {
		if !b.claimed() {
			spares = append(spares, b)
			b.following = false
		}
	}
	leaver := w.boxes[slices.IndexFunc(w.boxes, (*box).claimed)]
	leaver.step(Leave{})
	w.must("the stop", time.Second, func() bool { return leaver.rd.Done })
	for _, b := range spares {
		b.step(Hole{})
		b.following = true
		b.step(Following{Kinds: b.follow})
	}
	w.must("a spare's turn", 6*time.Second, func() bool { return w.seated() == 3 })
}

func isClaim(op Op) bool {
	p, ok := op.Do.(Put)
	return ok && p.Record.Key.Kind == KindSession
}

func TestClaimWithoutAnAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      fault
		marked bool // somebody was there, and is gone
	}{
		{"stored", fault{err: kv.ErrUnknown, stored: true}, false},
		{"not stored", fault{err: kv.ErrUnknown}, false},
		{"not stored, over a marker", fault{err: kv.ErrUnknown}, true},
		{"stored later", fault{err: kv.ErrUnknown, late: 3 * time.Second}, false},
		{"stored later, over a marker", fault{err: kv.ErrUnknown, late: 3 * time.Second}, true},
		{"not sent", fault{err: kv.ErrUnavailable}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			n := 0
			var at Key
			w.fault = func(_ *box, op Op) fault {
				if isClaim(op) && n == 0 {
					n++
					if at = op.Do.(Put).Record.Key; c.marked {
						w.store.put(Put{Record: Record{Key: at, Gone: true}})
					}
					return c.f
				}
				return fault{}
			}
			b := w.start(w.config("me"))
			w.must("the claim", 3*time.Second, b.claimed)
			w.run(10 * time.Second)
			if got := w.store.sessions(); n != 1 || len(got) != 1 || got[0] != at.Name {
				t.Errorf("%d faults, sessions %v: want one of each, %s", n, got, at.Name)
			}
			if got := len(saw[event.SessionLost](b)); got != 0 {
				t.Errorf("lost its session %d times", got)
			}
		})
	}
}

func (s *fakeStore) sessions() []string {
	var ids []string
	for k, e := range s.keys {
		if k.Kind == KindSession && !e.gone {
			ids = append(ids, k.Name)
		}
	}
	return ids
}

func TestStopDuringStart(t *testing.T) {
	t.Run("before the claim", func(t *testing.T) {
		w := newWorld(t)
		b := w.start(w.config("me"))
		w.run(hop)
		b.step(Leave{})
		if !b.rd.Done || b.writes != 0 {
			t.Errorf("done %v after %d writes", b.rd.Done, b.writes)
		}
	})
	for _, err := range []error{nil, kv.ErrUnknown} {
		t.Run(fmt.Sprintf("while the claim is on its way: %v", err), func(t *testing.T) {
			w := newWorld(t)
			b := w.start(w.config("me"))
			sent := false
			w.fault = func(_ *box, op Op) fault {
				if isClaim(op) && !sent {
					sent = true
					return fault{err: err, stored: true}
				}
				return fault{}
			}
			w.must("the claim is sent", time.Second, func() bool { return sent })
			b.step(Leave{})
			if b.rd.Done {
				t.Fatal("done while a claim is on its way")
			}
			w.must("the stop", time.Second, func() bool { return b.rd.Done })
			for _, id := range w.store.sessions() {
				if !w.store.session(id).Left {
					t.Errorf("%s is left behind: %+v", id, w.store.session(id))
				}
			}
		})
	}
}

// Fifty workers share their host's name as identity, leave and come back together.
func TestOneHostComesBack(t *testing.T) {
	w := newWorld(t)
	first := map[string]bool{}
	all := func() bool {
		for _, b := range w.boxes {
			if !b.dead && !b.claimed() {
				return false
			}
		}
		return true
	}
	for range 50 {
		w.start(w.config("host"))
	}
	w.must("all claims", 10*time.Second, all)
	for _, b := range w.boxes {
		first[b.rd.WorkerID] = true
		b.step(Leave{})
	}
	w.must("all stops", 20*time.Second, func() bool {
		for _, b := range w.boxes {
			if !b.rd.Done {
				return false
			}
		}
		return true
	})
	for range 50 {
		w.start(w.config("host"))
	}
	w.must("all claims again", 10*time.Second, all)
	tries, same := 0, 0
	for _, b := range w.boxes[50:] {
		tries += saw[event.Claimed](b)[0].Tries
		if first[b.rd.WorkerID] {
			same++
		}
	}
	t.Logf("%.2f tries each, %d of 50 IDs are the same", float64(tries)/50, same)
	if tries > 50*4 {
		t.Errorf("%d tries", tries)
	}
}
