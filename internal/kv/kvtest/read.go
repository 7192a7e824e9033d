package kvtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/parti-go/parti/internal/kv"
)

var readCases = []testCase{
	{"Get/a key that never was", func(t *testing.T, f Fixture) {
		s := open(t, f)
		if rev := s.gone("a"); rev != 0 {
			t.Errorf("revision %d", rev)
		}
	}},
	{"Get/a removed key tells its marker's revision", func(t *testing.T, f Fixture) {
		s := open(t, f)
		gone := s.remove("a", s.put("a", "one", 0))
		if rev := s.gone("a"); rev != gone {
			t.Errorf("marker at %d, removed at %d", rev, gone)
		}
	}},
	{"Get/of what cannot be a key, and so with prefixes and names", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.put("a.b", "one", 0)
		refused := func(what string, err error) {
			t.Helper()
			if err == nil || errors.Is(err, kv.ErrMissing) || errors.Is(err, kv.ErrUnavailable) || errors.Is(err, kv.ErrNoResponders) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, bad := range []string{".", "a..", "a b", "a.*", "*", ">", "a.>", "ä"} {
			_, err := s.Get(s.ctx, bad)
			refused("Get "+bad, err)
			_, _, err = s.List(s.ctx, bad)
			refused("List "+bad, err)
			_, err = s.Names(s.ctx, bad)
			refused("Names "+bad, err)
			refused("Follow "+bad, s.Follow(s.ctx, []string{"a.", bad}, func() { t.Errorf("Follow %s is ready", bad) }, nil))
			_, err = s.Probe(s.ctx, bad)
			refused("Probe "+bad, err)
			_, err = s.Answer(bad, func() []byte { return nil })
			refused("Answer "+bad, err)
		}
		_, err := s.Get(s.ctx, "a.")
		refused("Get a.", err)
		_, err = s.Get(s.ctx, "")
		refused("Get of no key", err)
		s.lists("a.", "a.b=one")
		s.lists("a", "a.b=one")
	}},
	{"List/of nothing", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.lists("")
		s.lists("a.")
	}},
	{"List/matches whole tokens, in order of keys", func(t *testing.T, f Fixture) {
		s := open(t, f)
		for _, key := range []string{"slice.w1", "session.w2", "plan", "session.w10", "slice.w1.2", "session.w1", "slice.w10", "sessions"} {
			s.put(key, "x", 0)
		}
		s.lists("session.", "session.w1=x", "session.w10=x", "session.w2=x")
		s.lists("slice.w1", "slice.w1=x", "slice.w1.2=x")
		s.lists("plan", "plan=x")
		s.lists("plan.")
		s.lists("", "plan=x", "session.w1=x", "session.w10=x", "session.w2=x", "sessions=x", "slice.w1=x", "slice.w1.2=x", "slice.w10=x")
	}},
	{"List/leaves out what was removed", func(t *testing.T, f Fixture) {
		s := open(t, f)
		a := s.put("k.a", "one", 0)
		s.put("k.b", "one", 0)
		s.remove("k.a", a)
		s.lists("k.", "k.b=one")
		s.put("k.a", "two", 0)
		s.lists("k.", "k.a=two", "k.b=one")
	}},
	{"List/holds every write up to its revision", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		at := map[string]kv.Rev{}
		for i := range 20 {
			key := fmt.Sprintf("k.%d", i%7)
			at[key] = s.put(key, fmt.Sprint(i), at[key])
			es, rev, err := other.List(other.ctx, "k.")
			if err != nil {
				t.Fatal(err)
			}
			if rev < at[key] {
				t.Fatalf("as of %d, after a write at %d was answered", rev, at[key])
			}
			if len(es) != len(at) {
				t.Fatalf("%d keys of %d", len(es), len(at))
			}
			for _, e := range es {
				if e.Rev != at[e.Key] {
					t.Fatalf("%s at %d, was written at %d", e.Key, e.Rev, at[e.Key])
				}
			}
		}
	}},
	{"Names/are those of all present keys, in order", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.names("")
		for _, key := range []string{"slice.w1", "session.w2", "plan", "session.w10", "slice.w1.2", "session.w1", "slice.w10", "sessions"} {
			s.put(key, "x", 0)
		}
		s.names("session.", "session.w1", "session.w10", "session.w2")
		s.names("slice.w1", "slice.w1", "slice.w1.2")
		s.names("plan", "plan")
		s.names("plan.")
		s.names("", "plan", "session.w1", "session.w10", "session.w2", "sessions", "slice.w1", "slice.w1.2", "slice.w10")
	}},
	{"Names/of what was removed may stay with the marker", func(t *testing.T, f Fixture) {
		s := open(t, f)
		s.remove("k.a", s.put("k.a", "one", 0))
		s.put("k.b", "one", 0)
		got, err := s.Names(s.ctx, "k.")
		if err != nil {
			t.Fatal(err)
		}
		if got = slices.DeleteFunc(got, func(key string) bool { return key == "k.a" }); !slices.Equal(got, []string{"k.b"}) {
			t.Errorf("%v beside the removed one, want k.b", got)
		}
	}},
	{"List/of many", func(t *testing.T, f Fixture) {
		s := open(t, f)
		const n = 700
		var ws []kv.Write
		var want []string
		for i := range n {
			key := fmt.Sprintf("many.%04d", i)
			ws = append(ws, kv.Write{Key: key, Value: []byte("x")})
			want = append(want, key+"=x")
		}
		for chunk := range slices.Chunk(ws, s.Limits().MaxBatch) {
			s.commit(chunk...)
		}
		s.lists("many.", want...)
		for i, w := range want {
			want[i] = strings.TrimSuffix(w, "=x")
		}
		s.names("many.", want...)
	}},
}
