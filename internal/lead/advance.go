package lead

import (
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// A slice is estimated before it is encoded, from above: sliceBytes for the record
// itself and entryBytes, plus the partition's own words, for each lease in it.
const (
	sliceBytes = 512
	entryBytes = 128
	otherPuts  = 6 // the head, the log, the partitions kept out, the leader's chain and its predecessor's, one to spare
	moveBytes  = 160
)

func size(p *part) int {
	n := entryBytes + quoted(p.ID)
	for k, v := range p.Labels {
		n += quoted(k) + quoted(v)
	}
	for _, c := range p.crashed {
		n += quoted(c)
	}
	return n
}

// quoted is the most that s takes as a JSON string, with what stands around it.
func quoted(s string) int {
	n := len(s) + 4
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x80 || strings.IndexByte("\"\\<>&", c) >= 0 {
			n += 5 // \u003c
		}
	}
	return n
}

// room reports whether x's slice may be part of the commit that is being made.
func (m *Machine) room(x *member) bool {
	return x.touched || m.touched < m.slicesAtOnce()
}

// slicesAtOnce is how many slices one commit may have.
func (m *Machine) slicesAtOnce() int { return max(1, m.cfg.MaxBatch-otherPuts) }

// next is the version of the next commit: above everything that anybody has seen.
func (m *Machine) next() plan.Version {
	v := max(m.head.Version, m.highest, plan.MakeVersion(m.inc, 0))
	return v.Next()
}

// advance goes one commit towards the targets and offers it, if there is anything
// to say. What does not fit into one commit goes into the next: every plan on the
// way is valid by itself.
func (m *Machine) advance() {
	version := m.next()
	more := false
	trigger, about, from := m.wishes.trigger, m.wishes.about, m.wishes.from
	for i := range m.parts { // who is to let go is asked before anybody is given that room
		if p := &m.parts[i]; p.state == granted && p.listed && !p.aside && p.target != p.owner && !m.leaving(p.owner) {
			more = !m.revoke(p, version) || more
		}
	}
	for i := range m.parts {
		p := &m.parts[i]
		if !p.listed || p.aside {
			if m.wishes.planned == nil || p.aside { // unlisted ones wait for the window like any other change
				if p.target != nobody {
					p.target, p.why = nobody, plan.WhyPartitions
				}
			}
		}
		switch p.state {
		case free:
			if p.target == nobody || !p.listed || p.aside {
				continue
			}
			if !m.takes(m.members[p.target]) {
				p.target = nobody
				m.dirty = true // it went while the former owner let go: choose again
				continue
			}
			more = !m.grant(p, version) || more
		case granted:
			if p.target != p.owner && !m.leaving(p.owner) { // one that leaves lets go by itself
				more = !m.revoke(p, version) || more
			}
		case releasing:
			if p.next != p.target && m.room(m.members[p.owner]) {
				m.touch(m.members[p.owner])
				m.tellNext(p.next) // that it does not come
				p.next = p.target
				m.tellNext(p.next)
				m.note(plan.Move{Partition: p.ID, Step: plan.Rerouted, From: m.members[p.owner].id, To: m.name(p.target), Why: p.why})
			}
		}
	}
	m.prune()
	if m.touched > 0 || m.asideNew || m.miscounted() {
		m.offer(m.wishes.trigger, m.wishes.about)
	} else {
		m.wishes.trigger, m.wishes.about, m.wishes.from = plan.WhyNone, "", time.Time{} // whatever it was, it changes nothing
		if !m.retargeted {
			m.account = nil // nor is the strategy's answer behind what changes next
		}
		if ph := m.phase(); ph != m.head.Phase && (ph == plan.Stable || ph == plan.Paused) {
			m.offer(plan.WhyNone, "") // the group has come to rest
		}
	}
	if more {
		m.dirty = true
		m.wishes.trigger, m.wishes.about, m.wishes.from = trigger, about, from
	}
}

func (m *Machine) leaving(w int32) bool {
	s := m.sessionOf(m.members[w])
	return s != nil && s.Leaving
}

func (m *Machine) name(w int32) string {
	if w == nobody {
		return ""
	}
	return m.members[w].id
}

