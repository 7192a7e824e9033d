package kv

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		prefix, key string
		want        bool
	}{
		{"", "plan", true},
		{"", "session.a", true},
		{"session.", "session.a", true},
		{"session.", "session.a.b", true},
		{"session.", "session", false},
		{"session.", "sessions.a", false},
		{"session", "session", true},
		{"session", "session.a", true},
		{"session", "sessions", false},
		{"slice.worker-1", "slice.worker-1", true},
		{"slice.worker-1", "slice.worker-1.2", true},
		{"slice.worker-1", "slice.worker-10", false},
	} {
		if got := Match(c.prefix, c.key); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.prefix, c.key, got)
		}
	}
}

func TestCheck(t *testing.T) {
	good := []Write{
		{Key: "plan"},
		{Key: "session.worker-7", Last: 3, TTL: 75 * time.Second},
		{Key: "a/b=c_d.E9", Last: 1, Remove: true},
	}
	for _, w := range good {
		if err := w.Check(); err != nil {
			t.Errorf("%+v: %v", w, err)
		}
	}
	bad := []Write{
		{},
		{Key: ".a"},
		{Key: "a."},
		{Key: "a..b"},
		{Key: "a b"},
		{Key: "a.*"},
		{Key: "a.>"},
		{Key: "ä"},
		{Key: "a", Remove: true},
		{Key: "a", Remove: true, Last: 1, Value: []byte("x")},
		{Key: "a", TTL: 1500 * time.Millisecond},
		{Key: "a", TTL: time.Millisecond},
		{Key: "a", TTL: -time.Second},
	}
	for _, w := range bad {
		if err := w.Check(); err == nil {
			t.Errorf("%+v passed", w)
		}
	}
	if err := CheckCommit(good); err != nil {
		t.Error(err)
	}
	if CheckCommit(nil) == nil || CheckCommit([]Write{{Key: "a"}, {Key: "b"}, {Key: "a"}}) == nil || CheckCommit(bad[:1]) == nil {
		t.Error("an impossible commit passed")
	}
}

func TestIncarnation(t *testing.T) {
	if got := (Floor(7) + 1).Incarnation(); got != 7 {
		t.Errorf("the first revision of incarnation 7 is of %d", got)
	}
	if got := Floor(8).Incarnation(); got != 8 || (Floor(8)-1).Incarnation() != 7 {
		t.Errorf("floors overlap")
	}
	if got := Floor(MaxIncarnation).Incarnation(); got != MaxIncarnation {
		t.Errorf("the last incarnation does not fit: %d", got)
	}
	for at, want := range map[string]uint32{
		"2025-01-01T00:00:00Z": 1, "2020-01-01T00:00:00Z": 1, "2025-01-01T02:00:59Z": 120,
		"2200-01-01T00:00:00Z": MaxIncarnation, "2027-01-01T00:00:00Z": 2 * 365 * 24 * 60,
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := FirstIncarnation(now); got != want {
			t.Errorf("FirstIncarnation(%s) = %d, want %d", at, got, want)
		}
	}
}

func TestChain(t *testing.T) {
	start := Floor(5) + 100
	type step struct {
		key         string
		rev, before Rev // above Floor(5); a before of 0 is none
		hole        bool
	}
	for name, steps := range map[string][]step{
		"in order":                         {{"a", 101, 50, false}, {"b", 102, 0, false}, {"a", 103, 101, false}},
		"keys may overtake each other":     {{"a", 102, 50, false}, {"b", 101, 0, false}, {"a", 103, 102, false}},
		"told before start was read":       {{"a", 99, 50, false}, {"a", 101, 99, false}},
		"one is missing":                   {{"a", 101, 50, false}, {"a", 103, 102, true}},
		"the first is missing":             {{"a", 102, 101, true}},
		"one before start is in the List":  {{"a", 102, 100, false}},
		"again":                            {{"a", 101, 0, false}, {"a", 101, 0, true}},
		"backwards":                        {{"a", 103, 0, false}, {"a", 102, 0, true}},
		"a marker was cleared away":        {{"a", 101, 50, false}, {"a", 104, 0, false}, {"a", 105, 104, false}},
		"the store was made anew":          {{"a", 101, 50, false}, {"b", Floor(1) + 1, 0, true}},
		"made anew is noticed on new keys": {{"b", Floor(1) + 1, 0, true}},
		"the store went back":              {{"a", 101, 50, false}, {"b", 102, 0, false}, {"a", 103, 50, true}},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewChain(start)
			for i, s := range steps {
				before := s.before
				if before > 0 {
					before += Floor(5)
				}
				err := c.Next(s.key, Floor(5)+s.rev, before)
				if errors.Is(err, ErrHole) != s.hole {
					t.Fatalf("step %d %+v: %v", i, s, err)
				}
			}
		})
	}
}

// A Chain that follows for days over keys that come and go stays small, and does
// not take what it has forgotten for a hole.
func TestChainForgets(t *testing.T) {
	c := NewChain(Floor(1))
	rev := Floor(1)
	for i := range 5 * generation {
		rev++
		if err := c.Next(fmt.Sprintf("log.%d", i), rev, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.seen) + len(c.old); n > 2*generation {
		t.Errorf("remembers %d keys", n)
	}
	if err := c.Next("log.7", rev+1, Floor(1)+8); err != nil {
		t.Errorf("what was forgotten is taken for a hole: %v", err)
	}
	if err := c.Next("log.9", rev+3, rev+2); !errors.Is(err, ErrHole) {
		t.Errorf("a change that did not come was not noticed: %v", err)
	}
}

func TestPrune(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"[]", "[]"},
		{"[plan leader]", "[plan leader]"},
		{"[plan plan]", "[plan]"},
		{"[a. a]", "[a]"},
		{"[a a.]", "[a]"},
		{"[a.b a. a.b.c]", "[a.]"},
		{"[a.b a.bc]", "[a.b a.bc]"},
		{"[ab. a.]", "[ab. a.]"},
	} {
		var in []string
		for p := range strings.FieldsSeq(strings.Trim(c.in, "[]")) {
			in = append(in, p)
		}
		if got := fmt.Sprint(Prune(in)); got != c.want {
			t.Errorf("Prune(%s) = %s, want %s", c.in, got, c.want)
		}
	}
	if got := Prune([]string{"a", "", "b."}); len(got) != 1 || got[0] != "" {
		t.Errorf("the empty prefix covers all: %q", got)
	}
}
