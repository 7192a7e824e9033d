package partitest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/source"
)

// A whole fleet in fake time: one joins, one freezes and wakes, one leaves.
func TestLedgerOfAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, store, partitions := NewLedger(t), NewStore(), Numbered(12)
		acting := parti.HandlerFunc(func(ctx context.Context, lease parti.Lease) error {
			for {
				if err := l.Act(lease, "works"); err != nil && !errors.Is(err, ErrRefused) {
					t.Error(err)
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(time.Second):
				}
			}
		})
		cfg := parti.Config{Isolation: parti.Fence, ExpectedWorkers: 2}
		managers := map[string]*parti.Manager{}
		join := func(names ...string) {
			t.Helper()
			var all sync.WaitGroup
			for _, name := range names {
				cfg.Identity = name
				m, err := parti.NewManager(store, source.Static(partitions...), l.Watch(name, acting), cfg)
				if err != nil {
					t.Fatal(err)
				}
				managers[name] = m
				l.Follow(name, m)
				all.Go(func() {
					if err := m.Start(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		even := func(each int, names ...string) {
			t.Helper()
			l.Await("the partitions run evenly", time.Hour, func() bool {
				for _, name := range names {
					if l.Shares()[name] != each {
						return false
					}
				}
				return true
			})
			l.Covered(time.Hour, partitions...)
		}

		join("a", "b")
		even(6, "a", "b")
		l.Check(parti.Fence, MaxMoves(0), MaxGap(0))

		l.Mark("c joins")
		join("c")
		even(4, "a", "b", "c")
		l.Check(parti.Fence, MaxMoves(4), MaxGap(time.Minute))

		ice := FreezeWorker(t, managers["b"], 0)
		even(6, "a", "c")
		l.Await("b, which does not know, is refused", time.Minute, func() bool { return l.Report().Refused >= 4 })
		ice.Heal()
		even(4, "a", "b", "c")
		r := l.Report()
		if r.Doubles != 0 || r.OverlapFrozen != 4 || r.Freezes != 1 {
			t.Errorf("%v", r)
		}
		l.Check(parti.Fence, MaxGap(time.Minute))

		if err := managers["c"].Stop(t.Context()); err != nil {
			t.Error(err)
		}
		even(6, "a", "b")
		if after := l.Report(); after.OverlapFrozen != 4 || after.Doubles != 0 || after.Moves != r.Moves+4 {
			t.Errorf("%v", after)
		}
		l.Check(parti.Fence, MaxGap(time.Minute))

		l.Over()
		for _, name := range []string{"a", "b"} {
			if err := managers[name].Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
		l.Check(parti.Fence, MaxGap(time.Minute))
	})
}
