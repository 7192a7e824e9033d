package admin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// session tells what a record of a session has that the one before had not.
func (t *teller) session(id string, e kv.Entry) {
	before, was := t.p.sessions[id]
	if e.Gone {
		return // it may come back, and says so; whether it is lost the leader says
	}
	var s roster.Session
	if !take(t.p, e, &s) {
		return
	}
	t.p.sessions[id] = s
	fresh := !was || before.Nonce != s.Nonce
	switch {
	case s.Tombstone != nil:
		if fresh || before.Tombstone == nil {
			t.say(Event{Kind: WorkerLost, Worker: id, Text: id + " is declared lost: " + s.Tombstone.Why})
		}
	case s.Left:
		if fresh || !before.Left {
			t.say(Event{Kind: WorkerLeft, Worker: id, Text: id + " has left"})
		}
	case fresh && s.Resumed, !fresh && s.Resumed && !before.Resumed:
		t.say(Event{Kind: WorkerBack, Worker: id, Text: id + " is back with what it ran"})
	case fresh:
		t.say(Event{Kind: WorkerJoined, Worker: id, Text: id + " joined" + from(s)})
	case s.Leaving && !before.Leaving:
		t.say(Event{Kind: WorkerLeaving, Worker: id, Text: id + " stops"})
	}
}

func from(s roster.Session) string {
	var parts []string
	if s.Host != "" {
		parts = append(parts, "on "+s.Host)
	}
	if s.Software != "" {
		parts = append(parts, "running "+s.Software)
	}
	if len(parts) == 0 {
		return ""
	}
	return ", " + strings.Join(parts, ", ")
}

func (t *teller) control(name string, e kv.Entry) {
	key := wire.Key{Kind: wire.Control, Name: name}
	at := slices.IndexFunc(t.p.controls, func(c plan.Control) bool { return keyOf(c) == key })
	if e.Gone {
		if at >= 0 {
			c := t.p.controls[at]
			t.p.controls = slices.Delete(t.p.controls, at, at+1)
			t.ended(c)
		}
		return
	}
	var c plan.Control
	if !take(t.p, e, &c) {
		return
	}
	if at >= 0 {
		t.p.controls[at] = c
	} else {
		t.p.controls = append(t.p.controls, c)
	}
	text := someone(c.Who) + ": " + describe(c)
	if c.Why != "" {
		text += " (" + c.Why + ")"
	}
	t.say(Event{Kind: ControlSet, Worker: c.Worker, Partition: c.Partition, Text: text, Control: &c})
}

// ended tells that the record of an order is gone.
func (t *teller) ended(c plan.Control) {
	if oneTime(c.Kind) {
		return
	}
	text := "taken back: "
	if !c.Until.IsZero() && !t.now().Before(c.Until) {
		text = "its time is over: " // the record outlives the order
	}
	t.say(Event{Kind: ControlEnded, Worker: c.Worker, Partition: c.Partition, Text: text + describe(c), Control: &c})
}

func (t *teller) aside(e kv.Entry) {
	before := t.p.aside
	var now []plan.Aside
	if !e.Gone && !take(t.p, e, &now) {
		return
	}
	t.p.aside = now
	out := func(a plan.Aside) bool { return a.Why == plan.WhyDone || a.For > 0 }
	for _, a := range now {
		if was := slices.ContainsFunc(before, func(b plan.Aside) bool { return b.Partition == a.Partition && out(b) }); out(a) && !was {
			text := a.Partition + " is done"
			if a.Why == plan.WhyQuarantine {
				text = fmt.Sprintf("%s is quarantined for %s: %s crashed with it", a.Partition, Duration(a.For.Duration()), strings.Join(a.Owners, ", "))
			}
			t.say(Event{Kind: SetAside, Partition: a.Partition, Text: text})
		}
	}
	for _, b := range before {
		if still := slices.ContainsFunc(now, func(a plan.Aside) bool { return a.Partition == b.Partition && out(a) }); out(b) && !still {
			t.say(Event{Kind: LetIn, Partition: b.Partition, Text: b.Partition + " is let in again"})
		}
	}
}

// DescribeDecision says in one line what a decision did and why: "plan 1.45: worker-3 is lost;
// 17 granted".
func DescribeDecision(d plan.Decision) string {
	why := d.About
	if why == "" {
		why = Reason(d.Why)
	}
	counts := map[plan.Step]int{}
	for _, m := range d.Moves {
		counts[m.Step]++
	}
	var parts []string
	for _, s := range []struct {
		step plan.Step
		says string
	}{
		{plan.Revoked, "asked back"}, {plan.Granted, "granted"}, {plan.Adopted, "adopted"}, {plan.Rerouted, "redirected"}, {plan.Dropped, "dropped"},
	} {
		if n := counts[s.step]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", number(n), s.says))
		}
	}
	if d.More > 0 {
		parts = append(parts, number(d.More)+" more")
	}
	if len(parts) == 0 {
		parts = []string{"nothing moves"}
	}
	return fmt.Sprintf("plan %v: %s; %s", d.Version, why, strings.Join(parts, ", "))
}

// Reason is a plan's or a move's reason in words that finish "because ".
func Reason(w plan.Why) string {
	if text, ok := reasons[w]; ok {
		return text
	}
	return w.String()
}

var reasons = map[plan.Why]string{
	plan.WhyNone:        "nobody has said why",
	plan.WhyFirstPlan:   "it was the group's first plan",
	plan.WhyRestarted:   "most of the group had restarted",
	plan.WhyRecovered:   "the store was lost, and the plan was rebuilt from what workers held",
	plan.WhyJoined:      "a worker had joined",
	plan.WhyReplaced:    "a worker had taken another's place",
	plan.WhyLeaving:     "its worker stopped",
	plan.WhyLost:        "its worker was lost",
	plan.WhyDrain:       "an operator drained its worker",
	plan.WhyPartitions:  "the list of partitions had changed",
	plan.WhyWeights:     "weights or labels of partitions had changed",
	plan.WhyPin:         "a pin demands it",
	plan.WhySettings:    "what operators want had changed, or a worker's share, capacity, zone or labels",
	plan.WhyRebalance:   "an operator asked for evenness",
	plan.WhyBalance:     "the load was uneven",
	plan.WhyReceipt:     "its former owner had let go",
	plan.WhyQuarantine:  "its quarantine was over, or began",
	plan.WhyRejected:    "its handler rejected it",
	plan.WhyDone:        "its handler was done with it",
	plan.WhyCapacity:    "there was no room for it elsewhere",
	plan.WhyReturn:      "it went back to where it was before",
	plan.WhyTerm:        "a new leader took over",
	plan.WhyOverload:    "its worker had more than it should",
	plan.WhyNewCapacity: "its next worker had less than it should",
	plan.WhyZone:        "too many of its label were in one zone",
	plan.WhyBan:         "an operator banned it from where it was",
	plan.WhyMove:        "an operator moved it",
}
