package member

import (
	"fmt"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/join"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/plan"
)

// A Machine is one member. It belongs to one goroutine: tell it facts with [Machine.Step], in
// the order in which they happened, and do what [Machine.Ready] says.
//
// It is made of parts that do not know each other, and only routes and decides who
// is there:
//
//	claim    until there is a session        join's hands
//	session  while there is one              hold's hands
//	watch    "                               what is followed and read
//	stand    "                               elect's hands
//	term     while it leads                  lead's hands
//	store    always                          whether the store is what it was
type Machine struct {
	*desk
	life  life // over when the member is
	store *store

	claim   *claim
	session *session
	watch   *watch
	stand   *stand
	term    *term

	newLeader func(lead.Config, lead.Found, time.Time) leader

	forget     []string     // by handlers: what was left to be said of a session that is over
	highest    plan.Version // ever seen, by any session of this member
	state      State
	connection Connected
	holes      int // in a row, without a following that has begun in between

	wish wish          // for a refresh
	exit *plan.Control // why the process is to end at once; nil: it is not

	leaving   bool
	abandoned bool
	resigned  bool // the leadership is being given up
	letGo     bool // it is, and the session leaves
	ending    bool // nothing is to be done any more but to wait for open writes
	done      bool
	err       error
}

// New makes a member that begins to join at now.
func New(cfg Config, now time.Time) *Machine {
	d := &desk{cfg: &cfg, now: now, calls: map[int]*call{}}
	m := &Machine{
		desk: d, newLeader: newLeader,
		store: &store{desk: d, keys: map[Key]kv.Rev{}},
	}
	m.store.renewed, d.note = m.renewed, m.store.mark
	return m
}

// Step takes a fact in. Time does not go back: an earlier now counts as the last.
func (m *Machine) Step(now time.Time, f Fact) {
	if m.done {
		return
	}
	if now.Before(m.now) {
		now = m.now
	}
	gap := now.Sub(m.now)
	m.now = now
	if m.claim == nil && m.session == nil && !m.ending && !m.leaving {
		m.join()
	}
	m.lagged(gap)
	m.fire()
	m.tick()
	m.take(f)
	m.settle()
}

// lagged ends a term whose own loop has not run for so long that others may have
// elected somebody: it must not lead without deciding.
func (m *Machine) lagged(gap time.Duration) {
	if m.term != nil && gap > m.cfg.LeaderTTL/2 {
		m.term.end(fmt.Sprintf("its own loop stood still for %v", gap), m.cfg.backOff())
	}
}

// tick tells the brains that it is time, those that asked for it.
func (m *Machine) tick() {
	due := func(at time.Time) bool { return !at.IsZero() && !m.now.Before(at) }
	if m.claim != nil && due(m.claim.rd.WakeAt) {
		m.claim.tell(join.Tick{})
	}
	if m.session != nil && due(m.session.rd.WakeAt) {
		m.session.tell(hold.Tick{})
	}
	if m.stand != nil && due(m.stand.rd.WakeAt) {
		m.stand.tell(elect.Tick{})
	}
}

func (m *Machine) take(f Fact) {
	switch f := f.(type) {
	case Tick:
	case Answer:
		m.answer(f)
	case Told:
		m.told(f.Record)
	case Following:
		m.following(f.Kinds)
	case Hole:
		m.hole()
	case Connected:
		m.connected(f)
	case Started:
		if m.session != nil {
			m.session.started(f.Lease)
		}
	case Exited:
		if m.session != nil {
			m.session.exited(f)
		}
	case Jumped:
		if m.claim != nil {
			m.claim.jumped = true
		}
		if m.session != nil {
			m.session.tell(hold.Jumped{})
		}
		m.interrupted()
	case Refresh:
		m.refresh()
	case StepDown:
		if m.term != nil {
			m.term.end("it was asked to step down", m.cfg.LeaderTTL)
		}
	case Leave:
		m.leave()
	case Abandon:
		m.leave()
		m.abandon()
	default:
		panic(fmt.Sprintf("member: unknown fact %T", f))
	}
}

// answer takes an answer to whom it was for, after all have learnt from it what
// they can.
func (m *Machine) answer(a Answer) {
	c := m.answered(a.ID)
	if c == nil {
		return
	}
	class := Outcome(a.Err)
	_, probe := c.req.(Probe)
	_, parts := c.req.(Partitions)
	if !probe && !parts {
		a.proof = m.store.answer(c, a)
		m.health(class, c.write)
	}
	if g, ok := c.req.(Get); ok && m.watch != nil {
		if r, err := a.record(g.Key); err == nil {
			m.watch.take(r, true)
		}
	}
	if !c.life.over {
		c.then(a)
	}
}

