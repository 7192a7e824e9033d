package hold_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/plan"
)

// TestProperties plays random shells, stores and leaders against the Machine and
// checks after every step what must never be otherwise. At the end the world turns
// kind, and everything must come right.
func TestProperties(t *testing.T) {
	seeds, steps := uint64(400), 400
	if testing.Short() {
		seeds = 80
	}
	seen := map[string]int{}
	for seed := range seeds {
		w := newWorld(t, seed)
		w.seen = seen
		for range steps {
			w.chance()
		}
		w.kindness()
	}
	t.Log(seen)
	// What never happened was not tested.
	for _, what := range []string{
		"start", "hard", "stop revoked", "stop fenced", "stop stopped", "prepare", "forget", "alert degraded", "alert stuck", "alert unstarted", "stale", "queued drain",
		"resume", "holds", "done", "rejected", "given up", "left", "over", "jump", "abandon", "abandon running", "come right",
		"Waiting", "Stable", "Isolated", "Draining", "FencedOff",
	} {
		if seen[what] == 0 {
			t.Errorf("never: %s", what)
		}
	}
}

// A handler is what the world knows of one call.
type handler struct {
	lease      plan.Lease
	began      time.Time
	said       bool // Started was told
	stop, hard bool
	cause      hold.Cause // of the Stop
}

// A world is everything around one Machine.
type world struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	cfg  hold.Config
	m    *hold.Machine
	now  time.Time
	log  []any // facts and what followed, to be printed on a failure
	last hold.Ready
	seen map[string]int // what happened, and how often

	mortal, leaver, jumpy bool // what may happen here

	handlers map[string]*handler
	ahead    map[string]bool // announced, and not forgotten

	// The leader's side.
	version plan.Version
	slice   plan.Slice              // the newest addressed to the Machine
	told    plan.Slice              // the newest that the Machine was told
	slices  []plan.Slice            // all of them, to be told again
	highest plan.Version            // that the Machine was told of
	tokens  map[string]plan.Version // the highest token run, per partition
	held    map[plan.Lease]bool     // what ran when the store was lost; nil: a plan stands

	// The store's side.
	out     *hold.Report // on its way
	sent    time.Time    // when it was sent
	old     []time.Time  // earlier sends
	jump    time.Time    // the last jump
	tossed  bool         // out was sent before it
	proved  time.Time    // the latest send that was answered and not before a jump
	lost    bool
	leaving bool
	gone    bool // Abandon was told
	left    bool // last words were asked for
	lapsing bool // a handler was running at Abandon
	away    bool // trust was lost, and the truth not told since it came back
}

func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	cfg := base
	cfg.Fence = seed%2 == 0
	cfg.MovesInFlight = 1 + rng.IntN(4)
	cfg.DrainTimeout = time.Duration(1+rng.IntN(10)) * time.Second
	cfg.StuckAfter = time.Duration(1+rng.IntN(20)) * time.Second
	if seed%4 == 1 {
		cfg.MaxFreeze = time.Duration(1+rng.IntN(20)) * time.Second
	}
	w := &world{
		t: t, seed: seed, rng: rng, cfg: cfg, now: zero.Add(time.Second),
		seen: map[string]int{}, handlers: map[string]*handler{}, ahead: map[string]bool{}, tokens: map[string]plan.Version{}, version: plan.MakeVersion(1, 1),
	}
	w.mortal, w.leaver, w.jumpy = rng.IntN(3) == 0, rng.IntN(3) == 0, rng.IntN(3) == 0
	w.proved = zero
	w.m = hold.New(cfg, w.now, zero)
	w.ready()
	return w
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	tail := w.log[max(0, len(w.log)-25):]
	for _, entry := range tail {
		if rd, ok := entry.(hold.Ready); ok && rd.Renew != nil {
			w.t.Log("  ", report(rd.Renew))
		}
		w.t.Logf("%T%+v", entry, entry)
	}
	w.t.Fatalf("seed %d at %s: %s", w.seed, w.now.Sub(zero), fmt.Sprintf(format, args...))
}

// step tells one fact, and most times asks for what is to be done.
func (w *world) step(f hold.Fact) {
	w.log = append(w.log, w.now.Sub(zero), f)
	w.m.Step(w.now, f)
	if !w.last.Over && !w.now.Before(w.until()) {
		w.away = true
	}
	if w.rng.IntN(8) > 0 {
		w.ready()
	}
}

