package main

import (
	"os"
	"testing"
)

// TestMain lets this binary be its own workers.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The example keeps what it says.
func TestFleet(t *testing.T) {
	if err := fleet(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// An order that comes too soon is one out of order, and not one that is lost.
func TestTally(t *testing.T) {
	all := tally{seen: map[string]map[int]bool{}, last: map[string]int{}}
	for _, n := range []int{1, 3, 2, 2, 4} {
		all.add("a", n)
	}
	all.add("b", 1)
	if all.done != 5 || all.twice != 1 || all.disorder != 2 {
		t.Errorf("%+v", all)
	}
}
