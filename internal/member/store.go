package member

import (
	"fmt"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

// A store is what this process knows of the store as a whole: whether it is still
// the one that it was.
//
// A store that lost acknowledged writes, or is not there, is made anew under a
// higher incarnation, but only on proof, and a read proves nothing: it may come
// from a replica that was left behind. Proofs are:
//
//   - the bucket is not there;
//   - a write is acknowledged at a revision that is not above one that was
//     acknowledged before it was sent;
//   - a write is accepted on condition of a revision of its key that is older than
//     one acknowledged for that key before it was sent;
//   - the leader's brain has seen a plan above the one that its commit replaced.
//
// Every proof is about the store as it was known when the request was made: if a
// higher incarnation has been heard of since, somebody else has acted already.
type store struct {
	*desk
	life life // over when the member is

	known uint32         // the highest incarnation that anybody is known to have seen
	shown uint32         // the highest that the store itself has shown to this process
	plans uint32         // the highest in which a plan is known to have stood
	past  uint32         // the same, below plans
	acked kv.Rev         // the highest revision acknowledged to this process
	keys  map[Key]kv.Rev // the same, per key

	lacks struct { // the last listing that had fewer slices than the head of that revision says
		head        kv.Rev
		since, last time.Time
	}

	renewing bool
	tries    retry
	// renewed is called when the store was made anew.
	renewed func()
}

// lacking notes that a listing has fewer slices than the head says, and returns for how
// long every listing has been so, as far as it was looked often enough to say that. Who has
// looked stands back for half of LeaderTTL before it looks again.
func (s *store) lacking(head kv.Rev) time.Duration {
	l := &s.lacks
	if l.head != head || s.now.Sub(l.last) > max(lackFor/2, s.cfg.LeaderTTL) {
		l.head, l.since = head, s.now
	}
	l.last = s.now
	return l.last.Sub(l.since)
}

// mark notes how things are when a request is made.
func (s *store) mark(c *call) {
	c.mark.acked, c.mark.known = s.acked, s.known
	for _, p := range c.puts() {
		c.mark.keys = append(c.mark.keys, s.keys[p.Record.Key])
	}
}

// puts are the writes of a call.
func (c *call) puts() []Put {
	switch req := c.req.(type) {
	case Put:
		return []Put{req}
	case Commit:
		return req.Puts
	default: // the rest needs nothing here
	}
	return nil
}

// heard takes in an incarnation that somebody has seen.
func (s *store) heard(incarnation uint32) { s.known = max(s.known, incarnation) }

// saw takes in the version of a plan that somebody has seen. That one stood before
// the store was made anew is not forgotten over the first that stands in it.
func (s *store) saw(v plan.Version) {
	inc := v.Incarnation()
	s.heard(inc)
	if inc > s.plans {
		s.past, s.plans = s.plans, inc
	} else if inc < s.plans {
		s.past = max(s.past, inc)
	}
}

// shows takes in an incarnation that the store has, or had.
func (s *store) shows(incarnation uint32) {
	s.shown = max(s.shown, incarnation)
	s.heard(incarnation)
}

// answer looks at what an answer tells of the store as a whole. It reports whether
// it proves that the store went back.
func (s *store) answer(c *call, a Answer) (proof bool) {
	switch Outcome(a.Err) {
	case Lost:
		if _, probe := c.req.(Probe); !probe && s.known == c.mark.known {
			s.lost()
		}
	case Fine:
		switch c.req.(type) {
		case Put, Commit:
			proof = s.accepted(c, a)
		case Incarnation, Renew:
			s.shows(a.Incarnation)
		default: // the rest needs nothing here
		}
		for _, r := range a.Records {
			s.shows(r.Rev.Incarnation())
		}
	default: // the rest needs nothing here
	}
	return proof
}

// accepted checks an acknowledged write against those before it.
func (s *store) accepted(c *call, a Answer) (proof bool) {
	puts := c.puts()
	why := ""
	if a.Rev <= c.mark.acked {
		why = fmt.Sprintf("a write got revision %d after %d had been given out", a.Rev, c.mark.acked)
	}
	for i, p := range puts {
		if last := p.Record.Rev; last != 0 && last < c.mark.keys[i] {
			why = fmt.Sprintf("%v was at revision %d after it had been at %d", p.Record.Key, last, c.mark.keys[i])
		}
	}
	for i, p := range puts {
		rev := a.Rev + kv.Rev(i)
		s.acked = max(s.acked, rev)
		if k := p.Record.Key; k.Kind != KindLog {
			s.keys[k] = max(s.keys[k], rev)
		}
	}
	if proof = why != "" && s.known == c.mark.known; proof {
		s.wentBack(why)
	}
	s.shows(a.Rev.Incarnation())
	return proof
}

// lost makes a store that is not there anew. It looks once more, a moment later:
// where many find it missing at the same time, one of them is enough.
func (s *store) lost() {
	if s.renewing {
		return
	}
	s.renewing = true
	s.after(&s.life, "renew", s.chance(50*time.Millisecond), func() {
		known := s.known
		s.ask(&s.life, Incarnation{}, func(a Answer) {
			switch Outcome(a.Err) {
			case Lost:
				if s.known != known { // somebody else was quicker than this answer
					s.done()
					return
				}
				s.renew("the bucket was not there", s.next())
			case Fine:
				s.done()
			default:
				s.renewing = false // ask again when it answers
			}
		})
	})
}

// wentBack makes a store anew that has provably lost acknowledged writes.
func (s *store) wentBack(proof string) {
	if s.renewing {
		return
	}
	s.renewing = true
	s.renew("the store went back: "+proof, s.next())
}

// next is an incarnation above every one that anybody is known to have seen.
func (s *store) next() uint32 {
	if s.known == 0 {
		return s.cfg.FirstIncarnation()
	}
	return s.known + 1
}

// renew asks for that one incarnation until it is answered: asking again for the
// same one changes nothing if it was done.
func (s *store) renew(why string, incarnation uint32) {
	s.ask(&s.life, Renew{incarnation}, func(a Answer) {
		if a.Err != nil {
			s.failed("making the store anew", a.Err)
			s.after(&s.life, "renew", s.tries.pause(s.desk), func() {
				if s.known >= incarnation {
					s.done() // somebody else has
					return
				}
				s.renew(why, incarnation)
			})
			return
		}
		s.say(event.StoreRenewed{Incarnation: a.Incarnation, Why: why})
		if s.plans != 0 && s.plans < a.Incarnation && s.cfg.Leads {
			s.announce(a.Incarnation)
		}
		s.done()
	})
}

// announce tells whoever leads first in a store that was made anew that a plan stood
// before, though nobody who remembers it may have come back yet: it writes a plan of
// no term, which says that the plan is being rebuilt. If a leader was quicker, or it
// is not to be written, sessions say so when they come back.
func (s *store) announce(incarnation uint32) {
	head := plan.Head{Version: plan.MakeVersion(incarnation, 0), Phase: plan.Recovering, Why: plan.WhyRecovered, Adopting: true}
	s.ask(&s.life, Put{Record: Record{Key: Key{Kind: KindPlan}, Value: head}}, func(Answer) {})
}

func (s *store) done() {
	s.renewing, s.tries = false, retry{}
	s.renewed()
}
