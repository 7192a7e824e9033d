package admin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/plan"
)

// sentence says the most important thing, and whether all is well and at rest. It notes where
// that is so but for a pause.
func sentence(s *Snapshot) (text string, settled bool) {
	c := &s.Counts
	of := number(c.Partitions) + " " + plural(c.Partitions, "partition")
	on := number(c.Workers) + " " + plural(c.Workers, "worker")
	switch {
	case s.Version == 0 && len(s.Workers) == 0:
		return "Nobody has been here yet.", false
	case c.Workers == 0:
		return "No worker is there. " + of + " run nowhere" + unlessCutOff(s) + ".", false
	case s.Leader == nil:
		return fmt.Sprintf("Nobody leads. %s on %s go on as they are.", of, on), false
	case s.Leader.Answers && !s.Leader.Leads:
		return fmt.Sprintf("The leader, %s, has not said yet what it is going to do. %s on %s go on as they are.", s.Leader.Worker, of, on), false
	case !s.Leader.Answers:
		return fmt.Sprintf("The leader, %s, does not answer. %s on %s go on as they are.", s.Leader.Worker, of, on), false
	case s.Phase == plan.ColdStart:
		return "No plan yet. " + first(s, "Waiting for workers."), false
	case c.Moving > 0:
		return fmt.Sprintf("Moving %s of %s: %s.", number(c.Moving), number(c.Partitions), waits(s)), false
	case c.Unassigned > 0:
		return fmt.Sprintf("%s of %s are unassigned. %s", number(c.Unassigned), of, first(s, "")), false
	case s.Phase == plan.Recovering && s.Doubt != "":
		return "Nobody is declared lost for the time being: " + s.Doubt + ".", false
	case s.Phase == plan.Recovering:
		return "Rebuilding the plan from what workers hold. " + first(s, ""), false
	case s.Phase == plan.Emergency:
		return "A worker is lost, and its partitions are being placed. " + first(s, ""), false
	}
	text = "Settled. "
	if s.paused() {
		text = "Paused. "
	}
	in := max(c.Partitions-c.Aside, 0)
	text += fmt.Sprintf("%s %s on %s%s.", number(in), plural(in, "partition"), on, aside(s))
	switch {
	case s.Unheard:
		return text + " The leader has not heard of an order yet.", false
	case len(s.Pending) > 0:
		return text + " " + first(s, ""), false
	case suspects(s) != "":
		return text + " " + suspects(s), false
	case len(s.Unreadable) > 0:
		return fmt.Sprintf("%s %s cannot be read.", text, s.Unreadable[0].Key), false
	case idle(s) > 0:
		return fmt.Sprintf("%s %s of them %s not running.", text, number(idle(s)), map[bool]string{true: "is", false: "are"}[idle(s) == 1]), false
	case s.paused():
		s.resting = true
		return text + " Nothing moves for evenness" + until(s, plan.Pause) + ".", false
	case s.Phase != plan.Stable:
		return text + " The leader is " + strings.ToLower(s.Phase.String()) + ".", false
	}
	if n := len(s.Alerts); n > 0 {
		return fmt.Sprintf("%s Nothing pending; %d %s.", text, n, plural(n, "alert")), true
	}
	return text + " Nothing pending.", true
}

// paused is whether nothing moves for evenness since an operator wants it so. A leader writes
// its phase a moment after it has heard of a pause.
func (s *Snapshot) paused() bool {
	if s.Phase != plan.Stable {
		return s.Phase == plan.Paused
	}
	return s.Leader != nil && s.Leader.Leads && s.Leader.Answers && !s.Unheard &&
		slices.ContainsFunc(s.Controls, func(c plan.Control) bool { return c.Kind == plan.Pause })
}

// unlessCutOff says what the records cannot know: one that freezes goes on while it does
// not reach NATS, although its key has lapsed.
func unlessCutOff(s *Snapshot) string {
	for _, w := range s.Workers {
		if w.Why == whyLapsed && w.Partitions > 0 && w.Isolation == parti.Freeze.String() {
			return ", unless on workers that are cut off from NATS"
		}
	}
	return ""
}

