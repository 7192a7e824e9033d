package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

// usualMoves is how many moves plan shows.
const usualMoves = 20

// mostWith is how many more workers a plan is made with: each is one in memory, and a line.
const mostWith = 1000

func newPlan(s *Streams, g *global) *cobra.Command {
	t := &target{}
	var (
		what    admin.WhatIf
		without []string
		weights string
		moves   int
	)
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say what the leader would do if something were different",
		Long: `Say what the group's leader would do without some workers, with more of them, or with other
weights; without any of these, what evening out now would do. Nothing is changed: it is the
leader's own reasoning on what is there now, with the strategy that is the default.

A file of weights has a partition and its weight on each line, or is a JSON object of them; - is
standard input. Off a terminal each line begins with a word for what it is: sentence; load, with
worker, partitions before and after, weight before and after, new or gone; move, with partition,
from, to, weight, why; alert; unassigned, with a partition.`,
		Example: `  parti plan --without worker-3
  parti plan --without worker-3,worker-4 --with 2
  parti plan --weights weights.txt --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if what.Without = listed(without); len(what.Without) == 0 && cmd.Flags().Changed("without") {
				return usage(errors.New("--without: it names no worker"), "parti plan --without worker-3")
			}
			if what.With < 0 || what.With > mostWith {
				return usage(fmt.Errorf("--with %d: it is 0 to %d", what.With, mostWith), "parti plan --with 1")
			}
			if moves < 0 {
				return usage(fmt.Errorf("--moves %d: it is 0 or more", moves), "parti plan --moves 100")
			}
			if weights != "" {
				var err error
				if what.Reweigh, err = readWeights(s, weights); err != nil {
					return usage(fmt.Errorf("--weights %s: %w", weights, err), "a line for each partition: tool-001.chamber-1 5")
				}
			}
			return t.do(cmd.Context(), func(ctx context.Context, w *way) error {
				o, err := w.Plan(ctx, what)
				if err != nil {
					return err
				}
				if g.json {
					return writeJSON(s.Out, o)
				}
				return writeLines(s.Out, planLines(o, moves, s.look(g)))
			})
		},
	}
	t.flags(cmd, s)
	f := cmd.Flags()
	f.StringArrayVar(&without, "without", nil, "without this `worker`, or several that are joined by commas; may be repeated")
	f.IntVar(&what.With, "with", 0, fmt.Sprintf("with so many more workers, up to %d, like most of those that are there", mostWith))
	f.StringVar(&weights, "weights", "", "with the weights in this `file`")
	f.IntVar(&moves, "moves", usualMoves, "how many moves a terminal shows; 0: all")
	_ = cmd.RegisterFlagCompletionFunc("without", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return t.completes(workerNames)(cmd, nil, word)
	})
	return cmd
}

// listed are all names of some lists, whose names stand between commas or spaces.
func listed(lists []string) []string {
	return strings.FieldsFunc(strings.Join(lists, ","), func(r rune) bool { return r == ',' || r == ' ' })
}

// readWeights reads a file of weights.
func readWeights(s *Streams, path string) (map[string]int64, error) {
	all, err := parseWeights(s, path)
	for _, id := range sortedKeys(all) {
		if all[id] < 0 && err == nil {
			err = fmt.Errorf("the weight of %s is %d, and not 0 or more", id, all[id])
		}
	}
	return all, err
}

func parseWeights(s *Streams, path string) (map[string]int64, error) {
	var text []byte
	var err error
	if path == "-" {
		text, err = io.ReadAll(s.In)
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	all := map[string]int64{}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		err := json.Unmarshal(text, &all)
		return all, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		// As in a file of partitions, whose IDs may have a # in them.
		if i := slices.IndexFunc(fields, func(word string) bool { return word[0] == '#' }); i >= 0 {
			fields = fields[:i]
		}
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %d: it has %d words, not a partition and a weight", n, len(fields))
		}
		if all[fields[0]], err = strconv.ParseInt(fields[1], 10, 64); err != nil {
			return nil, fmt.Errorf("line %d: the weight is %q, and not a whole number", n, fields[1])
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is no weight in it")
	}
	return all, lines.Err()
}

// planLines are the screen of plan.
func planLines(o admin.Outcome, moves int, look show.Look) []string {
	loads := show.Table{Columns: []show.Column{
		{Name: "WORKER", Gives: true}, {Name: "PARTITIONS", Right: true}, {Name: "THEN", Right: true}, {Name: "WEIGHT", Right: true}, {Name: "THEN", Right: true}, {Name: "", Maybe: true},
	}}
	for _, l := range o.Loads {
		is := ""
		switch {
		case l.Gone:
			is = "gone"
		case l.New:
			is = "new"
		}
		loads.Row(show.Text(l.Worker), show.Count(l.PartitionsBefore), show.Count(l.PartitionsAfter), show.Count(l.Before), show.Count(l.After), show.Text(is))
	}
	steps := show.Table{Columns: []show.Column{
		{Name: "PARTITION", Gives: true, Key: true}, {Name: "FROM"}, {Name: "TO"}, {Name: "WEIGHT", Right: true}, {Name: "WHY"},
	}}
	for i, m := range o.Moves {
		if !look.Plain && moves > 0 && i == moves {
			break
		}
		steps.Row(show.Text(m.Partition), show.Text(m.From), show.Text(m.To), show.Count(m.Weight), show.Text(why(m.Why)))
	}
	if look.Plain {
		lines := []string{"sentence\t" + show.Clean(o.Sentence)}
		for _, l := range loads.Lines(look) {
			lines = append(lines, "load\t"+l)
		}
		for _, l := range steps.Lines(look) {
			lines = append(lines, "move\t"+l)
		}
		return append(lines, planRest(o, look)...)
	}
	var lines []string
	for _, line := range show.Wrap(o.Sentence, look.Width) {
		lines = append(lines, look.Paint.Bold(look.Cut(line, look.Width)))
	}
	lines = append(lines, planRest(o, look)...)
	lines = append(append(lines, ""), loads.Lines(look)...)
	if len(o.Moves) == 0 {
		return lines
	}
	lines = append(append(lines, ""), steps.Lines(look)...)
	if n := len(o.Moves) - steps.Len(); n > 0 {
		lines = append(lines, look.Paint.Dim(look.Cut("and "+show.Number(n)+" more: --moves 0", look.Width)))
	}
	return lines
}

// planRest is what else there is to say of an outcome.
func planRest(o admin.Outcome, look show.Look) []string {
	var lines []string
	add := func(word, text string) {
		if look.Plain {
			lines = append(lines, strings.ToLower(word)+"\t"+show.Clean(text))
			return
		}
		for _, line := range show.Wrap(word+": "+text, look.Width) {
			lines = append(lines, look.Paint.Red(look.Cut(line, look.Width)))
		}
	}
	for _, a := range o.Alerts {
		add("Alert", a)
	}
	const few = 8
	for i, id := range o.Unassigned {
		if i == few && !look.Plain {
			add("Unassigned", "and "+show.Number(len(o.Unassigned)-few)+" more")
			break
		}
		add("Unassigned", id)
	}
	return lines
}

func newExplain(s *Streams, g *global) *cobra.Command {
	t := &target{}
	cmd := &cobra.Command{
		Use:   "explain PARTITION",
		Short: "Say why a partition is where it is, and what would move it",
		Long: `Say in one sentence who has a partition, since when and why; then what would move it next, and
what is known of it.`,
		Example: `  parti explain tool-001.chamber-1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.do(cmd.Context(), func(ctx context.Context, w *way) error {
				e, err := w.Explain(ctx, args[0])
				if err != nil {
					return err
				}
				if g.json {
					return writeJSON(s.Out, e)
				}
				return writeLines(s.Out, explainLines(e, time.Now(), s.look(g)))
			})
		},
	}
	t.flags(cmd, s)
	cmd.ValidArgsFunction = t.completes(partitionNames)
	return cmd
}

