package lead

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// saw takes a session's record. The steady renewal, by far the most frequent fact,
// ends after the roster has noted the time.
func (m *Machine) saw(s *roster.Session, rev kv.Rev) {
	news := m.roster.Saw(m.now, s, rev)
	if news == roster.OldNews {
		return
	}
	m.highest = max(m.highest, s.Highest)
	x := m.members[m.member(s.Worker)]
	if news == roster.Turn {
		m.probeAt = earliest(m.probeAt, m.now)
		m.dirty = true
		m.round++
	}
	if x.session != s.Nonce {
		if x.met != s.Nonce && s.Owns && !s.Leaving && s.Tombstone == nil {
			x.met = s.Nonce
			x.traits(s)
			m.dirty = true
			m.joined(s)
		}
		return
	}
	if x.met != s.Nonce { // found in the plan, and seen for the first time
		x.met = s.Nonce
		x.traits(s)
		if w := m.wishes.cold; w != nil { // more may follow
			w.join = m.now
		}
	} else if x.traits(s) {
		m.dirty = true
		m.round++
		m.wishes.settings(m.now, s.Worker+" changed its share, capacity, zone or labels")
	}
	if len(s.Holds) > 0 { // it resumed, and starts nothing before it has heard its slice anew
		m.touch(x)
		m.dirty = true
	}
	if x.releasing > 0 || s.Leaving || len(s.Done)+len(s.Rejected)+len(s.GivenUp) > 0 {
		m.dirty = true
		if m.receipts.IsZero() {
			m.receipts = m.now
		}
	}
}

// traits takes what a strategy looks at. It reports whether that changed.
func (x *member) traits(s *roster.Session) bool {
	if x.share == s.Share && x.capacity == s.Capacity && x.zone == s.Zone && maps.Equal(x.labels, s.Labels) {
		return false
	}
	x.share, x.capacity, x.zone, x.labels = s.Share, s.Capacity, s.Zone, s.Labels
	return true
}

// over reports whether nothing of that lease runs any more, and never will again.
// It needs evidence about exactly this lease: nonce and token. That is the end of
// the session; or its receipt; or, from a session that starts nothing any more,
// that the lease is not among those that still run.
func (m *Machine) over(p *part) (ended bool, how roster.End) {
	x := m.members[p.owner]
	if how = m.roster.End(x.session); how != roster.EndUnknown {
		return true, how
	}
	y := m.roster.Member(x.id)
	if y == nil || y.Session.Nonce != x.session { // a record of another session says nothing of this lease
		return false, how
	}
	s := &y.Session
	switch {
	case s.Leaving:
	case has(s.Done, p) || has(s.Rejected, p) || has(s.GivenUp, p):
		return true, how
	case p.state != releasing || s.Applied < p.since: // applied counts the version of the own slice
		return false, how
	}
	return !has(s.Draining, p), how
}

// has looks for p's lease in a list of a record, which is sorted by partition.
func has(ls []plan.Lease, p *part) bool {
	i, ok := slices.BinarySearchFunc(ls, p.ID, func(l plan.Lease, id string) int { return strings.Compare(l.Partition, id) })
	for ; ok && i < len(ls) && ls[i].Partition == p.ID; i++ {
		if ls[i].Token == p.token {
			return true
		}
	}
	return false
}

