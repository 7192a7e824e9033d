package lead

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// A leader that knows no partition yet rebuilds the plan from hundreds of holders of a
// hundred each while its own session lasts: it renews nothing meanwhile.
func TestManyHolders(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	cfg := newGroup(nil).cfg
	cfg.Strategy, cfg.MaxBatch = strategy.Sticky(), 10_000
	cfg.Worker, cfg.Nonce = "w-0000", "n-0000"
	m := New(cfg, Found{Incarnation: 8, Highest: plan.MakeVersion(7, 9)}, now)
	const workers, each = 300, 100
	for i := range workers {
		s := roster.Session{
			Worker: fmt.Sprintf("w-%04d", i), Nonce: fmt.Sprintf("n-%04d", i), TTL: 15_000,
			Owns: true, Resumed: true, Highest: plan.MakeVersion(7, 9),
		}
		for j := range each {
			s.Holds = append(s.Holds, plan.Grant{Partition: plan.Partition{ID: fmt.Sprintf("p-%06d", j*workers+i)}, Token: plan.MakeVersion(7, 3)})
		}
		m.Step(now, Saw{s, kv.Rev(i + 1)})
	}
	m.Step(now, Synced{})
	began := time.Now()
	c := m.Ready().Commit
	if took := time.Since(began); took > cfg.Roster.TTL {
		t.Errorf("it took %v", took)
	}
	granted := 0
	for _, s := range c.Slices {
		granted += len(s.Granted)
	}
	if granted != workers*each {
		t.Errorf("%d of %d are in the plan", granted, workers*each)
	}
}

// A plan that is rebuilt over several slow commits does not stand before it names everybody
// who holds something: the next leader would take what the others run for free.
func TestRebuildTakesLong(t *testing.T) {
	g := newGroup(t)
	const workers = 8
	g.cfg.MaxBatch, g.cfg.ExpectedWorkers = otherPuts+1, workers // one slice in each commit
	do := func(line string) { g.do(strings.Fields(line)) }
	do(fmt.Sprint("partitions ", 2*workers))
	do("workers boss w1 w2 w3 w4 w5 w6 w7")
	do("lead")
	do("run 60s")
	do("lose-store")
	for _, id := range slices.Sorted(maps.Keys(g.workers)) {
		g.renew(g.workers[id])
	}
	g.m = New(g.cfg, Found{Incarnation: g.inc, Highest: plan.MakeVersion(7, 100)}, g.now)
	for _, id := range slices.Sorted(maps.Keys(g.keys)) {
		g.m.Step(g.now, Saw{Session: g.keys[id], Rev: g.revs[id]})
	}
	g.m.Step(g.now, Synced{})
	for commits := 0; ; {
		rd := g.m.Ready()
		if rd.List {
			g.m.Step(g.now, Listed{g.parts})
		}
		for _, nonce := range rd.Probe {
			g.probe(nonce)
		}
		if rd.Commit == nil {
			g.second()
			continue
		}
		for range 3 { // it takes so many seconds
			g.second()
		}
		g.commit(rd.Commit)
		if commits++; commits > 5*workers {
			t.Fatal("it is never rebuilt")
		}
		if h := rd.Commit.Head; h.Started && !h.Adopting {
			if len(g.slices) < workers {
				t.Errorf("plan %v stands, and names %d of %d", h.Version, len(g.slices), workers)
			}
			return
		}
	}
}

// second lets a second pass, in which everybody renews.
func (g *group) second() {
	g.now = g.now.Add(time.Second)
	for _, id := range slices.Sorted(maps.Keys(g.workers)) {
		g.renew(g.workers[id])
	}
	g.m.Step(g.now, Accepted{})
	for _, nonce := range g.m.Ready().Probe {
		g.probe(nonce)
	}
}
