package lead

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// A fleet is the workers as the strategy is to see them.
type fleet struct {
	workers []plan.Worker // sorted by ID
	index   []int32       // of workers, among the members
	at      []int         // by member: its place in workers, or -1
	able    int           // those that may be given something
}

// fleet lists everybody who may keep what it has. Those that we are not sure of
// keep it, too, and get nothing new. What a worker has not let go of yet takes up its
// room: nothing is to wait for that but what is planned together with it.
func (m *Machine) fleet() fleet {
	m.weighReleases()
	for _, y := range m.roster.Members() {
		if y.State < roster.Suspect && y.Session.Owns {
			m.member(y.Session.Worker)
		}
	}
	f := fleet{at: make([]int, len(m.members))}
	aimed := make([]int64, len(m.members))
	for i := range m.parts {
		if p := &m.parts[i]; p.target != nobody && p.listed && !p.aside {
			aimed[p.target] += p.Load()
		}
	}
	for w := range m.members {
		f.at[w] = -1
		if m.keeps(m.members[w]) {
			f.index = append(f.index, int32(w))
		}
	}
	slices.SortFunc(f.index, func(a, b int32) int { return strings.Compare(m.members[a].id, m.members[b].id) })
	for i, w := range f.index {
		x := m.members[w]
		f.at[w] = i
		worker := plan.Worker{ID: x.id, NoNew: !m.takes(x) || m.controls.cordoned[x.id]}
		if y := m.roster.Member(x.id); y != nil {
			s := &y.Session
			worker.Share, worker.Capacity, worker.Zone, worker.Labels = s.Share, s.Capacity, s.Zone, s.Labels
			worker = occupied(worker, x.going, aimed[w])
		}
		if !worker.NoNew {
			f.able++
		}
		f.workers = append(f.workers, worker)
	}
	return f
}

// weighReleases notes what each worker is letting go of.
func (m *Machine) weighReleases() {
	none := true
	for _, x := range m.members {
		x.going, x.hung = 0, 0
		none = none && x.releasing == 0
	}
	if none {
		return
	}
	for i := range m.parts {
		p := &m.parts[i]
		if p.state != releasing {
			continue
		}
		x := m.members[p.owner]
		if p.target != p.owner { // or it comes back
			x.going += p.Load()
		}
		if !m.now.Before(p.at.Add(m.cfg.StuckAfter)) {
			x.hung++
		}
	}
}

// occupied is a worker that has so much less room for what it does not have yet; what it is
// meant to have stays within its capacity as before.
func occupied(w plan.Worker, by, aimed int64) plan.Worker {
	if w.Capacity > 0 && by > 0 {
		w.NoNew = w.NoNew || w.Capacity-by <= aimed
		w.Capacity = max(w.Capacity-by, min(w.Capacity, aimed), 1)
	}
	return w
}

// keeps reports whether what x has may stay where it is.
func (m *Machine) keeps(x *member) bool {
	if m.controls.drained[x.id] {
		return false
	}
	y := m.roster.Member(x.id)
	if y == nil || !y.Session.Owns {
		return false
	}
	s := &y.Session
	if s.Leaving && s.Nonce == x.session {
		return m.cfg.RestartGrace > 0 && y.State != roster.Ended // its successor will have it
	}
	return y.State != roster.Ended
}

// takes reports whether x may be given something new.
func (m *Machine) takes(x *member) bool {
	y := m.roster.Member(x.id)
	return y != nil && y.State < roster.Suspect && y.Session.Owns && !y.Session.Leaving &&
		(x.session == y.Session.Nonce || m.vacant(x)) && !m.controls.drained[x.id]
}

// vacant reports whether x's slice may be addressed to another session: the one it
// names has provably ended, and nothing of it is left.
func (m *Machine) vacant(x *member) bool {
	return x.session == "" || (x.leases == 0 && m.roster.End(x.session) != roster.EndUnknown)
}

// owners counts the live sessions that can own something.
func (m *Machine) owners() (n int) {
	for _, y := range m.roster.Members() {
		if y.State < roster.Suspect && y.Session.Owns && !y.Session.Leaving {
			n++
		}
	}
	return n
}

