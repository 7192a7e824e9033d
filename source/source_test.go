package source_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

var _ parti.PartitionSource = source.Static()

func TestStaticIsItsOwn(t *testing.T) {
	given := []plan.Partition{{ID: "a", Weight: 2, Labels: map[string]string{"k": "v"}}}
	s := source.Static(given...)
	given[0].ID, given[0].Labels["k"] = "b", "w"
	for range 2 {
		all, err := s.ListPartitions(t.Context())
		if err != nil || len(all) != 1 || all[0].ID != "a" || all[0].Weight != 2 || all[0].Labels["k"] != "v" {
			t.Errorf("%v, %v", all, err)
		}
		all[0].ID, all[0].Labels["k"] = "c", "x" // the caller's to change
	}
	if all, err := source.Static().ListPartitions(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestFunc(t *testing.T) {
	want := errors.New("away")
	f := source.Func(func(ctx context.Context) ([]plan.Partition, error) { return nil, want })
	if _, err := f.ListPartitions(t.Context()); !errors.Is(err, want) {
		t.Error(err)
	}
}

func ExampleStatic() {
	s := source.Static(plan.Partition{ID: "tool-001"}, plan.Partition{ID: "tool-002", Weight: 5})
	all, err := s.ListPartitions(context.Background())
	fmt.Println(all, err)
	// Output: [{tool-001 0 map[]} {tool-002 5 map[]}] <nil>
}

// A source of one's own.
func ExampleFunc() {
	s := source.Func(func(ctx context.Context) ([]plan.Partition, error) {
		return []plan.Partition{{ID: "orders.eu"}, {ID: "orders.us", Weight: 3}}, nil
	})
	all, _ := s.ListPartitions(context.Background())
	fmt.Println(len(all))
	// Output: 2
}
