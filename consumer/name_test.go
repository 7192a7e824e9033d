package consumer

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/pattern"
	"github.com/parti-go/parti/plan"
)

func TestConsumerName(t *testing.T) {
	for _, c := range []struct{ group, partition, want string }{
		{"g", "tool-7", "g~tool-7"},
		{"g", "eu.orders", "g~eu=2Eorders"},
		{"a", "b-c", "a~b-c"},
		{"a-b", "c", "a-b~c"},
		{"g", "=2E", "g~=3D2E"},
		{"g", "a~b", "g~a=7Eb"},
	} {
		if got, err := consumerName(c.group, c.partition); got != c.want || err != nil {
			t.Errorf("%s, %s: %s, %v", c.group, c.partition, got, err)
		}
	}
	if _, err := consumerName("g", strings.Repeat(".", 90)); err == nil || !strings.Contains(err.Error(), "272 bytes") {
		t.Errorf("a name that is too long: %v", err)
	}
}

// Two partitions never share a consumer, and a name has nothing that the server refuses.
func FuzzConsumerName(f *testing.F) {
	f.Add("a.b", "a=2Eb")
	f.Add("a", "A")
	f.Fuzz(func(t *testing.T, a, b string) {
		if plan.ValidID(a) != nil || plan.ValidID(b) != nil {
			return
		}
		x, errX := consumerName("g", a)
		y, errY := consumerName("g", b)
		if errX != nil || errY != nil {
			return
		}
		if (a == b) != (x == y) || strings.ContainsAny(x, " .*>/\\\t\r\n\f") {
			t.Errorf("%q: %q, %q: %q", a, x, b, y)
		}
	})
}

func TestDistinct(t *testing.T) {
	for _, c := range []struct {
		template, ids string
		same          string // the pair of which a message can be
	}{
		{"o.{partition}", "a a.b", ""},
		{"o.{partition}.*", "a a.b a.b.c", ""},
		{"{partition}.o", "a a.b", ""},
		{"o.{partition}.>", "a b ab.c", ""},
		{"o.{partition}.>", "a.b c a", "a and a.b"},
		{"o.{partition}.>", "b a.b.c a", "a and a.b.c"},
		{"o.{partition}.new.>", "a a.b", ""},
		{"o.{partition}.new.>", "a a.new", "a and a.new"},
		{"o.{partition}.*.>", "a a.b", "a and a.b"},
		{"*.{partition}.>", "a a.b", "a and a.b"},
	} {
		var ps []parti.Partition
		for id := range strings.FieldsSeq(c.ids) {
			ps = append(ps, parti.Partition{ID: id})
		}
		err := template(c.template).distinct(ps)
		if (err == nil) != (c.same == "") || err != nil && !strings.Contains(err.Error(), "partitions "+c.same+": ") {
			t.Errorf("%s of %s: %v, want %q", c.template, c.ids, err, c.same)
		}
	}
}

// It finds the same as comparing all with all.
func TestDistinctFindsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tmpl := template(rapid.SampledFrom([]string{"o.{partition}", "{partition}.x", "o.{partition}.>", "o.{partition}.*", "*.{partition}.x.>", "{partition}.*.>"}).Draw(t, "template"))
		id := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "x"}), 1, 4), func(ts []string) string { return strings.Join(ts, ".") })
		ids := rapid.SliceOfNDistinct(id, 2, 4, rapid.ID).Draw(t, "ids")
		var ps []parti.Partition
		meet := false
		for i, a := range ids {
			ps = append(ps, parti.Partition{ID: a})
			f, err := tmpl.of(a)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range ids[:i] {
				g, err := tmpl.of(b)
				if err != nil {
					t.Fatal(err)
				}
				meet = meet || pattern.Meet(f, g)
			}
		}
		if err := tmpl.distinct(ps); (err != nil) != meet {
			t.Fatalf("%s of %v: %v", tmpl, ids, err)
		}
	})
}
