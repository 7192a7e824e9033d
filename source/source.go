// Package source lists partitions.
//
// [Static], [Func] and [Hashed] list what a program knows by itself. [File], [KV],
// [Subjects] and [SQL] list what stands elsewhere, and notice when it changes.
//
// A list is whole and valid, or it is an error. An error leaves the plan as it is, and is
// an alert that names what is wrong, where it stands, and what to do. Which partitions came
// and went is in the leader's decision log; [Observe] tells a program of it as well.
//
// Only the leader asks a source, but any worker may be the leader next: give all of them
// the same.
package source

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/parti-go/parti/plan"
)

// Static lists always the same partitions. The list is copied.
func Static(partitions ...plan.Partition) Func {
	kept := clone(partitions)
	return func(context.Context) ([]plan.Partition, error) { return clone(kept), nil }
}

// Func makes a function a PartitionSource. It must end when ctx does.
type Func func(ctx context.Context) ([]plan.Partition, error)

// ListPartitions calls f. A nil f is an error.
func (f Func) ListPartitions(ctx context.Context) ([]plan.Partition, error) {
	if f == nil {
		return nil, errNil
	}
	return f(ctx)
}

var errNil = errors.New("source: a nil Func: give one that lists partitions")

func clone(partitions []plan.Partition) []plan.Partition {
	all := slices.Clone(partitions)
	for i := range all {
		all[i].Labels = maps.Clone(all[i].Labels)
	}
	return all
}