// aside says what is kept out of the plan.
func aside(s *Snapshot) string {
	var text strings.Builder
	for _, state := range []string{Quarantined, Done} {
		n := 0
		for _, p := range s.Partitions {
			if p.State == state {
				n++
			}
		}
		if n > 0 {
			fmt.Fprintf(&text, ", %s %s", number(n), state)
		}
	}
	return text.String()
}

// idle counts what is granted and does not run: it is about to start, or its handler has
// returned, and runs again after a back-off. Where somebody does not answer it is 0.
func idle(s *Snapshot) int {
	owned, running := 0, 0
	for _, w := range s.Workers {
		if w.Status == nil {
			return 0
		}
		owned += w.Partitions
		running += w.Running
	}
	return max(owned-running, 0)
}

// suspects names who is not well.
func suspects(s *Snapshot) string {
	for _, w := range s.Workers {
		if w.State == "suspect" || w.State == "vanished" || w.State == stateSilent {
			return fmt.Sprintf("%s is %s: %s.", w.ID, w.State, w.Why)
		}
		if n := w.Partitions + w.Releasing; w.State == stateEnded && n > 0 {
			return fmt.Sprintf("%s is gone (%s), and %s still stand in its name.", w.ID, w.Why, counted(n))
		}
	}
	return ""
}

// waits says what a move waits for.
func waits(s *Snapshot) string {
	for _, p := range s.Pending {
		if p.Holds != "" {
			return fmt.Sprintf("waiting for %s to let go (%s)", p.Holds, Duration(p.For.Duration()))
		}
	}
	for _, w := range s.Workers {
		if w.Releasing > 0 {
			return "waiting for " + w.ID + " to let go"
		}
	}
	return "on their way"
}

// first says what is pending first.
func first(s *Snapshot, otherwise string) string {
	if len(s.Pending) == 0 {
		return otherwise
	}
	switch p := s.Pending[0]; {
	case p.In == nil:
		return "Waiting: " + p.About + "."
	case p.Why == plan.WhyBalance && p.About == "seeing whether the load is even":
		return fmt.Sprintf("The leader sees whether the load is even in %s.", Duration(p.In.Duration()))
	default:
		return fmt.Sprintf("A plan follows in %s at the latest: %s.", Duration(p.In.Duration()), p.About)
	}
}

func until(s *Snapshot, kind plan.ControlKind) string {
	for _, c := range s.Controls {
		if c.Kind == kind && !c.Until.IsZero() {
			return " for " + Duration(c.Until.Sub(s.At))
		}
	}
	return ""
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// number writes n with a space between thousands: 1 024.
func number(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

// Duration writes a time as people say it: 0.4 s, 8 s, 3 m 10 s, 5 h 2 m, 12 d.
func Duration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d m %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d m", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d d", int(d.Hours())/24)
	}
}

// DescribeControl says what an operator wants, who it is, since when, until when and why.
// What is further away than a day is a time where now is.
func DescribeControl(c plan.Control, now time.Time) string {
	text := describe(c)
	if c.Who != "" {
		text += ", by " + c.Who
	}
	if !c.When.IsZero() {
		text += " " + Past(now, c.When)
	}
	if !c.Until.IsZero() {
		text += ", ends " + Until(now, c.Until)
	}
	if c.Why != "" {
		text += ": " + c.Why
	}
	return text
}

// DescribePending says what a leader waits for or is going to do, when, and why.
func DescribePending(p parti.Pending) string {
	switch {
	case p.In != nil:
		return fmt.Sprintf("in %s at the latest: %s (%v)", Duration(p.In.Duration()), p.About, p.Why)
	case p.For > 0:
		return fmt.Sprintf("waiting for %s: %s (%v)", Duration(p.For.Duration()), p.About, p.Why)
	default:
		return fmt.Sprintf("%s (%v)", p.About, p.Why)
	}
}

// Past says how long ago that was.
func Past(now, at time.Time) string {
	d := now.Sub(at)
	if d < time.Second {
		return "now"
	}
	return Duration(d) + " ago"
}

// Until says when that is to be: in so long, or when it is further away than a day.
func Until(now, at time.Time) string {
	d := at.Sub(now)
	switch {
	case d <= 0:
		return "now"
	case d < 24*time.Hour:
		return "in " + Duration(d)
	default:
		return "until " + at.In(now.Location()).Format("2006-01-02 15:04")
	}
}
