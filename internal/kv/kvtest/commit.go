package kvtest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

var commitCases = []testCase{
	{"Commit/does all, at consecutive revisions", func(t *testing.T, f Fixture) {
		s := open(t, f)
		plan := s.put("plan", "1", 0)
		old := s.put("slice.b", "1", 0)
		fo := s.follow("")
		rev := s.commit(
			kv.Write{Key: "plan", Value: []byte("2"), Last: plan},
			kv.Write{Key: "slice.a", Value: []byte("2")},
			kv.Write{Key: "slice.b", Last: old, Remove: true},
			kv.Write{Key: "log.2", Value: []byte("2"), TTL: time.Hour},
		)
		if rev <= old {
			t.Errorf("at %d after %d", rev, old)
		}
		s.has("plan", "2", rev)
		s.has("slice.a", "2", rev+1)
		if marker := s.gone("slice.b"); marker != rev+2 {
			t.Errorf("the marker is at %d, want %d", marker, rev+2)
		}
		s.has("log.2", "2", rev+3)
		fo.tells(shown("plan", "2", rev), shown("slice.a", "2", rev+1), shownGone("slice.b", rev+2), shown("log.2", "2", rev+3))
	}},
	{"Commit/of one", func(t *testing.T, f Fixture) {
		s := open(t, f)
		one := s.commit(kv.Write{Key: "a", Value: []byte("1")})
		s.has("a", "1", one)
		s.refusedCommit(kv.ErrStale, kv.Write{Key: "a", Value: []byte("2")})
		s.commit(kv.Write{Key: "a", Last: one, Remove: true})
		s.gone("a")
	}},
	{"Commit/a stale condition stores nothing, wherever it is", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.put("a", "1", 0)
		gone := s.put("gone", "1", 0)
		s.remove("gone", gone)
		good := []kv.Write{{Key: "x", Value: []byte("1")}, {Key: "y", Value: []byte("1"), TTL: time.Hour}, {Key: "z", Value: []byte("1")}}
		fo := s.follow("")
		for _, bad := range []kv.Write{
			{Key: "a", Value: []byte("2")},
			{Key: "a", Value: []byte("2"), Last: gone},
			{Key: "a", Last: gone, Remove: true},
			{Key: "never", Value: []byte("2"), Last: gone},
			{Key: "gone", Value: []byte("2"), Last: gone},
		} {
			s.refusedCommit(kv.ErrStale, bad)
			for at := range len(good) + 1 {
				var ws []kv.Write
				ws = append(ws, good[:at]...)
				ws = append(ws, bad)
				ws = append(ws, good[at:]...)
				s.refusedCommit(kv.ErrStale, ws...)
			}
		}
		end := s.put("end", "", 0)
		fo.tells(shown("end", "", end))
		s.lists("", "a=1", "end=")
	}},
	{"Commit/creates over markers", func(t *testing.T, f Fixture) {
		s := open(t, f)
		for _, key := range []string{"a", "b"} {
			s.remove(key, s.put(key, "1", 0))
		}
		rev := s.commit(
			kv.Write{Key: "new", Value: []byte("2")},
			kv.Write{Key: "a", Value: []byte("2")},
			kv.Write{Key: "b", Value: []byte("2"), Last: s.gone("b")},
		)
		s.has("a", "2", rev+1)
		s.has("b", "2", rev+2)
	}},
	{"Commit/of several at once exactly one wins", func(t *testing.T, f Fixture) {
		ctx := ctxOf(t)
		const leaders, rounds = 4, 8
		var views []kv.Store
		for range leaders {
			views = append(views, f.Open(t))
		}
		var plan kv.Rev
		slices := map[string]kv.Rev{}
		for round := range rounds {
			var wg sync.WaitGroup
			var revs [leaders]kv.Rev
			var errs [leaders]error
			for i, s := range views {
				value := fmt.Append(nil, round, i)
				slice := fmt.Sprintf("slice.%d", i)
				last := slices[slice]
				wg.Go(func() {
					revs[i], errs[i] = s.Commit(ctx, []kv.Write{
						{Key: slice, Value: value, Last: last},
						{Key: "plan", Value: value, Last: plan},
						{Key: fmt.Sprintf("log.%d.%d", round, i), Value: value},
					})
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
				t.Fatalf("round %d: nobody won", round)
			}
			slices[fmt.Sprintf("slice.%d", winner)], plan = revs[winner], revs[winner]+1
			first := steps{views[0], t, ctx}
			first.has("plan", fmt.Sprint(round, winner), plan)
			es, _, err := first.List(ctx, fmt.Sprintf("log.%d.", round))
			if err != nil || len(es) != 1 || es[0].Key != fmt.Sprintf("log.%d.%d", round, winner) {
				t.Fatalf("round %d: the log holds %v, error %v", round, es, err)
			}
		}
	}},
	{"Commit/of as many as are allowed, and of one more", func(t *testing.T, f Fixture) {
		s := open(t, f)
		limit := s.Limits().MaxBatch
		if limit < 2 {
			t.Fatalf("a limit of %d", limit)
		}
		var ws []kv.Write
		for i := range limit + 1 {
			ws = append(ws, kv.Write{Key: fmt.Sprintf("k.%d", i), Value: []byte("x")})
		}
		_, err := s.Commit(s.ctx, ws)
		var e *kv.TooManyError
		if !errors.As(err, &e) || e.Writes != limit+1 || e.Max != limit {
			t.Errorf("%v; want a TooManyError of %d and %d", err, limit+1, limit)
		}
		s.lists("k.")
		rev := s.commit(ws[:limit]...)
		s.has(fmt.Sprintf("k.%d", limit-1), "x", rev+kv.Rev(limit)-1)
	}},
	{"Commit/with large values", func(t *testing.T, f Fixture) {
		s := open(t, f)
		big := strings.Repeat("x", s.Limits().MaxPayload)
		rev := s.commit(kv.Write{Key: "a", Value: []byte(big)}, kv.Write{Key: "b", Value: []byte("small")}, kv.Write{Key: "c", Value: []byte(big)})
		s.has("a", big, rev)
		s.has("c", big, rev+2)
	}},
	{"Commit/takes no nonsense", func(t *testing.T, f Fixture) {
		s := open(t, f)
		for _, ws := range [][]kv.Write{nil, {}, {{Key: "a"}, {Key: "b"}, {Key: "a"}}} {
			if _, err := s.Commit(s.ctx, ws); err == nil || errors.Is(err, kv.ErrStale) {
				t.Errorf("%+v: %v", ws, err)
			}
		}
		s.lists("")
	}},
}
