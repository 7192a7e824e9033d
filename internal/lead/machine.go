package lead

import (
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// nobody is the index of no worker.
const nobody = int32(-1)

// state of a partition in the plan.
type state uint8

const (
	free      state = iota // in no slice: nobody may run it
	granted                // owner may run it
	releasing              // owner was asked to let go, and has not said so yet
)

// A part is what the leader knows of one partition.
type part struct {
	plan.Partition
	state  state
	bytes  int  // what it takes in its owner's slice, as it was counted
	listed bool // the source names it
	aside  bool // kept out: done or quarantined
	placed bool // false: newly listed, it waits for a window
	blank  bool // only its ID is known, until the source lists it

	owner int32        // of the lease, unless free
	token plan.Version // of the lease, unless free
	since plan.Version // the version that asked for the release
	over  plan.Version // token of the youngest lease that is known to be over
	at    time.Time    // of the last change of state, on this leader's clock

	target int32    // who should have it; nobody: it is to be in no slice
	why    plan.Why // of target
	next   int32    // the target that the slice of a releasing owner names

	home       string    // last owner's worker ID
	waitUntil  time.Time // a cleanly stopped owner's successor may still come; zero: not asked yet
	shun       []int32   // the workers whose handlers rejected it, since it last ran well
	rejections int       // in a row, without a good run between them
	tried      int       // the round in which nobody could take it
	bounced    bool      // its target had no room for it, and it was tried once more
	crashed    []string  // owners that were lost with it, lately
	calm       int       // how many losses there had been before the first of these
}

// A member is a worker ID that the plan names or is about to.
type member struct {
	id      string
	session string // nonce that its slice is addressed to; empty: no slice stands
	ttl     plan.Millis
	fenced  bool
	stands  bool   // a slice of it is in the store
	touched bool   // that slice differs from what should stand
	met     string // nonce of the last session that was seen under the ID

	share, capacity int64
	zone            string
	labels          map[string]string

	bytes     int // estimated size of its slice
	weight    int64
	leases    int
	releasing int
	going     int64 // weight of what it is letting go of, as fleet last saw it
	hung      int   // leases that it should have let go of long ago
}

// Machine is the leader's brain in one term. It belongs to one goroutine.
type Machine struct {
	cfg    Config
	now    time.Time
	began  time.Time
	roster *roster.Roster

	head     plan.Head    // the last that is known to stand
	inc      uint32       // incarnation of the store
	highest  plan.Version // that anybody has ever seen
	past     uint32       // an earlier incarnation in which this leader knows that a plan stood
	replaced roster.Silence
	standing bool              // a plan with slices stood when the term began
	named    map[string]string // the sessions that it named, by worker ID

	parts   []part // sorted by ID
	index   map[string]int32
	members []*member // in order of appearance; indices are stable
	byID    map[string]int32

	took      bool // the first commit stands: the term is ours
	synced    bool
	counted   count // what the last commit says there is
	offered   *Commit
	offeredOn plan.Version // highest seen when the commit was built
	wentBack  bool

	wishes     wishes
	listing    listing
	controls   controls
	losses     int // of owners, in this term
	asides     map[string]plan.Aside
	until      map[string]time.Time // end of quarantine, by partition
	asideNew   bool
	asideBytes int // what the record of asides takes, estimated

	dirty      bool      // something has happened that Ready has not looked at
	receipts   time.Time // when the oldest evidence not acted upon came; zero: none
	touched    int
	log        []plan.Move
	account    *plan.Explanation
	alerts     alerts
	retargeted bool   // by the last answer of the strategy
	diverted   bool   // something, from where it wanted it
	full       string // what an unplaced partition lacks
	round      int    // grows whenever an unplaced partition is worth another try
	stepDown   bool
	wake       time.Time
	probeAt    time.Time
}

// New begins a term with what was found.
func New(cfg Config, found Found, now time.Time) *Machine {
	cfg.Term = found.Head.Term + 1
	cfg.Roster.Self = cfg.Nonce
	m := &Machine{
		cfg: cfg, now: now, began: now, roster: roster.New(cfg.Roster, now),
		head: found.Head, inc: found.Incarnation, past: found.Past, replaced: found.Replaced, highest: max(found.Head.Version, found.Highest),
		index: map[string]int32{}, byID: map[string]int32{},
		named: map[string]string{}, asides: map[string]plan.Aside{}, until: map[string]time.Time{}, dirty: true,
	}
	m.controls.seen, m.controls.failed = map[string]bool{}, map[string]string{}
	m.alerts.on = map[string]string{}
	m.adopt(found)
	return m
}

// adopt takes over what the predecessor left: all of it is in slices.
func (m *Machine) adopt(found Found) {
	m.standing = found.Plan && found.Head.Started
	for _, a := range found.Aside {
		m.asides[a.Partition] = a
		m.asideBytes += asideSize(a)
		switch {
		case a.Why != plan.WhyQuarantine: // it has no end, and there may be thousands
		case isAside(a):
			m.until[a.Partition] = m.now.Add(a.For.Duration())
		default: // on probation: the time counts from now
			m.until[a.Partition] = m.now.Add(blameFor)
		}
	}
	for _, s := range found.Slices {
		w := m.member(s.Worker)
		x := m.members[w]
		x.session, x.ttl, x.fenced, x.stands = s.Session, s.TTL, s.Fenced, true
		m.named[s.Worker] = s.Session
		if s.Session != m.cfg.Nonce {
			m.roster.Expect(m.now, roster.Session{Worker: s.Worker, Nonce: s.Session, TTL: s.TTL, Fenced: s.Fenced, Owns: true})
		}
		for _, g := range s.Granted {
			m.parts = append(m.parts, part{
				Partition: g.Partition, state: granted, listed: true, placed: true, owner: w, token: g.Token,
				at: m.now, target: w, why: g.Why, next: nobody, home: s.Worker, crashed: g.Crashed, calm: -len(g.Crashed),
			})
		}
		for _, r := range s.Releasing {
			next := nobody
			if r.Next != "" {
				next = m.member(r.Next)
			}
			m.parts = append(m.parts, part{
				Partition: r.Partition, state: releasing, listed: true, placed: true, owner: w, token: r.Token,
				since: r.Since, at: m.now, target: next, why: r.Why, next: next, home: s.Worker, crashed: r.Crashed, calm: -len(r.Crashed),
			})
		}
	}
	m.sortParts()
	m.unique()
	m.count()
	for _, a := range m.asideList() { // in no slice, and known all the same: a listing is held against them, too
		if _, ok := m.index[a.Partition]; !ok {
			p := newPart(plan.Partition{ID: a.Partition}, m.now)
			p.blank = true
			m.parts = append(m.parts, p)
		}
		if a.Why == plan.WhyQuarantine && a.For > 0 {
			m.alertQuarantine(a)
		}
	}
	m.sortParts()
	for i := range m.parts {
		a, ok := m.asides[m.parts[i].ID]
		m.parts[i].aside = ok && isAside(a)
	}
}

// unique drops all but the youngest lease of a partition that several slices name:
// it could not have been granted without evidence about the older ones.
func (m *Machine) unique() {
	kept := m.parts[:0]
	for _, p := range m.parts {
		if n := len(kept); n > 0 && kept[n-1].ID == p.ID {
			old := &kept[n-1]
			if old.token < p.token {
				*old, p = p, *old
			}
			m.touch(m.members[p.owner])
			continue
		}
		kept = append(kept, p)
	}
	if len(kept) < len(m.parts) {
		m.parts = kept
		m.sortParts()
	}
}

func (m *Machine) sortParts() {
	slices.SortFunc(m.parts, byID)
	m.reindex()
}

func byID(a, b part) int { return strings.Compare(a.ID, b.ID) }

func (m *Machine) reindex() {
	clear(m.index)
	for i := range m.parts {
		m.index[m.parts[i].ID] = int32(i)
	}
}

// count refreshes what members carry.
func (m *Machine) count() {
	for _, x := range m.members {
		x.bytes, x.weight, x.leases, x.releasing = sliceBytes, 0, 0, 0
	}
	for i := range m.parts {
		if p := &m.parts[i]; p.state != free {
			m.carry(p, 1)
		}
	}
}

func (m *Machine) carry(p *part, sign int) {
	x := m.members[p.owner]
	if sign > 0 {
		p.bytes = size(p)
	}
	x.bytes += sign * p.bytes
	x.weight += int64(sign) * p.Load()
	x.leases += sign
	if p.state == releasing {
		x.releasing += sign
	}
}

// member returns the index of a worker ID, making it known.
func (m *Machine) member(id string) int32 {
	if w, ok := m.byID[id]; ok {
		return w
	}
	w := int32(len(m.members))
	m.members = append(m.members, &member{id: id, bytes: sliceBytes})
	m.byID[id] = w
	return w
}

// Step feeds one fact. Time never runs backwards.
func (m *Machine) Step(now time.Time, f Fact) {
	m.now = now
	switch f := f.(type) {
	case Tick:
	case Saw:
		m.saw(&f.Session, f.Rev)
	case Gone:
		if m.roster.Gone(now, f.Worker, f.Rev) {
			m.dirty = true
		}
	case Synced:
		m.synced, m.dirty = true, true
		m.roster.Remember(m.replaced)
	case Probed:
		m.probeAt = earliest(m.probeAt, m.roster.Probed(now, f.Nonce, f.Outcome))
	case Listed:
		m.listed(f.Partitions)
	case Unlisted:
		m.unlisted(f.Reason)
	case Controlled:
		m.controlled(f.Controls)
	case Committed:
		m.committed(f.Version)
	case Tombstoned:
		m.tombstoned(f)
	case Missed:
		m.roster.Missed(now, f.Nonce)
	case Accepted:
		m.roster.Accepted(now)
	case Interrupted:
		m.roster.Interrupted(now)
		m.dirty, m.probeAt = true, now
	case Relist:
		m.listing.ask(now)
	}
}

// SawSession is Step with a Saw that is not copied: the quickest way for the most
// frequent fact. The session is not kept.
func (m *Machine) SawSession(now time.Time, s *roster.Session, rev kv.Rev) {
	m.now = now
	m.saw(s, rev)
}

func (m *Machine) committed(v plan.Version) {
	c := m.offered
	if c == nil || c.Head.Version != v {
		return // told twice
	}
	if m.offeredOn > m.head.Version && m.offeredOn.Incarnation() >= m.inc {
		m.wentBack = true // a plan above the head that our commit was conditional on had been seen
	}
	m.head, m.offered, m.dirty = c.Head, nil, true
	m.highest = max(m.highest, v)
	m.took = true
	m.roster.Accepted(m.now)
}

func (m *Machine) tombstoned(f Tombstoned) {
	x := m.roster.Member(f.Worker)
	if x == nil || x.Session.Nonce != f.Nonce {
		return
	}
	s := x.Session
	s.Tombstone = &roster.Tombstone{By: m.cfg.Worker, Term: m.cfg.Term, Why: x.Verdict}
	m.saw(&s, f.Rev)
}

// Head is the last head that is known to stand.
func (m *Machine) Head() plan.Head { return m.head }

// Roster is the view of the sessions. It is not to be changed.
func (m *Machine) Roster() *roster.Roster { return m.roster }

// Term is the number of this period of leadership. It exists once the first commit stands.
func (m *Machine) Term() uint64 { return m.cfg.Term }

// Took reports whether the term exists: its first commit stands.
func (m *Machine) Took() bool { return m.took }
