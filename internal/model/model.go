package model

import (
	"fmt"
	"strings"
)

// A Scope bounds the model: who takes part, and how much may go wrong.
type Scope struct {
	Name string
	Aim  string // what it is there for

	Parts, IDs, Leaders int

	Freeze bool // isolated workers go on; else they fence
	// TTL of each session, in ticks, by ID and nonce; nil: no clock. Then silence
	// is judged by an oracle: a tombstone comes only to a session that runs nothing.
	TTL    [][]uint8
	Margin uint8 // ticks before the TTL at which trust ends
	Busy   int   // so many IDs have drift, a margin and slow or late writes; 0: all
	Drift  bool  // a worker's clock may miss one tick in any TTL of real ones

	SlowWrites bool // renewals have a sending, a landing and an answer; else one step
	Late       bool // a write that nobody waits for any more may land later
	LateCommit bool // commits too
	LateMail   bool // slices may be overtaken
	Takeover   bool // a successor may displace a session that looks alive
	Loss, Back bool // the bucket may be lost; the store may go back
	Loses      rev  // by at most so many writes
	Stale      bool // a replica that was left behind may answer reads with the old state
	Versions   ver  // plan versions per incarnation
	Budget     budgets

	Recovers bool // check that everything runs again, too
	Least    int  // states that an honest exploration has at least
}

// A model is a scope and the rules in force.
type model struct {
	Scope
	without Rule
}

func (m *model) has(r Rule) bool { return m.without != r }
func (m *model) timed() bool     { return m.TTL != nil }

// ttl is the TTL of a session.
func (m *model) ttl(x slot) uint8 {
	if !m.timed() {
		return 0
	}
	return m.TTL[x.id()][x.nonce()-1]
}

// trust is how long a session trusts a renewal.
func (m *model) trust(x slot) uint8 {
	switch {
	case !m.timed():
		return 1
	case m.has(MarginCoversDrift) && m.busy(x.id()):
		return m.ttl(x) - m.Margin
	default:
		return m.ttl(x)
	}
}

// busy tells whether the writes and the clock of an ID may be slow.
func (m *model) busy(id int) bool { return m.Busy == 0 || id < m.Busy }

// nonces is how many sessions an ID may have.
func (m *model) nonces(id int) int {
	if !m.timed() {
		return 1
	}
	return len(m.TTL[id])
}

// longestOf is the longest TTL of any session of an ID, longest of any at all.
func (m *model) longestOf(id int) (t uint8) {
	for n := 1; n <= m.nonces(id); n++ {
		t = max(t, m.ttl(slotOf(id, n)))
	}
	return t
}

func (m *model) longest() (t uint8) {
	for id := range m.IDs {
		t = max(t, m.longestOf(id))
	}
	return t
}

// A move is a step and the state it leads to.
type move struct {
	to state
	by step
}

// A step is what happened; its arguments mean what its verb says.
type step struct {
	verb string
	a, b int
}

func (x step) String() string {
	return fmt.Sprintf(x.verb, []any{x.a, x.b}[:strings.Count(x.verb, "%")]...)
}

// moves lists everything that may happen next.
func (m *model) moves(s *state, out []move) []move {
	e := steps{m: m, from: s, out: out}
	for id := range m.IDs {
		for n := 1; n <= m.nonces(id); n++ {
			e.worker(slotOf(id, n))
		}
	}
	for l := range m.Leaders {
		e.leader(l)
	}
	e.store()
	return e.out
}

// steps collects the moves out of one state.
type steps struct {
	m    *model
	from *state
	out  []move
}

// add is one move: to the state n, by what verb says with its arguments.
func (e *steps) add(n *state, verb string, a, b int) {
	e.m.judge(n)
	e.m.canonical(n)
	e.out = append(e.out, move{*n, step{verb, a, b}})
}

// initial is a fleet of one session per ID, all partitions with the first.
func (m *model) initial() state {
	var s state
	s.left = m.Budget
	s.store.seq = 1
	p := &s.store.plan
	p.rev, p.version, p.uid, s.uids = 1, perIncarnation+1, 1, 1
	s.most = p.version
	for id := range m.IDs {
		x := slotOf(id, 1)
		s.store.keys[id] = record{rev: 1, kind: live, nonce: 1, applied: p.version}
		p.addr[id], p.slice[id] = 1, p.version
		*s.of(x) = worker{phase: up, rev: 1, trust: m.trust(x), applied: p.version}
		m.sees(s.of(x), p.version)
	}
	for i := range m.Parts {
		p.part[i] = hold{who: slotOf(0, 1), token: p.version}
		w := s.of(slotOf(0, 1))
		w.want[i], w.run[i], s.top[i] = p.version, p.version, p.version
		if m.Freeze {
			s.store.keys[0].lease[i] = p.version
		}
	}
	m.canonical(&s)
	return s
}