// health tells the brains how the store answered.
func (m *Machine) health(class Class, write bool) {
	if m.session != nil {
		switch class {
		case Fine, Missing, Stale:
			m.session.tell(hold.Healthy{})
		default:
			m.session.tell(hold.Failing{})
		}
	}
	if m.term != nil && class == Fine && write {
		m.term.tell(lead.Accepted{})
	}
}

func (m *Machine) told(r Record) {
	m.store.shows(r.Rev.Incarnation())
	m.asked(r)
	if m.claim != nil {
		m.claim.told(r)
	}
	if m.watch != nil {
		m.watch.take(r, false)
	}
	if m.term != nil {
		switch r.Key.Kind {
		case KindSession:
			m.term.fleet.told(r)
		case KindControl:
			m.term.controls.told(r)
		default: // the rest needs nothing here
		}
	}
}

// following reads what is followed from now on: what changed before was not told.
func (m *Machine) following(kinds []Follow) {
	if m.holes > 1 && m.term != nil {
		m.term.interrupted()
	}
	m.holes = 0
	var sessions, rest bool
	for _, k := range kinds {
		switch {
		case k.Kind == KindControl && k.Name != "": // who asks will ask again
		case k.Kind == KindSession, k.Kind == KindControl:
			sessions = true
		default:
			rest = true
		}
	}
	if rest && m.watch != nil {
		m.watch.readAll()
	}
	if sessions && m.term != nil {
		m.term.catchUp()
	}
	if sessions && m.claim != nil {
		m.claim.tell(join.Followed{})
	}
}

// hole notes that changes may have been missed. That a following does not begin, again and
// again, is no further interruption: a leader that may not follow would be in doubt for ever.
func (m *Machine) hole() {
	if m.holes++; m.holes == 1 {
		m.interrupted()
	} else if m.watch != nil {
		m.watch.readAll()
	}
}

func (m *Machine) interrupted() {
	if m.term != nil {
		m.term.interrupted()
	}
	if m.watch != nil {
		m.watch.readAll()
	}
}

func (m *Machine) connected(c Connected) {
	was := m.connection
	m.connection = c
	if c.Closed && !was.Closed {
		m.say(event.Alert{About: "connection", Text: "the connection to NATS is closed for good, and this worker cannot come back: it stops"})
		if m.leaving {
			m.drain()
		}
	}
	if c != was && m.stand != nil {
		m.stand.tell(elect.Interrupted{})
	}
	switch {
	case c.Interrupts != was.Interrupts && c.Up:
		m.interrupted()
	case c != was && m.term != nil:
		m.term.interrupted()
	}
}

// renewed starts everything again from what is held: the store is new and empty.
func (m *Machine) renewed() {
	if m.term != nil {
		m.term.end("the store was made anew", m.cfg.backOff())
	}
	if m.watch != nil {
		m.watch.readAll()
	}
}

// join begins to claim a worker ID.
func (m *Machine) join() {
	m.claim = newClaim(m.desk, m.store, m.highest)
}

// settle carries out what the brains ask for until none asks any more.
func (m *Machine) settle() {
	for range 10_000 {
		if !m.round() {
			m.settled()
			return
		}
	}
	panic("member: does not settle")
}

// round lets every part do what it has to, and reports whether any had something.
func (m *Machine) round() bool {
	if m.ending {
		return false
	}
	some := false
	if m.claim != nil {
		some = m.claim.pump()
		some = m.claimed() || some
	}
	if m.session != nil {
		some = m.session.pump() || some
		some = m.lead() || some
		some = m.handedOver() || some
		some = m.lost() || some
	}
	return some
}

// claimed goes on with what has become of the claim.
func (m *Machine) claimed() bool {
	c := m.claim
	switch {
	case c.won != nil:
		m.highest = max(m.highest, c.highest)
		m.claim, c.life.over = nil, true
		m.seat(c.won)
	case c.rd.Err != nil:
		m.finish(c.rd.Err)
	case m.leaving && (!c.busy() || m.abandoned):
		m.finish(nil)
	default:
		return false
	}
	return true
}

