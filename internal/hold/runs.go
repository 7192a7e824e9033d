package hold

import (
	"fmt"
	"slices"
	"time"

	"github.com/parti-go/parti/plan"
)

// stop hands out whose contexts end.
func (m *Machine) stop(rd *Ready) {
	all, why := m.demand()
	polite := 0 // asked to end, and given the time
	for _, s := range m.slots.all {
		r := s.run
		if r == nil {
			continue
		}
		// All at once, and a polite stop under way is cut short: no pacing.
		if all > r.end {
			m.end(rd, r, all, why)
		}
		// A drain has its time.
		if r.end == closing && !m.now.Before(r.asked.Add(m.cfg.DrainTimeout)) {
			m.end(rd, r, closed, r.cause)
		}
		if r.end == closing {
			polite++
		}
	}
	for _, s := range m.slots.all {
		r := s.run
		if r == nil || r.end != open {
			continue
		}
		// Run exactly what is granted, and nothing when leaving.
		if s.grants(r.grant.Token) && !m.leaving {
			continue
		}
		if polite >= m.cfg.MovesInFlight && !m.leaving { // the others wait, running; but a stop has an end
			break
		}
		cause := Revoked
		if m.leaving {
			cause = Stopped
		}
		m.end(rd, r, closing, cause)
		polite++
	}
}

// demand is what must come of every handler, whatever its lease.
func (m *Machine) demand() (fence, Cause) {
	switch {
	case m.lost:
		return closed, Fenced
	case m.abandoned:
		return closed, Stopped
	}
	return m.fence(), Fenced
}

// end takes r as far as to, and hands out what that takes.
func (m *Machine) end(rd *Ready, r *run, to fence, cause Cause) {
	s := Stop{Lease: r.lease(), Cause: cause}
	if r.end == open {
		rd.Stop = append(rd.Stop, s)
		r.asked = m.now
	}
	if to == closed {
		rd.Hard = append(rd.Hard, s)
		r.hard, r.alerted = m.now, time.Time{}
	}
	r.end, r.cause = to, cause
}

// mayStart reports whether anything may start at all.
func (m *Machine) mayStart() bool {
	switch {
	case m.lost, m.leaving: // nothing starts any more
	case !m.trust.at(m.now): // never run what you cannot prove
	case m.fence() != open: // it would be stopped at once
	case m.stale: // the truth first
	case m.unplanned: // no plan stands that would grant anything
	default:
		return true
	}
	return false
}

// start hands out whose handlers run.
func (m *Machine) start(rd *Ready) {
	if !m.mayStart() {
		return
	}
	starting := 0
	for _, s := range m.slots.all {
		if s.run != nil && m.starting(s.run) {
			starting++
		}
	}
	for _, s := range m.slots.all {
		switch {
		case starting >= m.cfg.MovesInFlight: // the others wait for a place
			return
		case s.run != nil: // one run at a time, also under another token
		case !s.granted: // a slice is a permission
		case s.rest.final: // its handler has said its word
		case m.now.Before(s.rest.until): // back-off
		default:
			rd.Start = append(rd.Start, s.grant)
			m.slots.began(s, m.now)
			starting++
		}
	}
}

// starting reports whether r takes up a place among the starting. One that does not come
// to run gives it up: the others must not wait for it.
func (m *Machine) starting(r *run) bool {
	return !r.started && r.end != closed && m.now.Before(r.began.Add(m.cfg.StuckAfter))
}

// started frees the place of a start.
func (m *Machine) started(l plan.Lease) {
	if s := m.run(l, "started"); s != nil {
		s.run.started = true
	}
}

// exited takes a run away: the return is the release.
func (m *Machine) exited(l plan.Lease, how How) {
	s := m.run(l, "exited")
	if s == nil {
		return
	}
	r := m.slots.ended(s)
	if !s.grants(l.Token) {
		if i, said := slices.BinarySearchFunc(m.done, l, plan.Lease.Compare); how == Done && !said && m.isAskedBack(l) {
			m.done = slices.Insert(m.done, i, l)
		}
		return
	}
	switch {
	case how == Done, how == Rejected && r.end == open:
		s.rest = rest{final: true, how: how}
	case s.rest.final: // given up while it ran
	case r.end != open: // it was asked to, and may come back as soon as anything may start
		s.rest.until = time.Time{}
	default:
		if m.now.Sub(r.began) >= m.cfg.RestartMax { // it ran for a while
			s.rest.delay = 0
		}
		s.rest.delay = min(max(2*s.rest.delay, m.cfg.RestartMin), m.cfg.RestartMax)
		s.rest.until = m.now.Add(s.rest.delay)
	}
}

// BackOff is how long it takes until the handler of l is run again, by itself: 0
// when it is not kept from running, or for good.
func (m *Machine) BackOff(l plan.Lease) time.Duration {
	s := m.slots.at(l.Partition)
	if s == nil || !s.grants(l.Token) || s.run != nil || s.rest.final {
		return 0
	}
	return max(0, s.rest.until.Sub(m.now))
}

// Again reports whether the handler of l, which has returned early, is to be run again by
// this session; why says why it is not.
func (m *Machine) Again(l plan.Lease) (yes bool, why Cause) {
	s := m.slots.at(l.Partition)
	switch {
	case m.lost:
		return false, Fenced
	case m.leaving:
		return false, Stopped
	case s == nil || !s.grants(l.Token):
		return false, Revoked
	case s.rest.final: // given up with the trust
		return false, Fenced
	}
	return true, Revoked
}

// A Turn tells one state of what [Machine.Again] goes by from another: while it is the same, so
// is the answer for every lease that has returned and was not started again.
type Turn struct {
	applied       plan.Version
	lost, leaving bool
	givenUp       int
}

// Turn is the present one.
func (m *Machine) Turn() Turn { return Turn{m.applied, m.lost, m.leaving, m.givenUp} }

// run is the slot in which l runs, or nil when it does not any more. That l was
// never granted is impossible.
func (m *Machine) run(l plan.Lease, what string) *slot {
	if l.Token > m.token {
		panic(fmt.Sprintf("hold: %s: %s@%v has %s, but no slice ever granted it", m.cfg.Worker, l.Partition, l.Token, what))
	}
	if s := m.slots.at(l.Partition); s != nil && s.run != nil && s.run.grant.Token == l.Token {
		return s
	}
	return nil
}
