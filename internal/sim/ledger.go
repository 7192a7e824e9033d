package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// A ledger knows what really happened: every write that the store ever accepted,
// also those that it lost again, and every handler that ever ran. The promises are
// checked against it as things happen.
type ledger struct {
	w         *world
	violation *Violation

	// What the store was told.
	head     plan.Head // of the highest version ever
	terms    map[uint64]string
	byNonce  map[string]*session
	stood    []*session        // those whose records were ever stored, by when they were first
	holder   map[string]string // worker ID to the nonce that its key names, also if expired
	leases   map[string][]*lease
	slices   map[string]plan.Slice // as they stand now, by worker ID
	place    map[string]string     // partition to the worker whose slice has it
	newest   map[string]plan.Version
	renewals int
	anew     time.Duration // when the store was last made anew above all that had been
	back     time.Duration // when it went back; below 0: it has not, since all that was forgotten

	// What handlers did.
	running map[string][]*run // by partition
	bare    map[string]time.Duration

	// overlaps are two handlers of one partition that are excused for now.
	overlaps []*overlap

	ill       time.Duration // when the store was last seen to have a fault
	settled   time.Duration // when every partition ran for the first time; below 0: not yet
	lastPlan  time.Duration
	lastCause plan.Why
	lifted    time.Duration // when what is kept out of the plan last changed
	alerts    map[string]string
	since     counts // since the group had settled
	economy   economy
	troubled  time.Duration // until when orders may not be heard
}

// counts are what claims count.
type counts struct {
	returns, moves   int
	degraded, fenced int
	renewals, leader int
	reads, lists     int
	probes           int
	terms            map[uint64]bool
	planned          int
	sliced, lost     int               // plans that change a slice; handlers that returned and nobody had stopped their process
	home             map[string]string // partition to the worker ID that ran it
}

// A session is what is known of one nonce.
type session struct {
	nonce, worker string
	p             *process
	ttl           time.Duration
	fenced        bool

	// slices are those addressed to it, by version: what it may act on.
	slices map[plan.Version]plan.Slice
	last   plan.Version // the newest of them

	// Evidence of its end, in true time; below 0: none.
	ended     time.Duration // tombstone or last words
	how       roster.End
	displaced time.Duration // a successor was stored, or the store was lost
	bereft    bool          // it was the latter: it may come back, and then it is not displaced any more
	gone      time.Duration // its key expired
	unnamed   time.Duration // a plan that does not name it has stood ever since; no evidence of an end

	renewed time.Duration // last accepted record
	anew    int           // how often the store had been made anew then
	leaving bool
}

// A lease is one period of ownership, from its grant to the evidence of its end.
type lease struct {
	plan.Lease
	s       *session
	granted time.Duration
	receipt bool
	closed  bool
	older   bool // no plan names it since the store was made anew: nobody adopted it, or a younger one
}

func newLedger(w *world) *ledger {
	return &ledger{
		back: -1,
		w:    w, terms: map[uint64]string{}, byNonce: map[string]*session{}, holder: map[string]string{},
		leases: map[string][]*lease{}, slices: map[string]plan.Slice{}, place: map[string]string{},
		newest: map[string]plan.Version{}, running: map[string][]*run{}, bare: map[string]time.Duration{},
		settled: -1, alerts: map[string]string{},
		since: counts{terms: map[uint64]bool{}},
	}
}

// break_ notes a violation; the run ends with the first.
func (l *ledger) break_(p Promise, partition, format string, args ...any) { //nolint:revive // break is taken
	if l.violation != nil {
		return
	}
	l.violation = &Violation{Promise: p, At: l.w.now, Text: fmt.Sprintf(format, args...), Partition: partition}
	l.w.say("VIOLATION of promise %s: %s", p, l.violation.Text)
	l.w.over = true
}

// panicked notes that a machine did.
func (l *ledger) panicked(p *process, f member.Fact, e any) {
	l.break_(PromiseNoPanic, "", "host %d panics on %T: %v\n%s", p.host.n, f, e, stack())
}

// session notes the nonce that a process has made up.
func (l *ledger) session(nonce string, p *process) {
	l.byNonce[nonce] = &session{nonce: nonce, p: p, slices: map[plan.Version]plan.Slice{}, ended: -1, displaced: -1, gone: -1, unnamed: -1}
}