// grant gives a free partition to its target. It reports false when this commit
// has no room for it. What does not fit into the worker stays free.
func (m *Machine) grant(p *part, v plan.Version) bool {
	x := m.members[p.target]
	if !m.room(x) {
		return false
	}
	y := m.roster.Member(x.id)
	if c := y.Session.Capacity; c > 0 && x.weight+p.Load() > c {
		if x.releasing == x.hung { // and it is to let go of nothing, or does not
			m.bounce(p)
			m.full = x.id + " is at its capacity"
		}
		return true
	}
	if m.cfg.MaxPayload > 0 && x.bytes+size(p) > m.cfg.MaxPayload {
		if x.releasing == x.hung {
			m.full = "the server's limit of " + itoa(m.cfg.MaxPayload) + " bytes for one record is reached for " + x.id
			p.target, p.tried = nobody, m.round
		}
		return true
	}
	if x.session != y.Session.Nonce {
		m.address(x, &y.Session)
	}
	m.note(plan.Move{Partition: p.ID, Step: plan.Granted, From: p.home, To: x.id, Why: p.why})
	p.state, p.owner, p.token, p.since, p.next, p.at = granted, p.target, v, 0, nobody, m.now
	p.home, p.waitUntil, p.bounced = x.id, time.Time{}, false
	m.carry(p, 1)
	m.touch(x)
	return true
}

// bounce takes a target from p that turns out to have no room. The strategy is asked once
// more, since it sees now what is there; if that fails as well, p waits until something changes.
func (m *Machine) bounce(p *part) {
	p.target, p.tried = nobody, m.round
	if !p.bounced {
		p.bounced, p.tried, m.dirty = true, 0, true
	}
}

// address makes x's slice speak to a session. Its former one has provably ended.
func (m *Machine) address(x *member, s *roster.Session) {
	m.roster.Forget(x.session)
	x.session, x.ttl, x.fenced = s.Nonce, s.TTL, s.Fenced
	m.touch(x)
}

// tellNext lets w know what is coming to it, if it wants to and there is room.
func (m *Machine) tellNext(w int32) {
	if w != nobody && m.prepares(w) && m.room(m.members[w]) {
		m.touch(m.members[w])
	}
}

// revoke asks the owner to let go. Nobody is granted the partition before it has.
func (m *Machine) revoke(p *part, v plan.Version) bool {
	x := m.members[p.owner]
	if !m.room(x) {
		return false
	}
	p.crashed = m.blamed(p)
	p.state, p.since, p.next, p.at = releasing, v, p.target, m.now
	x.releasing++
	m.touch(x)
	m.tellNext(p.target)
	step := plan.Revoked
	if p.target == nobody && !p.listed {
		step = plan.Dropped
	}
	m.note(plan.Move{Partition: p.ID, Step: step, From: x.id, To: m.name(p.target), Why: p.why})
	return true
}

func (m *Machine) prepares(w int32) bool {
	s := m.sessionOf(m.members[w])
	return s != nil && s.Prepares
}

// count is how many partitions there are, and of these how many are in no slice.
type count struct{ listed, free int }

func (m *Machine) counts() (c count) {
	for i := range m.parts {
		p := &m.parts[i]
		if p.listed {
			c.listed++
		}
		if p.state == free && p.listed && !p.aside {
			c.free++
		}
	}
	return c
}

// miscounted reports whether the plan that stands says other numbers than there are, and
// no plan is about to say them anyway: those who look at it should not think all is well.
func (m *Machine) miscounted() bool {
	w := &m.wishes
	return (w.cold == nil || m.stalled()) && w.planned == nil && !w.adopting && m.counts() != m.counted
}

// offer makes the commit of everything that was touched.
func (m *Machine) offer(why plan.Why, about string) {
	head := plan.Head{
		Version: m.next(), Term: m.cfg.Term, Leader: m.cfg.Worker, Session: m.cfg.Nonce,
		Phase: m.phase(), Why: why, Adopting: m.wishes.adopting,
		Started: m.head.Started || (m.took && m.wishes.cold == nil && !m.wishes.adopting),
	}
	c := &Commit{}
	m.addSlices(c, head.Version)
	m.counted = m.counts()
	head.Partitions, head.Unassigned = m.counted.listed, m.counted.free
	for i := range m.parts {
		switch p := &m.parts[i]; {
		case p.state == releasing:
			head.Releasing++
		case p.state == granted && p.waitUntil.After(m.now):
			head.Unassigned++
		}
	}
	head.Workers = m.owners()
	for _, x := range m.members {
		if x.stands {
			head.Slices++
		}
	}
	for _, s := range c.Slices {
		head.Changed = append(head.Changed, s.Worker)
	}
	head.Changed = append(head.Changed, c.Removed...)
	slices.Sort(head.Changed)
	if m.asideNew {
		list := m.asideList()
		c.Aside, m.asideNew = &list, false
	}
	if len(m.log) > 0 || len(c.Slices)+len(c.Removed) > 0 {
		c.Decision = m.decision(&head, about)
	}
	c.Head = head
	m.offered, m.offeredOn = c, m.highest
	m.log, m.account = nil, nil
	m.wishes.trigger, m.wishes.about, m.wishes.from = plan.WhyNone, "", time.Time{}
}

