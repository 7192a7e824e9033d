package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

// inject makes a fault happen, and sees to it that it ends.
func (w *world) inject(f *Fault) {
	w.say("!! %s", f)
	w.ledger.disturbed(f)
	w.ledger.troubledBy(f)
	done := false
	undo := func(undoing func()) {
		done = true
		if undoing == nil {
			return
		}
		if f.For > 0 {
			w.after(f.For, func() { w.say("   over: %s", f); undoing() })
		}
	}
	if len(f.Who) == 0 {
		w.injectOne(f, nil, undo)
	}
	for _, n := range f.Who {
		if n < len(w.hosts) {
			w.injectOne(f, w.hosts[n], undo)
		}
	}
	if done {
		w.stats.Injected[index[f.Kind]]++
	}
}

// injectOne does it to one host, or to the world. It calls undo with what ends it,
// if it took effect at all.
func (w *world) injectOne(f *Fault, h *host, undo func(func())) {
	if h != nil {
		h.blame(f)
		if w.injectProcess(f, h, undo) || w.injectLink(f, h, undo) || w.injectHandler(f, h, undo) {
			return
		}
	}
	if w.injectStore(f, undo) || w.injectSource(f, undo) {
		return
	}
	w.injectOperator(f, h, undo)
}

// blame notes for how long promises that suppose a scheduled process, clocks of
// about the same rate, or a whole network are not the host's to keep.
func (h *host) blame(f *Fault) {
	w := h.w
	end := w.now + f.For
	switch f.Kind {
	case Freeze, Suspend, Jump:
		h.unwell = max(h.unwell, end+w.sc.Settings.HardReturn+50*time.Millisecond)
	case Lag:
		h.unwell = max(h.unwell, end+time.Duration(f.N)*2*time.Millisecond+w.sc.Settings.HardReturn+time.Second)
	case Skew:
		if f.N > w.sc.Settings.Skew || f.N < -w.sc.Settings.Skew {
			h.overSkew = true
		}
	}
	if f.Kind == Behind || f.Kind == Late {
		h.misled = max(h.misled, end)
	}
	switch f.Kind {
	case Freeze, Suspend, Jump, Skew, Lag, Cut, Hole, Mute, Deaf, Loss, Slow, Late, Behind, Gap, Sluggish, Stubborn, DeafHard:
		h.healthy = max(h.healthy, end)
	default: // what operators do, and what befalls changes and probes, keeps no renewal away
	}
}

func (w *world) injectProcess(f *Fault, h *host, undo func(func())) bool {
	p := h.proc
	switch f.Kind {
	case Crash, Vanish:
		if p == nil {
			return true
		}
		if f.N > 0 {
			h.identity++
		}
		w.touched(f.Kind)
		p.die(f.Kind == Vanish)
		undo(h.boot)
	case Stop:
		if p == nil || p.leaving {
			return true
		}
		p.leaving = true
		w.touched(Stop)
		p.tell(member.Leave{})
		if f.N > 0 {
			w.after(time.Duration(f.N)*time.Millisecond, func() { p.tell(member.Abandon{}) })
		}
		var again func()
		again = func() {
			if p.alive { // a supervisor waits for the end before it starts another
				w.after(100*time.Millisecond, again)
				return
			}
			h.boot()
		}
		undo(again)
	case Start:
		if p != nil {
			return true
		}
		w.touched(Start)
		h.boot()
		undo(nil)
	case Freeze, Suspend:
		if p == nil {
			return true
		}
		if f.Kind == Suspend {
			w.touched(Suspend)
			p.suspend()
		}
		p.frozen++
		undo(func() {
			if f.Kind == Suspend && p.alive {
				p.resume()
			}
			p.thaw()
		})
	case Jump:
		if p == nil {
			return true
		}
		w.touched(Jump)
		h.jump(time.Duration(f.N) * time.Millisecond)
		p.tell(member.Jumped{})
		undo(nil)
	case Skew:
		w.touched(Skew)
		h.setRate(f.N)
		undo(func() { h.setRate(h.spec.Rate) })
	case Lag:
		h.lag += time.Duration(f.N) * time.Millisecond
		undo(func() { h.lag -= time.Duration(f.N) * time.Millisecond })
	default:
		return false
	}
	return true
}

