package hold

import "time"

// health is how the store answers, seen with some hysteresis.
type health struct {
	cfg    Degraded
	good   time.Time     // the last good answer
	streak time.Time     // the first of an unbroken row of good answers, while degraded
	bad    []time.Time   // the last errors, no more than it takes
	since  time.Time     // degraded since; zero: it is not
	left   time.Time     // when it last was no more
	worst  time.Time     // when there was last a reason to be degraded
	calm   time.Duration // how long there must be none to leave
}

func (h *health) degraded() bool { return !h.since.IsZero() }

// healthy notes a good answer. After a silence a new row begins.
func (h *health) healthy(now time.Time) {
	if h.streak.IsZero() || h.cfg.EnterAfter > 0 && now.Sub(h.good) >= h.cfg.EnterAfter {
		h.streak = now
	}
	h.good = now
}

// failing notes an error.
func (h *health) failing(now time.Time) {
	h.streak = time.Time{}
	if h.cfg.ErrorThreshold <= 0 {
		return
	}
	if len(h.bad) == h.cfg.ErrorThreshold {
		h.bad = append(h.bad[:0], h.bad[1:]...)
	}
	h.bad = append(h.bad, now)
	if h.failed(now) {
		h.worst = now
	}
}

// look enters or leaves degraded mode.
func (h *health) look(now time.Time, trusted bool) {
	bad := !trusted || h.silent(now)
	switch {
	case !h.degraded():
		if bad || h.failed(now) {
			h.since, h.streak, h.worst = now, time.Time{}, now
			h.calm = h.patience()
		}
	case bad:
		h.worst = now
	case !h.streak.IsZero() && h.good.Sub(h.streak) >= h.cfg.ExitAfter && (h.calm == h.cfg.ExitAfter || h.good.Sub(h.worst) >= h.calm):
		h.since, h.bad, h.left = time.Time{}, nil, now
	}
}

// patience is how long there must be no reason to be degraded: who was so a moment ago
// takes twice as long as then. Where some requests are answered and others are not, all
// looks well for a while again and again. An error now and then is no reason.
func (h *health) patience() time.Duration {
	if h.left.IsZero() || h.since.Sub(h.left) > h.cfg.ErrorWindow {
		return h.cfg.ExitAfter
	}
	return min(2*h.calm, max(h.cfg.ExitAfter, h.cfg.ErrorWindow))
}

// silent reports whether the store has not answered for too long.
func (h *health) silent(now time.Time) bool {
	return h.cfg.EnterAfter > 0 && now.Sub(h.good) >= h.cfg.EnterAfter
}

// failed reports whether it gave too many errors in the window.
func (h *health) failed(now time.Time) bool {
	n := h.cfg.ErrorThreshold
	return n > 0 && len(h.bad) == n && now.Sub(h.bad[0]) <= h.cfg.ErrorWindow
}
