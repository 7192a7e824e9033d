package sim

import (
	"time"

	"github.com/parti-go/parti/internal/roster"
)

// The claims of one scenario.

func (l *ledger) claim(kind ClaimKind) (Claim, bool) {
	for _, c := range l.w.sc.Claims {
		if c.Kind == kind {
			return c, true
		}
	}
	return Claim{}, false
}

func (l *ledger) claimStill(r *run) {
	if _, ok := l.claim(ClaimStill); ok {
		l.break_(PromiseRecovers, r.lease.Partition, "%s of host %d returned, and nothing should", r.lease.Partition, r.p.host.n)
	}
}

func (l *ledger) claimMoves() {
	if c, ok := l.claim(ClaimMoves); ok && l.since.moves > c.N {
		l.break_(PromiseMoves, "", "%d moves, and %d would do", l.since.moves, c.N)
	}
}

func (l *ledger) claimPlans() {
	if c, ok := l.claim(ClaimPlans); ok && l.since.sliced > c.N {
		l.break_(PromiseSettles, "", "%d plans with slices, and %d would do; the last because of %q", l.since.sliced, c.N, l.head.Why)
	}
}

// poisoned notes that a partition has crashed the process that ran it.
func (l *ledger) poisoned(id string) {
	l.w.stats.Poisoned++
	if c, ok := l.claim(ClaimCrashes); ok && l.w.stats.Poisoned > c.N {
		l.break_(PromiseRuns, id, "%s has crashed %d processes, and should be quarantined", id, l.w.stats.Poisoned)
	}
}

func (l *ledger) claimKeep(r *run) {
	if c, ok := l.claim(ClaimKeep); ok && l.since.lost > c.N {
		l.break_(PromiseMoves, r.lease.Partition, "%s of host %d returned, which nobody has stopped; %d have, and %d would do",
			r.lease.Partition, r.p.host.n, l.since.lost, c.N)
	}
}

// homes is which worker ID runs each partition.
func (l *ledger) homes() map[string]string {
	homes := map[string]string{}
	for id, runs := range l.running {
		for _, r := range runs {
			homes[id] = r.p.workerID
		}
	}
	return homes
}

func (l *ledger) claimHome() {
	c, ok := l.claim(ClaimHome)
	if !ok || l.settled < 0 || l.w.over {
		return
	}
	now, same := l.homes(), 0
	for id, worker := range l.since.home {
		if now[id] == worker {
			same++
		}
	}
	if 100*same < c.N*len(l.since.home) {
		l.break_(PromiseMoves, "", "%d of %d partitions run under the worker ID that had them, and %d percent should", same, len(l.since.home), c.N)
	}
}

func (l *ledger) claimWithin(id string, d time.Duration) {
	if c, ok := l.claim(ClaimWithin); ok && d > c.D {
		l.break_(PromiseRuns, id, "%s did not run for %s", id, d)
	}
}

func (l *ledger) claimOrphans() {
	c, ok := l.claim(ClaimOrphans)
	if !ok || l.settled < 0 {
		return
	}
	for _, p := range l.w.source.all() {
		all := l.leases[p.ID]
		if len(all) == 0 {
			continue
		}
		g := all[len(all)-1]
		if g.s.how == roster.EndTombstone && l.w.now-g.s.ended > c.D {
			l.break_(PromiseRuns, p.ID, "%s of the lost %s was not granted anew for %s", p.ID, g.s.nonce, l.w.now-g.s.ended)
			return
		}
	}
}

func (l *ledger) claimOneTerm() {
	if _, ok := l.claim(ClaimOneTerm); ok && len(l.since.terms) > 1 {
		l.break_(PromiseFlapping, "", "the leader changed for no reason")
	}
}

func (l *ledger) claimCalm(p *process, what string) {
	if _, ok := l.claim(ClaimCalm); ok && l.settled >= 0 {
		l.break_(PromiseFlapping, "", "host %d %s for no reason", p.host.n, what)
	}
}

// claimCost checks promise 11 where nothing happened at all: one renewal per worker
// and interval, as many of the leader key, three reads per worker and reconciling
// interval, a few listings, and probes.
func (l *ledger) claimCost() {
	if _, ok := l.claim(ClaimCalm); !ok || l.settled < 0 || l.w.over || len(l.w.sc.Faults) > 0 {
		return
	}
	span := l.w.now - l.settled
	n := 0
	for _, h := range l.w.hosts {
		if h.proc != nil {
			n++
		}
	}
	beats := int(span/l.w.sc.Settings.Heartbeat) + 1
	if most := n * beats * 107 / 100; l.since.renewals > most {
		l.break_(PromiseCost, "", "%d renewals of %d workers in %s; %d would do", l.since.renewals, n, span, n*beats)
	}
	if most := beats * 107 / 100; l.since.leader > most {
		l.break_(PromiseCost, "", "%d renewals of the leader key in %s; %d would do", l.since.leader, span, beats)
	}
	s := l.w.sc.Settings
	if most := n * 3 * (int(span/s.Reconcile) + 1) * 125 / 100; l.since.reads > most {
		l.break_(PromiseCost, "", "%d reads of %d workers in %s; %d would do", l.since.reads, n, span, most)
	}
	if most := 2 * (int(span/(6*s.Reconcile)) + 2); l.since.lists > most {
		l.break_(PromiseCost, "", "%d listings in %s; %d would do", l.since.lists, span, most)
	}
	// The leader looks after all others, and all others after the leader.
	if most := 2 * n * (int(span/s.Probe) + 1) * 107 / 100; l.since.probes > most {
		l.break_(PromiseCost, "", "%d probes of %d workers in %s; %d would do", l.since.probes, n, span, most)
	}
	if l.since.planned > 0 {
		l.break_(PromiseSettles, "", "%d plans though nothing happened", l.since.planned)
	}
}
