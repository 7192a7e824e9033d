package partitest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/partitest"
	"github.com/parti-go/parti/source"
)

// A handler that is called by hand: it is revoked, and finishes what it has in hand.
func ExampleNewLease() {
	handler := parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		fmt.Println("running", l.Partition.ID)
		<-ctx.Done()
		fmt.Println("finishing under Hard:", l.Check())
		return context.Cause(ctx)
	})
	lease := partitest.NewLease(parti.Partition{ID: "tool-001"})
	lease.Revoke()
	fmt.Println(handler.Run(lease.Context(), lease.Lease))
	// Output:
	// running tool-001
	// finishing under Hard: <nil>
	// parti: partition is revoked
}

// A test of a handler, in one line.
//
//nolint:testableexamples // it needs a test
func ExampleExercise() {
	handler := parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		<-ctx.Done()
		return nil
	})
	_ = func(t *testing.T) { // TestHandler
		partitest.Exercise(t, handler)
	}
}

// A worker without a server.
func ExampleNewStore() {
	handler := parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		<-ctx.Done()
		return nil
	})
	m, err := parti.NewManager(partitest.NewStore(), source.Static(parti.Partition{ID: "tool-001"}), handler, parti.Config{ExpectedWorkers: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	fmt.Println(m.Start(ctx), m.State())
	fmt.Println(m.Stop(ctx), m.State())
	// Output:
	// <nil> Stable
	// <nil> Stopped
}
