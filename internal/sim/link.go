package sim

import (
	"context"
	"errors"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/member"
)

var errGarbled = errors.New("not a record")

// A link is one host's way to the store and back. The counts are of faults that
// are at work now.
type link struct {
	w *world

	cut, hole, mute, deaf, unprobe, behind int

	loss, drop, twice int           // percent
	slow, delay       time.Duration // at most
	late, torn        time.Duration // of writes; between the keys of one listing

	replica view // that it talks to while behind
}

// latency is how long one way takes.
func (l *link) latency() time.Duration {
	d := 200*time.Microsecond + l.w.upTo(1500*time.Microsecond)
	if l.w.rng.IntN(64) == 0 {
		d += l.w.upTo(40 * time.Millisecond)
	}
	if l.slow > 0 {
		l.w.touched(Slow)
		d += l.w.upTo(l.slow)
	}
	return d
}

// sends reports whether something sent now leaves the host and arrives.
func (l *link) sends() bool {
	switch {
	case l.cut > 0:
		l.w.touched(Cut)
	case l.hole > 0:
		l.w.touched(Hole)
	case l.mute > 0:
		l.w.touched(Mute)
	case l.w.chance(l.loss):
		l.w.touched(Loss)
	default:
		return true
	}
	return false
}

// hears reports whether something that arrives now is received.
func (l *link) hears() bool {
	switch {
	case l.cut > 0:
		l.w.touched(Cut)
	case l.hole > 0:
		l.w.touched(Hole)
	case l.deaf > 0:
		l.w.touched(Deaf)
	case l.w.chance(l.loss):
		l.w.touched(Loss)
	default:
		return true
	}
	return false
}

// impaired reports whether any fault of the link is at work that can keep a renewal away,
// and what it finds.
func (l *link) impaired() bool {
	return l.cut+l.hole+l.mute+l.deaf+l.behind+l.loss > 0 || l.slow > 0 || l.late > 0
}

// isWrite reports whether a request changes the store.
func isWrite(r member.Request) bool {
	switch r.(type) {
	case member.Put, member.Commit, member.Renew:
		return true
	case member.Get, member.List, member.Probe, member.Incarnation, member.Partitions:
		return false
	}
	return false
}

// lost is what a request ends with that was not answered in time.
func lost(r member.Request) error {
	switch r.(type) {
	case member.Put, member.Commit, member.Renew:
		return kv.ErrUnknown
	case member.Probe, member.Partitions:
		return context.DeadlineExceeded
	case member.Get, member.List, member.Incarnation:
		return kv.ErrUnavailable
	}
	return kv.ErrUnavailable
}

// send carries one request to where it goes and its answer back. Every request is
// answered exactly once.
func (p *process) send(op member.Op) {
	w, l := p.w, &p.host.link
	w.stats.Ops++
	w.ledger.asked(op.Do)
	sent := p.local()
	within := w.sc.Settings.OpTimeout
	if probe, ok := op.Do.(member.Probe); ok {
		within = probe.Within
	}
	deadline := w.now + within
	answered := false
	answer := func(a member.Answer) {
		if answered {
			return
		}
		answered = true
		a.ID, a.Sent = op.ID, sent
		p.tell(a)
	}
	giveUp := func() { w.at(deadline, func() { answer(member.Answer{Err: lost(op.Do)}) }) }
	back := func(a member.Answer) {
		d := l.latency()
		if w.now+d > deadline {
			giveUp()
			return
		}
		w.after(d, func() {
			if !l.hears() {
				giveUp()
				return
			}
			answer(a)
		})
	}
	if src, ok := op.Do.(member.Partitions); ok {
		_ = src
		parts, err, ok := w.source.list(p)
		if !ok {
			giveUp()
			return
		}
		w.after(5*time.Millisecond+w.upTo(30*time.Millisecond), func() {
			answer(member.Answer{Err: err, Partitions: parts})
		})
		return
	}
	if l.cut > 0 { // the client knows that it is not connected
		w.touched(Cut)
		w.after(time.Millisecond, func() { answer(member.Answer{Err: kv.ErrUnavailable}) })
		return
	}
	if !l.sends() {
		giveUp()
		return
	}
	d := l.latency()
	if l.late > 0 && isWrite(op.Do) {
		d += l.late
		w.touched(Late)
	}
	if w.now+d > deadline {
		giveUp() // it lands all the same
	}
	w.after(d, func() {
		if probe, ok := op.Do.(member.Probe); ok {
			w.probed(probe.Nonce, func(err error) { back(member.Answer{Err: err}) }, giveUp)
			return
		}
		a, silent := w.serve(p, op.Do)
		switch list, ok := op.Do.(member.List); {
		case silent:
			giveUp()
		case ok && !list.Names && a.Err == nil && l.torn > 0:
			w.tear(p, a, back, giveUp)
		default:
			back(a)
		}
	})
}

