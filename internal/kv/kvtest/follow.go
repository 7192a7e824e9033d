package kvtest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/parti-go/parti/internal/kv"
)

var followCases = []testCase{
	{"Follow/tells of every change, with its revision", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		fo := other.follow("")
		one := s.put("a", "one", 0)
		two := s.put("a", "two", one)
		gone := s.remove("a", two)
		again := s.put("a", "", 0)
		fo.tells(shown("a", "one", one), shown("a", "two", two), shownGone("a", gone), shown("a", "", again))
	}},
	{"Follow/tells nothing of the past", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.put("a", "one", 0)
		fo := s.follow("")
		rev := s.put("b", "one", 0)
		fo.tells(shown("b", "one", rev))
	}},
	{"Follow/several prefixes, each change once", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("slice.w1", "plan", "slice.", "slice.w1", "log.1")
		all := s.follow("", "plan")
		var want, wantAll []string
		for _, key := range []string{"plan", "slice.w1", "slice.w10", "leader", "slice.w1.2", "log.1", "log.10", "plans", "plan"} {
			e, _ := s.Get(s.ctx, key)
			w := shown(key, "x", s.put(key, "x", e.Rev))
			wantAll = append(wantAll, w)
			if key != "leader" && key != "log.10" && key != "plans" {
				want = append(want, w)
			}
		}
		fo.tells(want...)
		all.tells(wantAll...)
	}},
	{"Follow/one key is not its neighbour", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("slice.w1")
		s.put("slice.w10", "x", 0)
		s.put("slice.w", "x", 0)
		s.put("slice", "x", 0)
		rev := s.put("slice.w1", "x", 0)
		fo.tells(shown("slice.w1", "x", rev))
	}},
	{"Follow/a List after ready misses nothing", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		const keys, writes = 10, 200
		end := make(chan map[string]kv.Rev, 1)
		go func() {
			at := map[string]kv.Rev{}
			for i := range writes {
				key := fmt.Sprintf("k.%d", i%keys)
				rev, err := s.Write(s.ctx, kv.Write{Key: key, Value: fmt.Append(nil, i), Last: at[key]})
				if err != nil {
					t.Errorf("write %s: %v", key, err)
					break
				}
				at[key] = rev
			}
			end <- at
		}()
		fo := other.follow("k.")
		es, _, err := other.List(other.ctx, "k.")
		if err != nil {
			t.Fatal(err)
		}
		view := map[string]kv.Rev{}
		for _, e := range es {
			view[e.Key] = e.Rev
		}
		at := receive(t, "the end of the writes", end)
		if t.Failed() {
			return
		}
		s.put("k.end", "", 0)
		for {
			e := fo.next()
			if e.Key == "k.end" {
				break
			}
			view[e.Key] = max(view[e.Key], e.Rev)
		}
		for key, rev := range at {
			if view[key] != rev {
				t.Errorf("%s is seen at %d, is at %d", key, view[key], rev)
			}
		}
	}},
	{"Follow/keeps the order of one key, under load", func(t *testing.T, f Fixture) {
		s := open(t, f)
		const writers, writes = 4, 50
		fo := s.follow("k.")
		var wg sync.WaitGroup
		defer wg.Wait()
		for i := range writers {
			w := open(t, f)
			wg.Go(func() {
				var last kv.Rev
				for j := range writes {
					rev, err := w.Write(w.ctx, kv.Write{Key: fmt.Sprintf("k.%d", i), Value: fmt.Append(nil, j), Last: last})
					if err != nil {
						t.Errorf("writer %d: %v", i, err)
						return
					}
					last = rev
				}
			})
		}
		next := map[string]int{}
		for range writers * writes {
			e := fo.next()
			if got, want := string(e.Value), fmt.Sprint(next[e.Key]); got != want {
				t.Fatalf("%s: told %s, want %s", e.Key, got, want)
			}
			next[e.Key]++
		}
	}},
	{"Follow/ends with its context's cause", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("")
		fo.cancel(errEnough)
		fo.ends(errEnough)
		s.put("a", "after", 0)
		if len(fo.told) > 0 {
			t.Errorf("was told %v after the end", <-fo.told)
		}
	}},
	{"Follow/several at once", func(t *testing.T, f Fixture) {
		s := open(t, f)
		var fos []*follower
		for range 5 {
			fos = append(fos, s.follow("a"))
		}
		fos[0].cancel(errEnough)
		fos[0].ends(errEnough)
		rev := s.put("a", "one", 0)
		for _, fo := range fos[1:] {
			fo.tells(shown("a", "one", rev))
		}
	}},
	{"Follow/says that it has a hole when it was interrupted", func(t *testing.T, f Fixture) {
		if f.Cut == nil {
			t.Skip("this fixture cannot cut")
		}
		s, other := open(t, f), open(t, f)
		fo, whole := s.follow(""), other.follow("")
		s.put("a", "one", 0)
		f.Cut(s.Store)
		other.put("b", "one", 0)
		fo.ends(kv.ErrHole)
		f.Mend(s.Store)
		whole.until("b")
		eventually(t, "the connection", func() bool { c, _ := s.Connection(); return c.Up })
		again := s.follow("")
		again.tells(shown("c", "one", other.put("c", "one", 0)))
	}},
	{"Follow/does not begin without a connection", func(t *testing.T, f Fixture) {
		if f.Cut == nil {
			t.Skip("this fixture cannot cut")
		}
		s := open(t, f)
		f.Cut(s.Store)
		eventually(t, "the cut", func() bool { c, _ := s.Connection(); return !c.Up })
		err := s.Follow(s.ctx, []string{""}, func() { t.Error("ready") }, nil)
		if !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("%v; want %v", err, kv.ErrUnavailable)
		}
	}},
}
