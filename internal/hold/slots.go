package hold

import (
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/plan"
)

// A slot is all there is about one partition: what the slice grants, and what runs.
// They are two facts. When they name different tokens, what runs must end before
// what is granted may start.
type slot struct {
	id      string
	granted bool
	grant   plan.Grant // what the slice grants
	rest    rest       // why the granted lease does not run
	run     *run       // what runs; never more than one
}

// grants reports whether the slice grants the partition under that token.
func (s *slot) grants(token plan.Version) bool { return s.granted && s.grant.Token == token }

func (s *slot) lease() plan.Lease { return plan.Lease{Partition: s.id, Token: s.grant.Token} }

// A rest keeps a granted lease from running.
type rest struct {
	final bool          // the handler said Done or Rejected, or the lease was given up
	how   How           // which
	until time.Time     // back-off
	delay time.Duration // the last back-off
}

// A run is one call of a handler, from Start to Exited.
type run struct {
	grant   plan.Grant
	began   time.Time // handed out as Start
	started bool      // said to be running
	end     fence     // open, asked to end (closing), Hard (closed)
	cause   Cause
	asked   time.Time // when it was asked to end
	hard    time.Time // when Hard ended
	alerted time.Time // when it was last called stuck, for what it owes now
}

// owes is since when r is to return, or to come to run; zero: it owes neither.
func (r *run) owes() time.Time {
	switch {
	case r.end == closed:
		return r.hard
	case !r.started:
		return r.began
	}
	return time.Time{}
}

func (r *run) lease() plan.Lease { return plan.Lease{Partition: r.grant.ID, Token: r.grant.Token} }

// A table keeps the slots, sorted by partition.
type table struct {
	all  []*slot
	runs int
}

// running counts the handlers that have not returned.
func (t *table) running() int { return t.runs }

// stuckFor is how long a handler may take to return after its Hard has ended before anybody
// may end its process for that.
const stuckFor = 5 * time.Second

// Stuck is the token of the run of that partition whose handler goes on although its Hard
// has ended some time ago; zero: there is none.
func (m *Machine) Stuck(partition string) plan.Version {
	if s := m.slots.at(partition); s != nil && s.run != nil && s.run.end == closed && m.now.Sub(s.run.hard) >= stuckFor {
		return s.run.grant.Token
	}
	return 0
}

// at is the slot of a partition, or nil.
func (t *table) at(id string) *slot {
	i, ok := slices.BinarySearchFunc(t.all, id, func(s *slot, id string) int { return strings.Compare(s.id, id) })
	if !ok {
		return nil
	}
	return t.all[i]
}

// grant makes grants, sorted and without duplicates, all that is granted. What
// runs stays, and so does the rest of a lease that is granted again.
func (t *table) grant(grants []plan.Grant) {
	old := t.all
	t.all = make([]*slot, 0, max(len(old), len(grants)))
	for len(old) > 0 || len(grants) > 0 {
		switch {
		case len(grants) == 0 || len(old) > 0 && old[0].id < grants[0].ID:
			s := old[0]
			old = old[1:]
			s.granted, s.grant, s.rest = false, plan.Grant{}, rest{}
			if s.run != nil {
				t.all = append(t.all, s)
			}
		case len(old) == 0 || grants[0].ID < old[0].id:
			t.all = append(t.all, &slot{id: grants[0].ID, granted: true, grant: grants[0]})
			grants = grants[1:]
		default:
			s := old[0]
			if !s.grants(grants[0].Token) { // another lease
				s.rest = rest{}
			}
			s.granted, s.grant = true, grants[0]
			t.all = append(t.all, s)
			old, grants = old[1:], grants[1:]
		}
	}
}

// began notes that the slot's grant runs.
func (t *table) began(s *slot, now time.Time) {
	s.run = &run{grant: s.grant, began: now}
	t.runs++
}

// ended notes that the slot's run has returned.
func (t *table) ended(s *slot) *run {
	r := s.run
	s.run = nil
	t.runs--
	if !s.granted {
		i, _ := slices.BinarySearchFunc(t.all, s.id, func(s *slot, id string) int { return strings.Compare(s.id, id) })
		t.all = slices.Delete(t.all, i, i+1)
	}
	return r
}