// tear answers a listing as package natskv does: which keys there are, and the last
// revision, is of one moment, and the keys are read one after the other.
func (w *world) tear(p *process, a member.Answer, back func(member.Answer), silent func()) {
	w.touched(Torn)
	w.after(w.upTo(p.host.link.torn), func() {
		var records []member.Record
		for _, r := range a.Records {
			if w.rng.IntN(2) == 0 {
				records = append(records, r)
				continue
			}
			late, none := w.serve(p, member.Get{Key: r.Key})
			switch {
			case none:
				silent()
				return
			case errors.Is(late.Err, kv.ErrMissing): // removed since
			case late.Err != nil:
				back(member.Answer{Err: late.Err})
				return
			default:
				records = append(records, late.Records...)
			}
		}
		a.Records = records
		back(a)
	})
}

// serve is what the store does with a request, or that it says nothing.
func (w *world) serve(p *process, r member.Request) (a member.Answer, silent bool) {
	b := w.store
	if b.refuse > 0 {
		w.touched(StoreDown)
		return member.Answer{Err: kv.ErrUnavailable}, false
	}
	if b.down > 0 {
		w.touched(StoreDown)
		return a, true
	}
	if b.noQuorum > 0 && isWrite(r) {
		w.touched(NoQuorum)
		return a, true
	}
	v := b.view()
	if l := &p.host.link; l.behind > 0 {
		w.touched(Behind)
		v = l.replica
	}
	behind := p.host.link.behind > 0
	switch r := r.(type) {
	case member.Get:
		if !v.exists {
			return member.Answer{Err: kv.ErrLost}, false
		}
		rec := b.readable(v.get(r.Key))
		a.Records = []member.Record{rec}
		if rec.Gone {
			a.Err = kv.ErrMissing
		}
	case member.List:
		if !v.exists {
			return member.Answer{Err: kv.ErrLost}, false
		}
		if r.Names {
			a.Records = v.names(r.Kind)
			break
		}
		a.Records, a.Rev = v.list(r.Kind), v.last
		for i := range a.Records {
			a.Records[i] = b.readable(a.Records[i])
		}
	case member.Put:
		if behind { // it cannot commit anything; what is refused by old state is refused
			if !v.holds(r) {
				return member.Answer{Err: kv.ErrStale}, false
			}
			return a, true
		}
		a.Rev, a.Err = b.write(p, []member.Put{r})
	case member.Commit:
		if behind {
			for _, put := range r.Puts {
				if !v.holds(put) {
					return member.Answer{Err: kv.ErrStale}, false
				}
			}
			return a, true
		}
		if b.noCommit > 0 {
			w.touched(NoCommit)
			return a, true
		}
		if len(r.Puts) > w.sc.Settings.Batch {
			w.ledger.break_(PromiseSettles, "", "a commit of %d writes is above the server's limit of %d", len(r.Puts), w.sc.Settings.Batch)
		}
		if a.Rev, a.Err = b.write(p, r.Puts); errors.Is(a.Err, kv.ErrStale) {
			w.stats.Declined++
		}
	case member.Incarnation:
		if !v.exists {
			return member.Answer{Err: kv.ErrLost}, false
		}
		a.Incarnation = v.incarnation
	case member.Renew:
		if behind {
			return a, true
		}
		a.Incarnation = b.renew(r.Incarnation)
	}
	return a, false
}

