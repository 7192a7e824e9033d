package roster

import (
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// watch is a roster whose clock and store a test turns by hand.
type watch struct {
	t   *testing.T
	r   *Roster
	now time.Time
	rev kv.Rev
}

func newWatch(t *testing.T) *watch {
	now := time.Unix(1_800_000_000, 0)
	w := &watch{t: t, now: now, r: New(Config{
		Self: "me", Heartbeat: time.Second, ProbeInterval: 500 * time.Millisecond, ProbeAgain: 100 * time.Millisecond,
		LostAfter: 6 * time.Second, EmergencyGrace: time.Second, RecoveryGrace: 15 * time.Second, TTL: 15 * time.Second,
	}, now)}
	w.saw(Session{Worker: "boss", Nonce: "me", TTL: 15_000})
	return w
}

func (w *watch) saw(s Session) News {
	w.rev++
	return w.r.Saw(w.now, &s, w.rev)
}

// pass lets time pass in steps of 50 ms, in a healthy store, and returns the
// verdicts that came. Those in renewing renew each second.
func (w *watch) pass(d time.Duration, renewing ...Session) (vs []Verdict) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(50 * time.Millisecond)
		if w.now.Sub(time.Unix(1_800_000_000, 0))%time.Second == 0 {
			w.saw(Session{Worker: "boss", Nonce: "me", TTL: 15_000})
			for _, s := range renewing {
				w.saw(s)
			}
		}
		w.r.Accepted(w.now)
		due, _ := w.r.Check(w.now)
		vs = append(vs, due...)
	}
	return vs
}

// probed lets time pass while probes of a nonce have an outcome.
func (w *watch) probed(d time.Duration, nonce string, p Probe) (vs []Verdict) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.r.Probed(w.now, nonce, p)
		vs = append(vs, w.pass(100*time.Millisecond)...)
	}
	return vs
}

func (w *watch) want(what string, got, want any) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

var (
	freezes = Session{Worker: "w1", Nonce: "a", TTL: 15_000}
	fences  = Session{Worker: "w1", Nonce: "a", TTL: 20_000, Fenced: true}
)

func TestSuccessorIsNoProof(t *testing.T) {
	w := newWatch(t)
	w.saw(fences)
	next := Session{Worker: "w1", Nonce: "b", TTL: 5_000, Previous: Previous{Nonce: "a", End: EndUnknown}}
	w.saw(next)
	w.want("right after the takeover", w.r.End("a"), EndUnknown)
	w.pass(19*time.Second, next)
	w.want("before its own TTL has passed", w.r.End("a"), EndUnknown)
	w.pass(2*time.Second, next)
	w.want("after its own TTL has passed", w.r.End("a"), EndConcluded)
}

func TestExpiryIsNoProof(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	w.rev++
	w.r.Gone(w.now, "w1", w.rev)
	w.want("after the expiry", w.r.End("a"), EndUnknown)
	w.want("state", w.r.Member("w1").State, Vanished)
	w.pass(3 * time.Second)
	w.want("three seconds later", w.r.End("a"), EndUnknown)
	back := freezes
	back.Resumed = true
	w.want("news of the resumption", w.saw(back), Turn)
	w.want("state", w.r.Member("w1").State, Live)
}

func TestVanishedIsBuriedOnItsMarker(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	w.rev++
	w.r.Gone(w.now, "w1", w.rev)
	vs := w.pass(8 * time.Second)
	if len(vs) != 1 || vs[0].Rev != 3 {
		t.Fatalf("verdicts %v, want one on condition of the marker at 3", vs)
	}
}

func TestOwnTTLCounts(t *testing.T) {
	w := newWatch(t)
	w.saw(fences) // 20 s, while the leader's own is 15 s
	if vs := w.pass(19900 * time.Millisecond); len(vs) != 0 {
		t.Fatalf("%v before the session's own TTL", vs)
	}
	if vs := w.pass(300 * time.Millisecond); len(vs) != 1 {
		t.Fatalf("%v after it, want one verdict", vs)
	}
}