// sync lets the world know all that the Machine wants by now.
func (w *world) sync() {
	w.m.Step(w.now, hold.Tick{})
	w.ready()
}

// until is the end of what trust can be, as the world counts it.
func (w *world) until() time.Time {
	if w.proved.IsZero() {
		return time.Time{}
	}
	return w.proved.Add(w.cfg.TTL - w.cfg.Margin)
}

// chance lets something happen.
func (w *world) chance() {
	then := w.now
	w.now = w.now.Add(time.Duration(w.rng.IntN(400)) * time.Millisecond)
	if w.rng.IntN(60) == 0 { // a long silence, or a frozen process
		w.now = w.now.Add(time.Duration(w.rng.IntN(20)) * time.Second)
	} else if at := w.last.WakeAt; at.After(then) && w.now.After(at) && w.rng.IntN(4) > 0 {
		w.now = at
	}
	if !w.now.Before(w.until()) {
		w.away = true
	}
	switch n := w.rng.IntN(100); {
	case n < 30:
		w.answer()
	case n < 45:
		w.decide()
	case n < 55:
		w.tell(w.slices)
	case n < 75:
		w.handle()
	case n < 78:
		w.step(hold.Healthy{})
	case n < 80:
		w.step(hold.Failing{})
	case n < 81 && len(w.old) > 0 && w.out == nil: // an answer comes again, or late
		sent := w.old[w.rng.IntN(len(w.old))]
		w.stored(sent, false)
		w.step(hold.Renewed{Sent: sent})
	case n < 82 && w.jumpy:
		w.proved, w.jump, w.tossed, w.away = time.Time{}, w.now, w.out != nil, true
		w.seen["jump"]++
		w.step(hold.Jumped{})
	case n < 83 && w.leaver && w.rng.IntN(2) == 0 && !w.leaving:
		w.leaving = true
		w.step(hold.Leave{})
	case n < 84 && w.leaver && w.rng.IntN(4) == 0 && !w.gone:
		w.sync()
		w.gone, w.leaving, w.lapsing = true, true, len(w.handlers) > 0
		w.seen["abandon"]++
		if w.lapsing {
			w.seen["abandon running"]++
		}
		w.step(hold.Abandon{})
	default:
		w.step(hold.Tick{})
	}
}

// stored notes what a received OK proves.
func (w *world) stored(sent time.Time, tossed bool) {
	if !tossed && !sent.Before(w.jump) && sent.After(w.proved) && !w.lost {
		w.proved = sent
	}
}

// answer answers the renewal on its way.
func (w *world) answer() {
	if w.out == nil {
		return
	}
	w.out = nil
	w.old = append(w.old, w.sent)
	switch n := w.rng.IntN(20); {
	case n < 10:
		w.stored(w.sent, w.tossed)
		w.step(hold.Renewed{Sent: w.sent})
	case n < 15:
		w.step(hold.RenewFailed{})
	case n < 17:
		w.step(hold.Found{Key: hold.Own})
	case n < 18:
		w.away = true
		w.step(hold.Found{Key: hold.OwnOlder})
	case n < 19 && (w.mortal || !w.cfg.Fence):
		f := hold.Found{Key: hold.Gone, Plan: w.rng.IntN(2) == 0, Mine: !w.mortal || w.rng.IntN(4) > 0}
		if w.cfg.Fence || f.Plan && !f.Mine || w.leaving && len(w.handlers) == 0 {
			w.lost = true
		} else {
			w.away = true
			w.held = nil
			if !f.Plan {
				w.held = map[plan.Lease]bool{}
			}
		}
		w.step(f)
	case w.mortal && w.rng.IntN(4) == 0:
		w.lost = true
		w.step(hold.Found{Key: hold.Tombstone + hold.Standing(w.rng.IntN(2))})
	default:
		w.stored(w.sent, w.tossed)
		w.step(hold.Renewed{Sent: w.sent})
	}
}

var names = [...]string{"a", "b", "c", "d", "e", "f", "g"}

