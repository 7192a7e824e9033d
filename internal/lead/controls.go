package lead

import (
	"strconv"
	"time"

	"github.com/parti-go/parti/plan"
)

// controls are what operators want, as far as it has not expired.
type controls struct {
	all      []plan.Control
	cordoned map[string]bool
	drained  map[string]bool
	pins     map[string]string // partition to worker
	paused   bool
	seen     map[string]bool // one-time requests that were acted upon, or stood before the term
	told     bool
	next     time.Time // the first to expire
}

// oneTime reports whether a kind is acted upon once for each Number.
func oneTime(k plan.ControlKind) bool {
	return k == plan.Refresh || k == plan.Rebalance || k == plan.StepDown || k == plan.Lift
}

// controlled takes all that operators want. Requests that stood before the term
// were the former leader's, but for lifts, which do no harm twice.
func (m *Machine) controlled(all []plan.Control) {
	c := &m.controls
	first := !c.told
	c.all, c.told = all, true
	for _, x := range all {
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
			m.stepDown = true
		}
	}
	m.apply(!first)
}

func key(x plan.Control) string {
	return string(x.Kind) + " " + x.Worker + " " + x.Partition + " " + x.Number
}

// apply derives what holds now, and opens a window when that changed.
func (m *Machine) apply(wish bool) {
	c := &m.controls
	before := *c
	c.cordoned, c.drained, c.pins, c.paused = map[string]bool{}, map[string]bool{}, map[string]string{}, false
	c.next = time.Time{}
	for _, x := range c.all {
		if !x.Until.IsZero() {
			if !m.now.Before(x.Until) {
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
		case plan.Pause:
			c.paused = true
		case plan.Refresh, plan.Rebalance, plan.StepDown, plan.Lift:
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
	if m.now.Before(c.next) {
		m.by(c.next)
		return
	}
	m.apply(true)
	if !c.next.IsZero() {
		m.by(c.next)
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
		if x, ok := at[w]; ok && !(f.workers[x].NoNew && m.parts[i].target != f.index[x]) {
			pins[k] = x
		} else {
			missing = append(missing, id+" to "+w)
		}
	}
	text := ""
	if len(missing) > 0 {
		text = "pins that cannot be kept, since the worker is not there or takes nothing new: " + people(missing)
	}
	m.alerts.set("pins", text)
	return pins
}

func itoa(n int) string { return strconv.Itoa(n) }
