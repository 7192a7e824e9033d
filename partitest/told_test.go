package partitest

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/plan"
)

// A timeline has what was done to a partition, and what explains it: what those say who had
// it, and what leaders say of the fleet; not what others do.
func TestLedgerTimeline(t *testing.T) {
	l := NewLedger(t)
	at := time.Now()
	enter := func(worker string, all ...Entry) {
		for _, e := range all {
			at = at.Add(time.Second)
			e.At, e.Worker = at, worker
			l.Enter(e)
		}
	}
	tell := func(worker string, e parti.Event) { enter(worker, accountOf(e)...) }
	enter("a", Entry{What: Started, Partition: "p", Token: 1})
	enter("b", Entry{What: Started, Partition: "q", Token: 1})
	tell("a", event.StateChanged{From: "Stable", To: "Degraded"})
	tell("b", event.StateChanged{From: "Stable", To: "Degraded"})
	tell("c", event.Lost{Worker: "worker-1", Session: "ABCDEFGHIJ", Why: "no responders for 1.5s"})
	tell("c", event.Planned{Decision: plan.Decision{Moves: []plan.Move{
		{Partition: "p", Step: plan.Granted, From: "worker-1", To: "worker-2", Why: plan.WhyLost},
		{Partition: "q", Step: plan.Revoked, From: "worker-2", Why: plan.WhyBalance},
	}}})
	enter("b", Entry{What: Crashed})
	enter("a", Entry{What: Crashed})
	got := regexp.MustCompile(` +`).ReplaceAllString(l.Timeline("p"), " ")
	want := strings.Join([]string{
		" 0.000s a starts p (token 1)",
		" 2.000s a: is Degraded, was Stable",
		" 4.000s c: declares worker-1 lost, session ABCDEF: no responders for 1.5s",
		" 5.000s c on p: plans 0.0: grant from worker-1 to worker-2 (lost)",
		" 8.000s a crashes",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n := strings.Count(l.Timeline(""), "\n"); n != 8 {
		t.Errorf("that of all has %d lines:\n%s", n+1, l.Timeline(""))
	}
}

// Every event is told or left out without harm, whatever is missing in it.
func TestLedgerToldOfNothing(t *testing.T) {
	for _, e := range []parti.Event{
		event.StateChanged{},
		event.Claimed{},
		event.SessionLost{},
		event.SessionResumed{},
		event.Assigned{},
		event.Revoked{},
		event.Released{},
		event.Stuck{},
		event.Led{},
		event.Deposed{},
		event.Planned{Decision: plan.Decision{Moves: make([]plan.Move, 1)}},
		event.Refused{},
		event.Suspected{},
		event.Recovered{},
		event.Lost{},
		event.Doubted{},
		event.Trusted{},
		event.Degraded{},
		event.StoreRenewed{},
		event.Failed{},
		event.Dropped{},
	} {
		for _, told := range accountOf(e) {
			if told.What != Told || told.Text == "" || strings.Contains(told.Text, "%!") {
				t.Errorf("%T: %+v", e, told)
			}
		}
	}
}
