package lead

import (
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// TestPastIsNotForgotten begins a group in a store that was made anew. Where anybody
// remembers a plan of the store before, what it granted may still run somewhere, also
// when the first plan of the new one has been seen since: nothing is granted at once.
func TestPastIsNotForgotten(t *testing.T) {
	const now, past = 8, 7
	seen := plan.MakeVersion(now, 1)
	for _, c := range []struct {
		name       string
		found      Found
		later      bool // the other joins after the term has begun
		other      roster.Session
		rebuilding bool
	}{
		{name: "nobody remembers anything"},
		{name: "all have seen only this one", found: Found{Highest: seen}, other: roster.Session{Highest: seen}},
		{name: "the leader remembers", found: Found{Highest: plan.MakeVersion(past, 9)}, rebuilding: true},
		{name: "the leader has seen more since", found: Found{Highest: seen, Past: past}, rebuilding: true},
		{name: "another remembers", other: roster.Session{Highest: plan.MakeVersion(past, 9)}, rebuilding: true},
		{name: "another has seen more since", other: roster.Session{Highest: seen, Past: past}, rebuilding: true},
		{name: "a later one has seen more since", later: true, other: roster.Session{Highest: seen, Past: past}, rebuilding: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := time.Unix(1_800_000_000, 0)
			cfg := newGroup(t).cfg
			cfg.Worker, cfg.Nonce, cfg.ExpectedWorkers = "w0", "n0", 0
			c.found.Incarnation = now
			if c.found.Highest == seen || c.other.Highest == seen {
				c.found.Plan, c.found.Head = true, plan.Head{Version: seen, Term: 1}
			}
			m := New(cfg, c.found, at)
			c.other.Worker, c.other.Nonce, c.other.TTL, c.other.Owns = "w1", "n1", 15_000, true
			m.Step(at, Saw{roster.Session{Worker: "w0", Nonce: "n0", TTL: 15_000, Owns: true}, kv.Rev(1)})
			if !c.later {
				m.Step(at, Saw{c.other, kv.Rev(2)})
			}
			m.Step(at, Synced{})
			m.Step(at, Committed{m.Ready().Commit.Head.Version})
			if c.later {
				m.Step(at, Saw{c.other, kv.Rev(2)})
			}
			m.Step(at, Listed{[]plan.Partition{{ID: "p"}}})
			m.Ready()
			at = at.Add(cfg.Settle) // nobody has joined since, and a TTL is longer
			m.Step(at, Tick{})
			granted := m.Ready().Commit != nil
			if granted == c.rebuilding {
				t.Errorf("the first plan is made after %v: %v", cfg.Settle, granted)
			}
		})
	}
}
