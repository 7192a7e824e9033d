package roster

import (
	"fmt"
	"time"
)

// Probe is the outcome of a probe.
type Probe uint8

// The outcomes.
const (
	Answered     Probe = iota // it is there
	NoAnswer                  // somebody listens under that name, but did not answer in time
	NoResponders              // nobody listens under that name
	Unprobed                  // the probe could not be sent
)

// A late renewal is one that came after lateAfter heartbeats; a session that has
// not been renewed for suspectAfter heartbeats is suspect; a renewal counts as
// missed after missedAfter heartbeats. Three on time make up for one late.
const (
	lateAfter    = 1.8
	missedAfter  = 1.25
	suspectAfter = 3.2
	madeUp       = 3
	probeSlot    = 20 * time.Millisecond // probes due within it are sent together
)

func beats(n float64, heartbeat time.Duration) time.Duration {
	return time.Duration(n * float64(heartbeat))
}

// punctual notes whether a renewal came in time.
func (r *Roster) punctual(now time.Time, m *Member, was time.Time) {
	if r.health.since.After(was) || !r.health.good(now, r.cfg.Heartbeat) {
		return // the store was away
	}
	if now.Sub(was) > beats(lateAfter, r.cfg.Heartbeat) {
		m.late = madeUp
		if m.State == Live {
			r.set(now, m, Slow, "renews late, after "+now.Sub(was).Round(time.Millisecond).String())
		}
	} else if m.late > 0 {
		if m.late--; m.late == 0 && m.State == Slow {
			r.set(now, m, Live, "in time again")
		}
	}
}

// Probed takes the outcome of a probe, and returns when the next one is due.
func (r *Roster) Probed(now time.Time, nonce string, p Probe) (next time.Time) {
	m := r.nonces[nonce]
	if m == nil || m.State == Ended {
		return now.Add(r.cfg.ProbeInterval)
	}
	m.probing = false
	m.probeAt = now.Add(r.cfg.ProbeInterval)
	if p == Answered && m.deaf.IsZero() && m.State <= Slow && !r.doubt.on {
		// As ever: it only puts off what there may be to conclude, and is no reason to look
		// at everybody. Answers are as frequent as renewals.
		m.answered, m.answer, m.reply = true, now, now
		return m.probeAt
	}
	switch p {
	case Answered:
		m.answered, m.answer, m.reply, m.deaf = true, now, now, time.Time{}
	case NoResponders:
		m.reply = now
		if m.deaf.IsZero() {
			m.deaf = now
		}
		m.probeAt = now.Add(r.cfg.ProbeAgain)
	case NoAnswer:
		m.deaf, m.late = time.Time{}, madeUp
		if m.State == Live {
			r.set(now, m, Slow, "answers probes late")
		}
	case Unprobed:
		m.deaf = time.Time{} // what cannot be asked does not stand
	}
	r.next = time.Time{}
	return m.probeAt
}

// Probes names the sessions to be probed now.
func (r *Roster) Probes(now time.Time) (nonces []string) {
	for _, m := range r.Members() {
		if m.State == Ended || m.Session.Nonce == r.cfg.Self || m.probing {
			continue
		}
		if m.probeAt.After(now.Add(probeSlot)) {
			continue
		}
		m.probing = true
		nonces = append(nonces, m.Session.Nonce)
	}
	return nonces
}

// NextProbe is when Probes should be asked again, not before a slot has passed.
func (r *Roster) NextProbe(now time.Time) time.Time {
	next := now.Add(time.Hour)
	for _, m := range r.members {
		if m.State != Ended && m.Session.Nonce != r.cfg.Self && !m.probing && m.probeAt.Before(next) {
			next = m.probeAt
		}
	}
	if least := now.Add(probeSlot); next.Before(least) {
		return least
	}
	return next
}

// suspect moves a silent session to Suspect, and an answering one back. It is
// reversible: a suspect only gets nothing new.
func (r *Roster) suspect(now time.Time, m *Member) {
	if m.gone {
		return // Vanished is as far as suspicion goes
	}
	silent := r.silence(now, m)
	switch after := beats(suspectAfter, r.cfg.Heartbeat); {
	case !m.deaf.IsZero() && m.answered:
		r.set(now, m, Suspect, "no responders")
	case silent >= after && r.health.good(now, r.cfg.Heartbeat):
		r.set(now, m, Suspect, "silent for "+silent.Round(100*time.Millisecond).String())
	default:
		if m.State == Suspect && silent < after {
			r.set(now, m, Live, "answers again")
		}
		r.by(now.Add(max(after-silent, r.cfg.Heartbeat/4)))
	}
}

// silence is how long a session has not been renewed while the store was provably
// healthy, counted anew after every gap of the store.
func (r *Roster) silence(now time.Time, m *Member) time.Duration {
	from := m.seen
	if r.health.since.After(from) {
		from = r.health.since
	}
	return max(0, now.Sub(from))
}

// judge says whether the leader is entitled to end a session, and why.
func (r *Roster) judge(now time.Time, m *Member) (v Verdict, ok bool) {
	if m.judged || m.Session.Nonce == r.cfg.Self || (m.State == Ended && !m.back) {
		return v, false
	}
	if m.back {
		return r.sentence(m, "came back after its end"), true
	}
	if r.Displaced(m.Session.Worker) {
		return v, false // a tombstone would end its predecessor, too, before that one's own TTL has passed
	}
	ttl := m.Session.TTL.Duration() // the session's own, not the leader's
	var why string
	if m.Session.Fenced {
		unseen := now.Sub(m.seen)
		if unseen < ttl {
			r.by(m.seen.Add(ttl))
			return v, false
		}
		why = fmt.Sprintf("not renewed for its TTL of %v", ttl)
	} else if why, ok = r.frozen(now, m, ttl); !ok {
		return v, false
	}
	return r.sentence(m, why), true
}

func (r *Roster) sentence(m *Member, why string) Verdict {
	m.judged, m.Verdict = true, why
	s := m.Session
	s.Tombstone = &Tombstone{Why: why}
	return Verdict{Session: s, Rev: m.Rev, Why: why}
}

// frozen holds the two ways in which a session that freezes in isolation is lost.
func (r *Roster) frozen(now time.Time, m *Member, ttl time.Duration) (why string, lost bool) {
	missed := m.missed || now.Sub(m.seen) > beats(missedAfter, r.cfg.Heartbeat)
	if !m.deaf.IsZero() && m.answered { // it had answered this leader on this connection
		stood := now.Sub(m.deaf)
		if stood >= r.cfg.EmergencyGrace && missed {
			return fmt.Sprintf("no responders for %v", stood.Round(100*time.Millisecond)), true
		}
		if !missed {
			r.by(m.seen.Add(beats(missedAfter, r.cfg.Heartbeat) + 1))
		}
		if stood < r.cfg.EmergencyGrace {
			r.by(m.deaf.Add(r.cfg.EmergencyGrace))
		}
	}
	if !r.health.good(now, r.cfg.Heartbeat) {
		return "", false
	}
	silent, limit := r.silence(now, m), r.cfg.LostAfter
	if now.Sub(m.answer) < r.cfg.LostAfter && !m.answer.IsZero() {
		limit = max(limit, ttl) // one that answers but does not renew is given its TTL
	}
	if silent < limit {
		r.by(now.Add(limit - silent))
		if limit > r.cfg.LostAfter {
			r.by(m.answer.Add(r.cfg.LostAfter))
		}
		return "", false
	}
	return fmt.Sprintf("silent for %v while the store was healthy", silent.Round(100*time.Millisecond)), true
}
