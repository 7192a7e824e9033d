package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

func newStatus(s *Streams, g *global) *cobra.Command {
	t := &target{}
	watch := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say what is happening, what is pending and until when",
		Long: `Say on one screen what a group is doing: the most important sentence first, then who leads,
what is pending and until when, what people should know of, what operators want, and the workers.

Off a terminal each line begins with a word for what it is, and a tab.

With --watch it goes on: a terminal is drawn anew whenever something changes, otherwise a line is
written each time that the first sentence becomes another; with --json a document on one line. Then
--timeout is for the way to the group only.`,
		Example: `  parti status --group orders
  parti status --watch
  parti status --json | jq .settled`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return watchStatus(cmd.Context(), s, g, t, false)
			}
			return t.do(cmd.Context(), func(ctx context.Context, w *way) error {
				now, err := w.Snapshot(ctx)
				if err != nil {
					return err
				}
				if g.json {
					return writeJSON(s.Out, now)
				}
				return writeLines(s.Out, statusLines(w.name, now, s.look(g)))
			})
		},
	}
	t.flags(cmd, s)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on until it is interrupted")
	return cmd
}

// statusLines are the screen of status.
func statusLines(group string, now admin.Snapshot, look show.Look) []string {
	var lines []string
	if look.Plain {
		lines = append(lines, "sentence\t"+show.Clean(now.Sentence))
	} else {
		for _, line := range show.Wrap(now.Sentence, look.Width) {
			lines = append(lines, mood(now, look.Paint)(look.Cut(line, look.Width)))
		}
		lines = append(lines, "")
	}
	lines = append(lines, facts(group, now, look)...)
	if len(now.Workers) == 0 {
		return lines
	}
	if !look.Plain {
		lines = append(lines, "")
	}
	return append(lines, crew(now, look)...)
}

// mood is the colour of the first sentence.
func mood(now admin.Snapshot, p show.Paint) func(string) string {
	switch {
	case now.Settled:
		return func(text string) string { return p.Bold(p.Green(text)) }
	case now.Leader == nil || now.Counts.Unassigned > 0 || now.Counts.Workers == 0 || now.Phase == plan.Emergency:
		return func(text string) string { return p.Bold(p.Red(text)) }
	default:
		return func(text string) string { return p.Bold(p.Yellow(text)) }
	}
}

// factsEach is how many alerts and how many controls fit on one screen with all the rest.
const factsEach = 6

// facts say what there is to say of the whole group, under a word each.
func facts(group string, now admin.Snapshot, look show.Look) []string {
	const indent = 11
	var lines []string
	last := ""
	add := func(word, text string, paint func(string) string) {
		if look.Plain {
			lines = append(lines, strings.ToLower(word)+"\t"+show.Clean(text))
			return
		}
		head := word
		if word == last {
			head = ""
		}
		last = word
		for _, line := range show.Wrap(text, look.Width-indent) {
			line = look.Cut(line, look.Width-indent)
			if paint != nil {
				line = paint(line)
			}
			lines = append(lines, look.Paint.Dim(fmt.Sprintf("%-*s", indent, head))+line)
			head = ""
		}
	}
	add("Group", groupLine(group, now), nil)
	switch {
	case now.Leader == nil:
		add("Leader", "nobody", look.Paint.Red)
	case !now.Leader.Answers:
		add("Leader", now.Leader.Worker+", which does not answer", look.Paint.Yellow)
	default:
		add("Leader", now.Leader.Worker, look.Paint.Cyan)
	}
	for _, p := range now.Pending {
		add("Pending", admin.DescribePending(p), look.Paint.Yellow)
	}
	if now.Doubt != "" {
		add("Doubt", "nobody is declared lost: "+now.Doubt, look.Paint.Yellow)
	}
	alerts := make([]string, 0, len(now.Alerts)+len(now.Unreadable))
	for _, a := range now.Alerts {
		alerts = append(alerts, fmt.Sprintf("%s: %s (%s)", a.Worker, a.Text, a.About))
	}
	for _, u := range now.Unreadable {
		alerts = append(alerts, fmt.Sprintf("%s cannot be read: %s", u.Key, u.Err))
	}
	controls := make([]string, len(now.Controls))
	for i, c := range now.Controls {
		controls[i] = controlLine(c, now.At)
	}
	for _, list := range []struct {
		word, more string
		texts      []string
		paint      func(string) string
	}{{"Alert", "parti doctor", alerts, look.Paint.Red}, {"Control", "parti controls", controls, nil}} {
		for i, text := range list.texts {
			if i == factsEach && !look.Plain {
				add(list.word, "and "+show.Number(len(list.texts)-i)+" more: "+list.more, look.Paint.Dim)
				break
			}
			add(list.word, text, list.paint)
		}
	}
	return lines
}

