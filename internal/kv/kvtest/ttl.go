package kvtest

import (
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// Time passes in these cases only by waiting for another key to expire. What is to happen
// before a key does has some seconds for it: real servers may have no CPU for a while.
var ttlCases = []testCase{
	{"TTL/an expired key is gone, and Follow tells", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("")
		rev := s.putTTL("a", "one", 0, 3*time.Second)
		fo.tells(shown("a", "one", rev))
		e := fo.next()
		if e.Key != "a" || !e.Gone || e.Rev <= rev || e.Value != nil {
			t.Fatalf("was told %+v after %d", e, rev)
		}
		if marker := s.gone("a"); marker != e.Rev {
			t.Errorf("the marker is at %d, the change was at %d", marker, e.Rev)
		}
		s.lists("")
		s.refused(kv.ErrStale, kv.Write{Key: "a", Value: []byte("late"), Last: rev})
		again := s.put("a", "two", 0)
		fo.tells(shown("a", "two", again))
	}},
	{"TTL/not before its time", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("")
		began := time.Now()
		s.putTTL("a", "one", 0, 2*time.Second)
		fo.goes("a")
		if took := time.Since(began); took < 1500*time.Millisecond {
			t.Errorf("gone after %v", took)
		}
	}},
	{"TTL/every write sets it anew", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("")
		rev := s.putTTL("a", "one", 0, 8*time.Second)
		s.putTTL("one", "", 0, time.Second)
		s.putTTL("two", "", 0, 8*time.Second)
		fo.goes("one")
		rev = s.putTTL("a", "two", rev, time.Hour)
		fo.goes("two") // and a would have gone with it
		s.has("a", "two", rev)
	}},
	{"TTL/a shorter one counts too", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("")
		s.putTTL("a", "two", s.putTTL("a", "one", 0, time.Hour), time.Second)
		fo.goes("a")
		s.gone("a")
	}},
	{"TTL/a write without one is for good", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("")
		rev := s.put("a", "two", s.putTTL("a", "one", 0, 6*time.Second))
		s.putTTL("one", "", 0, 7*time.Second)
		fo.goes("one")
		s.has("a", "two", rev)
	}},
	{"TTL/in a commit", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("")
		rev := s.commit(
			kv.Write{Key: "a", Value: []byte("1"), TTL: time.Second},
			kv.Write{Key: "b", Value: []byte("1")},
			kv.Write{Key: "c", Value: []byte("1"), TTL: time.Hour},
		)
		fo.goes("a")
		s.gone("a")
		s.has("b", "1", rev+1)
		s.has("c", "1", rev+2)
	}},
	{"TTL/expiry takes a revision above all before", func(t *testing.T, f Fixture) {
		s := open(t, f)
		fo := s.follow("")
		s.putTTL("a", "one", 0, 6*time.Second)
		b := s.put("b", "one", 0)
		gone := fo.goes("a")
		if gone.Rev <= b {
			t.Errorf("gone at %d after %d", gone.Rev, b)
		}
		if rev := s.put("b", "two", b); rev <= gone.Rev {
			t.Errorf("written at %d after %d", rev, gone.Rev)
		}
	}},
}

// goes waits until the key is told to be gone.
func (f *follower) goes(key string) kv.Entry {
	f.t.Helper()
	for {
		if e := f.until(key); e.Gone {
			return e
		}
	}
}
