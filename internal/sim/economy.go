package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/parti-go/parti/plan"
)

// An economy counts what is taken from living owners, from one rest of the group to the
// next. Where one thing was done to the group in between, and all partitions and workers
// are alike, it is known how much of that there must be: nothing after a loss or a stop,
// since what has lost its owner is placed so that the group is even; all that a drained
// worker had; the newcomer's part. More is a violation, however even the group is then.
type economy struct {
	clear   bool // the group was at rest, all are alike, and nothing came since but causes
	causes  int
	cause   string        // the last
	allowed int           // moves from living owners
	moves   int           // how many there were
	at      time.Duration // of the last cause, or when the last disturbance ends
	began   time.Duration // when the counting did
	orphans []orphan      // placed by the plan that is being looked at
}

// An orphan is a partition that has lost its owner and was given to a worker.
type orphan struct {
	worker string
	blamed bool // two have crashed with it: it may not go everywhere
}

// disturbed notes a fault: a cause, or something after which nobody can say what must move.
func (l *ledger) disturbed(f *Fault) {
	e := &l.economy
	switch f.Kind {
	case NoLeader, Gap, Twice, Start: // these move nothing; who starts is a cause as it does
	case Crash, Vanish, Stop:
		for range f.Who {
			l.caused(f.String(), 0)
		}
	case CtlDrain:
		for _, n := range f.Who {
			had := 0
			if n < len(l.w.hosts) && l.w.hosts[n].proc != nil {
				s := l.slices[l.w.hosts[n].proc.workerID]
				had = len(s.Granted) + len(s.Releasing)
			}
			l.caused(f.String(), had)
		}
		if f.For > 0 {
			l.w.after(f.For, func() { l.caused("the end of "+f.String(), 0) })
		}
	default:
		e.clear = false
		e.at = max(e.at, l.w.now+f.For)
	}
}

// caused notes something after which it is known how much may be taken from living owners.
func (l *ledger) caused(what string, allowed int) {
	e := &l.economy
	if e.causes++; e.causes == 1 && e.clear {
		l.w.stats.Counted++
	}
	e.cause, e.allowed, e.at = what, e.allowed+allowed, max(e.at, l.w.now)
}

// booted notes that a process has started: it is to get its part.
func (l *ledger) booted(h *host) {
	n := 0
	for _, x := range l.w.hosts {
		if x.proc != nil && !x.spec.Idle {
			n++
		}
	}
	l.caused(fmt.Sprintf("the start of host %d", h.n), (len(l.w.source.all())+n-1)/max(n, 1))
}

// moved notes a new grant to a session of a partition that had such leases before.
func (l *ledger) moved(all []*lease, to *session, g *plan.Grant) {
	if len(all) == 0 || all[len(all)-1].s.worker == to.worker {
		return
	}
	e, from := &l.economy, all[len(all)-1].s
	if from.ended >= 0 || from.displaced >= 0 || from.leaving || !from.p.alive {
		e.orphans = append(e.orphans, orphan{to.worker, len(g.Crashed) > 1})
		return
	}
	if e.moves++; e.clear && e.causes < 2 && e.moves > e.allowed {
		l.break_(PromiseMoves, g.ID, "%s moves from %s, which is there, to %s: with it %d do, and %d would do, after %q",
			g.ID, from.worker, to.worker, e.moves, e.allowed, e.cause)
	}
}

// placed looks at what one plan has placed. What two have crashed with goes to a third, even
// to one that has the most already. What else is placed makes up for that as far as it can;
// only the rest may move later.
func (l *ledger) placed() {
	e := &l.economy
	orphans := e.orphans
	e.orphans = nil
	if !slices.ContainsFunc(orphans, func(o orphan) bool { return o.blamed }) {
		return
	}
	load := map[string]int{}
	for worker, s := range l.slices {
		if x := l.byNonce[s.Session]; x != nil && x.ended < 0 && x.displaced < 0 && !x.leaving {
			load[worker] = len(s.Granted)
		}
	}
	free := 0
	for _, o := range orphans {
		if !o.blamed {
			load[o.worker]--
			free++
		}
	}
	most, lack := 0, 0
	for _, n := range load {
		most = max(most, n)
	}
	for _, n := range load {
		lack += max(0, most-1-n)
	}
	e.allowed += max(0, lack-free)
}

// rest begins to count anew when the group is at rest: everything runs, and no window can
// be open any more.
func (l *ledger) rest() {
	s, e := &l.w.sc.Settings, &l.economy
	last := max(l.lastPlan, e.at)
	if e.began > last || l.w.now-last < s.Settle+s.Scale+s.Cooldown+10*time.Second || l.unsettled() != "" || !l.allNamed() {
		return
	}
	if h, ok := l.w.store.head(); ok && h.Phase == plan.Stable {
		*e = economy{clear: l.alike(), at: e.at, began: l.w.now}
	}
}

// allNamed reports whether the plan names every session that there is.
func (l *ledger) allNamed() bool {
	return !slices.ContainsFunc(l.w.hosts, func(h *host) bool {
		p := h.proc
		return p != nil && !h.spec.Idle && (p.leaving || p.workerID == "" || l.slices[p.workerID].Session != p.answering)
	})
}

// alike reports whether any partition is as good as any other, and any worker, too.
func (l *ledger) alike() bool {
	parts, first := l.w.source.all(), l.w.hosts[0].spec
	return !l.w.store.controlled() &&
		!slices.ContainsFunc(parts, func(p plan.Partition) bool { return p.Load() != parts[0].Load() }) &&
		!slices.ContainsFunc(l.w.hosts, func(h *host) bool { return h.spec.Capacity > 0 || h.spec.Share != first.Share })
}