func (w *world) injectLink(f *Fault, h *host, undo func(func())) bool {
	l := &h.link
	count := func(n *int) {
		*n++
		undo(func() { *n-- })
	}
	amount := func(n *int) {
		*n += f.N
		undo(func() { *n -= f.N })
	}
	span := func(d *time.Duration) {
		*d += time.Duration(f.N) * time.Millisecond
		undo(func() { *d -= time.Duration(f.N) * time.Millisecond })
	}
	switch f.Kind {
	case Cut:
		l.cut++
		if h.proc != nil {
			h.proc.connect(false)
		}
		undo(func() {
			if l.cut--; l.cut == 0 && h.proc != nil {
				h.proc.connect(true)
			}
		})
	case Hole:
		l.hole++
		p := h.proc
		if p != nil && f.For > 5*time.Second { // the client finds out after a while
			w.after(4*time.Second+w.upTo(2*time.Second), func() {
				if l.hole > 0 && p.alive {
					p.connect(false)
				}
			})
		}
		undo(func() {
			if l.hole--; l.hole == 0 && l.cut == 0 && h.proc != nil {
				h.proc.connect(true)
			}
		})
	case Mute:
		count(&l.mute)
	case Deaf:
		count(&l.deaf)
	case Unprobe:
		count(&l.unprobe)
	case Loss:
		amount(&l.loss)
	case Drop:
		amount(&l.drop)
	case Twice:
		amount(&l.twice)
	case Slow:
		span(&l.slow)
	case Late:
		span(&l.late)
	case Delay:
		span(&l.delay)
	case Torn:
		span(&l.torn)
	case Gap:
		if h.proc != nil {
			w.touched(Gap)
			h.proc.gap()
			undo(nil)
		}
	case Behind:
		if l.behind == 0 {
			l.replica = w.store.copied()
		}
		l.behind++
		undo(func() {
			if l.behind--; l.behind == 0 {
				l.replica = view{}
				if h.proc != nil {
					h.proc.interrupts++
					h.proc.tell(member.Connected{Up: h.proc.connected, Interrupts: h.proc.interrupts})
					h.proc.gap()
				}
			}
		})
	default:
		return false
	}
	return true
}

func (w *world) injectStore(f *Fault, undo func(func())) bool {
	b := w.store
	count := func(n *int) {
		*n++
		undo(func() { *n-- })
	}
	switch f.Kind {
	case StoreDown:
		n := &b.down
		if f.N > 0 {
			n = &b.refuse
		}
		*n++
		undo(func() {
			if *n--; *n == 0 {
				w.interruptAll()
			}
		})
	case NoQuorum:
		count(&b.noQuorum)
	case NoCommit:
		count(&b.noCommit)
	case Expire:
		b.expireAll()
		undo(nil)
	case StoreLost:
		w.touched(StoreLost)
		b.lose()
		w.interruptAll()
		undo(nil)
	case Replaced:
		if b.replace() {
			w.touched(Replaced)
			undo(nil)
		}
	case GoBack, Restore:
		n := f.N
		if f.Kind == Restore {
			n = b.since(time.Duration(f.N) * time.Millisecond)
		}
		if b.exists && b.goBack(n) > 0 {
			w.touched(f.Kind)
			undo(nil)
		}
	case Garble:
		kinds := []member.Kind{member.KindPlan, member.KindLeader, member.KindSession, member.KindSlice}
		k := kinds[f.N%len(kinds)]
		b.garbled[k]++
		undo(func() { b.garbled[k]-- })
	default:
		return false
	}
	return true
}

func (w *world) injectSource(f *Fault, undo func(func())) bool {
	s := w.source
	count := func(n *int) {
		*n++
		undo(func() { *n--; w.refresh() })
	}
	listings := func(faults, left *int) {
		*faults++
		*left = f.N
		if f.N == 0 {
			*left = -1
		}
		undo(func() { *faults--; w.refresh() })
	}
	switch f.Kind {
	case SourceError:
		count(&s.failing)
	case SourceSlow:
		count(&s.silent)
	case SourceGarbage:
		count(&s.garbage)
	case SourceHalf:
		listings(&s.halves, &s.half)
	case SourceEmpty:
		listings(&s.empties, &s.empty)
	case SourceFlap:
		id := partitionID(f.N)
		s.flap[id]++
		undo(func() { s.flap[id]--; w.refresh() })
	case Add:
		w.touched(Add)
		s.add(f.N)
		undo(nil)
	case Remove:
		id := partitionID(f.N)
		w.touched(Remove)
		s.removed[id]++
		undo(func() {
			s.removed[id]--
			e := s.real[id]
			e.since = w.now
			if e.p.ID != "" {
				s.real[id] = e
			}
			w.refresh()
		})
	case Reweigh:
		w.touched(Reweigh)
		s.reweigh(f.N)
		undo(nil)
	default:
		return false
	}
	w.refresh() // the source tells that something has changed, as far as it knows
	return true
}

