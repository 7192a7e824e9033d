package model

// leader lists what a process that believes it leads may do. Who may believe so
// is left open: leadership is only a licence to try.
func (e *steps) leader(l int) {
	s, m := e.from, e.m
	if s.store.lost {
		return
	}
	L := &s.l[l]
	if !L.on || L.plan.uid != s.store.plan.uid || L.plan.version != s.store.plan.version {
		e.begin(l)
	}
	if s.left.crash > 0 && *L != (leader{}) {
		n := *s
		n.left.crash--
		n.l[l] = leader{}
		e.add(&n, "leader %d: dies; another takes its place", l, 0)
	}
	if !L.on {
		return
	}
	for id := range m.IDs {
		if L.known>>id&1 == 0 || L.keys[id].rev != s.store.keys[id].rev {
			n := *s
			m.look(&n, l, id)
			e.add(&n, "leader %d: reads the session of ID %d", l, id)
		}
		e.tombstone(l, id)
	}
	if L.plan.version.number() >= m.Versions {
		return
	}
	if !L.plan.stands() || L.plan.open {
		e.firstPlan(l)
		return
	}
	for p := range m.Parts {
		e.revoke(l, p)
		e.grant(l, p)
		e.adopt(l, p)
	}
}

// begin reads the plan, and with it begins a term.
func (e *steps) begin(l int) {
	s := e.from
	n := *s
	L, p := &n.l[l], s.store.plan
	if L.plan.version.incarnation() != p.version.incarnation() { // what was seen was another store's
		L.known, L.keys, L.age, L.guest = 0, [maxIDs]record{}, [maxIDs]uint8{}, [maxIDs]uint8{}
	}
	L.on, L.plan, L.term = true, p, 0
	e.add(&n, "leader %d: reads the plan", l, 0)
}

// look takes a session's record and starts the clocks anew that depend on it.
func (m *model) look(s *state, l, id int) {
	L, key := &s.l[l], s.store.keys[id]
	was := L.keys[id]
	L.age[id] = 0
	if L.known>>id&1 == 0 || (was.kind == gone) != (key.kind == gone) || was.nonce != key.nonce {
		L.guest[id] = 0
	}
	L.keys[id] = key
	L.known |= 1 << id
}

// ttlFor is how long leader l waits for the session x.
func (m *model) ttlFor(x slot) uint8 {
	if !m.has(OwnTTL) {
		t := m.longest() // the leader's own: another than the session's
		for id := range m.IDs {
			t = min(t, m.ttl(slotOf(id, 1)))
		}
		return t
	}
	return m.ttl(x)
}

// past tells whether a clock of the leader has reached the session's TTL. Where
// there is no clock an oracle says that the session runs nothing any more.
func (m *model) past(s *state, clock uint8, x slot) bool {
	if m.timed() {
		return clock >= m.ttlFor(x)
	}
	w := s.of(x)
	return w.run == [maxParts]ver{} && (w.phase == dead || w.phase == lost || w.phase == unborn)
}

// ended tells whether leader l has evidence that the session x has ended.
func (m *model) ended(s *state, l int, x slot) bool {
	L := &s.l[l]
	id := x.id()
	key := &L.keys[id]
	switch {
	case L.known>>id&1 == 0:
		return false
	case key.kind == tomb:
		return int(key.nonce) >= x.nonce() || m.past(s, L.guest[id], x)
	case key.kind == gone:
		return !m.has(GapNoProof) || m.past(s, L.guest[id], x)
	case int(key.nonce) == x.nonce():
		return key.kind == left || !m.has(TombBeforeGrant) && m.past(s, L.age[id], x)
	case int(key.nonce) > x.nonce() && !m.has(SuccessorNoProof):
		return true
	default:
		return m.past(s, L.guest[id], x)
	}
}