// decide makes a new slice, and sometimes tells it at once.
func (w *world) decide() {
	w.version += plan.Version(1 + w.rng.IntN(3))
	if w.held != nil || w.rng.IntN(30) == 0 {
		w.version = plan.MakeVersion(w.version.Incarnation()+1, 1)
	}
	s := plan.Slice{Worker: w.cfg.Worker, Session: w.cfg.Nonce, Version: w.version}
	had := map[string]plan.Version{}
	for _, g := range w.slice.Granted {
		had[g.ID] = g.Token
	}
	for _, id := range names {
		token, mine := had[id]
		p := plan.Partition{ID: id}
		switch n := w.rng.IntN(10); {
		case mine && n < 6: // stays
			s.Granted = append(s.Granted, plan.Grant{Partition: p, Token: token})
		case mine && n < 8:
			s.Releasing = append(s.Releasing, plan.Release{Partition: p, Token: token})
		case n == 8: // new, or gone and back again in between
			s.Granted = append(s.Granted, plan.Grant{Partition: p, Token: w.version})
		case n == 9:
			s.Coming = append(s.Coming, p)
		}
	}
	w.slice = s
	w.slices = append(w.slices, s)
	if w.rng.IntN(2) == 0 {
		w.tell(w.slices[len(w.slices)-1:])
	}
}

// tell tells one of these slices, sometimes as that of another session.
func (w *world) tell(from []plan.Slice) {
	if len(from) == 0 {
		return
	}
	s := from[w.rng.IntN(len(from))]
	w.highest = max(w.highest, s.Version)
	if w.rng.IntN(10) == 0 {
		s.Session = "another"
		s.Version += 1000
		w.highest = max(w.highest, s.Version)
		w.step(hold.Sliced{Slice: s})
		return
	}
	if !w.lost && s.Version >= w.told.Version {
		if w.now.Before(w.until()) {
			w.away = false
		}
		if s.Version > w.told.Version {
			w.held = nil
		}
		w.told = s
	}
	w.step(hold.Sliced{Slice: s})
}

// handle lets a handler do something.
func (w *world) handle() {
	w.sync()
	if len(w.handlers) == 0 {
		return
	}
	ids := slices.Sorted(maps.Keys(w.handlers))
	h := w.handlers[ids[w.rng.IntN(len(ids))]]
	switch {
	case !h.said && w.rng.IntN(2) == 0:
		h.said = true
		w.step(hold.Started{Lease: h.lease})
	case h.hard || h.stop && w.rng.IntN(2) == 0 || w.rng.IntN(10) == 0:
		delete(w.handlers, h.lease.Partition)
		w.step(hold.Exited{Lease: h.lease, How: hold.How(w.rng.IntN(4))})
		if w.rng.IntN(4) == 0 { // told twice
			w.sync()
			if w.handlers[h.lease.Partition] == nil {
				w.step(hold.Exited{Lease: h.lease})
			}
		}
	}
}

// granted reports whether the newest slice told grants l.
func (w *world) granted(l plan.Lease) bool {
	return slices.ContainsFunc(w.told.Granted, func(g plan.Grant) bool { return g.ID == l.Partition && g.Token == l.Token })
}

// askedBack reports whether the newest slice told asks l back.
func (w *world) askedBack(l plan.Lease) bool {
	return slices.ContainsFunc(w.told.Releasing, func(r plan.Release) bool { return r.ID == l.Partition && r.Token == l.Token })
}

// ready does what is to be done, and checks that it may be.
func (w *world) ready() {
	rd := w.m.Ready()
	w.log = append(w.log, rd)
	w.checkLevels(&rd)
	w.checkStops(&rd)
	w.checkStarts(&rd)
	w.checkAhead(&rd)
	w.checkReport(rd.Renew)
	w.checkAlerts(&rd)
	w.checkAfter(&rd)
	w.count(&rd)
	w.last = rd

	again := w.m.Ready()
	levels := hold.Ready{Until: rd.Until, Stale: rd.Stale, Trusted: rd.Trusted, State: rd.State, Over: rd.Over, WakeAt: rd.WakeAt}
	if !reflect.DeepEqual(again, levels) {
		w.fatalf("a second Ready is %+v", again)
	}
}

