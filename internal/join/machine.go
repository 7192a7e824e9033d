package join

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
)

// at is what the machine waits for.
type at uint8

const (
	pausing   at = iota // until the next survey is due
	surveying           // for a survey
	looking             // for slices
	asking              // for a session of the same identity to answer or to end
	claiming            // for the outcome of a claim
	done
)

// A spare looks for a free ID after Config.Again, then after twice that, and so on, but
// at least every restMost. Every restsAll-th look is at all sessions.
const (
	restMost = time.Minute
	restsAll = 10
)

// crowded is how long spares that are told of the same wait at most, to come one after
// the other.
const crowded = 20 * time.Millisecond

// lookAtMost is how many ended sessions' slices are read before choosing one.
const lookAtMost = 4

// A Machine joins once. Make another one for the next session.
type Machine struct {
	cfg Config
	now time.Time
	out Ready // what has not been handed out yet, and the levels

	at      at
	next    time.Time // pausing: when to survey
	names   bool      // the next survey, or the one under way, is of names
	refused int       // tries
	trying  string    // the worker ID that was claimed last
	rests   int       // of a spare
	told    bool      // that a session has ended, and has not read them all since

	held                   map[string]Held // by worker ID
	plan, leader, adopting bool
	since                  time.Time // when the group was first seen being rebuilt

	looks map[string]*Looked // nil: not answered yet
	pick  func()             // what to do once all have been

	ask    ask
	alive  map[string]bool   // nonces that have shown to be alive
	silent map[string]kv.Rev // nonces that were asked and have not: as they stood then
}

// New makes a machine that begins with a survey.
func New(cfg Config, now time.Time) *Machine {
	m := &Machine{cfg: cfg, now: now, alive: map[string]bool{}, silent: map[string]kv.Rev{}}
	m.survey(false)
	return m
}

// Tries is how many claims were written so far.
func (m *Machine) Tries() int {
	if m.at == done {
		return m.refused + 1
	}
	return m.refused
}

// Step takes a fact in.
func (m *Machine) Step(now time.Time, f Fact) {
	m.now = now
	if m.at == done {
		return
	}
	switch f := f.(type) {
	case Tick:
	case Surveyed:
		if m.at == surveying {
			m.surveyed(f)
		}
	case Looked:
		m.looked(f)
	case Saw:
		m.saw(f.Held)
	case Gone:
		m.gone(f.Worker, f.Rev)
	case Followed:
		if m.out.Spare {
			m.soon(m.cfg.Again)
		}
	case Probed:
		m.probed(f)
	case Claimed:
		if m.at == claiming {
			m.at, m.out = done, Ready{Claimed: true}
		}
	case Refused:
		if m.at == claiming {
			m.wasRefused()
		}
	default:
		panic(fmt.Sprintf("join: unknown fact %T", f))
	}
	m.passed()
}

// Ready hands out what is to be done.
func (m *Machine) Ready() Ready {
	rd := m.out
	m.out = Ready{Claimed: rd.Claimed, Err: rd.Err, Watch: rd.Watch, Spare: rd.Spare}
	switch m.at {
	case pausing:
		rd.WakeAt = m.next
	case asking:
		rd.WakeAt = m.ask.wake(m)
	default: // the rest needs nothing here
	}
	return rd
}

// passed does what is due by now.
func (m *Machine) passed() {
	switch m.at {
	case pausing:
		if !m.now.Before(m.next) {
			m.survey(m.names)
		}
	case asking:
		m.asking()
	default: // the rest needs nothing here
	}
}

// survey reads every session, or only which there are.
func (m *Machine) survey(names bool) {
	m.at, m.names, m.told = surveying, names, m.told && names
	m.out = Ready{Survey: true, Names: names, Spare: m.out.Spare}
}

// pause waits before the next survey.
func (m *Machine) pause(d time.Duration, names bool) {
	m.at, m.names, m.next = pausing, names, m.now.Add(d)
	m.out = Ready{Spare: m.out.Spare}
}

// wasRefused goes for another ID: somebody else has the one that was claimed.
func (m *Machine) wasRefused() {
	m.refused++
	if _, ok := m.held[m.trying]; ok {
		m.held[m.trying] = somebody(m.trying)
	}
	m.pause(m.spread(), m.namesDo())
}