// tombstone ends a session that has been silent for its TTL, and every earlier
// one of its ID, for which the leader must have waited as well.
func (e *steps) tombstone(l, id int) {
	s, m := e.from, e.m
	L := &s.l[l]
	key := L.keys[id]
	if L.known>>id&1 == 0 || key.kind != live {
		return
	}
	x := slotOf(id, int(key.nonce))
	if !m.past(s, L.age[id], x) {
		return
	}
	for y := slotOf(id, 1); y < x; y++ {
		if m.has(PredecessorsFirst) && !m.past(s, L.guest[id], y) {
			return
		}
	}
	t := record{kind: tomb, nonce: key.nonce}
	if m.Late && m.busy(id) && !s.late.on {
		n := *s
		n.late = late{on: true, id: uint8(id), want: key.rev, rec: t}
		e.add(&n, "leader %d: a tombstone for ID %d, which is late", l, id)
	}
	if s.store.keys[id].rev != key.rev && m.has(TombConditional) {
		return // refused: nothing changes until it reads the session again
	}
	n := *s
	n.store.seq++
	t.rev = n.store.seq
	n.store.keys[id] = t
	m.look(&n, l, id)
	e.add(&n, "leader %d: puts a tombstone for ID %d", l, id)
}

// next is the plan that leader l would commit next.
func (m *model) next(s *state, l int) plan {
	p := s.l[l].plan
	v := p.version + 1
	if m.Back && m.has(VersionsFollowClock) {
		v = max(v, s.most+1)
	}
	p.version = v
	return p
}

// revoke asks the owner of p to release it.
func (e *steps) revoke(l, p int) {
	s, m := e.from, e.m
	h := s.l[l].plan.part[p]
	if s.left.move == 0 || h.who == 0 || h.releasing {
		return
	}
	n := *s
	n.left.move--
	q := m.next(s, l)
	q.part[p].releasing, q.part[p].since = true, q.version
	q.slice[h.who.id()] = q.version
	e.commit(&n, l, q, conclusions{}, "leader %d: revokes %d", p)
}

// released tells whether leader l may take p from the lease h.
func (m *model) released(s *state, l, p int, h hold) bool {
	if h.who == 0 || m.ended(s, l, h.who) {
		return true
	}
	if !h.releasing {
		return false
	}
	if !m.has(GrantNeedsReceipt) {
		return true
	}
	L := &s.l[l]
	key := &L.keys[h.who.id()]
	return L.known>>h.who.id()&1 == 1 && key.kind == live &&
		(int(key.nonce) == h.who.nonce() || !m.has(ReceiptOfNonce)) &&
		(key.applied >= h.since || !m.has(ReceiptSince)) &&
		!(key.drain>>p&1 == 1 && key.lease[p] == h.token)
}

// grant gives p to a live session once its former lease is out of the way.
func (e *steps) grant(l, p int) {
	s, m := e.from, e.m
	L := &s.l[l]
	h := L.plan.part[p]
	if !m.released(s, l, p, h) {
		return
	}
	for id := range m.IDs {
		key := &L.keys[id]
		if L.known>>id&1 == 0 || key.kind != live {
			continue
		}
		q := m.next(s, l)
		var ends conclusions
		if h.who != 0 && m.ended(s, l, h.who) {
			m.conclude(s, l, &q, &ends, h.who)
		}
		x := slotOf(id, int(key.nonce))
		if !m.address(s, l, &q, &ends, x) {
			continue
		}
		if h.who != 0 {
			q.slice[h.who.id()] = q.version
		}
		q.part[p] = hold{who: x, token: q.version}
		q.slice[id] = q.version
		n := *s
		e.commit(&n, l, q, ends, "leader %d: grants %d to ID "+string(rune('0'+id)), p)
	}
}

// conclude takes everything from a session that has ended.
func (m *model) conclude(s *state, l int, q *plan, ends *conclusions, x slot) {
	id := x.id()
	key := s.l[l].keys[id]
	e := &ends[id]
	e.on, e.kind, e.nonce = true, key.kind, key.nonce
	for p := range m.Parts {
		if q.part[p].who == x {
			q.part[p] = hold{}
		}
	}
	if int(q.addr[id]) == x.nonce() {
		q.addr[id], q.slice[id] = 0, q.version
	}
}

