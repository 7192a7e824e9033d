package hold

import "time"

// A waker finds the next of several moments. What has come is no reason to wake:
// it was acted on.
type waker struct{ now, next time.Time }

func (w *waker) at(t time.Time) {
	if t.After(w.now) && (w.next.IsZero() || t.Before(w.next)) {
		w.next = t
	}
}

// wake is the next moment at which time alone changes something.
func (m *Machine) wake() time.Time {
	w := waker{now: m.now}
	if m.over() {
		return w.next
	}
	if m.renewal.out == nil && !m.silent() {
		w.at(m.renewal.due)
	}
	if !m.lost {
		m.wakeIsolation(&w)
		m.wakeHealth(&w)
	}
	for _, s := range m.slots.all {
		switch r := s.run; {
		case r == nil && !m.leaving:
			w.at(s.rest.until)
		case r == nil:
		case r.end == closing:
			w.at(r.asked.Add(m.cfg.DrainTimeout))
			w.at(m.stuckAt(r))
		default:
			w.at(m.stuckAt(r))
		}
	}
	return w.next
}

func (m *Machine) wakeIsolation(w *waker) {
	w.at(m.trust.until)
	if m.cfg.Fence {
		w.at(m.trust.fence())
	}
	if !m.cfg.Fence && m.cfg.MaxFreeze > 0 && !m.trust.lost.IsZero() {
		thaw := m.trust.lost.Add(m.cfg.MaxFreeze)
		w.at(thaw)
		w.at(thaw.Add(m.cfg.Margin))
	}
}

func (m *Machine) wakeHealth(w *waker) {
	if !m.health.degraded() {
		if m.cfg.Degraded.EnterAfter > 0 {
			w.at(m.health.good.Add(m.cfg.Degraded.EnterAfter))
		}
		return
	}
	levels, next := m.cfg.Alerts.reached(m.now.Sub(m.health.since))
	if next > 0 {
		w.at(m.health.since.Add(next))
	}
	if levels > 0 {
		w.at(m.cfg.Alerts.again(m.alarm.last))
	}
}
