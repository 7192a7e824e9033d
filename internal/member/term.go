package member

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// A leader is the brain of one term, as lead.Machine is.
type leader interface {
	Step(now time.Time, f lead.Fact)
	Ready() lead.Ready
}

func newLeader(cfg lead.Config, found lead.Found, now time.Time) leader {
	return lead.New(cfg, found, now)
}

// A term gives hands to the leader's brain.
//
//	read the head ──► read the rest ──► the first commit takes the term ──► lead
//
// The head is read first, and the first commit is conditional on it: if that is
// accepted, nothing that was read after it had changed. Before it stands nothing
// that the brain says is believed.
//
// A term ends once, with a reason; nothing of it is carried over to the next.
type term struct {
	*desk
	store *store
	life  *life
	me    elect.Leader
	mk    func(lead.Config, lead.Found, time.Time) leader

	brain leader
	dirty bool
	took  bool
	found lead.Found
	doubt string
	late  bool // the following began while the term was still reading

	fleet    fleet
	controls controls
	source   source
	ledger   ledger
	verdicts []roster.Verdict // not acted upon yet
	judging  map[string]bool  // nonces whose tombstone is on its way
	probing  map[string]bool
	alerts   map[string]string // given by this leader, by what they are about

	ended string        // why; empty: it has not
	back  time.Duration // how long to stand back then
	quit  bool          // ends as soon as no outcome is open
}

func newTerm(d *desk, s *store, me elect.Leader, mk func(lead.Config, lead.Found, time.Time) leader) *term {
	t := &term{
		desk: d, store: s, life: new(life), me: me, mk: mk,
		judging: map[string]bool{}, probing: map[string]bool{}, alerts: map[string]string{},
	}
	t.fleet = fleet{term: t, revs: map[string]kv.Rev{}, last: map[string]roster.Session{}}
	t.controls = controls{term: t, all: map[string]plan.Control{}, revs: map[string]kv.Rev{}}
	t.source = source{term: t}
	t.ledger = ledger{term: t, slices: map[string]kv.Rev{}}
	t.begin()
	return t
}

// number is the term's; it exists once it is taken.
func (t *term) number() uint64 { return t.found.Head.Term + 1 }

// end ends the term. Its open requests do not matter any more: a commit that is
// still to land is conditional, like every other.
func (t *term) end(why string, back time.Duration) {
	if t.ended != "" {
		return
	}
	t.ended, t.back, t.life.over = why, back, true
	for _, about := range sorted(t.alerts) { // the next leader gives its own
		if t.alerts[about] != "" {
			t.say(event.Alert{About: about})
		}
	}
	switch {
	case t.took:
		t.say(event.Deposed{Term: t.number(), Why: why})
	case back > 0: // for whoever stands back nothing else would tell why there is no leader
		t.failed("taking over the leadership", errors.New(why))
	}
}

// backOff is how long to stand back after a term that was lost, so that another can
// lead: whatever was wrong may be wrong with us.
func (c *Config) backOff() time.Duration { return c.LeaderTTL / 2 }

// finish ends the term as soon as no outcome is open.
func (t *term) finish() {
	t.quit = true
	t.finished()
}

func (t *term) finished() {
	if t.quit && !t.ledger.open() {
		t.end("given up", 0)
	}
}

// listings is how many times the time for a listing a candidate may take to read what it
// must know.
const listings = 3

// begin reads what a new leader must know. Who cannot read it, or cannot commit, must not keep
// the leadership from one who can: the key is renewed meanwhile.
func (t *term) begin() {
	within := max(t.cfg.LeaderTTL, listings*t.cfg.Listing)
	t.after(t.life, "take", within, func() { t.end(fmt.Sprintf("the term could not be taken within %v", within), t.cfg.backOff()) })
	t.ask(t.life, Incarnation{}, func(a Answer) {
		if a.Err != nil {
			t.end("the store's incarnation cannot be read: "+a.Err.Error(), t.cfg.backOff())
			return
		}
		t.found.Incarnation = a.Incarnation
		t.get(t.life, Key{Kind: KindPlan}, t.readRest)
	})
}

