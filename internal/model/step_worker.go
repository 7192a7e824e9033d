package model

// worker lists what the session x, and the process it lives in, may do.
func (e *steps) worker(x slot) {
	s, m := e.from, e.m
	w := s.of(x)
	halted := w.proof && m.has(ProofIsNoTrust) // it makes the store anew first
	switch w.phase {
	case unborn:
		e.join(x)
		return
	case dead:
		return
	case joining, lost:
	case resuming:
		if !halted {
			e.resume(x)
		}
	case up, leaving:
		if !halted {
			e.renew(x)
		}
	}
	if w.phase == up && !halted {
		e.slice(x)
		e.start(x)
		e.leave(x)
	}
	for p := range m.Parts {
		if w.run[p] != 0 && w.run[p] != w.want[p] {
			n := *s
			n.of(x).run[p] = 0
			e.add(&n, "session %d: the handler of %d returns", int(x), p)
		}
	}
	if m.SlowWrites && m.busy(x.id()) {
		e.underWay(x)
	}
	if s.left.crash > 0 {
		n := *s
		n.left.crash--
		m.giveUp(&n, x)
		*n.of(x) = worker{phase: dead}
		e.add(&n, "session %d: the process dies", int(x), 0)
	}
	e.anew(x)
}

// join claims the worker ID of x: over nothing, a tombstone, last words, or a
// session that looks alive. That displaces the older one; it does not stop it.
func (e *steps) join(x slot) {
	s, m := e.from, e.m
	if s.store.lost {
		return
	}
	n := *s
	w := n.of(x)
	if x.nonce() > 1 {
		switch prev := s.of(x - 1); prev.phase {
		case dead:
		case lost: // the same process, perhaps with handlers that are still returning
			w.same, w.high, w.seen, w.proof = true, prev.high, prev.seen, prev.proof
			n.of(x-1).high, n.of(x-1).seen, n.of(x-1).proof = 0, 0, false
		case up, resuming:
			if !m.Takeover {
				return
			}
		default:
			return
		}
	}
	key := s.store.keys[x.id()]
	w.phase, w.rev = joining, key.rev
	w.write = write{stage: sent, want: key.rev, rec: record{kind: live, nonce: uint8(x.nonce())}}
	m.sees(w, s.store.plan.version)
	e.send(&n, x, "session %d: claims its ID")
}

// send sends what w.write holds. Where writes are not slow the answer comes in
// the same step, or nobody waits for it.
func (e *steps) send(n *state, x slot, verb string) {
	m := e.m
	if m.SlowWrites && m.busy(x.id()) {
		e.add(n, verb, int(x), 0)
		return
	}
	if m.Late && m.busy(x.id()) && !n.late.on {
		l := *n
		m.giveUp(&l, x)
		m.reread(&l, x)
		e.add(&l, verb+", which is late", int(x), 0)
	}
	m.land(n, x)
	m.answer(n, x)
	e.add(n, verb, int(x), 0)
}

// renew sends a renewal, conditional on the own last revision, with the receipts.
func (e *steps) renew(x slot) {
	s, m := e.from, e.m
	w := s.of(x)
	if w.write.stage != idle || s.store.lost {
		return
	}
	r := m.content(w, x)
	if now := s.store.keys[x.id()]; !m.timed() && w.rev == now.rev {
		if r.rev = now.rev; r == now {
			return // without a clock it would change nothing
		}
	}
	n := *s
	n.of(x).write = write{stage: sent, want: w.rev, rec: r}
	e.send(&n, x, "session %d: renews")
}

// content is what a renewal says.
func (m *model) content(w *worker, x slot) record {
	if w.phase == leaving {
		return record{kind: left, nonce: uint8(x.nonce())}
	}
	r := record{kind: live, nonce: uint8(x.nonce()), applied: w.applied}
	if !m.has(AppliedOwnSlice) {
		r.applied = max(r.applied, w.seen)
	}
	for p := range m.Parts {
		if w.run[p] != 0 && w.run[p] != w.want[p] && m.has(DrainingListed) {
			r.drain |= 1 << p
			r.lease[p] = w.run[p]
		}
		if m.Freeze {
			r.lease[p] = w.run[p]
		}
	}
	return r
}

// underWay moves a write on: it lands, is answered, or its outcome stays unknown.
func (e *steps) underWay(x slot) {
	s, m := e.from, e.m
	switch s.of(x).write.stage {
	case sent:
		if !s.store.lost {
			n := *s
			m.land(&n, x)
			e.add(&n, "session %d: its write lands", int(x), 0)
		}
	case accepted, refused:
		n := *s
		m.answer(&n, x)
		e.add(&n, "session %d: its write is answered", int(x), 0)
	default:
		return
	}
	n := *s
	m.giveUp(&n, x)
	m.reread(&n, x)
	e.add(&n, "session %d: its write gets no answer, it reads its key", int(x), 0)
}

