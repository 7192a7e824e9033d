package roster

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

// Config says when silence means what. All durations are positive.
type Config struct {
	Self          string        // nonce of the leader's own session; never suspected
	Heartbeat     time.Duration // how often a session is renewed
	ProbeInterval time.Duration // how often a session is probed
	ProbeAgain    time.Duration // how often one that had no responders is

	LostAfter      time.Duration // freezing: silence in a healthy store
	EmergencyGrace time.Duration // freezing: how long no responders must stand
	RecoveryGrace  time.Duration // the least that doubt lasts
	TTL            time.Duration // the leader's own SessionTTL; bounds doubt
}

// A Verdict says that a session has ended as far as the leader is entitled to say:
// it is to be written as a tombstone, on condition that the key is still at Rev.
type Verdict struct {
	Session Session // as last seen, with Tombstone filled in but for By and Term
	Rev     kv.Rev
	Why     string
}

// State is what the roster thinks of the session that has a worker ID.
type State uint8

// The states of a session in the roster.
const (
	Live     State = iota
	Slow           // renews or answers late; keeps everything
	Suspect        // perhaps lost; gets nothing new
	Vanished       // its key is not there; perhaps it comes back
	Ended          // provably
)

var stateWords = [...]string{Live: "live", Slow: "slow", Suspect: "suspect", Vanished: "vanished", Ended: "ended"}

// String is the word for s.
func (s State) String() string { return stateWords[min(int(s), len(stateWords)-1)] }

// A Member is the session that has a worker ID, or had it last.
type Member struct {
	Session Session
	Rev     kv.Rev // of the key, record or marker
	State   State
	Why     string    // of the State, for people
	Since   time.Time // of the State
	Verdict string    // why a tombstone was to be written, if it was

	known  bool      // a record of this session was read; else only the plan names it
	gone   bool      // the key is not there
	seen   time.Time // last renewal that was seen, or when we began to look
	late   int       // late renewals not made up for yet
	judged bool      // a verdict is out and not answered
	back   bool      // it has ended, and yet it was renewed
	missed bool      // it missed a renewal before we began to look

	answered bool      // it has answered a probe on this connection
	answer   time.Time // the last answer
	deaf     time.Time // no responders since; zero: not
	reply    time.Time // the last definite outcome of a probe
	probeAt  time.Time // the next probe is due
	probing  bool
}

// A former session has lost its worker ID to a successor and is not known to have ended.
type former struct {
	worker, nonce string
	until         time.Time // then it has ended: its own TTL has passed since we saw the successor
}

// Roster is the leader's view of the sessions. It belongs to one goroutine.
type Roster struct {
	cfg     Config
	members map[string]*Member // by worker ID
	nonces  map[string]*Member // by nonce of Member.Session
	formers []former
	ends    map[string]End // by nonce

	health health
	doubt  doubt
	notes  []Note
	next   time.Time // nothing can change before, but by a fact; zero: look now
}

// A Note tells of a change of mind, for the event stream.
type Note struct {
	Worker, Nonce string
	State         State
	Why           string
}

// New is a roster that knows nobody.
func New(cfg Config, now time.Time) *Roster {
	r := &Roster{cfg: cfg, members: map[string]*Member{}, nonces: map[string]*Member{}, ends: map[string]End{}}
	r.health.begin(now)
	return r
}

// Expect says that the plan names a session. Until its record is told it counts as
// vanished, seen just now: a new leader concludes anew.
func (r *Roster) Expect(now time.Time, s Session) {
	m := &Member{Session: s, State: Vanished, Why: "not seen by this leader", Since: now, seen: now, gone: true, probeAt: now}
	r.members[s.Worker] = m
	r.nonces[s.Nonce] = m
	r.next = time.Time{}
}

// News grades what a record told.
type News uint8

// The grades.
const (
	OldNews News = iota // nothing but the time of the renewal, or not even that
	Facts               // the session says something else than before
	Turn                // a session has come, come back, or ended
)

