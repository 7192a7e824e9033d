// Package kvtest is the contract of the store as a test suite: every sentence of
// package kv's comments is a case. Memkv and natskv both pass it, so that what
// is tested over the one holds over the other.
package kvtest

import (
	"context"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// A Fixture is one empty store and what can be done to it. The functions may be
// nil, but for Open: cases that need one that is missing are skipped.
type Fixture struct {
	// Open gives another view of the store, over a connection of its own. The
	// fixture closes it when the test ends.
	Open func(t *testing.T) kv.Store
	// Cut breaks the connection of one view, Mend lets it come back.
	Cut, Mend func(kv.Store)
	// Lose deletes the bucket.
	Lose func(t *testing.T)
	// Remember keeps the present state; what it returns goes back to it.
	Remember func(t *testing.T) (goBack func())
}

// A Suite says how to run the cases.
type Suite struct {
	// Open makes a new, empty store for one case.
	Open func(t *testing.T) Fixture
	// Bubble runs a case in a bubble of its own, as synctest.Test does. Without, the
	// cases run in parallel.
	Bubble func(t *testing.T, run func(t *testing.T))
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			if s.Bubble == nil {
				t.Parallel()
				c.run(t, s.Open(t))
				return
			}
			s.Bubble(t, func(t *testing.T) { c.run(t, s.Open(t)) })
		})
	}
}

type testCase struct {
	name string
	run  func(t *testing.T, f Fixture)
}

func cases() []testCase {
	var all []testCase
	all = append(all, writeCases...)
	all = append(all, readCases...)
	all = append(all, commitCases...)
	all = append(all, ttlCases...)
	all = append(all, followCases...)
	all = append(all, probeCases...)
	all = append(all, renewCases...)
	all = append(all, linkCases...)
	return all
}

// patience is how long a case waits for what must happen. It is no measure of
// anything; nothing sleeps this long when all is well.
const patience = time.Minute

// ctxOf bounds everything that a case does.
func ctxOf(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// receive waits for a value.
func receive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case v := <-ch:
		return v
	case <-late.C:
		t.Fatalf("%s did not happen in %v", what, patience)
		panic("unreachable")
	}
}

// eventually tries until it holds. It is for facts that nobody announces.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("%s did not happen in %v", what, patience)
		}
	}
}
