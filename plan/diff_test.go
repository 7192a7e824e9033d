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