func groupLine(group string, now admin.Snapshot) string {
	if now.Version == 0 {
		return group + ", no plan yet"
	}
	text := fmt.Sprintf("%s, %v, term %d, plan %d", group, now.Phase, now.Term, now.Version.Number())
	if now.Why != plan.WhyNone {
		text += fmt.Sprintf(" (%v)", now.Why)
	}
	if n := now.Counts.Aside; n > 0 {
		text += ", " + show.Plural(n, "partition") + " aside"
	}
	return text
}

// controlLine says what an operator wants, who it is, why, and until when.
func controlLine(c plan.Control, now time.Time) string {
	return admin.DescribeControl(c, now.In(show.Zone))
}

// usualRows is how many workers status shows where it does not know how high the
// screen is.
const usualRows = 24

// crew are the workers as status shows them: where there are more than fit, those
// that are not just well first.
func crew(now admin.Snapshot, look show.Look) []string {
	most := usualRows
	if look.Height > 0 {
		most = max(look.Height/2, 6)
	}
	workers := now.Workers
	left := 0
	if !look.Plain && len(workers) > most {
		left = len(workers) - most
		workers = remarkable(workers, most)
	}
	t := show.Table{Columns: []show.Column{
		{Name: "WORKER"},
		{Name: "STATE", Gives: true},
		{Name: "PARTITIONS", Right: true},
		{Name: "RUNNING", Right: true},
		{Name: "LOAD", Right: true},
		{Name: "MOVING", Maybe: true},
		{Name: "WHY", Gives: true, Maybe: true},
	}}
	for _, w := range workers {
		t.Row(workerName(w, look), workerState(w, look), show.Count(w.Partitions), show.Count(w.Running), load(w.Load), moving(w), show.Text(w.Why))
	}
	lines := t.Lines(look)
	if look.Plain {
		for i := range lines {
			lines[i] = "worker\t" + lines[i]
		}
	}
	if left > 0 {
		lines = append(lines, look.Paint.Dim(look.Cut("and "+show.Number(left)+" more: parti workers", look.Width)))
	}
	return lines
}

// remarkable are so many workers, in their order: those of whom there is most to say.
func remarkable(all []admin.Worker, most int) []admin.Worker {
	word := func(w admin.Worker) bool {
		return w.State != "live" || w.Leader || w.Cordoned || w.Drained || w.Releasing > 0 || w.Does != "" && w.Does != "Stable"
	}
	room := most
	for _, w := range all {
		if word(w) {
			room--
		}
	}
	var some []admin.Worker
	for _, w := range all {
		switch {
		case len(some) == most:
			return some
		case word(w):
			some = append(some, w)
		case room > 0:
			room--
			some = append(some, w)
		}
	}
	return some
}

func workerName(w admin.Worker, look show.Look) show.Cell {
	c := show.Text(w.ID)
	if w.Leader {
		c = c.Painted(look.Paint.Cyan)
	}
	return c
}

// workerState says how a worker is, in a few words.
func workerState(w admin.Worker, look show.Look) show.Cell {
	words := []string{w.State}
	if w.Does != "" && w.Does != "Stable" {
		words = append(words, w.Does)
	}
	for _, more := range []struct {
		word string
		is   bool
	}{{"leads", w.Leader}, {"drained", w.Drained}, {"cordoned", w.Cordoned}, {"owns nothing", !w.Owns && w.Session != ""}} {
		if more.is {
			words = append(words, more.word)
		}
	}
	c := show.Text(strings.Join(words, ", "))
	switch {
	case w.State == "suspect" || w.State == "vanished" || w.State == "ended":
		return c.Painted(look.Paint.Red)
	case w.State != "live" || w.Does == "Degraded":
		return c.Painted(look.Paint.Yellow)
	case w.Drained || w.Cordoned:
		return c.Painted(look.Paint.Dim)
	default:
		return c
	}
}

// load is in hundredths of a worker's fair share.
func load(perMille int64) show.Cell {
	if perMille == 0 {
		return show.Both("", "0")
	}
	return show.Both(fmt.Sprintf("%d %%", (perMille+5)/10), fmt.Sprintf("%.3f", float64(perMille)/1000))
}

func moving(w admin.Worker) show.Cell {
	var text []string
	if w.Releasing > 0 {
		text = append(text, show.Number(w.Releasing)+" out")
	}
	if w.Coming > 0 {
		text = append(text, show.Number(w.Coming)+" in")
	}
	return show.Both(strings.Join(text, ", "), fmt.Sprintf("-%d+%d", w.Releasing, w.Coming))
}

// writeLines writes lines to w.
func writeLines(w io.Writer, lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, strings.Join(lines, "\n")+"\n"); err != nil {
		return &Error{Code: Failed, What: "write", Why: err}
	}
	return nil
}