// stored takes in what the store has just accepted, by whom.
func (l *ledger) stored(by *process, rs []member.Record) {
	w := l.w
	if w.trace != nil {
		who := "-"
		if by != nil {
			who = fmt.Sprint(by.host.n)
		}
		for _, r := range rs {
			if r.Key.Kind != member.KindSession || by == nil || w.now > 0 {
				w.say("store: host %s writes %s at %d: %s", who, describeKey(r.Key), r.Rev, describe(r))
			}
		}
	}
	var changed []plan.Slice
	var removed []string
	for _, r := range rs {
		switch r.Key.Kind {
		case member.KindSession:
			l.sessionStored(by, r)
		case member.KindPlan:
			if h, ok := r.Value.(plan.Head); ok {
				l.planStored(h, rs)
			}
		case member.KindSlice:
			if s, ok := r.Value.(plan.Slice); ok {
				changed = append(changed, s)
			} else {
				removed = append(removed, r.Key.Name)
			}
		case member.KindLog:
			if d, ok := r.Value.(plan.Decision); ok {
				l.decided(by, d)
			}
		case member.KindLeader:
			if by != nil {
				l.since.leader++
			}
		case member.KindAside:
			l.lifted = w.now
			l.lastCause = plan.WhyQuarantine // its time is over, whatever the group does
			if as, ok := r.Value.([]plan.Aside); ok && slices.ContainsFunc(as, func(a plan.Aside) bool { return a.Why == plan.WhyQuarantine && a.For > 0 }) {
				w.stats.Quarantined++
			}
		case member.KindControl, member.KindChain:
		}
	}
	if len(changed)+len(removed) > 0 {
		l.slicesStored(changed, removed)
	}
	l.naming()
	if len(changed)+len(removed) > 0 {
		l.sliced()
	}
}

// sliced counts a plan that says something to a worker.
func (l *ledger) sliced() {
	l.w.stats.Sliced++
	l.w.stats.LastPlan = l.w.now
	if l.settled >= 0 {
		l.since.sliced++
		l.claimPlans()
	}
}

// asked counts a request that changes nothing.
func (l *ledger) asked(r member.Request) {
	switch r.(type) {
	case member.Get:
		l.since.reads++
	case member.List:
		l.since.lists++
	case member.Probe:
		l.since.probes++
	default: // writes are counted as they are stored
	}
}

// leads notes that a process is about to lead, or no more.
func (l *ledger) leads(p *process, leading bool) {
	if leading == p.leading {
		return
	}
	if leading && slices.ContainsFunc(l.w.hosts, func(h *host) bool { return h.proc != nil && h.proc != p && h.proc.leading }) {
		l.w.stats.TwoLead++
	}
	for _, s := range l.slices {
		if len(s.Releasing) > 0 {
			l.w.stats.Midway++
			return
		}
	}
}

// naming notes since when a plan has stood that does not name a session.
func (l *ledger) naming() {
	h, stands := l.w.store.head()
	for _, s := range l.stood {
		switch {
		case !stands || h.Adopting || !h.Started || l.slices[s.worker].Session == s.nonce:
			s.unnamed = -1
		case s.unnamed < 0:
			s.unnamed = l.w.now
		}
	}
}

// sessionStored takes in a session's record: its receipts, its end.
func (l *ledger) sessionStored(by *process, r member.Record) {
	now := l.w.now
	worker := r.Key.Name
	if r.Gone {
		if s := l.byNonce[l.holder[worker]]; s != nil && s.gone < 0 {
			s.gone = now
		}
		return
	}
	rec, ok := r.Value.(roster.Session)
	if !ok {
		return
	}
	s := l.byNonce[rec.Nonce]
	if s == nil {
		l.break_(PromiseOneOwner, "", "a session of nobody: %s", rec.Nonce)
		return
	}
	if s.worker == "" {
		l.stood = append(l.stood, s)
	}
	s.worker, s.ttl, s.fenced = worker, rec.TTL.Duration(), rec.Fenced
	if old := l.byNonce[l.holder[worker]]; old != nil && old != s {
		if old.bereft = false; old.displaced < 0 {
			old.displaced = now
		}
	}
	l.holder[worker] = rec.Nonce
	if rec.Tombstone != nil {
		if l.mayBury(s); l.w.over {
			return
		}
		l.ends(s, roster.EndTombstone)
		for _, other := range l.byNonce {
			if other.worker == worker && other.displaced >= 0 {
				l.ends(other, roster.EndTombstone)
			}
		}
		return
	}
	if by == nil || by != s.p {
		l.break_(PromiseOnePlan, "", "the record of session %s was written by somebody else, without a tombstone", rec.Nonce)
		return
	}
	if rec.Resumed && s.gone >= 0 {
		l.mayResume(s)
	}
	s.renewed, s.gone, s.anew = now, -1, l.renewals
	s.leaving = s.leaving || rec.Leaving
	l.since.renewals++
	l.receipts(s, &rec)
	if rec.Left {
		for _, r := range by.runs {
			if r.nonce == s.nonce {
				l.break_(PromiseRevoke, r.lease.Partition, "session %s says its last words over a running handler of %s", s.nonce, r.lease.Partition)
				return
			}
		}
		l.ends(s, roster.EndLeft)
	}
}