func (m *Machine) decision(h *plan.Head, about string) *plan.Decision {
	d := &plan.Decision{
		Version: h.Version, Term: h.Term, Leader: h.Leader, At: m.cfg.Date(m.now).UTC(), Why: h.Why, About: about,
		Strategy: m.account, Workers: h.Workers, Partitions: h.Partitions, Unassigned: h.Unassigned,
	}
	if !m.wishes.from.IsZero() && h.Why != plan.WhyReceipt {
		d.Waited = plan.ToMillis(m.now.Sub(m.wishes.from))
	}
	d.Moves = m.log
	if most := max(16, m.cfg.MaxPayload/moveBytes); m.cfg.MaxPayload > 0 && len(d.Moves) > most {
		d.Moves, d.More = m.log[:most:most], len(m.log)-most
	}
	slices.SortStableFunc(d.Moves, func(a, b plan.Move) int { return strings.Compare(a.Partition, b.Partition) })
	return d
}

// addSlices writes out the slices of what was touched, in one pass. What is more than one
// commit may have, as when a plan is rebuilt from what workers hold, stays touched; those
// go first that do not stand yet.
func (m *Machine) addSlices(c *Commit, v plan.Version) {
	if m.touched == 0 {
		return
	}
	m.touched = 0
	slot := make([]int, len(m.members))
	for w := range slot {
		slot[w] = -1
	}
	write := func(w int, x *member) {
		if len(c.Slices)+len(c.Removed) == m.slicesAtOnce() {
			m.touched++
			return
		}
		if x.session != "" && x.leases == 0 && m.roster.End(x.session) != roster.EndUnknown {
			m.succeed(x)
		}
		if x.session == "" {
			if x.stands {
				c.Removed = append(c.Removed, x.id)
			}
			x.stands, x.touched = false, false
			return
		}
		slot[w] = len(c.Slices)
		c.Slices = append(c.Slices, plan.Slice{Worker: x.id, Session: x.session, TTL: x.ttl, Fenced: x.fenced, Version: v})
		x.stands, x.touched = true, false
	}
	for _, stands := range [...]bool{false, true} {
		for w, x := range m.members {
			if x.touched && x.stands == stands {
				write(w, x)
			}
		}
	}
	coming := make([]int, len(m.members)) // bytes of what is announced, for which there is not always room
	for i := range m.parts {
		p := &m.parts[i]
		if p.state != free && slot[p.owner] >= 0 {
			s := &c.Slices[slot[p.owner]]
			if p.state == granted {
				p.crashed = m.blamed(p)
				s.Granted = append(s.Granted, plan.Grant{Partition: p.Partition, Token: p.token, Why: p.why, Crashed: p.crashed})
			} else {
				s.Releasing = append(s.Releasing, plan.Release{Partition: p.Partition, Token: p.token, Since: p.since, Next: m.name(p.next), Why: p.why, Crashed: p.crashed})
			}
		}
		if p.state == releasing && p.next != nobody && p.next != p.owner && slot[p.next] >= 0 && m.prepares(p.next) {
			coming[p.next] += size(p)
			if m.cfg.MaxPayload <= 0 || m.members[p.next].bytes+coming[p.next] <= m.cfg.MaxPayload {
				s := &c.Slices[slot[p.next]]
				s.Coming = append(s.Coming, p.Partition)
			}
		}
	}
	slices.SortFunc(c.Slices, func(a, b plan.Slice) int { return strings.Compare(a.Worker, b.Worker) })
	slices.Sort(c.Removed)
}

// succeed hands an empty slice of an ended session to its live successor, if there
// is one.
func (m *Machine) succeed(x *member) {
	m.roster.Forget(x.session)
	x.session = ""
	if y := m.roster.Member(x.id); y != nil && y.State < roster.Suspect && y.Session.Owns && !y.Session.Leaving {
		s := &y.Session
		x.session, x.ttl, x.fenced = s.Nonce, s.TTL, s.Fenced
	}
}
