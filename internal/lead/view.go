package lead

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parti-go/parti/plan"
)

// A Pending is something that the leader waits for, or is going to do.
type Pending struct {
	Why   plan.Why
	About string
	// Holds is the worker ID that is to let go of something; empty: it waits for something else.
	Holds string
	// Since is when it began to wait, zero where that does not matter; At when it will
	// be done at the latest, zero where no clock decides.
	Since, At time.Time
}

// Controls is what operators want, as this leader has last been told. It is not to be changed.
func (m *Machine) Controls() []plan.Control { return m.controls.all }

// Pending lists all that is pending, for people: what has a time first, in order of time.
func (m *Machine) Pending() []Pending {
	var ps []Pending
	if !m.took || !m.synced {
		return nil
	}
	w := &m.wishes
	if w.adopting {
		ps = append(ps, Pending{Why: plan.WhyRecovered, About: "rebuilding the plan from what workers hold", Since: m.began, At: w.adoptUntil})
	}
	if c := w.cold; c != nil {
		ps = append(ps, m.opened(c, c.about))
	}
	if c := w.planned; c != nil {
		ps = append(ps, m.opened(c, c.about))
	}
	if !w.look.IsZero() && w.planned == nil && w.cold == nil {
		ps = append(ps, Pending{Why: plan.WhyBalance, About: "seeing whether the load is even", At: m.cooled(w.look)})
	}
	if w.retry.After(m.now) {
		ps = append(ps, Pending{Why: plan.WhyRebalance, About: "asking the strategy again", At: w.retry})
	}
	for _, id := range slices.Sorted(maps.Keys(m.until)) {
		if a := m.asides[id]; a.Why == plan.WhyQuarantine && isAside(a) {
			ps = append(ps, Pending{Why: plan.WhyQuarantine, About: "letting " + id + " in again", At: m.until[id]})
		}
	}
	ps = append(ps, m.waiting()...)
	slices.SortStableFunc(ps, func(a, b Pending) int {
		if a.At.IsZero() != b.At.IsZero() {
			if a.At.IsZero() {
				return 1
			}
			return -1
		}
		return a.At.Compare(b.At)
	})
	return ps
}

// Unassigned lists what is listed and has no owner, in the order of IDs, up to so many.
func (m *Machine) Unassigned(most int) (some []plan.Partition) {
	for i := range m.parts {
		if p := &m.parts[i]; p.state == free && p.listed && !p.aside && len(some) < most {
			some = append(some, p.Partition)
		}
	}
	return some
}

func (m *Machine) opened(w *window, about string) Pending {
	p := Pending{Why: w.why, About: about, Since: w.since, At: m.due(w)}
	unlisted := w == m.wishes.cold && !m.listing.once
	switch barred := m.barred(); {
	case unlisted && w.why == plan.WhyFirstPlan:
		p.About += "; the source has not answered yet"
		p.At = time.Time{}
	case m.owners() == 0:
		p.About += "; no worker is there to take anything"
		p.At = time.Time{}
	case w == m.wishes.cold && barred != "":
		p.About += "; " + barred
		p.At = time.Time{}
	case unlisted:
		p.About += "; the source has not answered yet"
		p.At = w.since.Add(m.cfg.ColdStart)
	}
	return p
}

// waiting counts the partitions that wait for somebody: a former owner that has not let
// go, or the successor of one that has stopped.
func (m *Machine) waiting() (ps []Pending) {
	type count struct {
		n     int
		since time.Time
		until time.Time
		why   plan.Why
	}
	letGo, successor := map[int32]*count{}, map[int32]*count{}
	add := func(to map[int32]*count, p *part) {
		c := to[p.owner]
		if c == nil {
			c = &count{since: p.at, why: p.why}
			to[p.owner] = c
		}
		c.n++
		if p.at.Before(c.since) {
			c.since = p.at
		}
		if p.waitUntil.After(c.until) {
			c.until = p.waitUntil
		}
	}
	for i := range m.parts {
		switch p := &m.parts[i]; {
		case p.state == releasing:
			add(letGo, p)
		case p.state == granted && p.waitUntil.After(m.now):
			add(successor, p)
		}
	}
	byID := func(all map[int32]*count) []int32 {
		return slices.SortedFunc(maps.Keys(all), func(a, b int32) int { return cmp.Compare(m.members[a].id, m.members[b].id) })
	}
	for _, w := range byID(letGo) {
		c := letGo[w]
		ps = append(ps, Pending{Why: c.why, About: fmt.Sprintf("%s to let go of %s", m.members[w].id, counted(c.n)), Holds: m.members[w].id, Since: c.since})
	}
	for _, w := range byID(successor) {
		c := successor[w]
		ps = append(ps, Pending{Why: plan.WhyLeaving, About: fmt.Sprintf("a successor of %s for %s", m.members[w].id, counted(c.n)), At: c.until})
	}
	return ps
}

func counted(n int) string {
	if n == 1 {
		return "1 partition"
	}
	return itoa(n) + " partitions"
}
