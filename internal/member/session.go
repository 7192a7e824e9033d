package member

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// orders are those to handlers that were not handed out yet.
type orders struct {
	hard, stop []hold.Stop
	start      []plan.Grant
	forget     []string
	prepare    []plan.Partition
}

// A session gives hands to the brain of one session: it writes its record and
// finds out what became of a write.
type session struct {
	*desk
	store *store
	life  *life
	brain *hold.Machine
	rd    hold.Ready
	dirty bool
	out   orders

	base    roster.Session // what every record says
	rev     kv.Rev         // of the key, as last acknowledged or read
	wrote   roster.Session // the last record that was written, whatever became of it
	resumed bool
	why     string // it was lost

	look     time.Time // no look at the own key before then
	vanished bool      // nothing stood there at the last look

	late late

	stopped map[plan.Lease]stopped // asked to end
	early   map[plan.Lease]bool    // returned early, and to be run again
	fresh   []plan.Lease           // of these, since the last look whether they are
	turn    hold.Turn              // the brain's, at that look
	slow    map[string]bool        // partitions whose run was told of, since it does not come to run
}

// stopped is when a handler was asked to end, and why.
type stopped struct {
	at  time.Time
	why string
}

func newSession(d *desk, st *store, w *won, highest plan.Version) *session {
	h := d.cfg.Hold
	h.Worker, h.Nonce = w.session.Worker, w.session.Nonce
	s := &session{
		desk: d, store: st, life: new(life), brain: hold.New(h, d.now, w.sent), dirty: true,
		base: w.session, rev: w.rev, wrote: w.session, stopped: map[plan.Lease]stopped{}, early: map[plan.Lease]bool{}, slow: map[string]bool{},
	}
	s.tell(hold.Seen{Version: highest})
	return s
}

func (s *session) key() Key { return Key{KindSession, s.base.Worker} }

func (s *session) tell(f hold.Fact) {
	s.brain.Step(s.now, f)
	s.dirty = true
}

func (s *session) pump() bool {
	if !s.dirty {
		return false
	}
	s.dirty = false
	rd := s.brain.Ready()
	s.order(rd)
	if rd.Renew != nil {
		s.renew(*rd.Renew)
	}
	for _, a := range rd.Alerts {
		s.alert(a)
	}
	s.rd = rd
	return true
}

// order hands the orders on, and tells people.
func (s *session) order(rd hold.Ready) {
	s.out.hard = append(s.out.hard, rd.Hard...)
	s.out.stop = append(s.out.stop, rd.Stop...)
	s.out.start = append(s.out.start, rd.Start...)
	s.out.forget = append(s.out.forget, rd.Forget...)
	s.out.prepare = append(s.out.prepare, rd.Prepare...)
	for _, g := range rd.Start {
		delete(s.early, plan.Lease{Partition: g.ID, Token: g.Token})
	}
	s.letGo()
	for _, o := range rd.Stop {
		why := causeWord(o.Cause)
		s.stopped[o.Lease] = stopped{s.now, why}
		s.say(event.Revoked{Partition: o.Lease.Partition, Token: uint64(o.Lease.Token), Why: why})
	}
	for _, g := range rd.Start {
		s.say(event.Assigned{Partition: g.Partition, Token: uint64(g.Token), Why: g.Why})
	}
}

// letGo tells people of what had returned early and is not run again: nothing runs of it
// whose return would tell. There may be many, and there is a look after each fact: so those
// that were looked at before wait until the brain's answer can be another one.
func (s *session) letGo() {
	look := s.fresh
	s.fresh = nil
	if turn := s.brain.Turn(); turn != s.turn {
		s.turn = turn
		look = slices.Collect(maps.Keys(s.early))
	}
	look = slices.DeleteFunc(look, func(l plan.Lease) bool {
		again, _ := s.brain.Again(l)
		return again || !s.early[l]
	})
	slices.SortFunc(look, plan.Lease.Compare)
	for _, l := range slices.Compact(look) {
		_, why := s.brain.Again(l)
		delete(s.early, l)
		s.say(event.Released{Partition: l.Partition, Token: uint64(l.Token), Why: causeWord(why)})
	}
}

// started tells the brain that a handler runs.
func (s *session) started(l plan.Lease) {
	s.tell(hold.Started{Lease: l})
	s.notSlow(l.Partition)
}

