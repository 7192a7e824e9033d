package admin_test

import (
	"context"
	"fmt"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/source"
)

// A worker is emptied before its machine is serviced, and gets its part again by itself.
func ExampleGroup_Drain() {
	server := memkv.New() // in production natskv.Open(ctx, js, "orders", natskv.WithoutCreate(), natskv.WithoutBarrier())
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var workers []*parti.Manager
	defer func() {
		for _, m := range workers {
			_ = m.Stop(ctx)
		}
	}()
	for _, name := range []string{"a", "b"} {
		m, err := parti.NewManager(server.Client(name), source.Static(parti.Partition{ID: "p"}, parti.Partition{ID: "q"}),
			parti.HandlerFunc(func(ctx context.Context, _ parti.Lease) error { <-ctx.Done(); return nil }),
			parti.Config{WorkerIDPrefix: name, MaxWorkers: 1, SettleTime: 50 * time.Millisecond, Cooldown: 50 * time.Millisecond})
		if err != nil {
			panic(err)
		}
		if err := m.Start(ctx); err != nil {
			panic(err)
		}
		workers = append(workers, m)
	}

	group := admin.Open(server.Client("me"), admin.WithWho("ada"))
	if err := group.AwaitSettled(ctx, nil); err != nil {
		panic(err)
	}
	if _, err := group.Drain(ctx, "a-0", admin.Order{Why: "kernel upgrade", For: time.Hour}); err != nil {
		panic(err)
	}
	if err := group.AwaitDrained(ctx, "a-0", nil); err != nil {
		panic(err)
	}
	now, err := group.Snapshot(ctx)
	if err != nil {
		panic(err)
	}
	for _, w := range now.Workers {
		fmt.Println(w.ID, w.Partitions, w.Drained)
	}
	fmt.Println(now.Controls[0].Kind, now.Controls[0].Worker, now.Controls[0].Why)

	// Output:
	// a-0 0 true
	// b-0 2 false
	// drain a-0 kernel upgrade
}