// A new leader counts the TTL of the one that it replaced from when it first read that
// one's session, if it stands there as it was read.
func TestTTLOfTheReplacedLeader(t *testing.T) {
	for what, c := range map[string]struct {
		rev   kv.Rev // as it was read
		gone  bool
		after time.Duration
	}{
		"it stands as it was read": {rev: 7, after: 18 * time.Second},
		"it was renewed meanwhile": {rev: 6, after: 20 * time.Second},
		"its key is gone":          {rev: 8, gone: true, after: 20 * time.Second},
	} {
		w := newWatch(t)
		read := w.now
		w.now = w.now.Add(2 * time.Second)
		w.rev = 6
		w.saw(fences)
		if c.gone {
			w.r.Gone(w.now, "w1", 8)
		}
		w.r.Remember(Silence{Nonce: "a", Answered: read, Deaf: read, Seen: read, Rev: c.rev})
		if vs := w.pass(c.after - 100*time.Millisecond); len(vs) != 0 {
			t.Fatalf("%s: %v too soon", what, vs)
		}
		if vs := w.pass(300 * time.Millisecond); len(vs) != 1 {
			t.Fatalf("%s: %v, want one verdict", what, vs)
		}
	}
}

// The leader that was replaced was away from the store for a moment, and is back: that
// nobody listened to its name then does not make it lost.
func TestTheReplacedLeaderIsBack(t *testing.T) {
	for what, c := range map[string]struct {
		rev  kv.Rev // as it was read
		lost bool   // at once
	}{
		"it stands as it was read": {rev: 7, lost: true},
		"it was renewed meanwhile": {rev: 6},
		"it could not be read":     {rev: 0},
	} {
		replaced := func() *watch {
			w := newWatch(t)
			s := Silence{Nonce: "a", Answered: w.now, Deaf: w.now, Rev: c.rev}
			if c.rev != 0 {
				s.Seen = w.now
			}
			w.now = w.now.Add(2 * time.Second)
			w.rev = 6
			w.saw(freezes)
			w.r.Remember(s)
			return w
		}
		w := replaced()
		vs := w.pass(50 * time.Millisecond)
		if c.lost {
			if len(vs) != 1 {
				t.Errorf("%s: %v, want one verdict", what, vs)
			}
			continue
		}
		w.r.Probed(w.now, "a", Answered)
		if vs = append(vs, w.pass(10*time.Second, freezes)...); len(vs) != 0 {
			t.Errorf("%s: %v though it answers and renews", what, vs)
		}
		w = replaced()
		if vs := w.probed(2*time.Second, "a", NoResponders); len(vs) != 1 {
			t.Errorf("%s, and is silent: %v, want one verdict", what, vs)
		}
	}
}

func TestTombstoneEndsEarlierSessions(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	second := Session{Worker: "w1", Nonce: "b", TTL: 15_000}
	w.saw(second)
	second.Tombstone = &Tombstone{By: "boss"}
	w.saw(second)
	w.want("the one it names", w.r.End("b"), EndTombstone)
	w.want("the one before", w.r.End("a"), EndTombstone)
}

func TestSuccessorNamesTheEnd(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	w.saw(Session{Worker: "w1", Nonce: "b", TTL: 15_000, Previous: Previous{Nonce: "a", End: EndLeft}})
	w.want("left, as its successor read", w.r.End("a"), EndLeft)
}

func TestNoTombstoneOverADisplacedPredecessor(t *testing.T) {
	w := newWatch(t)
	w.saw(fences) // TTL 20 s
	w.saw(Session{Worker: "w1", Nonce: "b", TTL: 3_000, Fenced: true})
	if vs := w.pass(19 * time.Second); len(vs) != 0 {
		t.Fatalf("%v: it would end a, whose TTL has not passed", vs)
	}
	if vs := w.pass(2 * time.Second); len(vs) != 1 || vs[0].Session.Nonce != "b" {
		t.Fatalf("%v, want one for b", vs)
	}
}

func TestNoResponders(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	w.r.Probed(w.now, "a", Answered)
	w.pass(2*time.Second, freezes)
	if vs := w.probed(900*time.Millisecond, "a", NoResponders); len(vs) != 0 {
		t.Fatalf("%v within EmergencyGrace", vs)
	}
	w.want("meanwhile", w.r.Member("w1").State, Suspect)
	w.r.Probed(w.now, "a", Answered)
	w.pass(50 * time.Millisecond)
	w.want("it has answered", w.r.Member("w1").State, Live)
	if vs := w.probed(900*time.Millisecond, "a", NoResponders); len(vs) != 0 {
		t.Fatalf("%v: the grace begins anew", vs)
	}
	if vs := w.probed(2*time.Second, "a", NoResponders); len(vs) != 1 {
		t.Fatalf("%v, want one verdict", vs)
	}
}

func TestNoRespondersNeedsAnEarlierAnswer(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	if vs := w.probed(5*time.Second, "a", NoResponders); len(vs) != 0 {
		t.Fatalf("%v: it had never answered this leader", vs)
	}
	if vs := w.probed(3*time.Second, "a", NoResponders); len(vs) != 1 {
		t.Fatalf("%v, want one for its silence", vs)
	}
}

