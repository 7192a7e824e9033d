package parti

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

// scripted is a brain that says what a test wants, once, in turn.
type scripted struct {
	facts   []member.Fact
	readies []member.Ready
	last    member.Ready
}

func (s *scripted) Step(_ time.Time, f member.Fact) { s.facts = append(s.facts, f) }

func (s *scripted) Ready() member.Ready {
	rd := s.last
	if len(s.readies) > 0 {
		rd, s.readies = s.readies[0], s.readies[1:]
		s.last = member.Ready{State: rd.State, Trusted: rd.Trusted, WorkerID: rd.WorkerID, Done: rd.Done}
	}
	return rd
}

// One order to start and one to end the same handler, at once: it ends, and is
// reported, and its Run was never called.
func TestStartedAndStoppedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		var ran atomic.Int32
		m := f.make("a", Config{}, HandlerFunc(func(ctx context.Context, l Lease) error {
			ran.Add(1)
			return wait(ctx, l)
		}))
		lease := plan.Lease{Partition: "p", Token: 7}
		s := &scripted{readies: []member.Ready{
			{
				State: member.Stable, Applied: true,
				Start: []plan.Grant{{Partition: Partition{ID: "p"}, Token: 7}, {Partition: Partition{ID: "q"}, Token: 7}},
				Stop:  []hold.Stop{{Lease: lease, Cause: hold.Stopped}},
			},
		}}
		m.think = func(member.Config, time.Time) brain { return s }
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		exited := 0
		for _, fact := range s.facts {
			if e, ok := fact.(member.Exited); ok && e.Lease == lease && e.How == hold.Returned {
				exited++
			}
		}
		if exited != 1 || ran.Load() != 1 || m.Status().Running != 1 {
			t.Errorf("exited %d times, %d ran, %d run", exited, ran.Load(), m.Status().Running)
		}
	})
}

// endless is a brain that leads, and says nothing else whatever it is told.
type endless struct{}

func (endless) Step(time.Time, member.Fact) {}

func (endless) Ready() member.Ready {
	return member.Ready{State: member.Stable, Applied: true, Leading: true, WorkerID: "worker-0"}
}

// One that has stopped leads nobody, also where its brain had no time to give it up.
func TestNobodyLeadsAfterItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		m := f.make("a", Config{}, nil)
		m.think = func(member.Config, time.Time) brain { return endless{} }
		if err := m.Start(t.Context()); err != nil || !m.IsLeader() {
			t.Fatalf("%v, it leads: %v", err, m.IsLeader())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.Stop(ctx); err == nil {
			t.Error("a brain that hangs was stopped cleanly")
		}
		if s := m.Status(); m.IsLeader() || s.Leader || s.State != StateStopped {
			t.Errorf("status %v", s)
		}
	})
}

// sluggish is such a brain that takes its time for each fact.
type sluggish struct{ endless }

func (sluggish) Step(time.Time, member.Fact) { time.Sleep(10 * time.Millisecond) }

// A Stop keeps to its time also where the brain has much to hear, as when thousands of handlers
// have returned at once.
func TestStopDoesNotWaitForAllFacts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		m := f.make("a", Config{}, nil)
		m.think = func(member.Config, time.Time) brain { return sluggish{} }
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.executor().queue.push(slices.Repeat([]member.Fact{member.Tick{}}, 10_000)...)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		if err := m.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop returned %v", err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Each fact has its own Ready: orders of two would have lost their order.
func TestOneReadyForEachFact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t)
		var now atomic.Int32
		m := f.make("a", Config{}, HandlerFunc(func(ctx context.Context, l Lease) error {
			now.Add(1)
			defer now.Add(-1)
			return wait(ctx, l)
		}))
		grant := plan.Grant{Partition: Partition{ID: "p"}, Token: 7}
		lease := plan.Lease{Partition: "p", Token: 7}
		s := &scripted{readies: []member.Ready{
			{State: member.Stable, Start: []plan.Grant{grant}},
			{State: member.Stable, Stop: []hold.Stop{{Lease: lease}}},
		}}
		m.think = func(member.Config, time.Time) brain { return s }
		if err := m.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.executor().queue.push(member.Tick{}, member.Tick{}, member.Tick{})
		time.Sleep(time.Second)
		synctest.Wait()
		if now.Load() != 0 || m.Status().Running != 0 {
			t.Error("it still runs")
		}
	})
}
