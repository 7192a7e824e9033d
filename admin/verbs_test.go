package admin

import (
	"errors"
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

// A partition that nobody names may still be there: who asks for it is told so.
func TestUnnamedPartition(t *testing.T) {
	now := Snapshot{
		Counts:     Counts{Partitions: 3}, // two of which have no name here
		Partitions: []Partition{{ID: "p", State: Owned, Owner: "w"}},
	}
	for _, ask := range []func() error{
		func() error { _, err := now.Partition("q"); return err },
		func() error { _, err := now.Match("q.*"); return err },
	} {
		var missing *NotFoundError
		if err := ask(); !errors.As(err, &missing) || missing.Unnamed != 2 || !strings.Contains(err.Error(), "2 partitions without an owner") {
			t.Errorf("%v", err)
		}
	}
}

// An empty name is nobody's, such as that of a variable which was not set. Only what stands
// under it can be taken back.
func TestEmptyNames(t *testing.T) {
	now := Snapshot{
		Counts:     Counts{Partitions: 3}, // two of which have no name here
		Workers:    []Worker{{ID: "w", Owns: true}},
		Partitions: []Partition{{ID: "p", State: Owned, Owner: "w"}},
		Controls:   []plan.Control{{Kind: plan.Pause}, {Kind: plan.Ban, Partition: "p", Worker: "w"}},
	}
	for _, c := range []plan.Control{
		{Kind: plan.Drain},
		{Kind: plan.Cordon},
		{Kind: plan.Lift},
		{Kind: plan.ForceRelease},
		{Kind: plan.Pin},
		{Kind: plan.Pin, Worker: "w"},
		{Kind: plan.Ban, Partition: "p"},
		{Kind: plan.Ban, Worker: "w"},
		{Kind: plan.MoveTo, Partition: "p"},
		{Kind: plan.MoveTo, Worker: "w"},
	} {
		if err := now.Exists(c); !errors.As(err, new(*NotFoundError)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []plan.Control{{Kind: plan.Drain}, {Kind: plan.Pin, Worker: "w"}, {Kind: plan.Ban, Partition: "p"}} {
		was := now.Controls
		now.Controls = append(slices.Clip(was), c)
		if err := now.Exists(c); err != nil {
			t.Errorf("%+v stands, and cannot be taken back: %v", c, err)
		}
		now.Controls = was
	}
}
