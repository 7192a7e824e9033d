package hold

import (
	"slices"

	"github.com/parti-go/parti/plan"
)

// report is what the record has to say now.
func (m *Machine) report() Report {
	rep := Report{
		Applied: m.applied,
		Highest: m.highest,
		Leaving: m.leaving,
		Running: m.slots.running(),
		Resume:  m.renewal.resume,
	}
	for _, s := range m.slots.all {
		if r := s.run; r != nil {
			// Receipt: what runs and is not granted is listed, in turn or not.
			if m.leaving || !s.grants(r.grant.Token) {
				rep.Draining = append(rep.Draining, r.lease())
			}
			if m.unplanned {
				rep.Holds = append(rep.Holds, r.grant)
			}
		}
		if !s.granted {
			continue
		}
		switch {
		case s.rest.final && s.rest.how == gaveUp:
			if s.run == nil {
				rep.GivenUp = append(rep.GivenUp, s.lease())
			}
		case s.rest.final && s.rest.how == Done:
			rep.Done = append(rep.Done, s.lease())
		case s.rest.final:
			rep.Rejected = append(rep.Rejected, s.lease())
		case s.run == nil && !m.leaving:
			rep.Starting++
		}
	}
	if len(m.done) > 0 {
		rep.Done = append(rep.Done, m.done...)
		slices.SortFunc(rep.Done, plan.Lease.Compare)
	}
	// Last words: never over a running handler.
	rep.Left = m.leaving && !m.lapsing && rep.Running == 0
	return rep
}

// differs reports whether rep says anything that somebody waits for and old does
// not. Left comes with a change of Leaving or Draining; counts are for people, and
// can wait for the next renewal.
func (rep *Report) differs(old *Report) bool {
	return rep.Applied != old.Applied ||
		rep.Leaving != old.Leaving ||
		!slices.Equal(rep.Draining, old.Draining) ||
		!slices.Equal(rep.Done, old.Done) ||
		!slices.Equal(rep.Rejected, old.Rejected) ||
		!slices.Equal(rep.GivenUp, old.GivenUp) ||
		!slices.EqualFunc(rep.Holds, old.Holds, sameLease)
}

func sameLease(a, b plan.Grant) bool { return a.ID == b.ID && a.Token == b.Token }
