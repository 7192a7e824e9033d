package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// The formats of check.
const (
	formatText       = "text"
	formatJSON       = "json"
	formatNagios     = "nagios"
	formatPrometheus = "prometheus"
)

var formats = []string{formatText, formatJSON, formatNagios, formatPrometheus}

func newCheck(s *Streams, g *global) *cobra.Command {
	t := &target{}
	var (
		format    string
		limits    = admin.DefaultLimits()
		loadWarn  int
		loadWorse int
	)
	wrong := func(err error) error { // of the command line
		if err != nil && format == formatNagios { // whose 2 says something else
			return nagios(s.Out, t.named(), admin.Health{}, usage(err, "parti check --help"))
		}
		return err
	}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say whether a group is well, for monitoring",
		Long: `Say whether a group is well. It is critical when nobody leads, or a limit is crossed that says so;
other limits, suspects and alerts are a warning. Formats:

  text        ok, warning or critical, and why; exit code 1 when it is critical
  json        the same as a document, and the same exit code
  prometheus  metrics in the text format, for a textfile collector; exit code 0 when they could be had
  nagios      one line with performance data, and the plugin's exit codes instead of those below:
              0 ok, 1 warning, 2 critical (also: no such group, or not to be reached), 3 unknown (also:
              not permitted, or a wrong command line after --format)`,
		Example: `  parti check --group orders --min-workers 3
  parti check --format nagios --moving-warn 2m --moving-critical 15m
  parti check --format prometheus > parti.prom`,
		Args: func(cmd *cobra.Command, args []string) error { return wrong(cobra.NoArgs(cmd, args)) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.json && !cmd.Flags().Changed("format") {
				format = formatJSON
			}
			limits.LoadWarn, limits.LoadCritical = int64(loadWarn)*10, int64(loadWorse)*10
			err := checkLimits(format, limits)
			var health admin.Health
			group := t.named()
			if err == nil {
				err = t.do(cmd.Context(), func(ctx context.Context, w *way) error {
					group = w.name
					now, err := w.Snapshot(ctx)
					if err == nil {
						health = now.Health(limits)
					}
					return err
				})
			}
			if format == formatNagios {
				return nagios(s.Out, group, health, err)
			}
			if err != nil {
				return err
			}
			return writeHealth(s, g, format, group, health)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrong(err) })
	t.flags(cmd, s)
	f := cmd.Flags()
	f.StringVar(&format, "format", formatText, "how it is said: "+strings.Join(formats, ", "))
	f.IntVar(&limits.MinWorkers, "min-workers", limits.MinWorkers, "fewer workers are critical")
	f.IntVar(&limits.UnassignedWarn, "unassigned-warn", limits.UnassignedWarn, "more partitions without an owner are a warning; -1: not looked at")
	f.IntVar(&limits.UnassignedCritical, "unassigned-critical", limits.UnassignedCritical, "more partitions without an owner are critical; -1: not looked at")
	f.DurationVar(&limits.MovingWarn, "moving-warn", limits.MovingWarn, "a longer wait for an owner to let go is a warning; 0: not looked at")
	f.DurationVar(&limits.MovingCritical, "moving-critical", limits.MovingCritical, "a longer wait for an owner to let go is critical; 0: not looked at")
	f.IntVar(&loadWarn, "load-warn", 0, "a worker with more `percent` of its fair share is a warning; 0: not looked at")
	f.IntVar(&loadWorse, "load-critical", 0, "a worker with more `percent` of its fair share is critical; 0: not looked at")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// checkLimits says what is wrong with the flags.
func checkLimits(format string, l admin.Limits) error {
	const try = "parti check --help"
	switch {
	case !slices.Contains(formats, format):
		return usage(fmt.Errorf("--format %s: it is %s", format, strings.Join(formats, ", ")), try)
	case l.MinWorkers < 0:
		return usage(fmt.Errorf("--min-workers %d: it is 0 or more", l.MinWorkers), try)
	case l.MovingWarn < 0 || l.MovingCritical < 0:
		return usage(errors.New("--moving-warn and --moving-critical: they are 0 or more"), try)
	case l.LoadWarn < 0 || l.LoadCritical < 0:
		return usage(errors.New("--load-warn and --load-critical: they are 0 or more"), try)
	}
	return nil
}

