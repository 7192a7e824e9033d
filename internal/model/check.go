package model

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// excused tells whether a run of p by the session x may overlap with another's.
// Under Fence none may. Under Freeze a run may that has no trust: its worker is
// isolated. And one that had no trust for a while, until its session has heard the
// truth, for which it waits in two cases only: the store was lost or went back and
// no plan stands since, or one stands that names the session, which has not
// applied it yet or whose handler is returning.
func (m *model) excused(s *state, x slot, p int) bool {
	w := s.of(x)
	if !m.Freeze || w.trust == 0 {
		return m.Freeze
	}
	plan := &s.store.plan
	if w.astray>>p&1 == 0 {
		return false
	}
	if s.harm || !plan.stands() || plan.open {
		return true
	}
	member := int(plan.addr[x.id()]) == x.nonce()
	return member && w.applied < plan.slice[x.id()] && w.applied.incarnation() < plan.version.incarnation() || w.run[p] != w.want[p]
}

// judge looks for promises that a state breaks.
func (m *model) judge(s *state) {
	for p := range m.Parts {
		owners := 0
		for i := range s.w {
			w := &s.w[i]
			if w.run[p] == 0 {
				continue
			}
			if m.former(s, slot(i+1), p) {
				s.wrong = OneProcess
			}
			if !m.excused(s, slot(i+1), p) {
				owners++
			}
		}
		if owners > 1 {
			s.wrong = OneOwner
		}
	}
}

// judgeGrants looks at what the plan q grants that the one before does not.
func (m *model) judgeGrants(s *state, q *plan) {
	for p := range m.Parts {
		h, was := q.part[p], s.store.plan.part[p]
		if h.who == 0 || h.token == was.token && h.who == was.who {
			continue
		}
		if h.token == q.version { // granted; else adopted
			if h.token <= s.top[p] {
				s.wrong = TokensGrow
			}
			s.top[p] = max(s.top[p], h.token)
		}
		for i := range s.w {
			w, x := &s.w[i], slot(i+1)
			if w.run[p] == 0 || w.run[p] == h.token {
				continue
			}
			if !m.excused(s, x, p) {
				s.wrong = RevokeFirst
			}
			if key := &s.store.keys[x.id()]; h.token < w.run[p] && key.kind == live && int(key.nonce) == x.nonce() {
				s.wrong = TokensGrow // adopted although a higher one was reported
			}
		}
	}
}

// A Result is what an exploration found.
type Result struct {
	States, Depth int
	Wrong         Property
	Trace         []string
	Full          bool // everything in the scope was seen
	Roomy         int  // states from which recovery was looked for
}

func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d states, %d steps deep: %v\n", r.States, r.Depth, r.Wrong)
	for i, t := range r.Trace {
		fmt.Fprintf(&b, "  %2d  %s\n", i+1, t)
	}
	return b.String()
}

// A digest is 128 bits of hash that stand for a state.
type digest [2]uint64

type explorer struct {
	*model
	seeds   [2]maphash.Seed
	index   []uint32 // open addressing: place of a digest in digests, plus one
	digests []digest
	parent  []uint32
	edges   [][2]uint32 // where recovery is checked
	good    []uint32    // states in which everything runs
	spare   []bool      // states that still have room for recovery
	room    int
}

func (x *explorer) digest(s *state) digest {
	return digest{maphash.Comparable(x.seeds[0], *s), maphash.Comparable(x.seeds[1], *s)}
}

// explore visits every state of the scope, breadth first, until a promise breaks:
// no shorter way leads there. It gives up after limit states.
func explore(m *model, limit int) Result {
	x := explorer{model: m, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, index: make([]uint32, 1<<12)}
	level := []state{m.initial()}
	x.add(&level[0], 0)
	var r Result
	var out []move
	for first := uint32(0); len(level) > 0; r.Depth++ {
		var next []state
		for i := range level {
			from := first + uint32(i)
			out = m.moves(&level[i], out[:0])
			for j := range out {
				to := &out[j].to
				at, fresh := x.add(to, from)
				if m.Recovers {
					x.edges = append(x.edges, [2]uint32{from, at})
				}
				if to.wrong != Kept {
					r.States, r.Wrong, r.Trace = len(x.digests), to.wrong, x.trace(at)
					r.Depth = len(r.Trace)
					return r
				}
				if fresh {
					next = append(next, *to)
				}
			}
			if len(x.digests) > limit {
				r.States = len(x.digests)
				return r
			}
		}
		first += uint32(len(level))
		level = next
	}
	r.States, r.Full, r.Roomy = len(x.digests), true, x.room
	if m.Recovers {
		if at, stuck := x.stuck(); stuck {
			r.Wrong, r.Trace = Recovers, x.trace(at)
		}
	}
	return r
}

