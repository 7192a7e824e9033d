package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

var writeCases = []testCase{
	{"Write/creates what is not there", func(t *testing.T, f Fixture) {
		s := open(t, f)
		rev := s.put("a.b", "one", 0)
		if rev == 0 {
			t.Fatal("revision 0")
		}
		s.has("a.b", "one", rev)
		s.refused(kv.ErrStale, kv.Write{Key: "a.b", Value: []byte("two")})
		s.has("a.b", "one", rev)
	}},
	{"Write/replaces only what it expects", func(t *testing.T, f Fixture) {
		s := open(t, f)
		one := s.put("a", "one", 0)
		two := s.put("a", "two", one)
		for _, last := range []kv.Rev{0, one, one - 1, two + 1} {
			s.refused(kv.ErrStale, kv.Write{Key: "a", Value: []byte("three"), Last: last})
		}
		s.has("a", "two", two)
		s.refused(kv.ErrStale, kv.Write{Key: "b", Value: []byte("one"), Last: two})
		s.gone("b")
	}},
	{"Write/removes only what it expects", func(t *testing.T, f Fixture) {
		s := open(t, f)
		one := s.put("a", "one", 0)
		two := s.put("a", "two", one)
		s.refused(kv.ErrStale, kv.Write{Key: "a", Last: one, Remove: true})
		s.has("a", "two", two)
		gone := s.remove("a", two)
		if gone <= two {
			t.Errorf("removed at %d after %d", gone, two)
		}
		if marker := s.gone("a"); marker != gone {
			t.Errorf("the marker is at %d, the removal was at %d", marker, gone)
		}
		s.refused(kv.ErrStale, kv.Write{Key: "a", Last: two, Remove: true})
	}},
	{"Write/creates over a marker, expecting zero", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.remove("a", s.put("a", "one", 0))
		rev := s.put("a", "two", 0)
		s.has("a", "two", rev)
		s.refused(kv.ErrStale, kv.Write{Key: "a", Value: []byte("three")})
	}},
	{"Write/creates over a marker, expecting it", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.remove("a", s.put("a", "one", 0))
		marker := s.gone("a")
		rev := s.put("a", "two", marker)
		s.has("a", "two", rev)
		s.refused(kv.ErrStale, kv.Write{Key: "a", Value: []byte("three"), Last: marker})
	}},
	{"Write/a refused one stores nothing", func(t *testing.T, f Fixture) {
		s := open(t, f)
		one := s.put("a", "one", 0)
		fo := s.follow("")
		s.refused(kv.ErrStale, kv.Write{Key: "a", Value: []byte("two"), Last: one + 1})
		s.refused(kv.ErrStale, kv.Write{Key: "a", Value: []byte("two")})
		s.refused(kv.ErrStale, kv.Write{Key: "b", Value: []byte("two"), Last: one})
		s.refused(kv.ErrStale, kv.Write{Key: "a", Last: one + 1, Remove: true})
		end := s.put("end", "", 0)
		fo.tells(shown("end", "", end))
		s.lists("", "a=one", "end=")
	}},
	{"Write/revisions grow over all keys", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		var last kv.Rev
		for i := range 5 {
			for _, view := range []steps{s, other} {
				key := fmt.Sprintf("k.%d", i)
				rev := view.put(key, "", view.gone(key))
				gone := view.remove(key, rev)
				if rev <= last || gone <= rev {
					t.Fatalf("revisions %d, %d after %d", rev, gone, last)
				}
				last = gone
			}
		}
	}},
	{"Write/what one view writes the other reads", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		one := s.put("a", "one", 0)
		other.has("a", "one", one)
		two := other.put("a", "two", one)
		s.has("a", "two", two)
		s.refused(kv.ErrStale, kv.Write{Key: "a", Value: []byte("three"), Last: one})
	}},
	{"Write/of several at once exactly one wins", func(t *testing.T, f Fixture) {
		ctx := ctxOf(t)
		const writers, rounds = 8, 10
		var views []kv.Store
		for range writers {
			views = append(views, f.Open(t))
		}
		var last kv.Rev
		for round := range rounds {
			var wg sync.WaitGroup
			var revs [writers]kv.Rev
			var errs [writers]error
			for i, s := range views {
				wg.Go(func() {
					revs[i], errs[i] = s.Write(ctx, kv.Write{Key: "a", Value: fmt.Append(nil, round, i), Last: last})
				})
			}
			wg.Wait()
			winner := -1
			for i, err := range errs {
				switch {
				case err == nil && winner < 0:
					winner = i
				case err == nil:
					t.Fatalf("round %d: %d and %d both won", round, winner, i)
				case !errors.Is(err, kv.ErrStale):
					t.Fatalf("round %d: %v", round, err)
				}
			}
			if winner < 0 {
				t.Fatalf("round %d: nobody won: %v", round, errs)
			}
			last = revs[winner]
			steps{views[0], t, ctx}.has("a", fmt.Sprint(round, winner), last)
		}
	}},
	{"Write/keeps every byte", func(t *testing.T, f Fixture) {
		s := open(t, f)
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		s.has("a", string(all), s.put("a", string(all), 0))
		s.has("empty", "", s.put("empty", "", 0))
		mine := []byte("mine")
		rev := s.write(kv.Write{Key: "mine", Value: mine})
		copy(mine, "xxxx")
		s.has("mine", "mine", rev)
	}},
	{"Write/takes no nonsense", func(t *testing.T, f Fixture) {
		s := open(t, f)
		rev := s.put("a", "one", 0)
		for _, w := range []kv.Write{
			{Key: ""},
			{Key: "a."},
			{Key: "a.*"},
			{Key: "a b"},
			{Key: "b", TTL: time.Second / 2},
			{Key: "b", TTL: 3 * time.Second / 2},
			{Key: "b", Remove: true},
			{Key: "a", Remove: true, Last: rev, Value: []byte("x")},
		} {
			if _, err := s.Write(s.ctx, w); err == nil || errors.Is(err, kv.ErrStale) {
				t.Errorf("%+v: %v", w, err)
			}
			if _, err := s.Commit(s.ctx, []kv.Write{{Key: "c"}, w}); err == nil || errors.Is(err, kv.ErrStale) {
				t.Errorf("in a commit: %+v: %v", w, err)
			}
		}
		s.lists("", "a=one")
	}},
	{"Write/too large names both sizes", func(t *testing.T, f Fixture) {
		s := open(t, f)
		limit := s.Limits().MaxPayload
		if limit < 1<<10 {
			t.Fatalf("a limit of %d bytes", limit)
		}
		rev := s.put("fits", strings.Repeat("x", limit), 0)
		s.has("fits", strings.Repeat("x", limit), rev)
		for _, size := range []int{limit + 1, limit + 1<<20} {
			big := kv.Write{Key: "big", Value: make([]byte, size)}
			_, err := s.Write(s.ctx, big)
			tooLarge(t, err, "big", size, limit)
			_, err = s.Commit(s.ctx, []kv.Write{{Key: "small"}, big})
			tooLarge(t, err, "big", size, limit)
		}
		s.gone("big")
		s.gone("small")
	}},
	{"Write/of a context that has ended is not sent", func(t *testing.T, f Fixture) {
		s := open(t, f)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errEnough)
		_, err := s.Write(ctx, kv.Write{Key: "a"})
		ended(t, "Write", err)
		_, err = s.Commit(ctx, []kv.Write{{Key: "a"}, {Key: "b"}})
		ended(t, "Commit", err)
		_, err = s.Get(ctx, "a")
		ended(t, "Get", err)
		_, _, err = s.List(ctx, "")
		ended(t, "List", err)
		_, err = s.Names(ctx, "")
		ended(t, "Names", err)
		_, err = s.Incarnation(ctx)
		ended(t, "Incarnation", err)
		_, err = s.Renew(ctx, 1<<20)
		ended(t, "Renew", err)
		_, err = s.Probe(ctx, "nobody")
		ended(t, "Probe", err)
		err = s.Follow(ctx, []string{""}, func() { t.Error("ready") }, nil)
		ended(t, "Follow", err)
		s.lists("")
	}},
}

// ended says that an error is that of a context that ended before anything was sent.
func ended(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, errEnough) && !errors.Is(err, context.Canceled) || errors.Is(err, kv.ErrUnknown) {
		t.Errorf("%s: %v; want the context's error alone", what, err)
	}
}

func tooLarge(t *testing.T, err error, key string, size, limit int) {
	t.Helper()
	var e *kv.TooLargeError
	if !errors.As(err, &e) {
		t.Fatalf("%v; want a TooLargeError", err)
	}
	if e.Key != key || e.Size != size || e.Max != limit {
		t.Errorf("%+v; want %s, %d, %d", e, key, size, limit)
	}
	for _, part := range []string{key, fmt.Sprint(size), fmt.Sprint(limit)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
}
