package lead

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/parti-go/parti/plan"
)

// controls are what operators want, as far as it has not expired.
type controls struct {
	all      []plan.Control
	cordoned map[string]bool
	drained  map[string]bool
	pins     map[string]string   // partition to worker
	bans     map[string][]string // partition to workers
	moves    []plan.Control      // that were not acted upon yet
	failed   map[string]string   // alerts about moves that could not be made, with their keys
	paused   bool
	seen     map[string]bool // one-time requests that were acted upon, or stood before the term
	told     bool
	next     time.Time // the first to expire, on the wall clock
}

// oneTime reports whether a kind is acted upon once for each Number.
func oneTime(k plan.ControlKind) bool {
	return k == plan.Refresh || k == plan.Rebalance || k == plan.StepDown || k == plan.Lift || k == plan.MoveTo
}

// youngFor is how old a request may be that stood before the term, on the leader's clock,
// and is acted upon all the same: the former leader may not have come to it. What is done
// twice does no harm; what is done long after it was asked for might.
const youngFor = time.Minute

// controlled takes all that operators want. Requests that stood before the term were the
// former leader's, unless they are young; lifts do no harm at any time.
func (m *Machine) controlled(all []plan.Control) {
	c := &m.controls
	stood := !c.told
	c.all, c.told = all, true
	c.moves = slices.DeleteFunc(c.moves, func(x plan.Control) bool { // taken back, or over
		return !slices.ContainsFunc(all, func(y plan.Control) bool { return key(x) == key(y) })
	})
	for about := range c.failed { // so is what could not be done
		if !slices.ContainsFunc(all, func(y plan.Control) bool { return y.Kind == plan.MoveTo && key(y) == c.failed[about] }) {
			m.alerts.set(about, "")
			delete(c.failed, about)
		}
	}
	for _, x := range all {
		first := stood && m.cfg.Date(m.now).Sub(x.When) > youngFor
		if !oneTime(x.Kind) || c.seen[key(x)] {
			continue
		}
		c.seen[key(x)] = true
		switch {
		case x.Kind == plan.Lift:
			m.lift(x.Partition)
		case first:
		case x.Kind == plan.Refresh:
			m.listing.ask(m.now)
		case x.Kind == plan.Rebalance:
			m.wishes.asked = true
		case x.Kind == plan.StepDown:
			m.stepDown = m.stepDown || !stood && (x.Session == "" || x.Session == m.cfg.Nonce)
		case x.Kind == plan.MoveTo:
			c.moves = append(c.moves, x)
		}
	}
	maps.DeleteFunc(c.seen, func(k string, _ bool) bool { // what is taken back does not come again
		return !slices.ContainsFunc(all, func(x plan.Control) bool { return key(x) == k })
	})
	m.apply(!stood)
}

func key(x plan.Control) string {
	return string(x.Kind) + " " + x.Worker + " " + x.Partition + " " + x.Number
}

// apply derives what holds now, and opens a window when that changed.
func (m *Machine) apply(wish bool) {
	c := &m.controls
	before, date := *c, m.cfg.Date(m.now)
	c.cordoned, c.drained, c.paused = map[string]bool{}, map[string]bool{}, false
	c.pins, c.bans = map[string]string{}, map[string][]string{}
	c.next = time.Time{}
	for _, x := range c.all {
		if !x.Until.IsZero() {
			if !date.Before(x.Until) {
				continue
			}
			if c.next.IsZero() || x.Until.Before(c.next) {
				c.next = x.Until
			}
		}
		switch x.Kind {
		case plan.Cordon:
			c.cordoned[x.Worker] = true
		case plan.Drain:
			c.drained[x.Worker] = true
		case plan.Pin:
			c.pins[x.Partition] = x.Worker
		case plan.Ban:
			c.bans[x.Partition] = append(c.bans[x.Partition], x.Worker)
		case plan.Pause:
			c.paused = true
		case plan.Refresh, plan.Rebalance, plan.StepDown, plan.Lift, plan.MoveTo, plan.ForceRelease:
		}
	}
	m.dirty = true
	m.round++
	if wish && (!sameSet(before.cordoned, c.cordoned) || !sameSet(before.drained, c.drained) || before.paused != c.paused) {
		m.wishes.settings(m.now, "cordons, drains or the pause changed")
	}
	if wish && !sameSet(before.pins, c.pins) {
		m.wishes.settings(m.now, "pins changed")
	}
	if wish && !maps.EqualFunc(before.bans, c.bans, slices.Equal[[]string]) {
		m.wishes.settings(m.now, "bans changed")
	}
}

// banned reports whether an operator wants p to be elsewhere than on w.
func (m *Machine) banned(p *part, w int32) bool {
	bans := m.controls.bans
	return len(bans) > 0 && w != nobody && slices.Contains(bans[p.ID], m.members[w].id)
}