func (t *term) readRest(head Record) {
	if err := head.Unreadable; err != nil {
		t.unreadable(head)
		return
	}
	t.ledger.base = head.Rev
	if h, ok := head.Value.(plan.Head); ok && !head.Gone {
		t.found.Plan, t.found.Head = true, h
		t.store.saw(h.Version)
	}
	var sessions, ctls Answer
	left := 5
	part := func() {
		if left--; left == 0 && t.ended == "" {
			t.start(sessions, ctls)
		}
	}
	t.list(t.life, KindSlice, func(a Answer) { t.foundSlices(a); part() })
	t.get(t.life, Key{Kind: KindAside}, func(r Record) { t.foundAside(r); part() })
	t.readChain(part)
	t.list(t.life, KindSession, func(a Answer) { sessions = a; part() })
	t.list(t.life, KindControl, func(a Answer) { ctls = a; part() })
}

// readChain reads the chain of whoever committed last; see ledger.
func (t *term) readChain(then func()) {
	if !t.found.Plan || t.found.Head.Term == 0 {
		then()
		return
	}
	t.get(t.life, Key{KindChain, t.found.Head.Session}, func(r Record) {
		if r.Key.Name == t.me.Nonce {
			t.ledger.chain = r.Rev // an earlier term of this session
		} else {
			t.ledger.former = r
		}
		then()
	})
}

// unreadable gives way to a leader who can read it: what cannot be read is unknown,
// and nobody may plan as if it were empty.
func (t *term) unreadable(r Record) {
	t.failed("reading "+r.Key.String(), r.Unreadable)
	t.end(fmt.Sprintf("%v cannot be read: %v", r.Key, r.Unreadable), t.cfg.LeaderTTL)
}

func (t *term) foundSlices(a Answer) {
	for _, r := range a.Records {
		if r.Gone {
			continue
		}
		s, ok := r.Value.(plan.Slice)
		if r.Unreadable != nil || !ok {
			t.unreadable(r)
			return
		}
		t.ledger.slices[r.Key.Name] = r.Rev
		t.found.Slices = append(t.found.Slices, s)
	}
	// What is not listed is not proven gone: a partition of a slice that is left out would
	// look as if nobody ran it. (If there are more, a later plan has made them, and the
	// condition on the head tells.)
	if n := t.found.Head.Slices; len(t.found.Slices) < n {
		lacks := fmt.Errorf("the listing has %d slices of %d", len(t.found.Slices), n)
		if t.store.lacking(t.ledger.base) < lackFor {
			t.failed("listing slices", lacks)
			t.end(lacks.Error(), t.cfg.backOff())
			return
		}
		t.failed("listing slices", fmt.Errorf("%w, for %v: somebody must have deleted the rest", lacks, lackFor))
	}
	slices.SortFunc(t.found.Slices, func(a, b plan.Slice) int { return compare(a.Worker, b.Worker) })
}

// lackFor is for how long a listing that lacks slices is not believed. A group whose
// operator has deleted one by hand is to have a leader again some time.
const lackFor = time.Minute

func (t *term) foundAside(r Record) {
	if r.Unreadable != nil {
		t.unreadable(r)
		return
	}
	t.ledger.aside = r.Rev
	t.found.Aside, _ = r.Value.([]plan.Aside)
}

func (t *term) start(sessions, ctls Answer) {
	if !slices.ContainsFunc(sessions.Records, t.own) {
		t.end("its own session is not in the store", t.cfg.Heartbeat)
		return
	}
	cfg := t.cfg.Lead
	cfg.Worker, cfg.Nonce, cfg.Roster.Self = t.me.Worker, t.me.Nonce, t.me.Nonce
	t.brain = t.mk(cfg, t.found, t.now)
	t.fleet.slices = t.found.Slices
	t.fleet.all(sessions)
	t.controls.every(ctls)
	t.tell(lead.Synced{})
	t.found.Slices = nil // the brain has them
	t.controls.began = true
	if t.late {
		t.catchUp()
	}
	t.reconcile()
}

// relistEvery is how many reconciling intervals pass between two snapshots of what the
// leader follows: changes are told at most once, and one that no later one of its key
// makes good would be missed for the whole term.
const relistEvery = 6

func (t *term) reconcile() {
	t.after(t.life, "relist", relistEvery*t.cfg.Reconcile, func() {
		t.catchUp()
		t.reconcile()
	})
}

// own tells whether a record is the leader's own session, and it has not ended.
func (t *term) own(r Record) bool {
	s, ok := r.Value.(roster.Session)
	return ok && s.Nonce == t.me.Nonce && s.Tombstone == nil && !s.Left
}

// catchUp takes snapshots of what is followed, because the following has begun, or
// begun again. While the term still reads, they wait.
func (t *term) catchUp() {
	if t.late = t.brain == nil; t.late {
		return
	}
	t.fleet.catchUp()
	t.controls.catchUp()
}

