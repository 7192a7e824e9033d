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

var (
	_ parti.PartitionSource = source.Static()
	_ parti.PartitionSource = (*source.Watched)(nil)
	_ parti.Watcher         = (*source.Watched)(nil)
)

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

func TestNilFunc(t *testing.T) {
	if _, err := source.Func(nil).ListPartitions(t.Context()); err == nil {
		t.Error("a nil Func lists something")
	}
}

func TestHashed(t *testing.T) {
	s, err := source.Hashed(12)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.ListPartitions(t.Context())
	if err != nil || len(all) != 12 || all[0].ID != "0" || all[11].ID != "11" {
		t.Errorf("%v, %v", all, err)
	}
	for _, n := range []int{-1, 0, source.MaxHashed + 1} {
		if _, err := source.Hashed(n); err == nil {
			t.Errorf("%d partitions", n)
		}
	}
}

// A key stays where it is, in every release: what a server would say, in test/source.
func TestPartitionOf(t *testing.T) {
	for _, c := range []struct {
		n     int
		parts []string
		want  int
	}{
		{16, []string{"alice"}, 7},
		{16, []string{"al", "ice"}, 7}, // one after the other
		{16, []string{"bob"}, 4},
		{7, []string{"eu", "4711"}, 1},
		{1, []string{"x"}, 0},
		{64, nil, 5},
	} {
		if got := source.PartitionOf(c.n, c.parts...); got != c.want {
			t.Errorf("%v of %d: %d, want %d", c.parts, c.n, got, c.want)
		}
	}
}

func ExampleStatic() {
	s := source.Static(plan.Partition{ID: "tool-001"}, plan.Partition{ID: "tool-002", Weight: 5})
	all, err := s.ListPartitions(context.Background())
	fmt.Println(all, err)
	// Output: [{tool-001 0 map[]} {tool-002 5 map[]}] <nil>
}

// Any number of customers in 64 partitions.
func ExampleHashed() {
	s, err := source.Hashed(64)
	if err != nil {
		fmt.Println(err)
	}
	all, err := s.ListPartitions(context.Background())
	fmt.Println(len(all), err, "alice is in", source.PartitionOf(64, "alice"))
	// Output: 64 <nil> alice is in 39
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
