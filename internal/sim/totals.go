package sim

import (
	"fmt"
	"strings"
	"time"
)

// Totals add up runs.
type Totals struct {
	Runs    int
	Stats   Stats
	Virtual time.Duration
	Failed  []*Scenario
	// Violations are theirs.
	Violations []*Violation
}

// Add adds one run.
func (t *Totals) Add(sc *Scenario, r *Result) {
	t.Runs++
	s := &t.Stats
	s.Steps += r.Stats.Steps
	s.Events += r.Stats.Events
	s.Ops += r.Stats.Ops
	s.Writes += r.Stats.Writes
	s.Plans += r.Stats.Plans
	s.Grants += r.Stats.Grants
	s.Starts += r.Stats.Starts
	s.Moves += r.Stats.Moves
	s.Counted += r.Stats.Counted
	s.Older += r.Stats.Older
	s.Sliced += r.Stats.Sliced
	s.Led += r.Stats.Led
	s.TwoLead += r.Stats.TwoLead
	s.Declined += r.Stats.Declined
	s.Refused += r.Stats.Refused
	s.Midway += r.Stats.Midway
	s.Slowed += r.Stats.Slowed
	s.Suspected += r.Stats.Suspected
	s.Lost += r.Stats.Lost
	s.Quarantined += r.Stats.Quarantined
	s.Poisoned += r.Stats.Poisoned
	s.Degraded += r.Stats.Degraded
	s.Fenced += r.Stats.Fenced
	s.Renewed += r.Stats.Renewed
	t.Virtual += r.Stats.Virtual
	for i := range Kinds {
		s.Injected[i] += r.Stats.Injected[i]
		s.Touched[i] += r.Stats.Touched[i]
	}
	if r.Violation != nil {
		t.Failed = append(t.Failed, sc)
		t.Violations = append(t.Violations, r.Violation)
	}
}

// Missing are the kinds of faults that never changed anything.
func (t *Totals) Missing() (out []Kind) {
	for i, k := range Kinds {
		if t.Stats.Injected[i] == 0 || t.Stats.Touched[i] == 0 && !untouchable[k] {
			out = append(out, k)
		}
	}
	return out
}

// untouchable kinds take effect by being injected.
var untouchable = map[Kind]bool{}

func (t *Totals) String() string {
	s := &t.Stats
	return fmt.Sprintf("%d fleets, %s of virtual time: %d steps, %d requests, %d writes, %d plans, %d grants, %d starts, %d moves (%d older leases adopted), %d violations",
		t.Runs, t.Virtual.Round(time.Minute), s.Steps, s.Ops, s.Writes, s.Plans, s.Grants, s.Starts, s.Moves, s.Older, len(t.Failed))
}

// Faults lists how often each kind was injected, and how often it changed something.
func (t *Totals) Faults() string {
	var b strings.Builder
	b.WriteString("faults (injected/took effect):")
	for i, k := range Kinds {
		fmt.Fprintf(&b, " %s %d/%d", k, t.Stats.Injected[i], t.Stats.Touched[i])
	}
	return b.String()
}
