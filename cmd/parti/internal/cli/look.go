package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

func newWorkers(s *Streams, g *global) *cobra.Command {
	t := &target{}
	cmd := &cobra.Command{
		Use:   "workers",
		Short: "List the workers, how they are and what they have",
		Long: `List the workers that are there, and those that are gone and still have something in the plan.

LOAD is what a worker has, over its fair share. Off a terminal the columns are: worker, state,
partitions, running, weight, load, moving, zone, version, host, identity, started, why.`,
		Example: `  parti workers --group orders
  parti workers | awk -F'\t' '$2 !~ /^live/'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.do(cmd.Context(), func(ctx context.Context, w *way) error {
				now, err := w.Snapshot(ctx)
				if err != nil {
					return err
				}
				if g.json {
					return writeJSON(s.Out, struct {
						Schema  int            `json:"schema"`
						Workers []admin.Worker `json:"workers"`
					}{admin.Schema, nonNil(now.Workers)})
				}
				return writeLines(s.Out, workerLines(now, s.look(g)))
			})
		},
	}
	t.flags(cmd, s)
	return cmd
}

// workerLines are the screen of workers.
func workerLines(now admin.Snapshot, look show.Look) []string {
	t := show.Table{Columns: []show.Column{
		{Name: "WORKER"},
		{Name: "STATE", Gives: true},
		{Name: "PARTITIONS", Right: true},
		{Name: "RUNNING", Right: true, Spare: 4},
		{Name: "WEIGHT", Right: true, Spare: 5},
		{Name: "LOAD", Right: true},
		{Name: "MOVING", Maybe: true},
		{Name: "ZONE", Maybe: true, Spare: 2},
		{Name: "VERSION", Maybe: true, Spare: 3},
		{Name: "HOST", Gives: true, Maybe: true, Spare: 1},
		{Name: "IDENTITY", Gives: true, Maybe: true, Spare: 7},
		{Name: "STARTED", Maybe: true, Spare: 6},
		{Name: "WHY", Gives: true, Maybe: true},
	}}
	for _, w := range now.Workers {
		identity := show.Text(w.Identity)
		if w.Identity == w.Host {
			identity = show.Both("", w.Identity)
		}
		t.Row(workerName(w, look), workerState(w, look), show.Count(w.Partitions), show.Count(w.Running), show.Count(w.Weight), load(w.Load), moving(w),
			show.Text(w.Zone), show.Text(w.Software), show.Text(w.Host), identity, show.Ago(now.At, w.Started), show.Text(w.Why))
	}
	return t.Lines(look)
}

func newPartitions(s *Streams, g *global) *cobra.Command {
	t := &target{}
	var worker, state string
	cmd := &cobra.Command{
		Use:   "partitions [PATTERN]",
		Short: "List the partitions, their owners, and why they are there",
		Long: `List the partitions that the plan names. A pattern is a NATS subject: * stands for one token, and
> at the end for all that follow. What has no owner is in no record: the leader names the first few
hundred.

Off a terminal the columns are: partition, state, owner, next, weight, why, token, pinned, banned,
note.`,
		Example: `  parti partitions --group orders
  parti partitions 'tool-001.*' --worker worker-3
  parti partitions --state moving`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if state != "" && !slices.Contains(partitionStates, state) {
				return usage(fmt.Errorf("--state %s: it is %s", state, strings.Join(partitionStates, ", ")), "parti partitions --state "+admin.Owned)
			}
			return t.do(cmd.Context(), func(ctx context.Context, w *way) error {
				now, err := w.Snapshot(ctx)
				if err != nil {
					return err
				}
				list, err := pick(now, args, worker, state)
				if err != nil {
					return err
				}
				if g.json {
					return writeJSON(s.Out, struct {
						Schema     int               `json:"schema"`
						Partitions []admin.Partition `json:"partitions"`
						Unassigned int               `json:"unassigned"`
					}{admin.Schema, nonNil(list), now.Counts.Unassigned})
				}
				if err := writeLines(s.Out, partitionLines(list, s.look(g))); err != nil {
					return err
				}
				if n := now.Unnamed(); n > 0 {
					fmt.Fprintf(s.Err, "Not listed: %s without an owner. No record names them, and the leader only the first few hundred.\n", show.Plural(n, "partition"))
				}
				return nil
			})
		},
	}
	t.flags(cmd, s)
	f := cmd.Flags()
	f.StringVar(&worker, "worker", "", "only those that this `worker` has, or gets")
	f.StringVar(&state, "state", "", "only those in this `state`: "+strings.Join(partitionStates, ", "))
	_ = cmd.RegisterFlagCompletionFunc("worker", t.completes(workerNames))
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(partitionStates, cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = t.completes(partitionNames)
	return cmd
}

var partitionStates = []string{admin.Unassigned, admin.Owned, admin.Moving, admin.Stopping, admin.Quarantined, admin.Done}

// pick are the partitions that match all that is said of them.
func pick(now admin.Snapshot, patterns []string, worker, state string) ([]admin.Partition, error) {
	list := now.Partitions
	if worker != "" {
		if _, err := now.Worker(worker); err != nil {
			return nil, err
		}
		list = filter(list, func(p admin.Partition) bool { return p.Owner == worker || p.Next == worker })
	}
	if state != "" {
		list = filter(list, func(p admin.Partition) bool { return p.State == state })
	}
	for _, pattern := range patterns {
		ids, err := now.Match(pattern)
		if err != nil {
			return nil, err
		}
		list = filter(list, func(p admin.Partition) bool { _, ok := slices.BinarySearch(ids, p.ID); return ok })
	}
	return list, nil
}

func filter[T any](list []T, keep func(T) bool) []T {
	var some []T
	for _, one := range list {
		if keep(one) {
			some = append(some, one)
		}
	}
	return some
}

// nonNil is a list that is [] in JSON when it is empty.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// partitionLines are the screen of partitions.
func partitionLines(list []admin.Partition, look show.Look) []string {
	t := show.Table{Columns: []show.Column{
		{Name: "PARTITION", Gives: true, Key: true},
		{Name: "STATE"},
		{Name: "OWNER"},
		{Name: "NEXT", Maybe: true},
		{Name: "WEIGHT", Right: true},
		{Name: "WHY"},
		{Name: "PLAN", Right: true, Spare: 1},
		{Name: "PINNED", For: show.Programs},
		{Name: "BANNED", For: show.Programs},
		{Name: "NOTE", For: show.Programs},
		{Name: "NOTE", For: show.People, Maybe: true, Gives: true},
	}}
	for _, p := range list {
		state := show.Text(p.State)
		switch p.State {
		case admin.Moving, admin.Stopping:
			state = state.Painted(look.Paint.Yellow)
		case admin.Quarantined, admin.Unassigned:
			state = state.Painted(look.Paint.Red)
		case admin.Done:
			state = state.Painted(look.Paint.Dim)
		}
		t.Row(show.Text(p.ID), state, show.Text(p.Owner), show.Text(p.Next), show.Count(p.Weight), show.Text(why(p.Why)), tokenCell(p),
			show.Text(p.Pinned), show.Text(strings.Join(p.Banned, " ")), show.Text(note(p)), show.Text(notes(p)))
	}
	return t.Lines(look)
}

func why(w plan.Why) string {
	if w == plan.WhyNone {
		return ""
	}
	return w.String()
}

func tokenCell(p admin.Partition) show.Cell {
	if p.Token == 0 {
		return show.Both("", "0")
	}
	return show.Both(show.Number(int64(p.Token.Number())), fmt.Sprint(uint64(p.Token)))
}

// notes are all that is not in a column of its own.
func notes(p admin.Partition) string {
	var all []string
	if p.Pinned != "" {
		all = append(all, "pinned to "+p.Pinned)
	}
	if len(p.Banned) > 0 {
		all = append(all, "banned from "+strings.Join(p.Banned, " "))
	}
	if n := note(p); n != "" {
		all = append(all, n)
	}
	return strings.Join(all, "; ")
}

// note is what there is to say of its quarantine and its owners.
func note(p admin.Partition) string {
	var notes []string
	if p.For > 0 {
		notes = append(notes, "for "+admin.Duration(p.For.Duration()))
	}
	if p.Times > 0 {
		notes = append(notes, "time "+show.Number(p.Times))
	}
	if len(p.Owners) > 0 {
		notes = append(notes, "crashed with it: "+strings.Join(p.Owners, " "))
	}
	return strings.Join(notes, "; ")
}

func newControls(s *Streams, g *global) *cobra.Command {
	t := &target{}
	cmd := &cobra.Command{
		Use:   "controls",
		Short: "List what operators want: who, when, why and until when",
		Long: `List the controls in force: what is drained, cordoned, pinned, banned and paused, and what was
asked for in the last minutes. Off a terminal the columns are: kind, partition, worker, who, when,
until, why.`,
		Example: `  parti controls --group orders`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.do(cmd.Context(), func(ctx context.Context, w *way) error {
				now, err := w.Snapshot(ctx)
				if err != nil {
					return err
				}
				if g.json {
					return writeJSON(s.Out, struct {
						Schema   int            `json:"schema"`
						Controls []plan.Control `json:"controls"`
					}{admin.Schema, nonNil(now.Controls)})
				}
				if len(now.Controls) == 0 {
					fmt.Fprintln(s.Err, "No operator wants anything.")
					return nil
				}
				return writeLines(s.Out, controlLines(now, s.look(g)))
			})
		},
	}
	t.flags(cmd, s)
	return cmd
}

// controlLines are the screen of controls.
func controlLines(now admin.Snapshot, look show.Look) []string {
	t := show.Table{Columns: []show.Column{
		{Name: "KIND"},
		{Name: "PARTITION", Maybe: true, Gives: true, Key: true},
		{Name: "WORKER", Maybe: true},
		{Name: "WHO", Gives: true},
		{Name: "WHEN"},
		{Name: "ENDS", Maybe: true},
		{Name: "WHY", Maybe: true, Gives: true},
	}}
	for _, c := range now.Controls {
		ends := show.Text("")
		if !c.Until.IsZero() {
			ends = show.Both(show.Until(now.At, c.Until), c.Until.UTC().Format(time.RFC3339))
		}
		t.Row(show.Text(string(c.Kind)), show.Text(c.Partition), show.Text(c.Worker), show.Text(c.Who), show.Ago(now.At, c.When), ends, show.Text(c.Why))
	}
	return t.Lines(look)
}
