package strategytest

import (
	"errors"
	"fmt"

	"github.com/parti-go/parti/plan"
)

// maxReported is how many breaches [Check] names.
const maxReported = 10

// Check returns nil if to is a proper answer to in, which must be valid (see
// [plan.ValidInput]), or one error that names each breach of these rules:
//
//   - there is one answer for each partition: the index of a worker, or -1;
//   - a pinned partition is where its pin says, or nowhere;
//   - nobody has more than its capacity;
//   - a cordoned worker has nothing that it did not have, but for pins;
//   - nothing is left out (-1) that some worker has room for. A strategy with reasons
//     of its own to leave something out, such as a rule for zones, breaks this one.
func Check(in plan.Input, to []int) error {
	if len(to) != len(in.Partitions) {
		return fmt.Errorf("there are %d answers for %d partitions", len(to), len(in.Partitions))
	}
	var found []error
	add := func(format string, args ...any) {
		if len(found) < maxReported {
			found = append(found, fmt.Errorf(format, args...))
		}
	}
	has := make([]int64, len(in.Workers))
	for i, j := range to {
		if j < -1 || j >= len(in.Workers) {
			add("%s is given to worker number %d of %d", in.Partitions[i].ID, j, len(in.Workers))
			continue
		}
		if j >= 0 {
			has[j] += in.Partitions[i].Load()
		}
	}
	if len(found) > 0 {
		return errors.Join(found...)
	}
	for j, w := range in.Workers {
		if w.Capacity > 0 && has[j] > w.Capacity {
			add("%s has %d, and a capacity of %d", w.ID, has[j], w.Capacity)
		}
	}
	for i, j := range to {
		p, pin := &in.Partitions[i], pinOf(in, i)
		switch {
		case pin >= 0 && j >= 0 && j != pin:
			add("%s is pinned to %s, and given to %s", p.ID, in.Workers[pin].ID, in.Workers[j].ID)
		case j >= 0 && pin != j && in.Workers[j].NoNew && in.Current[i] != j:
			add("%s is given to %s, which is cordoned", p.ID, in.Workers[j].ID)
		case j < 0:
			if k := roomFor(in, has, i, pin); k >= 0 {
				add("%s is left out, but %s has room for it", p.ID, in.Workers[k].ID)
			}
		}
	}
	return errors.Join(found...)
}

func pinOf(in plan.Input, i int) int {
	if in.Pins == nil {
		return -1
	}
	return in.Pins[i]
}

// roomFor is a worker that could take partition i besides what it has, or -1.
func roomFor(in plan.Input, has []int64, i, pin int) int {
	for k, w := range in.Workers {
		if pin >= 0 && k != pin || pin < 0 && w.NoNew {
			continue
		}
		if w.Capacity == 0 || w.Capacity-has[k] >= in.Partitions[i].Load() {
			return k
		}
	}
	return -1
}