// settle frees the partitions whose former lease is over. It reports whether any was.
func (m *Machine) settle() (freed bool) {
	lost := map[int32]bool{} // owners that ended without last words
	left := map[int32]bool{} // owners that stop
	done := 0                // and not to be recorded
	still := m.still()
	var newest []plan.Version
	for i := range m.parts {
		p := &m.parts[i]
		if p.state == free || p.state == granted && still[p.owner] {
			continue
		}
		ended, how := m.over(p)
		if !ended {
			continue
		}
		x := m.members[p.owner]
		if m.waits(p, x, how) {
			continue
		}
		if m.unrecorded(p, x) {
			done++
			continue
		}
		if !m.room(x) {
			m.dirty = true // in the next commit
			continue
		}
		freed = true
		switch session := m.sessionOf(x); {
		case how == roster.EndTombstone || how == roster.EndConcluded:
			if newest == nil {
				newest = m.newest()
			}
			if !lost[p.owner] {
				lost[p.owner] = true
				m.losses++
			}
			if hadLetGo(session, p) {
				p.crashed = m.blamed(p)
			} else {
				m.blame(p, newest[p.owner])
			}
		case !m.succeeded(x) && (session == nil || session.Leaving):
			left[p.owner] = true
			fallthrough
		case p.state == granted:
			p.crashed = m.blamed(p)
		}
		m.release(p, x, how)
	}
	m.overfull(done)
	if len(lost) > 0 {
		var who []string
		for _, w := range slices.Sorted(maps.Keys(lost)) {
			who = append(who, m.members[w].id)
		}
		m.wishes.lost(m.now, who)
	}
	for _, w := range slices.Sorted(maps.Keys(left)) {
		m.wishes.left(m.now, m.members[w].id)
	}
	for _, x := range m.members { // an ended session's slice is to go, or to name its successor
		if x.session != "" && x.leases == 0 && m.roster.End(x.session) != roster.EndUnknown && m.room(x) {
			m.touch(x)
			freed = true
		}
	}
	return freed
}

// still tells, by member, whose session is there and says nothing that could end a lease that
// it was not asked back: there are a hundred times as many leases as members.
func (m *Machine) still() []bool {
	all := make([]bool, len(m.members))
	for w, x := range m.members {
		s := m.sessionOf(x)
		all[w] = s != nil && !s.Leaving && len(s.Done)+len(s.Rejected)+len(s.GivenUp) == 0 && m.roster.End(x.session) == roster.EndUnknown
	}
	return all
}

// hadLetGo reports whether a session that stops, and has not come to its last words, did not
// run p any more. That it is lost then is not because of p.
func hadLetGo(s *roster.Session, p *part) bool {
	return s != nil && s.Leaving && !has(s.Draining, p)
}

// succeeded reports whether a session that may own has taken the place of x's.
func (m *Machine) succeeded(x *member) bool {
	y := m.roster.Member(x.id)
	return y != nil && y.Session.Nonce != x.session && y.Session.Owns && !y.Session.Leaving && y.State < roster.Suspect
}

// unrecorded reports whether p is done, and there is no room to record that. It stays
// in the slice of its owner, whose session says that it is done and does not run it.
func (m *Machine) unrecorded(p *part, x *member) bool {
	s := m.sessionOf(x)
	return s != nil && p.listed && has(s.Done, p) && !m.asideFits(plan.Aside{Partition: p.ID, Why: plan.WhyDone})
}

func (m *Machine) overfull(done int) {
	text := ""
	if done > 0 {
		text = fmt.Sprintf("%d more partitions are done than the server's limit of %d bytes for one record lets the group remember; they take up room until the source lists fewer", done, m.cfg.MaxPayload)
	}
	m.alerts.set("done", text)
}

// waits reports whether p is kept for the successor of an owner that stops cleanly.
// It stays in that owner's slice meanwhile, so that a new leader waits as well.
func (m *Machine) waits(p *part, x *member, how roster.End) bool {
	if m.cfg.RestartGrace <= 0 || p.state != granted || p.target != p.owner || (how != roster.EndUnknown && how != roster.EndLeft) {
		return false
	}
	s := m.sessionOf(x)
	if s != nil && (!s.Leaving || has(s.Done, p) || has(s.Rejected, p)) {
		return false
	}
	if s == nil { // its successor is here
		p.waitUntil = m.now
		return false
	}
	if p.waitUntil.IsZero() {
		p.waitUntil = m.now.Add(m.cfg.RestartGrace)
	}
	m.by(p.waitUntil)
	return m.now.Before(p.waitUntil)
}

