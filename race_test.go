package parti

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/source"
)

// Everything at once, on the machine's own time: workers that come and go, links
// that break, handlers that fail, and readers of all that can be read.
func TestEverythingAtOnce(t *testing.T) {
	server := memkv.New()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	handler := HandlerFunc(func(ctx context.Context, l Lease) error {
		timer := time.NewTimer(rand.N(500 * time.Millisecond))
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-l.Hard().Done():
		case <-timer.C:
			if rand.N(2) == 0 {
				panic("now and then")
			}
		}
		_ = l.Check()
		return errSomething
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				store := server.Client(fmt.Sprint(i))
				m, err := NewManager(store, source.Static(parts(30)...), handler,
					Config{
						HeartbeatInterval: 50 * time.Millisecond, ProbeInterval: 50 * time.Millisecond, ReconcileInterval: 100 * time.Millisecond,
						SettleTime: 20 * time.Millisecond, Cooldown: -1, DrainTimeout: 50 * time.Millisecond, SessionTTL: 2 * time.Second, LeaderTTL: 2 * time.Second,
					},
					WithObserver(func(Event) {}), WithHooks(Hooks{
						OnAssignmentChanged: func(context.Context, []Partition, []Partition) error { return errSomething },
						OnStateChanged:      func(context.Context, State, State) error { panic("in a hook") },
						OnError:             func(context.Context, error) error { return nil },
					}))
				if err != nil {
					t.Error(err)
					return
				}
				var readers sync.WaitGroup
				life, end := context.WithTimeout(ctx, 200*time.Millisecond+rand.N(800*time.Millisecond))
				for range 2 {
					readers.Go(func() {
						for life.Err() == nil {
							_ = m.Status().String()
							for _, l := range m.CurrentAssignment().Leases {
								_ = l.Check()
							}
							_, _, _ = m.WorkerID(), m.IsLeader(), m.State()
							_ = m.RefreshPartitions(life)
							sleep(life, time.Millisecond)
						}
					})
				}
				readers.Go(func() {
					for life.Err() == nil {
						sleep(life, rand.N(300*time.Millisecond))
						store.Cut()
						sleep(life, rand.N(100*time.Millisecond))
						store.Mend()
					}
				})
				_ = m.Run(life) // a link that is cut may keep it from ending cleanly
				end()
				readers.Wait()
				store.Close()
			}
		})
	}
	wg.Wait()
}
