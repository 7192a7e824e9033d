package sim

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

// Promise is the number of a promise of the design.
type Promise int

// The promises, as the design numbers them; and six that go without saying.
const (
	PromiseOnePlan  Promise = 1
	PromiseRevoke   Promise = 2
	PromiseOneOwner Promise = 3
	PromiseTokens   Promise = 4
	PromiseSource   Promise = 6
	PromiseRuns     Promise = 7
	PromiseSettles  Promise = 8
	PromiseRecovers Promise = 9
	PromiseMoves    Promise = 10
	PromiseCost     Promise = 11
	PromiseTruth    Promise = 20 // what is said is so
	PromiseNoPanic  Promise = 21
	PromiseFlapping Promise = 22 // no state is entered without a reason
	PromiseRoom     Promise = 23 // nobody is given more than it has room for
	PromiseEven     Promise = 24 // what is at rest is even: the strategy would move nothing
	PromiseSteer    Promise = 25 // what operators want is so
)

var promiseWords = map[Promise]string{
	PromiseOnePlan: "one plan", PromiseRevoke: "revoke before grant", PromiseOneOwner: "at most one owner",
	PromiseTokens: "tokens grow", PromiseSource: "a failing source loses nothing", PromiseRuns: "runs again",
	PromiseSettles: "settles", PromiseRecovers: "recovers", PromiseMoves: "moves little", PromiseCost: "costs little",
	PromiseTruth: "state tells the truth", PromiseNoPanic: "no panic", PromiseFlapping: "no flapping",
	PromiseRoom: "room for all of it", PromiseEven: "ends even", PromiseSteer: "orders are obeyed",
}

func (p Promise) String() string { return fmt.Sprintf("%d (%s)", int(p), promiseWords[p]) }