func (w *world) count(rd *hold.Ready) {
	w.seen["start"] += len(rd.Start)
	w.seen["hard"] += len(rd.Hard)
	w.seen["prepare"] += len(rd.Prepare)
	w.seen["forget"] += len(rd.Forget)
	w.seen[rd.State.String()]++
	for _, a := range rd.Alerts {
		w.seen["alert "+a.Kind.String()]++
	}
	for _, s := range rd.Stop {
		w.seen["stop "+s.Cause.String()]++
	}
	if rd.Stale {
		w.seen["stale"]++
	}
	if rd.Over && !w.last.Over {
		w.seen["over"]++
	}
	rep := rd.Renew
	if rep == nil {
		return
	}
	w.seen["done"] += len(rep.Done)
	w.seen["rejected"] += len(rep.Rejected)
	w.seen["given up"] += len(rep.GivenUp)
	w.seen["holds"] += len(rep.Holds)
	if rep.Resume {
		w.seen["resume"]++
	}
	if rep.Left {
		w.seen["left"]++
	}
	for _, l := range rep.Draining {
		if !w.handlers[l.Partition].stop {
			w.seen["queued drain"]++
		}
	}
}

func (w *world) checkLevels(rd *hold.Ready) {
	if rd.Trusted.After(w.until()) {
		w.fatalf("trusted until %s, but proved only until %s", rd.Trusted, w.until())
	}
	if !rd.Trusted.IsZero() && !rd.Trusted.After(w.now) {
		w.fatalf("trusted until %s, which is past", rd.Trusted)
	}
	alive := w.now.Before(w.until()) && !w.lost && !rd.Over
	if alive != !rd.Until.IsZero() || alive && !rd.Until.Equal(w.until()) {
		w.fatalf("proved until %s, and says %s", w.until(), rd.Until)
	}
	if truth := !rd.Stale && w.held == nil; len(w.handlers) > 0 && rd.Trusted.IsZero() == (alive && truth) {
		w.fatalf("trusted until %s, alive %v, truth %v", rd.Trusted, alive, truth)
	}
	if !rd.WakeAt.IsZero() && !rd.WakeAt.After(w.now) {
		w.fatalf("busy: wake at %s", rd.WakeAt.Sub(zero))
	}
	if w.last.Over && !rd.Over {
		w.fatalf("no longer over")
	}
	if w.lost && (rd.State != hold.FencedOff && len(w.handlers) > 0) {
		w.fatalf("lost, but %s", rd.State)
	}
}

func (w *world) checkStops(rd *hold.Ready) {
	polite := 0
	for _, h := range w.handlers {
		if h.stop && !h.hard {
			polite++
		}
	}
	for _, s := range rd.Hard {
		h := w.handlers[s.Lease.Partition]
		if h == nil || h.lease != s.Lease || h.hard {
			w.fatalf("hard %s, which runs not or had it", lease(s.Lease))
		}
		if h.stop && !slices.Contains(rd.Stop, s) {
			polite--
		}
		h.hard = true
	}
	for _, s := range rd.Stop {
		h := w.handlers[s.Lease.Partition]
		if h == nil || h.lease != s.Lease || h.stop {
			w.fatalf("stop %s, which runs not or had it", lease(s.Lease))
		}
		h.stop, h.cause = true, s.Cause
		switch s.Cause {
		case hold.Revoked:
			if w.granted(s.Lease) {
				w.fatalf("%s revoked, but granted", lease(s.Lease))
			}
		case hold.Stopped:
			if !w.leaving {
				w.fatalf("%s stopped without a Leave", lease(s.Lease))
			}
		case hold.Fenced:
		}
		if s.Cause != hold.Fenced && !h.hard {
			if polite++; polite > w.cfg.MovesInFlight && !w.leaving {
				w.fatalf("%d drain at a time", polite)
			}
		}
	}
}