func (l *ledger) ends(s *session, how roster.End) {
	if s.ended < 0 {
		s.ended, s.how = l.w.now, how
		l.w.say("ledger: session %s has ended: %s", s.nonce, how)
	}
}

// receipts closes the leases that a record gives up, and checks that it tells the
// truth: nothing of what it gives up is running.
func (l *ledger) receipts(s *session, rec *roster.Session) {
	if rec.Applied == 0 && !rec.Leaving {
		return
	}
	slice, known := s.slices[rec.Applied]
	if rec.Applied != 0 && !known {
		l.break_(PromiseRevoke, "", "session %s says that it applied %s, and no such slice was ever addressed to it", s.nonce, rec.Applied)
		return
	}
	for _, g := range l.openOf(s) {
		gone := false
		switch {
		case slices.Contains(rec.Done, g.Lease), slices.Contains(rec.Rejected, g.Lease), slices.Contains(rec.GivenUp, g.Lease):
			gone = true
		case slices.Contains(rec.Draining, g.Lease):
		case rec.Leaving:
			gone = true
		case g.Token <= rec.Applied:
			gone = !grants(slice, g.Lease)
		}
		if !gone {
			continue
		}
		g.receipt, g.closed = true, true
		if r := s.p.runs[g.Lease]; s.p.alive && r != nil && r.nonce == s.nonce {
			l.break_(PromiseRevoke, g.Partition, "session %s gives up %s@%s while its handler runs", s.nonce, g.Partition, g.Token)
			return
		}
	}
	if len(s.slices) > 8 {
		for v := range s.slices {
			if v < rec.Applied {
				delete(s.slices, v)
			}
		}
	}
}

// openOf are the leases of a session without evidence of their end, in order of partitions.
func (l *ledger) openOf(s *session) (out []*lease) {
	for _, gs := range l.leases {
		for _, g := range gs {
			if g.s == s && !g.closed {
				out = append(out, g)
			}
		}
	}
	slices.SortFunc(out, func(a, b *lease) int { return strings.Compare(a.Partition, b.Partition) })
	return out
}

func grants(s plan.Slice, g plan.Lease) bool {
	i, ok := slices.BinarySearchFunc(s.Granted, g.Partition, func(x plan.Grant, id string) int { return strings.Compare(x.ID, id) })
	return ok && s.Granted[i].Token == g.Token
}

// lost, renewed and wentBack note what became of the store as a whole.
func (l *ledger) lost() {
	for _, s := range l.byNonce {
		if s.worker != "" && s.gone < 0 {
			s.gone = l.w.now
		}
		if s.worker != "" && s.displaced < 0 {
			s.displaced, s.bereft = l.w.now, true // nobody is told of it any more
		}
	}
	clear(l.slices)
	clear(l.place)
}

func (l *ledger) renewed(incarnation uint32) {
	l.lost()
	l.renewals++
	l.w.stats.Renewed++
	if incarnation > l.head.Version.Incarnation() { // else nobody is left who remembers
		l.anew = l.w.now
	}
}

// wentBack makes the ledger's idea of what stands what it now is. What was
// evidence stays evidence.
func (l *ledger) wentBack() {
	clear(l.slices)
	clear(l.place)
	for _, s := range l.w.store.slices() {
		l.slices[s.Worker] = s
		for _, g := range s.Granted {
			l.place[g.ID] = s.Worker
		}
		for _, r := range s.Releasing {
			l.place[r.ID] = s.Worker
		}
	}
	for _, s := range l.w.store.sessions() {
		l.holder[s.Worker] = s.Nonce
	}
	l.back = l.w.now
	l.forget()
}