// namesDo says whether it is enough to know which sessions there are by now. Where
// one has ended, others go for it as well, and where one is of this identity, the
// rest may be: there it matters what each says. A strict identity must not miss one.
func (m *Machine) namesDo() bool {
	return !m.cfg.Strict && len(m.mine()) == 0 && len(m.over()) == 0
}

// somebody is a session of which only the name is known. Its ID is taken.
func somebody(worker string) Held { return Held{Worker: worker, Unreadable: true} }

// spread is how long to wait after a refused try: nothing at first, then a random
// time that grows.
func (m *Machine) spread() time.Duration {
	if m.refused < 3 {
		return 0
	}
	return m.cfg.upTo(time.Duration(min(m.refused, 20)*50) * time.Millisecond)
}

func (m *Machine) surveyed(f Surveyed) {
	known := m.held
	m.held = make(map[string]Held, len(f.Sessions))
	for _, h := range f.Sessions {
		if m.names {
			h = byName(known, h.Worker)
		}
		m.held[h.Worker] = h
	}
	m.plan, m.leader, m.adopting = f.Plan, f.Leader, f.Adopting
	if m.adopting && m.since.IsZero() {
		m.since = m.now
	}
	switch free := len(m.free()) > 0; {
	case !m.names, free && !m.out.Spare:
		m.choose()
	case !free && m.out.Spare:
		m.rest()
	default: // who becomes a spare, or is one no longer, does so by what the sessions say
		m.survey(false)
	}
}

// byName is what is known of a session that was not read again.
func byName(known map[string]Held, worker string) Held {
	if h, ok := known[worker]; ok {
		return h
	}
	return somebody(worker)
}

// choose goes for the best ID there is.
func (m *Machine) choose() {
	m.out = Ready{}
	var live, over []Held
	for _, h := range m.mine() {
		if h.over() {
			over = append(over, h)
		} else {
			live = append(live, h)
		}
	}
	if m.cfg.Strict {
		// That one of its sessions has ended, or gives no sign of life, does not mean that
		// no other process has the identity: each is asked first.
		for _, h := range live {
			if rev, asked := m.silent[h.Session.Nonce]; !asked || rev != h.Rev {
				m.begin(h)
				return
			}
		}
	}
	switch {
	case len(over) > 0:
		m.look(m.draw(over), false)
		return
	case len(live) > 0 && m.cfg.Strict:
		m.claim(live[0])
		return
	case len(live) > 0:
		m.begin(m.draw(live)[0])
		return
	}
	if ended := m.over(); m.plan && m.refused == 0 && len(ended) > 0 {
		m.look(m.draw(ended), true)
		return
	}
	m.lowest()
}

// mine are the sessions of this identity, in order of IDs, but for those that are
// known to be somebody else's.
func (m *Machine) mine() []Held {
	if m.cfg.Identity == "" {
		return nil
	}
	var mine []Held
	for n := range m.cfg.MaxWorkers {
		h, ok := m.held[m.cfg.name(n)]
		if ok && !h.Unreadable && h.Session.Identity == m.cfg.Identity && !m.alive[h.Session.Nonce] {
			mine = append(mine, h)
		}
	}
	return mine
}

// over are the sessions that have provably ended, in order of IDs.
func (m *Machine) over() []Held {
	var over []Held
	for n := range m.cfg.MaxWorkers {
		if h, ok := m.held[m.cfg.name(n)]; ok && h.over() {
			over = append(over, h)
		}
	}
	return over
}

// draw takes a few from the window, at random: where many workers share one
// identity, such as a host's name, they come back together.
func (m *Machine) draw(hs []Held) []Held {
	if w := window(m.refused, 0, len(hs)); w > lookAtMost {
		hs = hs[:w]
	}
	n := min(len(hs), lookAtMost)
	for i := range n {
		j := i + m.cfg.pick(len(hs)-i)
		hs[i], hs[j] = hs[j], hs[i]
	}
	return hs[:n]
}

