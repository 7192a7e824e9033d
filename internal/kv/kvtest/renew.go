package kvtest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

var renewCases = []testCase{
	{"Renew/empties the store and goes on above", func(t *testing.T, f Fixture) {
		s := open(t, f)
		now := s.incarnation()
		a := s.put("a", "one", 0)
		if a.Incarnation() != now {
			t.Errorf("revision %d is of incarnation %d in %d", a, a.Incarnation(), now)
		}
		b := s.remove("b", s.put("b", "one", 0))
		s.renew(now+3, now+3)
		if got := s.incarnation(); got != now+3 {
			t.Errorf("incarnation %d, want %d", got, now+3)
		}
		s.anew(now+3, b, map[string]kv.Rev{"a": a, "b": b})
	}},
	{"Renew/again is nothing", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		now := s.incarnation()
		s.renew(now+1, now+1)
		a := s.put("a", "one", 0)
		s.renew(now+1, now+1)
		other.renew(now+1, now+1)
		s.has("a", "one", a)
		other.renew(now, now+1)
		other.renew(1, now+1)
		other.has("a", "one", a)
		if b := s.put("b", "one", 0); b <= a {
			t.Errorf("%d after %d", b, a)
		}
	}},
	{"Renew/takes no nonsense", func(t *testing.T, f Fixture) {
		s := open(t, f)
		a := s.put("a", "one", 0)
		for _, bad := range []uint32{0, kv.MaxIncarnation + 1} {
			if n, err := s.Renew(s.ctx, bad); err == nil || errors.Is(err, kv.ErrUnknown) || errors.Is(err, kv.ErrUnavailable) {
				t.Errorf("to %d: %d, %v", bad, n, err)
			}
		}
		s.has("a", "one", a)
	}},
	{"Renew/many times", func(t *testing.T, f Fixture) {
		s := open(t, f)
		var last kv.Rev
		for range 5 {
			now := s.incarnation()
			rev := s.put("a", "one", 0)
			if rev <= last {
				t.Fatalf("%d after %d", rev, last)
			}
			last = s.remove("b", s.put("b", "one", 0))
			s.renew(now+1, now+1)
		}
	}},
	{"Renew/at once from many places loses nothing written after", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.put("old", "one", 0)
		f.renewAtOnce(t, s, s.incarnation()+1)
		s.gone("old")
	}},
	{"Renew/a follow has a hole", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		s.put("a", "one", 0)
		fo := other.follow("")
		s.renew(s.incarnation()+1, s.incarnation()+1)
		s.put("b", "one", 0)
		fo.ends(kv.ErrHole)
		again := other.follow("")
		again.tells(shown("c", "one", s.put("c", "one", 0)))
	}},
	{"Renew/TTLs work after it", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.renew(s.incarnation()+1, s.incarnation()+1)
		fo := s.follow("")
		s.putTTL("a", "one", 0, time.Second)
		fo.goes("a")
	}},
	{"Lost/everything says so", func(t *testing.T, f Fixture) {
		if f.Lose == nil {
			t.Skip("this fixture cannot lose its bucket")
		}
		s := open(t, f)
		a := s.put("a", "one", 0)
		f.Lose(t)
		eventually(t, "the loss", func() bool {
			// On a cluster the word may take a moment, and until then there is no answer.
			_, err := s.Write(s.ctx, kv.Write{Key: "a", Value: []byte("two"), Last: a})
			return errors.Is(err, kv.ErrLost)
		})
		s.refused(kv.ErrLost, kv.Write{Key: "b", Value: []byte("two")})
		s.refusedCommit(kv.ErrLost, kv.Write{Key: "a", Last: a}, kv.Write{Key: "b"})
		if _, err := s.Get(s.ctx, "a"); !errors.Is(err, kv.ErrLost) {
			t.Errorf("Get: %v", err)
		}
		if _, err := s.Names(s.ctx, ""); !errors.Is(err, kv.ErrLost) {
			t.Errorf("Names: %v", err)
		}
		if _, _, err := s.List(s.ctx, ""); !errors.Is(err, kv.ErrLost) {
			t.Errorf("List: %v", err)
		}
		if _, err := s.Incarnation(s.ctx); !errors.Is(err, kv.ErrLost) {
			t.Errorf("Incarnation: %v", err)
		}
		if err := s.Follow(s.ctx, []string{""}, func() { t.Error("ready") }, nil); !errors.Is(err, kv.ErrLost) {
			t.Errorf("Follow: %v", err)
		}
	}},
	{"Lost/is made anew, above everything", func(t *testing.T, f Fixture) {
		if f.Lose == nil {
			t.Skip("this fixture cannot lose its bucket")
		}
		s := open(t, f)
		now := s.incarnation()
		a := s.put("a", "one", 0)
		f.Lose(t)
		s.renew(now+1, now+1)
		s.anew(now+1, a, map[string]kv.Rev{"a": a})
		fo := s.follow("")
		s.putTTL("ttl", "one", 0, time.Second)
		fo.goes("ttl")
	}},
	{"Lost/is made anew by many at once", func(t *testing.T, f Fixture) {
		if f.Lose == nil {
			t.Skip("this fixture cannot lose its bucket")
		}
		s := open(t, f)
		now := s.incarnation()
		f.Lose(t)
		f.renewAtOnce(t, s, now+1)
	}},
	{"Lost/probes still work", func(t *testing.T, f Fixture) {
		if f.Lose == nil {
			t.Skip("this fixture cannot lose its bucket")
		}
		s, other := open(t, f), open(t, f)
		stop, err := s.Answer("n1", func() []byte { return []byte("here") })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		f.Lose(t)
		other.answered("n1", "here")
		other.silent("n2")
	}},
	{"GoneBack/is made anew, above everything", func(t *testing.T, f Fixture) {
		if f.Remember == nil {
			t.Skip("this fixture cannot go back")
		}
		s := open(t, f)
		a := s.put("a", "one", 0)
		goBack := f.Remember(t)
		a2 := s.put("a", "two", a)
		b := s.put("b", "one", 0)
		now := s.incarnation()
		goBack()
		eventually(t, "the store's return", func() bool { _, err := s.Get(s.ctx, "a"); return err == nil })
		s.has("a", "one", a)
		s.gone("b")
		s.refused(kv.ErrStale, kv.Write{Key: "a", Value: []byte("three"), Last: a2})
		s.renew(now+1, now+1)
		s.anew(now+1, b, map[string]kv.Rev{"a": a2, "b": b})
	}},
	{"GoneBack/a follow has a hole", func(t *testing.T, f Fixture) {
		if f.Remember == nil {
			t.Skip("this fixture cannot go back")
		}
		s, other := open(t, f), open(t, f)
		a := s.put("a", "one", 0)
		goBack := f.Remember(t)
		fo := other.follow("")
		fo.tells(shown("a", "two", s.put("a", "two", a)))
		goBack()
		eventually(t, "the store's return", func() bool { _, err := s.Get(s.ctx, "a"); return err == nil })
		s.put("b", "one", 0) // at the revision that a had, so that its next one is a later one
		s.put("a", "three", a)
		fo.ends(kv.ErrHole)
	}},
}

