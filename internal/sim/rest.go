package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// second looks for what has lasted too long, and whether the group has settled.
func (l *ledger) second() {
	l.overlaps = slices.DeleteFunc(l.overlaps, func(o *overlap) bool { return o.a.ended || o.b.ended })
	for _, o := range l.overlaps {
		if why := l.excuse(o); why != "" {
			l.break_(PromiseOneOwner, o.a.lease.Partition, "since %s %s is run by %s@%s and by %s@%s: %s",
				o.since, o.a.lease.Partition, o.a.nonce, o.a.lease.Token, o.b.nonce, o.b.lease.Token, why)
			return
		}
	}
	if l.w.store.ill() {
		l.ill = l.w.now
	}
	l.truth()
	l.claimOrphans()
	l.rest()
	l.obeyed()
	if l.settled < 0 && l.w.now > 10*time.Second && l.unsettled() == "" && l.w.now-l.lastPlan > 15*time.Second {
		l.settled, l.w.stats.Settled = l.w.now, l.w.now
		l.since = counts{terms: map[uint64]bool{l.head.Term: true}, home: l.homes()}
		l.w.stats.MaxBare = 0
		l.w.say("-- settled --")
	}
	if sc := l.w.sc; l.w.now >= sc.Run+sc.bound() && !l.w.over {
		if why := l.unsettled(); why != "" {
			l.break_(PromiseRuns, l.unsettledPartition(), "%s after the last fault: %s", l.w.now-sc.Run, why)
		}
	}
}

// truth checks that nobody says Stable who cannot have heard anything for long.
func (l *ledger) truth() {
	s := l.w.sc.Settings
	for _, h := range l.w.hosts {
		p := h.proc
		if p == nil || p.frozen > 0 || p.state != member.Stable || l.w.now < h.unwell || h.lag > 0 || h.rate != h.spec.Rate {
			continue
		}
		x := l.byNonce[p.answering]
		if x == nil || x.worker == "" {
			continue
		}
		limit := x.ttl + s.EnterAfter + s.OpTimeout + 5*time.Second
		if silent := l.w.now - x.renewed; silent > limit && l.w.now-p.booted > limit {
			l.break_(PromiseTruth, "", "host %d says Stable, and its session was last renewed %s ago", h.n, silent)
			return
		}
	}
}

// unsettled says why the group is not at rest with everything running; nothing if it is.
func (l *ledger) unsettled() string {
	why, _ := l.restless()
	return why
}

func (l *ledger) unsettledPartition() string {
	_, id := l.restless()
	return id
}

func (l *ledger) restless() (why, id string) {
	aside := map[string]bool{}
	for _, a := range l.w.store.aside() {
		aside[a.Partition] = a.Why == plan.WhyDone || a.For > 0
	}
	for _, p := range l.w.source.all() {
		switch n := len(l.running[p.ID]); {
		case n == 1, n == 0 && aside[p.ID]:
		case n == 0 && !l.fits(p):
		case n == 0 && l.w.now < l.lifted+time.Second && l.w.now > time.Second: // its quarantine is over only just now
		case n == 0:
			return fmt.Sprintf("%s does not run (%s)", p.ID, l.story(p.ID)), p.ID
		default:
			return fmt.Sprintf("%s has %d owners", p.ID, n), p.ID
		}
	}
	return "", ""
}

// fits reports whether some worker has room for a partition: where capacities are set,
// what fits nowhere waits.
func (l *ledger) fits(p plan.Partition) bool {
	load := map[*host]int64{}
	for _, q := range l.w.source.all() {
		for _, r := range l.running[q.ID] {
			load[r.p.host] += q.Load()
		}
	}
	return slices.ContainsFunc(l.w.hosts, func(h *host) bool {
		return h.proc != nil && !h.spec.Idle && !l.spare(h.proc) && (h.spec.Capacity == 0 || load[h]+p.Load() <= h.spec.Capacity)
	})
}

// spare reports whether a process has no worker ID, and there are not enough for all.
func (l *ledger) spare(p *process) bool {
	return p.state == member.ClaimingID && p.workerID == "" && l.lacking() > 0
}

// lacking is how many processes there are more than worker IDs.
func (l *ledger) lacking() int {
	n := -l.w.sc.Settings.Workers
	for _, h := range l.w.hosts {
		if h.proc != nil {
			n++
		}
	}
	return n
}

// story is where a partition is, for people.
func (l *ledger) story(id string) string {
	at, ok := l.place[id]
	if !ok {
		return "in no slice"
	}
	s := l.slices[at]
	for _, g := range s.Granted {
		if g.ID == id {
			return fmt.Sprintf("granted to %s/%s with token %s", at, s.Session, g.Token)
		}
	}
	for _, r := range s.Releasing {
		if r.ID == id {
			return fmt.Sprintf("being released by %s/%s since %s", at, s.Session, r.Since)
		}
	}
	return "nowhere"
}

