package lead

import (
	"slices"
	"time"

	"github.com/parti-go/parti/plan"
)

// A window gathers what would each be worth a plan, so that one plan serves all.
type window struct {
	why   plan.Why
	about string
	since time.Time // it opened
	join  time.Time // the last join in it
	who   []string  // has joined in it
}

// wishes are the reasons to replan, each with what it waits for.
//
//	first plan, restart of most   ExpectedWorkers, or Settle without a join, at most ColdStart
//	joined, partitions, settings  Settle without a join, at most Scale; and the Cooldown
//	evening out after a loss      Scale, since a replacement may come; and the Cooldown
//	or a stop
//	leaving, lost, drained        nothing; these are not here, but read off the partitions
type wishes struct {
	cold    *window
	planned *window
	at      time.Time // of the last voluntary plan
	asked   bool      // an operator wants to rebalance at once

	// look is when to ask the strategy about what nobody tells of: the former leader's
	// last wishes, or what could not go to somebody who took nothing then. Zero: never.
	look time.Time

	retry time.Time // the strategy failed; not before
	unmet bool      // somebody has no slice yet, for want of room in a commit

	trigger plan.Why // why the next commit is made, when it is no window
	about   string
	from    time.Time // since when

	adopting   bool
	adoptUntil time.Time
}

func (w *wishes) open(now time.Time, why plan.Why, about string) *window {
	if w.cold != nil {
		return w.cold
	}
	switch {
	case w.planned == nil:
		w.planned = &window{why: why, about: about, since: now, join: now}
	case w.planned.why == plan.WhyBalance && why == plan.WhyWeights: // a replacement may come all the same
	case w.planned.why == plan.WhyBalance && why != plan.WhyBalance: // it did not settle: it waited for a replacement
		w.planned.why, w.planned.about, w.planned.join = why, about, now
	case w.planned.why == plan.WhyWeights: // whatever else has happened is more than that
		w.planned.why, w.planned.about = why, about
	}
	return w.planned
}

func (w *wishes) joined(now time.Time, id string) {
	x := w.open(now, plan.WhyJoined, id+" joined")
	x.join = now
	if !slices.Contains(x.who, id) {
		x.who = append(x.who, id)
	}
	if x.why == plan.WhyJoined || x.why == plan.WhyReplaced {
		x.about = people(x.who) + " joined"
	}
}
func (w *wishes) partitions(now time.Time, about string) { w.open(now, plan.WhyPartitions, about) }
func (w *wishes) weights(now time.Time, about string)    { w.open(now, plan.WhyWeights, about) }
func (w *wishes) settings(now time.Time, about string)   { w.open(now, plan.WhySettings, about) }

// lost opens the window in which things are evened out later. What the worker had
// does not wait for it.
func (w *wishes) lost(now time.Time, who []string) {
	names, are := people(who), " is lost"
	if len(who) > 1 {
		are = " are lost"
	}
	w.because(now, plan.WhyLost, names+are)
	if p := w.planned; p != nil && p.why == plan.WhyJoined {
		p.why = plan.WhyReplaced
	}
	w.open(now, plan.WhyBalance, "evening out after the loss of "+names)
}

// left is lost for a worker that has let go of something and stops.
func (w *wishes) left(now time.Time, id string) {
	w.open(now, plan.WhyBalance, "evening out after "+id+" has left")
}

// back is the return of a worker to what waited for it, or what it still holds.
func (w *wishes) back(now time.Time, id string) {
	w.because(now, plan.WhyReturn, id+" is back")
	if w.adopting {
		w.because(now, plan.WhyRecovered, id+" resumed with what it holds")
	}
}

func (w *wishes) because(now time.Time, why plan.Why, about string) {
	if w.trigger == plan.WhyNone || w.trigger == plan.WhyReceipt || (why == plan.WhyLost && w.trigger != why) {
		w.trigger, w.about, w.from = why, about, now
	}
}

// due is when a window closes: early once nobody has joined for Settle, unless it only
// waits for a replacement.
func (m *Machine) due(w *window) time.Time {
	settle, most := w.join.Add(m.cfg.Settle), w.since.Add(m.cfg.Scale)
	if w.why == plan.WhyBalance {
		settle = most
	}
	if w == m.wishes.cold {
		most = w.since.Add(m.cfg.ColdStart)
		if n := m.cfg.ExpectedWorkers; n > 0 && m.owners() >= n {
			return m.now
		}
	}
	at := settle
	if most.Before(at) {
		at = most
	}
	if w == m.wishes.cold {
		return at
	}
	return m.cooled(at)
}

// cooled is at, or when the Cooldown is over if that is later.
func (m *Machine) cooled(at time.Time) time.Time {
	if cool := m.wishes.at.Add(m.cfg.Cooldown); !m.wishes.at.IsZero() && cool.After(at) {
		return cool
	}
	return at
}
