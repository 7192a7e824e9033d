package plan_test

import (
	"reflect"
	"testing"

	"github.com/parti-go/parti/plan"
)

func TestDiff(t *testing.T) {
	type list = []plan.Partition
	label := map[string]string{"room": "3"}
	for _, c := range []struct {
		name          string
		before, after list
		want          plan.Changes
	}{
		{"nothing", nil, nil, plan.Changes{}},
		{"the same", list{{ID: "a"}, {ID: "b"}}, list{{ID: "a", Weight: 1}, {ID: "b", Labels: map[string]string{}}}, plan.Changes{}},
		{"from nothing", nil, list{{ID: "a"}}, plan.Changes{Added: list{{ID: "a"}}}},
		{"to nothing", list{{ID: "a"}}, nil, plan.Changes{Removed: list{{ID: "a"}}}},
		{
			"some of all",
			list{{ID: "b"}, {ID: "c"}, {ID: "d"}, {ID: "f"}},
			list{{ID: "a"}, {ID: "b", Weight: 2}, {ID: "d", Labels: label}, {ID: "e"}, {ID: "f"}, {ID: "g"}},
			plan.Changes{
				Added: list{{ID: "a"}, {ID: "e"}, {ID: "g"}}, Removed: list{{ID: "c"}},
				Reweighted: list{{ID: "b", Weight: 2}}, Relabelled: list{{ID: "d", Labels: label}},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := plan.Diff(c.before, c.after)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if got.Empty() != reflect.DeepEqual(c.want, plan.Changes{}) {
				t.Error("Empty is wrong")
			}
		})
	}
}

func TestChangesString(t *testing.T) {
	list := func(ids ...string) (all []plan.Partition) {
		for _, id := range ids {
			all = append(all, plan.Partition{ID: id})
		}
		return all
	}
	for want, c := range map[string]plan.Changes{
		"no change":                         {},
		"1 added (a)":                       {Added: list("a")},
		"3 added (a, b, c), 1 removed (d)":  {Added: list("a", "b", "c"), Removed: list("d")},
		"5 reweighted (a, b, c and 2 more)": {Reweighted: list("a", "b", "c", "d", "e")},
		"1 removed (a), 1 relabelled (b)":   {Removed: list("a"), Relabelled: list("b")},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
