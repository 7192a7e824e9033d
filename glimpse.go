package parti

import (
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

// A glimpse is what has passed by of the group's state, for people. Nothing is
// decided by it.
type glimpse struct {
	head    plan.Head
	version plan.Version // of the newest slice for this session
	session string
}

// look sees a fact pass by.
func (g *glimpse) look(f member.Fact) {
	if told, ok := f.(member.Told); ok {
		g.record(told.Record)
	}
	if answer, ok := f.(member.Answer); ok {
		for _, r := range answer.Records {
			g.record(r)
		}
	}
}

func (g *glimpse) record(r member.Record) {
	switch v := r.Value.(type) {
	case plan.Head:
		if v.Version >= g.head.Version {
			g.head = v
		}
	case plan.Slice:
		if g.session != "" && v.Session == g.session {
			g.version = max(g.version, v.Version)
		}
	}
}

// mine says which session is this worker's.
func (g *glimpse) mine(rd member.Ready) {
	if rd.Answering != g.session {
		g.session, g.version = rd.Answering, 0
	}
}