// end checks what must be so at the end of every run.
func (l *ledger) end() {
	sc := l.w.sc
	if why, id := l.restless(); why != "" {
		l.break_(PromiseRuns, id, "at the end: %s", why)
		return
	}
	// Promise 8: plans stop.
	if quiet := l.w.now - l.lastPlan; sc.Quiet >= sc.bound()+time.Minute && quiet < 30*time.Second && l.lastCause != plan.WhyQuarantine {
		l.break_(PromiseSettles, "", "the last plan, because of %q, is only %s old, %s after the last fault", l.lastCause, quiet, l.w.now-sc.Run)
		return
	}
	if h, ok := l.w.store.head(); ok && sc.Quiet >= sc.bound()+time.Minute && h.Phase != plan.Stable {
		l.break_(PromiseSettles, "", "the phase is %s, %s after the last fault", h.Phase, l.w.now-sc.Run)
		return
	}
	leaders, spares := 0, 0
	for _, h := range l.w.hosts {
		if h.proc == nil {
			continue
		}
		if h.proc.leading {
			leaders++
		}
		if l.spare(h.proc) {
			spares++
			continue
		}
		if h.proc.state != member.Stable && !h.proc.leaving {
			l.break_(PromiseTruth, "", "host %d is in state %d, %s after the last fault", h.n, h.proc.state, l.w.now-sc.Run)
			return
		}
	}
	if leaders != 1 {
		l.break_(PromiseSettles, "", "%d leaders, %s after the last fault", leaders, l.w.now-sc.Run)
	}
	if spares > max(0, l.lacking()) {
		l.break_(PromiseSettles, "", "%d wait for a worker ID, and there are only %d too few, %s after the last fault", spares, l.lacking(), l.w.now-sc.Run)
	}
	l.even()
	l.alarms()
	l.claimCost()
	l.claimHome()
}

// alarms checks the other half of promise 8 at the end of a run: an alert names what waits,
// and none stands about what is over.
func (l *ledger) alarms() {
	if l.w.now-max(l.lifted, l.lastPlan) < 5*time.Second || l.w.store.controlled() {
		return // it may only be about to be said; operators may want what cannot be
	}
	waits, kept := map[string]bool{}, map[string]bool{}
	for _, a := range l.w.store.aside() {
		kept[a.Partition] = a.Why == plan.WhyDone || a.For > 0
		if a.Why == plan.WhyQuarantine && a.For > 0 {
			waits["quarantine "+a.Partition] = true
		}
	}
	for _, p := range l.w.source.all() {
		if len(l.running[p.ID]) == 0 && !kept[p.ID] {
			waits["unassigned"] = true
		}
	}
	said := map[string]string{}
	for key, text := range l.alerts {
		_, about, _ := strings.Cut(key, "/")
		said[about] = text
	}
	for _, about := range slices.Sorted(maps.Keys(waits)) {
		if said[about] == "" {
			l.break_(PromiseSettles, "", "something waits, and nobody gives an alert about %q", about)
		}
	}
	for _, about := range slices.Sorted(maps.Keys(said)) {
		if !waits[about] && about != "spare" {
			l.break_(PromiseTruth, "", "nothing is behind the alert about %q: %s", about, said[about])
		}
	}
}

// even checks that nothing is left to be done once plans have stopped: asked about the
// fleet as it is, the strategy moves nothing, even if no more than weights had changed.
func (l *ledger) even() {
	if l.w.store.controlled() {
		return // operators want it otherwise
	}
	in := plan.Input{Cause: plan.Loads}
	at := map[string]int{}
	for _, h := range l.w.hosts {
		if p := h.proc; p != nil && !p.leaving && p.workerID != "" && !h.spec.Idle {
			in.Workers = append(in.Workers, plan.Worker{ID: p.workerID, Share: h.spec.Share, Capacity: h.spec.Capacity})
		}
	}
	slices.SortFunc(in.Workers, func(a, b plan.Worker) int { return strings.Compare(a.ID, b.ID) })
	for i, x := range in.Workers {
		at[x.ID] = i
	}
	kept := map[string]bool{}
	for _, a := range l.w.store.aside() {
		kept[a.Partition] = a.Why == plan.WhyDone || a.For > 0
	}
	for _, p := range l.w.source.all() {
		for _, r := range l.running[p.ID] {
			in.Partitions = append(in.Partitions, p)
			in.Current = append(in.Current, at[r.p.workerID])
			in.Home = append(in.Home, r.p.workerID)
		}
		if len(l.running[p.ID]) == 0 && !kept[p.ID] { // there is no room for it, and leaders ask for it, too
			in.Partitions, in.Current, in.Home = append(in.Partitions, p), append(in.Current, -1), append(in.Home, "")
		}
	}
	to, err := strategy.Sticky().Assign(in)
	if err != nil {
		l.break_(PromiseEven, "", "the strategy refuses the fleet as it is: %v", err)
		return
	}
	for i, w := range to {
		if w == in.Current[i] || in.Current[i] < 0 { // whether there is room for it is asked above
			continue
		}
		load := make([]string, len(in.Workers))
		for j, x := range in.Workers {
			var sum int64
			for k := range in.Partitions {
				if in.Current[k] == j {
					sum += in.Partitions[k].Load()
				}
			}
			load[j] = fmt.Sprintf("%s %d", x.ID, sum)
		}
		id := in.Partitions[i].ID
		l.break_(PromiseEven, "", "at rest, and %s should still move from %s: %s", id, in.Workers[in.Current[i]].ID, strings.Join(load, ", "))
		return
	}
}
