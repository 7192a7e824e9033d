package member

import (
	"time"

	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/plan"
)

// refreshTries is how often a wish is written that others write at the same time.
// Any one of them does what all want.
const refreshTries = 3

// refresh has the source listed again: by ourselves if we lead, else by a control
// for whoever does.
func (m *Machine) refresh() {
	if m.term != nil && m.term.brain != nil {
		m.term.tell(lead.Relist{})
		return
	}
	if !m.ending {
		m.wish(refreshTries, new(retry))
	}
}

func (m *Machine) wish(tries int, wait *retry) {
	key := Key{KindControl, string(plan.Refresh)}
	m.get(&m.life, key, func(r Record) {
		c := plan.Control{Kind: plan.Refresh, When: m.cfg.Lead.Date(m.now).UTC().Round(time.Millisecond), Number: m.cfg.Nonce()}
		if m.session != nil {
			c.Who = m.session.base.Worker
		}
		m.ask(&m.life, Put{Record: Record{Key: key, Rev: r.Rev, Value: c}}, func(a Answer) {
			switch {
			case a.Err == nil:
			case tries > 1:
				m.after(&m.life, "refresh", wait.pause(m.desk), func() { m.wish(tries-1, wait) })
			default:
				m.failed("asking for a refresh", a.Err)
			}
		})
	})
}
