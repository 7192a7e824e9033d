package lead

import (
	"fmt"
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