// Saw takes a session's record. In the steady state it allocates nothing.
func (r *Roster) Saw(now time.Time, s *Session, rev kv.Rev) News {
	news := OldNews
	m := r.members[s.Worker]
	switch {
	case m == nil:
		m = &Member{State: Live, Since: now, probeAt: now}
		r.members[s.Worker] = m
	case rev <= m.Rev:
		return OldNews // told late or twice
	case m.Session.Nonce != s.Nonce:
		r.displaced(now, m)
		*m = Member{State: Live, Since: now, probeAt: now}
	}
	if m.Session.Nonce != s.Nonce {
		m.Session.Nonce = s.Nonce
		r.nonces[s.Nonce] = m
		news = Turn
		r.next = time.Time{}
	}
	if news == OldNews && differs(&m.Session, s) {
		news = Facts
	}
	first := !m.known
	if first {
		news = Turn
	}
	was := m.seen
	m.Session, m.Rev, m.known, m.judged = *s, rev, true, false
	r.read(m)
	if how := r.ends[s.Nonce]; how != EndUnknown && m.State != Ended {
		r.set(now, m, Ended, how.String())
	}
	if m.State == Ended {
		m.back = s.Tombstone == nil && !s.Left
		r.next = time.Time{}
		return Turn
	}
	m.seen, m.gone, m.missed = now, false, false
	r.punctual(now, m, was)
	switch {
	case m.State == Vanished && !first:
		r.set(now, m, Live, "its key is back")
		news = Turn
	case m.State == Vanished:
		m.State, m.Why, m.Since = Live, "", now
	case m.State == Suspect:
		r.set(now, m, Live, "renewed")
		news = Turn
	}
	return news
}

// read draws the conclusions about ends that a record allows.
func (r *Roster) read(m *Member) {
	s := &m.Session
	if p := s.Previous; p.Nonce != "" && p.End != EndUnknown {
		if r.awaited(p.Nonce) {
			r.end(p.Nonce, p.End)
		}
		if p.End == EndTombstone { // ends every earlier session of that ID
			r.endFormers(s.Worker)
		}
	}
	switch {
	case s.Tombstone != nil:
		r.end(s.Nonce, EndTombstone)
		r.endFormers(s.Worker)
		r.set(m.seen, m, Ended, "tombstone: "+s.Tombstone.Why)
	case s.Left:
		r.end(s.Nonce, EndLeft)
		r.set(m.seen, m, Ended, "left")
	}
}

// awaited reports whether the end of a session that has lost its worker ID is still to be
// proved. Others are not remembered: each restart would add one.
func (r *Roster) awaited(nonce string) bool {
	return slices.ContainsFunc(r.formers, func(f former) bool { return f.nonce == nonce })
}

// displaced notes that another session took m's worker ID. That stops m's renewals;
// it is not evidence that m stopped.
func (r *Roster) displaced(now time.Time, m *Member) {
	delete(r.nonces, m.Session.Nonce)
	if m.State == Ended {
		return
	}
	r.formers = append(r.formers, former{m.Session.Worker, m.Session.Nonce, now.Add(m.Session.TTL.Duration())}) // the session's own TTL
	r.next = time.Time{}
}

// A Silence is what a new leader knows of the one that it has replaced: that it had
// answered on this connection, and since when nobody listens to its name. It had
// also missed to renew the leader's key. Its session was read at Rev by Seen, if that
// is not zero.
type Silence struct {
	Nonce          string
	Answered, Deaf time.Time
	Seen           time.Time
	Rev            kv.Rev
}

// Remember takes over what was known of a session before the term.
func (r *Roster) Remember(s Silence) {
	m := r.nonces[s.Nonce]
	if m == nil || m.State == Ended {
		return
	}
	m.answered, m.answer, m.reply, m.deaf = true, s.Answered, s.Deaf, s.Deaf
	// Where its session does not stand as it was read, it has renewed it since: it may be back,
	// and is lost only if it then misses a renewal.
	m.missed = m.gone || s.Rev == m.Rev
	if !s.Seen.IsZero() && s.Rev == m.Rev && !m.gone { // it has renewed nothing since
		m.seen = s.Seen
	}
	r.next = time.Time{}
}

// Gone takes that a key is not there. An expiry is no evidence of an end.
func (r *Roster) Gone(now time.Time, worker string, rev kv.Rev) (changed bool) {
	m := r.members[worker]
	if m == nil || m.State == Ended || (rev != 0 && rev <= m.Rev) {
		return false
	}
	m.Rev, m.gone, m.judged = rev, true, false
	r.set(now, m, Vanished, "its key is gone")
	r.next = time.Time{}
	return true
}

// End tells how a session ended, or EndUnknown while it may still run something.
// The plan names it; a session that was never heard of has not ended.
func (r *Roster) End(nonce string) End { return r.ends[nonce] }

// Displaced reports whether an earlier session of the worker ID may still run.
func (r *Roster) Displaced(worker string) bool {
	return slices.ContainsFunc(r.formers, func(f former) bool { return f.worker == worker })
}

func (r *Roster) end(nonce string, how End) {
	if _, ok := r.ends[nonce]; !ok {
		r.ends[nonce] = how
	}
	r.formers = slices.DeleteFunc(r.formers, func(f former) bool { return f.nonce == nonce })
}

