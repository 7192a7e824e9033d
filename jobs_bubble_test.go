package parti

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

// A source whose Watch is slow to return is not watched twice at a time, however often this
// worker begins to lead.
func TestOneWatchAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside, calls atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		j := &jobs{ctx: ctx, cancel: cancel, note: func(Event) {}, report: func(...member.Fact) {}}
		j.worker.Store(new(string))
		j.watch = func(ctx context.Context, _ func()) error {
			calls.Add(1)
			if n := inside.Add(1); n > 1 {
				t.Errorf("%d at a time", n)
			}
			defer inside.Add(-1)
			<-ctx.Done()
			time.Sleep(10 * time.Second)
			return nil
		}
		for range 3 {
			j.set(member.Ready{Leading: true})
			synctest.Wait()
			j.set(member.Ready{})
			time.Sleep(time.Second)
		}
		j.set(member.Ready{Leading: true})
		time.Sleep(time.Minute)
		if n := inside.Load(); n != 1 {
			t.Errorf("%d watch while it leads", n)
		}
		cancel()
		j.source.Wait()
		if n := calls.Load(); n < 2 {
			t.Errorf("%d calls", n)
		}
	})
}

// Whoever asks again as soon as it has an answer is not told that the last listing goes on.
func TestListAgainAtOnce(t *testing.T) {
	const times = 5000
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	all.Add(times)
	o := &operator{source: listed{{ID: "a"}}, clock: newClock(time.Minute, time.Now), ctx: ctx, cancel: cancel}
	n := 0
	o.answer = func(facts ...member.Fact) {
		for _, f := range facts {
			a, ok := f.(member.Answer)
			if !ok || a.Err != nil || len(a.Partitions) != 1 {
				t.Errorf("%+v", f)
			}
			if n++; n < times {
				o.list(n)
			}
			all.Done()
		}
	}
	o.list(0)
	all.Wait()
	o.lists.Wait()
}

// listed is a source that always lists the same.
type listed []plan.Partition

func (l listed) ListPartitions(context.Context) ([]plan.Partition, error) { return l, nil }