func (s steps) incarnation() uint32 {
	s.t.Helper()
	var n uint32
	err := s.answer("incarnation", nil, func() (err error) { n, err = s.Incarnation(s.ctx); return err })
	if err != nil || n == 0 {
		s.t.Fatalf("incarnation %d, %v", n, err)
	}
	return n
}

func (s steps) renew(incarnation, want uint32) {
	s.t.Helper()
	var got uint32
	err := s.answer("renew", nil, func() (err error) { got, err = s.Renew(s.ctx, incarnation); return err })
	if err != nil || got != want {
		s.t.Fatalf("renew to %d: %d, %v; want %d", incarnation, got, err, want)
	}
}

// anew says that the store is empty, refuses the old conditions, and goes on
// above the highest revision given out.
func (s steps) anew(incarnation uint32, highest kv.Rev, old map[string]kv.Rev) {
	s.t.Helper()
	if got := s.incarnation(); got != incarnation {
		s.t.Errorf("incarnation %d, want %d", got, incarnation)
	}
	s.lists("")
	for key, rev := range old {
		s.gone(key)
		s.refused(kv.ErrStale, kv.Write{Key: key, Value: []byte("old"), Last: rev})
		s.refused(kv.ErrStale, kv.Write{Key: key, Last: rev, Remove: true})
	}
	rev := s.put("fresh", "one", 0)
	if rev <= highest || rev.Incarnation() != incarnation {
		s.t.Errorf("revision %d of incarnation %d after %d; want %d", rev, rev.Incarnation(), highest, incarnation)
	}
	s.lists("", "fresh=one")
}

// renewAtOnce renews from many places; each writes a key as soon as its own call
// has returned, and none of them may be gone at the end.
func (f Fixture) renewAtOnce(t *testing.T, s steps, incarnation uint32) {
	t.Helper()
	const n = 6
	var wg sync.WaitGroup
	var revs [n]kv.Rev
	for i := range n {
		w := open(t, f)
		wg.Go(func() {
			var got uint32
			err := w.answer("renew", nil, func() (err error) { got, err = w.Renew(w.ctx, incarnation); return err })
			if err != nil || got != incarnation {
				t.Errorf("renew %d: %d, %v", i, got, err)
				return
			}
			revs[i] = w.settles(fmt.Sprintf("k.%d", i), "x")
		})
	}
	wg.Wait()
	for i, rev := range revs {
		s.has(fmt.Sprintf("k.%d", i), "x", rev)
	}
}