func (x *explorer) add(s *state, from uint32) (at uint32, fresh bool) {
	key := x.digest(s)
	free := x.place(key)
	if at := x.index[free]; at != 0 {
		return at - 1, false
	}
	at = uint32(len(x.digests))
	x.digests = append(x.digests, key)
	x.index[free] = at + 1
	if 2*len(x.digests) > len(x.index) {
		x.index = make([]uint32, 4*len(x.index))
		for i, p := range x.digests {
			x.index[x.place(p)] = uint32(i + 1)
		}
	}
	x.parent = append(x.parent, from)
	if x.Recovers {
		if x.running(s) {
			x.good = append(x.good, at)
		}
		x.spare = append(x.spare, x.roomy(s))
		if x.spare[at] {
			x.room++
		}
	}
	return at, true
}

// place is where a digest is in the index, or would be.
func (x *explorer) place(p digest) uint64 {
	mask := uint64(len(x.index) - 1)
	i := p[0] & mask
	for x.index[i] != 0 && x.digests[x.index[i]-1] != p {
		i = (i + 1) & mask
	}
	return i
}

// trace says what happened on the way to a state.
func (x *explorer) trace(at uint32) (out []string) {
	var way []uint32
	for ; at != 0; at = x.parent[at] {
		way = append(way, at)
	}
	s := x.initial()
	for _, next := range slices.Backward(way) {
		for _, mv := range x.moves(&s, nil) {
			if x.digest(&mv.to) == x.digests[next] {
				out = append(out, mv.by.String())
				s = mv.to
				break
			}
		}
	}
	return out
}

// running tells whether every partition is run by whom the plan says, and by
// nobody else.
func (m *model) running(s *state) bool {
	for p := range m.Parts {
		h := s.store.plan.part[p]
		if s.store.lost || h.who == 0 || h.releasing {
			return false
		}
		for i := range s.w {
			w := &s.w[i]
			if mine := slot(i+1) == h.who; mine && (w.phase != up || w.trust == 0 || w.run[p] != h.token || w.astray>>p&1 == 1) || !mine && w.run[p] != 0 {
				return false
			}
		}
	}
	return true
}

// roomy tells whether the bounds leave room for recovery: some versions, and a
// session that can still come, or one that stands.
func (m *model) roomy(s *state) bool {
	if s.most.number()+2 > m.Versions {
		return false
	}
	for id := range m.IDs {
		last := slotOf(id, m.nonces(id))
		w, key := s.of(last), &s.store.keys[id]
		if w.phase == unborn || w.phase == up && w.rev == key.rev && key.kind == live && int(key.nonce) == last.nonce() {
			return true
		}
	}
	return false
}

// stuck finds a state, one with the shortest way to it, from which nothing leads
// to where everything runs.
func (x *explorer) stuck() (at uint32, found bool) {
	n := len(x.digests)
	start := make([]uint32, n+1) // edges by the state they lead to
	for _, e := range x.edges {
		start[e[1]+1]++
	}
	for i := range n {
		start[i+1] += start[i]
	}
	from := make([]uint32, len(x.edges))
	fill := append([]uint32(nil), start...)
	for _, e := range x.edges {
		from[fill[e[1]]] = e[0]
		fill[e[1]]++
	}
	ok := make([]bool, n)
	todo := append([]uint32(nil), x.good...)
	for _, g := range todo {
		ok[g] = true
	}
	for len(todo) > 0 {
		to := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, f := range from[start[to]:start[to+1]] {
			if !ok[f] {
				ok[f] = true
				todo = append(todo, f)
			}
		}
	}
	for i := range n {
		if !ok[i] && x.spare[i] {
			return uint32(i), true
		}
	}
	return 0, false
}