// assign asks the strategy for targets. With moves it may even out; without, only
// partitions that have no target get one. Fresh ones are new and wait for a window.
// It reports whether the strategy answered.
func (m *Machine) assign(f fleet, why plan.Why, cause plan.Cause, moves, fresh bool) bool {
	in := plan.Input{Workers: f.workers, Cause: cause}
	if !moves {
		in.Budget = plan.NoMoves()
	}
	which := make([]int32, 0, len(m.parts))
	n := len(m.parts)
	in.Partitions = make([]plan.Partition, 0, n)
	in.Current = make([]int, 0, n)
	in.Home = make([]string, 0, n)
	for i := range m.parts {
		p := &m.parts[i]
		if !p.listed || p.aside || p.blank || p.waitUntil.After(m.now) || (!p.placed && !fresh) {
			continue
		}
		at := -1
		if p.target != nobody && !m.banned(p, p.target) {
			at = f.at[p.target]
		}
		which = append(which, int32(i))
		in.Partitions = append(in.Partitions, p.Partition)
		in.Current = append(in.Current, at)
		in.Home = append(in.Home, p.home)
	}
	in.Pins = m.controls.pinsOf(m, &f, which)
	to, err := m.ask(in)
	if err != nil {
		m.alerts.set("strategy", "the strategy failed: "+err.Error()+"; the plan stays as it is")
		m.wishes.retry = m.now.Add(time.Second)
		m.by(m.wishes.retry)
		return false
	}
	m.alerts.set("strategy", "")
	to, diverted := m.avoid(&f, in, which, to, moves)
	if x, ok := m.cfg.Strategy.(Explainer); ok {
		e := x.Explain(in, to)
		m.account = &e
	}
	m.targets(f, in, which, to, why, moves)
	m.diverted = m.diverted || diverted
	return true
}

func (m *Machine) ask(in plan.Input) ([]int, error) {
	to, err := m.cfg.Strategy.Assign(in)
	if err == nil {
		err = valid(to, in)
	}
	return to, err
}

// mostAgain is how often the strategy is asked what it makes of the diversions from its own
// answer. What it then places where it should not be is diverted without asking.
const mostAgain = 3

// avoid is the answer without partitions that go to whom they must not go to, or are placed
// on somebody who has crashed with them. The strategy is asked again with these pinned to
// where they are, or elsewhere, so that whatever else is placed or moves makes up for it:
// otherwise the group would stay uneven, or something would have to move later. It reports
// whether there were any for a reason that passes.
func (m *Machine) avoid(f *fleet, in plan.Input, which []int32, to []int, moves bool) (better []int, diverted bool) {
	for again := range mostAgain {
		pins, passing := m.diversions(f, in, which, to, moves, again == mostAgain-1)
		if pins == nil {
			break
		}
		in.Pins = pins
		other, err := m.ask(in)
		if err != nil || ownerless(other) > ownerless(to) {
			break // that would leave more without an owner
		}
		to, diverted = other, diverted || passing
	}
	return to, diverted
}

// diversions are in's pins, and one more for each partition that the answer sends where it
// must not go, or places on somebody who has crashed with it while there is somebody else;
// nil if there is none. The last ones keep whatever else might be sent where it must not go,
// too. Rejections and crashes pass; bans do not, before an operator wants it so.
func (m *Machine) diversions(f *fleet, in plan.Input, which []int32, to []int, moves, last bool) (all []int, passing bool) {
	var guilty []int
	for k, i := range which {
		p, now := &m.parts[i], in.Current[k]
		if to[k] < 0 || to[k] == now || now >= 0 && !moves || in.Pins != nil && in.Pins[k] >= 0 {
			continue
		}
		if w := f.index[to[k]]; m.refused(p, w) || now < 0 && m.crashes(p, w) {
			guilty = append(guilty, k)
		}
	}
	if len(guilty) == 0 {
		return nil, false
	}
	pins, load := make([]int, len(which)), make([]int64, len(f.workers))
	for k, i := range which {
		pins[k] = -1
		if in.Pins != nil {
			pins[k] = in.Pins[k]
		}
		at := in.Current[k]
		if p := &m.parts[i]; last && pins[k] < 0 && to[k] >= 0 && m.choosy(p) && !m.refused(p, f.index[to[k]]) {
			pins[k] = to[k]
		}
		if pins[k] >= 0 {
			at = pins[k]
		}
		if at >= 0 {
			load[at] += in.Partitions[k].Load()
		}
	}
	found := false
	for _, k := range guilty {
		p, w := &m.parts[which[k]], in.Current[k]
		if w < 0 {
			w = m.elsewhere(f, load, p)
			if w < 0 || m.crashes(p, f.index[w]) && !m.refused(p, f.index[to[k]]) {
				continue
			}
			load[w] += p.Load()
		}
		pins[k], found = w, true
		passing = passing || !m.banned(p, f.index[to[k]])
	}
	if !found {
		return nil, false
	}
	return pins, passing
}

