package member

import (
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/join"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// sessionGrace is how long a session's key outlives the session's TTL, for others
// to see how it ended, before the store clears it away.
const sessionGrace = time.Minute

// sessionTTL is the TTL of a session's key: whole seconds, rounded up.
func sessionTTL(s roster.Session) time.Duration { return whole(s.TTL.Duration() + sessionGrace) }

func whole(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }

// watchEvery is how often the key of a session is read that a claim waits for.
const watchEvery = time.Second

// A claim gives hands to the brain that chooses a worker ID.
type claim struct {
	*desk
	store *store
	life  *life
	brain *join.Machine
	rd    join.Ready
	dirty bool

	highest plan.Version
	alarmed bool // people know that every ID is taken

	// What is being written. Answer is the nonce to answer probes under meanwhile.
	writing roster.Session
	answer  string
	jumped  bool // the clock has, since that was sent first

	won *won // the outcome, when there is one
}

// won is a session that is claimed.
type won struct {
	session roster.Session
	rev     kv.Rev
	sent    time.Time // when the write was sent first
	jumped  bool      // the clock has since, and so nobody can tell how long ago that was
}

func newClaim(d *desk, s *store, highest plan.Version) *claim {
	return &claim{
		desk: d, store: s, life: new(life), dirty: true, highest: highest,
		brain: join.New(join.Config{
			Prefix: d.cfg.Prefix, MaxWorkers: d.cfg.MaxWorkers,
			Identity: d.cfg.Identity, Strict: d.cfg.Strict,
			EmergencyGrace: d.cfg.EmergencyGrace, LostAfter: d.cfg.LostAfter,
			ProbeInterval: d.cfg.ProbeInterval, ProbeAgain: probeAgain, Again: d.cfg.Reconcile,
			ComeBack: 2 * d.cfg.Heartbeat,
			Random:   d.cfg.Random,
		}, d.now),
	}
}

func (c *claim) tell(f join.Fact) {
	c.brain.Step(c.now, f)
	c.dirty = true
}

// busy tells whether a claim was sent whose outcome is not known.
func (c *claim) busy() bool { return c.answer != "" }

// pump carries out what the brain asks for. It reports whether there was anything.
func (c *claim) pump() bool {
	if !c.dirty {
		return false
	}
	c.dirty = false
	rd := c.brain.Ready()
	if rd.Survey {
		c.survey(rd.Names)
	}
	for _, id := range rd.Look {
		c.look(id)
	}
	if rd.Probe != "" {
		c.probe(rd.Probe)
	}
	if rd.Claim != nil {
		c.write(*rd.Claim)
	}
	if rd.Watch != "" && !c.waiting(c.life, "watch") {
		c.watch()
	}
	if rd.Spare != c.alarmed {
		c.alarmed = rd.Spare
		text := ""
		if rd.Spare {
			text = "every worker ID is taken; this worker waits as a spare; raise MaxWorkers to use it"
		}
		c.say(event.Alert{About: "spare", Text: text})
	}
	c.rd = rd
	return true
}

// survey reads what the choice depends on, of sessions perhaps only which there are.
// That the bucket is there comes first.
func (c *claim) survey(names bool) {
	c.incarnation(new(retry), func() {
		var s join.Surveyed
		left := 3
		part := func() {
			if left--; left == 0 {
				c.tell(s)
			}
		}
		c.get(c.life, Key{Kind: KindPlan}, func(r Record) {
			h, _ := r.Value.(plan.Head)
			s.Plan, s.Adopting = !r.Gone, h.Adopting
			part()
		})
		c.get(c.life, Key{Kind: KindLeader}, func(r Record) { s.Leader = !r.Gone; part() })
		c.listing(c.life, List{KindSession, names}, new(retry), func(a Answer) {
			for _, r := range a.Records {
				switch {
				case names:
					s.Sessions = append(s.Sessions, join.Held{Worker: r.Key.Name})
				case !r.Gone:
					s.Sessions = append(s.Sessions, c.held(r))
				}
			}
			part()
		})
	})
}

// held is what a session's record means to the choice.
func (c *claim) held(r Record) join.Held {
	h := join.Held{Worker: r.Key.Name, Rev: r.Rev}
	s, ok := r.Value.(roster.Session)
	if r.Unreadable != nil || !ok {
		h.Unreadable = true
		return h
	}
	h.Session = s
	c.highest = max(c.highest, s.Highest)
	c.store.saw(s.Highest)
	return h
}

func (c *claim) incarnation(r *retry, then func()) {
	c.ask(c.life, Incarnation{}, func(a Answer) {
		if a.Err == nil {
			then()
			return
		}
		c.unread("the bucket's incarnation", a.Err)
		c.after(c.life, "incarnation", r.pause(c.desk), func() { c.incarnation(r, then) })
	})
}

func (c *claim) look(id string) {
	c.get(c.life, Key{KindSlice, id}, func(r Record) {
		l := join.Looked{Worker: id}
		if s, ok := r.Value.(plan.Slice); ok {
			l.Nonce, l.Leases = s.Session, len(s.Granted)+len(s.Releasing)
		}
		c.tell(l)
	})
}

func (c *claim) probe(nonce string) {
	c.ask(c.life, c.cfg.probe(nonce), func(a Answer) {
		c.tell(join.Probed{Nonce: nonce, Outcome: Heard(a.Err)})
	})
}

// watch reads the key of the session that is waited for, every second.
func (c *claim) watch() {
	c.after(c.life, "watch", watchEvery, func() {
		if c.rd.Watch == "" {
			return
		}
		c.get(c.life, Key{KindSession, c.rd.Watch}, func(r Record) {
			c.told(r)
			if c.rd.Watch != "" {
				c.watch()
			}
		})
	})
}

// told takes in a change of a session's key.
func (c *claim) told(r Record) {
	switch {
	case r.Key.Kind != KindSession:
	case r.Gone:
		c.tell(join.Gone{Worker: r.Key.Name, Rev: r.Rev})
	default:
		c.tell(join.Saw{Held: c.held(r)})
	}
}

// write makes the claim. Each has a nonce of its own.
func (c *claim) write(w join.Claim) {
	s := c.cfg.Session
	s.Worker, s.Nonce, s.Identity = w.Worker, c.cfg.Nonce(), c.cfg.Identity
	s.Previous, s.Highest, s.Past = w.Previous, c.highest, c.store.past
	if w.Previous.Nonce == "" {
		s.Previous = roster.Previous{}
	}
	c.writing, c.answer, c.jumped = s, s.Nonce, false
	c.put(Record{Key: Key{KindSession, w.Worker}, Rev: w.Last, Value: s}, time.Time{}, new(retry))
}

// put writes the claim until its outcome is known. Repeating the same write is
// safe: it is conditional, and at most one of them is stored.
func (c *claim) put(rec Record, sent time.Time, tries *retry) {
	c.ask(c.life, Put{Record: rec, TTL: sessionTTL(c.writing)}, func(a Answer) {
		if sent.IsZero() {
			sent = a.Sent
		}
		switch Outcome(a.Err) {
		case Fine:
			c.stored(a.Rev, sent)
		case Stale, Unknown:
			c.find(rec, sent, tries)
		case Strange:
			c.failed("claiming "+rec.Key.Name, a.Err)
			c.find(rec, sent, tries)
		case Forbidden:
			c.failed("claiming "+rec.Key.Name, a.Err)
			c.again(rec, sent, tries)
		default: // not sent, or the bucket is being made anew
			c.again(rec, sent, tries)
		}
	})
}

func (c *claim) again(rec Record, sent time.Time, tries *retry) {
	c.after(c.life, "claim", tries.pause(c.desk), func() { c.find(rec, sent, tries) })
}

// find reads what became of the claim.
func (c *claim) find(rec Record, sent time.Time, tries *retry) {
	c.get(c.life, rec.Key, func(r Record) {
		s, ok := r.Value.(roster.Session)
		switch {
		case ok && s.Nonce == c.writing.Nonce && s.Tombstone == nil:
			c.stored(r.Rev, sent)
		case r.Rev == rec.Rev, r.Gone && rec.Rev == 0: // a marker may stand where nobody is
			c.after(c.life, "claim", tries.pause(c.desk), func() { c.put(rec, sent, tries) })
		default:
			c.answer = ""
			c.tell(join.Refused{})
		}
	})
}

func (c *claim) stored(rev kv.Rev, sent time.Time) {
	c.answer = ""
	c.won = &won{session: c.writing, rev: rev, sent: sent, jumped: c.jumped}
	c.tell(join.Claimed{})
	c.say(event.Claimed{
		Worker: c.writing.Worker, Session: c.writing.Nonce,
		Tries: c.brain.Tries(), Previous: c.writing.Previous.Nonce,
	})
}