// writeHealth writes it in all formats but that of Nagios.
func writeHealth(s *Streams, g *global, format, group string, h admin.Health) error {
	switch format {
	case formatPrometheus:
		return prometheus(s.Out, group, h)
	case formatJSON:
		if err := writeJSON(s.Out, h); err != nil {
			return err
		}
	default:
		if err := writeLines(s.Out, checkLines(h, s.look(g))); err != nil {
			return err
		}
	}
	if h.Level < admin.Critical {
		return nil
	}
	return &Error{Code: Failed, What: fmt.Sprintf("group %q is %v", group, h.Level), Why: errors.New(h.Problems[0]), Try: "parti doctor --group " + group}
}

// checkLines are the screen of check.
func checkLines(h admin.Health, look show.Look) []string {
	paint := look.Paint.Green
	switch h.Level {
	case admin.OK:
	case admin.Warning:
		paint = look.Paint.Yellow
	case admin.Critical, admin.Unknown:
		paint = look.Paint.Red
	}
	if look.Plain {
		lines := []string{h.Level.String() + "\t" + show.Clean(h.Sentence)}
		for _, p := range h.Problems {
			lines = append(lines, "problem\t"+show.Clean(p))
		}
		for _, m := range h.Metrics {
			lines = append(lines, m.Name+"\t"+decimal(m.Value))
		}
		return lines
	}
	var lines []string
	for _, line := range show.Wrap(strings.ToUpper(h.Level.String())+"  "+h.Sentence, look.Width) {
		lines = append(lines, look.Paint.Bold(paint(look.Cut(line, look.Width))))
	}
	for _, p := range h.Problems {
		for i, line := range show.Wrap(p, look.Width-2) {
			mark := "- "
			if i > 0 {
				mark = "  "
			}
			lines = append(lines, mark+look.Cut(line, look.Width-2))
		}
	}
	t := show.Table{Columns: []show.Column{{Name: "METRIC"}, {Name: "VALUE", Right: true}, {Name: "MEANS", Gives: true}}}
	for _, m := range h.Metrics {
		value := decimal(m.Value)
		if m.Value == math.Trunc(m.Value) {
			value = show.Number(int64(m.Value))
		}
		t.Row(show.Text(m.Name), show.Text(strings.TrimSpace(value+" "+m.Unit)), show.Text(m.Help))
	}
	return append(append(lines, ""), t.Lines(look)...)
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// nagiosWords begin the line, by exit code.
var nagiosWords = []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// nagios writes what a Nagios plugin does, and returns its exit code.
func nagios(w io.Writer, group string, h admin.Health, err error) error {
	code := Code(h.Level)
	text := h.Sentence
	if len(h.Problems) > 0 {
		text = h.Problems[0]
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		text = e.Error()
		code = Code(admin.Critical)
		if e.Code == Usage || e.Code == Forbidden {
			code = Code(admin.Unknown)
		}
	}
	line := fmt.Sprintf("PARTI %s - %s: %s", nagiosWords[code], group, pipeless.Replace(show.Clean(text)))
	var data []string
	for _, m := range h.Metrics {
		data = append(data, m.Name+"="+decimal(m.Value)+m.Unit)
	}
	if len(data) > 0 {
		line += " | " + strings.Join(data, " ")
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return &Error{Code: Failed, What: "write", Why: err}
	}
	for _, p := range h.Problems[min(1, len(h.Problems)):] {
		if _, err := fmt.Fprintln(w, pipeless.Replace(show.Clean(p))); err != nil {
			return &Error{Code: Failed, What: "write", Why: err}
		}
	}
	if code == Done {
		return nil
	}
	return &silent{code}
}

// pipeless keeps text out of the performance data.
var pipeless = strings.NewReplacer("|", "/")

// silent is an exit code that says all there is to say.
type silent struct{ code Code }

func (e *silent) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// prometheus writes metrics in the text exposition format.
func prometheus(w io.Writer, group string, h admin.Health) error {
	var b strings.Builder
	label := `{group="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(group) + `"}`
	metric := func(name, help string, v float64) {
		fmt.Fprintf(&b, "# HELP parti_check_%s %s\n# TYPE parti_check_%s gauge\nparti_check_%s%s %s\n", name, help, name, name, label, decimal(v))
	}
	metric("level", "How the group is: 0 ok, 1 warning, 2 critical, 3 unknown.", float64(h.Level))
	for _, m := range h.Metrics {
		metric(m.Name, m.Help, m.Value)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return &Error{Code: Failed, What: "write", Why: err}
	}
	return nil
}