// land is the store's part of a write.
func (m *model) land(s *state, x slot) {
	w, key := &s.of(x).write, &s.store.keys[x.id()]
	if s.store.lost || key.rev != w.want || w.named && w.plan != s.store.plan.uid {
		w.stage = refused
		return
	}
	s.store.seq++
	*key = w.rec
	key.rev = s.store.seq
	w.stage, w.num = accepted, key.rev
	w.rec, w.named, w.plan = record{kind: w.rec.kind}, false, 0
}

// answer is how a worker takes the answer.
func (m *model) answer(s *state, x slot) {
	w := s.of(x)
	got := w.write
	w.write = write{}
	if got.stage == refused {
		m.reread(s, x)
		return
	}
	if got.rec.kind == left {
		m.lose(w)
		return
	}
	if m.Back && got.num <= w.high {
		w.proof = true // numbered below what was accepted before
	}
	if w.again {
		w.again = false
		if m.has(ProofByCondition) {
			w.proof = true // its own older revision was still the last
		}
	}
	if m.Back {
		w.high = max(w.high, got.num)
	}
	w.rev = got.num
	if w.phase != leaving {
		w.phase = up
	}
	if w.proof && m.has(ProofIsNoTrust) {
		return
	}
	age := got.age
	if !m.has(TrustFromSend) {
		age = 0
	}
	if t := m.trust(x); t > age {
		w.trust = max(w.trust, t-age)
	}
}

// giveUp stops waiting for a write. If it has not landed it may land later.
func (m *model) giveUp(s *state, x slot) {
	w := s.of(x)
	if w.write.stage == sent && m.Late && !s.late.on {
		s.late = late{on: true, id: uint8(x.id()), want: w.write.want, rec: w.write.rec}
	}
	w.write = write{}
}

// reread is what follows a refusal or an unknown outcome: the key says whether
// the session still stands. It extends nothing.
func (m *model) reread(s *state, x slot) {
	w := s.of(x)
	if s.store.lost {
		return
	}
	key := s.store.keys[x.id()]
	mine := key.kind == live && int(key.nonce) == x.nonce()
	switch {
	case mine && !(m.Back && s.harm):
		w.rev = key.rev // an earlier write of its own has landed
		if w.phase != leaving {
			w.phase = up
		}
	case m.Freeze && w.phase != joining && (mine || key.kind == gone):
		// The key expired, or the bucket was lost or went back. That it went back
		// is told from the number of its own record (the ghost stands for that).
		w.phase, w.rev, w.again = resuming, key.rev, mine
	default:
		m.lose(w)
	}
}

// lose ends a session in its worker's eyes. Handlers are told to stop.
func (m *model) lose(w *worker) {
	w.phase, w.rev, w.applied, w.want, w.mail = lost, 0, 0, [maxParts]ver{}, mail{}
	w.write, w.again, w.checked, w.base, w.review = write{}, false, false, 0, false
}

// resume reads the plan, after the key, and creates the session again if the plan
// still names this nonce, or none stands. The two steps may lie far apart.
func (e *steps) resume(x slot) {
	s, m := e.from, e.m
	if s.store.lost || s.of(x).write.stage != idle {
		return
	}
	n := *s
	w, p := n.of(x), &n.store.plan
	switch {
	case w.checked:
		w.checked = false
		w.write = write{stage: sent, want: w.rev, rec: m.content(w, x), named: m.has(ResumeNamesPlan), plan: w.base}
		w.base = 0
		e.send(&n, x, "session %d: creates its session again")
	case m.has(ResumeReadsPlan) && p.stands() && int(p.addr[x.id()]) != x.nonce():
		m.lose(w)
		e.add(&n, "session %d: is no member any more", int(x), 0)
	default:
		if !p.stands() && m.has(ResumeStartsNothing) {
			w.want = w.run
		}
		m.sees(w, p.version)
		w.checked, w.base = true, p.uid
		e.add(&n, "session %d: may resume", int(x), 0)
	}
}

// granted is what the slice of x grants.
func granted(p *plan, x slot) (want [maxParts]ver) {
	for i, h := range p.part {
		if h.who != 0 && h.who.id() == x.id() && !h.releasing {
			want[i] = h.token
		}
	}
	return want
}

