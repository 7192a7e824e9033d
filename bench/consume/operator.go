package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/bench/internal/process"
	"github.com/parti-go/parti/natskv"
)

// An operator looks after a group in which workers are killed by chance. Chance also kills
// a partition's owners three times in a row, and then it is quarantined like one that kills
// them. The operator knows better, and lets it in again.
type operator struct {
	stop func()

	mu     sync.Mutex
	last   admin.Snapshot
	lifted int
}

// operate begins to look after the fleet's group.
func (f *fleet) operate(ctx context.Context) (*operator, error) {
	store, err := natskv.Open(ctx, f.js, group, natskv.WithoutCreate(), natskv.WithoutBarrier())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	o := &operator{stop: func() { cancel(); <-done; store.Close() }}
	go func() {
		defer close(done)
		g := admin.Open(store, admin.WithWho("operator"))
		for ctx.Err() == nil {
			_ = g.Watch(ctx, func(now admin.Snapshot, err error) bool {
				if err == nil {
					o.look(ctx, g, now)
				}
				return true
			})
			process.Wait(ctx, time.Second) // the first look failed: a node is away
		}
	}()
	return o, nil
}

func (o *operator) look(ctx context.Context, g *admin.Group, now admin.Snapshot) {
	lifted := 0
	for _, p := range now.Partitions {
		if p.State != admin.Quarantined {
			continue
		}
		c, err := g.Lift(ctx, p.ID, admin.Order{Why: "its workers were killed by chance"})
		if err == nil && !c.Already {
			lifted++
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last, o.lifted = now, o.lifted+lifted
}

// says what the group was like at the last look, and what people should know of.
func (o *operator) says() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := []string{o.last.Sentence}
	for _, a := range o.last.Alerts {
		if text := a.Worker + ": " + a.Text; !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}