// address makes the slice of an ID the session's. A slice has one address, so the
// nonce that it was addressed to must have ended first.
func (m *model) address(s *state, l int, q *plan, ends *conclusions, x slot) bool {
	id := x.id()
	if n := int(q.addr[id]); n != 0 && n != x.nonce() {
		was := slotOf(id, n)
		if !m.ended(s, l, was) {
			return false
		}
		m.conclude(s, l, q, ends, was)
	}
	q.addr[id] = uint8(x.nonce())
	return true
}

// firstPlan is the first plan of an incarnation. It closes the door to those that
// resume because no plan stands; the next one goes by what they have reported:
// every session keeps what it runs, of several the one with the highest token.
func (e *steps) firstPlan(l int) {
	s, m := e.from, e.m
	L := &s.l[l]
	if !L.plan.stands() && m.has(FirstPlanWaits) && L.term < m.longest() {
		return
	}
	q := m.next(s, l)
	n := *s
	if !L.plan.stands() && m.has(DoorFirst) {
		q.open = true
		n.l[l].known, n.l[l].keys = 0, [maxIDs]record{}
		e.commit(&n, l, q, conclusions{}, "leader %d: closes the door", 0)
		return
	}
	if L.known != 1<<m.IDs-1 {
		return
	}
	q.open = false
	for id, key := range L.keys {
		if key.kind != live {
			continue
		}
		q.addr[id], q.slice[id] = key.nonce, q.version
		for p := range m.Parts {
			best := q.part[p].token
			if t := key.lease[p]; t != 0 && (best == 0 || t > best && m.has(HighestTokenWins)) {
				q.part[p] = hold{who: slotOf(id, int(key.nonce)), token: t}
			}
		}
	}
	e.commit(&n, l, q, conclusions{}, "leader %d: adopts what was reported", 0)
}

// adopt is the mistake of adopting a resumed lease where a plan stands.
func (e *steps) adopt(l, p int) {
	s, m := e.from, e.m
	if m.has(AdoptOnlyWithoutPlan) {
		return
	}
	L := &s.l[l]
	for id, key := range L.keys {
		h := L.plan.part[p]
		if key.kind != live || key.lease[p] == 0 || L.known>>id&1 == 0 || h.who == slotOf(id, int(key.nonce)) {
			continue
		}
		q := m.next(s, l)
		q.addr[id], q.slice[id] = key.nonce, q.version
		if h.who != 0 {
			q.slice[h.who.id()] = q.version
		}
		q.part[p] = hold{who: slotOf(id, int(key.nonce)), token: key.lease[p]}
		n := *s
		e.commit(&n, l, q, conclusions{}, "leader %d: adopts %d for ID "+string(rune('0'+id)), p)
	}
}

// commit tries to replace the plan. The answer may be lost, and the write late.
func (e *steps) commit(n *state, l int, q plan, ends conclusions, verb string, p int) {
	m := e.m
	L := &n.l[l]
	want, base := L.plan.rev, L.plan.uid
	if m.LateCommit && !n.late.on {
		t := *n
		t.uids++
		q := q
		q.uid = t.uids
		t.late = late{on: true, commit: true, want: want, base: base, plan: q, ends: ends}
		m.endTerm(&t, l)
		e.add(&t, verb+", which is late", l, p)
	}
	if !m.put(n, want, base, &q, &ends) {
		if m.has(RefusalEndsTerm) {
			m.endTerm(n, l)
		} else {
			L.plan.rev, L.plan.uid, L.plan.version = n.store.plan.rev, n.store.plan.uid, n.store.plan.version
		}
		e.add(n, verb+", which is refused", l, p)
		return
	}
	if m.LateCommit {
		t := *n
		m.endTerm(&t, l)
		e.add(&t, verb+", but gets no answer", l, p)
	}
	L.plan = n.store.plan
	e.add(n, verb, l, p)
}

// endTerm forgets the plan, not what was seen of the sessions.
func (m *model) endTerm(s *state, l int) {
	L := &s.l[l]
	L.on, L.plan, L.term = false, plan{version: L.plan.version}, 0
}