// forget takes back what nobody remembers: tokens and versions grow as long as anybody who
// has seen the highest is there, and when the store has gone back, only those are who were
// there before.
func (l *ledger) forget() {
	if l.back < 0 || slices.ContainsFunc(l.w.hosts, func(h *host) bool { return h.proc != nil && h.proc.alive && h.proc.booted <= l.back }) {
		return
	}
	l.back = -1
	l.head = plan.Head{}
	if h, ok := l.w.store.head(); ok {
		l.head = h
	}
	for id, leases := range l.leases {
		top := plan.Version(0)
		for _, g := range leases {
			if g.Token <= l.head.Version {
				top = max(top, g.Token)
			} else {
				g.closed = true // its process is gone
			}
		}
		l.newest[id] = top
	}
}

// starting notes that a handler begins, and checks that it may.
func (l *ledger) starting(p *process, r *run) {
	s, g := l.permission(p, r.lease)
	if s == nil {
		return
	}
	r.nonce = s.nonce
	l.w.say("host %d: starts %s@%s as %s", p.host.n, r.lease.Partition, r.lease.Token, r.nonce)
	l.mayStart(p, r, s, g)
	if l.w.over {
		return
	}
	id := r.lease.Partition
	l.running[id] = append(l.running[id], r)
	if from, ok := l.bare[id]; ok {
		delete(l.bare, id)
		if l.settled >= 0 {
			l.w.stats.MaxBare = max(l.w.stats.MaxBare, l.w.now-from)
			l.claimWithin(id, l.w.now-from)
		}
	}
}

// ended notes that a handler has returned.
func (l *ledger) ended(r *run, how hold.How) {
	l.w.say("host %d: %s@%s has returned (%d)", r.p.host.n, r.lease.Partition, r.lease.Token, how)
	delete(l.alerts, fmt.Sprintf("%d/stuck %s", r.p.host.n, r.lease.Partition))
	l.stopped(r)
	if l.settled >= 0 {
		l.since.returns++
		l.claimStill(r)
		if !r.p.leaving {
			l.since.lost++
			l.claimKeep(r)
		}
	}
}

func (l *ledger) stopped(r *run) {
	id := r.lease.Partition
	l.running[id] = slices.DeleteFunc(l.running[id], func(x *run) bool { return x == r })
	if len(l.running[id]) == 0 {
		l.bare[id] = l.w.now
	}
}

// died notes that a process is gone, with all that ran in it.
func (l *ledger) died(p *process) {
	for _, r := range sortedRuns(p.runs) {
		r.ended = true
		l.stopped(r)
	}
	clear(p.runs)
	for about := range l.alerts {
		if strings.HasPrefix(about, fmt.Sprintf("%d/", p.host.n)) {
			delete(l.alerts, about)
		}
	}
	l.forget()
}

func sortedRuns(runs map[plan.Lease]*run) []*run {
	out := make([]*run, 0, len(runs))
	for _, r := range runs {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *run) int {
		if c := strings.Compare(a.lease.Partition, b.lease.Partition); c != 0 {
			return c
		}
		return int(a.lease.Token) - int(b.lease.Token)
	})
	return out
}

// events takes in what a member says of itself.
func (l *ledger) events(p *process, es []event.Event) {
	for _, e := range es {
		if l.w.trace != nil {
			l.w.say("host %d: %T%+v", p.host.n, e, e)
		}
		switch e := e.(type) {
		case event.Alert:
			key := fmt.Sprintf("%d/%s", p.host.n, e.About)
			if e.Text == "" {
				delete(l.alerts, key)
			} else {
				l.alerts[key] = e.Text
			}
		case event.Stuck:
			l.alerts[fmt.Sprintf("%d/stuck %s", p.host.n, e.Partition)] = "stuck"
		case event.Led:
			if l.settled >= 0 {
				l.w.stats.Led++
				l.since.terms[e.Term] = true
				l.claimOneTerm()
			}
		case event.Refused:
			l.w.stats.Refused++
		case event.Slowed:
			l.w.stats.Slowed++
		case event.Suspected:
			l.w.stats.Suspected++
		case event.Lost:
			l.w.stats.Lost++
		case event.Planned:
			if l.settled >= 0 {
				l.since.planned++
			}
		}
	}
}

// finished notes that a member says it has ended.
func (l *ledger) finished(p *process, err error) {
	if len(p.runs) > 0 {
		l.break_(PromiseRevoke, "", "host %d is done while %d handlers run", p.host.n, len(p.runs))
		return
	}
	if !p.leaving {
		l.break_(PromiseRuns, "", "host %d gave up by itself: %v", p.host.n, err)
	}
}
