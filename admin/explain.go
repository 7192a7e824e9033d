package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/plan"
)

// An Explanation says why a partition is where it is.
type Explanation struct {
	Schema   int    `json:"schema"`
	Sentence string `json:"sentence"`

	Partition Partition `json:"partition"`
	// Since is when its owner was granted it; zero when the decision is not in the log any
	// more.
	Since time.Time `json:"since,omitzero"`
	// Granted is the decision that granted it, Asked the one that asked its owner to let
	// go, while it moves; nil when the log does not have them any more.
	Granted *plan.Decision `json:"granted,omitempty"`
	Asked   *plan.Decision `json:"asked,omitempty"`
	// Last is its last move from one worker to another, as far back as the log goes.
	Last *LastMove `json:"last,omitempty"`
	// Next says what would move it, in sentences: first what is under way or demanded, then
	// what would come of a loss of its owner, and of evening out.
	Next []string `json:"next"`
}

// LastMove is a move that was made.
type LastMove struct {
	From    string       `json:"from,omitempty"`
	To      string       `json:"to"`
	At      time.Time    `json:"at"`
	Version plan.Version `json:"version"`
	Why     plan.Why     `json:"why"`
	// About is what had triggered the plan, such as "worker-3 is lost".
	About string `json:"about,omitempty"`
}

// Explain says who has a partition, since when and why, and what would move it next. A
// [NotFoundError] names the nearest partition.
func (g *Group) Explain(ctx context.Context, partition string) (Explanation, error) {
	pic, err := g.read(ctx)
	if err != nil {
		return Explanation{}, err
	}
	s := g.snapshot(pic, g.ask(ctx, pic))
	p, err := s.Partition(partition)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Schema: Schema, Partition: p}
	if p.Token != 0 {
		if e.Granted, err = g.decision(ctx, p.Token); err != nil {
			return e, err
		}
	}
	if p.Since != 0 {
		if e.Asked, err = g.decision(ctx, p.Since); err != nil {
			return e, err
		}
	}
	if e.Granted != nil {
		e.Since = e.Granted.At
		if e.Last, err = g.lastMove(ctx, partition, e.Granted); err != nil {
			return e, err
		}
	}
	e.Next = g.next(ctx, pic, &s, p)
	e.Sentence = e.sentence(s.At, gone(&s, p.Owner))
	if p.State == Unassigned {
		e.Sentence += obstacle(&s)
	}
	return e, nil
}

// lastMove is how it came to its owner. A grant follows on the plan that asked the owner
// before to let go, and that one says why; where there is none since it was granted to that
// owner, that one stopped, or was lost.
func (g *Group) lastMove(ctx context.Context, partition string, granted *plan.Decision) (*LastMove, error) {
	m, ok := moveOf(granted, partition, plan.Granted, plan.Adopted)
	if !ok {
		return nil, nil //nolint:nilnil // it is among the moves that the record has no room for
	}
	last := &LastMove{From: m.From, To: m.To, At: granted.At, Version: granted.Version, Why: m.Why, About: granted.About}
	if granted.Why != plan.WhyReceipt && granted.Why == m.Why { // or that plan was about others
		return last, nil
	}
	const back = 64 // plans between the wish and the grant
	ds, err := g.decisions(ctx, granted.Version-1, min(back, int(granted.Version.Number())-1))
	if err != nil {
		return nil, err
	}
	for _, d := range ds {
		if d == nil {
			continue
		}
		m, ok := moveOf(d, partition, plan.Revoked, plan.Granted, plan.Adopted)
		if !ok {
			continue
		}
		if m.Step == plan.Revoked {
			last.About, last.From = d.About, m.From
			if last.Why == plan.WhyReceipt {
				last.Why = m.Why
			}
		}
		break
	}
	return last, nil
}

func moveOf(d *plan.Decision, partition string, steps ...plan.Step) (plan.Move, bool) {
	for _, m := range d.Moves {
		if m.Partition == partition && slices.Contains(steps, m.Step) {
			return m, true
		}
	}
	return plan.Move{}, false
}

// gone says why a worker is, or is empty where it is not.
func gone(s *Snapshot, worker string) string {
	if w, err := s.Worker(worker); err == nil && w.State == stateEnded {
		return w.Why
	}
	return ""
}

