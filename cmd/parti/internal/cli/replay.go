package cli

import (
	"slices"
	"time"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/sim"
	"github.com/parti-go/parti/plan"
)

// A replay makes a scenario of what the log of decisions tells: who was there, who was
// lost, left and joined, and what operators wanted. It is as much as moves tell: a worker
// that never had anything is not in them.
type replay struct {
	sc     *sim.Scenario
	index  map[string]int  // of hosts, by worker ID
	there  map[string]bool // who is, so far
	seen   map[string]bool // partitions
	at     time.Duration
	last   time.Time
	term   uint64
	events int
}

const (
	// replayStart is when the first event happens: the fleet has settled by then.
	replayStart = time.Minute
	// replayGap is the longest time between two of them. Longer ones are cut down to it,
	// since nothing waits for so long.
	replayGap = 2 * time.Minute
	// replayQuiet is how long the fleet is watched at the end.
	replayQuiet = 2 * time.Minute
	// replayMost is how many partitions a simulation takes; of more, it takes a sample.
	replayMost = 1000
)

// replayed is the scenario of a group and its decisions, oldest first, and how many
// events these tell of.
func replayed(now admin.Snapshot, decisions []plan.Decision) (*sim.Scenario, int) {
	r := &replay{
		sc:    &sim.Scenario{Settings: sim.DefaultSettings(), Quiet: replayQuiet, Weights: weights(now)},
		index: map[string]int{}, there: map[string]bool{}, seen: map[string]bool{}, at: replayStart,
	}
	for i := range decisions {
		r.decision(&decisions[i], i == 0)
	}
	for _, w := range now.Workers {
		if !w.Owns {
			continue
		}
		if _, known := r.index[w.ID]; !known {
			r.host(w.ID, 0)
		}
		h := &r.sc.Hosts[r.index[w.ID]]
		h.Share, h.Capacity, h.TTL, h.Fence = w.Share, w.Capacity, w.TTL.Duration(), w.Isolation == "fence"
	}
	r.sc.Run = r.at + replayGap
	return r.sc, r.events
}

// weights are those of the partitions, or of every so manieth where there are too many.
func weights(now admin.Snapshot) []int64 {
	all := make([]int64, 0, len(now.Partitions)+now.Counts.Unassigned)
	for _, p := range now.Partitions {
		all = append(all, p.Weight)
	}
	for range now.Unnamed() {
		all = append(all, 1)
	}
	step := (len(all) + replayMost - 1) / replayMost
	if step < 2 {
		return all
	}
	var some []int64
	for i := 0; i < len(all); i += step {
		some = append(some, all[i])
	}
	return some
}

// host adds a host: one that is there from the beginning, or, where start is below 0,
// from when a fault says so.
func (r *replay) host(id string, start time.Duration) int {
	i := len(r.sc.Hosts)
	r.index[id] = i
	r.there[id] = start >= 0
	r.sc.Hosts = append(r.sc.Hosts, sim.Host{Start: start})
	return i
}

func (r *replay) fault(f sim.Fault) {
	f.At = r.at
	r.events++
	r.sc.Faults = append(r.sc.Faults, f)
}

func (r *replay) decision(d *plan.Decision, first bool) {
	if !first {
		r.at += min(max(d.At.Sub(r.last).Round(time.Millisecond), 0), replayGap)
		if d.Term != r.term && !slices.Contains([]plan.Why{plan.WhyLost, plan.WhyLeaving}, d.Why) {
			r.fault(sim.Fault{Kind: sim.CtlStepDown})
		}
	}
	r.last, r.term = d.At, d.Term
	drained, gets := map[string]bool{}, map[string]bool{}
	for _, m := range d.Moves {
		gets[m.To] = true
	}
	added := 0
	for _, m := range d.Moves {
		if m.From != "" {
			r.from(m, drained, gets)
		}
		if m.To != "" {
			r.to(m.To, d.Why, first)
		}
		if !r.seen[m.Partition] && m.From == "" && m.Step == plan.Granted {
			added++
		}
		r.seen[m.Partition] = true
	}
	switch {
	case d.Why == plan.WhyPartitions && added > 0:
		r.fault(sim.Fault{Kind: sim.Add, N: added})
	case d.Why == plan.WhyWeights:
		r.fault(sim.Fault{Kind: sim.Reweigh})
	case d.Why == plan.WhyRebalance:
		r.fault(sim.Fault{Kind: sim.CtlRebalance})
	}
}

// from is a worker that had something. One that gets something in the same plan is not
// gone: what was on its way to the one that is gone comes back.
func (r *replay) from(m plan.Move, drained, gets map[string]bool) {
	i, known := r.index[m.From]
	if !known {
		i = r.host(m.From, 0)
	}
	switch {
	case m.Why == plan.WhyLost && r.there[m.From] && !gets[m.From]:
		r.there[m.From] = false
		r.fault(sim.Fault{Kind: sim.Crash, Who: []int{i}})
	case m.Why == plan.WhyLeaving && r.there[m.From] && !gets[m.From]:
		r.there[m.From] = false
		r.fault(sim.Fault{Kind: sim.Stop, Who: []int{i}})
	case m.Why == plan.WhyDrain && m.Step == plan.Revoked && !drained[m.From]:
		drained[m.From] = true
		r.fault(sim.Fault{Kind: sim.CtlDrain, Who: []int{i}, For: replayGap})
	}
}

// to is a worker that gets something.
func (r *replay) to(id string, why plan.Why, first bool) {
	i, known := r.index[id]
	joined := why == plan.WhyJoined || why == plan.WhyReplaced
	switch {
	case !known && (first || !joined):
		r.host(id, 0)
	case !known:
		i = r.host(id, -1)
		r.there[id] = true
		r.fault(sim.Fault{Kind: sim.Start, Who: []int{i}})
	case !r.there[id]:
		r.there[id] = true
		r.fault(sim.Fault{Kind: sim.Start, Who: []int{i}})
	}
}
