package lead

import (
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// TestTheYoungerIsAdopted has two sessions come back to a store that was made anew, each
// with a lease of the same partition: whoever is heard first, the younger goes on.
func TestTheYoungerIsAdopted(t *testing.T) {
	const now, past = 8, 7
	for _, first := range []int{0, 1} {
		at := time.Unix(1_800_000_000, 0)
		cfg := newGroup(t).cfg
		cfg.Worker, cfg.Nonce = "boss", "n"
		m := New(cfg, Found{Incarnation: now, Highest: plan.MakeVersion(past, 9)}, at)
		m.Step(at, Synced{})
		m.Step(at, Committed{m.Ready().Commit.Head.Version})
		both := []roster.Session{{Worker: "w0", Nonce: "n0"}, {Worker: "w1", Nonce: "n1"}}
		for i := range both {
			s := &both[(first+i)%2]
			s.TTL, s.Owns, s.Resumed, s.Highest = 15_000, true, true, plan.MakeVersion(past, 9)
			token := plan.MakeVersion(past, 5)
			if s.Worker == "w1" {
				token = plan.MakeVersion(past, 6)
			}
			s.Holds = []plan.Grant{{Partition: plan.Partition{ID: "p"}, Token: token}}
			m.Step(at, Saw{*s, kv.Rev(10 + i)})
		}
		if p := &m.parts[m.index["p"]]; m.members[p.owner].id != "w1" || p.token != plan.MakeVersion(past, 6) {
			t.Errorf("heard %s first: %s@%s goes on", both[first].Worker, m.members[p.owner].id, p.token)
		}
	}
}

// TestAnOlderLeaseIsNotAdopted has the session with the younger lease come back and stop, before
// the other is heard. What writes with a token has seen the younger one: the older is of no use.
// But it runs, and nobody else may before it has stopped.
func TestAnOlderLeaseIsNotAdopted(t *testing.T) {
	const now, past = 8, 7
	at := time.Unix(1_800_000_000, 0)
	cfg := newGroup(t).cfg
	cfg.Worker, cfg.Nonce = "boss", "n"
	m := New(cfg, Found{Incarnation: now, Highest: plan.MakeVersion(past, 9)}, at)
	commit := func() {
		t.Helper()
		c := m.Ready().Commit
		if c == nil {
			t.Fatal("no commit")
		}
		m.Step(at, Committed{c.Head.Version})
	}
	resumed := func(worker, nonce string, n uint32) roster.Session {
		return roster.Session{
			Worker: worker, Nonce: nonce, TTL: 15_000, Owns: true, Resumed: true, Highest: plan.MakeVersion(past, 9),
			Holds: []plan.Grant{{Partition: plan.Partition{ID: "p"}, Token: plan.MakeVersion(past, n)}},
		}
	}
	m.Step(at, Synced{})
	commit()
	younger := resumed("w1", "n1", 6)
	m.Step(at, Saw{younger, kv.Rev(10)})
	commit()
	if p := &m.parts[m.index["p"]]; p.state != granted || p.token != plan.MakeVersion(past, 6) {
		t.Fatalf("it is not adopted: %+v", p)
	}
	younger.Holds, younger.Leaving, younger.Left = nil, true, true
	m.Step(at, Saw{younger, kv.Rev(11)})
	at = at.Add(time.Second) // receipts are gathered for less
	m.Step(at, Tick{})
	commit()
	older := resumed("w0", "n0", 5)
	m.Step(at, Saw{older, kv.Rev(12)})
	commit() // its slice, which asks it back
	if p := &m.parts[m.index["p"]]; p.state != releasing || m.members[p.owner].id != "w0" {
		t.Fatalf("an older lease, after one that is over: %+v", p)
	}
	receipt := func(rev kv.Rev) state {
		older.Holds, older.Applied = nil, m.Head().Version
		m.Step(at, Saw{older, rev})
		at = at.Add(time.Second)
		m.Step(at, Tick{})
		m.Ready()
		return m.parts[m.index["p"]].state
	}
	older.Draining = []plan.Lease{{Partition: "p", Token: plan.MakeVersion(past, 5)}}
	if is := receipt(13); is != releasing {
		t.Errorf("it still drains, and the partition is in state %d", is)
	}
	older.Draining = nil
	if is := receipt(14); is != free {
		t.Errorf("it has let go, and the partition is in state %d", is)
	}
}
