package member

import (
	"time"

	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// A View is what a leader sees and is going to do, for people.
type View struct {
	Term    uint64
	Pending []lead.Pending
	Doubt   string // why nobody is declared lost for the time being; empty: none
	Workers []Seen // sorted by worker ID
	// Controls is what operators want, as far as it has been told, sorted by key.
	Controls []plan.Control
	// Unassigned is what has no owner, the first mostUnassigned of it.
	Unassigned []plan.Partition
}

// mostUnassigned is how many a View names.
const mostUnassigned = 500

// Seen is what the leader thinks of a session.
type Seen struct {
	Worker, Nonce string
	State         roster.State
	Why           string
	Since         time.Time
}

// View looks at the term that this member leads; nil: it does not lead.
func (m *Machine) View() *View {
	if m.term == nil || !m.term.took {
		return nil
	}
	v := &View{Term: m.term.number(), Doubt: m.term.doubt}
	brain, ok := m.term.brain.(interface {
		Pending() []lead.Pending
		Controls() []plan.Control
		Unassigned(most int) []plan.Partition
		Roster() *roster.Roster
	})
	if !ok {
		return v
	}
	v.Pending, v.Controls, v.Unassigned = brain.Pending(), brain.Controls(), brain.Unassigned(mostUnassigned)
	for _, y := range brain.Roster().Members() {
		v.Workers = append(v.Workers, Seen{y.Session.Worker, y.Session.Nonce, y.State, y.Why, y.Since})
	}
	return v
}
