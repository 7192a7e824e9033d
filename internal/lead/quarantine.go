package lead

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parti-go/parti/plan"
)

// A partition whose owners keep crashing is quarantined, so that one poisonous
// partition cannot take a fleet down: crashes of so many different owners, or so many of
// fewer, each within blameFor of its grant and each time among the owner's newest grants.
// Where workers are lost for other reasons all the time, that happens to any partition: so
// these must be one in blameShare of all losses of the group meanwhile, or very many.
const (
	blameOwners    = 3
	blameCrashes   = 5
	blameShare     = 2
	blameAnyhow    = 10
	blameFor       = 5 * time.Minute
	quarantineOnce = time.Minute // the first time; each lasts twice as long as the one before
	quarantineMost = time.Hour
	quarantinePart = 100 // at most one in so many partitions
)

// blame notes that p's owner is lost, if p was among the newest that it had been
// granted: what it has had for long did not kill it.
func (m *Machine) blame(p *part, newest plan.Version) {
	if p.state != granted || p.token < newest || p.token.Incarnation() == 0 {
		return
	}
	a, tried := m.asides[p.ID]
	trial := tried && a.Times > 0 // it counts from its beginning
	if p.crashed = slices.Clone(m.blamed(p)); len(p.crashed) == 0 && !trial {
		p.calm = m.losses - 1 // without this one
	}
	p.crashed = append(p.crashed, m.members[p.owner].id)
	p.crashed = p.crashed[max(0, len(p.crashed)-blameAnyhow):]
	var owners []string
	for _, id := range p.crashed {
		if !slices.Contains(owners, id) {
			owners = append(owners, id)
		}
	}
	switch {
	case !trial && len(owners) < blameOwners && len(p.crashed) < blameCrashes:
		return
	case len(p.crashed) < blameAnyhow && blameShare*len(p.crashed) < m.losses-p.calm:
		return
	}
	quarantined := 0
	for _, a := range m.asides {
		if a.Why == plan.WhyQuarantine && a.For > 0 {
			quarantined++
		}
	}
	if quarantined >= max(1, len(m.parts)/quarantinePart) {
		return
	}
	a.Partition, a.Why, a.Owners = p.ID, plan.WhyQuarantine, owners
	a.Times++
	a.For = plan.ToMillis(min(quarantineOnce<<min(a.Times-1, 10), quarantineMost))
	for _, y := range m.roster.Members() {
		if v := y.Session.Software; !slices.Contains(a.Software, v) {
			a.Software = append(slices.Clone(a.Software), v)
		}
	}
	if !m.asideFits(a) {
		return
	}
	p.crashed = nil
	m.putAside(p, a)
	m.until[p.ID] = m.now.Add(a.For.Duration())
	m.alertQuarantine(a)
}

func (m *Machine) alertQuarantine(a plan.Aside) {
	m.alerts.set("quarantine "+a.Partition, fmt.Sprintf("%s is quarantined for %v: %s crashed with it", a.Partition, a.For.Duration(), people(a.Owners)))
}

// blamed is for whose crashes p is still blamed: nobody's, once it has run for
// blameFor. A grant carries the names, so that they outlive the leader; the time is
// counted by each leader from when it learned of the grant, as that of a quarantine.
func (m *Machine) blamed(p *part) []string {
	if m.now.Sub(p.at) > blameFor {
		return nil
	}
	return p.crashed
}

// crashes reports whether p is to be given to another worker than w: two have crashed
// with it lately, or one has twice, and w is one of them. Those that have crashed have the
// most room when they are back, so that p would go to and fro between the two, and never
// to a third. Once it runs, it moves for balance like any other.
func (m *Machine) crashes(p *part, w int32) bool {
	if len(p.crashed) < blameOwners-1 {
		return false
	}
	return slices.Contains(m.blamed(p), m.members[w].id)
}

// newest are, by member, the tokens of the last plans that granted each anything.
func (m *Machine) newest() []plan.Version {
	all := make([]plan.Version, len(m.members))
	for i := range m.parts {
		if p := &m.parts[i]; p.state == granted {
			all[p.owner] = max(all[p.owner], p.token)
		}
	}
	return all
}

// asideFits reports whether the one record of all that are kept out can take another.
// Sizes are estimated from above, as those of slices are.
func (m *Machine) asideFits(a plan.Aside) bool {
	return m.cfg.MaxPayload <= 0 || sliceBytes+m.asideBytes+asideSize(a) <= m.cfg.MaxPayload
}

func asideSize(a plan.Aside) int {
	n := entryBytes + quoted(a.Partition)
	for _, words := range [...][]string{a.Owners, a.Software} {
		for _, s := range words {
			n += quoted(s)
		}
	}
	return n
}

func (m *Machine) putAside(p *part, a plan.Aside) {
	if old, ok := m.asides[a.Partition]; ok {
		m.asideBytes -= asideSize(old)
	}
	m.asideBytes += asideSize(a)
	m.asides[a.Partition] = a
	p.aside, p.target, m.asideNew = true, nobody, true
	m.wishes.because(m.now, a.Why, a.Partition)
	m.lookLater()
}

// dropAside forgets that a partition was kept out of the plan, and lets it in again if it is.
func (m *Machine) dropAside(id, about string) {
	m.wishes.because(m.now, m.asides[id].Why, about)
	m.asideBytes -= asideSize(m.asides[id])
	delete(m.asides, id)
	delete(m.until, id)
	m.asideNew = true
	m.readmit(id)
}

// lift ends a quarantine and forgets it.
func (m *Machine) lift(id string) {
	if a, ok := m.asides[id]; ok && a.Why == plan.WhyQuarantine {
		m.dropAside(id, id+" is let in again")
	}
}

func (m *Machine) readmit(id string) {
	m.alerts.set("quarantine "+id, "")
	if i, ok := m.index[id]; ok && m.parts[i].aside {
		p := &m.parts[i]
		p.aside, p.placed, p.why, p.tried, p.calm = false, true, plan.WhyQuarantine, 0, m.losses
		m.dirty = true
	}
}

// probation lets a partition whose quarantine is over try again; when it then runs
// for blameFor, it is forgotten.
func (m *Machine) probation() {
	for _, id := range slices.Sorted(maps.Keys(m.until)) {
		a := m.asides[id]
		if a.Why != plan.WhyQuarantine {
			continue
		}
		switch {
		case m.now.Before(m.until[id]):
			m.by(m.until[id])
		case a.For > 0:
			a.For = 0
			m.asides[id], m.asideNew = a, true
			m.wishes.because(m.now, a.Why, id+" is let in again")
			m.until[id] = m.now.Add(blameFor)
			m.readmit(id)
			m.by(m.until[id])
		default:
			m.dropAside(id, id+" is on trial no more")
		}
	}
}

// isAside reports whether a record keeps its partition out of the plan; one on
// probation does not.
func isAside(a plan.Aside) bool { return a.Why != plan.WhyQuarantine || a.For > 0 }

func (m *Machine) asideList() []plan.Aside {
	list := make([]plan.Aside, 0, len(m.asides))
	for _, id := range slices.Sorted(maps.Keys(m.asides)) {
		list = append(list, m.asides[id])
	}
	return list
}