// seat begins the session that was claimed.
func (m *Machine) seat(w *won) {
	s := newSession(m.desk, m.store, w, m.highest)
	m.session = s
	if w.jumped {
		s.tell(hold.Jumped{})
	}
	m.stand = newStand(m.desk, s.life, elect.Leader{Worker: w.session.Worker, Nonce: w.session.Nonce})
	m.watch = newWatch(m.desk, m.store, s.life, w.session.Worker)
	m.watch.hold, m.watch.elect = s.tell, m.stand.tell
	m.watch.stale = func() bool { return s.rd.Stale }
	m.watch.begin()
	if m.leaving {
		m.handOver()
	}
}

// lead sees to it that there is a term exactly while the session leads.
func (m *Machine) lead() bool {
	rd := m.session.rd
	if rd.Stale {
		m.watch.check()
	}
	m.stand.enable(m.able())
	some := m.stand.pump()
	if m.term != nil && m.stand.rd.Leading { // a clock that has jumped ends the term before anything is concluded from it
		some = m.term.pump() || some
	}
	switch {
	case m.term == nil && m.stand.rd.Leading && !m.leaving:
		m.term = newTerm(m.desk, m.store, m.stand.me, m.newLeader)
		m.term.found.Replaced = m.stand.brain.Replaced()
		m.term.found.Past = m.store.past
		m.term.found.Highest = max(m.highest, m.session.wrote.Highest, m.watch.plan.Version)
	case m.term != nil && m.term.ended != "":
		back := m.term.back
		m.term = nil
		m.stand.tell(elect.GiveUp{Back: back})
	case m.term != nil && !m.stand.rd.Leading:
		m.term.end(m.stand.rd.Why, 0)
	default:
		return some
	}
	return true
}

// able tells whether the session may stand for leader: it is trusted, it stays, and
// its key is of the present store. One that is not there yet after the store was
// made anew would plan without itself.
func (m *Machine) able() bool {
	rd := m.session.rd
	switch rd.State {
	case hold.Draining, hold.FencedOff:
		return false
	default: // the rest needs nothing here
	}
	return m.cfg.Leads && !rd.Until.IsZero() && m.session.rev.Incarnation() >= m.store.shown
}

// lost goes on after the session's end.
func (m *Machine) lost() bool {
	s := m.session
	if !s.rd.Over || s.dirty {
		return false
	}
	if m.term != nil {
		m.term.end("its session is over", 0)
	}
	if rev, mine := m.stand.brain.Holding(); mine {
		m.ask(&m.life, m.stand.record(elect.Write{Last: rev, Remove: true}), func(Answer) {})
	}
	if s.brain.Lost() {
		m.say(event.SessionLost{Worker: s.base.Worker, Session: s.base.Nonce, Why: s.why})
	}
	m.highest = max(m.highest, s.wrote.Highest, m.watch.plan.Version)
	s.inTime()
	m.forget = s.out.forget
	s.life.over = true
	m.session, m.watch, m.stand, m.term = nil, nil, nil, nil
	if m.leaving {
		m.finish(nil)
	} else {
		m.join()
	}
	return true
}

// finish ends the member once no write is open.
func (m *Machine) finish(err error) {
	m.ending, m.err = true, err
	if m.claim != nil {
		m.claim.life.over = true
		m.claim = nil
	}
	m.life.over, m.store.life.over = true, true
}

// settled looks at what has become of it all.
func (m *Machine) settled() {
	if m.ending && m.writes == 0 && !m.done {
		m.done = true
	}
	if s := m.doing(); s != m.state {
		m.say(event.StateChanged{From: m.state.String(), To: s.String()})
		m.state = s
	}
}

// doing is the member's state.
func (m *Machine) doing() State {
	switch {
	case m.done:
		return Stopped
	case m.leaving || m.ending:
		return ShuttingDown
	case m.session == nil:
		return ClaimingID
	}
	switch m.session.rd.State {
	case hold.Waiting:
		if !m.cfg.Session.Owns { // it waits for nothing
			return Stable
		}
		return WaitingAssignment
	case hold.Stable:
		return Stable
	case hold.Isolated:
		return Degraded
	case hold.FencedOff:
		return Fenced
	default:
		return ShuttingDown
	}
}

var stateWords = [...]string{
	Init: "Init", ClaimingID: "ClaimingID", WaitingAssignment: "WaitingAssignment", Stable: "Stable",
	Degraded: "Degraded", Fenced: "Fenced", ShuttingDown: "ShuttingDown", Stopped: "Stopped",
}

// String is the word for s that logs, screens and events use.
func (s State) String() string { return stateWords[min(int(s), len(stateWords)-1)] }
