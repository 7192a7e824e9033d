package lead

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/plan"
)

// A source that fails is asked again after retryLeast, doubling up to retryMost.
const (
	retryLeast = time.Second
	retryMost  = 30 * time.Second
)

// listing is when to ask the source, and what it said that is not believed yet.
type listing struct {
	asked bool // an answer is outstanding
	again bool // asked for while one was outstanding
	due   time.Time
	wait  time.Duration
	once  bool // a listing was taken in this term

	doubted []plan.Partition // it drops more than half; believed when a second one agrees
	inDoubt bool             // there is such a one; it may be empty
}

// ask makes the source be listed as soon as it can be.
func (l *listing) ask(now time.Time) {
	if l.asked {
		l.again = true
		return
	}
	l.soon(now)
}

// soon makes the source be listed now; but a listing in doubt is given its time, since
// two that come together are wrong together.
func (l *listing) soon(now time.Time) {
	if !l.inDoubt || l.due.After(now.Add(retryLeast)) {
		l.due = now
	}
}

// want reports whether the source is to be asked now.
func (l *listing) want(now time.Time) bool {
	if l.asked || now.Before(l.due) {
		return false
	}
	l.asked = true
	return true
}

func (l *listing) answered(now, next time.Time) {
	l.asked, l.due = false, next
	if l.again {
		l.again = false
		l.soon(now)
	}
}

// unlisted leaves everything as it is.
func (m *Machine) unlisted(reason string) {
	l := &m.listing
	l.wait = min(max(2*l.wait, retryLeast), retryMost)
	l.answered(m.now, m.now.Add(l.wait))
	m.alerts.set("source", "the source cannot be listed: "+reason+"; the plan stays as it is")
	m.dirty = true
}

// listed takes what the source says there is.
func (m *Machine) listed(ps []plan.Partition) {
	l := &m.listing
	next := m.now.Add(100 * 365 * 24 * time.Hour)
	if m.cfg.Refresh > 0 {
		next = m.now.Add(m.cfg.Refresh)
	}
	l.wait = 0
	m.dirty = true
	if m.halved(ps) && !(l.inDoubt && slices.EqualFunc(l.doubted, ps, sameID)) { // a listing that drops more than half needs a second that agrees
		l.doubted, l.inDoubt = ps, true
		m.alerts.set("source", fmt.Sprintf("the source lists only %d of %d partitions; it is believed when it says so twice", len(ps), m.known()))
		l.answered(m.now, m.now.Add(retryLeast))
		return
	}
	l.doubted, l.inDoubt = nil, false
	l.answered(m.now, next)
	m.alerts.set("source", "")
	m.take(ps)
	l.once = true
}

func sameID(a, b plan.Partition) bool { return a.ID == b.ID }

func (m *Machine) known() (n int) {
	for i := range m.parts {
		if m.parts[i].listed {
			n++
		}
	}
	return n
}

func (m *Machine) halved(ps []plan.Partition) bool {
	before, kept := 0, 0
	j := 0
	for i := range m.parts {
		if !m.parts[i].listed {
			continue
		}
		before++
		for j < len(ps) && ps[j].ID < m.parts[i].ID {
			j++
		}
		if j < len(ps) && ps[j].ID == m.parts[i].ID {
			kept++
		}
	}
	return before > 0 && 2*kept < before
}

// take merges a listing into the partitions. Both are sorted.
func (m *Machine) take(ps []plan.Partition) {
	var added, removed, changed int
	j := 0
	var fresh []part
	for i := range m.parts {
		p := &m.parts[i]
		for ; j < len(ps) && ps[j].ID < p.ID; j++ {
			fresh = append(fresh, newPart(ps[j], m.now))
		}
		if j < len(ps) && ps[j].ID == p.ID {
			if !p.listed {
				added++
				p.listed = true
			}
			if p.blank && !p.placed && !p.aside {
				m.lookLater() // it waited for this, and perhaps the windows are over in which it would have been placed
			}
			p.blank = false
			if p.Load() != ps[j].Load() || !maps.Equal(p.Labels, ps[j].Labels) {
				changed++
				m.reweigh(p, ps[j])
			}
			j++
		} else if p.listed {
			p.listed = false
			removed++
		}
	}
	for ; j < len(ps); j++ {
		fresh = append(fresh, newPart(ps[j], m.now))
	}
	if added += len(fresh); len(fresh) > 0 {
		m.merge(fresh)
	}
	for _, id := range slices.Sorted(maps.Keys(m.asides)) { // finished until listed anew
		if i, ok := m.index[id]; m.asides[id].Why == plan.WhyDone && (!ok || !m.parts[i].listed) {
			m.dropAside(id, id+" is listed no more")
		}
	}
	for i := range m.parts {
		a, ok := m.asides[m.parts[i].ID]
		m.parts[i].aside = ok && isAside(a)
	}
	m.round++
	switch {
	case added+removed > 0:
		m.wishes.partitions(m.now, fmt.Sprintf("%s added, %d removed", counted(added), removed))
	case changed > 0:
		m.wishes.weights(m.now, counted(changed)+" changed")
	}
}

func newPart(p plan.Partition, now time.Time) part {
	return part{Partition: p, listed: true, owner: nobody, target: nobody, next: nobody, at: now, why: plan.WhyPartitions}
}

func (m *Machine) reweigh(p *part, to plan.Partition) {
	if p.state != free {
		m.carry(p, -1)
		defer m.carry(p, 1)
	}
	p.Weight, p.Labels = to.Weight, to.Labels
}

// prune forgets partitions that are in no slice and that the source does not name.
func (m *Machine) prune() {
	kept := 0
	for i := range m.parts { // each is large: they are looked at where they are
		if p := &m.parts[i]; p.state == free && !p.listed {
			continue
		}
		if kept < i {
			m.parts[kept] = m.parts[i]
		}
		kept++
	}
	if kept == len(m.parts) {
		return
	}
	clear(m.parts[kept:])
	m.parts = m.parts[:kept]
	m.reindex()
}

// people joins names for a sentence, the first few of them.
func people(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}