// look reads the slices of the candidates, and then claims one that has leases.
// When none has, any is as good as another free ID, if free, else the first is taken.
func (m *Machine) look(candidates []Held, free bool) {
	decide := func() {
		best := slices.IndexFunc(candidates, func(h Held) bool { l := m.looks[h.Worker]; return l != nil && l.Leases > 0 })
		switch {
		case best >= 0:
			m.claim(candidates[best])
		case free:
			m.lowest()
		default:
			m.claim(candidates[0])
		}
	}
	if !m.plan || len(candidates) == 1 && !free {
		decide()
		return
	}
	names := make([]string, len(candidates))
	for i, h := range candidates {
		names[i] = h.Worker
	}
	m.read(names, decide)
}

// rest waits as a spare for the next look, unless it was told of an end meanwhile.
func (m *Machine) rest() {
	m.out.Spare = true
	if m.told {
		m.pause(m.cfg.upTo(crowded), false)
		return
	}
	wait := min(m.cfg.Again<<min(m.rests, 10), max(m.cfg.Again, restMost))
	m.rests++
	m.pause(wait*3/4+m.cfg.upTo(wait/2), m.rests%restsAll != 0)
}

// free are the IDs that nobody has, in order.
func (m *Machine) free() []int {
	var free []int
	for n := range m.cfg.MaxWorkers {
		if h, ok := m.held[m.cfg.name(n)]; !ok || h.over() {
			free = append(free, n)
		}
	}
	return free
}

// lowest claims one of the lowest free IDs.
func (m *Machine) lowest() {
	free := m.free()
	if len(free) == 0 {
		m.rest()
		return
	}
	name := m.cfg.name(free[m.cfg.pick(window(m.refused, len(m.held), len(free)))])
	if h, ok := m.held[name]; ok {
		m.claim(h)
		return
	}
	if late := m.since.Add(m.cfg.ComeBack); m.adopting && m.now.Before(late) {
		m.pause(late.Sub(m.now), false)
		return
	}
	m.vacant(name, 0, "")
}

// vacant claims an ID without a session. If a plan stands, the session that its
// slice names is the one before: it has vanished, which is no evidence of its end.
func (m *Machine) vacant(name string, last kv.Rev, nonce string) {
	if nonce != "" || !m.plan {
		m.write(Claim{Worker: name, Last: last, Previous: roster.Previous{Nonce: nonce}})
		return
	}
	m.read([]string{name}, func() {
		m.write(Claim{Worker: name, Last: last, Previous: roster.Previous{Nonce: m.looks[name].Nonce}})
	})
}

// claim takes an ID over from the session that has it or had it.
func (m *Machine) claim(h Held) {
	m.write(Claim{Worker: h.Worker, Last: h.Rev, Previous: roster.Previous{Nonce: h.Session.Nonce, End: h.ended()}})
}

func (m *Machine) write(c Claim) {
	m.at, m.trying, m.out = claiming, c.Worker, Ready{Claim: &c}
}

// read asks for the slices of names, sorted, and goes on with then.
func (m *Machine) read(names []string, then func()) {
	m.looks = make(map[string]*Looked, len(names))
	for _, name := range names {
		m.looks[name] = nil
	}
	m.at, m.pick, m.out = looking, then, Ready{Look: slices.Sorted(maps.Keys(m.looks))}
}

func (m *Machine) looked(f Looked) {
	if _, asked := m.looks[f.Worker]; m.at != looking || !asked {
		return
	}
	m.looks[f.Worker] = &f
	for _, l := range m.looks {
		if l == nil {
			return
		}
	}
	m.pick()
}

// saw takes news of a session in: of the one that is asked, or of any while every
// ID is taken.
func (m *Machine) saw(h Held) {
	switch {
	case m.at == asking && h.Worker == m.ask.of.Worker:
		m.heard(h)
	case m.out.Spare && h.over():
		m.soon(crowded)
	}
}

func (m *Machine) gone(worker string, rev kv.Rev) {
	switch {
	case m.at == asking && worker == m.ask.of.Worker && m.siblings():
		m.survey(false)
	case m.at == asking && worker == m.ask.of.Worker:
		m.vacant(worker, rev, m.ask.of.Session.Nonce)
	case m.out.Spare:
		m.soon(crowded)
	}
}

// soon lets a spare read all sessions before long: it is seldom alone. What it hears
// during a survey may be missing there, and so another one follows.
func (m *Machine) soon(most time.Duration) {
	m.told = true
	if m.at != pausing {
		return
	}
	m.names = false
	if at := m.now.Add(m.cfg.upTo(most)); at.Before(m.next) {
		m.next = at
	}
}
