package member

import (
	"time"

	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/plan"
)

// Ready is what is to be done now.
func (m *Machine) Ready() Ready {
	rd := Ready{Ops: m.ops, Events: m.events, State: m.state, Done: m.done, Err: m.err, Closed: m.connection.Closed}
	m.ops, m.events = nil, nil
	if m.done {
		return rd
	}
	rd.Forget, m.forget = m.forget, nil
	rd.Follow = m.follow()
	rd.WakeAt = m.wakeAt()
	if m.claim != nil {
		rd.Answering = m.claim.answer
	}
	if s := m.session; s != nil {
		rd.Hard, rd.Stop, rd.Start, rd.Prepare = s.out.hard, s.out.stop, s.out.start, s.out.prepare
		rd.Forget = append(rd.Forget, s.out.forget...)
		s.out = orders{}
		rd.Trusted, rd.Until, rd.Answering, rd.WorkerID = s.rd.Trusted, s.rd.Until, s.base.Nonce, s.base.Worker
		rd.Applied = s.brain.Applied() != 0 || !m.cfg.Session.Owns
	}
	rd.Leading = m.term != nil && m.term.took
	rd.Exit = m.exit
	return rd
}

// follow is what is to be followed now, in one order.
func (m *Machine) follow() []Follow {
	var fs []Follow
	if c := m.claim; c != nil {
		switch {
		case c.rd.Spare:
			fs = append(fs, Follow{Kind: KindSession})
		case c.rd.Watch != "":
			fs = append(fs, Follow{KindSession, c.rd.Watch})
		}
	}
	if m.session != nil {
		fs = append(fs, Follow{Kind: KindPlan}, Follow{Kind: KindLeader}, Follow{KindSlice, m.session.base.Worker})
		if m.term == nil {
			fs = append(fs, Follow{KindControl, releaseName(m.session.base.Worker)})
		}
	}
	if m.term != nil {
		fs = append(fs, Follow{Kind: KindSession}, Follow{Kind: KindControl})
	}
	return fs
}

func (m *Machine) wakeAt() time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, t := range m.timers {
		if !t.life.over {
			sooner(t.at)
		}
	}
	if m.claim != nil {
		sooner(m.later(m.claim.rd.WakeAt))
	}
	if m.session != nil {
		sooner(m.later(m.session.rd.WakeAt))
		sooner(m.later(m.stand.rd.WakeAt))
	}
	return at
}

// later is when to step a brain that asked for at: never twice at one time.
func (m *Machine) later(at time.Time) time.Time {
	if least := m.now.Add(time.Millisecond); !at.IsZero() && at.Before(least) {
		return least
	}
	return at
}

// Hold is the brain of the session, to look at; nil when there is none.
func (m *Machine) Hold() *hold.Machine {
	if m.session == nil {
		return nil
	}
	return m.session.brain
}

// Term is the number of the term that this member leads; 0: none.
func (m *Machine) Term() uint64 {
	if m.term == nil || !m.term.took {
		return 0
	}
	return m.term.number()
}

// Leader is who leads as far as this member knows; zero: nobody.
func (m *Machine) Leader() elect.Leader {
	if m.stand == nil {
		return elect.Leader{}
	}
	return m.stand.rd.Leader
}

// Head is the head of the plan as last seen; zero: none.
func (m *Machine) Head() plan.Head {
	if m.watch == nil {
		return plan.Head{}
	}
	return m.watch.plan
}
