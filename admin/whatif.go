package admin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// A WhatIf is what might be different. With nothing in it, the group is as it is, and
// [Group.Plan] says what evening out now would do.
type WhatIf struct {
	// Without are worker IDs that would be lost.
	Without []string
	// Add are workers that would join. An ID that is there already is refused.
	Add []plan.Worker
	// With is how many more workers would join that are like most of those that are there.
	With int
	// Partitions replaces the list of partitions, weights included, when not nil. By
	// default it is what the plan names: what has no owner is in no record.
	Partitions []plan.Partition
	// Reweigh gives partitions other weights, by ID.
	Reweigh map[string]int64
}

// An Outcome is what the leader would do.
type Outcome struct {
	Schema   int    `json:"schema"`
	Sentence string `json:"sentence"`
	// Moves are the partitions that would have another owner in the end, sorted; From is
	// empty where there was none, To where there would be none.
	Moves []Relocation `json:"moves,omitempty"`
	// Weight is that of the moves. Of these, Forced are those that lose their owner.
	Weight int64 `json:"weight"`
	Forced int   `json:"forced"`
	// Loads are before and after, by worker.
	Loads []LoadChange `json:"loads"`
	// Plans are the decisions on the way, as they would stand in the log.
	Plans []plan.Decision `json:"plans,omitempty"`
	// Unassigned would have no owner.
	Unassigned []string `json:"unassigned,omitempty"`
	// Unknown is how many partitions run nowhere now and were not looked at, since no record
	// names them: give the whole list, as WhatIf.Partitions, to have them looked at.
	Unknown int `json:"unknown,omitempty"`
	// Alerts are what the leader would say of it.
	Alerts []string `json:"alerts,omitempty"`
}

// A Relocation is a partition that would have another owner.
type Relocation struct {
	Partition string   `json:"partition"`
	From      string   `json:"from,omitempty"`
	To        string   `json:"to,omitempty"`
	Weight    int64    `json:"weight"`
	Why       plan.Why `json:"why"`
}

// A LoadChange is what one worker has and would have.
type LoadChange struct {
	Worker           string `json:"worker"`
	Before           int64  `json:"before"`            // weight
	After            int64  `json:"after"`             // weight
	PartitionsBefore int    `json:"partitions_before"` // how many
	PartitionsAfter  int    `json:"partitions_after"`
	Gone             bool   `json:"gone,omitempty"`
	New              bool   `json:"new,omitempty"`
}

// Plan says what the group's leader would do if something were different: it is the
// leader's own brain that decides, on what is in the bucket now, in a rehearsal in which
// everybody obeys at once and windows do not wait. Nothing is written.
//
// Two things the bucket does not tell: the strategy, see [WithStrategy], and partitions
// that have no owner, see [WhatIf].
func (g *Group) Plan(ctx context.Context, w WhatIf) (Outcome, error) {
	p, err := g.read(ctx)
	if err != nil {
		return Outcome{}, err
	}
	return g.rehearse(ctx, p, w)
}

func (g *Group) rehearse(ctx context.Context, p *picture, w WhatIf) (Outcome, error) {
	r, err := newRehearsal(g, p, w)
	if err != nil {
		return Outcome{}, err
	}
	if err := r.run(ctx); err != nil {
		return Outcome{}, err
	}
	return r.outcome(), nil
}

// Windows of a rehearsal are short, and so is it: what waits for longer, such as a
// quarantine, is not over by its end.
const (
	rehearsalWindow  = time.Millisecond
	rehearsalHorizon = 10 * time.Second
	rehearsalSteps   = 100_000
	rehearsalNever   = 1000 * time.Hour
)

// A rehearsal is a group in which everybody obeys at once.
type rehearsal struct {
	p        *picture
	w        WhatIf
	start    time.Time
	now      time.Time
	brain    *lead.Machine
	sessions map[string]roster.Session
	slices   map[string]plan.Slice
	rev      kv.Rev
	parts    []plan.Partition
	plans    []plan.Decision
	alerts   map[string]string
	added    map[string]bool
}

