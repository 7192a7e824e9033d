// Package source lists partitions.
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

// A Func lists partitions by calling itself. It must end when ctx does.
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