// unkept says which bans and drains cannot be carried out: nobody else can take what
// they are about.
func (m *Machine) unkept() {
	c := &m.controls
	var bans, drains []string
	if (len(c.bans) > 0 || len(c.drained) > 0) && (m.wishes.cold == nil || m.stalled()) {
		left := map[string]int{} // on those that are drained
		for i := range m.parts {
			p := &m.parts[i]
			if p.state != granted || p.target != p.owner || p.waitUntil.After(m.now) {
				continue
			}
			owner := m.members[p.owner].id
			switch {
			case m.banned(p, p.owner):
				bans = append(bans, p.ID+" from "+owner)
			case c.drained[owner]:
				left[owner]++
			}
		}
		for _, id := range slices.Sorted(maps.Keys(left)) {
			drains = append(drains, id+" keeps "+itoa(left[id]))
		}
	}
	text := ""
	if len(bans) > 0 {
		text = "bans that cannot be kept, since nobody else can take the partition: " + people(bans)
	}
	m.alerts.set("bans", text)
	text = ""
	if len(drains) > 0 {
		text = "drains that cannot be carried out, since nobody else can take all of it: " + people(drains)
	}
	m.alerts.set("drains", text)
}

// move does what operators asked for once: those partitions go where they were told to,
// if they can. It is not a pin: the next plan may move them again.
func (m *Machine) move(f *fleet) {
	moves := m.controls.moves
	m.controls.moves = nil
	for _, x := range moves {
		text := m.moveOne(f, x)
		about := "move " + x.Partition
		m.alerts.set(about, text)
		if delete(m.controls.failed, about); text != "" {
			m.controls.failed[about] = key(x)
		} else {
			m.wishes.because(m.now, plan.WhyMove, x.Partition+" to "+x.Worker+by(x))
		}
	}
}

// moveOne moves one partition, or says why not.
func (m *Machine) moveOne(f *fleet, x plan.Control) (obstacle string) {
	i, ok := m.index[x.Partition]
	w := slices.IndexFunc(f.workers, func(y plan.Worker) bool { return y.ID == x.Worker })
	cannot := func(why string) string {
		return x.Partition + " was not moved to " + x.Worker + ": " + why
	}
	switch {
	case !ok && !m.listing.once:
		return cannot("nobody has it, and the source has not answered yet")
	case !ok || !m.parts[i].listed:
		return cannot("there is no such partition")
	case m.parts[i].aside:
		return cannot("it is kept out of the plan")
	case m.parts[i].blank:
		return cannot("the source has not listed it yet")
	case w < 0:
		return cannot("the worker is not there")
	}
	p, to := &m.parts[i], f.index[w]
	back := p.state == releasing && p.owner == to // it is there still
	if f.workers[w].NoNew && !back {
		return cannot("the worker takes nothing new")
	}
	pin, pinned := m.controls.pins[p.ID]
	most, load := f.workers[w].Capacity, p.Load()
	if back && most > 0 {
		most += load
	}
	for k := range m.parts {
		if q := &m.parts[k]; most > 0 && q != p && q.target == to {
			load += q.Load()
		}
	}
	switch {
	case pinned && pin != x.Worker:
		return cannot("it is pinned to " + pin)
	case m.banned(p, to):
		return cannot("it is banned from there")
	case most > 0 && load > most:
		return cannot("the worker has no room for it")
	}
	p.target, p.why, p.placed = to, plan.WhyMove, true
	return ""
}

// ordered says which orders are behind a plan of that reason that is about to be made. The
// record of one whose time is over may stand still.
func (m *Machine) ordered(why plan.Why) string {
	var orders []string
	for _, x := range m.controls.all {
		w, known := m.byID[x.Worker]
		switch {
		case !known:
		case why == plan.WhyDrain && x.Kind == plan.Drain && m.controls.drained[x.Worker] && m.members[w].leases > 0:
			orders = append(orders, x.Worker+" is drained"+by(x))
		case why == plan.WhyBan && x.Kind == plan.Ban:
			if i, ok := m.index[x.Partition]; ok && m.parts[i].target == w && m.banned(&m.parts[i], w) {
				orders = append(orders, x.Partition+" is banned from "+x.Worker+by(x))
			}
		}
	}
	return people(orders)
}

// by says who wanted a control, for a sentence.
func by(x plan.Control) string {
	if x.Who == "" {
		return ""
	}
	return ", asked for by " + x.Who
}

func sameSet[V comparable](a, b map[string]V) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// expire ends controls whose time is over.
func (c *controls) expire(m *Machine) {
	if c.next.IsZero() {
		return
	}
	date := m.cfg.Date(m.now)
	if !date.Before(c.next) {
		m.apply(true)
	}
	if !c.next.IsZero() {
		m.by(m.now.Add(c.next.Sub(date)))
	}
}

// pinsOf is where the partitions must be. A pin to a worker that is not there is
// not kept until it is: the work goes on, and an alert says so.
func (c *controls) pinsOf(m *Machine, f *fleet, which []int32) []int {
	if len(c.pins) == 0 {
		m.alerts.set("pins", "")
		return nil
	}
	at := map[string]int{}
	for i := range f.workers {
		at[f.workers[i].ID] = i
	}
	pins := make([]int, len(which))
	var missing []string
	for k, i := range which {
		pins[k] = -1
		id := m.parts[i].ID
		w, pinned := c.pins[id]
		if !pinned {
			continue
		}
		if x, ok := at[w]; ok && !(f.workers[x].NoNew && m.parts[i].target != f.index[x]) && !m.banned(&m.parts[i], f.index[x]) {
			pins[k] = x
		} else {
			missing = append(missing, id+" to "+w)
		}
	}
	text := ""
	if len(missing) > 0 {
		text = "pins that cannot be kept, since the worker is not there, takes nothing new, or the partition is banned from it: " + people(missing)
	}
	m.alerts.set("pins", text)
	return pins
}

func itoa(n int) string { return strconv.Itoa(n) }