func newRehearsal(g *Group, p *picture, w WhatIf) (*rehearsal, error) {
	r := &rehearsal{
		p: p, w: w, start: g.now(), now: g.now(), sessions: map[string]roster.Session{}, slices: maps.Clone(p.slices),
		alerts: map[string]string{}, added: map[string]bool{},
	}
	for _, rev := range p.revs {
		r.rev = max(r.rev, rev)
	}
	if err := r.people(); err != nil {
		return nil, err
	}
	if err := r.list(); err != nil {
		return nil, err
	}
	found := lead.Found{
		Incarnation: p.head.Version.Incarnation(), Highest: p.head.Version, Plan: p.planned, Head: p.head,
		Slices: slices.SortedFunc(maps.Values(p.slices), func(a, b plan.Slice) int { return strings.Compare(a.Worker, b.Worker) }),
		Aside:  p.aside,
	}
	r.brain = lead.New(lead.Config{
		Worker: "rehearsal", Nonce: "rehearsal", Strategy: g.strategy,
		Settle: rehearsalWindow, ColdStart: rehearsalWindow, Scale: rehearsalWindow, Cooldown: rehearsalWindow,
		StuckAfter: rehearsalNever, MaxBatch: 1 << 30,
		Roster: roster.Config{
			Heartbeat: rehearsalNever, ProbeInterval: rehearsalNever, ProbeAgain: rehearsalNever, LostAfter: rehearsalNever,
			EmergencyGrace: rehearsalNever, RecoveryGrace: rehearsalWindow, TTL: rehearsalNever,
		},
	}, found, r.now)
	return r, nil
}

// people are the sessions: those that are there, without those that would be lost, and
// those that would join.
func (r *rehearsal) people() error {
	ids := r.p.workerIDs()
	for id, s := range r.p.sessions {
		if slice := r.slices[id]; slice.Session == s.Nonce {
			s.Applied, s.Draining = slice.Version, nil // whoever is asked to let go has done so
		}
		r.sessions[id] = s
	}
	for _, id := range r.w.Without {
		if !slices.Contains(ids, id) {
			return notFound("worker", id, ids)
		}
		if _, ok := r.sessions[id]; !ok { // its key is gone, and its slice stands
			slice := r.p.slices[id]
			r.sessions[id] = roster.Session{Worker: id, Nonce: slice.Session, TTL: slice.TTL, Fenced: slice.Fenced, Owns: true}
		}
	}
	join := slices.Clone(r.w.Add)
	for n := range r.w.With {
		x := r.usual()
		x.ID = fmt.Sprintf("new-%d", n+1)
		join = append(join, x)
	}
	for _, x := range join {
		switch {
		case x.ID == "":
			return &RefusedError{What: "add a worker", Why: "it has no ID", Try: "a name that no worker has"}
		case x.Share < 0 || x.Capacity < 0:
			return &RefusedError{What: "add " + x.ID, Why: "its share or capacity is negative", Try: "0 for the usual"}
		}
		if s, ok := r.sessions[x.ID]; ok && !ended(s) {
			return &RefusedError{What: "add " + x.ID, Why: "there is a worker of that ID", Try: "another name"}
		}
		r.added[x.ID] = true
		r.sessions[x.ID] = roster.Session{
			Worker: x.ID, Nonce: "rehearsal of " + x.ID, TTL: plan.ToMillis(time.Minute), Owns: true,
			Share: x.Share, Capacity: x.Capacity, Zone: x.Zone, Labels: x.Labels,
		}
	}
	return nil
}

// usual is a worker like most of those that are there.
func (r *rehearsal) usual() plan.Worker {
	type kind struct{ share, capacity int64 }
	count := map[kind]int{}
	var best kind
	for _, id := range slices.Sorted(maps.Keys(r.p.sessions)) {
		s := r.p.sessions[id]
		if ended(s) || !s.Owns {
			continue
		}
		k := kind{s.Share, s.Capacity}
		if count[k]++; count[k] > count[best] {
			best = k
		}
	}
	return plan.Worker{Share: best.share, Capacity: best.capacity}
}

