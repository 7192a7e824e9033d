package hold

import "time"

// An alarm remembers which level of degraded mode people were last told of.
type alarm struct {
	since time.Time // the degraded mode that it is about
	level int       // levels told so far
	last  time.Time // when
}

// reached counts the levels that an age has reached, and says when the next is.
// A level that comes before a lower one raises the alarm to itself.
func (a *Alerts) reached(age time.Duration) (levels int, next time.Duration) {
	for i, at := range [...]time.Duration{a.Info, a.Warn, a.Error, a.Critical} {
		switch {
		case at <= 0: // never
		case age >= at:
			levels = i + 1
		case next == 0 || at < next:
			next = at
		}
	}
	return levels, next
}

// again is when an alert given at last is repeated; zero: never.
func (a *Alerts) again(last time.Time) time.Time {
	if a.Interval <= 0 {
		return time.Time{}
	}
	return last.Add(a.Interval)
}

// due reports whether t, unless zero, has come.
func due(now, t time.Time) bool { return !t.IsZero() && !now.Before(t) }

// alert hands out what people should know of.
func (m *Machine) alert(rd *Ready) {
	m.alertDegraded(rd)
	m.alertStuck(rd)
}

// alertDegraded tells each level once when it is reached, and repeats it. Of levels
// reached together it tells the highest.
func (m *Machine) alertDegraded(rd *Ready) {
	if !m.alarm.since.Equal(m.health.since) {
		m.alarm = alarm{since: m.health.since}
	}
	if !m.health.degraded() || m.lost || m.over() {
		return
	}
	age := m.now.Sub(m.health.since)
	levels, _ := m.cfg.Alerts.reached(age)
	if levels == 0 || levels == m.alarm.level && !due(m.now, m.cfg.Alerts.again(m.alarm.last)) {
		return
	}
	m.alarm.level, m.alarm.last = levels, m.now
	rd.Alerts = append(rd.Alerts, Alert{
		Kind:  AlertDegraded,
		Level: Level(levels - 1),
		For:   age,
	})
}

// alertStuck names handlers that go on after their Hard has ended, and those that do
// not come to run.
func (m *Machine) alertStuck(rd *Ready) {
	for _, s := range m.slots.all {
		if s.run == nil || !due(m.now, m.stuckAt(s.run)) {
			continue
		}
		kind := AlertStuck
		if s.run.end != closed {
			kind = AlertUnstarted
		}
		s.run.alerted = m.now
		rd.Alerts = append(rd.Alerts, Alert{
			Kind:      kind,
			Level:     LevelError,
			Partition: s.id,
			For:       m.now.Sub(s.run.owes()),
		})
	}
}

// stuckAt is when r is next called stuck; zero: never.
func (m *Machine) stuckAt(r *run) time.Time {
	since := r.owes()
	switch {
	case since.IsZero():
		return time.Time{}
	case r.alerted.IsZero():
		return since.Add(m.cfg.StuckAfter)
	}
	return m.cfg.Alerts.again(r.alerted)
}
