package hold

import (
	"fmt"
	"time"

	"github.com/parti-go/parti/plan"
)

// A Machine is one session's brain. It is a value for one caller at a time: tell
// it facts with Step, in the order in which they happened, and do what Ready says.
type Machine struct {
	cfg Config
	now time.Time // of the last step

	trust   trust
	mandate       // what may run
	slots   table // what does
	renewal renewal
	health  health
	alarm   alarm
	ending

	// stale: the own slice must be heard again before anything starts.
	stale bool
	// unplanned: resumed where no plan stands. What runs goes on, nothing starts.
	unplanned bool
	givenUp   int // counts how often leases were given up
}

// New is the brain of a session whose claim is stored. Sent is when the claim's
// write was sent: it is the first renewal, and says nothing but zero values.
func New(cfg Config, now, sent time.Time) *Machine {
	cfg.MovesInFlight = max(cfg.MovesInFlight, 1)
	claim := &Report{}
	m := &Machine{
		cfg:     cfg,
		now:     now,
		trust:   trust{length: cfg.TTL - cfg.Margin},
		renewal: renewal{asked: claim, known: claim, due: sent.Add(cfg.Interval)},
		health:  health{cfg: cfg.Degraded, good: now},
	}
	m.trust.renewed(now, sent)
	m.lapse()
	m.health.look(now, m.trust.at(now))
	return m
}

// Step tells the Machine that f has happened, and what time it is, on a clock that
// counts suspension and never goes back: an earlier now counts as the last one.
func (m *Machine) Step(now time.Time, f Fact) {
	if now.After(m.now) {
		m.now = now
	}
	m.lapse()
	m.take(f)
	m.health.look(m.now, m.trust.at(m.now))
}

func (m *Machine) take(f Fact) {
	switch f := f.(type) {
	case Started:
		m.started(f.Lease)
		return
	case Exited:
		m.exited(f.Lease, f.How)
		return
	default: // the rest needs nothing here
	}
	if m.lost { // nothing else matters any more
		return
	}
	switch f := f.(type) {
	case Tick:
	case Renewed:
		m.renewed(f.Sent)
	case RenewFailed:
		m.renewal.unknown(m.now, m.cfg.Interval)
	case Found:
		m.found(f)
	case Sliced:
		m.sliced(f.Slice)
	case Seen:
		m.highest = max(m.highest, f.Version)
	case Healthy:
		m.health.healthy(m.now)
	case Failing:
		m.health.failing(m.now)
	case Jumped:
		m.jumped()
	case Leave:
		m.leave()
	case Abandon:
		m.abandon()
	case Started, Exited: // above
	default:
		panic(fmt.Sprintf("hold: unknown fact %T", f))
	}
}

// Ready is what is to be done, and how things are, at the time of the last Step.
func (m *Machine) Ready() Ready {
	var rd Ready
	m.stop(&rd)
	m.start(&rd)
	m.forget(&rd)
	m.prepare(&rd)
	m.speak(&rd)
	m.alert(&rd)
	rd.Stale = m.stale && m.alive() && !(m.leaving && m.slots.running() == 0)
	if m.alive() {
		rd.Until = m.trust.until
	}
	rd.Trusted = m.trusted()
	rd.State = m.state()
	rd.Over = m.over()
	rd.WakeAt = m.wake()
	return rd
}

// alive reports whether the session can be proved.
func (m *Machine) alive() bool { return !m.lost && !m.over() && m.trust.at(m.now) }

// trusted is until when ownership is provable; the zero time: it is not. A session
// whose slice may have changed while it was not trusted proves nothing.
func (m *Machine) trusted() time.Time {
	if !m.alive() || m.stale || m.unplanned {
		return time.Time{}
	}
	return m.trust.until
}

// Check reports whether it is provable at now that the session owns l and runs it.
func (m *Machine) Check(now time.Time, l plan.Lease) bool {
	s := m.slots.at(l.Partition)
	return s != nil && s.run != nil && s.run.grant.Token == l.Token && !m.trusted().IsZero() && m.trust.at(now)
}

// Holding reports whether a handler of the partition may still be running.
func (m *Machine) Holding(partition string) bool {
	s := m.slots.at(partition)
	return s != nil && s.run != nil
}

// Lost reports whether the session is lost: its record is another's, or ended, or gone.
func (m *Machine) Lost() bool { return m.lost }

// Applied is the version of the slice that is acted on; 0: none yet.
func (m *Machine) Applied() plan.Version { return m.applied }

// Left reports whether the session's last words are stored.
func (m *Machine) Left() bool { return m.left }

// An Assignment is what a session acts on.
type Assignment struct {
	Version plan.Version // of the slice applied; 0: none yet
	Held    []Held       // sorted by partition, then token
}

// A Held is a lease that is granted, or still runs, or both.
type Held struct {
	plan.Grant
	Granted bool  // by the slice
	Phase   Phase // of its handler
}

// Phase is how far the handler of a lease is.
type Phase uint8

// The phases of a handler.
const (
	Queued   Phase = iota // not running: waits for its turn, its back-off, or trust
	Starting              // called
	Running               // said to be running
	Ending                // asked to end
	Ended                 // returned for good: Done or Rejected
)

// Assignment is what the session is granted and what it runs.
func (m *Machine) Assignment() Assignment {
	a := Assignment{Version: m.applied}
	for _, s := range m.slots.all {
		if r := s.run; r != nil {
			h := Held{Grant: r.grant, Granted: s.grants(r.grant.Token), Phase: Starting}
			switch {
			case r.end != open:
				h.Phase = Ending
			case r.started:
				h.Phase = Running
			}
			a.Held = append(a.Held, h)
		}
		if s.granted && (s.run == nil || !s.grants(s.run.grant.Token)) {
			h := Held{Grant: s.grant, Granted: true}
			if s.rest.final {
				h.Phase = Ended
			}
			a.Held = append(a.Held, h)
		}
	}
	return a
}