// list is what the source would list.
func (r *rehearsal) list() error {
	r.parts = slices.Clone(r.w.Partitions)
	if r.w.Partitions == nil {
		for _, x := range r.p.partitions(nil) {
			if x.State != Stopping {
				r.parts = append(r.parts, plan.Partition{ID: x.ID, Weight: x.Weight, Labels: x.Labels})
			}
		}
	}
	slices.SortFunc(r.parts, func(a, b plan.Partition) int { return strings.Compare(a.ID, b.ID) })
	ids := make([]string, len(r.parts))
	at := map[string]int{}
	for i, x := range r.parts {
		ids[i], at[x.ID] = x.ID, i
	}
	for id, weight := range r.w.Reweigh {
		i, ok := at[id]
		if !ok {
			return notFound("partition", id, ids)
		}
		r.parts[i].Weight = weight
	}
	return plan.ValidPartitions(r.parts)
}

// run lets the brain do all that it wants.
//
// It begins with the group as it is, and when the term has begun what would be different
// comes about: a loss is then one, and not how the group was found.
func (r *rehearsal) run(ctx context.Context) error {
	step := func(f lead.Fact) { r.brain.Step(r.now, f) }
	saw := func(s roster.Session) {
		r.rev++
		step(lead.Saw{Session: s, Rev: r.rev})
	}
	for _, id := range slices.Sorted(maps.Keys(r.sessions)) {
		if !r.added[id] {
			saw(r.sessions[id])
		}
	}
	step(lead.Controlled{Controls: r.p.controls})
	step(lead.Synced{})
	listed, asked, changed := false, false, false
	for range rehearsalSteps {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rd := r.brain.Ready()
		if rd.List {
			step(lead.Listed{Partitions: r.parts}) // a list that halves the group is asked for twice
			listed = true
		}
		for _, a := range rd.Alerts {
			if r.alerts[a.About] = a.Text; a.Text == "" {
				delete(r.alerts, a.About)
			}
		}
		switch {
		case rd.Commit != nil:
			r.commit(rd.Commit)
		case r.brain.Took() && !changed:
			changed = true
			for _, id := range r.w.Without {
				s := r.sessions[id]
				s.Tombstone = &roster.Tombstone{By: "rehearsal", Why: "what if it were lost"}
				r.sessions[id] = s
				saw(s)
			}
			for _, id := range slices.Sorted(maps.Keys(r.added)) {
				saw(r.sessions[id])
			}
		case listed && !asked:
			asked = true
			if r.asIs() {
				step(lead.Controlled{Controls: append(slices.Clone(r.p.controls), plan.Control{Kind: plan.Rebalance, Number: "rehearsal"})})
			}
		case rd.WakeAt.IsZero() || rd.WakeAt.Sub(r.start) > rehearsalHorizon:
			return nil
		default:
			r.now = r.now.Add(max(rd.WakeAt.Sub(r.now), time.Microsecond))
			step(lead.Tick{})
		}
	}
	return fmt.Errorf("the rehearsal has not come to rest in %d steps: the strategy may never be content", rehearsalSteps)
}

// asIs says that nothing would be different.
func (r *rehearsal) asIs() bool {
	return len(r.w.Without)+len(r.added)+len(r.w.Reweigh) == 0 && r.w.Partitions == nil
}

// commit makes it so, and everybody says that it is.
func (r *rehearsal) commit(c *lead.Commit) {
	if c.Decision != nil && len(c.Decision.Moves) > 0 {
		r.plans = append(r.plans, *c.Decision)
	}
	r.brain.Step(r.now, lead.Committed{Version: c.Head.Version})
	for _, id := range c.Removed {
		delete(r.slices, id)
	}
	for _, s := range c.Slices {
		r.slices[s.Worker] = s
		x, ok := r.sessions[s.Worker]
		if !ok || x.Nonce != s.Session || ended(x) {
			continue
		}
		x.Applied, x.Draining = s.Version, nil
		granted := func(l plan.Lease) bool {
			return slices.ContainsFunc(s.Granted, func(g plan.Grant) bool { return g.ID == l.Partition && g.Token == l.Token })
		}
		for _, list := range []*[]plan.Lease{&x.Done, &x.Rejected, &x.GivenUp} {
			*list = slices.DeleteFunc(slices.Clone(*list), func(l plan.Lease) bool { return !granted(l) })
		}
		r.sessions[s.Worker] = x
		r.rev++
		r.brain.Step(r.now, lead.Saw{Session: x, Rev: r.rev})
	}
}