// refresh asks everybody to have the source listed.
func (w *world) refresh() {
	for _, h := range w.hosts {
		if h.proc != nil {
			h.proc.tell(member.Refresh{})
		}
	}
}

func (w *world) injectHandler(f *Fault, h *host, undo func(func())) bool {
	d := &h.does
	count := func(n *int) {
		*n++
		undo(func() { *n-- })
	}
	switch f.Kind {
	case Sluggish:
		count(&d.sluggish)
	case Stubborn:
		count(&d.stubborn)
	case Early:
		count(&d.early)
	case Panic:
		count(&d.panics)
	case DeafHard:
		d.deaf += time.Duration(f.N) * time.Millisecond
		undo(func() { d.deaf -= time.Duration(f.N) * time.Millisecond })
	case Reject:
		id := partitionID(f.N)
		d.rejects[id]++
		undo(func() { d.rejects[id]-- })
	default:
		return false
	}
	return true
}

// injectOperator does what operators do. Nobody owns the partition of a fault of
// handlers that is about one partition wherever it is.
func (w *world) injectOperator(f *Fault, h *host, undo func(func())) {
	id := partitionID(f.N)
	c := plan.Control{When: epoch.Add(w.now), Who: "operator", Number: fmt.Sprint(w.seq)}
	switch f.Kind {
	case Poison:
		w.poison[id]++
		undo(func() { w.poison[id]-- })
		return
	case Done:
		w.done[id]++
		undo(func() { w.done[id]-- })
		return
	case NoLeader:
		key := member.Key{Kind: member.KindLeader}
		if r, ok := w.store.records[key]; ok && !r.Gone && w.store.exists {
			w.touched(NoLeader)
			_, _ = w.store.write(nil, []member.Put{{Record: member.Record{Key: key, Rev: r.Rev, Gone: true}}})
			undo(nil)
		}
		return
	case CtlCordon:
		c.Kind = plan.Cordon
	case CtlDrain:
		c.Kind = plan.Drain
	case CtlPin:
		c.Kind, c.Partition = plan.Pin, id
	case CtlBan:
		c.Kind, c.Partition = plan.Ban, id
	case CtlMove:
		c.Kind, c.Partition = plan.MoveTo, id
	case CtlPause:
		c.Kind = plan.Pause
	case CtlRebalance:
		c.Kind = plan.Rebalance
	case CtlStepDown:
		c.Kind = plan.StepDown
	case CtlRefresh:
		c.Kind = plan.Refresh
	case CtlRelease:
		w.release(h, c, undo)
		return
	default:
		panic("sim: unknown fault " + string(f.Kind))
	}
	if h != nil && slices.Contains([]plan.ControlKind{plan.Cordon, plan.Drain, plan.Pin, plan.Ban, plan.MoveTo}, c.Kind) {
		if h.proc == nil || h.proc.workerID == "" {
			return
		}
		c.Worker = h.proc.workerID
	}
	name := string(c.Kind)
	if c.Partition != "" {
		name += "." + c.Partition
	} else if c.Worker != "" {
		name += "." + c.Worker
	}
	if w.control(member.Key{Kind: member.KindControl, Name: name}, &c) {
		w.touched(f.Kind)
		undo(func() { w.control(member.Key{Kind: member.KindControl, Name: name}, nil) })
	}
}

// release asks a process to end, for the sake of the lease whose handler was told to stop the
// longest ago; of one that needs nothing of the kind, for any. Only if that one is stuck it may.
func (w *world) release(h *host, c plan.Control, undo func(func())) {
	if h == nil || h.proc == nil || h.proc.workerID == "" || len(h.proc.runs) == 0 {
		return
	}
	runs := sortedRuns(h.proc.runs)
	r := runs[0]
	for _, x := range runs[1:] {
		if x.hard && (!r.hard || x.hardAt < r.hardAt) {
			r = x
		}
	}
	c.Kind, c.Worker, c.Partition, c.Session, c.Token = plan.ForceRelease, h.proc.workerID, r.lease.Partition, r.nonce, r.lease.Token
	key := member.Key{Kind: member.KindControl, Name: string(c.Kind) + "." + c.Worker}
	if w.control(key, &c) {
		undo(func() { w.control(key, nil) })
	}
}

// control writes one wish of an operator, or takes it back, conditionally like
// everybody.
func (w *world) control(key member.Key, c *plan.Control) bool {
	r := w.store.view().get(key)
	put := member.Put{Record: member.Record{Key: key, Rev: r.Rev, Gone: c == nil}}
	if c != nil {
		put.Record.Value = *c
	} else if r.Gone {
		return false
	}
	_, err := w.store.write(nil, []member.Put{put})
	return err == nil
}