// slice reads the own slice, directly or by mail that others may overtake.
func (e *steps) slice(x slot) {
	s, m := e.from, e.m
	w, p, id := s.of(x), &s.store.plan, x.id()
	if w.mail.on {
		n := *s
		n.of(x).mail = mail{}
		m.take(&n, x, w.mail.addr, w.mail.slice, w.mail.want)
		e.add(&n, "session %d: its slice arrives", int(x), 0)
	}
	if s.store.lost || !p.stands() {
		return
	}
	again := (w.astray != 0 || w.review) && w.trust > 0 && p.slice[id] == w.applied
	if n := *s; p.slice[id] > w.applied || again {
		m.take(&n, x, p.addr[id], p.slice[id], granted(p, x))
		m.sees(n.of(x), p.version)
		if n.w != s.w {
			e.add(&n, "session %d: applies its slice", int(x), 0)
		}
	}
	if n := *s; m.LateMail && !w.mail.on && p.slice[id] > w.applied {
		n.of(x).mail = mail{true, p.addr[id], p.slice[id], granted(p, x)}
		e.add(&n, "session %d: its slice is on its way", int(x), 0)
	}
	if n := *s; !m.has(AppliedOwnSlice) && w.seen < p.version {
		n.of(x).seen = p.version
		e.add(&n, "session %d: sees the plan, not its slice", int(x), 0)
	}
}

// take applies a slice. One that is addressed to another nonce grants nothing.
func (m *model) take(s *state, x slot, addr uint8, v ver, want [maxParts]ver) {
	w := s.of(x)
	if v < w.applied && m.has(NewerSliceOnly) {
		return
	}
	if int(addr) != x.nonce() && m.has(SliceForNonce) {
		want = [maxParts]ver{}
	}
	w.applied, w.want = v, want
	if w.trust > 0 {
		w.review = false
		for p, token := range want {
			if w.run[p] == token {
				w.astray &^= 1 << p
			}
		}
	}
}

// sees remembers the highest version of the plan, where that can matter.
func (m *model) sees(w *worker, v ver) {
	if m.Back || m.Loss || m.Stale {
		w.seen = max(w.seen, v)
	}
}

// start starts what the slice grants, while the session is trusted.
func (e *steps) start(x slot) {
	s, m := e.from, e.m
	w := s.of(x)
	if w.trust == 0 || w.review && m.has(ReviewAfterLapse) {
		return
	}
	for p := range m.Parts {
		if w.want[p] == 0 || w.run[p] != 0 {
			continue
		}
		if m.has(FormerHandlerFirst) && m.former(s, x, p) {
			continue
		}
		n := *s
		n.of(x).run[p] = w.want[p]
		e.add(&n, "session %d: starts %d", int(x), p)
	}
}

// former tells whether an earlier session of the same process runs p.
func (m *model) former(s *state, x slot, p int) bool {
	for s.of(x).same {
		if x--; s.of(x).run[p] != 0 {
			return true
		}
	}
	return false
}

// leave stops everything, and says so in its last words once it is true.
func (e *steps) leave(x slot) {
	s, m := e.from, e.m
	w := s.of(x)
	if w.write.stage != idle || s.left.leave == 0 || s.store.lost {
		return
	}
	if w.run != [maxParts]ver{} && m.has(LastWordsAfterReturn) {
		return // leaving sooner is draining, which any slice may ask for
	}
	n := *s
	n.left.leave--
	w = n.of(x)
	w.phase, w.want, w.mail = leaving, [maxParts]ver{}, mail{}
	w.write = write{stage: sent, want: w.rev, rec: m.content(w, x)}
	e.send(&n, x, "session %d: says its last words")
}

// anew makes the store anew: when it is lost, or with proof that it went back.
func (e *steps) anew(x slot) {
	s, m := e.from, e.m
	w := s.of(x)
	if !w.proof && w.phase == up && !s.store.lost && w.seen > s.store.plan.version && s.store.plan.stands() && m.Back && m.has(ProofByCondition) {
		n := *s
		n.of(x).proof = true
		e.add(&n, "session %d: a write conditional on the older plan is accepted", int(x), 0)
	}
	if !w.proof && m.Stale && s.saved && w.seen > s.old.plan.version && !m.has(ProofIsWrite) {
		n := *s
		n.of(x).proof = true
		e.add(&n, "session %d: reads an older plan", int(x), 0)
	}
	if s.store.lost || w.proof && m.has(ProofMakesAnew) {
		n := *s
		m.renew(&n)
		e.add(&n, "session %d: makes the store anew", int(x), 0)
	}
}
