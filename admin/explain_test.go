package admin

import (
	"testing"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// A partition comes to b because b joined, and from b to c because b stops, which nobody asked
// it to. At last it moves from c to d, and is granted in a plan that is about somebody else.
func TestLastMove(t *testing.T) {
	server := memkv.New()
	defer server.Close()
	client := server.Client("me")
	g := Open(client)
	move := func(step plan.Step, from, to string, why plan.Why) []plan.Move {
		return []plan.Move{{Partition: "p", Step: step, From: from, To: to, Why: why}}
	}
	log := []plan.Decision{
		{Why: plan.WhyFirstPlan, About: "the group's first plan", Moves: move(plan.Granted, "", "a", plan.WhyFirstPlan)},
		{Why: plan.WhyJoined, About: "b joined", Moves: move(plan.Revoked, "a", "b", plan.WhyJoined)},
		{Why: plan.WhyReceipt, Moves: move(plan.Granted, "a", "b", plan.WhyJoined)},
		{Why: plan.WhyReceipt, Moves: move(plan.Granted, "b", "c", plan.WhyLeaving)},
		{Why: plan.WhyJoined, About: "d joined", Moves: move(plan.Revoked, "c", "d", plan.WhyJoined)},
		{Why: plan.WhyLost, About: "e is lost", Moves: move(plan.Granted, "c", "d", plan.WhyJoined)},
	}
	for i := range log {
		log[i].Version = plan.MakeVersion(1, uint32(i+1))
		value, err := wire.Encode(log[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(t.Context(), kv.Write{Key: wire.LogKey(log[i].Version).String(), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	for at, want := range map[int]LastMove{
		2: {From: "a", To: "b", Why: plan.WhyJoined, About: "b joined"},
		3: {From: "b", To: "c", Why: plan.WhyLeaving},
		5: {From: "c", To: "d", Why: plan.WhyJoined, About: "d joined"},
	} {
		want.Version = log[at].Version
		if got, err := g.lastMove(t.Context(), "p", &log[at]); err != nil || got == nil || *got != want {
			t.Errorf("of plan %v: %+v, %v; want %+v", want.Version, got, err, want)
		}
	}
}
