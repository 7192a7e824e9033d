package source

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parti-go/parti/plan"
)

func TestSubjectsBecomePartitions(t *testing.T) {
	counts := map[string]uint64{"o.b.x": 5, "o.a.x": 1, "o.b.y": 4}
	for _, c := range []struct {
		template string
		opts     []SubjectsOption
		want     string
	}{
		{"o.{partition}.>", nil, "a:0 b:0"},
		{"o.{partition}.*", []SubjectsOption{WeighMessages()}, "a:1 b:8"},
		{"o.*.{partition}", []SubjectsOption{WeighMessages()}, "x:4 y:4"},
		{"o.>", []SubjectsOption{WeighMessages(), WholeSubject()}, "o.a.x:1 o.b.x:4 o.b.y:4"},
	} {
		var o options
		for _, set := range c.opts {
			set.subjects(&o)
		}
		s := &subjects{name: "s", weigh: o.weigh}
		if err := s.parse(c.template, o.whole); err != nil {
			t.Fatal(err)
		}
		all, err := s.partitions(counts)
		got := words(all)
		if err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.template, got, err, c.want)
		}
	}
	s := &subjects{name: "s"}
	if err := s.parse("o.{partition}.>", false); err != nil {
		t.Fatal(err)
	}
	long := "o." + strings.Repeat("x", 201) + ".y"
	if _, err := s.partitions(map[string]uint64{long: 1}); err == nil || !strings.Contains(err.Error(), `subject "`+long+`": partition`) || !strings.Contains(err.Error(), "is 201 bytes long: keep IDs to 200 bytes") {
		t.Error(err)
	}
	if _, err := s.partitions(map[string]uint64{"o": 1}); err == nil {
		t.Error("a subject that does not match")
	}
}

// words are the partitions with their weights.
func words(all []plan.Partition) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = fmt.Sprintf("%s:%d", p.ID, p.Weight)
	}
	return strings.Join(words, " ")
}
