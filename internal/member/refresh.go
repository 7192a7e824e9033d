package member

import (
	"time"

	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/plan"
)

// refreshTries is how often a wish is written that others write at the same time.
const refreshTries = 3

// A wish is what this member asks of whoever leads, one at a time: that the source is listed
// again.
type wish struct {
	open  bool // it is not known to have been heard
	sent  bool // it was written: who wishes the same now wishes for something later
	again bool // and somebody did
}

// refresh has the source listed again: by ourselves if we lead, else by a control
// for whoever does.
func (m *Machine) refresh() {
	switch {
	case m.term != nil && m.term.brain != nil:
		m.term.tell(lead.Relist{})
	case m.ending:
	case m.wish.open:
		m.wish.again = m.wish.sent
	default:
		m.wish.open = true
		m.wishing(refreshTries, new(retry), nil, nil)
	}
}

// wished says what became of the wish: it was heard, or err is why not.
func (m *Machine) wished(err error) {
	if err != nil {
		m.failed("asking for a refresh", err)
	}
	again := m.wish.again
	m.wish = wish{}
	if again {
		m.refresh()
	}
}

// wishing writes the wish, unless it is heard already. What stood there before the last try is
// before, nil at the first; err is why that failed.
func (m *Machine) wishing(tries int, wait *retry, before *Record, err error) {
	key := Key{KindControl, string(plan.Refresh)}
	m.get(&m.life, key, func(r Record) {
		switch {
		case before != nil && wishedSince(*before, r):
			m.wished(nil)
			return
		case tries == 0:
			m.wished(err)
			return
		}
		c := plan.Control{Kind: plan.Refresh, When: m.cfg.Lead.Date(m.now).UTC().Round(time.Millisecond), Number: m.cfg.Nonce()}
		if m.session != nil {
			c.Who = m.session.base.Worker
		}
		m.wish.sent = true
		m.ask(&m.life, Put{Record: Record{Key: key, Rev: r.Rev, Value: c}}, func(a Answer) {
			if a.Err == nil {
				m.wished(nil)
				return
			}
			m.after(&m.life, "refresh", wait.pause(m.desk), func() { m.wishing(tries-1, wait, &r, a.Err) })
		})
	})
}

// wishedSince reports whether a wish was written between two reads of its key: our own, whatever the
// answer was, or another's, and any one of them does what all want. That what stood there is
// gone says only that it was heard, perhaps before we wished.
func wishedSince(before, now Record) bool { return now.Rev > before.Rev && (before.Gone || !now.Gone) }
