package run

import (
	"fmt"
	"strings"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/event"
)

// event tells of what the worker says of itself and, while it leads, of the group.
func (t *talk) event(e parti.Event) {
	if r := recordOf(e); r.Event != "" {
		t.say(r)
	}
}

// recordOf puts an event into words. What the commands' own events tell is left out.
func recordOf(e parti.Event) record {
	switch e := e.(type) {
	case event.StateChanged:
		return record{Event: "state", Why: e.To, Text: "state is " + e.To}
	case event.Claimed:
		return record{Event: "claimed", Worker: e.Worker, Text: "this is " + e.Worker}
	case event.SessionLost:
		return record{Event: "session_lost", Worker: e.Worker, Why: e.Why, Text: e.Worker + " has lost its session: " + e.Why}
	case event.SessionResumed:
		return record{Event: "session_resumed", Worker: e.Worker, Text: e.Worker + " has its session again"}
	case event.Assigned:
		return record{} // it is started
	case event.Revoked:
		return record{Event: "revoked", Partition: e.Partition, Token: e.Token, Why: e.Why, Text: fmt.Sprintf("%s is to end: %s", e.Partition, e.Why)}
	case event.Released:
		switch {
		case e.Err == "" && e.Took == 0:
			return record{Event: "released", Partition: e.Partition, Token: e.Token, Why: e.Why, Text: fmt.Sprintf("%s is not started again: %s", e.Partition, e.Why)}
		case e.Err == "":
			return record{} // it has ended
		}
		return record{
			Event: "released", Partition: e.Partition, Token: e.Token, Why: e.Why, Took: e.Took.Milliseconds(), Err: e.Err,
			Text: fmt.Sprintf("%s is released after %s%s", e.Partition, short(e.Took), because(e.Err)),
		}
	case event.Returned:
		return returned(e)
	case event.Stuck:
		return record{Event: "stuck", Partition: e.Partition, Token: e.Token, Took: e.For.Milliseconds(), Text: fmt.Sprintf("%s does not end although it was killed %s ago", e.Partition, short(e.For))}
	case event.Exiting:
		return record{
			Event: "exiting", Partition: e.Partition, Token: e.Token, Why: e.Why,
			Text: fmt.Sprintf("this process ends, since %s asked for it: %s does not end%s", e.By, e.Partition, because(e.Why)),
		}
	case event.Led:
		return record{Event: "leading", Text: fmt.Sprintf("leads the group, term %d", e.Term)}
	case event.Deposed:
		return record{Event: "deposed", Why: e.Why, Text: fmt.Sprintf("leads the group no more: %s", e.Why)}
	case event.Planned:
		d := e.Decision
		return record{Event: "planned", Why: d.Why.String(), Text: fmt.Sprintf("plan %s (%s): %s, %s, %s%s", d.Version, d.Why,
			show.Plural(d.Workers, "worker"), show.Plural(d.Partitions, "partition"), show.Plural(len(d.Moves)+d.More, "step"), unassigned(d.Unassigned))}
	case event.Refused:
		return record{Event: "refused", Text: "a plan was refused: somebody else leads"}
	case event.Slowed:
		return record{Event: "slow", Worker: e.Worker, Why: e.Why, Text: e.Worker + " is slow: " + e.Why}
	case event.Suspected:
		return record{Event: "suspected", Worker: e.Worker, Why: e.Why, Text: e.Worker + " may be lost: " + e.Why}
	case event.Recovered:
		return record{Event: "recovered", Worker: e.Worker, Text: e.Worker + " is well again"}
	case event.Lost:
		return record{Event: "lost", Worker: e.Worker, Why: e.Why, Text: e.Worker + " is lost: " + e.Why}
	case event.Doubted:
		return record{Event: "doubting", Why: e.Why, Text: "nobody is declared lost for now: " + e.Why}
	case event.Trusted:
		return record{Event: "trusting", Text: "what is seen is believed again"}
	case event.SourceFailed:
		return record{Event: "source_failed", Err: e.Err, Text: "partitions cannot be listed: " + e.Err}
	case event.SourceRejected:
		return record{Event: "source_rejected", Err: e.Err, Text: "the list of partitions is not believed: " + e.Err}
	case event.Degraded:
		return record{Event: "isolated", Why: e.Level, Took: e.For.Milliseconds(), Text: fmt.Sprintf("NATS has not answered for %s (%s)", short(e.For), e.Level)}
	case event.StoreRenewed:
		return record{Event: "store_renewed", Why: e.Why, Text: "the group's bucket was made anew: " + e.Why}
	case event.Alert:
		if e.Text == "" {
			return record{Event: "alert_over", Why: e.About, Text: "alert is over: " + e.About}
		}
		return record{Event: "alert", Why: e.About, Text: "alert: " + e.Text}
	case event.Failed:
		return record{Event: "failed", Why: e.Doing, Err: e.Err, Text: fmt.Sprintf("%s failed, and is tried again: %s", e.Doing, e.Err)}
	case event.Dropped:
		return record{Event: "dropped", Text: fmt.Sprintf("%d events are missing here: they were not read in time", e.Count)}
	}
	return record{}
}

// returned tells what becomes of a partition whose command has ended by itself.
func returned(e event.Returned) record {
	r := record{Event: "returned", Partition: e.Partition, Token: e.Token, Err: e.Err}
	switch {
	case e.Final && strings.Contains(e.Err, parti.ErrDone.Error()):
		r.Event, r.Text = "done", e.Partition+" is done"
	case e.Final && strings.Contains(e.Err, parti.ErrReject.Error()):
		r.Event, r.Text = "rejected", e.Partition+" goes to another worker"
	case e.Final:
		r.Text = e.Partition + " is given up" + because(e.Err)
	default:
		ms := e.BackOff.Milliseconds()
		r.Event, r.Backoff = "restart", &ms
		r.Text = fmt.Sprintf("%s is started again in %s%s", e.Partition, short(e.BackOff), because(e.Err))
	}
	return r
}

// started tells that a command runs.
func (t *talk) started(j job, pid int) {
	t.say(record{
		Event: "started", Worker: j.Worker, Partition: j.Partition, Token: j.Token, PID: pid,
		Text: fmt.Sprintf("%s is started: process %d, token %d", j.Partition, pid, j.Token),
	})
}

func because(err string) string {
	if err == "" {
		return ""
	}
	return ": " + err
}

func unassigned(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d without an owner", n)
}

// short is a duration as people read it.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}