func (t *term) tell(f lead.Fact) {
	if t.brain == nil || t.ended != "" {
		return
	}
	t.brain.Step(t.now, f)
	t.dirty = true
}

// interrupted says that something may have been missed.
func (t *term) interrupted() { t.tell(lead.Interrupted{}) }

func (t *term) pump() bool {
	if !t.dirty || t.ended != "" {
		return false
	}
	t.dirty = false
	rd := t.brain.Ready()
	for _, n := range rd.Notes {
		t.note(n)
	}
	if rd.Doubt != t.doubt {
		if t.doubt = rd.Doubt; rd.Doubt != "" {
			t.say(event.Doubted{Why: rd.Doubt})
		} else {
			t.say(event.Trusted{})
		}
	}
	for _, a := range rd.Alerts {
		t.alerts[a.About] = a.Text
		t.say(event.Alert{About: a.About, Text: a.Text})
	}
	t.wake(rd.WakeAt)
	for _, nonce := range rd.Probe {
		t.probe(nonce)
	}
	if rd.List {
		t.source.list()
	}
	if rd.Commit != nil && !t.quit {
		t.ledger.commit(rd.Commit)
	}
	t.verdicts = append(t.verdicts, rd.Tombstones...)
	if !t.took {
		return true
	}
	switch {
	case rd.WentBack:
		t.store.wentBack("a plan above the head that was replaced had been seen")
		t.end("the store went back", t.cfg.backOff())
		return true
	case rd.StepDown:
		t.end("an operator asked for it", t.cfg.LeaderTTL)
		return true
	}
	for _, v := range t.verdicts {
		t.judge(v)
	}
	t.verdicts = nil
	return true
}

// wake has the brain stepped when it asked for it, and never twice at one time: it
// has said already what it has to say now.
func (t *term) wake(at time.Time) {
	if at.IsZero() {
		t.cancel(t.life, "lead")
		return
	}
	t.after(t.life, "lead", max(at.Sub(t.now), time.Millisecond), func() { t.tell(lead.Tick{}) })
}

func (t *term) note(n roster.Note) {
	switch n.State {
	case roster.Slow:
		t.say(event.Slowed{Worker: n.Worker, Session: n.Nonce, Why: n.Why})
	case roster.Suspect:
		t.say(event.Suspected{Worker: n.Worker, Session: n.Nonce, Why: n.Why})
	case roster.Live:
		t.say(event.Recovered{Worker: n.Worker, Session: n.Nonce})
	default: // the rest needs nothing here
	}
}

func (t *term) probe(nonce string) {
	if t.probing[nonce] {
		return
	}
	t.probing[nonce] = true
	t.ask(t.life, t.cfg.probe(nonce), func(a Answer) {
		delete(t.probing, nonce)
		t.tell(lead.Probed{Nonce: nonce, Outcome: Heard(a.Err)})
	})
}

// judge puts a tombstone on condition that the key is as the verdict saw it.
func (t *term) judge(v roster.Verdict) {
	s := v.Session
	if t.judging[s.Nonce] {
		return
	}
	t.judging[s.Nonce] = true
	why := v.Why
	if s.Tombstone != nil && s.Tombstone.Why != "" {
		why = s.Tombstone.Why
	}
	s.Tombstone = &roster.Tombstone{By: t.me.Worker, Term: t.number(), Why: why}
	t.bury(v, s, new(retry))
}

func (t *term) bury(v roster.Verdict, s roster.Session, tries *retry) {
	rec := Record{Key: Key{KindSession, s.Worker}, Rev: v.Rev, Value: s}
	t.ask(t.life, Put{Record: rec}, func(a Answer) { // evidence has no TTL: it stands until a successor takes the ID
		switch Outcome(a.Err) {
		case Fine:
			t.buried(s, v.Why, a.Rev)
		case Stale:
			t.missed(s)
		case Unavailable, Lost:
			t.after(t.life, "bury "+s.Nonce, tries.pause(t.desk), func() { t.bury(v, s, tries) })
		case Forbidden, Strange:
			t.failed("declaring "+s.Worker+" lost", a.Err)
			if _, denied := errors.AsType[*kv.DeniedError](a.Err); denied && !t.gaveWay[s.Nonce] { // another may, perhaps
				if t.gaveWay == nil {
					t.gaveWay = map[string]bool{}
				}
				t.gaveWay[s.Nonce] = true
				t.end(fmt.Sprintf("it may not declare %s lost: %v", s.Worker, a.Err), t.cfg.LeaderTTL)
				return
			}
			t.exhume(v, s, tries)
		default:
			t.exhume(v, s, tries)
		}
	})
}