// probed asks who answers under that nonce.
func (w *world) probed(nonce string, answer func(error), silent func()) {
	q := w.answering[nonce]
	switch {
	case q == nil:
		answer(kv.ErrNoResponders)
	case q.vanished:
		w.touched(Vanish)
		silent()
	case !q.alive:
		answer(kv.ErrNoResponders)
	case q.host.link.cut > 0:
		w.touched(Cut)
		answer(kv.ErrNoResponders)
	case q.frozen > 0:
		silent()
	case q.host.link.unprobe > 0:
		w.touched(Unprobe)
		silent()
	case !q.host.link.hears() || !q.host.link.sends():
		silent()
	case q.host.link.slow > 0: // the way there, and back
		w.touched(Slow)
		silent() // in time, if the answer is not
		w.after(w.upTo(q.host.link.slow)+w.upTo(q.host.link.slow), func() { answer(nil) })
	default:
		answer(nil)
	}
}

// tellAll tells every follower of a change.
func (w *world) tellAll(r member.Record) {
	if w.store.down > 0 {
		return
	}
	for _, h := range w.hosts {
		if h.proc != nil && h.proc.following && h.proc.follows(r.Key) {
			h.proc.change(r)
		}
	}
}

// change carries a followed change to p: at most once, in order for any one key,
// unless a fault says otherwise.
func (p *process) change(r member.Record) {
	w, l := p.w, &p.host.link
	if l.behind > 0 {
		return
	}
	if w.chance(l.drop) {
		w.touched(Drop)
		return
	}
	times := 1
	if w.chance(l.twice) {
		w.touched(Twice)
		times = 2
	}
	gen := p.followGen
	for range times {
		d := l.latency()
		if l.delay > 0 {
			w.touched(Delay)
			d += w.upTo(l.delay)
		}
		at := max(w.now+d, p.toldAt[r.Key]+1)
		p.toldAt[r.Key] = at
		w.at(at, func() {
			if p.alive && p.followGen == gen && l.hears() {
				p.tell(member.Told{Record: w.store.readable(r)})
			}
		})
	}
}

// follows reports whether p follows a key.
func (p *process) follows(k member.Key) bool {
	for _, f := range p.follow {
		if f.Kind == k.Kind && (f.Name == "" || f.Name == k.Name) {
			return true
		}
	}
	return false
}

// refollow begins the following anew: after it has begun, a List misses nothing.
func (p *process) refollow() {
	p.following = false
	p.followGen++
	gen := p.followGen
	p.w.after(p.host.link.latency(), func() { p.beginFollowing(gen) })
}

func (p *process) beginFollowing(gen int) {
	if !p.alive || p.followGen != gen {
		return
	}
	l := &p.host.link
	if l.cut+l.hole+l.mute+l.deaf > 0 || p.w.store.down+p.w.store.refuse > 0 {
		p.w.after(300*time.Millisecond, func() { p.beginFollowing(gen) })
		return
	}
	p.following = true
	p.tell(member.Following{Kinds: p.follow})
}

// gap makes p's following begin anew, and says so.
func (p *process) gap() {
	if !p.alive {
		return
	}
	p.following = false
	p.followGen++
	p.tell(member.Hole{})
	if p.alive && len(p.follow) > 0 {
		p.refollow()
	}
}

// interruptAll is what every client sees when the store changes under it.
func (w *world) interruptAll() {
	for _, h := range w.hosts {
		if p := h.proc; p != nil && h.link.cut == 0 && h.link.hole == 0 {
			w.after(h.link.latency(), func() { p.gap() })
		}
	}
}

// connect tells p how its connection is.
func (p *process) connect(up bool) {
	if p.connected == up {
		return
	}
	p.connected = up
	p.interrupts++
	p.tell(member.Connected{Up: up, Interrupts: p.interrupts})
	p.gap()
}