func (w *world) checkStarts(rd *hold.Ready) {
	starting := 0
	for _, h := range w.handlers {
		if !h.said && !h.hard && w.now.Before(h.began.Add(w.cfg.StuckAfter)) {
			starting++
		}
	}
	for _, g := range rd.Start {
		l := plan.Lease{Partition: g.ID, Token: g.Token}
		starting++
		switch {
		case w.handlers[g.ID] != nil:
			w.fatalf("two runs of %s", g.ID)
		case !w.now.Before(w.until()):
			w.fatalf("%s starts without trust", lease(l))
		case w.cfg.Fence && !w.now.Before(w.until().Add(-(w.cfg.TTL-w.cfg.Margin)/4)):
			w.fatalf("%s starts behind the fence", lease(l))
		case !w.granted(l):
			w.fatalf("%s starts without a grant", lease(l))
		case w.away:
			w.fatalf("%s starts before the truth is known", lease(l))
		case w.held != nil:
			w.fatalf("%s starts though no plan stands", lease(l))
		case w.leaving, w.lost:
			w.fatalf("%s starts at the end", lease(l))
		case starting > w.cfg.MovesInFlight:
			w.fatalf("%d start at a time", starting)
		case g.Token < w.tokens[g.ID]:
			w.fatalf("%s starts after a later token %v", lease(l), w.tokens[g.ID])
		}
		w.tokens[g.ID] = g.Token
		w.handlers[g.ID] = &handler{lease: l, began: w.now}
	}
}

func (w *world) checkAlerts(rd *hold.Ready) {
	for _, a := range rd.Alerts {
		h := w.handlers[a.Partition]
		switch {
		case a.Kind == hold.AlertDegraded:
		case h == nil:
			w.fatalf("%s is %s, but does not run", a.Partition, a.Kind)
		case a.Kind == hold.AlertUnstarted && (h.said || h.hard || w.now.Before(h.began.Add(w.cfg.StuckAfter))),
			a.Kind == hold.AlertStuck && !h.hard:
			w.fatalf("%s is called %s", lease(h.lease), a.Kind)
		}
	}
}

func (w *world) checkAhead(rd *hold.Ready) {
	for _, id := range rd.Forget {
		if !w.ahead[id] {
			w.fatalf("%s is forgotten, but was not announced", id)
		}
		delete(w.ahead, id)
	}
	for _, p := range rd.Prepare {
		w.ahead[p.ID] = true
	}
	for id := range w.ahead {
		coming := slices.ContainsFunc(w.told.Coming, func(p plan.Partition) bool { return p.ID == id })
		granted := slices.ContainsFunc(w.told.Granted, func(g plan.Grant) bool { return g.ID == id })
		if w.lost || w.leaving || !coming && !granted {
			w.fatalf("%s is not forgotten", id)
		}
	}
}

func (w *world) checkReport(rep *hold.Report) {
	if rep == nil {
		return
	}
	if w.out != nil {
		w.fatalf("a second renewal")
	}
	if w.lost || w.lapsing {
		w.fatalf("speaks after the end")
	}
	w.out, w.sent, w.tossed = rep, w.now, false
	var draining []plan.Lease
	for _, id := range slices.Sorted(maps.Keys(w.handlers)) {
		if h := w.handlers[id]; w.leaving || !w.granted(h.lease) {
			draining = append(draining, h.lease)
		}
	}
	switch {
	case !slices.Equal(draining, rep.Draining):
		w.fatalf("draining is %v, reported as %v", draining, rep.Draining)
	case rep.Applied != w.told.Version:
		w.fatalf("applied is %v, reported as %v", w.told.Version, rep.Applied)
	case rep.Highest != w.highest:
		w.fatalf("highest is %v, reported as %v", w.highest, rep.Highest)
	case rep.Leaving != w.leaving:
		w.fatalf("leaving is %v, reported as %v", w.leaving, rep.Leaving)
	case rep.Left && len(w.handlers) > 0:
		w.fatalf("last words over a running handler")
	case rep.Left != (w.leaving && len(w.handlers) == 0):
		w.fatalf("last words are %v", rep.Left)
	case w.left && !rep.Left:
		w.fatalf("last words taken back")
	case rep.Running != len(w.handlers):
		w.fatalf("%d running, reported as %d", len(w.handlers), rep.Running)
	case (w.held != nil) != (len(rep.Holds) > 0) && len(w.handlers) > 0:
		w.fatalf("holds are %v", rep.Holds)
	}
	for _, g := range rep.Holds {
		if h := w.handlers[g.ID]; h == nil || h.lease.Token != g.Token {
			w.fatalf("holds %s, which does not run", grant(g))
		}
	}
	for _, l := range slices.Concat(rep.Done, rep.Rejected, rep.GivenUp) {
		asked := slices.Contains(rep.Done, l) && w.askedBack(l)
		if h := w.handlers[l.Partition]; !w.granted(l) && !asked || h != nil && h.lease == l {
			w.fatalf("%s is said to be done", lease(l))
		}
	}
	w.left = rep.Left
}