func stack() string {
	lines := strings.Split(string(debug.Stack()), "\n")
	var out []string
	for i, line := range lines {
		if strings.Contains(line, "/internal/") && !strings.Contains(line, "/sim/") && strings.HasPrefix(line, "\t") && i > 0 {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out[:min(len(out), 8)], "\n")
}

// planStored checks promise 1: plans are one sequence. Versions grow; terms do not
// fall; a term has one leader. After the store went back, the first commits of a
// leader that does not know it yet may repeat a number, if they grant nothing.
func (l *ledger) planStored(h plan.Head, rs []member.Record) {
	l.w.stats.Plans++
	l.w.mark(uint64(h.Version))
	if h.Term == 0 { // nobody's: whoever made the store anew says that a plan stood before
		if !h.Adopting || len(rs) > 1 || h.Version <= l.head.Version {
			l.break_(PromiseOnePlan, "", "plan %s of no term after plan %s of term %d", h.Version, l.head.Version, l.head.Term)
		}
		return
	}
	l.lastPlan, l.lastCause = l.w.now, h.Why
	who := h.Leader + "/" + h.Session
	grantsAny := slices.ContainsFunc(rs, func(r member.Record) bool {
		s, ok := r.Value.(plan.Slice)
		return ok && slices.ContainsFunc(s.Granted, func(g plan.Grant) bool { return g.Token == h.Version })
	})
	if h.Version <= l.head.Version && (grantsAny || !l.wentBackSince()) {
		l.break_(PromiseOnePlan, "", "plan %s of term %d after plan %s of term %d", h.Version, h.Term, l.head.Version, l.head.Term)
		return
	}
	key := uint64(h.Version.Incarnation())<<32 | h.Term
	if was, ok := l.terms[key]; ok && was != who && !l.wentBackSince() {
		l.break_(PromiseOnePlan, "", "term %d of %s and of %s", h.Term, was, who)
		return
	}
	l.terms[key] = who
	if h.Version.Incarnation() == l.head.Version.Incarnation() && h.Term < l.head.Term && !l.wentBackSince() {
		l.break_(PromiseOnePlan, "", "term %d after term %d", h.Term, l.head.Term)
		return
	}
	if h.Version > l.head.Version {
		l.head = h
	}
	if l.settled >= 0 {
		l.w.stats.Waiting = max(l.w.stats.Waiting, h.Unassigned)
	}
	if s := l.byNonce[h.Session]; s == nil {
		l.break_(PromiseOnePlan, "", "plan %s by an unknown session %s", h.Version, h.Session)
	}
}

// wentBackSince reports whether the store has lost accepted writes in its present
// incarnation.
func (l *ledger) wentBackSince() bool {
	for _, f := range l.w.sc.Faults {
		since := f.At >= l.anew
		if f.Kind == Replaced { // by which it was made anew
			since = f.At > l.anew
		}
		if (f.Kind == GoBack || f.Kind == Restore || f.Kind == Replaced || f.Kind == StoreLost) && f.At <= l.w.now && since {
			return true
		}
	}
	return false
}

// slicesStored checks promises 2 and 4 where they are decided: a partition stands
// in one slice; a new lease has a token above all earlier ones of its partition,
// and there is evidence for the end of every earlier lease.
func (l *ledger) slicesStored(changed []plan.Slice, removed []string) {
	for _, worker := range removed {
		l.leaveSlice(l.slices[worker])
		delete(l.slices, worker)
	}
	for _, s := range changed {
		l.leaveSlice(l.slices[s.Worker])
		delete(l.slices, s.Worker)
	}
	for _, s := range changed {
		l.slices[s.Worker] = s
		for _, id := range inSlice(s) {
			if at, ok := l.place[id]; ok {
				l.break_(PromiseRevoke, id, "%s is in the slices of %s and %s", id, at, s.Worker)
				return
			}
			l.place[id] = s.Worker
		}
		owner := l.byNonce[s.Session]
		if owner == nil {
			l.break_(PromiseRevoke, "", "a slice for session %q of nobody", s.Session)
			return
		}
		owner.slices[s.Version] = s
		owner.last = max(owner.last, s.Version)
	}
	for _, s := range changed {
		owner := l.byNonce[s.Session]
		l.roomFor(owner, &s)
		for i := range s.Granted {
			if l.granted(owner, &s.Granted[i]); l.w.over {
				return
			}
		}
	}
	l.placed()
	l.resumed(changed)
}

// resumed notes whom a plan names again that had been lost with the store: that the time of
// such a session has passed since says nothing of its end any more. Of what the plan does not
// name, which it did not say that it holds, the leader knows nothing.
func (l *ledger) resumed(changed []plan.Slice) {
	for i := range changed {
		named := &changed[i]
		s := l.byNonce[named.Session]
		if !s.bereft || s.gone >= 0 {
			continue
		}
		s.displaced, s.bereft = -1, false
		for _, g := range l.openOf(s) {
			g.older = g.older || !grants(*named, g.Lease) &&
				!slices.ContainsFunc(named.Releasing, func(r plan.Release) bool { return r.ID == g.Partition && r.Token == g.Token })
		}
	}
}

// roomFor checks that a slice which grants something new holds no more than its worker
// has room for, what it has yet to let go of included. A weight that grows is not the
// leader's doing.
func (l *ledger) roomFor(to *session, s *plan.Slice) {
	capacity := to.p.host.spec.Capacity
	if capacity == 0 || !slices.ContainsFunc(s.Granted, func(g plan.Grant) bool { return g.Token == s.Version }) {
		return
	}
	load := int64(0)
	for i := range s.Granted {
		load += s.Granted[i].Load()
	}
	for i := range s.Releasing {
		load += s.Releasing[i].Load()
	}
	if load > capacity {
		l.break_(PromiseRoom, "", "plan %s gives %s work of %d, and it has room for %d", s.Version, s.Worker, load, capacity)
	}
}

func inSlice(s plan.Slice) []string {
	ids := make([]string, 0, len(s.Granted)+len(s.Releasing))
	for _, g := range s.Granted {
		ids = append(ids, g.ID)
	}
	for _, r := range s.Releasing {
		ids = append(ids, r.ID)
	}
	return ids
}

func (l *ledger) leaveSlice(s plan.Slice) {
	for _, id := range inSlice(s) {
		if l.place[id] == s.Worker {
			delete(l.place, id)
		}
	}
}

// granted checks one grant.
func (l *ledger) granted(to *session, g *plan.Grant) {
	this := plan.Lease{Partition: g.ID, Token: g.Token}
	all := l.leases[g.ID]
	var known *lease
	for _, old := range all {
		if old.Lease == this && old.s == to {
			known = old
		}
	}
	if known == nil && g.Token <= l.newest[g.ID] {
		l.break_(PromiseTokens, g.ID, "%s is granted to %s with token %s after %s", g.ID, to.nonce, g.Token, l.newest[g.ID])
		return
	}
	for _, old := range all {
		if old == known || old.closed || old.older {
			continue
		}
		if why, ok := l.over(old); !ok {
			if known != nil && l.renewals > 0 && old.Token < g.Token {
				old.older = true
				continue // both resumed what they held; the younger one is adopted
			}
			if known != nil && l.renewals > 0 && old.s.anew < l.renewals && l.w.sc.Settings.Strict == 0 {
				// An open hole, see testdata/resumed-after-tombstone.txt: the owner of the
				// younger lease has not come back, so the leader adopts the older one.
				l.w.stats.Older++
				continue
			}
			l.break_(PromiseRevoke, g.ID, "%s@%s is granted to %s while the lease of %s@%s may still run: %s",
				g.ID, g.Token, to.nonce, old.s.nonce, old.Token, why)
			return
		}
		old.closed = true
	}
	if known != nil {
		return
	}
	l.w.stats.Grants++
	if len(all) > 0 && all[len(all)-1].s.worker != to.worker {
		l.w.stats.Moves++
		if l.settled >= 0 {
			l.since.moves++
			l.claimMoves()
		}
	}
	l.moved(all, to, g)
	l.steered(all, to, g)
	l.newest[g.ID] = g.Token
	if len(all) > 6 {
		all = slices.DeleteFunc(all, func(x *lease) bool { return x.closed && l.w.now-x.granted > 3*time.Minute })
	}
	// A session that was leaving already starts nothing: its record speaks of this lease, too.
	l.leases[g.ID] = append(all, &lease{Lease: this, s: to, granted: l.w.now, receipt: to.leaving, closed: to.leaving})
}

// over tells whether there is evidence, that a leader can have, for the end of a
// lease: its receipt, the end of its session, or, for a session that was displaced
// or whose key is gone, that its TTL has passed since on the fastest of clocks.
func (l *ledger) over(g *lease) (why string, ok bool) {
	s := g.s
	if s.ended >= 0 || g.receipt {
		return "", true
	}
	ttl := s.ttl - s.ttl*time.Duration(l.fastest())/1_000_000
	since := s.displaced
	if s.fenced && s.gone >= 0 && (since < 0 || s.gone < since) {
		since = s.gone
	}
	if since >= 0 && l.w.now-since >= ttl {
		return "", true
	}
	switch {
	case s.displaced >= 0:
		return fmt.Sprintf("it was displaced %s ago, and its TTL is %s", l.w.now-s.displaced, s.ttl), false
	case s.gone >= 0:
		return fmt.Sprintf("its key has been gone for %s, and its TTL is %s", l.w.now-s.gone, s.ttl), false
	}
	return fmt.Sprintf("no receipt, no tombstone; last renewed %s ago", l.w.now-s.renewed), false
}

// fastest is how far any clock has run ahead, in millionths.
func (l *ledger) fastest() int {
	n := 0
	for _, h := range l.w.hosts {
		n = max(n, h.rate, h.spec.Rate)
	}
	for _, f := range l.w.sc.Faults { // one that is over may have been at work while the leader waited
		if f.Kind == Skew && f.At <= l.w.now {
			n = max(n, f.N)
		}
	}
	return n
}

// permission finds what a process starts a lease on: a grant to one of its own
// sessions.
func (l *ledger) permission(p *process, this plan.Lease) (*session, *lease) {
	for _, g := range l.leases[this.Partition] {
		if g.Lease == this && g.s.p == p {
			return g.s, g
		}
	}
	l.break_(PromiseRevoke, this.Partition, "host %d starts %s@%s, which was never granted to a session of its process",
		p.host.n, this.Partition, this.Token)
	return nil, nil
}

// mayStart checks promises 2 and 3 where they matter: when a handler starts.
func (l *ledger) mayStart(p *process, r *run, s *session, g *lease) {
	id := r.lease.Partition
	if g.receipt {
		l.break_(PromiseRevoke, id, "host %d starts %s@%s again after it was given up", p.host.n, id, r.lease.Token)
		return
	}
	for _, other := range l.running[id] {
		if other.p == p {
			l.break_(PromiseRevoke, id, "host %d starts %s@%s while its own handler of token %s runs", p.host.n, id, r.lease.Token, other.lease.Token)
			return
		}
		l.twoOwners(r, s, other)
	}
}

// An overlap is two handlers of one partition, of which at least one was excused.
type overlap struct {
	a, b  *run
	since time.Duration
}

// twoOwners checks two handlers of one partition: a, which has just started, and b.
func (l *ledger) twoOwners(a *run, s *session, b *run) {
	l.w.say("ledger: %s is run by %s@%s and %s@%s", a.lease.Partition, a.nonce, a.lease.Token, b.nonce, b.lease.Token)
	o := &overlap{a: a, b: b, since: l.w.now}
	if why := l.excuse(o); why != "" {
		l.break_(PromiseOneOwner, a.lease.Partition, "%s is run by %s@%s and by %s@%s: %s",
			a.lease.Partition, a.nonce, a.lease.Token, b.nonce, b.lease.Token, why)
		return
	}
	l.overlaps = append(l.overlaps, o)
}

// excuse says why two owners are not excused, if they are not. They are excused as
// long as one of them is excused for still running, or for starting.
func (l *ledger) excuse(o *overlap) string {
	whyA, whyB := l.mayLinger(o.a, o), l.mayLinger(o.b, o)
	if whyA == "" || whyB == "" {
		return ""
	}
	return fmt.Sprintf("%s %s; %s %s", o.a.nonce, whyA, o.b.nonce, whyB)
}

// mayLinger says why a handler is not excused for running although another session
// was granted its partition; nothing if it is. The excuses are those of promise 3:
// a process that is not scheduled, or has only just woken; clocks beyond the
// margin; a handler that ignores Hard; and, under Freeze, a session that cannot
// know yet, because its worker is isolated or was until a moment ago.
func (l *ledger) mayLinger(r *run, o *overlap) string {
	p, s := r.p, l.byNonce[r.nonce]
	h := p.host
	switch {
	case !p.alive || r.ended:
		return ""
	case l.skewed():
		return ""
	}
	if _, over := l.over(&lease{Lease: r.lease, s: s}); !over && !l.isOlder(r, s) {
		return "is not known to have ended" // it is the owner, and no excuse of its own makes room for the other
	}
	switch {
	case p.frozen > 0, l.w.now < h.unwell:
		return ""
	case r.deaf, h.does.deaf > 0:
		return ""
	}
	if s.fenced {
		return "fences, and its process is scheduled"
	}
	// Freeze: until it finds out, and its handlers have had the time after Hard.
	wait := l.findsOut()
	since := max(h.healthy, l.ill, o.since)
	if l.isolated(h) || l.w.now < since+wait {
		return ""
	}
	return fmt.Sprintf("freezes, but has been able to find out since %s", since)
}

// isOlder reports whether a handler runs on a lease that the plan does not name since the
// store was made anew.
func (l *ledger) isOlder(r *run, s *session) bool {
	return slices.ContainsFunc(l.leases[r.lease.Partition], func(g *lease) bool { return g.Lease == r.lease && g.s == s && g.older })
}

// mayResume checks promise 2 where a session comes back under its nonce: a plan that
// had gone on without it, when it could last be read, is a plan that may grant to
// others what still runs here.
func (l *ledger) mayResume(s *session) {
	since := max(s.unnamed, s.p.host.unwell, s.p.host.misled)
	if s.unnamed < 0 || l.w.now-since < 4*l.w.sc.Settings.OpTimeout {
		return
	}
	l.break_(PromiseRevoke, "", "session %s resumes, and for %s a plan has stood that does not name it", s.nonce, l.w.now-s.unnamed)
}

// mayBury checks promise 2 where a tombstone is written: it ends each earlier session of the
// worker ID, too, so there must be evidence for the end of every lease of those. A leader of
// a store that was lost, or went back, may never have heard of them.
func (l *ledger) mayBury(s *session) {
	if l.renewals > 0 || l.wentBackSince() {
		return
	}
	for _, other := range l.stood {
		if other == s || other.worker != s.worker || other.displaced < 0 || other.ended >= 0 {
			continue
		}
		for _, g := range l.openOf(other) {
			if why, ok := l.over(g); !ok {
				l.break_(PromiseRevoke, g.Partition, "a tombstone for %s ends %s as well, and %s@%s may still run there: %s",
					s.nonce, other.nonce, g.Partition, g.Token, why)
				return
			}
		}
	}
}

// findsOut is how long a worker that can reach the store may take to find out that
// its session is over, and to stop.
func (l *ledger) findsOut() time.Duration {
	s := l.w.sc.Settings
	return 2*s.Heartbeat + 3*s.OpTimeout + s.HardReturn + 6*time.Second
}

// isolated reports whether a host may be unable to reach the store now.
func (l *ledger) isolated(h *host) bool {
	b := l.w.store
	return h.link.impaired() || b.ill() || h.lag > 0 || b.garbled[member.KindSession] > 0
}

// skewed reports whether clocks were beyond the margin.
func (l *ledger) skewed() bool {
	return slices.ContainsFunc(l.w.hosts, func(h *host) bool { return h.overSkew })
}

// decided checks promise 6 in every decision: what the source did not provably
// take away is not dropped.
func (l *ledger) decided(by *process, d plan.Decision) {
	for _, m := range d.Moves {
		if m.Step != plan.Dropped {
			continue
		}
		src := l.w.source
		if e, ok := src.real[m.Partition]; !ok || src.removed[m.Partition] > 0 || l.w.now-e.since < 30*time.Second && e.since > 0 {
			continue
		}
		if !l.saidGone(m.Partition, by) {
			l.break_(PromiseSource, m.Partition, "%s is dropped by plan %s, and no listing that may be believed left it out", m.Partition, d.Version)
			return
		}
	}
}

// saidGone reports whether the source has lately told a listing without id that may
// be believed: one that drops at most half of what was known, or two that agree. What
// is known is what the leader was told before, or, if it is new, the plan that it found.
func (l *ledger) saidGone(id string, by *process) bool {
	told := l.w.source.told
	for i, v := range slices.Backward(told) {
		if slices.Contains(v.ids, id) {
			continue
		}
		kept := 0
		for p := range l.place {
			if slices.Contains(v.ids, p) {
				kept++
			}
		}
		if 2*kept >= len(l.place) {
			return true
		}
		for _, before := range slices.Backward(told[:i]) {
			if slices.Equal(before.ids, v.ids) || before.by == by && v.keepsHalf(before) {
				return true
			}
		}
	}
	return false
}

func (v listing) keepsHalf(of listing) bool {
	kept := 0
	for _, id := range of.ids {
		if slices.Contains(v.ids, id) {
			kept++
		}
	}
	return 2*kept >= len(of.ids)
}

// state checks that what a member says of itself is so.
func (l *ledger) state(p *process, rd member.Ready) {
	if rd.State != p.state {
		switch rd.State {
		case member.Degraded:
			l.w.stats.Degraded++
			l.since.degraded++
			l.claimCalm(p, "is degraded")
		case member.Fenced:
			l.w.stats.Fenced++
			l.since.fenced++
			l.claimCalm(p, "is fenced")
		}
	}
}
