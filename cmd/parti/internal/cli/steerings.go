package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

// newSteerings are all commands that change something, in the order of the help.
func newSteerings(s *Streams, g *global) []*cobra.Command {
	var all []*cobra.Command
	for _, list := range [][]steering{ofWorkers(), ofPartitions(), ofGroup()} {
		for _, v := range list {
			all = append(all, newSteering(s, g, v))
		}
	}
	return all
}

func aboutWorker(kind plan.ControlKind) func([]string) plan.Control {
	return func(args []string) plan.Control { return plan.Control{Kind: kind, Worker: args[0]} }
}

func aboutPartition(kind plan.ControlKind) func([]string) plan.Control {
	return func(args []string) plan.Control { return plan.Control{Kind: kind, Partition: args[0]} }
}

func aboutBoth(kind plan.ControlKind) func([]string) plan.Control {
	return func(args []string) plan.Control {
		return plan.Control{Kind: kind, Partition: args[0], Worker: args[1]}
	}
}

func aboutNothing(kind plan.ControlKind) func([]string) plan.Control {
	return func([]string) plan.Control { return plan.Control{Kind: kind} }
}

type names = []func(admin.Snapshot) []string

// has says what a worker has.
func has(now admin.Snapshot, id string) string {
	w, err := now.Worker(id)
	if err != nil {
		return "nothing"
	}
	return show.Plural(w.Partitions, "partition")
}

// others says who else there is.
func others(now admin.Snapshot, id string) string {
	n := 0
	for _, w := range now.Workers {
		if w.ID != id && w.Owns && w.State != "ended" && !w.Drained && !w.Cordoned {
			n++
		}
	}
	if n == 0 {
		return "nobody: no other worker takes anything"
	}
	return "the " + show.Plural(n, "other")
}

