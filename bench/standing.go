package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/measure"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/plan"
)

// standing measures what an operator waits for in a group that is larger than one machine
// can run: its records stand in the bucket as a fleet would have written them, and one
// process answers for all workers. Nobody renews anything meanwhile.
func standing(ctx context.Context, o options, tw *tabwriter.Writer) error {
	command, done, err := built(ctx)
	if err != nil {
		return err
	}
	defer done()
	fmt.Fprintf(tw, "store\t%d × %d, standing: a snapshot\tof that allocated\tparti status, connecting included\tits memory\n", o.workers, o.partitions)
	for _, kind := range o.stores {
		n, err := startNATS(kind)
		if err != nil {
			return err
		}
		err = n.stand(ctx, o, kind, command, tw)
		n.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (n *natsServers) stand(ctx context.Context, o options, kind, command string, tw *tabwriter.Writer) error {
	nc, err := nats.Connect(n.servers[0].ClientURL(), natskv.ConnectOptions()...)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	opts := []natskv.Option{natskv.WithReplicas(len(n.servers))}
	if n.memory {
		opts = append(opts, natskv.WithMemory())
	}
	store, err := natskv.Open(ctx, js, "look", opts...)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := write(ctx, store, o); err != nil {
		return err
	}
	group, end, err := n.operator(ctx)
	if err != nil {
		return err
	}
	defer end()
	var snapshots measure.Times
	var allocated uint64
	for range lookRounds {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began := time.Now()
		s, err := group.Snapshot(ctx)
		if err != nil {
			return err
		}
		snapshots = append(snapshots, time.Since(began))
		runtime.ReadMemStats(&after)
		allocated = max(allocated, after.TotalAlloc-before.TotalAlloc)
		if len(s.Workers) != o.workers || len(s.Partitions) != o.partitions || s.Counts.Running != o.partitions {
			return fmt.Errorf("the snapshot has %d workers and %d partitions, of which %d run: %s", len(s.Workers), len(s.Partitions), s.Counts.Running, s.Sentence)
		}
	}
	statuses, memory, err := n.status(ctx, command)
	if err != nil {
		return err
	}
	fmt.Fprintf(tw, "%s\t%s\t%d MiB\t%s\t%d MiB\n", kind, snapshots, allocated>>20, statuses, memory>>20)
	return tw.Flush()
}

// write puts the records of a group there that has settled, and answers for its workers.
func write(ctx context.Context, store parti.Store, o options) error {
	incarnation, err := store.Incarnation(ctx)
	if err != nil {
		return err
	}
	v := plan.MakeVersion(incarnation, 1)
	name := func(i int) string { return fmt.Sprintf("worker-%d", i) }
	nonce := func(i int) string { return fmt.Sprintf("NONCE%021d", i) }
	var mu sync.Mutex
	put := func(key wire.Key, record any) error {
		data, err := wire.Encode(record)
		if err != nil {
			return err
		}
		_, err = store.Write(ctx, kv.Write{Key: key.String(), Value: data})
		return err
	}
	var wait sync.WaitGroup
	turn := make(chan struct{}, 64)
	var failed error
	next := 0
	for i := range o.workers {
		slice := plan.Slice{Worker: name(i), Session: nonce(i), TTL: 15000, Version: v}
		for last := next + (o.partitions-next)/(o.workers-i); next < last; next++ {
			slice.Granted = append(slice.Granted, plan.Grant{Partition: plan.Partition{ID: fmt.Sprintf("tool-%06d.chamber-%d", next/4, next%4), Weight: int64(1 + next%7)}, Token: v, Why: plan.WhyFirstPlan})
		}
		session := roster.Session{
			Worker: name(i), Nonce: nonce(i), Identity: "pod-" + name(i), Host: "node-" + name(i%50), Software: "v1.0.0", Started: time.Now().UTC(), Schema: wire.Schema,
			TTL: 15000, Margin: 1000, Owns: true, Applied: v, Highest: v, Running: len(slice.Granted),
		}
		about := parti.About{Schema: 1, Status: parti.Status{WorkerID: name(i), State: parti.StateStable, Ready: true, Version: v, Running: len(slice.Granted)}}
		if i == 0 {
			about.Leading = &parti.Leading{Term: 1, Orders: wire.Fingerprint(nil)}
		}
		text, err := json.Marshal(about)
		if err != nil {
			return err
		}
		if _, err := store.Answer(wire.AboutName(nonce(i)), func() []byte { return text }); err != nil {
			return err
		}
		turn <- struct{}{}
		wait.Go(func() {
			defer func() { <-turn }()
			err := put(wire.Key{Kind: wire.Slice, Name: name(i)}, slice)
			if err == nil {
				err = put(wire.Key{Kind: wire.Session, Name: name(i)}, session)
			}
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if failed != nil {
		return failed
	}
	if err := put(wire.Key{Kind: wire.Leader}, elect.Leader{Worker: name(0), Nonce: nonce(0)}); err != nil {
		return err
	}
	return put(wire.Key{Kind: wire.Plan}, plan.Head{
		Version: v, Term: 1, Leader: name(0), Session: nonce(0), Phase: plan.Stable, Why: plan.WhyFirstPlan, Partitions: o.partitions,
		Workers: o.workers, Slices: o.workers, Started: true,
	})
}