// refused reports whether p must not go to w: its handler there has rejected it lately, or
// an operator has banned it from there.
func (m *Machine) refused(p *part, w int32) bool {
	return slices.Contains(p.shun, w) || m.banned(p, w)
}

// choosy reports whether there is anybody p must not go to.
func (m *Machine) choosy(p *part) bool {
	bans := m.controls.bans
	return len(p.shun) > 0 || len(bans) > 0 && len(bans[p.ID]) > 0
}

// ownerless counts what an answer gives to nobody.
func ownerless(to []int) (n int) {
	for _, w := range to {
		if w < 0 {
			n++
		}
	}
	return n
}

// valid reports what is wrong with a strategy's answer: one that is wrong anywhere is
// not believed at all.
func valid(to []int, in plan.Input) error {
	if len(to) != len(in.Partitions) {
		return fmt.Errorf("it returned %d owners for %d partitions", len(to), len(in.Partitions))
	}
	for k, w := range to {
		if w < -1 || w >= len(in.Workers) {
			return fmt.Errorf("it gave %s to worker number %d of %d; an owner is an index in Workers, or -1", in.Partitions[k].ID, w, len(in.Workers))
		}
	}
	return nil
}

func causeOf(why plan.Why) plan.Cause {
	switch why {
	case plan.WhyWeights:
		return plan.Loads
	case plan.WhyPartitions:
		return plan.Partitions
	case plan.WhySettings, plan.WhyPin, plan.WhyBan:
		return plan.Settings
	default:
		return plan.Members
	}
}

// targets takes the strategy's answer, as far as it is allowed to: without moves
// only what had no target, never beyond a capacity, never where it was rejected.
func (m *Machine) targets(f fleet, in plan.Input, which []int32, to []int, why plan.Why, moves bool) {
	to = m.staying(f, in, which, to, moves)
	load := make([]int64, len(f.workers))
	for k := range which {
		if in.Current[k] >= 0 && in.Current[k] == to[k] {
			load[to[k]] += in.Partitions[k].Load()
		}
	}
	fits := func(w int, p *part) bool {
		c := f.workers[w].Capacity
		return c == 0 || load[w]+p.Load() <= c
	}
	m.full, m.retargeted, m.diverted = "", false, false
	for k, i := range which {
		p, now, then := &m.parts[i], in.Current[k], to[k]
		pinned := in.Pins != nil && in.Pins[k] >= 0
		if then >= 0 && then != now && !pinned {
			switch w := f.index[then]; {
			case slices.Contains(p.shun, w):
				if then = m.elsewhere(&f, load, p); then < 0 {
					m.full = m.members[w].id + " has rejected " + p.ID
				}
			case m.banned(p, w):
				if then = m.elsewhere(&f, load, p); then < 0 {
					m.full = p.ID + " is banned from where there is room"
				}
			case now < 0 && m.crashes(p, w):
				if other := m.elsewhere(&f, load, p); other >= 0 && other != then {
					then, m.diverted = other, true
				}
			}
		}
		if then != now && then >= 0 {
			if !fits(then, p) || f.workers[then].NoNew {
				if then = now; now < 0 && !pinned { // what does not follow the answer has taken its room
					then = m.elsewhere(&f, load, p)
					m.diverted = m.diverted || then >= 0
				}
			}
			if then >= 0 {
				load[then] += p.Load()
			}
		}
		m.aim(p, f, now, then, why, pinned, moves)
	}
	m.round++ // what was not placed is not tried again before something changes
	for _, i := range which {
		if m.parts[i].target == nobody {
			m.parts[i].tried = m.round
		}
	}
}

