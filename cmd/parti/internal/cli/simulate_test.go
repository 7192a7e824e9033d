package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/sim"
	"github.com/parti-go/parti/plan"
)

// What a log of decisions tells of who came and went.
func TestReplay(t *testing.T) {
	granted := func(from, to string, why plan.Why, ids ...string) (moves []plan.Move) {
		for _, id := range ids {
			moves = append(moves, plan.Move{Partition: id, Step: plan.Granted, From: from, To: to, Why: why})
		}
		return moves
	}
	log := []plan.Decision{
		{Term: 1, At: noon, Why: plan.WhyFirstPlan, Moves: append(granted("", "w-0", plan.WhyPartitions, "a", "b"), granted("", "w-1", plan.WhyPartitions, "c")...)},
		{Term: 1, At: noon.Add(10 * time.Second), Why: plan.WhyJoined, Moves: []plan.Move{{Partition: "a", Step: plan.Revoked, From: "w-0", To: "w-2", Why: plan.WhyNewCapacity}}},
		{Term: 1, At: noon.Add(10 * time.Hour), Why: plan.WhyLost, Moves: granted("w-1", "w-0", plan.WhyLost, "c")},
		{Term: 2, At: noon.Add(10*time.Hour + time.Second), Why: plan.WhyDrain, Moves: []plan.Move{
			{Partition: "b", Step: plan.Revoked, From: "w-0", To: "w-2", Why: plan.WhyDrain}, {Partition: "c", Step: plan.Revoked, From: "w-0", To: "w-2", Why: plan.WhyDrain},
		}},
		{Term: 2, At: noon.Add(10*time.Hour + 2*time.Second), Why: plan.WhyJoined, Moves: granted("w-2", "w-1", plan.WhyNewCapacity, "a")},
		{Term: 2, At: noon.Add(10*time.Hour + 3*time.Second), Why: plan.WhyPartitions, Moves: granted("", "w-1", plan.WhyPartitions, "d", "e")},
		{Term: 2, At: noon.Add(10*time.Hour + 4*time.Second), Why: plan.WhyLeaving, Moves: append(granted("w-2", "w-1", plan.WhyLeaving, "b"), granted("w-1", "w-1", plan.WhyLeaving, "c")...)},
		{Term: 2, At: noon.Add(10*time.Hour + 5*time.Second), Why: plan.WhyRebalance},
		{Term: 2, At: noon.Add(10*time.Hour + 6*time.Second), Why: plan.WhyWeights},
	}
	now := admin.Snapshot{Workers: []admin.Worker{
		{ID: "w-0", Owns: true, Share: 2, Isolation: "fence", TTL: 20_000}, {ID: "w-1", Owns: true, Capacity: 9}, {ID: "w-9", Owns: true}, {ID: "w-x"},
	}, Partitions: []admin.Partition{{ID: "a", Weight: 3}, {ID: "b", Weight: 1}}, Counts: admin.Counts{Partitions: 3, Unassigned: 1}}
	sc, events := replayed(now, log)
	const want = `seed 0
run 5m16s quiet 2m0s
partitions 3 1 1
host start=0s fence ttl=20s share=2
host start=0s capacity=9
host start=-1ns
host start=0s
at 1m10s start 2
at 3m10s crash 1
at 3m11s step-down
at 3m11s drain 0 for 2m0s
at 3m12s start 1
at 3m13s add n=2
at 3m14s stop 2
at 3m15s rebalance
at 3m16s reweigh
`
	if got := sc.Script(); got != want || events != 9 {
		t.Errorf("%d events:\n%s", events, got)
	}
	if _, err := sim.Parse(strings.NewReader(sc.Script())); err != nil {
		t.Error(err)
	}
	many := admin.Snapshot{Partitions: make([]admin.Partition, 2500)}
	if n := len(weights(many)); n != 834 {
		t.Errorf("a sample of 2500 has %d", n)
	}
}

// A group's own history, and a fleet that is described, with other settings.
func TestSimulate(t *testing.T) {
	code, out, talk := try(t.Context(), nil, "simulate", "testdata/fleet.txt", "--set", "lost_after=20s", "--set", "emergency_grace=20s", "--seeds", "1", "--json")
	var c comparison
	if err := json.Unmarshal([]byte(out), &c); err != nil || code != Done || talk != "" || c.Schema != 1 || c.With == nil {
		t.Fatalf("exit code %d, error %v: %s%s", code, err, out, talk)
	}
	if c.Now.BareMs < 500 || c.With.BareMs < 10*c.Now.BareMs || c.Now.Moves != 8 || len(c.Now.Broken) > 0 {
		t.Errorf("it does not matter how soon a loss is noticed: %s", out)
	}

	f := newTroop(t, serve(t, server.Options{}).ClientURL(), "orders", 9)
	for _, name := range []string{"host-0", "host-1", "host-2"} {
		if _, err := f.start(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, do := range []func() error{func() error { return f.rest(t.Context()) }, func() error { return f.stop(t.Context(), "worker-2") }} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"NATS_URL": f.url}
	for late := time.Now().Add(testTime); ; { // the leader writes down what it thinks of that
		code, out, talk = try(t.Context(), env, "simulate", "--script", "--now", "cooldown=1s")
		if strings.Contains(out, " stop 2\n") || time.Now().After(late) {
			break
		}
		<-time.After(pauseTime)
	}
	if code != Done || !strings.Contains(out, "\nset Cooldown 1s\n") || strings.Count(out, "host ") != 3 || !strings.Contains(out, " stop 2\n") || !strings.Contains(talk, "Group orders: 3 workers, 9 partitions") {
		t.Errorf("exit code %d: %s%s", code, out, talk)
	}
	if code, out, talk = try(t.Context(), env, "simulate", "--seeds", "1"); code != Done || !strings.HasPrefix(out, "sentence\t3 workers and 9 partitions through ") {
		t.Errorf("exit code %d: %s%s", code, out, talk)
	}

	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"/not/there"}, "no such file"},
		{[]string{"testdata/golden/plan-80.txt"}, "line 1: unknown line"},
		{[]string{"testdata/fleet.txt", "--set", "cool_down=1s"}, "--set cool_down=1s: there is no such setting; did you mean cooldown?"},
		{[]string{"testdata/fleet.txt", "--set", "cooldown=soon"}, "it is a time, 0 or more"},
		{[]string{"testdata/fleet.txt", "--now", "moves_in_flight=-1"}, "--now moves_in_flight=-1: it is a number, 0 or more"},
		{[]string{"testdata/fleet.txt", "--seeds", "0"}, "--seeds 0: it is 1 to 100"},
		{[]string{"--since", "soon"}, "--since soon"},
	} {
		code, out, talk := try(t.Context(), nil, append([]string{"simulate"}, c.args...)...)
		if code != Usage || out != "" || !strings.Contains(talk, c.says) {
			t.Errorf("%v: exit code %d: %s%s", c.args, code, out, talk)
		}
	}
}