// exhume reads what became of a tombstone.
func (t *term) exhume(v roster.Verdict, s roster.Session, tries *retry) {
	t.get(t.life, Key{KindSession, s.Worker}, func(r Record) {
		x, _ := r.Value.(roster.Session)
		switch {
		case x.Nonce == s.Nonce && x.Tombstone != nil && *x.Tombstone == *s.Tombstone:
			t.buried(s, v.Why, r.Rev)
		case r.Rev == v.Rev:
			t.after(t.life, "bury "+s.Nonce, tries.pause(t.desk), func() { t.bury(v, s, tries) })
		default:
			t.missed(s)
		}
	})
}

func (t *term) buried(s roster.Session, why string, rev kv.Rev) {
	delete(t.judging, s.Nonce)
	t.fleet.put(s, rev)
	t.tell(lead.Tombstoned{Worker: s.Worker, Nonce: s.Nonce, Rev: rev})
	t.say(event.Lost{Worker: s.Worker, Session: s.Nonce, Why: why})
}

func (t *term) missed(s roster.Session) {
	delete(t.judging, s.Nonce)
	t.tell(lead.Missed{Worker: s.Worker, Nonce: s.Nonce})
	t.fleet.read(s.Worker) // what won has perhaps been told already, or not
}

// A source asks for the partitions, one question at a time.
type source struct {
	term *term
	busy bool
}

func (s *source) list() {
	t := s.term
	if s.busy {
		return
	}
	s.busy = true
	t.ask(t.life, Partitions{}, func(a Answer) {
		s.busy = false
		if a.Err != nil {
			t.say(event.SourceFailed{Err: a.Err.Error()})
			t.tell(lead.Unlisted{Reason: a.Err.Error()})
			return
		}
		parts := slices.Clone(a.Partitions)
		slices.SortStableFunc(parts, func(a, b plan.Partition) int { return compare(a.ID, b.ID) })
		if err := plan.ValidPartitions(parts); err != nil {
			t.say(event.SourceRejected{Err: err.Error()})
			t.tell(lead.Unlisted{Reason: err.Error()})
			return
		}
		t.tell(lead.Listed{Partitions: parts})
	})
}

// controls are what operators want, by key.
type controls struct {
	term  *term
	all   map[string]plan.Control
	revs  map[string]kv.Rev
	began bool
	relisting
}

func (c *controls) catchUp() { c.relist(c.term, KindControl, c.every) }

// every takes a snapshot: what is not in it is gone.
func (c *controls) every(a Answer) {
	there := map[string]bool{}
	for _, r := range a.Records {
		there[r.Key.Name] = !r.Gone
		c.take(r)
	}
	for name := range c.all {
		if !there[name] && c.revs[name] <= a.Rev {
			delete(c.all, name)
		}
	}
	c.tell()
}

// told takes one change.
func (c *controls) told(r Record) {
	if c.take(r) && c.began {
		c.tell()
	}
}

func (c *controls) take(r Record) bool {
	name := r.Key.Name
	if r.Rev <= c.revs[name] {
		return false
	}
	c.revs[name] = r.Rev
	x, ok := r.Value.(plan.Control)
	switch {
	case r.Gone:
		delete(c.all, name)
	case r.Unreadable != nil || !ok:
		// Unknown, and so as it was.
		if r.Unreadable != nil {
			c.term.failed("reading "+r.Key.String(), r.Unreadable)
		}
		return false
	default:
		c.all[name] = x
	}
	return true
}

func (c *controls) tell() {
	all := make([]plan.Control, 0, len(c.all))
	for _, name := range slices.Sorted(maps.Keys(c.all)) {
		all = append(all, c.all[name])
	}
	c.term.tell(lead.Controlled{Controls: all})
}

// relisting takes a snapshot again, one at a time, whenever one was missed.
type relisting struct {
	busy, again bool
}

// relist lists the keys of a kind and gives them to take. If it is asked for
// meanwhile, the snapshot may be too old: another one follows.
func (l *relisting) relist(t *term, kind Kind, take func(Answer)) {
	if l.busy {
		l.again = true
		return
	}
	l.busy, l.again = true, false
	t.list(t.life, kind, func(a Answer) {
		l.busy = false
		take(a)
		if l.again {
			l.relist(t, kind, take)
		}
	})
}
