package sim

import (
	"time"

	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

// Behaviour is how the handlers of one host behave; the counts are of faults that
// are at work.
type behaviour struct {
	sluggish, stubborn, early, panics int
	deaf                              time.Duration // how long Hard is ignored
	rejects                           map[string]int
}

// A run is one handler at work.
type run struct {
	p     *process
	lease plan.Lease
	nonce string // of the session that it was started for
	since time.Duration

	stopping, hard bool
	hardAt         time.Duration
	deaf           bool // it has ignored Hard
	ended          bool
	gen            int // of the exit that is due
}

// begin starts a handler.
func (p *process) begin(g plan.Grant) {
	w := p.w
	r := &run{p: p, lease: plan.Lease{Partition: g.ID, Token: g.Token}, since: w.now}
	w.ledger.starting(p, r)
	if w.over {
		return
	}
	p.runs[r.lease] = r
	w.stats.Starts++
	w.mark(uint64(g.Token))
	w.after(500*time.Microsecond+w.upTo(10*time.Millisecond), func() {
		if !r.ended {
			p.tell(member.Started{Lease: r.lease})
		}
	})
	h := p.host
	switch {
	case w.poison[g.ID] > 0:
		w.after(100*time.Millisecond+w.upTo(300*time.Millisecond), func() {
			if p.alive && !r.ended && p.frozen == 0 && w.poison[g.ID] > 0 {
				w.touched(Poison)
				w.say("host %d: %s crashes the process", h.n, g.ID)
				w.ledger.poisoned(g.ID)
				p.die(false)
				w.after(2*time.Second, h.boot)
			}
		})
	case w.done[g.ID] > 0:
		w.touched(Done)
		r.exitWithin(time.Second, hold.Done)
	case h.does.rejects[g.ID] > 0:
		w.touched(Reject)
		r.exitWithin(time.Second, hold.Rejected)
	case h.does.panics > 0:
		w.touched(Panic)
		r.exitWithin(2*time.Second, hold.Failed)
	case h.does.early > 0:
		w.touched(Early)
		r.exitWithin(20*time.Second, hold.Returned)
	}
}

// stop ends the handler's context: an obedient one returns soon.
func (r *run) stop() {
	w, h := r.p.w, r.p.host
	if r.ended || r.stopping {
		return
	}
	r.stopping = true
	switch {
	case h.does.stubborn > 0 || h.does.deaf > 0:
		if h.does.stubborn > 0 {
			w.touched(Stubborn)
		}
	case h.does.sluggish > 0:
		w.touched(Sluggish)
		r.exitWithin(w.sc.Settings.Drain*3/2, hold.Returned)
	case w.rng.IntN(8) == 0:
		r.exitWithin(3*time.Second, hold.Returned)
	default:
		r.exitWithin(100*time.Millisecond, hold.Returned)
	}
}

// end ends Hard: only a deaf handler goes on.
func (r *run) end() {
	w, h := r.p.w, r.p.host
	if r.ended || r.hard {
		return
	}
	r.stopping, r.hard, r.hardAt = true, true, w.now
	if h.does.deaf > 0 {
		w.touched(DeafHard)
		r.deaf = true
		r.gen++
		gen := r.gen
		w.after(h.does.deaf, func() { r.exit(gen, hold.Failed) })
		return
	}
	r.exitWithin(w.sc.Settings.HardReturn, hold.Returned)
}

func (r *run) exitWithin(d time.Duration, how hold.How) {
	r.gen++
	gen := r.gen
	r.p.w.after(r.p.w.upTo(d), func() { r.exit(gen, how) })
}

// exit is the handler's return, unless the process cannot do anything now.
func (r *run) exit(gen int, how hold.How) {
	p := r.p
	if r.ended || !p.alive || r.gen != gen {
		return
	}
	if p.frozen > 0 {
		p.backlog = append(p.backlog, func() { r.exit(gen, how) })
		return
	}
	r.ended = true
	delete(p.runs, r.lease)
	p.w.ledger.ended(r, how)
	p.tell(member.Exited{Lease: r.lease, How: how})
}
