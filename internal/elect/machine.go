package elect

import (
	"fmt"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
)

// The pause after a write that was not accepted: it doubles from pauseLeast.
const (
	pauseLeast = 100 * time.Millisecond
	pauseMost  = 2 * time.Second
)

// spread is the longest random delay of a candidacy in a small group. A larger
// group spreads out more, so that all but the first few learn of the winner before
// it is their turn.
const (
	spread     = 20 * time.Millisecond
	spreadMost = 500 * time.Millisecond
	perSpread  = 25 // workers per spread
)

// key is what is known of the key.
type key struct {
	known bool
	gone  bool
	rev   kv.Rev
	by    Leader
	since time.Time // when it was seen to change, on our own clock
}

// A Machine is one session's candidacy.
type Machine struct {
	cfg Config
	now time.Time

	key   key
	able  bool
	left  bool
	back  time.Time // stands back until then
	size  int
	ended string // a nonce whose session has provably ended

	leading bool
	until   time.Time // leads until then, unless renewed
	renew   time.Time // when to renew next
	why     string

	due    time.Time // of the candidacy; zero: none
	out    *Write    // on its way
	unsure bool      // the key must be read before the next write
	pause  time.Duration
	next   time.Time // no write before then

	watch    watch
	replaced roster.Silence

	ask struct { // not handed out yet
		write, read bool
		probe       string
		holder      string
	}
}

// New makes a machine that knows nothing; tell it what the key says.
func New(cfg Config, now time.Time) *Machine {
	return &Machine{cfg: cfg, now: now, size: 1}
}

// Step takes a fact in.
func (m *Machine) Step(now time.Time, f Fact) {
	m.now = now
	m.lapse()
	switch f := f.(type) {
	case Tick:
	case Able:
		if m.able = f.Yes; !f.Yes {
			m.lose("its session is not trusted")
		}
	case Saw:
		m.saw(f)
	case Gone:
		m.gone(f)
	case Ended:
		m.ended = f.Nonce
	case Stood:
		m.watch.stood(m, f)
	case Probed:
		m.watch.probed(m, f)
	case Interrupted:
		m.watch.interrupted()
	case Wrote:
		m.wrote(f)
	case Refused, Unknown:
		if m.out != nil {
			m.out, m.unsure, m.ask.read = nil, true, true
			m.pause = min(max(2*m.pause, pauseLeast), pauseMost)
			m.next = m.now.Add(m.pause)
		}
	case Size:
		m.size = max(f.Workers, 1)
	case GiveUp:
		m.lose("given up")
		m.back = m.now.Add(f.Back)
	case Leave:
		m.lose("leaving")
		m.left = true
	default:
		panic(fmt.Sprintf("elect: unknown fact %T", f))
	}
	m.decide()
}

// Ready hands out what is to be done.
func (m *Machine) Ready() Ready {
	rd := Ready{
		Read: m.ask.read, Probe: m.ask.probe, Holder: m.ask.holder,
		Leading: m.leading, Why: m.why, Out: m.left && m.free(), Leader: m.key.by,
		WakeAt: m.wake(),
	}
	if m.ask.write {
		w := *m.out
		rd.Write = &w
	}
	m.ask.write, m.ask.read, m.ask.probe, m.ask.holder = false, false, "", ""
	return rd
}

// free tells whether the key is not ours and cannot become ours any more.
func (m *Machine) free() bool {
	return m.out == nil && !m.unsure && !m.mine()
}

// mine tells whether the key names this session, whether or not it leads.
func (m *Machine) mine() bool { return m.key.known && !m.key.gone && m.key.by == m.cfg.Me }

// standing tells whether it wants to lead.
func (m *Machine) standing() bool { return m.able && !m.left && !m.now.Before(m.back) }

func (m *Machine) saw(f Saw) {
	if f.Read {
		m.unsure = false
	}
	if m.key.known && f.Rev <= m.key.rev {
		return // older, or nothing new: whether it is so, a write will tell
	}
	m.changed(key{known: true, rev: f.Rev, by: f.Leader})
	if !m.mine() {
		m.lose(fmt.Sprintf("%s has taken over", f.Leader.Worker))
	}
}

func (m *Machine) gone(f Gone) {
	sure := f.Read && m.unsure // a renewal was refused, and this is why
	if f.Read {
		m.unsure = false
	}
	switch {
	case m.key.known && m.key.gone:
		m.key.rev = max(m.key.rev, f.Rev)
		if sure { // the marker has been cleared away, or the store is another
			m.key.rev = f.Rev
		}
		return
	case m.key.known && f.Rev != 0 && f.Rev <= m.key.rev:
		return
	case m.leading && f.Rev == 0 && !sure:
		return // perhaps an old answer; the next renewal will tell
	}
	m.changed(key{known: true, gone: true, rev: f.Rev})
	m.lose("the key was removed")
}

