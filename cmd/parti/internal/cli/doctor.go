package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/natskv"
)

func newDoctor(s *Streams, g *global) *cobra.Command {
	t := &target{}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say how to mend it",
		Long: `Look at the server, the bucket, the workers, the plan and what operators want: what is found, why
it matters and what to do about it, the worst first. Nothing is changed. Where the group cannot be
opened, it looks at the server and the bucket all the same. It exits with 1 when something is wrong.
Off a terminal the columns are: grade (bad, warning, note or ok), about, what, why, fix.`,
		Example: `  parti doctor --group orders
  parti doctor --json | jq '.findings[] | select(.level == "bad")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			group := t.named()
			var found []admin.Finding
			err := t.do(cmd.Context(), func(ctx context.Context, w *way) (err error) {
				group = w.name
				found, err = w.Doctor(ctx)
				return err
			})
			if e := (*Error)(nil); errors.As(err, &e) && e.Code != Usage { // that is a finding, too
				if at := strings.Index(e.Try, "parti doctor"); at >= 0 { // this is it
					e.Try = strings.TrimSuffix(e.Try[:at], ", or ")
				}
				f := admin.Finding{About: "way", Level: admin.Wrong, What: e.What, Fix: e.Try}
				if e.Why != nil {
					f.Why = e.Why.Error()
				}
				if len(found) == 0 {
					found = t.beneath(cmd.Context())
				}
				found = append([]admin.Finding{f}, found...)
			} else if err != nil {
				return err
			}
			show := func() error {
				if g.json {
					return writeJSON(s.Out, admin.Findings{Schema: admin.Schema, Findings: nonNil(found)})
				}
				return writeLines(s.Out, doctorLines(found, s.look(g)))
			}
			if e := show(); e != nil {
				return e
			}
			if err != nil {
				return err
			}
			return ill(group, found)
		},
	}
	t.flags(cmd, s)
	return cmd
}

// beneath looks at what a group stands on that could not be opened, or has not answered; it
// finds nothing where no server has let us in.
func (t *target) beneath(ctx context.Context) []admin.Finding {
	if t.used == nil {
		return nil
	}
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	nc, err := t.reach(ctx)
	if err != nil {
		return nil
	}
	defer nc.Close()
	js, err := t.jetstream(nc)
	if err != nil {
		return nil
	}
	name, err := t.which(ctx, js)
	if err != nil {
		return nil
	}
	found, _ := natskv.Inspect(ctx, js, name) // when its time is over, what it has found by then
	slices.SortStableFunc(found, graver)
	return found
}

// graver has the worst finding come first.
func graver(a, b admin.Finding) int {
	grades := []admin.Grade{admin.Wrong, admin.Warn, admin.Note, admin.Fine}
	return slices.Index(grades, a.Level) - slices.Index(grades, b.Level)
}

// ill is an error when something is wrong.
func ill(group string, found []admin.Finding) error {
	for _, f := range found {
		if f.Level == admin.Wrong {
			return &Error{Code: Failed, What: fmt.Sprintf("group %q is not well", group), Why: errors.New(f.What), Try: f.Fix}
		}
	}
	return nil
}

// doctorLines are the screen of doctor.
func doctorLines(found []admin.Finding, look show.Look) []string {
	if look.Plain {
		t := show.Table{Columns: make([]show.Column, 5)}
		for _, f := range found {
			t.Row(show.Text(string(f.Level)), show.Text(f.About), show.Text(f.What), show.Text(f.Why), show.Text(f.Fix))
		}
		return t.Lines(look)
	}
	const indent = 8
	var lines []string
	for _, f := range found {
		paint := func(text string) string { return text }
		switch f.Level {
		case admin.Wrong:
			paint = look.Paint.Red
		case admin.Warn:
			paint = look.Paint.Yellow
		case admin.Fine:
			paint = look.Paint.Green
		case admin.Note:
		}
		add := func(head, text string, paint func(string) string) {
			for _, line := range show.Wrap(text, look.Width-indent) {
				lines = append(lines, paint(fmt.Sprintf("%-*s", indent, head))+look.Cut(line, look.Width-indent))
				head = ""
			}
		}
		add(strings.ToUpper(string(f.Level)), f.About+": "+f.What, paint)
		if f.Why != "" {
			add("", f.Why, look.Paint.Dim)
		}
		if f.Fix != "" {
			add("  try:", f.Fix, look.Paint.Dim)
		}
	}
	return lines
}
