package partitest

import (
	"fmt"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/plan"
)

// accountOf is what a worker's event comes to in a ledger: what explains what its handlers
// do, in a line each. What the ledger sees for itself, as starts and returns, is left out.
func accountOf(e parti.Event) (told []Entry) {
	say := func(partition, format string, args ...any) {
		told = append(told, Entry{What: Told, Partition: partition, Text: fmt.Sprintf(format, args...)})
	}
	sayAll := func(format string, args ...any) {
		told = append(told, Entry{What: Told, Text: fmt.Sprintf(format, args...), all: true})
	}
	switch e := e.(type) {
	case event.StateChanged:
		say("", "is %s, was %s", e.To, e.From)
	case event.Claimed:
		say("", "has the ID %s, session %s", e.Worker, short(e.Session))
	case event.SessionLost:
		say("", "has lost the session %s: %s", short(e.Session), e.Why)
	case event.SessionResumed:
		say("", "has the key of session %s again", short(e.Session))
	case event.Revoked:
		say(e.Partition, "is asked to stop it: %s", e.Why)
	case event.Released:
		say(e.Partition, "has let go of it after %v: %s %s", e.Took.Round(time.Millisecond), e.Why, e.Err)
	case event.Stuck:
		say(e.Partition, "its handler ignores Hard for %v", e.For.Round(time.Millisecond))
	case event.Led:
		sayAll("leads, term %d", e.Term)
	case event.Deposed:
		sayAll("leads no more, term %d: %s", e.Term, e.Why)
	case event.Planned:
		for _, m := range e.Decision.Moves {
			say(m.Partition, "plans %v: %s", e.Decision.Version, step(m))
		}
	case event.Refused:
		sayAll("its plan %v was refused", e.Version)
	case event.Suspected:
		sayAll("suspects %s, session %s: %s", e.Worker, short(e.Session), e.Why)
	case event.Recovered:
		sayAll("trusts %s again, session %s", e.Worker, short(e.Session))
	case event.Lost:
		sayAll("declares %s lost, session %s: %s", e.Worker, short(e.Session), e.Why)
	case event.Doubted:
		sayAll("declares nobody lost for now: %s", e.Why)
	case event.Trusted:
		sayAll("declares who is silent lost again")
	case event.Degraded:
		say("", "hears nothing from NATS for %v: %s", e.For.Round(time.Millisecond), e.Level)
	case event.StoreRenewed:
		sayAll("makes the bucket anew, incarnation %d: %s", e.Incarnation, e.Why)
	case event.Failed:
		say("", "fails: %s: %s", e.Doing, e.Err)
	case event.Dropped:
		say("", "was too busy to tell of %d things", e.Count)
	default:
	}
	return told
}

// step is one move as words.
func step(m plan.Move) string {
	text := string(m.Step)
	if m.From != "" {
		text += " from " + m.From
	}
	if m.To != "" {
		text += " to " + m.To
	}
	return fmt.Sprintf("%s (%s)", text, m.Why)
}

// short is enough of a nonce to tell it from others.
func short(nonce string) string { return nonce[:min(len(nonce), 6)] }
