package parti

import (
	"context"

	"github.com/parti-go/parti/plan"
)

// A Partition is one unit of work; see [plan.Partition].
type Partition = plan.Partition

// A PartitionSource says which partitions there are. Only the leader asks it.
//
// ListPartitions returns all of them, in any order. It must end when ctx does, 30 s
// after it was called at the latest, and is not called again before it has. An
// error leaves the plan as it is. A list with an invalid partition, or two of one
// ID, is an error, too; one that leaves out more than half of what there was is
// believed only when a second one says the same.
//
// A source may also be a [Watcher].
type PartitionSource interface {
	ListPartitions(ctx context.Context) ([]Partition, error)
}

// A Watcher is a [PartitionSource] that notices changes.
//
// Watch calls changed whenever ListPartitions may have more to say, and returns
// when ctx ends, or with an error when it cannot watch; it is called again then,
// after a second at first and a minute at the most. It is called while this worker
// leads, and not again before the last call has returned. changed may be called at any
// time, from any goroutine, and never waits.
type Watcher interface {
	Watch(ctx context.Context, changed func()) error
}

// An AssignmentStrategy chooses an owner for every partition: for each of
// in.Partitions the index of its worker in in.Workers, or -1 to leave it out. It
// must be deterministic, change nothing of in, and be quick: the leader does nothing
// else meanwhile. It is called by one goroutine at a time, and given up after a quarter of
// SessionTTL − FenceMargin, at least half a second and at most five (3.3 s by default).
// Package strategy has several, and strategytest tests one. One that has a method
// Check() error is asked by [NewManager] whether it can be used.
//
// An error, or a result that is not valid, leaves the plan as it is.
type AssignmentStrategy interface {
	Assign(in plan.Input) ([]int, error)
}

// An Explainer is an [AssignmentStrategy] that can account for an assignment; the
// decision log keeps what it says.
type Explainer interface {
	Explain(in plan.Input, to []int) plan.Explanation
}
