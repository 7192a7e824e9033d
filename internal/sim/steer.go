package sim

import (
	"slices"
	"time"

	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

// What operators want, and whether it is so. It is asked only while nothing has been wrong
// for a while but that workers come and go: else a leader may not know of it.

// orderly are the faults that do not keep a leader from hearing what operators want, nor a
// worker from doing it.
var orderly = []Kind{
	Crash, Vanish, Stop, Start, Gap, Twice, NoLeader,
	SourceError, SourceSlow, SourceHalf, SourceEmpty, SourceGarbage, SourceFlap, Add, Remove, Reweigh,
	CtlCordon, CtlDrain, CtlPin, CtlBan, CtlMove, CtlPause, CtlRebalance, CtlStepDown, CtlRefresh,
}

// troubledBy notes until when a fault excuses that orders are not obeyed. A rejection counts
// for a minute.
func (l *ledger) troubledBy(f *Fault) {
	if !slices.Contains(orderly, f.Kind) {
		l.troubled = max(l.troubled, l.w.now+f.For+time.Minute)
	}
}

// orders are what operators want: what stands, and moves.
func (l *ledger) orders() (out []plan.Control) {
	for _, r := range l.w.store.view().list(member.KindControl) {
		c, _ := r.Value.(plan.Control)
		switch c.Kind {
		case plan.Cordon, plan.Drain, plan.Pin, plan.Ban, plan.Pause, plan.MoveTo:
			out = append(out, c)
		default: // the rest says nothing of where anything should be
		}
	}
	return out
}

// stoodFor is for how long an order has been there.
func (l *ledger) stoodFor(c plan.Control) time.Duration { return l.w.now - c.When.Sub(epoch) }

// steered checks that a partition which goes to another worker is not banned from there,
// and that the worker is not drained or cordoned. What was on its way already may arrive.
func (l *ledger) steered(all []*lease, to *session, g *plan.Grant) {
	if l.w.now < l.troubled || len(all) > 0 && all[len(all)-1].s.worker == to.worker {
		return
	}
	s := &l.w.sc.Settings
	const heard = 10 * time.Second
	for _, c := range l.orders() {
		stood, broken := l.stoodFor(c), false
		switch c.Kind {
		case plan.Drain:
			broken = c.Worker == to.worker && stood > heard
		case plan.Ban:
			broken = c.Worker == to.worker && c.Partition == g.ID && stood > heard+s.ColdStart
		case plan.Cordon:
			broken = c.Worker == to.worker && stood > heard+s.ColdStart+s.Drain+s.HardReturn
		default: // the rest keeps nothing from anybody
		}
		if broken {
			l.break_(PromiseSteer, g.ID, "%s is granted to %s, which operators do not want (%s) for %s", g.ID, to.worker, c.Kind, stood)
			return
		}
	}
}

// exits checks that a process which ends because an operator wants it has a handler, of the
// very lease that he means, that has ignored Hard for long.
func (l *ledger) exits(p *process, c *plan.Control) {
	r := p.runs[plan.Lease{Partition: c.Partition, Token: c.Token}]
	if r == nil || r.nonce != c.Session || !r.hard || l.w.now-r.hardAt < 4*time.Second {
		l.break_(PromiseSteer, c.Partition, "host %d ends its process because of %s@%s, whose handler was not stuck", p.host.n, c.Partition, c.Token)
	}
}

// obeyed checks, while the group is at rest, that it is as operators want it.
func (l *ledger) obeyed() {
	s := &l.w.sc.Settings
	calm := s.Settle + s.Scale + s.Cooldown + 10*time.Second
	if l.w.now-l.lastPlan < calm || l.w.now < l.troubled {
		return
	}
	orders := l.orders()
	if len(orders) == 0 || l.unsettled() != "" || !l.allNamed() {
		return
	}
	barred, meant := map[string]bool{}, map[string]int{} // workers that take nothing new; orders about a partition
	for _, c := range orders {
		if l.stoodFor(c) < calm || c.Kind == plan.Pause {
			return // it may be about to be carried out; or nothing may move
		}
		barred[c.Worker] = barred[c.Worker] || c.Kind == plan.Cordon || c.Kind == plan.Drain
		if c.Partition != "" {
			meant[c.Partition]++
		}
	}
	able := 0 // those to whom anything may go
	for _, h := range l.w.hosts {
		if p := h.proc; p != nil && !h.spec.Idle && h.spec.Capacity == 0 && p.workerID != "" && !barred[p.workerID] {
			able++
		}
	}
	for _, c := range orders {
		at := l.place[c.Partition]
		there := l.byNonce[l.slices[c.Worker].Session]
		switch {
		case there == nil || !there.p.alive || there.ended >= 0:
		case c.Kind == plan.Drain && able > 0:
			for _, g := range l.slices[c.Worker].Granted {
				if meant[g.ID] == 0 {
					l.break_(PromiseSteer, g.ID, "%s is drained for %s, and still has %s", c.Worker, l.stoodFor(c), g.ID)
					return
				}
			}
		case c.Kind == plan.Ban && meant[c.Partition] == 1 && at == c.Worker && able > 1:
			l.break_(PromiseSteer, c.Partition, "%s is banned from %s for %s, and still there", c.Partition, c.Worker, l.stoodFor(c))
			return
		case c.Kind == plan.Pin && meant[c.Partition] == 1 && at != "" && at != c.Worker && !barred[c.Worker] && there.p.host.spec.Capacity == 0:
			l.break_(PromiseSteer, c.Partition, "%s is pinned to %s for %s, and runs on %s", c.Partition, c.Worker, l.stoodFor(c), at)
			return
		}
	}
}
