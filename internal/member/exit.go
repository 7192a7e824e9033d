package member

import (
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/plan"
)

// releaseName is the name of the control by which an operator asks the session of a worker
// ID to end its process: the one way to make a handler let go that ignores Hard, since its
// end is then a fact. Nothing else follows from it: the partition is granted to another
// when the session has provably ended, as after any crash.
func releaseName(worker string) string { return string(plan.ForceRelease) + "." + worker }

// asked looks at such a control. It must name this very session, and a lease whose handler
// is stuck by now: one that was let go meanwhile is no reason to end anything, nor is a
// later lease of the partition. Who asks goes on asking until one or the other is so.
func (m *Machine) asked(r Record) {
	s := m.session
	if s == nil || r.Key != (Key{KindControl, releaseName(s.base.Worker)}) {
		return
	}
	c, ok := r.Value.(plan.Control)
	if !ok || c.Kind != plan.ForceRelease || c.Session != s.base.Nonce || m.exit != nil {
		return
	}
	token := s.brain.Stuck(c.Partition)
	if token == 0 || token != c.Token {
		return
	}
	m.exit = &c
	m.say(event.Exiting{Partition: c.Partition, Token: uint64(token), By: c.Who, Why: c.Why})
}