// sentence says where it is, and why. Its owner may be gone, for that reason.
func (e *Explanation) sentence(now time.Time, gone string) string {
	p := &e.Partition
	var b strings.Builder
	switch p.State {
	case Quarantined:
		return fmt.Sprintf("%s is quarantined for %s, for the %s time: %s crashed with it.", p.ID, Duration(p.For.Duration()), ordinal(p.Times), strings.Join(p.Owners, ", "))
	case Unassigned:
		return p.ID + " has no owner."
	case Done:
		return p.ID + " is done: its handler said so, and it runs again once the source has left it out and lists it anew."
	case Moving:
		fmt.Fprintf(&b, "%s moves from %s to %s, because %s; %s has not let go yet", p.ID, p.Owner, p.Next, Reason(p.Why), p.Owner)
		if e.Asked != nil {
			fmt.Fprintf(&b, ", after %s", Duration(now.Sub(e.Asked.At)))
		}
		return b.String() + "."
	case Stopping:
		return fmt.Sprintf("%s stops on %s, because %s; %s has not let go yet.", p.ID, p.Owner, Reason(p.Why), p.Owner)
	}
	if gone != "" {
		return fmt.Sprintf("%s still stands in the name of %s, which is gone: %s.", p.ID, p.Owner, gone)
	}
	fmt.Fprintf(&b, "%s is on %s", p.ID, p.Owner)
	if !e.Since.IsZero() {
		fmt.Fprintf(&b, " since %s (%s)", e.Since.UTC().Format(time.DateTime), Duration(now.Sub(e.Since)))
	}
	if l := e.Last; l != nil && l.From != "" && l.From != l.To {
		fmt.Fprintf(&b, "; it came from %s because %s", l.From, Reason(l.Why))
	} else {
		fmt.Fprintf(&b, ", because %s", Reason(p.Why))
	}
	if l := e.Last; l != nil && l.About != "" && !strings.Contains(Reason(l.Why), l.About) { // it says more
		fmt.Fprintf(&b, " (%s)", l.About)
	}
	return b.String() + "."
}

// obstacle says why partitions have no owner: what the leader has said of it, or else what
// it waits for.
func obstacle(s *Snapshot) string {
	for _, a := range s.Alerts {
		if a.Leader && a.About == "unassigned" {
			return " Of all that have none the leader says: " + a.Text + "."
		}
	}
	if text := first(s, ""); text != "" {
		return " " + text
	}
	return ""
}

func ordinal(n int) string {
	switch {
	case n%100/10 == 1:
	case n%10 == 1:
		return fmt.Sprintf("%dst", n)
	case n%10 == 2:
		return fmt.Sprintf("%dnd", n)
	case n%10 == 3:
		return fmt.Sprintf("%drd", n)
	}
	return fmt.Sprintf("%dth", n)
}

// next says what would move it.
func (g *Group) next(ctx context.Context, pic *picture, s *Snapshot, p Partition) (all []string) {
	say := func(format string, a ...any) { all = append(all, fmt.Sprintf(format, a...)) }
	if p.State == Quarantined {
		say("It is let in again when its quarantine is over, when an operator lifts it, or when a worker of another software version joins.")
		return all
	}
	if p.State == Done {
		return nil
	}
	if p.State == Unassigned {
		if p.Pinned != "" {
			say("It is pinned to %s, and goes there once that worker is there and takes it.", p.Pinned)
		}
		for _, b := range p.Banned {
			say("It is banned from %s.", b)
		}
		say("It goes to the first worker that takes it and has room.")
		return all
	}
	owner, err := s.Worker(p.Owner)
	if err != nil {
		return nil
	}
	switch {
	case p.State == Moving:
		say("It is on its way to %s: granted there as soon as %s has let go.", p.Next, p.Owner)
	case p.State == Stopping:
		say("It is granted to nobody when %s has let go.", p.Owner)
	case p.Pinned == p.Owner:
		say("It is pinned to %s: nothing moves it while that worker is there.", p.Owner)
	case p.Pinned != "":
		say("It is pinned to %s, and moves there once that worker is there and takes it.", p.Pinned)
	}
	if owner.Drained {
		say("%s is drained: it leaves as soon as somebody else can take it.", p.Owner)
	}
	for _, b := range p.Banned {
		say("It is banned from %s.", b)
	}
	if s.paused() {
		say("The group is paused: nothing moves for evenness.")
	}
	if p.State != Owned {
		if owner.State == stateEnded {
			say("%s is gone: %s.", p.Owner, owner.Why)
		}
		return all
	}
	if owner.State == stateLeaving {
		say("%s stops: it goes elsewhere when it is let go of there, or, where a successor is waited for, when RestartGrace is over.", p.Owner)
		return all
	}
	heir := g.heir(ctx, pic, p)
	switch {
	case owner.State == stateEnded && heir != "":
		say("Without %s it goes to %s.", p.Owner, heir)
	case owner.State == stateEnded:
		say("It goes to the first worker that takes it and has room.")
	case heir != "":
		say("If %s were lost, it would go to %s.", p.Owner, heir)
	default:
		say("If %s were lost, it would run nowhere.", p.Owner)
	}
	if owner.State == stateEnded { // it has no load that could be evened out
		return all
	}
	if o, err := g.rehearse(ctx, pic, WhatIf{}); err == nil {
		if m, ok := relocation(&o, p.ID); ok {
			say("Evening out now would move it to %s, because %s.", m.To, Reason(m.Why))
		} else {
			say("Evening out now would leave it where it is: %s has %s of its fair share.", p.Owner, percent(owner.Load))
		}
	}
	return all
}

// heir is where a partition would go without its owner, or empty.
func (g *Group) heir(ctx context.Context, pic *picture, p Partition) string {
	o, err := g.rehearse(ctx, pic, WhatIf{Without: []string{p.Owner}})
	if err != nil {
		return ""
	}
	m, _ := relocation(&o, p.ID)
	return m.To
}

func relocation(o *Outcome, partition string) (Relocation, bool) {
	for _, m := range o.Moves {
		if m.Partition == partition {
			return m, true
		}
	}
	return Relocation{}, false
}

// percent writes thousandths.
func percent(thousandths int64) string { return fmt.Sprintf("%d %%", (thousandths+5)/10) }
