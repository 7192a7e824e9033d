package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/measure"
	"github.com/parti-go/parti/natskv"
)

// lookRounds is how often each thing is done.
const lookRounds = 7

// dawdle is how long a drained handler takes to return, at most.
const dawdle = 3 * time.Second

// look measures what an operator waits for.
func look(ctx context.Context, o options, tw *tabwriter.Writer) error {
	command, done, err := built(ctx)
	if err != nil {
		return err
	}
	defer done()
	fmt.Fprintf(tw, "store\t%d × %d: a snapshot\tparti status, connecting included\tits memory\tdrain of one: over after its last handler\n", o.workers, o.partitions)
	return on(ctx, o, "look", quick(o.workers), func(kind string, n *natsServers, f *measure.Fleet) error {
		if err := f.Up(ctx); err != nil {
			return err
		}
		group, end, err := n.operator(ctx)
		if err != nil {
			return err
		}
		defer end()
		var snapshots measure.Times
		for range lookRounds {
			began := time.Now()
			s, err := group.Snapshot(ctx)
			if err != nil {
				return err
			}
			snapshots = append(snapshots, time.Since(began))
			if len(s.Workers) != o.workers || len(s.Partitions) != o.partitions {
				return fmt.Errorf("the snapshot has %d workers and %d partitions", len(s.Workers), len(s.Partitions))
			}
		}
		statuses, memory, err := n.status(ctx, command)
		if err != nil {
			return err
		}
		gone, err := drains(ctx, f, group)
		if err != nil {
			return err
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d MiB\t%s\n", kind, snapshots, statuses, memory>>20, gone)
		return tw.Flush()
	})
}

// built is the path of the command parti, built anew, until done is called.
func built(ctx context.Context) (path string, done func(), err error) {
	dir, err := os.MkdirTemp("", "parti-bench-*")
	if err != nil {
		return "", nil, err
	}
	done = func() { _ = os.RemoveAll(dir) }
	path = filepath.Join(dir, "parti")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/parti-go/parti/cmd/parti")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		done()
		return "", nil, fmt.Errorf("build the command: %w", err)
	}
	return path, done, nil
}

// operator is somebody beside the fleet, over a connection of their own.
func (n *natsServers) operator(ctx context.Context) (g *admin.Group, end func(), err error) {
	nc, err := nats.Connect(n.servers[0].ClientURL(), natskv.ConnectOptions()...)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, nil, err
	}
	store, err := natskv.Open(ctx, js, "look", natskv.WithoutCreate(), natskv.WithoutBarrier())
	if err != nil {
		return nil, nil, err
	}
	return admin.Open(store), func() { store.Close(); nc.Close() }, nil
}

// status runs parti status as a process of its own, and says how long each took and the
// most memory that one had.
func (n *natsServers) status(ctx context.Context, command string) (took measure.Times, memory int64, err error) {
	for range lookRounds {
		c := exec.CommandContext(ctx, command, "status", "--group", "look", "--nats", n.servers[0].ClientURL(), "--timeout", "1m")
		c.Stderr = os.Stderr
		began := time.Now()
		if _, err := c.Output(); err != nil {
			return nil, 0, fmt.Errorf("parti status: %w", err)
		}
		took = append(took, time.Since(began))
		usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			return nil, 0, errors.New("the system does not say what a process used")
		}
		memory = max(memory, usage.Maxrss<<10)
	}
	return took, memory, nil
}

// drains has workers drained one after another, whose handlers take their time, and says
// how long after the last of them had returned the operator was told.
func drains(ctx context.Context, f *measure.Fleet, group *admin.Group) (took measure.Times, err error) {
	for i := range lookRounds {
		w := f.Workers()[i%len(f.Workers())]
		worker := w.Manager.WorkerID()
		f.Reset()
		f.Dawdle(dawdle)
		if _, err := group.Drain(ctx, worker, admin.Order{Why: "bench", For: time.Hour}); err != nil {
			return nil, err
		}
		if err := group.AwaitDrained(ctx, worker, nil); err != nil {
			return nil, err
		}
		took = append(took, time.Since(f.LastEnd()))
		f.Dawdle(0)
		if _, err := group.Undrain(ctx, worker); err != nil {
			return nil, err
		}
		if err := group.AwaitSettled(ctx, nil); err != nil { // it has its part again
			return nil, err
		}
	}
	return took, nil
}
