package model

// The bounds of any scope. A scope uses as much of them as its aim needs.
const (
	maxParts   = 2
	maxIDs     = 2
	maxNonces  = 3
	maxSlots   = maxIDs * maxNonces
	maxLeaders = 2
)

// A rev is a revision of the store. What matters is whether two of one key are
// equal and, where the store can go back, how far apart they are: see canonical.
type rev uint8

// A ver is a version of the plan, and the token of what that version grants:
// incarnation·16 + number, as the real ones are incarnation·2³² + number.
type ver uint8

const perIncarnation ver = 16

func (v ver) incarnation() ver { return v / perIncarnation }
func (v ver) number() ver      { return v % perIncarnation }

// A slot is one session that may ever be: the nonce'th of a worker ID. Zero is nobody.
type slot uint8

func slotOf(id, nonce int) slot { return slot(id*maxNonces + nonce) } // nonces count from 1
func (x slot) id() int          { return int(x-1) / maxNonces }
func (x slot) nonce() int       { return int(x-1)%maxNonces + 1 }

// kind is what a session key says.
type kind uint8

const (
	gone kind = iota // nothing: never written, expired, or lost
	live
	left
	tomb
)

// A record is the value of a session key.
type record struct {
	rev     rev // of the key, whatever it says
	kind    kind
	nonce   uint8
	applied ver           // the version of its own slice that it applied last
	lease   [maxParts]ver // tokens of running handlers: those in drain, and under Freeze all
	drain   uint8         // the partitions whose running token its slice no longer grants
}

// A hold is what the plan says of one partition.
type hold struct {
	who       slot // zero: nobody
	token     ver
	since     ver // the version that asked for its release, or zero
	releasing bool
}

// A plan is the plan key together with all slices: a commit writes them at once.
type plan struct {
	rev     rev
	version ver
	uid     uint8         // names this commit among all that ever were
	addr    [maxIDs]uint8 // the nonce to which the slice of an ID is addressed
	slice   [maxIDs]ver   // the version that changed the slice of an ID last
	part    [maxParts]hold
	open    bool // the first of an incarnation: it closes the door, and decides nothing
}

// stands tells whether there is a plan at all in this incarnation.
func (p *plan) stands() bool { return p.version.number() > 0 }

// A store is the bucket.
type store struct {
	seq  rev
	keys [maxIDs]record
	plan plan
	lost bool // there is no bucket
}

// stage is how far a write has come.
type stage uint8

const (
	idle stage = iota
	sent
	accepted
	refused
)

// A write is one conditional write of a session key under way.
type write struct {
	stage stage
	age   uint8 // ticks of the writer's clock since it was sent
	want  rev
	num   rev // the revision it got
	rec   record
	plan  uint8 // if named: the commit that must still be the last
	named bool
}

// phase is where a session stands in its worker's own eyes.
type phase uint8

const (
	unborn phase = iota
	joining
	up
	resuming // its key is gone; Freeze lets it create it again
	leaving
	lost // it stops everything; handlers may still be returning
	dead // the process is gone
)

// A worker is one session and the handlers it has started.
type worker struct {
	phase   phase
	rev     rev   // of its own key, as it knows it
	trust   uint8 // ticks of its own clock until its trust ends
	applied ver
	want    [maxParts]ver // what the applied slice grants
	run     [maxParts]ver // the handlers that run, by token
	astray  uint8         // Freeze: leases that ran without trust and were not confirmed since
	seen    ver           // the highest version of the plan it has seen
	high    rev           // the highest revision it was given; kept where the store can go back
	same    bool          // it is of the same process as the nonce before
	proof   bool          // it has proof that the store went back
	again   bool          // its own record is an older one: it creates its session over that
	checked bool          // the plan allows it to resume
	base    uint8         // which plan that was
	review  bool          // Freeze: trust had lapsed; it starts nothing before it has read its slice again
	write   write
	mail    mail
}

// Mail is a slice on its way to a worker; it may be overtaken by a newer one.
type mail struct {
	on    bool
	addr  uint8
	slice ver
	want  [maxParts]ver
}

// A leader is one process that believes it leads.
type leader struct {
	on    bool
	plan  plan           // as it read it
	keys  [maxIDs]record // as it saw them
	known uint8          // the IDs it has looked at
	age   [maxIDs]uint8  // ticks since it saw the key change
	guest [maxIDs]uint8  // ticks since it saw the key say another nonce, or nothing
	term  uint8          // ticks since its term began
}

// A late write is one whose writer has given up waiting: it may land at any time.
type late struct {
	on     bool
	commit bool
	id     uint8
	want   rev
	base   uint8
	rec    record
	plan   plan
	ends   conclusions
}

