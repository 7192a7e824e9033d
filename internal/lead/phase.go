package lead

import (
	"maps"
	"slices"

	"github.com/parti-go/parti/plan"
)

// phase is what the group is doing, as the state after the commit in hand says.
func (m *Machine) phase() plan.Phase {
	var orphan, moving bool
	for i := range m.parts {
		p := &m.parts[i]
		moving = moving || p.state == releasing || (p.state == granted && p.target != p.owner)
		orphan = orphan || (p.state == free && p.listed && !p.aside && p.placed && p.why == plan.WhyLost && p.tried != m.round)
	}
	_, doubt := m.roster.Doubt()
	switch w := &m.wishes; {
	case w.cold != nil:
		return plan.ColdStart
	case w.adopting || doubt:
		return plan.Recovering
	case orphan:
		return plan.Emergency
	case moving:
		return plan.Rebalancing
	case m.controls.paused:
		return plan.Paused
	case w.planned != nil:
		return plan.Scaling
	default:
		return plan.Stable
	}
}

// alerts hands out what a person should know of when it arises and when its words change.
type alerts struct {
	on   map[string]string
	news map[string]bool
}

func (a *alerts) set(about, text string) {
	if a.on[about] == text {
		return
	}
	if a.news == nil {
		a.news = map[string]bool{}
	}
	a.news[about] = true
	if text == "" {
		delete(a.on, about)
		return
	}
	a.on[about] = text
}

func (a *alerts) take() (out []Alert) {
	for _, about := range slices.Sorted(maps.Keys(a.news)) {
		out = append(out, Alert{About: about, Text: a.on[about]})
	}
	clear(a.news)
	return out
}
