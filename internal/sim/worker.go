package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// A host runs one process at a time.
type host struct {
	w     *world
	n     int
	spec  Host
	proc  *process // nil: none
	boots int
	link  link
	does  behaviour
	// identity changes when a fault says that somebody else comes back.
	identity int
	// rate is how much faster the clock runs, in millionths; local and at are its
	// reading at the last change of rate.
	rate  int
	local time.Duration
	at    time.Duration
	lag   time.Duration

	// unwell is until when faults of scheduling and clocks excuse the host.
	unwell time.Duration
	// misled is until when it may read what is past, or its writes come late.
	misled time.Duration
	// overSkew is set once the clock's rate was beyond what the settings allow.
	overSkew bool
	// healthy is since when no fault of the link or the process has been at work that keeps
	// renewals away, and handlers stop when they are told to.
	healthy time.Duration
}

func newHost(w *world, n int) *host {
	h := &host{w: w, n: n, spec: w.sc.Hosts[n], rate: w.sc.Hosts[n].Rate, does: behaviour{rejects: map[string]int{}}}
	h.link.w = w
	// No two machines agree on what time it is.
	h.local = time.Duration(n*7919) * time.Second
	return h
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is the host's reading now.
func (h *host) clock() time.Duration {
	d := h.w.now - h.at
	return h.local + d + d*time.Duration(h.rate)/1_000_000
}

// until is how long, in true time, until the host's clock shows t.
func (h *host) until(t time.Duration) time.Duration {
	d := t - h.clock()
	if d <= 0 {
		return 0
	}
	return d*1_000_000/time.Duration(1_000_000+h.rate) + time.Microsecond
}

// setRate and jump change the clock.
func (h *host) setRate(rate int) {
	h.local, h.at = h.clock(), h.w.now
	h.rate = rate
}

func (h *host) jump(d time.Duration) {
	h.local, h.at = h.clock()+d, h.w.now
}

// A process is one life of a member on a host.
type process struct {
	w      *world
	host   *host
	n      int // of this process among all of the host
	m      *member.Machine
	rng    *rand.Rand
	alive  bool
	booted time.Duration
	// vanished is set while nobody has noticed that the machine is gone.
	vanished bool
	leaving  bool
	frozen   int
	backlog  []func()
	lagUntil time.Duration
	// suspended counts the suspensions at work; the clock stood at sleptAt when the
	// first began. slept says that the process has yet to find out.
	suspended int
	sleptAt   time.Duration
	slept     bool

	runs      map[plan.Lease]*run
	nonces    []string
	answering string

	follow    []member.Follow
	following bool
	followGen int
	toldAt    map[member.Key]time.Duration

	connected  bool
	interrupts uint64

	wakeAt  time.Duration // true time; 0: no timer
	wakeGen int
	spins   int // steps without any time passing
	spinAt  time.Duration

	state    member.State
	leading  bool
	workerID string
	trusted  time.Time
}

// boot starts a process, if there is none.
func (h *host) boot() {
	if h.proc != nil || h.w.over {
		return
	}
	w := h.w
	h.boots++
	p := &process{
		w: w, host: h, n: h.boots, alive: true, booted: w.now, connected: h.link.cut == 0,
		rng:    rand.New(rand.NewPCG(w.sc.Seed, uint64(h.n)<<32|uint64(h.boots))),
		runs:   map[plan.Lease]*run{},
		toldAt: map[member.Key]time.Duration{},
	}
	h.proc = p
	w.say("host %d: process %d starts", h.n, p.n)
	w.ledger.booted(h)
	p.m = member.New(h.config(p), p.local())
	p.tell(member.Connected{Up: p.connected, Interrupts: 0})
}

// config is what package parti would make of the settings.
func (h *host) config(p *process) member.Config {
	s := h.w.sc.Settings
	ttl := h.w.sc.ttl(h.spec)
	margin := ttl / 8
	if s.Margin > 0 && ttl == s.TTL {
		margin = s.Margin
	}
	who := h.n
	if h.spec.Twin > 0 {
		who = h.spec.Twin - 1
	}
	return member.Config{
		Prefix: "worker", MaxWorkers: s.Workers,
		Identity: fmt.Sprintf("host-%d-%d", who, h.identity),
		Session: roster.Session{
			Host: fmt.Sprintf("host-%d", h.n), Software: "v1", Schema: 1, Started: p.local(),
			TTL: plan.ToMillis(ttl), Margin: plan.ToMillis(margin), Fenced: h.spec.Fence,
			Owns: !h.spec.Idle, Prepares: h.spec.Prepares, Share: h.spec.Share, Capacity: h.spec.Capacity,
		},
		Hold: hold.Config{
			TTL: ttl, Margin: margin, Interval: s.Heartbeat, Fence: h.spec.Fence, MaxFreeze: s.MaxFreeze,
			DrainTimeout: s.Drain, StuckAfter: s.StuckAfter, MovesInFlight: s.Moves,
			RestartMin: 500 * time.Millisecond, RestartMax: 10 * time.Second,
			Degraded: hold.Degraded{EnterAfter: s.EnterAfter, ExitAfter: s.ExitAfter, ErrorThreshold: 5, ErrorWindow: 30 * time.Second},
			Alerts:   hold.Alerts{Info: 30 * time.Second, Warn: 2 * time.Minute, Error: 5 * time.Minute, Critical: 10 * time.Minute, Interval: time.Minute},
		},
		Lead: lead.Config{
			Strategy: strategy.Sticky(), ExpectedWorkers: s.Expected,
			Settle: s.Settle, ColdStart: s.ColdStart, Scale: s.Scale, Cooldown: s.Cooldown,
			RestartGrace: s.RestartGrace, Coalesce: 10 * time.Millisecond, Refresh: s.Refresh,
			StuckAfter: s.Drain + s.StuckAfter,
			MaxBatch:   s.Batch, MaxPayload: 1 << 20,
			Wall: func(t time.Time) time.Time { return t.Add(epoch.Add(h.w.now).Sub(p.local())) },
			Roster: roster.Config{
				Heartbeat: s.Heartbeat, ProbeInterval: s.Probe, ProbeAgain: 100 * time.Millisecond,
				LostAfter: s.LostAfter, EmergencyGrace: s.EmergencyGrace, RecoveryGrace: s.RecoveryGrace, TTL: ttl,
			},
		},
		Leads: !h.spec.Follows, Heartbeat: s.Heartbeat, LeaderTTL: s.LeaderTTL, ProbeInterval: s.Probe,
		EmergencyGrace: s.EmergencyGrace, Reconcile: s.Reconcile, LostAfter: s.LostAfter,
		Listing: 30 * time.Second,
		Nonce: func() string {
			nonce := fmt.Sprintf("n%d.%d.%d", h.n, p.n, len(p.nonces))
			p.nonces = append(p.nonces, nonce)
			h.w.ledger.session(nonce, p)
			return nonce
		},
		Random:           p.rng.Uint64,
		FirstIncarnation: h.w.incarnation,
	}
}

// local is the time that the process reads.
func (p *process) local() time.Time { return epoch.Add(p.host.clock()) }

// tell steps the machine, now or when the process is scheduled again.
func (p *process) tell(f member.Fact) {
	switch {
	case !p.alive:
	case p.frozen > 0:
		p.w.touched(Freeze)
		p.backlog = append(p.backlog, func() { p.tell(f) })
	case p.host.lag > 0 || p.lagUntil > p.w.now:
		p.w.touched(Lag)
		p.lagUntil = max(p.lagUntil, p.w.now+p.w.upTo(2*p.host.lag)) + 1
		p.w.at(p.lagUntil, func() {
			if p.frozen > 0 {
				p.tell(f)
			} else if p.alive {
				p.step(f)
			}
		})
	default:
		p.step(f)
	}
}

// incarnation is what a store gets that nobody remembers: minutes of a clock that
// is roughly right.
func (w *world) incarnation() uint32 { return kv.FirstIncarnation(epoch.Add(w.now)) }

// spinning is how many steps a process may take without any time passing.
const spinning = 5000

func (p *process) step(f member.Fact) {
	w := p.w
	if w.over {
		return
	}
	w.stats.Steps++
	if p.spinAt == w.now {
		if p.spins++; p.spins > spinning {
			w.ledger.break_(PromiseSettles, "", "host %d takes %d steps in an instant; the last fact is %T", p.host.n, p.spins, f)
			return
		}
	} else {
		p.spinAt, p.spins = w.now, 0
	}
	defer func() {
		if e := recover(); e != nil {
			w.ledger.panicked(p, f, e)
		}
	}()
	p.m.Step(p.local(), f)
	p.pump(p.m.Ready())
}

// pump does what the machine asks for, in the order of the fields.
func (p *process) pump(rd member.Ready) {
	w := p.w
	p.trusted = rd.Trusted
	for _, s := range rd.Hard {
		if r := p.runs[s.Lease]; r != nil {
			w.say("host %d: Hard of %s@%s ends", p.host.n, s.Lease.Partition, s.Lease.Token)
			r.end()
		}
	}
	for _, s := range rd.Stop {
		if r := p.runs[s.Lease]; r != nil {
			w.say("host %d: stop %s@%s (%d)", p.host.n, s.Lease.Partition, s.Lease.Token, s.Cause)
			r.stop()
		}
	}
	for _, g := range rd.Start {
		p.begin(g)
		if w.over {
			return
		}
	}
	w.ledger.events(p, rd.Events)
	if rd.Exit != nil {
		w.touched(CtlRelease)
		w.ledger.exits(p, rd.Exit)
		p.die(false)
		w.after(2*time.Second, p.host.boot)
		return
	}
	if rd.Answering != p.answering {
		delete(w.answering, p.answering)
		p.answering = rd.Answering
		if p.answering != "" {
			w.answering[p.answering] = p
		}
	}
	if rd.State != p.state || rd.Leading != p.leading || rd.WorkerID != p.workerID {
		w.say("host %d: %s state %d leading %v", p.host.n, rd.WorkerID, rd.State, rd.Leading)
		w.ledger.state(p, rd)
		w.ledger.leads(p, rd.Leading)
		p.state, p.leading, p.workerID = rd.State, rd.Leading, rd.WorkerID
	}
	for _, op := range rd.Ops {
		p.send(op)
	}
	if !slices.Equal(rd.Follow, p.follow) {
		p.follow = slices.Clone(rd.Follow)
		if len(p.follow) > 0 {
			p.refollow()
		} else {
			p.following = false
			p.followGen++
		}
	}
	if rd.Done {
		w.say("host %d: process %d is done: %v", p.host.n, p.n, rd.Err)
		w.ledger.finished(p, rd.Err)
		p.gone()
		return
	}
	p.wake(rd.WakeAt)
}

// wake sets the one timer of the process.
func (p *process) wake(at time.Time) {
	if at.IsZero() {
		p.wakeAt = 0
		return
	}
	t := p.w.now + p.host.until(at.Sub(epoch))
	if p.wakeAt == t {
		return
	}
	earlier := p.wakeAt != 0 && p.wakeAt <= t
	p.wakeAt = t
	if earlier {
		return // the timer that there is looks again
	}
	p.wakeGen++
	p.timer(t, p.wakeGen)
}

func (p *process) timer(t time.Duration, gen int) {
	p.w.at(t, func() {
		if !p.alive || p.wakeGen != gen || p.wakeAt == 0 {
			return
		}
		if p.wakeAt > p.w.now {
			p.timer(p.wakeAt, gen)
			return
		}
		p.wakeAt = 0
		p.tell(member.Tick{})
	})
}

// die ends the process at once, handlers and all.
func (p *process) die(vanish bool) {
	if !p.alive {
		return
	}
	p.w.say("host %d: process %d dies", p.host.n, p.n)
	if vanish {
		p.vanished = true
		p.w.after(time.Minute, func() {
			p.vanished = false
			if p.w.answering[p.answering] == p {
				delete(p.w.answering, p.answering)
			}
		})
	}
	p.gone()
}

// gone takes the process from its host.
func (p *process) gone() {
	p.alive, p.following, p.backlog = false, false, nil
	if !p.vanished {
		delete(p.w.answering, p.answering)
	}
	p.w.ledger.leads(p, false)
	p.leading = false
	p.w.ledger.died(p)
	if p.host.proc == p {
		p.host.proc = nil
	}
}

// suspend and resume are a machine that sleeps: its clock stands still meanwhile.
func (p *process) suspend() {
	if p.suspended++; p.suspended == 1 {
		p.sleptAt = p.host.clock()
	}
}

func (p *process) resume() {
	if p.suspended--; p.suspended == 0 {
		p.host.jump(min(0, p.sleptAt-p.host.clock()))
		p.slept = true
	}
}

// thaw lets a frozen process do everything that it could not.
func (p *process) thaw() {
	if p.frozen--; p.frozen > 0 || !p.alive {
		return
	}
	backlog := p.backlog
	p.backlog = nil
	if p.slept {
		p.slept = false
		backlog = append([]func(){func() { p.tell(member.Jumped{}) }}, backlog...)
	}
	if p.w.rng.IntN(2) == 0 {
		p.tell(member.Tick{}) // its timers may be first
	}
	for _, do := range backlog {
		if p.frozen > 0 {
			p.backlog = append(p.backlog, do)
			continue
		}
		do()
	}
	p.tell(member.Tick{})
}
