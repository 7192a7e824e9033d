//go:build linux

package partitest_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/partitest"
)

// The account of a worker in a process of its own, which is killed.
//
//nolint:testableexamples // it needs a process
func ExampleLedger_Listen() {
	_ = func(t *testing.T) { // TestKilledWorker
		l := partitest.NewLedger(t)
		worker := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWorkerProcess$")
		here, there, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer here.Close()
		worker.ExtraFiles = []*os.File{there} // file 3 over there, for NewRemote
		if err := worker.Start(); err != nil {
			t.Fatal(err)
		}
		there.Close() // so that Listen ends when the process does
		heard := make(chan error, 1)
		go func() { heard <- l.Listen(here) }()

		l.Covered(time.Minute, parti.Partition{ID: "tool-001"})
		killed := time.Now()
		partitest.Kill(t, worker.Process)
		if err := <-heard; err != nil {
			t.Error(err)
		}
		l.Killed("worker-1", killed)
		// Start another one, and:
		l.Covered(time.Minute, parti.Partition{ID: "tool-001"})
		l.Check(parti.Fence, partitest.MaxGap(10*time.Second))
	}
	_ = func(t *testing.T) { // TestWorkerProcess
		r := partitest.NewRemote(os.NewFile(3, "ledger"), "worker-1")
		handler := r.Watch(parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
			<-ctx.Done()
			return nil
		}))
		_ = handler // for NewManager
	}
}
