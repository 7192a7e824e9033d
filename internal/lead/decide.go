package lead

import (
	"fmt"
	"time"

	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// maxTurns bounds how often one Ready thinks again about what it has just found out.
const maxTurns = 4

// Ready returns the work to do. A commit is offered until Committed; tombstones and
// alerts are handed out once.
func (m *Machine) Ready() Ready {
	var rd Ready
	if !m.synced {
		return rd
	}
	due, changed := m.roster.Check(m.now)
	m.dirty = m.dirty || changed
	if changed {
		m.round++ // who was suspect, and answers, may take what nobody could
	}
	rd.Tombstones = due
	rd.Notes = m.roster.Notes()
	m.recovered(rd.Notes)
	rd.Doubt, _ = m.roster.Doubt()
	if m.offered == nil && !m.wentBack && (m.dirty || !m.now.Before(m.wake)) {
		for turn := 0; turn == 0 || (turn < maxTurns && m.dirty && m.offered == nil); turn++ {
			m.dirty, m.wake = false, m.now.Add(time.Hour)
			m.think(changed)
		}
	}
	rd.Commit = m.offered
	rd.WentBack = m.wentBack
	rd.StepDown = m.stepDown
	switch rd.WakeAt = m.wake; {
	case m.offered != nil: // its outcome wakes by itself
		rd.WakeAt = m.now.Add(time.Hour)
	case m.dirty:
		rd.WakeAt = m.now
	}
	if m.took {
		rd.List = m.listing.want(m.now)
		rd.Probe = m.probes()
		rd.WakeAt = earliest(rd.WakeAt, m.roster.Next(), m.probeAt)
		if !m.listing.asked { // an answer wakes by itself
			rd.WakeAt = earliest(rd.WakeAt, m.listing.due)
		}
	}
	rd.Alerts = m.alerts.take()
	return rd
}

// recovered welcomes sessions that were suspect when a window closed, and so were
// given no slice: they join now.
func (m *Machine) recovered(notes []roster.Note) {
	for _, n := range notes {
		y := m.roster.Member(n.Worker)
		if n.State != roster.Live || y == nil || y.Session.Nonce != n.Nonce {
			continue
		}
		if s := &y.Session; s.Owns && !s.Leaving && m.members[m.member(n.Worker)].session != n.Nonce {
			m.joined(s)
			m.dirty = true
		}
	}
}

func (m *Machine) probes() []string {
	if m.now.Before(m.probeAt) {
		return nil
	}
	names := m.roster.Probes(m.now)
	m.probeAt = m.roster.NextProbe(m.now)
	return names
}

func earliest(first time.Time, more ...time.Time) time.Time {
	for _, t := range more {
		if t.Before(first) && !t.IsZero() {
			first = t
		}
	}
	return first
}

// by makes sure that we think again at t.
func (m *Machine) by(t time.Time) { m.wake = earliest(m.wake, t) }

// think takes one turn: it draws the conclusions from what is known, decides who
// should have what, and offers the commit that goes one step towards it.
func (m *Machine) think(ended bool) {
	if !m.took {
		m.begin()
		m.offer(plan.WhyTerm, "")
		return
	}
	if !m.receipts.IsZero() && !ended && m.now.Before(m.receipts.Add(m.cfg.Coalesce)) {
		m.by(m.receipts.Add(m.cfg.Coalesce)) // receipts that come together share a commit
		return
	}
	m.receipts = time.Time{}
	if m.settle() {
		m.wishes.because(m.now, plan.WhyReceipt, "")
	}
	m.expire()
	m.decide()
	m.advance()
	m.watch()
}

// begin looks at the group as the term finds it.
func (m *Machine) begin() {
	w := &m.wishes
	recovering := m.head.Adopting
	if !m.standing && (before(m.highest.Incarnation(), m.inc) || before(m.past, m.inc)) {
		recovering = true // this leader has itself seen plans that are no more
	}
	for _, y := range m.roster.Members() {
		recovering = recovering || (!m.standing && m.older(&y.Session) && y.State < roster.Suspect)
	}
	switch {
	case recovering:
		m.rebuild()
		var held []plan.Grant
		var holders []*roster.Member
		for _, y := range m.roster.Members() {
			if y.State < roster.Suspect && y.Session.Owns && len(y.Session.Holds) > 0 {
				holders, held = append(holders, y), append(held, y.Session.Holds...)
			}
		}
		m.learn(held)
		for _, y := range holders {
			m.readopt(m.member(y.Session.Worker), &y.Session)
			w.back(m.now, y.Session.Worker)
		}
	case !m.standing:
		w.cold = &window{why: plan.WhyFirstPlan, about: "the group's first plan", since: m.began, join: m.now}
		w.planned = nil
	case m.restarted():
		w.cold = &window{why: plan.WhyRestarted, about: "most of the group is gone or new", since: m.began, join: m.now}
		w.planned = nil
	default:
		m.lookLater()
	}
}

// older reports whether a session has seen plans of an earlier incarnation of the store.
func (m *Machine) older(s *roster.Session) bool {
	return before(s.Highest.Incarnation(), m.inc) || before(s.Past, m.inc)
}

// before reports whether a is an earlier incarnation than b; 0 is none.
func before(a, b uint32) bool { return a != 0 && a < b }

// rebuild begins to rebuild the plan from what workers hold. What nobody claims is
// granted to nobody until whoever still held it has stopped, or is isolated for good.
func (m *Machine) rebuild() {
	w := &m.wishes
	w.adopting, w.cold, w.planned = true, nil, nil
	w.adoptUntil = m.began.Add(m.longestTTL())
}

func (m *Machine) longestTTL() time.Duration {
	ttl := m.cfg.Roster.TTL
	for _, y := range m.roster.Members() {
		ttl = max(ttl, y.Session.TTL.Duration())
	}
	return ttl
}

// restarted reports whether most of the sessions that the plan named when the term
// began are not there.
func (m *Machine) restarted() bool {
	here := 0
	for worker, nonce := range m.named {
		if y := m.roster.Member(worker); y != nil && y.Session.Nonce == nonce && y.State < roster.Suspect {
			here++
		}
	}
	return len(m.named) > 1 && 2*here < len(m.named)
}

// returned closes the window of a restart that was none: those who were away have come
// back as they were, and what they run is not to move. Whoever is new joins as ever.
func (m *Machine) returned() {
	m.wishes.cold = nil
	m.lookLater()
	for _, y := range m.roster.Members() {
		s := &y.Session
		if y.State < roster.Suspect && s.Owns && !s.Leaving && m.members[m.member(s.Worker)].session != s.Nonce {
			m.wishes.joined(m.now, s.Worker)
		}
	}
}

// decide sets targets: who should have what. What is urgent is placed at once and
// moves nothing else; what is not waits for its window.
func (m *Machine) decide() {
	w := &m.wishes
	if m.now.Before(w.retry) {
		m.by(w.retry)
		return
	}
	if w.adopting {
		if m.now.Before(w.adoptUntil) {
			m.by(w.adoptUntil)
			return // what nobody claims may still run where we cannot see it
		}
		if m.touched > m.slicesAtOnce() {
			return // nor does the plan stand before it can name all that hold something
		}
		w.adopting, w.cold = false, nil
		w.planned = &window{why: plan.WhyRecovered, about: "rebuilt from what workers hold", since: w.adoptUntil.Add(-m.cfg.Scale), join: w.adoptUntil.Add(-m.cfg.Settle)}
		w.at = time.Time{}
	}
	if w.cold != nil && w.cold.why == plan.WhyRestarted && !m.restarted() {
		m.returned()
	}
	fleet := m.fleet()
	switch {
	case w.cold != nil:
		m.gather(&fleet)
		return
	case len(fleet.workers) == 0:
		m.alone(&fleet)
		return
	}
	m.move(&fleet)
	if urgent, why := m.urgent(&fleet); urgent {
		about := m.ordered(why)
		if why == plan.WhyLeaving {
			about = m.stopping()
		}
		m.assign(fleet, why, causeOf(why), false, false)
		m.lookLater() // what had to be placed may have come where there was most room, and that is uneven
		w.because(m.now, why, about)
	}
	if w.unmet {
		m.welcome()
	}
	switch {
	case w.asked:
		if m.assign(fleet, plan.WhyRebalance, plan.Members, true, true) {
			m.decided(&window{why: plan.WhyRebalance, about: "an operator asked for it", since: m.now})
			w.asked = false
		}
	case w.planned != nil:
		due := m.due(w.planned)
		if m.now.Before(due) {
			m.by(due)
			return
		}
		if m.assign(fleet, w.planned.why, causeOf(w.planned.why), !m.controls.paused, true) {
			m.decided(w.planned)
		}
	case !w.look.IsZero():
		due := m.cooled(w.look)
		if m.now.Before(due) {
			m.by(due)
			return
		}
		// What is within the band for weights stays where it is: a change of leader moves
		// nothing that the former leader would have left alone.
		if m.assign(fleet, plan.WhyBalance, plan.Loads, !m.controls.paused, true) {
			m.decided(&window{why: plan.WhyBalance, about: "evening out what was left uneven", since: m.now})
		}
	}
}

// gather is decide while a first plan waits for those who come, or the one after a restart
// of most. Without the source there is nothing to plan first. What stands is known without
// it, and what is known to have lost its owner does not wait for longer than ColdStart.
func (m *Machine) gather(f *fleet) {
	w := m.wishes.cold
	most := w.since.Add(m.cfg.ColdStart)
	late := !m.now.Before(most)
	switch due := m.due(w); {
	case m.now.Before(due):
		m.by(due)
	case f.able == 0 || !m.listing.once && (w.why == plan.WhyFirstPlan || !late): // who or what is missing wakes by itself
		if late {
			m.move(f) // it says why not
		} else {
			m.by(most)
		}
	case m.assign(*f, w.why, causeOf(w.why), !m.controls.paused || w.why == plan.WhyFirstPlan, true):
		m.decided(w)
		m.wishes.cold, m.dirty = nil, true // for what operators want meanwhile
	}
}

// alone is decide while nobody may keep anything: all are lost, or drained. What nobody is
// there for waits; what the source lists no more need not.
func (m *Machine) alone(f *fleet) {
	m.move(f) // it says why not
	w := &m.wishes
	if w.planned == nil {
		return
	}
	if due := m.due(w.planned); m.now.Before(due) {
		m.by(due)
		return
	}
	m.retargeted, m.diverted = false, false // the strategy was not asked
	m.decided(w.planned)
}

// lookLater has the strategy asked when nobody else has by then.
func (m *Machine) lookLater() {
	if m.wishes.look.IsZero() {
		m.wishes.look = m.now.Add(m.cfg.Scale)
	}
}

// decided closes a window: its plan is made.
func (m *Machine) decided(w *window) {
	if w.why != plan.WhyBalance || m.retargeted || m.wishes.trigger == plan.WhyNone { // or it is about something else, and not about what was even
		m.wishes.trigger, m.wishes.about, m.wishes.from = w.why, w.about, w.since
	}
	if w != m.wishes.cold && m.retargeted {
		m.wishes.at = m.now
	}
	m.wishes.planned, m.wishes.look = nil, time.Time{}
	if m.diverted {
		m.wishes.look = m.now.Add(m.cfg.Cooldown)
	}
	for _, x := range m.members {
		s := m.sessionOf(x)
		unsure := m.keeps(x) && !m.takes(x) && (s == nil || !s.Leaving) // suspect, or its predecessor may still run
		if unsure || x.going > 0 && x.capacity > 0 {
			m.wishes.look = m.now.Add(m.cfg.Cooldown)
		}
	}
	m.welcome()
}

// welcome gives every live session a slice, perhaps an empty one.
func (m *Machine) welcome() {
	m.wishes.unmet = false
	for _, y := range m.roster.Members() {
		if s := &y.Session; y.State < roster.Suspect && s.Owns && !s.Leaving {
			x := m.members[m.member(s.Worker)]
			if x.session == s.Nonce || !m.vacant(x) {
				continue
			}
			if !m.room(x) {
				m.wishes.unmet, m.dirty = true, true
				return
			}
			m.address(x, s)
		}
	}
}

// urgent reports whether a partition is to be placed without waiting: its owner is
// lost, leaves, or is drained.
func (m *Machine) urgent(f *fleet) (yes bool, why plan.Why) {
	for i := range m.parts {
		p := &m.parts[i]
		if !m.wanting(p, f) {
			continue
		}
		reason := p.why
		switch {
		case m.banned(p, p.target):
			reason = plan.WhyBan
		case p.target != nobody && m.controls.drained[m.members[p.target].id]:
			reason = plan.WhyDrain
		case p.target != nobody:
			reason = m.whyGone(p.target)
		}
		if !yes || reason == plan.WhyLost {
			why = reason
		}
		yes = true
	}
	return yes, why
}

// stopping says who stops.
func (m *Machine) stopping() string {
	var who []string
	for _, x := range m.members {
		if s := m.sessionOf(x); s != nil && s.Leaving && x.stands {
			who = append(who, x.id)
		}
	}
	switch len(who) {
	case 0:
		return ""
	case 1:
		return who[0] + " stops"
	default:
		return people(who) + " stop"
	}
}

// wanting reports whether p needs a target now.
func (m *Machine) wanting(p *part, f *fleet) bool {
	if !p.listed || p.aside || p.blank || !p.placed || p.tried == m.round {
		return false
	}
	if p.target != nobody && f.at[p.target] >= 0 && !m.banned(p, p.target) {
		return false
	}
	if p.waitUntil.After(m.now) {
		m.by(p.waitUntil)
		return false
	}
	return true
}

// expire ends what has its time: quarantines, rejections and controls.
func (m *Machine) expire() {
	m.probation()
	m.forgive()
	m.controls.expire(m)
}

// watch says what waits too long.
func (m *Machine) watch() {
	m.unkept()
	var stuck map[string]int
	var unplaced, full, rejected int
	var example *part
	windowless := m.wishes.planned == nil && (m.wishes.cold == nil || m.stalled()) // nothing new waits for a window that closes by itself
	for i := range m.parts {
		p := &m.parts[i]
		if p.state == releasing {
			if at := p.at.Add(m.cfg.StuckAfter); m.now.Before(at) {
				m.by(at)
			} else {
				if stuck == nil {
					stuck = map[string]int{}
				}
				stuck[m.members[p.owner].id]++
			}
		}
		if p.rejections >= rejectTold && p.listed && !p.aside {
			rejected++
			if example == nil {
				example = p
			}
		}
		if p.state == free && p.listed && !p.aside && !p.blank && (p.placed || windowless) && p.target == nobody && !p.waitUntil.After(m.now) {
			switch {
			case p.tried == m.round:
				unplaced++
				full++
			case !p.bounced: // or it is tried once more
				unplaced++
			}
		}
	}
	for _, x := range m.members {
		if len(stuck) == 0 && len(m.alerts.on) == 0 {
			break // nor is anything to be taken back
		}
		text := ""
		switch n := stuck[x.id]; {
		case n == 1:
			text = fmt.Sprintf("1 partition waits for %s to let go, for more than %v", x.id, m.cfg.StuckAfter)
		case n > 1:
			text = fmt.Sprintf("%d partitions wait for %s to let go, the longest for more than %v", n, x.id, m.cfg.StuckAfter)
		}
		m.alerts.set("stuck "+x.id, text)
	}
	text := ""
	switch barred := m.barred(); {
	case unplaced == 0 || m.wishes.cold != nil && m.owners() > 0 && !m.stalled():
	case m.wishes.adopting:
		text = unassigned(unplaced) + ": the plan is being rebuilt from what workers hold"
	case m.wishes.retry.After(m.now):
		text = unassigned(unplaced) + ": the strategy has failed"
	case barred != "":
		text = unassigned(unplaced) + ": " + barred
	case full > 0:
		text = fmt.Sprintf("%s: no worker has room for %s (%s)", unassigned(full), them(full), m.full)
	default:
		text = fmt.Sprintf("%s: no worker is there to take %s", unassigned(unplaced), them(unplaced))
	}
	m.alerts.set("unassigned", text)
	text = ""
	switch {
	case rejected == 1:
		text = example.ID + " is rejected by one worker after the other"
	case rejected > 1:
		text = fmt.Sprintf("%d partitions are rejected by one worker after the other, for example %s", rejected, example.ID)
	}
	m.alerts.set("rejected", text)
	if why, on := m.roster.Doubt(); on {
		m.alerts.set("doubt", "nobody is declared lost for the time being: "+why)
	} else {
		m.alerts.set("doubt", "")
	}
}

func unassigned(n int) string {
	if n == 1 {
		return "1 partition is unassigned"
	}
	return itoa(n) + " partitions are unassigned"
}

func them(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}
