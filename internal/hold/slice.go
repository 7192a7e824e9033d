package hold

import (
	"slices"
	"strings"

	"github.com/parti-go/parti/plan"
)

// A mandate is what the own slice says, and how it compares with what else was seen.
type mandate struct {
	applied plan.Version // of the slice that is acted on; 0: none yet
	highest plan.Version // of any plan
	token   plan.Version // the highest ever granted here

	releasing []plan.Lease // what the slice asks back; sorted
	done      []plan.Lease // of that, whose handler has said Done; sorted

	coming    []plan.Partition // what is to be announced
	announced []string         // what has been, and is still coming; sorted
	ahead     []string         // what has been, and is still coming or granted; sorted
	idle      []string         // what is neither any more, and is to be forgotten
}

// sliced obeys a slice.
func (m *Machine) sliced(s plan.Slice) {
	m.highest = max(m.highest, s.Version)
	switch {
	case s.Session != m.cfg.Nonce: // a permission is addressed to one session
		return
	case s.Version < m.applied: // versions compare, across incarnations too
		return
	case m.trust.at(m.now): // the truth, told after trust came back
		m.stale = false
	}
	if s.Version == m.applied {
		return
	}
	m.applied, m.unplanned = s.Version, false
	grants := permitted(s)
	for _, g := range grants {
		m.token = max(m.token, g.Token)
	}
	m.askedBack(s.Releasing)
	m.slots.grant(grants)
	m.announce(s.Coming)
	m.outdate()
}

// permitted is what s lets run, sorted. Of two tokens for a partition the higher
// counts, and what is to be let go is not granted, whatever else s says.
func permitted(s plan.Slice) []plan.Grant {
	grants := slices.Clone(s.Granted)
	slices.SortStableFunc(grants, func(a, b plan.Grant) int {
		if c := strings.Compare(a.ID, b.ID); c != 0 || a.Token == b.Token {
			return c
		}
		if a.Token > b.Token {
			return -1
		}
		return 1
	})
	grants = slices.CompactFunc(grants, func(a, b plan.Grant) bool { return a.ID == b.ID })
	if len(s.Releasing) == 0 {
		return grants
	}
	releasing := make(map[plan.Lease]bool, len(s.Releasing))
	for _, r := range s.Releasing {
		releasing[plan.Lease{Partition: r.ID, Token: r.Token}] = true
	}
	return slices.DeleteFunc(grants, func(g plan.Grant) bool {
		return releasing[plan.Lease{Partition: g.ID, Token: g.Token}]
	})
}

// askedBack keeps the last word of handlers whose leases are asked back: who is done is
// done, though the partition was about to go elsewhere.
func (m *Machine) askedBack(releasing []plan.Release) {
	m.releasing = make([]plan.Lease, 0, len(releasing))
	for _, r := range releasing {
		m.releasing = append(m.releasing, plan.Lease{Partition: r.ID, Token: r.Token})
	}
	slices.SortFunc(m.releasing, plan.Lease.Compare)
	for _, s := range m.slots.all {
		if s.granted && s.rest.final && s.rest.how == Done {
			m.done = append(m.done, s.lease())
		}
	}
	m.done = slices.DeleteFunc(m.done, func(l plan.Lease) bool { return !m.isAskedBack(l) })
	slices.SortFunc(m.done, plan.Lease.Compare)
	m.done = slices.Compact(m.done)
}

func (m *Machine) isAskedBack(l plan.Lease) bool {
	_, ok := slices.BinarySearchFunc(m.releasing, l, plan.Lease.Compare)
	return ok
}

// announce keeps what is coming and has not been announced.
func (m *Machine) announce(coming []plan.Partition) {
	var still []string
	m.coming = nil
	for _, p := range coming {
		if _, ok := slices.BinarySearch(m.announced, p.ID); ok {
			still = append(still, p.ID)
			continue
		}
		m.coming = append(m.coming, p)
	}
	slices.Sort(still)
	slices.SortFunc(m.coming, func(a, b plan.Partition) int { return strings.Compare(a.ID, b.ID) })
	m.announced = still
}

// prepare hands out what is to be announced, where it may be started soon.
func (m *Machine) prepare(rd *Ready) {
	if len(m.coming) == 0 || !m.mayStart() {
		return
	}
	rd.Prepare, m.coming = m.coming, nil
	for _, p := range rd.Prepare {
		m.announced = append(m.announced, p.ID)
	}
	slices.Sort(m.announced)
	m.ahead = append(m.ahead, m.announced...)
	slices.Sort(m.ahead)
	m.ahead = slices.Compact(m.ahead)
}

// outdate notes what was announced and is neither coming nor granted any more.
func (m *Machine) outdate() {
	m.ahead = slices.DeleteFunc(m.ahead, func(id string) bool {
		_, coming := slices.BinarySearch(m.announced, id)
		s := m.slots.at(id)
		if coming || s != nil && s.granted {
			return false
		}
		m.idle = append(m.idle, id)
		return true
	})
}

// forget hands out what need not be prepared any more: all of it, at the end.
func (m *Machine) forget(rd *Ready) {
	if m.lost || m.leaving {
		m.idle, m.ahead = append(m.idle, m.ahead...), nil
	}
	slices.Sort(m.idle)
	rd.Forget, m.idle = m.idle, nil
}