func (r *Roster) endFormers(worker string) {
	for _, f := range slices.Clone(r.formers) {
		if f.worker == worker {
			r.end(f.nonce, EndTombstone)
		}
	}
}

// Forget drops what is kept of an ended session that no slice names any more.
func (r *Roster) Forget(nonce string) {
	delete(r.ends, nonce)
}

// Member returns the session that has the worker ID, or had it last; nil if the ID
// was never heard of. It is not to be changed.
func (r *Roster) Member(worker string) *Member { return r.members[worker] }

// Members returns all, sorted by worker ID.
func (r *Roster) Members() []*Member {
	all := make([]*Member, 0, len(r.members))
	for _, id := range slices.Sorted(maps.Keys(r.members)) {
		all = append(all, r.members[id])
	}
	return all
}

// Notes returns and clears the changes of mind since the last call.
func (r *Roster) Notes() []Note {
	n := r.notes
	r.notes = nil
	return n
}

func (r *Roster) set(now time.Time, m *Member, s State, why string) {
	if m.State == s {
		return
	}
	m.State, m.Why, m.Since = s, why, now
	r.notes = append(r.notes, Note{m.Session.Worker, m.Session.Nonce, s, why})
}

// Check looks at the clock. It returns the verdicts that are due, each once until
// it is answered by Saw, Gone or Missed, and reports whether anybody's state changed.
func (r *Roster) Check(now time.Time) (due []Verdict, changed bool) {
	if !r.next.IsZero() && now.Before(r.next) {
		return nil, false
	}
	r.next = now.Add(time.Hour)
	before := len(r.notes)
	concluded := r.conclude(now)
	suspects := 0
	for _, id := range slices.Sorted(maps.Keys(r.members)) {
		m := r.members[id]
		if m.State == Ended || m.Session.Nonce == r.cfg.Self {
			continue
		}
		r.suspect(now, m)
		if m.State >= Suspect && m.known && now.Sub(m.Since) < massWithin {
			suspects++
		}
	}
	doubted := r.doubt.on
	r.reconsider(now, suspects)
	if !r.doubt.on {
		for _, id := range slices.Sorted(maps.Keys(r.members)) {
			if v, ok := r.judge(now, r.members[id]); ok {
				due = append(due, v)
			}
		}
	}
	return due, concluded || len(r.notes) > before || len(due) > 0 || doubted != r.doubt.on
}

// Missed says that a verdict's condition did not hold: the key has changed, and a
// record that tells how is on its way.
func (r *Roster) Missed(now time.Time, nonce string) {
	if m := r.nonces[nonce]; m != nil {
		m.judged = false
		m.seen = now // a late renewal won; it is told soon, and counts from here
		r.next = time.Time{}
	}
}

// Next is when Check should be called at the latest.
func (r *Roster) Next() time.Time { return r.next }

func (r *Roster) by(t time.Time) {
	if t.Before(r.next) {
		r.next = t
	}
}

// conclude ends displaced sessions whose own TTL has passed since their successor was seen.
func (r *Roster) conclude(now time.Time) (concluded bool) {
	for _, f := range slices.Clone(r.formers) {
		if now.Before(f.until) {
			r.by(f.until)
			continue
		}
		r.end(f.nonce, EndConcluded)
		concluded = true
	}
	return concluded
}

// differs reports whether two records of one session differ in anything that
// matters to a decision. It allocates nothing.
func differs(a, b *Session) bool {
	return a.Applied != b.Applied || a.Highest != b.Highest || a.Past != b.Past || a.Leaving != b.Leaving || a.Left != b.Left ||
		a.Resumed != b.Resumed || a.Tombstone != b.Tombstone || a.Owns != b.Owns || a.Prepares != b.Prepares ||
		a.Share != b.Share || a.Capacity != b.Capacity || a.Zone != b.Zone || a.TTL != b.TTL || a.Fenced != b.Fenced ||
		a.Software != b.Software || !slices.Equal(a.Draining, b.Draining) || !slices.Equal(a.Done, b.Done) ||
		!slices.Equal(a.Rejected, b.Rejected) || !slices.Equal(a.GivenUp, b.GivenUp) || len(a.Holds) != len(b.Holds) || !maps.Equal(a.Labels, b.Labels)
}

// Ends lists how the sessions that have ended did, for tests and people.
func (r *Roster) Ends() map[string]End { return maps.Clone(r.ends) }

func (v Verdict) String() string {
	return fmt.Sprintf("tombstone %s/%s at %d: %s", v.Session.Worker, v.Session.Nonce, v.Rev, v.Why)
}

// Highest is the highest version of any plan that any session has seen.
func (r *Roster) Highest() (h plan.Version) {
	for _, m := range r.members {
		h = max(h, m.Session.Highest)
	}
	return h
}
