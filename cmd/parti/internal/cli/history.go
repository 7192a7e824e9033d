package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

// usualDecisions is how many decisions history shows.
const usualDecisions = 20

func newHistory(s *Streams, g *global) *cobra.Command {
	t := &target{}
	var (
		q     admin.Query
		since string
	)
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List what the leaders decided, and why",
		Long: `List the decisions of the last days, newest first: when, which plan, what triggered it, how many
partitions moved, and how that compares with the fewest possible. With --partition, what each did
with that partition, and why with it: a plan may have been about others.

Off a terminal the columns are: when, plan, term, leader, why, moves, fewest, unassigned, waited,
about; with --partition step, from and to follow.`,
		Example: `  parti history --group orders
  parti history --partition tool-001.chamber-1 --since 24h
  parti history --last 0 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if q.Since, err = sinceWhen(since, time.Now()); err != nil {
				return usage(fmt.Errorf("--since %s: %w", since, err), "parti history --since 24h")
			}
			if q.Last < 0 {
				return usage(fmt.Errorf("--last %d: it is 0 or more", q.Last), "parti history --last 20")
			}
			return t.do(cmd.Context(), func(ctx context.Context, w *way) error {
				all, err := w.decisions(ctx, q)
				if err != nil {
					return err
				}
				if g.json {
					return writeJSON(s.Out, admin.Decisions{Schema: admin.Schema, Decisions: nonNil(all)})
				}
				if len(all) == 0 {
					fmt.Fprintln(s.Err, "No decision is kept that fits.")
					return nil
				}
				return writeLines(s.Out, historyLines(all, q.Partition, time.Now(), s.look(g)))
			})
		},
	}
	t.flags(cmd, s)
	f := cmd.Flags()
	f.StringVar(&q.Partition, "partition", "", "only those that moved this `partition`")
	f.StringVar(&q.Worker, "worker", "", "only those that moved something from or to this `worker`")
	f.StringVar(&since, "since", "", "only those since this `time`: 24h, or 2026-01-02T15:04:05Z")
	f.IntVar(&q.Last, "last", usualDecisions, "how many at most; 0: all")
	one := func(place func(admin.Snapshot) []string) completions {
		return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
			return t.completes(place)(cmd, nil, word)
		}
	}
	_ = cmd.RegisterFlagCompletionFunc("partition", one(partitionNames))
	_ = cmd.RegisterFlagCompletionFunc("worker", one(workerNames))
	return cmd
}

// sinceWhen reads a moment: a time, or how long it is ago. Empty is the zero time.
func sinceWhen(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		if d < 0 {
			return time.Time{}, errors.New("it is a time above 0")
		}
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, show.Zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("it is how long ago, or a time such as 2026-01-02T15:04:05Z")
}

// decisions are those that fit. A name of which there is nothing, neither in the log nor
// in the group, is an error.
func (w *way) decisions(ctx context.Context, q admin.Query) ([]plan.Decision, error) {
	var all []plan.Decision
	for d, err := range w.History(ctx, q) {
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	if len(all) > 0 || q.Partition == "" && q.Worker == "" {
		return all, nil
	}
	now, err := w.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if q.Partition != "" {
		if _, err := now.Partition(q.Partition); err != nil {
			return nil, err
		}
	}
	if q.Worker != "" {
		if _, err := now.Worker(q.Worker); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// historyLines are the screen of history.
func historyLines(all []plan.Decision, partition string, now time.Time, look show.Look) []string {
	whole := show.Everybody
	if partition != "" {
		whole = show.Programs
	}
	t := show.Table{Columns: []show.Column{
		{Name: "WHEN"},
		{Name: "PLAN", Right: true},
		{Name: "TERM", Right: true, Spare: 3},
		{Name: "LEADER", Spare: 2},
		{Name: "WHY"},
		{Name: "MOVES", Right: true, For: whole},
		{Name: "FEWEST", Right: true, Maybe: true, For: whole},
		{Name: "UNASSIGNED", Right: true, Maybe: true, For: whole, Spare: 1},
		{Name: "WAITED", Right: true, Maybe: true, For: whole, Spare: 4},
		{Name: "ABOUT", Maybe: true, Gives: true},
	}}
	if partition != "" {
		t.Columns = append(t.Columns, show.Column{Name: "STEP"}, show.Column{Name: "FROM", Maybe: true}, show.Column{Name: "TO", Maybe: true})
	}
	for i := range all {
		d := &all[i]
		fewest := show.Both("", "")
		if e := d.Strategy; e != nil && e.Moved+e.Placed > 0 {
			fewest = show.Count(e.BoundMoves)
		}
		waited := show.Both("", "0s")
		if d.Waited > 0 {
			waited = show.Took(d.Waited.Duration())
		}
		m := plan.Move{Why: d.Why}
		if at := slices.IndexFunc(d.Moves, func(m plan.Move) bool { return m.Partition == partition }); partition != "" && at >= 0 {
			m = d.Moves[at]
		}
		row := []show.Cell{
			show.Ago(now, d.At), planCell(d.Version), show.Both(fmt.Sprint(d.Term), fmt.Sprint(d.Term)), show.Text(d.Leader), show.Text(why(m.Why)),
			show.Count(len(d.Moves) + d.More), fewest, show.Few(d.Unassigned), waited, show.Text(d.About),
		}
		if partition != "" {
			row = append(row, show.Text(string(m.Step)), show.Text(m.From), show.Text(m.To))
		}
		t.Row(row...)
	}
	return t.Lines(look)
}

func planCell(v plan.Version) show.Cell {
	return show.Both(fmt.Sprint(v.Number()), fmt.Sprint(uint64(v)))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func newEvents(s *Streams, g *global) *cobra.Command {
	t := &target{}
	count := 0
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Follow what happens, one line each",
		Long: `Follow a group from now on: workers that come and go, leaders, plans, controls, quarantines. One
line each, until it is interrupted: --timeout is for the way to the group only. Off a terminal the
columns are: time, kind, text. With --json a document on one line.`,
		Example: `  parti events --group orders
  parti events --json | jq -r 'select(.kind == "worker-lost").worker'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 0 {
				return usage(fmt.Errorf("--count %d: it is 0 or more", count), "parti events --count 1")
			}
			return followEvents(cmd.Context(), s, g, t, count)
		},
	}
	t.flags(cmd, s)
	cmd.Flags().IntVar(&count, "count", 0, "end after so many; 0: when it is interrupted")
	return cmd
}

