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