// exited tells the brain, and people, that a handler has returned.
func (s *session) exited(e Exited) {
	s.tell(hold.Exited{Lease: e.Lease, How: e.How})
	s.notSlow(e.Lease.Partition)
	id, token := e.Lease.Partition, uint64(e.Lease.Token)
	if x, asked := s.stopped[e.Lease]; asked {
		delete(s.stopped, e.Lease)
		if e.How == hold.Done {
			e.Err = "" // it is no trouble
		}
		s.say(event.Released{Partition: id, Token: token, Why: x.why, Took: s.now.Sub(x.at), Err: e.Err})
		return
	}
	final := e.How == hold.Done || e.How == hold.Rejected
	if !final {
		s.early[e.Lease] = true
		s.fresh = append(s.fresh, e.Lease)
	}
	s.say(event.Returned{
		Partition: id, Token: token, Err: e.Err, Panicked: e.Panicked,
		Final: final, BackOff: s.brain.BackOff(e.Lease),
	})
}

// record is what the session's record says next.
func (s *session) record(rep hold.Report) roster.Session {
	r := s.base
	r.Applied, r.Highest, r.Past = rep.Applied, max(rep.Highest, s.base.Highest), s.store.past
	r.Draining, r.Done, r.Rejected, r.GivenUp = rep.Draining, rep.Done, rep.Rejected, rep.GivenUp
	r.Leaving, r.Left = rep.Leaving, rep.Left
	r.Running = rep.Running
	r.Resumed, r.Holds = s.resumed || rep.Resume, rep.Holds
	return r
}

// renew writes the record on condition of the last one.
func (s *session) renew(rep hold.Report) {
	s.wrote = s.record(rep)
	rec := Record{Key: s.key(), Rev: s.rev, Value: s.wrote}
	ttl := sessionTTL(s.base)
	if rep.Left { // a successor looks for them as long as its partitions wait for it
		ttl += whole(s.cfg.Lead.RestartGrace)
	}
	s.ask(s.life, Put{Record: rec, TTL: ttl}, func(a Answer) {
		class := Outcome(a.Err)
		s.late.asked(class, s.now.Sub(a.Sent))
		switch class {
		case Fine:
			s.rev, s.vanished = a.Rev, false
			s.inTime()
			if a.proof { // the store went back: what it accepts now says nothing
				s.tell(hold.RenewFailed{})
				return
			}
			if rep.Resume {
				s.resumed = true
				s.say(event.SessionResumed{Worker: s.base.Worker, Session: s.base.Nonce})
			}
			s.tell(hold.Renewed{Sent: a.Sent})
		case Unavailable:
			s.unwritten(s.rd.Until.IsZero())
		case Forbidden:
			s.failed("renewing the session", a.Err)
			s.unwritten(true)
		case Strange:
			s.failed("renewing the session", a.Err)
			s.find()
		default: // refused, unknown, or the bucket is being made anew
			s.find()
		}
	})
}

// unwritten goes on after a renewal of which nothing was stored. Where none is, for want of
// a right or of a way to the store, none is refused either: that the session has ended is
// then only to be seen at its key.
func (s *session) unwritten(look bool) {
	if s.vanished {
		s.vanished = false
		s.find()
		return
	}
	s.tell(hold.RenewFailed{})
	if look && !s.now.Before(s.look) {
		s.look = s.now.Add(s.cfg.Reconcile)
		s.ask(s.life, Get{s.key()}, s.looked)
	}
}

// looked takes in what stood at the key, read beside the renewals: the end of the session
// counts at any time. That nothing stands there is for the next renewal to find out.
func (s *session) looked(a Answer) {
	own, err := a.record(s.key())
	if err != nil || own.Unreadable != nil {
		return // there will be another look
	}
	switch k := s.standing(own); {
	case k == hold.Gone:
		s.vanished = true
	case (k == hold.Tombstone || k == hold.Foreign) && own.Rev > s.rev:
		s.found(own, Record{}, Record{})
	default: // it still stands
	}
}

// find reads what stands at the session's key and, unless that says that the session has
// ended, the plan and the slice. The brain waits for it; trust goes on running out meanwhile.
func (s *session) find() {
	s.get(s.life, s.key(), func(own Record) {
		if own.Unreadable != nil {
			s.failed("reading the own session", own.Unreadable)
			s.after(s.life, "find", retryMost, s.find)
			return
		}
		if k := s.standing(own); k == hold.Tombstone || k == hold.Foreign { // whatever the plan says
			s.found(own, Record{}, Record{})
			return
		}
		s.get(s.life, Key{Kind: KindPlan}, func(head Record) {
			s.get(s.life, Key{KindSlice, s.base.Worker}, func(slice Record) {
				s.found(own, head, slice)
			})
		})
	})
}