// staying is the answer with what stays for another reason than the strategy's: without
// moves, and rather than go where it must not go. It counts where it stays.
func (m *Machine) staying(f fleet, in plan.Input, which []int32, to []int, moves bool) []int {
	to = slices.Clone(to)
	for k, i := range which {
		pinned := in.Pins != nil && in.Pins[k] >= 0
		if now := in.Current[k]; now >= 0 && !pinned && (!moves || to[k] >= 0 && m.refused(&m.parts[i], f.index[to[k]])) {
			to[k] = now
		}
	}
	return to
}

// aim sets p's target and says why.
func (m *Machine) aim(p *part, f fleet, now, then int, why plan.Why, pinned, moves bool) {
	p.placed = true
	if then < 0 && p.state != free && p.target == p.owner && (now < 0 || !moves) {
		p.tried = m.round + 1 // nobody else can take it: it stays until somebody can
		return
	}
	if then < 0 {
		p.target = nobody
		if p.why != plan.WhyLost {
			p.why = plan.WhyCapacity
		}
		if m.full == "" {
			m.full = "for example " + p.ID
		}
		return
	}
	target := f.index[then]
	if target == p.target {
		return
	}
	switch {
	case pinned:
		p.why = plan.WhyPin
	case now < 0 && p.target != nobody && p.target != p.owner:
		// it goes elsewhere than it was to: why it leaves its owner, or has, is as before
	case now < 0 && m.banned(p, p.target):
		p.why = plan.WhyBan
	case now < 0 && p.target != nobody && m.controls.drained[m.members[p.target].id]:
		p.why = plan.WhyDrain
	case now < 0 && p.target != nobody: // its owner leaves
		p.why = m.whyGone(p.target)
	case p.home == m.members[target].id && now < 0:
		p.why = plan.WhyReturn
	case m.wishes.cold == nil && now < 0 && p.why != plan.WhyNone && (p.why != plan.WhyPartitions || why != plan.WhyRecovered):
		// it has kept the reason for which it has no owner: it lost it, or is new
	default:
		p.why = why
	}
	p.target, m.retargeted = target, true
}

// whyGone is why w, which is not there to have anything any more, is not.
func (m *Machine) whyGone(w int32) plan.Why {
	if y := m.roster.Member(m.members[w].id); y != nil && y.State == roster.Ended && y.Session.Tombstone != nil {
		return plan.WhyLost
	}
	return plan.WhyLeaving
}

// elsewhere is the least loaded worker that may take p and to which it may go, rather one
// that has not crashed with it. Where all of those have rejected p, all but the last may take
// it again.
func (m *Machine) elsewhere(f *fleet, load []int64, p *part) int {
	best, guilty := -1, false
	for w := range f.workers {
		x := &f.workers[w]
		if x.NoNew || m.refused(p, f.index[w]) || (x.Capacity > 0 && load[w]+p.Load() > x.Capacity) {
			continue
		}
		again := m.crashes(p, f.index[w])
		if best < 0 || guilty && !again || guilty == again && load[w]*f.workers[best].Portion() < load[best]*x.Portion() {
			best, guilty = w, again
		}
	}
	if best < 0 && len(p.shun) > 1 {
		p.shun = p.shun[len(p.shun)-1:]
		return m.elsewhere(f, load, p)
	}
	return best
}

// barred says why none of those that are there may be given anything, where operators want
// it so; empty: somebody may, or nobody is there.
func (m *Machine) barred() string {
	var cordoned, drained bool
	for _, y := range m.roster.Members() {
		switch id := y.Session.Worker; {
		case y.State >= roster.Suspect || !y.Session.Owns || y.Session.Leaving:
		case m.controls.drained[id]:
			drained = true
		case m.controls.cordoned[id]:
			cordoned = true
		default:
			return ""
		}
	}
	switch {
	case cordoned && drained:
		return "every worker is cordoned or drained"
	case cordoned:
		return "every worker is cordoned"
	case drained:
		return "every worker is drained"
	default:
		return ""
	}
}

// stalled reports whether the window of a first plan, or of a restart of most, is over and
// cannot close: nobody is there who could be given anything.
func (m *Machine) stalled() bool {
	w := m.wishes.cold
	return w != nil && !m.now.Before(m.due(w)) && (m.owners() == 0 || m.barred() != "")
}
