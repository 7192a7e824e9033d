package pattern

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.*", true},
		{"a.b.c", "a.>", true},
		{"a", ">", true},
		{"a.b", "*.b", true},
		{"a.b", "a", false},
		{"a", "a.b", false},
		{"a", "a.>", false},
		{"a.b.c", "a.*", false},
		{"a", "b", false},
		{"a.*", "a.*", true},
		{"a.*", "a.b", false},
		{"a.*", "a.>", true},
		{"a.>", "a.*", false},
		{"a.>", "a.>", true},
		{"a.>", ">", true},
		{"a.*.c.>", "a.>", true},
		{"a.b.c", "a.*.c", true},
		{"", "", true},
		{"", ">", false},
		{"", "*", false},
		{"a", "", false},
	} {
		if got := Within(c.a, c.b); got != c.want {
			t.Errorf("%q within %q: %v", c.a, c.b, got)
		}
	}
}

func TestMeet(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.c", false},
		{"a.b", "a.*", true},
		{"a.*", "*.b", true},
		{"a.b", "a.b.c", false},
		{"a.>", "a.*.c", true},
		{"a.b.>", "a.*", false},
		{"a.>", "a", false},
		{">", "a.*", true},
		{"a.>", "b.>", false},
		{"", "a", false},
	} {
		if Meet(c.a, c.b) != c.want || Meet(c.b, c.a) != c.want {
			t.Errorf("%q and %q meet: not %v", c.a, c.b, c.want)
		}
	}
}

func TestMapped(t *testing.T) {
	for _, c := range []struct{ destination, want string }{
		{"a.b", "a.b"},
		{"a.>", "a.>"},
		{"a.{{partition(4,1,2)}}.{{Wildcard(1)}}.b", "a.*.*.b"},
		{"$2.$1.$KV.a", "*.*.$KV.a"},
		{"a.{{left(1,2)}}.{{random(3)}}", "a.*.*"},
		{"a.{{wildcard(1)}}.{{SplitFromLeft(1,2)}}.b", "a.*.>"},
		{"{{sliceFromRight(1,2)}}", ">"},
	} {
		if got := Mapped(c.destination); got != c.want {
			t.Errorf("%q is %q, want %q", c.destination, got, c.want)
		}
	}
}

// TestAgainstAllSubjects compares both with what they say, over every subject of up to
// four tokens out of three.
func TestAgainstAllSubjects(t *testing.T) {
	var all []string
	for level := []string{""}; len(level[0]) < 7; {
		var next []string
		for _, s := range level {
			for _, token := range []string{"a", "b", "c"} {
				next = append(next, strings.TrimPrefix(s+"."+token, "."))
			}
		}
		all = append(all, next...)
		level = next
	}
	draw := func(t *rapid.T, label string) string {
		tokens := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 0, 3).Draw(t, label)
		if len(tokens) == 0 || len(tokens) < 3 && rapid.Bool().Draw(t, label+" is open") {
			tokens = append(tokens, ">")
		}
		return strings.Join(tokens, ".")
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "a"), draw(t, "b")
		within, meet := true, false
		for _, s := range all {
			inA, inB := Within(s, a), Within(s, b)
			within = within && (!inA || inB)
			meet = meet || inA && inB
		}
		if Within(a, b) != within {
			t.Fatalf("%q within %q: not %v", a, b, within)
		}
		if Meet(a, b) != meet {
			t.Fatalf("%q and %q meet: not %v", a, b, meet)
		}
	})
}