// release takes p from its owner. Its target stays, unless that was the owner. It does not
// wait for a successor any more: that one is here, or the time for it is over, or the owner
// was lost before it had stopped, which leaves nothing to wait for.
func (m *Machine) release(p *part, x *member, how roster.End) {
	m.carry(p, -1)
	m.touch(x)
	m.round++ // there is room now for what had none
	p.waitUntil, p.over = time.Time{}, max(p.over, p.token)
	s := m.sessionOf(x)
	switch {
	case s != nil && has(s.Done, p) && p.listed: // or it may run once it is listed anew
		m.putAside(p, plan.Aside{Partition: p.ID, Why: plan.WhyDone})
	case s != nil && has(s.GivenUp, p): // it goes on where it was, under a new token
		if p.target == p.owner {
			p.why = plan.WhyReturn
		}
	case s != nil && has(s.Rejected, p):
		m.rejected(p)
		if p.target == p.owner {
			p.target = nobody
		}
	case p.state == releasing && how == roster.EndUnknown:
	case p.target == p.owner && m.returns(p, x, how):
		p.why = plan.WhyReturn
		m.lookLater() // the successor may be another one than its predecessor was
	case p.target == p.owner: // its owner is gone or leaves
		p.target = nobody
		p.why = plan.WhyLost
		if how == roster.EndUnknown || how == roster.EndLeft {
			p.why = plan.WhyLeaving
		}
	}
	if p.state == releasing && p.next != p.target {
		m.tellNext(p.next) // that it does not come
	}
	p.home, p.owner, p.state, p.token, p.since, p.next, p.at = x.id, nobody, free, 0, 0, nobody, m.now
}

// returns reports whether p has waited for the successor of an owner that has stopped, and
// that one is here: it goes on with it. A strategy that was asked to place it might think
// that its owner held too much, as it may while weights waver, or is to get nothing new.
func (m *Machine) returns(p *part, x *member, how roster.End) bool {
	if m.cfg.RestartGrace <= 0 || how != roster.EndLeft || p.state != granted || m.wishes.cold != nil || !m.succeeded(x) {
		return false
	}
	pin, pinned := m.controls.pins[p.ID]
	return !m.controls.drained[x.id] && !m.banned(p, p.owner) && (!pinned || pin == x.id)
}

// A rejection is held against the worker until the partition has run elsewhere for
// rejectFor, or nobody else has taken it for so long; or everybody has rejected it, and all
// but the last are asked again. One that is rejected again before waits, the longer the
// more often; after rejectTold times people are told.
const (
	rejectFor   = time.Minute
	rejectPause = time.Second
	rejectTold  = 5
)

func (m *Machine) rejected(p *part) {
	if m.now.Sub(p.at) >= rejectFor {
		p.rejections, p.shun = 0, nil
	}
	p.shun = append(slices.DeleteFunc(p.shun, func(w int32) bool { return w == p.owner }), p.owner)
	p.why = plan.WhyRejected
	if p.rejections++; p.rejections > 1 {
		p.waitUntil = m.now.Add(min(rejectPause<<min(p.rejections-2, 10), rejectFor))
	}
}

// forgive lets those have a partition again who rejected it, once it has run elsewhere for
// long enough, or nobody else took it.
func (m *Machine) forgive() {
	for i := range m.parts {
		p := &m.parts[i]
		if p.rejections == 0 || p.state == releasing || p.state == free && len(p.shun) == 0 {
			continue
		}
		end := p.at.Add(rejectFor)
		if p.waitUntil.After(p.at) { // before then nobody was asked
			end = p.waitUntil.Add(rejectFor)
		}
		if m.now.Before(end) {
			m.by(end)
			continue
		}
		p.shun = nil
		if p.state == free {
			m.round++
		} else {
			p.rejections = 0
		}
	}
}

func (m *Machine) sessionOf(x *member) *roster.Session {
	if y := m.roster.Member(x.id); y != nil && y.Session.Nonce == x.session {
		return &y.Session
	}
	return nil
}

func (m *Machine) touch(x *member) {
	if !x.touched {
		x.touched = true
		m.touched++
	}
}

