package hold

import "time"

// A renewal is the one record that is on its way, and what is known of those before.
type renewal struct {
	out    *Report // on its way; nil: none
	asked  *Report // the last one asked for
	known  *Report // the last one known to have been stored
	tossed bool    // out was asked for before the clock jumped

	due    time.Time // when to ask next
	paused bool      // due ends a pause, that news do not cut short
	failed int       // answers without an outcome, in a row
	again  bool      // the last answer was a refusal
	resume bool      // the key is gone, and to be made again
}

// jumped takes the weight off what is on its way, and asks for another at once.
func (r *renewal) jumped(now time.Time) {
	r.tossed, r.due = r.out != nil, now
}

// stored notes what stands in the store now.
func (r *renewal) stored(rep *Report) {
	r.out, r.known = nil, rep
	r.paused, r.failed, r.again, r.resume = false, 0, false, false
}

// unknown notes that nobody knows what stands in the store. It is written again in
// any case, after a pause that grows from a quarter of the interval to all of it.
func (r *renewal) unknown(now time.Time, interval time.Duration) {
	r.out, r.again = nil, false
	r.pause(now, interval)
}

// refused writes again in any case, and at once, unless the answer before was a
// refusal too.
func (r *renewal) refused(now time.Time, interval time.Duration) {
	r.out = nil
	if r.again {
		r.pause(now, interval)
		return
	}
	r.due, r.again = now, true
}

func (r *renewal) pause(now time.Time, interval time.Duration) {
	r.due, r.paused = now.Add(min(interval/4<<min(r.failed, 2), interval)), true
	r.failed++
}

// wants reports whether rep is to be written now.
func (r *renewal) wants(now time.Time, rep *Report) bool {
	if !now.Before(r.due) {
		return true
	}
	return !r.paused && rep.differs(r.known)
}

// ask notes that rep is on its way.
func (r *renewal) ask(now time.Time, interval time.Duration, rep *Report) {
	r.out, r.asked, r.tossed = rep, rep, false
	r.due = now.Add(interval)
}

// renewed takes the store's word for the record on its way.
func (m *Machine) renewed(sent time.Time) {
	m.health.healthy(m.now)
	r := &m.renewal
	if r.out == nil || !r.tossed { // not sent before the clock jumped, whatever the clock says
		m.trust.renewed(m.now, sent)
	}
	if r.out != nil {
		m.stored(r.out)
	}
}

// stored notes what stands in the store.
func (m *Machine) stored(rep *Report) {
	m.renewal.stored(rep)
	m.left = m.left || rep.Left
}

// speak hands out the next record, when it is time or there is news.
func (m *Machine) speak(rd *Ready) {
	switch {
	case m.renewal.out != nil: // one at a time
		return
	case m.silent(), m.abandoned && m.spoken:
		return
	}
	rep := m.report()
	if !m.abandoned && !m.renewal.wants(m.now, &rep) {
		return
	}
	out := rep
	rd.Renew = &out
	m.renewal.ask(m.now, m.cfg.Interval, rd.Renew)
	m.spoken = m.spoken || rep.Left
}
