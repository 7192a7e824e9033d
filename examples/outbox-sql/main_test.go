package main

import "testing"

// The example keeps what it says.
func TestOutbox(t *testing.T) {
	if err := run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