// changed takes in what the key says now.
func (m *Machine) changed(k key) {
	k.since = m.now
	if k.by != m.key.by {
		m.watch = watch{}
	}
	m.key = k
	m.due = time.Time{}
}

func (m *Machine) wrote(f Wrote) {
	w := m.out
	if w == nil {
		return
	}
	m.out, m.pause, m.next = nil, 0, time.Time{}
	if f.Rev < m.key.rev { // it has changed since
		m.unsure, m.ask.read = true, true
		return
	}
	if w.Remove {
		m.changed(key{known: true, gone: true, rev: f.Rev})
		m.lose("the key was removed")
		return
	}
	m.changed(key{known: true, rev: f.Rev, by: m.cfg.Me})
	until := f.Sent.Add(m.cfg.Held())
	if !m.standing() || !m.now.Before(until) {
		return // it is removed again, or renewed
	}
	if !m.leading {
		m.leading, m.why = true, ""
	}
	m.until, m.renew = until, m.now.Add(m.cfg.Heartbeat)
}

// lapse ends a leadership that was not renewed in time.
func (m *Machine) lapse() {
	if m.leading && !m.now.Before(m.until) {
		m.lose(fmt.Sprintf("the store has taken no renewal for %v", m.cfg.Held()))
	}
}

// lose ends the leadership. Somebody else gets a chance first.
func (m *Machine) lose(why string) {
	if !m.leading {
		return
	}
	m.leading, m.why = false, why
	m.back = m.now.Add(m.cfg.LeaderTTL / 2)
}

// decide asks for what is to be done now.
func (m *Machine) decide() {
	m.watch.look(m)
	if m.out != nil || m.unsure || !m.key.known {
		return
	}
	switch {
	case m.leading:
		if !m.now.Before(m.renew) && !m.now.Before(m.next) {
			m.write(Write{Last: m.key.rev})
		}
	case m.mine():
		// The answer was lost and it is ours all the same, or we have given it up.
		if !m.now.Before(m.next) {
			m.write(Write{Last: m.key.rev, Remove: !m.standing()})
		}
	case m.standing() && m.vacant():
		if m.due.IsZero() {
			m.due = m.now.Add(m.delay())
		}
		if !m.now.Before(m.due) && !m.now.Before(m.next) {
			m.due = time.Time{}
			m.write(Write{Last: m.key.rev})
		}
	default:
		m.due = time.Time{}
	}
}

func (m *Machine) write(w Write) {
	m.out, m.ask.write = &w, true
	m.replaced = roster.Silence{}
	if !m.mine() && !m.key.gone && m.watch.silent(m) && !m.watch.answered.IsZero() {
		m.replaced = roster.Silence{
			Nonce: m.key.by.Nonce, Answered: m.watch.answered, Deaf: m.watch.quiet,
			Seen: m.watch.seen, Rev: m.watch.rev,
		}
	}
}

// Replaced is the holder that this session has replaced, when it was gone as far as
// probes could tell, after it had answered on this very connection.
func (m *Machine) Replaced() roster.Silence { return m.replaced }

// delay is the random time before a candidacy.
func (m *Machine) delay() time.Duration {
	return m.chance(min(spread*time.Duration(1+m.size/perSpread), spreadMost))
}

// chance is a random time below most, which is positive.
func (m *Machine) chance(most time.Duration) time.Duration {
	return time.Duration(m.cfg.Random() % uint64(most))
}

// vacant tells whether nobody holds the key, or its holder is gone.
func (m *Machine) vacant() bool {
	k := m.key
	switch {
	case k.gone, m.ended != "" && k.by.Nonce == m.ended:
		return true
	case !m.now.Before(k.since.Add(m.cfg.LeaderTTL)):
		return true
	}
	return m.watch.silent(m)
}

func (m *Machine) wake() time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	later := func(t, u time.Time) time.Time {
		if u.After(t) {
			return u
		}
		return t
	}
	if m.leading {
		sooner(m.until)
	}
	if m.out == nil && !m.unsure && m.key.known {
		switch {
		case m.leading:
			sooner(later(m.renew, m.next))
		case m.mine():
			sooner(later(m.now, m.next))
		case m.able && !m.left && m.now.Before(m.back):
			sooner(m.back)
		case m.standing() && !m.due.IsZero():
			sooner(later(m.due, m.next))
		case m.standing():
			sooner(m.key.since.Add(m.cfg.LeaderTTL))
			sooner(m.watch.dead(m))
		}
	}
	sooner(m.watch.wake(m))
	return at
}

// Holding is the revision of the key, if it is known to name this session and
// nothing is on its way that would change it.
func (m *Machine) Holding() (kv.Rev, bool) { return m.key.rev, m.mine() && m.out == nil }
