package hold

// fence is what isolation demands of every handler.
type fence uint8

const (
	open    fence = iota
	closing       // contexts end
	closed        // and Hard
)

// fence says how far the fence is shut.
//
// Under Fence handlers are asked to end when a quarter of the trust is left, and
// Hard ends with it. Under Freeze they go on, but for MaxFreeze: that long after
// trust was lost they are asked to end, and Hard ends a Margin later.
func (m *Machine) fence() fence {
	trusted := m.trust.at(m.now)
	if m.cfg.Fence {
		switch {
		case !trusted:
			return closed
		case !m.now.Before(m.trust.fence()):
			return closing
		}
		return open
	}
	if trusted || m.cfg.MaxFreeze <= 0 {
		return open
	}
	thaw := m.trust.lost.Add(m.cfg.MaxFreeze)
	switch {
	case m.now.Before(thaw):
		return open
	case m.now.Before(thaw.Add(m.cfg.Margin)):
		return closing
	}
	return closed
}

// lapse notes that trust has ended since the last step. What was granted then may
// have changed before it is back.
func (m *Machine) lapse() {
	if m.trust.lapsed(m.now) {
		m.stale = true
		m.giveUp()
	}
}

// giveUp ends, under Fence, every lease that is granted: it ended with the trust,
// and is not taken up again when trust comes back. The store may have gone back
// meanwhile, to a slice that had been overruled; the leader's next commit would
// not pass there. The same worker gets a new token, which stops its own late writes.
func (m *Machine) giveUp() {
	if !m.cfg.Fence {
		return
	}
	m.givenUp++
	for _, s := range m.slots.all {
		if s.granted && !s.rest.final {
			s.rest = rest{final: true, how: gaveUp}
		}
	}
}

// jumped is a lapse at once.
func (m *Machine) jumped() {
	m.trust.jumped(m.now)
	m.renewal.jumped(m.now)
	m.stale = true
	m.giveUp()
}

// found says what becomes of the session after what stands at its key.
func (m *Machine) found(f Found) {
	m.health.healthy(m.now)
	switch f.Key {
	case Own:
		// It was stored, but nobody knows when: the record counts, trust does not.
		m.stored(m.renewal.asked)
	case OwnOlder:
		// The store may have gone back, and the plan with it.
		m.stale = true
		m.renewal.refused(m.now, m.cfg.Interval)
		m.renewal.resume = false
	case Gone:
		m.gone(f)
	case Tombstone, Foreign:
		m.lost = true
	}
}

// gone resumes the session where that cannot bring a second owner that Freeze
// does not allow for anyway.
func (m *Machine) gone(f Found) {
	switch {
	case m.cfg.Fence: // silence is death
		m.lost = true
	case f.Plan && !f.Mine: // the plan goes on without this session
		m.lost = true
	case m.leaving && m.slots.running() == 0: // nothing to resume for
		m.lost = true
	default:
		m.stale = true
		m.unplanned = !f.Plan
		m.renewal.refused(m.now, m.cfg.Interval)
		m.renewal.resume = true
	}
}

// state is what to tell people.
func (m *Machine) state() State {
	switch {
	case m.leaving && m.slots.running() == 0: // whatever became of the session
		return Draining
	case m.lost:
		return FencedOff
	case m.leaving:
		return Draining
	case m.fence() != open:
		return FencedOff
	case m.health.degraded():
		return Isolated
	case m.applied == 0:
		return Waiting
	}
	return Stable
}