func TestNoRespondersNeedsAMissedRenewal(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	w.r.Probed(w.now, "a", Answered)
	for range 50 {
		w.r.Probed(w.now, "a", NoResponders)
		if vs := w.pass(100*time.Millisecond, freezes); len(vs) != 0 {
			t.Fatalf("%v though it renews", vs)
		}
	}
}

func TestAnsweringButNotRenewing(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	if vs := w.probed(14*time.Second, "a", Answered); len(vs) != 0 {
		t.Fatalf("%v: it is slow, not dead", vs)
	}
	if vs := w.probed(2*time.Second, "a", Answered); len(vs) != 1 {
		t.Fatalf("%v after its TTL, want one verdict", vs)
	}
}

func TestSilenceIsCountedAnewAfterAGap(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	w.pass(5 * time.Second)
	w.now = w.now.Add(20 * time.Second) // no write of ours was accepted
	if vs := w.pass(5 * time.Second); len(vs) != 0 {
		t.Fatalf("%v: the store was not healthy", vs)
	}
	if vs := w.pass(2 * time.Second); len(vs) != 1 {
		t.Fatalf("%v, want one verdict", vs)
	}
}

func TestDoubtAfterAnInterruption(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	w.r.Interrupted(w.now)
	if vs := w.pass(14 * time.Second); len(vs) != 0 {
		t.Fatalf("%v in doubt", vs)
	}
	if _, on := w.r.Doubt(); !on {
		t.Fatal("no doubt")
	}
	if vs := w.probed(2*time.Second, "a", NoResponders); len(vs) != 1 {
		t.Fatalf("%v when doubt is over, want one", vs)
	}
}

func TestDoubtWhenManyVanish(t *testing.T) {
	w := newWatch(t)
	for _, n := range []string{"a", "b", "c", "d"} {
		w.saw(Session{Worker: "w-" + n, Nonce: n, TTL: 15_000})
		w.r.Probed(w.now, n, Answered)
	}
	w.pass(time.Second)
	w.r.Probed(w.now, "a", NoResponders)
	w.r.Probed(w.now, "b", NoResponders)
	w.r.Check(w.now)
	if why, on := w.r.Doubt(); !on {
		t.Fatal("two of four vanished at once, and no doubt", why)
	}
	// It ends at the latest after RecoveryGrace and a TTL, whatever probes say.
	if vs := w.pass(29 * time.Second); len(vs) != 0 {
		t.Fatalf("%v in doubt", vs)
	}
	if vs := w.pass(2 * time.Second); len(vs) != 4 {
		t.Fatalf("%d verdicts when doubt is over, want 4", len(vs))
	}
}

func TestMissedVerdictWaitsForTheRecord(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	vs := w.pass(7 * time.Second)
	if len(vs) != 1 {
		t.Fatalf("%v", vs)
	}
	if vs := w.pass(time.Second); len(vs) != 0 {
		t.Fatalf("%v: the first is not answered yet", vs)
	}
	w.r.Missed(w.now, "a")
	if vs := w.pass(2*time.Second, freezes); len(vs) != 0 {
		t.Fatalf("%v: a late renewal won", vs)
	}
	w.want("state", w.r.Member("w1").State, Live)
}

func TestWhatIsToldLateChangesNothing(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	s := freezes
	s.Left = true
	w.want("an older record", w.r.Saw(w.now, &s, 1), OldNews)
	w.want("end", w.r.End("a"), EndUnknown)
	w.want("an older marker", w.r.Gone(w.now, "w1", 2), false)
}

func TestBackAfterItsEnd(t *testing.T) {
	w := newWatch(t)
	s := freezes
	s.Tombstone = &Tombstone{By: "boss"}
	w.saw(s)
	w.saw(freezes) // its tombstone expired, and it resumed
	w.want("it has still ended", w.r.End("a"), EndTombstone)
	vs := w.pass(50 * time.Millisecond)
	if len(vs) != 1 || vs[0].Why != "came back after its end" {
		t.Fatalf("%v, want another tombstone", vs)
	}
}

func TestSlowIsShown(t *testing.T) {
	w := newWatch(t)
	w.saw(freezes)
	w.pass(2500 * time.Millisecond)
	w.saw(freezes)
	w.want("late", w.r.Member("w1").State, Slow)
	w.pass(4*time.Second, freezes)
	w.want("in time again", w.r.Member("w1").State, Live)
}

func TestRenewalAllocatesNothing(t *testing.T) {
	w := newWatch(t)
	s := freezes
	if n := testing.AllocsPerRun(1000, func() { w.saw(s) }); n > 0 {
		t.Errorf("%v allocations for a renewal", n)
	}
}