func (s *session) found(own, head, slice Record) {
	mine, _ := slice.Value.(plan.Slice)
	f := hold.Found{Key: s.standing(own), Plan: stands(head), Mine: mine.Session == s.base.Nonce}
	s.rev, s.vanished = own.Rev, false
	if f.Key == hold.Own && s.wrote.Resumed && !s.resumed {
		s.resumed = true
		s.say(event.SessionResumed{Worker: s.base.Worker, Session: s.base.Nonce})
	}
	if f.Key == hold.Own && s.late.found() {
		s.say(event.Alert{About: lateAbout, Text: s.late.text()})
	}
	s.tell(f)
	if s.brain.Lost() && s.why == "" {
		s.why = s.lostTo(f, own)
	}
}

// stands tells whether a plan stands that a session must be named by. While a plan
// is rebuilt from what workers hold, and before the first one of a store that is new
// to its leader, a session may resume that no slice names yet: nothing was granted.
func stands(head Record) bool {
	h, _ := head.Value.(plan.Head)
	return !head.Gone && !h.Adopting && h.Started
}

// standing says what a record at the session's key means.
func (s *session) standing(own Record) hold.Standing {
	r, ok := own.Value.(roster.Session)
	switch {
	case own.Gone || !ok:
		return hold.Gone
	case r.Nonce != s.base.Nonce:
		return hold.Foreign
	case r.Tombstone != nil:
		return hold.Tombstone
	case own.Rev > s.rev && same(r, s.wrote):
		return hold.Own
	default:
		return hold.OwnOlder
	}
}

// same compares whole values as they are stored: a name or a number is not an
// identity, and fields that were chosen leave out those that are added later.
func same[V any](a, b V) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// lostTo says for people why the session is lost.
func (s *session) lostTo(f hold.Found, own Record) string {
	r, _ := own.Value.(roster.Session)
	switch f.Key {
	case hold.Tombstone:
		return fmt.Sprintf("%s, as leader of term %d, declared it lost: %s", r.Tombstone.By, r.Tombstone.Term, r.Tombstone.Why)
	case hold.Foreign:
		return fmt.Sprintf("the worker ID was taken over by session %s on %q", r.Nonce, r.Host)
	default:
		return "its key has expired"
	}
}

func (s *session) alert(a hold.Alert) {
	switch a.Kind {
	case hold.AlertDegraded:
		s.say(event.Degraded{Level: levelWord(a.Level), For: a.For})
	case hold.AlertStuck:
		var token uint64
		for l := range s.stopped {
			if l.Partition == a.Partition {
				token = max(token, uint64(l.Token))
			}
		}
		s.say(event.Stuck{Partition: a.Partition, Token: token, For: a.For})
	case hold.AlertUnstarted:
		s.slow[a.Partition] = true
		s.say(event.Alert{About: prepareOf(a.Partition), Text: fmt.Sprintf(
			"Prepare of %[1]s has not returned for %[2]v: until it does, %[1]s runs nowhere", a.Partition, a.For.Round(time.Millisecond))})
	}
}

// inTime ends the alert about a store that answers too late.
func (s *session) inTime() {
	if s.late.over() {
		s.say(event.Alert{About: lateAbout})
	}
}

// notSlow ends the alert about a run that did not come to run.
func (s *session) notSlow(partition string) {
	if s.slow[partition] {
		delete(s.slow, partition)
		s.say(event.Alert{About: prepareOf(partition)})
	}
}

// prepareOf is what the alert about a Prepare that does not return is about.
func prepareOf(partition string) string { return "prepare " + partition }

func causeWord(c hold.Cause) string {
	switch c {
	case hold.Revoked:
		return "revoked"
	case hold.Fenced:
		return "fenced"
	default:
		return "stopped"
	}
}

func levelWord(l hold.Level) string {
	switch l {
	case hold.LevelInfo:
		return "info"
	case hold.LevelWarn:
		return "warn"
	case hold.LevelError:
		return "error"
	default:
		return "critical"
	}
}
