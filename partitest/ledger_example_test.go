package partitest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/partitest"
)

// The account of two workers, of which one is gone. The leases would be a fleet's.
func ExampleLedger() {
	l := partitest.NewLedger(&testing.T{}) // that of the test
	tool := parti.Partition{ID: "tool-001"}
	work := func(worker string, then func()) {
		lease := partitest.NewLease(tool)
		h := l.Watch(worker, parti.HandlerFunc(func(_ context.Context, lease parti.Lease) error {
			if err := l.Act(lease, "measures"); err != nil {
				return err
			}
			then()
			return l.Act(lease, "writes it down")
		}))
		if err := h.Run(lease.Context(), lease.Lease); err != nil {
			fmt.Println(worker, "ends with:", err)
		}
	}
	work("a", func() {
		l.Enter(partitest.Entry{What: partitest.Frozen, Worker: "a"})
		work("b", func() {
			owner, _, _ := l.Owner(tool.ID)
			fmt.Println("owned by", owner)
		})
		l.Enter(partitest.Entry{What: partitest.Woke, Worker: "a"})
	})
	l.Over()
	l.Check(parti.Fence, partitest.MaxMoves(1), partitest.MaxGap(time.Second))
	r := l.Report()
	fmt.Println("accepted", r.Accepted, "refused", r.Refused, "beside a frozen worker", r.OverlapFrozen)
	// Output:
	// owned by b
	// a ends with: partitest: refused: a later owner has been here
	// accepted 3 refused 1 beside a frozen worker 1
}
