package source

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/parti-go/parti/plan"
)

// A ListError says why a listing is not taken. Nothing of it is: the plan stays as it is.
type ListError struct {
	// Source is what was listed, such as `file "tools.txt"`.
	Source string
	// Faults are what is wrong with it, in its order. Beyond twenty they are only
	// counted, by More.
	Faults []Fault
	More   int
}

// A Fault is one thing that is wrong with a listing. Err says what it is and what to do
// about it: an [*plan.InvalidError] where it is about the partition itself.
type Fault struct {
	Where string // "line 3"
	Err   error
}

func (e *ListError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "source: %s: ", e.Source)
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %s", f.Where, strings.TrimPrefix(f.Err.Error(), "plan: "))
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "; and %d more", e.More)
	}
	return b.String()
}

// Unwrap is the errors of all faults.
func (e *ListError) Unwrap() []error {
	all := make([]error, len(e.Faults))
	for i, f := range e.Faults {
		all[i] = f.Err
	}
	return all
}

// maxFaults is how many faults one error names.
const maxFaults = 20

// A spot is where something stands in a source: a line or row of a number, or what the
// word says by itself where n is 0.
type spot struct {
	word string
	n    int
}

func (s spot) String() string {
	if s.n == 0 {
		return s.word
	}
	return fmt.Sprintf("%s %d", s.word, s.n)
}

// A collector takes partitions one by one, and either all of them are valid or there is
// an error.
type collector struct {
	all    []plan.Partition
	first  map[string]spot // where each ID stands
	sum    int64
	faults []Fault
	more   int
}

// fault notes that something is wrong.
func (c *collector) fault(at spot, err error) {
	if len(c.faults) == maxFaults {
		c.more++
		return
	}
	c.faults = append(c.faults, Fault{Where: at.String(), Err: err})
}

// add takes one partition.
func (c *collector) add(at spot, p plan.Partition) {
	if err := plan.ValidID(p.ID); err != nil {
		c.fault(at, err)
		return
	}
	bad := func(rule plan.Rule, problem, remedy string) {
		c.fault(at, &plan.InvalidError{Rule: rule, Culprit: fmt.Sprintf("partition %q", p.ID), Problem: problem, Remedy: remedy})
	}
	if before, twice := c.first[p.ID]; twice {
		bad(plan.RuleUnique, "is listed already, by "+before.String(), "list every partition once")
		return
	}
	if c.first == nil {
		c.first = map[string]spot{}
	}
	c.first[p.ID] = at
	switch {
	case p.Weight < 0:
		bad(plan.RuleNegative, fmt.Sprintf("has the weight %d", p.Weight), "use 0 or more; 0 counts as 1")
		return
	case p.Load() > math.MaxInt64-c.sum:
		bad(plan.RuleOverflow, fmt.Sprintf("has the weight %d, with which the sum of all is too large", p.Weight), "use a larger unit")
		return
	}
	c.sum += p.Load()
	c.all = append(c.all, p)
}

// list is what was taken, sorted by ID, or what is wrong with it.
func (c *collector) list(source string) ([]plan.Partition, error) {
	if len(c.faults) > 0 {
		return nil, &ListError{Source: source, Faults: c.faults, More: c.more}
	}
	slices.SortFunc(c.all, func(a, b plan.Partition) int { return cmp.Compare(a.ID, b.ID) })
	return c.all, nil
}

// failed gives an error the name of its source, unless it has it.
func failed(source string, err error) error {
	if _, ok := errors.AsType[*ListError](err); ok {
		return err
	}
	return fmt.Errorf("source: %s: %w", source, err)
}
