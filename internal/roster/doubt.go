package roster

import "time"

// massWithin and the third of reconsider say when many vanish at once: then the
// fault is more likely ours than theirs.
const massWithin = 2 * time.Second

// health is what the leader knows of the store by its own accepted writes.
type health struct {
	since time.Time // healthy since; silence counts from here
	last  time.Time // last accepted write
	gap   bool      // interrupted since the last accepted write
}

func (h *health) begin(now time.Time) { h.since, h.last = now, now }

// good reports whether the store is provably healthy: this leader's own writes are
// accepted, and lately.
func (h *health) good(now time.Time, heartbeat time.Duration) bool {
	return !h.gap && now.Sub(h.last) <= 3*heartbeat
}

// Accepted says that the store has taken a write of this leader.
func (r *Roster) Accepted(now time.Time) {
	h := &r.health
	if !h.good(now, r.cfg.Heartbeat) {
		h.since = now // after a gap silence is counted anew
		r.next = time.Time{}
	}
	h.last, h.gap = now, false
	r.doubt.accepted = true
}

// Interrupted says that the way to the store was lost, or changed, or that changes
// may have been missed. It begins doubt.
func (r *Roster) Interrupted(now time.Time) {
	r.health.gap = true
	for _, m := range r.members {
		m.answered, m.deaf = false, time.Time{} // on this connection it has not
		m.probing, m.probeAt = false, now
	}
	r.begin(now, "the connection to the store was interrupted")
}

// doubt is a time in which nobody is declared lost.
type doubt struct {
	on       bool
	why      string
	first    time.Time // when it began
	since    time.Time // when there was last a reason for it
	accepted bool      // a write of the leader was accepted since
}

// Doubt reports whether the leader declares nobody lost for the time being, and why.
func (r *Roster) Doubt() (why string, on bool) { return r.doubt.why, r.doubt.on }

// begin begins doubt, or begins it anew: but what is in doubt again and again is not
// in doubt for ever.
func (r *Roster) begin(now time.Time, why string) {
	first := now
	if r.doubt.on {
		first = r.doubt.first
	}
	r.doubt = doubt{on: true, why: why, first: first, since: now}
	r.next = time.Time{}
}

// reconsider begins doubt when many have become suspect at once, and ends it when
// there is reason to trust our own view again.
func (r *Roster) reconsider(now time.Time, suspects int) {
	d := &r.doubt
	if !d.on {
		others := 0
		for _, m := range r.members {
			if m.Session.Nonce != r.cfg.Self && (m.State != Ended) {
				others++
			}
		}
		if suspects >= 2 && 3*suspects > others {
			r.begin(now, "many workers fell silent at once")
		}
		return
	}
	least := d.since.Add(r.cfg.RecoveryGrace)
	most := d.first.Add(r.cfg.RecoveryGrace + r.cfg.TTL)
	switch {
	case now.Before(least) && now.Before(most):
		r.by(least)
	case now.Before(most) && !(d.accepted && r.settled()):
		r.by(most) // or when a probe answers
	default:
		r.doubt = doubt{}
	}
}

// settled reports whether probes have answered either way, since doubt began, for
// everybody who is not plainly there.
func (r *Roster) settled() bool {
	for _, m := range r.members {
		if m.State >= Suspect && m.State != Ended && m.Session.Nonce != r.cfg.Self && m.reply.Before(r.doubt.since) {
			return false
		}
	}
	return true
}