// explainLines are the screen of explain.
func explainLines(e admin.Explanation, now time.Time, look show.Look) []string {
	const indent = 11
	var lines []string
	add := func(word, text string) {
		if text == "" {
			return
		}
		if look.Plain {
			lines = append(lines, strings.ToLower(word)+"\t"+show.Clean(text))
			return
		}
		head := word
		for _, line := range show.Wrap(text, look.Width-indent) {
			lines = append(lines, look.Paint.Dim(fmt.Sprintf("%-*s", indent, head))+look.Cut(line, look.Width-indent))
			head = ""
		}
	}
	if look.Plain {
		lines = append(lines, "sentence\t"+show.Clean(e.Sentence))
	} else {
		for _, line := range show.Wrap(e.Sentence, look.Width) {
			lines = append(lines, look.Paint.Bold(look.Cut(line, look.Width)))
		}
		lines = append(lines, "")
	}
	for i, text := range e.Next {
		word := ""
		if i == 0 || look.Plain {
			word = "Next"
		}
		add(word, text)
	}
	p := e.Partition
	add("State", p.State)
	add("Owner", p.Owner)
	add("To", p.Next)
	add("Weight", show.Number(p.Weight))
	add("Pinned", p.Pinned)
	add("Banned", strings.Join(p.Banned, ", "))
	add("Crashed", strings.Join(p.Owners, ", "))
	add("Labels", labels(p.Labels))
	if p.Token != 0 {
		add("Token", fmt.Sprintf("%d, of plan %d", uint64(p.Token), p.Token.Number()))
	}
	add("Granted", decisionLine(e.Granted, now))
	add("Asked", decisionLine(e.Asked, now))
	if l := e.Last; l != nil {
		text := fmt.Sprintf("to %s, by plan %d %s (%v)", l.To, l.Version.Number(), admin.Past(now, l.At), l.Why)
		if l.From != "" {
			text = "from " + l.From + " " + text
		}
		if l.About != "" {
			text += ": " + l.About
		}
		add("Last move", text)
	}
	return lines
}

func labels(all map[string]string) string {
	var words []string
	for _, name := range sortedKeys(all) {
		words = append(words, name+"="+all[name])
	}
	return strings.Join(words, ", ")
}

func decisionLine(d *plan.Decision, now time.Time) string {
	if d == nil {
		return ""
	}
	text := fmt.Sprintf("by plan %d of %s, term %d, %s (%v)", d.Version.Number(), d.Leader, d.Term, admin.Past(now, d.At), d.Why)
	if d.About != "" {
		text += ": " + d.About
	}
	return text
}