// outcome compares the end with the beginning.
func (r *rehearsal) outcome() Outcome {
	o := Outcome{Schema: Schema, Plans: r.plans}
	after := &picture{slices: r.slices}
	was, is := byID(r.p.partitions(nil)), byID(after.partitions(nil))
	why := map[string]plan.Why{}
	for _, d := range r.plans {
		for _, m := range d.Moves {
			if m.Why != plan.WhyReceipt {
				why[m.Partition] = m.Why
			}
		}
	}
	weight := map[string]int64{}
	for _, x := range r.parts {
		weight[x.ID] = x.Load()
	}
	loads := map[string]*LoadChange{}
	load := func(id string) *LoadChange {
		if loads[id] == nil {
			loads[id] = &LoadChange{Worker: id, New: r.added[id], Gone: slices.Contains(r.w.Without, id)}
		}
		return loads[id]
	}
	for id, s := range r.sessions {
		if (!ended(s) || slices.Contains(r.w.Without, id)) && s.Owns {
			load(id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(merged(was, is))) {
		a, b := was[id], is[id]
		if a.Owner != "" {
			load(a.Owner).Before += a.Weight
			load(a.Owner).PartitionsBefore++
		}
		if b.Owner != "" {
			load(b.Owner).After += b.Weight
			load(b.Owner).PartitionsAfter++
		}
		if _, listed := weight[id]; listed && b.Owner == "" && a.State != Quarantined && a.State != Done {
			o.Unassigned = append(o.Unassigned, id)
		}
		if a.Owner == b.Owner {
			continue
		}
		w := max(a.Weight, b.Weight)
		o.Moves = append(o.Moves, Relocation{Partition: id, From: a.Owner, To: b.Owner, Weight: w, Why: why[id]})
		o.Weight += w
		if slices.Contains(r.w.Without, a.Owner) {
			o.Forced++
		}
	}
	for _, x := range r.parts { // in no record before, and in none after
		if _, known := was[x.ID]; !known && is[x.ID].Owner == "" {
			o.Unassigned = append(o.Unassigned, x.ID)
		}
	}
	slices.Sort(o.Unassigned)
	o.Unassigned = slices.Compact(o.Unassigned)
	for _, id := range slices.SortedFunc(maps.Keys(loads), natural) {
		o.Loads = append(o.Loads, *loads[id])
	}
	for _, about := range slices.Sorted(maps.Keys(r.alerts)) {
		o.Alerts = append(o.Alerts, r.alerts[about])
	}
	o.Sentence = o.sentence(len(r.parts))
	if n := r.p.head.Unassigned; n > 0 && r.w.Partitions == nil {
		o.Unknown = n
		o.Sentence += fmt.Sprintf(" Not looked at: %s that run nowhere now, since no record names them.", counted(n))
	}
	return o
}

func byID(all []Partition) map[string]Partition {
	m := make(map[string]Partition, len(all))
	for _, x := range all {
		m[x.ID] = x
	}
	return m
}

func merged(a, b map[string]Partition) map[string]Partition {
	m := maps.Clone(a)
	maps.Copy(m, b)
	return m
}

func (o *Outcome) sentence(all int) string {
	var text string
	switch n := len(o.Moves); {
	case n == 0:
		text = fmt.Sprintf("Nothing of %s would move.", counted(all))
	case o.Forced == n:
		text = fmt.Sprintf("%s of %s would move, just what loses its owner.", number(n), counted(all))
	case o.Forced > 0:
		text = fmt.Sprintf("%s of %s would move: %s lose their owner, %s for evenness.", number(n), counted(all), number(o.Forced), number(n-o.Forced))
	default:
		text = fmt.Sprintf("%s of %s would move.", number(n), counted(all))
	}
	if n := len(o.Unassigned); n > 0 {
		text += fmt.Sprintf(" %s would run nowhere.", counted(n))
	}
	return text
}
