package member

import (
	"time"

	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/roster"
)

// probeAgain is how often one is probed that had no responders, and probeWithin
// the longest that an answer is waited for.
const (
	probeAgain  = 100 * time.Millisecond
	probeWithin = 400 * time.Millisecond
)

func (c *Config) probe(nonce string) Probe {
	return Probe{Nonce: nonce, Within: min(c.ProbeInterval, probeWithin)}
}

// A stand gives hands to the brain that stands for leader.
type stand struct {
	*desk
	life  *life
	brain *elect.Machine
	rd    elect.Ready
	dirty bool
	able  bool
	me    elect.Leader
}

func newStand(d *desk, l *life, me elect.Leader) *stand {
	return &stand{
		desk: d, life: l, me: me, dirty: true,
		brain: elect.New(elect.Config{
			Me: me, LeaderTTL: d.cfg.LeaderTTL, Heartbeat: d.cfg.Heartbeat,
			ProbeInterval: d.cfg.ProbeInterval, ProbeAgain: probeAgain, EmergencyGrace: d.cfg.EmergencyGrace,
			Random: d.cfg.Random,
		}, d.now),
	}
}

func (s *stand) tell(f elect.Fact) {
	s.brain.Step(s.now, f)
	s.dirty = true
}

// enable says whether the session may stand.
func (s *stand) enable(yes bool) {
	if s.able != yes {
		s.able = yes
		s.tell(elect.Able{Yes: yes})
	}
}

func (s *stand) pump() bool {
	if !s.dirty {
		return false
	}
	s.dirty = false
	rd := s.brain.Ready()
	if rd.Write != nil {
		s.write(*rd.Write)
	}
	if rd.Read {
		s.get(s.life, Key{Kind: KindLeader}, func(r Record) {
			f := leaderFact(r, true)
			s.tell(f)
		})
	}
	if rd.Probe != "" {
		s.probe(rd.Probe)
	}
	if rd.Holder != "" {
		s.holder(rd.Holder, rd.Leader.Nonce)
	}
	s.rd = rd
	return true
}

func (s *stand) record(w elect.Write) Put {
	if w.Remove {
		return Put{Record: Record{Key: Key{Kind: KindLeader}, Rev: w.Last, Gone: true}}
	}
	return Put{
		Record: Record{Key: Key{Kind: KindLeader}, Rev: w.Last, Value: s.me},
		TTL:    whole(s.cfg.LeaderTTL),
	}
}

func (s *stand) write(w elect.Write) {
	s.ask(s.life, s.record(w), func(a Answer) {
		switch Outcome(a.Err) {
		case Fine:
			s.tell(elect.Wrote{Rev: a.Rev, Sent: a.Sent})
		case Stale:
			s.tell(elect.Refused{})
		case Forbidden, Strange:
			s.failed("writing the leader's key", a.Err)
			s.tell(elect.Unknown{})
		default:
			s.tell(elect.Unknown{})
		}
	})
}

func (s *stand) probe(nonce string) {
	s.ask(s.life, s.cfg.probe(nonce), func(a Answer) {
		s.tell(elect.Probed{Nonce: nonce, Outcome: Heard(a.Err)})
	})
}

// holder reads whether the session of a holder that does not answer has provably
// ended; then nobody need wait.
func (s *stand) holder(worker, nonce string) {
	s.ask(s.life, Get{Key{KindSession, worker}}, func(a Answer) {
		r, err := a.record(Key{KindSession, worker})
		if err != nil {
			return // it was only to be quicker
		}
		x, ok := r.Value.(roster.Session)
		switch {
		case ok && endOf(x, nonce):
			s.tell(elect.Ended{Nonce: nonce})
		case ok && x.Nonce == nonce && !r.Gone:
			s.tell(elect.Stood{Nonce: nonce, Rev: r.Rev})
		}
	})
}

// endOf tells whether a record proves that the session of nonce has ended.
func endOf(s roster.Session, nonce string) bool {
	if s.Nonce == nonce {
		return s.Left || s.Tombstone != nil
	}
	return s.Tombstone != nil || s.Previous.Nonce == nonce && s.Previous.End != roster.EndUnknown
}
