package model

// store lists what happens to everybody: time, late writes, and the store's faults.
func (e *steps) store() {
	s, m := e.from, e.m
	if m.timed() {
		e.ticks()
	}
	e.late()
	if s.left.expire > 0 && !s.store.lost {
		for id := range m.IDs {
			if s.store.keys[id].kind == gone {
				continue
			}
			n := *s
			n.left.expire--
			n.store.seq++
			n.store.keys[id] = record{rev: n.store.seq}
			e.add(&n, "store: the key of ID %d expires", id, 0)
		}
	}
	if (m.Back || m.Stale) && !s.saved && s.left.sync > 0 && !s.store.lost {
		n := *s
		n.left.sync--
		n.saved, n.old = true, s.store
		e.add(&n, "store: from now on it may lose what it accepts", 0, 0)
	}
	if s.left.fault == 0 || s.store.lost {
		return
	}
	if m.Back && s.saved && s.old.seq < s.store.seq && !(m.has(OutlastsTrust) && m.timed() && m.trusted(s)) {
		n := *s
		n.left.fault--
		n.store, n.old, n.saved, n.harm = s.old, store{}, false, true
		if m.has(OutlastsWrites) {
			n.late = late{}
		}
		e.add(&n, "store: goes back", 0, 0)
	}
	if m.Loss {
		n := *s
		n.left.fault--
		n.store = store{lost: true, seq: s.store.seq, plan: plan{rev: s.store.plan.rev, version: s.store.plan.version}}
		for id := range m.IDs {
			n.store.keys[id].rev = s.store.keys[id].rev
		}
		n.harm = true
		e.add(&n, "store: is lost", 0, 0)
	}
}

// trusted tells whether any session is trusted.
func (m *model) trusted(s *state) bool {
	for i := range s.w {
		if s.w[i].trust > 0 {
			return true
		}
	}
	return false
}

// ticks lets time pass: for everybody at the same rate, but a worker's clock may
// miss a tick.
func (e *steps) ticks() {
	s, m := e.from, e.m
	for miss := range 1 << m.IDs {
		n := *s
		ok := true
		for id := range m.IDs {
			if n.slow[id] > 0 {
				n.slow[id]--
			}
			if miss>>id&1 == 0 {
				for k := 1; k <= m.nonces(id); k++ {
					m.tick(&n, slotOf(id, k))
				}
				continue
			}
			ok = ok && m.Drift && m.busy(id) && s.slow[id] == 0
			n.slow[id] = m.ttl(slotOf(id, 1))
		}
		if !ok {
			continue
		}
		for l := range n.l {
			L := &n.l[l]
			for id := range m.IDs {
				if L.known>>id&1 == 1 {
					L.age[id] = min(L.age[id]+1, m.longestOf(id))
					L.guest[id] = min(L.guest[id]+1, m.longestOf(id))
				}
			}
			if L.on && !L.plan.stands() {
				L.term = min(L.term+1, m.longest())
			}
		}
		if miss == 0 {
			e.add(&n, "a tick", 0, 0)
		} else {
			e.add(&n, "a tick, which the clocks of %02b miss", miss, 0)
		}
	}
}

// tick is a tick of a worker's clock. Under Fence its handlers are gone when
// trust ends: that they return in time after Hard is assumed.
func (m *model) tick(s *state, x slot) {
	w := s.of(x)
	if w.write.stage != idle {
		w.write.age = min(w.write.age+1, m.longest())
	}
	if w.trust == 0 {
		return
	}
	if w.trust--; w.trust > 0 {
		return
	}
	w.review = m.Freeze && w.phase == up
	for p := range m.Parts {
		switch {
		case !m.Freeze:
			w.run[p] = 0
		case w.run[p] != 0:
			w.astray |= 1 << p
		}
	}
	if !m.Freeze && m.Back && m.has(LapseEndsSession) && w.phase == up {
		m.lose(w)
	}
}

// late lets a write land that nobody waits for.
func (e *steps) late() {
	s, m := e.from, e.m
	if !s.late.on || s.store.lost {
		return
	}
	n := *s
	n.late = late{}
	if t := s.late; t.commit {
		if m.put(&n, t.want, t.base, &t.plan, &t.ends) {
			e.add(&n, "store: the late commit lands", 0, 0)
			return
		}
	} else if key := &n.store.keys[t.id]; key.rev == t.want || t.rec.kind == tomb && !m.has(TombConditional) {
		n.store.seq++
		*key = t.rec
		key.rev = n.store.seq
		e.add(&n, "store: the late write of ID %d lands", int(t.id), 0)
		return
	}
	e.add(&n, "store: the late write is refused", 0, 0)
}

// put is the store's part of a commit.
func (m *model) put(s *state, want rev, base uint8, q *plan, ends *conclusions) bool {
	p := &s.store.plan
	if s.store.lost || m.has(PlanConditional) && (p.rev != want || m.has(CommitNamesBase) && p.uid != base) {
		return false
	}
	for id, c := range ends {
		if key := &s.store.keys[id]; c.on && m.has(EvidenceStands) && (c.kind != key.kind || c.nonce != key.nonce) {
			return false
		}
	}
	if p.uid != base {
		s.wrong = OnePlan
	}
	m.judgeGrants(s, q)
	s.store.seq++
	*p = *q
	p.rev = s.store.seq
	if p.uid == base {
		s.uids++
		p.uid = s.uids
	}
	s.most = max(s.most, q.version)
	return true
}

// renew makes the store anew, in a higher incarnation and above every revision.
func (m *model) renew(s *state) {
	if !s.harm {
		s.wrong = NoFalseAlarm
	}
	version := (s.most.incarnation() + 1) * perIncarnation
	if !m.has(IncarnationInToken) {
		version = s.most.incarnation() * perIncarnation
	}
	seq := s.store.seq + 1
	if s.saved {
		seq = max(seq, s.old.seq+1)
	}
	for i := range s.w {
		seq = max(seq, s.w[i].high+1, s.w[i].rev+1)
	}
	for l := range s.l {
		seq = max(seq, s.l[l].plan.rev+1)
	}
	seq = max(seq, s.late.want+1)
	if !m.has(RevisionsNeverRecur) {
		seq = 1
	}
	s.store = store{seq: seq, plan: plan{rev: seq, version: version}}
	for id := range m.IDs {
		s.store.keys[id].rev = seq
	}
	s.most = max(s.most, version)
	s.harm = false
	s.saved, s.old = false, store{}
	for i := range s.w {
		s.w[i].proof = false
	}
}