func followEvents(ctx context.Context, s *Streams, g *global, t *target, count int) error {
	first, cancel := t.bounded(ctx)
	w, err := t.open(first)
	cancel()
	if err != nil {
		return err
	}
	defer w.close()
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	look := s.look(g)
	left := math.MaxInt
	if count > 0 {
		left = count
	}
	var failed error
	err = w.Events(ctx, func() { fmt.Fprintf(s.Err, "Following group %s.\n", w.name) }, func(e admin.Event) {
		if left == 0 || failed != nil {
			return
		}
		left--
		failed = writeEvent(s, g, e, look)
		if left == 0 || failed != nil {
			enough()
		}
	})
	if failed != nil || ctx.Err() != nil {
		return failed
	}
	return t.failed(w.name, err)
}

func writeEvent(s *Streams, g *global, e admin.Event, look show.Look) error {
	if g.json {
		return json.NewEncoder(s.Out).Encode(struct {
			Schema int `json:"schema"`
			admin.Event
		}{admin.Schema, e})
	}
	text := show.Clean(e.Text)
	if look.Plain {
		_, err := fmt.Fprintf(s.Out, "%s\t%s\t%s\n", e.At.Format(time.RFC3339), e.Kind, text)
		return err
	}
	switch e.Kind {
	case admin.WorkerLost, admin.SetAside, admin.Missed:
		text = look.Paint.Red(text)
	case admin.LeaderChanged:
		text = look.Paint.Cyan(text)
	case admin.ControlSet, admin.ControlEnded, admin.PhaseChanged:
		text = look.Paint.Yellow(text)
	}
	_, err := fmt.Fprintf(s.Out, "%s  %s\n", look.Paint.Dim(e.At.In(show.Zone).Format(time.TimeOnly)), text)
	return err
}
