package admin

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/plan"
)

// TestVerbs holds the table together: whoever shows it relies on that.
func TestVerbs(t *testing.T) {
	now := Snapshot{
		Leader:     &Leader{Worker: "w"},
		Workers:    []Worker{{ID: "w", Owns: true}},
		Partitions: []Partition{{ID: "p", State: Moving, Owner: "w", Next: "v"}, {ID: "q", State: Quarantined}},
		Controls: []plan.Control{
			{Kind: plan.Drain, Worker: "w"}, {Kind: plan.Cordon, Worker: "w"}, {Kind: plan.Pin, Partition: "p", Worker: "w"}, {Kind: plan.Ban, Partition: "p", Worker: "w"}, {Kind: plan.Pause},
		},
	}
	seen := map[string]bool{}
	for _, v := range Verbs() {
		if seen[v.Name] {
			t.Errorf("%s is there twice", v.Name)
		}
		seen[v.Name] = true
		names := v.Names(now)
		if len(names) != len(v.Takes) {
			t.Fatalf("%s takes %v, of %v", v.Name, v.Takes, names)
		}
		var given []string
		for i, what := range v.Takes {
			if what != "worker" && what != "partition" || len(names[i]) == 0 {
				t.Errorf("%s: a %s is one of %v", v.Name, what, names[i])
			}
			given = append(given, names[i][0])
		}
		c := v.About(given...)
		if slices.Contains(v.Takes, "worker") != (c.Worker != "") || slices.Contains(v.Takes, "partition") != (c.Partition != "") {
			t.Errorf("%s takes %v, and is about %v", v.Name, v.Takes, c)
		}
		if err := now.Exists(c); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		if stands := now.Standing(c) != nil; v.TakesBack && !stands {
			t.Errorf("%s takes nothing back", v.Name)
		}
		if v.Name == "release" { // it finds out whose process that is
			c.Worker = "w"
		}
		for _, text := range []string{v.Will(now, c), v.Done(Change{Control: c}, time.Now())} {
			if !strings.HasSuffix(text, ".") || strings.Contains(text, "  ") || strings.Contains(text, "%!") {
				t.Errorf("%s says %q", v.Name, text)
			}
		}
		if v.Short == "" || strings.HasSuffix(v.Short, ".") || v.TakesBack && v.Ends {
			t.Errorf("%s: %q", v.Name, v.Short)
		}
	}
	if len(seen) != 16 {
		t.Errorf("%d verbs: %v", len(seen), seen)
	}
	if err := now.Exists(plan.Control{Kind: plan.Drain, Worker: "x"}); err == nil {
		t.Error("there is a worker x")
	}
}
