package elect

import (
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
)

// perProbe is how many workers share one ProbeInterval: a thousand candidates that
// each probed the leader twice a second would keep it busy with answering.
const perProbe = 8

// watch is the candidate's eye on the holder of the key.
type watch struct {
	next     time.Time // when to probe; zero: not decided
	out      bool      // a probe is on its way
	quiet    time.Time // since when nobody listens to the holder's name; zero: somebody does
	answered time.Time // its last answer on this connection; zero: none
	seen     time.Time // when the holder's session was first read at rev; zero: never
	rev      kv.Rev
}

// interrupted forgets what was heard on a connection that is no more.
func (w *watch) interrupted() { w.out, w.quiet, w.answered = false, time.Time{}, time.Time{} }

// watching tells whether there is a holder to look after.
func (m *Machine) watching() bool {
	return m.able && !m.left && m.key.known && !m.key.gone && m.key.by != m.cfg.Me && m.key.by.Nonce != ""
}

func (w *watch) look(m *Machine) {
	switch {
	case !m.watching() || w.out:
	case w.next.IsZero():
		w.next = m.now.Add(m.chance(w.mean(m)))
	case !m.now.Before(w.next):
		w.out, m.ask.probe = true, m.key.by.Nonce
	}
}

// pause is the time to the next probe, so that the group as a whole probes a few
// times per interval, at random times.
func (w *watch) pause(m *Machine) time.Duration {
	mean := w.mean(m)
	return mean/2 + m.chance(mean)
}

func (w *watch) mean(m *Machine) time.Duration {
	return m.cfg.ProbeInterval * time.Duration(max(m.size/perProbe, 1))
}

func (w *watch) probed(m *Machine, f Probed) {
	if !w.out || f.Nonce != m.key.by.Nonce {
		return
	}
	w.out = false
	if f.Outcome == roster.Answered {
		w.answered = m.now
	}
	if f.Outcome != roster.NoResponders {
		w.quiet = time.Time{}
		w.next = m.now.Add(w.pause(m))
		return
	}
	if w.quiet.IsZero() {
		w.quiet = m.now
		m.ask.holder = m.key.by.Worker
	}
	w.next = m.now.Add(m.cfg.ProbeAgain)
}

// stood notes since when the holder has not renewed its session, as far as was read.
func (w *watch) stood(m *Machine, f Stood) {
	if f.Nonce == m.key.by.Nonce && (w.seen.IsZero() || f.Rev != w.rev) {
		w.seen, w.rev = m.now, f.Rev
	}
}

// dead is when the holder counts as gone, if nobody listens to its name until then
// and it does not renew; zero: not for this reason.
func (w *watch) dead(m *Machine) time.Time {
	if w.quiet.IsZero() {
		return time.Time{}
	}
	at := w.quiet.Add(m.cfg.EmergencyGrace)
	if missed := m.key.since.Add(m.cfg.Heartbeat * 5 / 4); missed.After(at) {
		at = missed
	}
	return at
}

// silent tells whether the holder is gone, as far as probes can tell.
func (w *watch) silent(m *Machine) bool {
	at := w.dead(m)
	return !at.IsZero() && !m.now.Before(at)
}

func (w *watch) wake(m *Machine) time.Time {
	if w.out || !m.watching() {
		return time.Time{}
	}
	return w.next
}