func (w *world) checkAfter(rd *hold.Ready) {
	fenced := w.lost || w.gone || w.cfg.Fence && !w.now.Before(w.until())
	for id, h := range w.handlers {
		switch {
		case fenced && !(h.stop && h.hard):
			w.fatalf("%s runs on", lease(h.lease))
		case h.hard && !h.stop:
			w.fatalf("%s is Hard but not stopped", lease(h.lease))
		case !w.m.Holding(id):
			w.fatalf("does not hold %s", id)
		case w.m.Check(w.now, h.lease) != (w.now.Before(w.until()) && !w.lost && !rd.Stale && w.held == nil):
			w.fatalf("check of %s says %v", lease(h.lease), w.m.Check(w.now, h.lease))
		}
	}
	if rd.Over && len(w.handlers) > 0 {
		w.fatalf("over, but %d run", len(w.handlers))
	}
	if rd.Over && !(w.lost || w.left || w.gone) {
		w.fatalf("over for no reason")
	}
	if !rd.Over && w.out == nil && rd.WakeAt.IsZero() && len(w.handlers) == 0 {
		w.fatalf("will never wake")
	}
}

// kindness answers everything as well as can be, and counts how often the Machine
// asks to be woken: it must come right, and may not be busy.
func (w *world) kindness() {
	w.sync()
	if w.slice.Version > 0 && !w.lost {
		w.version = plan.MakeVersion(w.version.Incarnation()+1, 1)
		s := w.slice
		s.Version = w.version
		w.slice = s
	}
	end, wakes := w.now.Add(time.Minute), 0
	for w.now.Before(end) {
		w.ready()
		switch {
		case w.out != nil:
			w.out = nil
			w.stored(w.sent, w.tossed)
			w.step(hold.Renewed{Sent: w.sent})
			continue
		case w.last.Stale, w.told.Version != w.slice.Version && !w.lost:
			w.highest = max(w.highest, w.slice.Version)
			if w.now.Before(w.until()) {
				w.away = false
			}
			w.held, w.told = nil, w.slice
			w.step(hold.Sliced{Slice: w.slice})
			continue
		}
		if h := w.eager(); h != nil {
			if h.stop {
				delete(w.handlers, h.lease.Partition)
				w.step(hold.Exited{Lease: h.lease})
			} else {
				h.said = true
				w.step(hold.Started{Lease: h.lease})
			}
			continue
		}
		at := w.last.WakeAt
		if at.IsZero() {
			break
		}
		if wakes++; wakes > 400 {
			w.fatalf("busy: woken %d times", wakes)
		}
		w.now = at
		w.step(hold.Tick{})
	}
	w.ready()
	w.arrived()
}

// eager is a handler that has something to say.
func (w *world) eager() *handler {
	for _, id := range slices.Sorted(maps.Keys(w.handlers)) {
		if h := w.handlers[id]; h.stop || !h.said {
			return h
		}
	}
	return nil
}

// arrived checks that everything has come right.
func (w *world) arrived() {
	if w.lost || w.leaving {
		if !w.last.Over || len(w.handlers) > 0 {
			w.fatalf("not over: %+v", w.last)
		}
		return
	}
	if w.last.State != hold.Stable && w.slice.Version > 0 || w.last.Stale {
		w.fatalf("not stable: %+v", w.last)
	}
	w.seen["come right"]++
	ended := 0
	for _, h := range w.m.Assignment().Held {
		switch {
		case h.Phase == hold.Ended:
			ended++
		case h.Phase != hold.Running:
			w.fatalf("%s is %s", grant(h.Grant), h.Phase)
		case w.handlers[h.ID] == nil:
			w.fatalf("%s does not run", grant(h.Grant))
		}
	}
	if len(w.handlers)+ended != len(w.told.Granted) {
		w.fatalf("%d run and %d have ended of %d granted", len(w.handlers), ended, len(w.told.Granted))
	}
}