// Conclusions are what a commit concludes from: what the keys of sessions say. The
// real ones are keys that only the evidence writes, named by a nonce.
type conclusions [maxIDs]struct {
	on    bool
	kind  kind
	nonce uint8
}

// Budgets are the faults and moves that are left in a scope.
type budgets struct{ crash, move, expire, fault, sync, leave uint8 }

// A state is everything. It holds bytes only, so that it can be compared and
// hashed as memory.
type state struct {
	store store
	old   store // what the store may go back to
	saved bool
	w     [maxSlots]worker
	l     [maxLeaders]leader
	late  late
	slow  [maxIDs]uint8 // ticks until the clock of a worker may miss one again
	left  budgets

	// Ghosts: what nobody in the protocol knows.
	top   [maxParts]ver // the highest token ever granted
	most  ver           // the highest version ever committed
	uids  uint8         // commits so far
	harm  bool          // the store was lost or went back, and was not made anew since
	wrong Property      // the first promise that a step broke
}

func (s *state) of(x slot) *worker { return &s.w[x-1] }

// canonical renames revisions so that states which nobody can tell apart are
// equal. Below what the store may still give out again, a revision only matters
// if it is the one that a key has now, or had in what the store may go back to.
func (m *model) canonical(s *state) {
	m.forget(s)
	if s.saved && (s.left.fault == 0 || s.store.seq-s.old.seq > m.Loses || s.store.lost) {
		s.saved, s.old = false, store{}
	}
	base := s.store.seq
	if s.saved {
		base = min(base, s.old.seq)
	}
	rename := func(v *rev, now, then rev) {
		switch {
		case *v > base:
			*v = firstRev + *v - base
		case *v == now:
			*v = nowRev
		case s.saved && *v == then:
			*v = thenRev
		default:
			*v = 0
		}
	}
	for i := range maxIDs {
		now, then := s.store.keys[i].rev, s.old.keys[i].rev
		for n := 1; n <= maxNonces; n++ {
			w := s.of(slotOf(i, n))
			rename(&w.rev, now, then)
			rename(&w.write.want, now, then)
			rename(&w.write.num, now, then)
			w.write.rec.rev = 0
			if w.high <= base {
				w.high = 0
			} else {
				w.high = firstRev + w.high - base
			}
		}
		for l := range s.l {
			rename(&s.l[l].keys[i].rev, now, then)
		}
		if s.late.on && !s.late.commit && int(s.late.id) == i {
			rename(&s.late.want, now, then)
		}
		rename(&s.store.keys[i].rev, now, then)
		if s.saved {
			rename(&s.old.keys[i].rev, now, then)
		}
	}
	now, then := s.store.plan.rev, s.old.plan.rev
	for l := range s.l {
		rename(&s.l[l].plan.rev, now, then)
	}
	if s.late.on && s.late.commit {
		rename(&s.late.want, now, then)
	}
	s.late.rec.rev, s.late.plan.rev = 0, 0
	rename(&s.store.plan.rev, now, then)
	if s.saved {
		rename(&s.old.plan.rev, now, then)
		s.old.seq = firstRev + s.old.seq - base
	}
	s.store.seq = firstRev + s.store.seq - base
}

// forget clears what cannot matter any more, so that it does not tell states apart.
func (m *model) forget(s *state) {
	for i := range s.w {
		w := &s.w[i]
		idle := w.run == [maxParts]ver{}
		for p := range m.Parts {
			if w.run[p] == 0 {
				w.astray &^= 1 << p
			}
		}
		switch {
		case w.phase == dead:
			*w = worker{phase: dead}
		case w.phase == lost && idle:
			*w = worker{phase: lost, seen: w.seen, high: w.high, proof: w.proof}
		case w.same && s.w[i-1].run == [maxParts]ver{} && !s.w[i-1].same:
			w.same = false
		}
		if w.mail.on && w.mail.slice <= w.applied && m.has(NewerSliceOnly) {
			w.mail = mail{}
		}
	}
	for l := range s.l {
		L := &s.l[l]
		for id := range m.IDs {
			if key := &L.keys[id]; !m.Back && key.kind != gone && key.nonce == 1 {
				L.guest[id] = 0 // nobody was before it
			}
			if L.keys[id].kind == tomb {
				L.age[id] = 0
			}
		}
	}
}

// The names that canonical gives: 0 is a revision that nothing has any more.
const (
	thenRev  rev = 1
	nowRev   rev = 2
	firstRev rev = 3 // base itself; above it revisions keep their distance
)
