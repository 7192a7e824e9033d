package join

import (
	"slices"
	"time"

	"github.com/parti-go/parti/internal/roster"
)

// displaceAfter is how much longer than LostAfter a leader is given to put its
// tombstone. To be displaced costs the group the session's whole TTL, a tombstone
// about a second, so waiting for one is worth it.
const displaceAfter = 2 * time.Second

// ask is the question whether a session of the same identity still lives. It is
// alive when it answers a probe, or goes on renewing; it is displaced when nobody
// has listened to its name for long enough, or when it listens and gives no sign
// of life for its whole TTL.
type ask struct {
	of      Held
	since   time.Time // of the question
	quiet   time.Time // since when nobody listens; zero: somebody does, or unknown
	probing bool
	probe   time.Time // when to probe next
	renewed int       // renewals seen: one may have been under way when it died
}

func (m *Machine) begin(h Held) {
	m.at, m.ask = asking, ask{of: h, since: m.now, probe: m.now}
	m.out = Ready{Watch: h.Worker}
	m.asking()
}

// heard takes in what the key of the asked session holds now.
func (m *Machine) heard(h Held) {
	a := &m.ask
	switch {
	case h.Rev <= a.of.Rev && !h.over():
	case h.Unreadable || h.Session.Nonce != a.of.Session.Nonce:
		m.survey(false) // somebody else has it now
	case h.over():
		m.held[h.Worker] = h
		m.choose()
	default:
		a.of = h
		if a.renewed++; a.renewed > 1 {
			m.lives()
		}
	}
}

func (m *Machine) probed(f Probed) {
	a := &m.ask
	if m.at != asking || f.Nonce != a.of.Session.Nonce {
		return
	}
	a.probing = false
	a.probe = m.now.Add(m.cfg.ProbeInterval)
	switch f.Outcome {
	case roster.Answered:
		m.lives()
	case roster.NoResponders:
		if a.quiet.IsZero() {
			a.quiet = m.now
		}
		if m.now.Before(a.quiet.Add(m.cfg.EmergencyGrace)) {
			a.probe = m.now.Add(m.cfg.ProbeAgain)
		}
	default:
		a.quiet = time.Time{}
	}
}

// lives gives way to the other.
func (m *Machine) lives() {
	h := m.ask.of
	if m.cfg.Strict {
		m.at = done
		m.out = Ready{Err: &InUseError{Identity: m.cfg.Identity, Worker: h.Worker, Host: h.Session.Host}}
		return
	}
	m.alive[h.Session.Nonce] = true
	m.held[h.Worker] = h
	m.choose()
}

// displace is when the asked session is displaced if nothing more is heard of it.
func (a *ask) displace(m *Machine) time.Time {
	switch {
	case a.quiet.IsZero():
		return a.since.Add(a.of.Session.TTL.Duration())
	case m.leader && m.others():
		return a.quiet.Add(max(m.cfg.EmergencyGrace, m.cfg.LostAfter+displaceAfter))
	default:
		return a.quiet.Add(m.cfg.EmergencyGrace)
	}
}

// others tells whether there is anybody besides the asked one who could lead and
// put a tombstone.
func (m *Machine) others() bool {
	for _, h := range m.held {
		if h.Worker != m.ask.of.Worker && !h.over() {
			return true
		}
	}
	return false
}

// siblings tells whether a strict identity has another session than the asked one that has
// not ended, as far as known.
func (m *Machine) siblings() bool {
	return m.cfg.Strict && slices.ContainsFunc(m.mine(), func(h Held) bool {
		return !h.over() && h.Session.Nonce != m.ask.of.Session.Nonce
	})
}

func (m *Machine) asking() {
	a := &m.ask
	switch {
	case !m.now.Before(a.displace(m)) && !a.probing && m.siblings():
		m.silent[a.of.Session.Nonce] = a.of.Rev
		m.survey(false) // they are asked, too, as they stand now
	case !m.now.Before(a.displace(m)) && !a.probing:
		m.claim(a.of)
	case !a.probing && !m.now.Before(a.probe):
		a.probing = true
		m.out.Probe = a.of.Session.Nonce
	}
}

func (a *ask) wake(m *Machine) time.Time {
	if a.probing {
		return time.Time{} // the answer wakes
	}
	at := a.displace(m)
	if a.probe.Before(at) {
		at = a.probe
	}
	return at
}