func ofWorkers() []steering {
	return []steering{
		{
			use: "drain WORKER", short: "Empty a worker, and give it nothing new", names: names{workerNames}, ends: true,
			long: `Move a worker's partitions to the others, and give it nothing new, until it is undrained. The
worker runs on, and the drain also holds for its successor under the same ID.`,
			example: `  parti drain worker-3 --why 'kernel upgrade' --for 1h --wait`,
			about:   aboutWorker(plan.Drain),
			will: func(now admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("drain %s: its %s go to %s, and it gets nothing new.", c.Worker, has(now, c.Worker), others(now, c.Worker))
			},
			do: func(ctx context.Context, w *way, c plan.Control, o admin.Order) (admin.Change, error) {
				return w.Drain(ctx, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Worker + " is being drained." },
			wait: awaitDrained,
		},
		{
			use: "undrain WORKER", short: "Take a drain back", names: names{drained}, takesBack: true,
			example: `  parti undrain worker-3`,
			about:   aboutWorker(plan.Drain),
			will: func(_ admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("undrain %s: it gets its part again.", c.Worker)
			},
			do: func(ctx context.Context, w *way, c plan.Control, _ admin.Order) (admin.Change, error) {
				return w.Undrain(ctx, c.Worker)
			},
			done: func(c plan.Control) string { return c.Worker + " is drained no more." },
			wait: awaitSettled,
		},
		{
			use: "cordon WORKER", short: "Give a worker nothing new", names: names{workerNames}, ends: true,
			long: `Give a worker nothing new, until it is uncordoned. It keeps what it has.`, example: `  parti cordon worker-3 --why 'its disk is slow'`,
			about: aboutWorker(plan.Cordon),
			will: func(now admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("cordon %s: it keeps its %s, and gets nothing new.", c.Worker, has(now, c.Worker))
			},
			do: func(ctx context.Context, w *way, c plan.Control, o admin.Order) (admin.Change, error) {
				return w.Cordon(ctx, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Worker + " is cordoned." },
		},
		{
			use: "uncordon WORKER", short: "Take a cordon back", names: names{cordoned}, takesBack: true,
			example: `  parti uncordon worker-3`,
			about:   aboutWorker(plan.Cordon),
			will: func(_ admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("uncordon %s: it gets its part again.", c.Worker)
			},
			do: func(ctx context.Context, w *way, c plan.Control, _ admin.Order) (admin.Change, error) {
				return w.Uncordon(ctx, c.Worker)
			},
			done: func(c plan.Control) string { return c.Worker + " is cordoned no more." },
			wait: awaitSettled,
		},
	}
}

func ofPartitions() []steering {
	from := func(now admin.Snapshot, id string) string {
		if p, err := now.Partition(id); err == nil && p.Owner != "" {
			return p.Owner
		}
		return "nobody"
	}
	return []steering{
		{
			use: "pin PARTITION WORKER", short: "Keep a partition on one worker", names: names{partitionNames, workerNames}, ends: true,
			long: `Move a partition to a worker, and keep it there until it is unpinned. While the worker is not
there it runs elsewhere, and that is an alert.`,
			example: `  parti pin tool-001.chamber-1 worker-3 --for 24h`,
			about:   aboutBoth(plan.Pin),
			will: func(now admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("pin %s, which is on %s, to %s.", c.Partition, from(now, c.Partition), c.Worker)
			},
			do: func(ctx context.Context, w *way, c plan.Control, o admin.Order) (admin.Change, error) {
				return w.Pin(ctx, c.Partition, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Partition + " is pinned to " + c.Worker + "." },
			wait: awaitOwner,
		},
		{
			use: "unpin PARTITION", short: "Take a pin back", names: names{pinned}, takesBack: true,
			example: `  parti unpin tool-001.chamber-1`,
			about:   aboutPartition(plan.Pin),
			will: func(_ admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("unpin %s: it stays where it is until something moves it.", c.Partition)
			},
			do: func(ctx context.Context, w *way, c plan.Control, _ admin.Order) (admin.Change, error) {
				return w.Unpin(ctx, c.Partition)
			},
			done: func(c plan.Control) string { return c.Partition + " is pinned no more." },
			wait: awaitSettled,
		},
		{
			use: "ban PARTITION WORKER", short: "Keep a partition away from one worker", names: names{partitionNames, workerNames}, ends: true,
			long: `Move a partition away from a worker, and keep it away until it is unbanned. Where nobody else can
take it, it stays.`,
			example: `  parti ban tool-001.chamber-1 worker-3`,
			about:   aboutBoth(plan.Ban),
			will: func(now admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("ban %s, which is on %s, from %s.", c.Partition, from(now, c.Partition), c.Worker)
			},
			do: func(ctx context.Context, w *way, c plan.Control, o admin.Order) (admin.Change, error) {
				return w.Ban(ctx, c.Partition, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Partition + " is banned from " + c.Worker + "." },
			wait: awaitSettled,
		},
		{
			use: "unban PARTITION WORKER", short: "Take a ban back", names: names{banned, workerNames}, takesBack: true,
			example: `  parti unban tool-001.chamber-1 worker-3`,
			about:   aboutBoth(plan.Ban),
			will: func(_ admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("let %s run on %s again.", c.Partition, c.Worker)
			},
			do: func(ctx context.Context, w *way, c plan.Control, _ admin.Order) (admin.Change, error) {
				return w.Unban(ctx, c.Partition, c.Worker)
			},
			done: func(c plan.Control) string { return c.Partition + " is banned from " + c.Worker + " no more." },
			wait: awaitSettled,
		},
		{
			use: "move PARTITION WORKER", short: "Move a partition to a worker, once", names: names{partitionNames, workerNames},
			long: `Move a partition to a worker, once and at once. It is no pin: a later plan may move it again. A
worker that takes nothing new, or has no room, is refused.`,
			example: `  parti move tool-001.chamber-1 worker-3 --wait`,
			about:   aboutBoth(plan.MoveTo),
			will: func(now admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("move %s from %s to %s.", c.Partition, from(now, c.Partition), c.Worker)
			},
			do: func(ctx context.Context, w *way, c plan.Control, o admin.Order) (admin.Change, error) {
				return w.Move(ctx, c.Partition, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Partition + " is asked to move to " + c.Worker + "." },
			wait: awaitOwner,
		},
		{
			use: "release PARTITION", short: "End the process that holds a partition and does not let go", names: names{releasing}, forced: true, slow: true,
			long: `End the process whose handler was asked to let go of a partition and ignores it: the only safe way
to take the partition from there. Everything else that runs in that process ends with it, and moves
on as after a crash. It returns when the process is gone.`,
			example: `  parti release --force tool-001.chamber-1`,
			about:   aboutPartition(plan.ForceRelease),
			will: func(now admin.Snapshot, c plan.Control) string {
				owner := from(now, c.Partition)
				holds := 0
				if w, err := now.Worker(owner); err == nil {
					holds = w.Partitions + w.Releasing
				}
				return fmt.Sprintf("end the process of %s, which holds %s; all that it holds, %s, moves on as after a crash.", owner, c.Partition, show.Plural(holds, "partition"))
			},
			do: func(ctx context.Context, w *way, c plan.Control, o admin.Order) (admin.Change, error) {
				return w.Release(ctx, c.Partition, o)
			},
			done: func(c plan.Control) string {
				return fmt.Sprintf("The process of %s has ended; %s is free.", c.Worker, c.Partition)
			},
		},
		{
			use: "lift PARTITION", short: "End the quarantine of a partition", names: names{quarantined},
			example: `  parti lift tool-001.chamber-1 --why 'the bad message is gone'`,
			about:   aboutPartition(plan.Lift),
			will: func(_ admin.Snapshot, c plan.Control) string {
				return fmt.Sprintf("end the quarantine of %s: it is given to a worker again.", c.Partition)
			},
			do: func(ctx context.Context, w *way, c plan.Control, o admin.Order) (admin.Change, error) {
				return w.Lift(ctx, c.Partition, o)
			},
			done: func(c plan.Control) string { return c.Partition + " is let in again." },
			wait: func(ctx context.Context, w *way, c plan.Control, p *progress) error {
				return w.Watch(ctx, func(now admin.Snapshot, err error) bool {
					if err != nil {
						return true
					}
					x, err := now.Partition(c.Partition)
					return err != nil || x.State != admin.Owned
				})
			},
		},
	}
}

func ofGroup() []steering {
	all := func(now admin.Snapshot) string { return show.Plural(now.Counts.Partitions, "partition") }
	return []steering{
		{
			use: "pause", short: "Stop voluntary moves", names: names{}, ends: true,
			long:    `Stop voluntary moves of the whole group, until it is resumed. What loses its owner is placed as ever.`,
			example: `  parti pause --for 2h --why 'sale'`,
			about:   aboutNothing(plan.Pause),
			will: func(now admin.Snapshot, _ plan.Control) string {
				return fmt.Sprintf("pause: none of %s moves for evenness; what loses its owner is placed as ever.", all(now))
			},
			do: func(ctx context.Context, w *way, _ plan.Control, o admin.Order) (admin.Change, error) {
				return w.Pause(ctx, o)
			},
			done: func(plan.Control) string { return "Paused." },
		},
		{
			use: "resume", short: "Take a pause back", names: names{}, takesBack: true,
			example: `  parti resume`,
			about:   aboutNothing(plan.Pause),
			will:    func(admin.Snapshot, plan.Control) string { return "resume: the load is evened out again." },
			do: func(ctx context.Context, w *way, _ plan.Control, _ admin.Order) (admin.Change, error) {
				return w.Resume(ctx)
			},
			done: func(plan.Control) string { return "Resumed." },
			wait: awaitSettled,
		},
		{
			use: "rebalance", short: "Even the load out now", names: names{},
			long:    `Even the load out now, without waiting for a window or the cool-down. See parti plan for what that would do.`,
			example: `  parti plan && parti rebalance --wait`,
			about:   aboutNothing(plan.Rebalance),
			will: func(now admin.Snapshot, _ plan.Control) string {
				return fmt.Sprintf("even out %s over %s now; parti plan says what that would move.", all(now), show.Plural(now.Counts.Workers, "worker"))
			},
			do: func(ctx context.Context, w *way, _ plan.Control, o admin.Order) (admin.Change, error) {
				return w.Rebalance(ctx, o)
			},
			done: func(plan.Control) string { return "The leader is asked to even out." },
			wait: awaitSettled,
		},
		{
			use: "refresh", short: "List the partitions again", names: names{},
			example: `  parti refresh`,
			about:   aboutNothing(plan.Refresh),
			will: func(now admin.Snapshot, _ plan.Control) string {
				return fmt.Sprintf("have the source listed again; it has %s now.", all(now))
			},
			do: func(ctx context.Context, w *way, _ plan.Control, o admin.Order) (admin.Change, error) {
				return w.Refresh(ctx, o)
			},
			done: func(plan.Control) string { return "The leader is asked to list the source again." },
		},
		{
			use: "step-down", short: "Have another worker lead", names: names{},
			long: `Have the leader give up its term, so that another leads. No partition moves. A leader that is
stuck need not obey: its key is removed.`,
			example: `  parti step-down`,
			about:   aboutNothing(plan.StepDown),
			will: func(now admin.Snapshot, _ plan.Control) string {
				if now.Leader == nil {
					return "step down: nobody leads."
				}
				return fmt.Sprintf("have %s give up its term, so that another leads; no partition moves.", now.Leader.Worker)
			},
			do: func(ctx context.Context, w *way, _ plan.Control, o admin.Order) (admin.Change, error) {
				return w.StepDown(ctx, o)
			},
			done: func(plan.Control) string { return "The leader is asked to step down." },
		},
	}
}

// The waits.

func awaitDrained(ctx context.Context, w *way, c plan.Control, p *progress) error {
	return w.AwaitDrained(ctx, c.Worker, func(left int) {
		p.show(fmt.Sprintf("%s left on %s", show.Plural(left, "partition"), c.Worker))
	})
}

// calm is how long after an order rest is believed: the leader hears of it a little later
// than who gave it.
const calm = 500 * time.Millisecond

func awaitSettled(ctx context.Context, w *way, _ plan.Control, p *progress) error {
	select {
	case <-time.After(calm):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return w.AwaitSettled(ctx, func(now admin.Snapshot) { p.show(now.Sentence) })
}

func awaitOwner(ctx context.Context, w *way, c plan.Control, _ *progress) error {
	return w.AwaitOwner(ctx, c.Partition, c.Worker)
}

// Names for completions: those of which something can be taken back.

func controlled(kind plan.ControlKind, name func(plan.Control) string) func(admin.Snapshot) []string {
	return func(now admin.Snapshot) []string {
		var all []string
		for _, c := range now.Controls {
			if c.Kind == kind {
				all = append(all, name(c))
			}
		}
		return all
	}
}

var (
	drained  = controlled(plan.Drain, func(c plan.Control) string { return c.Worker })
	cordoned = controlled(plan.Cordon, func(c plan.Control) string { return c.Worker })
	pinned   = controlled(plan.Pin, func(c plan.Control) string { return c.Partition })
	banned   = controlled(plan.Ban, func(c plan.Control) string { return c.Partition })
)

func quarantined(now admin.Snapshot) []string { return inState(now, admin.Quarantined) }

func releasing(now admin.Snapshot) []string {
	return append(inState(now, admin.Moving), inState(now, admin.Stopping)...)
}

func inState(now admin.Snapshot, state string) []string {
	var all []string
	for _, p := range now.Partitions {
		if p.State == state {
			all = append(all, p.ID)
		}
	}
	return all
}