// joined notes a session that the plan does not name yet.
func (m *Machine) joined(s *roster.Session) {
	w := m.member(s.Worker)
	// A successor under the same ID takes up what waited for it.
	back := m.cfg.RestartGrace > 0 && m.members[w].leases > 0 && m.roster.End(m.members[w].session) == roster.EndLeft
	if m.wishes.cold != nil && !m.standing && m.older(s) {
		m.rebuild() // somebody remembers another store, and what runs there may still run
	}
	if m.wishes.adopting && len(s.Holds) > 0 {
		back = m.readopt(w, s) || back
	}
	for _, id := range slices.Sorted(maps.Keys(m.until)) {
		if a := m.asides[id]; a.Why == plan.WhyQuarantine && !slices.Contains(a.Software, s.Software) {
			m.lift(id) // a version it was not tried on
		}
	}
	if back {
		m.wishes.back(m.now, s.Worker)
		return
	}
	m.wishes.joined(m.now, s.Worker)
}

// readopt takes over what a resumed session holds, where no plan stands to say
// otherwise: nobody was granted the partition since the store was made anew. Of two
// that hold it the larger token goes on; the other finds nothing in its slice, which
// it is given at once, and stops. What a session was letting go of it lets go of.
func (m *Machine) readopt(w int32, s *roster.Session) (adopted bool) {
	x := m.members[w]
	if x.session != "" && x.session != s.Nonce {
		return false
	}
	if x.session == "" && len(s.Holds) > 0 {
		m.address(x, s)
	}
	m.learn(s.Holds)
	for _, g := range s.Holds {
		m.highest = max(m.highest, g.Token)
		p := &m.parts[m.index[g.ID]]
		if p.blank {
			p.Partition, p.blank = g.Partition, false
		}
		if p.state != free && (p.token >= g.Token || p.token.Incarnation() >= m.inc) {
			continue // a plan of this incarnation stands, or a younger lease
		}
		if p.state != free {
			m.carry(p, -1)
			m.touch(m.members[p.owner])
		}
		p.state, p.owner, p.token, p.target, p.next = granted, w, g.Token, w, nobody
		// Where a younger one stood, and is over, it lets go of it: tokens do not go back, and
		// yet nobody else is to run it before this one has stopped.
		if p.over >= g.Token || slices.Contains(s.Draining, plan.Lease{Partition: g.ID, Token: g.Token}) {
			p.state, p.since, p.target = releasing, m.next(), nobody
		}
		p.at, p.home, p.why, p.placed, p.crashed, p.calm = m.now, s.Worker, plan.WhyRecovered, true, g.Crashed, m.losses-len(g.Crashed)
		m.carry(p, 1)
		m.touch(x)
		m.note(plan.Move{Partition: p.ID, Step: plan.Adopted, To: s.Worker, Why: plan.WhyRecovered})
		adopted = true
	}
	return adopted
}

// learn makes partitions known that only their holders name so far, all at once: there
// may be as many as the group has.
func (m *Machine) learn(held []plan.Grant) {
	var fresh []part
	for _, g := range held {
		if _, ok := m.index[g.ID]; !ok {
			m.index[g.ID] = nobody // until they are merged
			fresh = append(fresh, newPart(g.Partition, m.now))
		}
	}
	if len(fresh) == 0 {
		return
	}
	slices.SortFunc(fresh, byID)
	m.merge(fresh)
}

// merge makes partitions known that are not, sorted by ID.
func (m *Machine) merge(fresh []part) {
	all := make([]part, 0, len(m.parts)+len(fresh))
	for _, p := range m.parts {
		for len(fresh) > 0 && fresh[0].ID < p.ID {
			all, fresh = append(all, fresh[0]), fresh[1:]
		}
		all = append(all, p)
	}
	all = append(all, fresh...)
	m.parts = all
	m.reindex()
}

func (m *Machine) note(mv plan.Move) { m.log = append(m.log, mv) }
