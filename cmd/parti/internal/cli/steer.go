package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

// A steer is one run of a command that changes something: it says what it will do and asks,
// does it, and can wait until it has come about.
type steer struct {
	admin.Verb
	target

	g     *global
	yes   bool
	waits bool
	force bool
	order admin.Order
}

// waitPatience is the usual --timeout of --wait.
const waitPatience = 5 * time.Minute

// newSteerings are all commands that change something, in the order of the help.
func newSteerings(s *Streams, g *global) []*cobra.Command {
	verbs := admin.Verbs()
	all := make([]*cobra.Command, len(verbs))
	for i, v := range verbs {
		all[i] = newSteering(s, g, v)
	}
	return all
}

func newSteering(s *Streams, g *global, v admin.Verb) *cobra.Command {
	x := &steer{Verb: v, g: g}
	places := make([]func(admin.Snapshot) []string, len(v.Takes))
	for i := range places {
		places[i] = func(now admin.Snapshot) []string { return v.Names(now)[i] }
	}
	cmd := &cobra.Command{
		Use: strings.Join(append([]string{v.Name}, upper(v.Takes)...), " "), Short: v.Short, Long: v.Long, Example: "  parti " + examples[v.Name],
		Args: cobra.ExactArgs(len(v.Takes)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (x.waits || v.Slow) && !cmd.Flags().Changed("timeout") {
				x.timeout = waitPatience
			}
			return x.run(cmd, args)
		},
		ValidArgsFunction: x.completes(places...),
	}
	x.flags(cmd, s)
	f := cmd.Flags()
	f.BoolVarP(&x.yes, "yes", "y", false, "do not ask; it needs --group or PARTI_GROUP")
	f.StringVar(&x.who, "as", "", "who does it, for the record; without it, the `user` of this process at its host")
	if !v.TakesBack {
		f.StringVar(&x.order.Why, "why", "", "the `reason`, for the record and other operators")
	}
	if v.Ends {
		f.DurationVar(&x.order.For, "for", 0, "end by itself after this `time`; without it, when it is taken back")
	}
	if v.Harms {
		f.BoolVar(&x.force, "force", false, "yes, it is to be so")
	}
	if v.Waits() {
		f.BoolVar(&x.waits, "wait", false, fmt.Sprintf("wait until it has come about; then --timeout is %v if it is not given", waitPatience))
	}
	return cmd
}

var errNobody = errors.New("nobody is there to be asked: this is no terminal")

func (x *steer) run(cmd *cobra.Command, args []string) error {
	s := x.streams
	yes := []string{"--yes"}
	if x.named() == "" {
		yes = append(yes, "--group NAME")
	}
	switch {
	case x.Harms && !x.force:
		return usage(fmt.Errorf("%s without --force: %s", cmd.Name(), strings.ToLower(x.Short[:1])+x.Short[1:]), again(cmd, args, "--force"))
	case x.order.For < 0:
		return usage(fmt.Errorf("--for %v: it is a time above 0", x.order.For), again(cmd, args, "--for 1h"))
	case x.yes && x.named() == "":
		return usage(errors.New("--yes without a group: what nobody is asked about must say where it is"), again(cmd, args, yes...))
	case !x.yes && !s.askable():
		return usage(errNobody, again(cmd, args, yes...))
	}
	return x.through(cmd.Context(), x.About(args...))
}

// again is a command line as it was, with some flags more, or with other values.
func again(cmd *cobra.Command, args []string, flags ...string) string {
	words := []string{cmd.CommandPath()}
	for _, a := range args {
		words = append(words, shellWord(a))
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		given := slices.ContainsFunc(flags, func(flag string) bool {
			name, _, _ := strings.Cut(flag, " ")
			return name == "--"+f.Name
		})
		if !given {
			words = append(words, flagWord(f))
		}
	})
	return strings.Join(append(words, flags...), " ")
}

// flagWord is a flag as it was given, but for secrets.
func flagWord(f *pflag.Flag) string {
	value := f.Value.String()
	switch {
	case f.Value.Type() == "bool" && value == "true":
		return "--" + f.Name
	case f.Value.Type() == "bool":
		return "--" + f.Name + "=" + value
	case f.Name == "nats":
		value = show.Redacted(value)
	case f.Name == "user", f.Name == "password": // a user without a password is a token
		value = "xxxxx"
	}
	return "--" + f.Name + " " + shellWord(value)
}

// shellWord is text as one word for a shell.
func shellWord(text string) string {
	if text != "" && strings.Trim(text, letters+".,:/@%+=") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// through does it, in three steps: look, ask, and do. Who is asked may think for as long as
// they like: --timeout is for each of the others.
func (x *steer) through(ctx context.Context, c plan.Control) error {
	looking, done := x.bounded(ctx)
	defer done()
	w, err := x.open(looking)
	if err != nil {
		return err
	}
	defer w.close()
	now, err := w.Snapshot(looking)
	if err == nil {
		err = now.Exists(c)
	}
	if err != nil {
		return x.failed(w.name, err)
	}
	if err := x.ask(ctx, now, c, w.name); err != nil {
		return err
	}
	acting, done := x.bounded(ctx)
	defer done()
	return x.failed(w.name, x.act(acting, w, now, c))
}

func (x *steer) act(ctx context.Context, w *way, seen admin.Snapshot, c plan.Control) error {
	if !x.yes { // they have thought about it: is it still so?
		if err := w.Unchanged(ctx, seen, c); err != nil {
			return err
		}
	}
	began := time.Now()
	change, err := x.Do(ctx, w.Group, c, x.order)
	if err != nil {
		return x.late(ctx, w, err)
	}
	return x.tell(ctx, w, change, began)
}

// ask says what it will do, and returns once somebody has agreed.
func (x *steer) ask(ctx context.Context, now admin.Snapshot, c plan.Control, group string) error {
	s := x.streams
	text := x.Will(now, c)
	if x.order.For > 0 {
		text += " It ends by itself after " + admin.Duration(x.order.For) + "."
	}
	if old := now.Standing(c); old != nil && !x.TakesBack {
		text += " It replaces: " + controlLine(*old, now.At) + "."
	}
	p := show.Paint(s.colors(x.g.color, s.Err))
	fmt.Fprintf(s.Err, "Group %s: %s\n", p.Bold(group), show.Clean(text))
	if x.yes {
		return nil
	}
	return s.confirm(ctx)
}

// confirm asks whether to go on, and is an error when the answer is no.
func (s *Streams) confirm(ctx context.Context) error {
	fmt.Fprint(s.Err, "Go on? [y/N] ")
	answer, err := s.readLine(ctx)
	if err != nil {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return &Error{Code: Failed, What: "nothing was changed"}
	}
	return nil
}

// readLine reads what is typed, until ctx ends. A read of a terminal cannot be taken
// back: then it ends with the process.
func (s *Streams) readLine(ctx context.Context) (string, error) {
	type read struct {
		line string
		err  error
	}
	typed := make(chan read, 1)
	go func() {
		line, err := bufio.NewReader(s.In).ReadString('\n')
		typed <- read{line, err}
	}()
	select {
	case r := <-typed:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return "", &Error{Code: Failed, What: "read the answer", Why: r.err}
		}
		return r.line, nil
	case <-ctx.Done():
		fmt.Fprintln(s.Err)
		return "", &Error{Code: Failed, What: "interrupted; nothing was changed"}
	}
}

// changed is what a command that changes something writes as JSON.
type changed struct {
	Schema int `json:"schema"`
	admin.Change
	// WaitedMs is how long it waited until it had come about; only with --wait, and only if it
	// has.
	WaitedMs *int64 `json:"waited_ms,omitempty"`
}

// tell says what was done, waits if it is to, and says how long that took.
func (x *steer) tell(ctx context.Context, w *way, change admin.Change, began time.Time) error {
	s := x.streams
	if !x.g.json {
		fmt.Fprintln(s.Out, show.Clean(x.Done(change, time.Now().In(show.Zone))))
	}
	out := changed{Schema: admin.Schema, Change: change}
	var late error
	if x.waits {
		p := newProgress(s)
		late = x.Await(ctx, w.Group, change, p.show)
		p.end()
	}
	switch {
	case late != nil: // what was asked for stands all the same
		late = x.late(ctx, w, late)
	case x.waits:
		ms := time.Since(began).Milliseconds()
		out.WaitedMs = &ms
		if !x.g.json {
			fmt.Fprintf(s.Out, "It has come about, in %s.\n", admin.Duration(time.Since(began)))
		}
	}
	if x.g.json {
		if err := writeJSON(s.Out, out); err != nil {
			return err
		}
	}
	return late
}

// late says it of an error when the time is over for what was asked for.
func (x *steer) late(ctx context.Context, w *way, err error) error {
	if !x.waits && !x.Slow || ctx.Err() == nil || !errors.Is(context.Cause(ctx), errTimeout) {
		return err
	}
	return &Error{
		Code: TimedOut, What: "it was asked for, and has not come about in " + x.timeout.String(), Why: err,
		Try: "parti status --watch --group " + w.name + ", or a longer --timeout",
	}
}

// A progress shows what a command waits for, on standard error: on a terminal in place,
// otherwise a line each time that it is something else, at most one a second.
type progress struct {
	streams *Streams
	place   *os.File // the terminal; nil: it is none, or cannot do that
	last    string
	at      time.Time
}

func newProgress(s *Streams) *progress {
	p := &progress{streams: s}
	if file, tty := terminal(s.Err); tty && s.Env("TERM") != "dumb" {
		p.place = file
	}
	return p
}

func (p *progress) show(text string) {
	text = show.Clean(text)
	if text == p.last {
		return
	}
	switch {
	case p.place != nil: // a line that fills the terminal may go on in the next, which then stays
		width, _ := size(p.place)
		fmt.Fprint(p.place, "\r"+show.Look{ASCII: p.streams.ascii()}.Cut(text, width-1)+clearLine)
	case p.last == "" || time.Since(p.at) >= time.Second:
		fmt.Fprintln(p.streams.Err, text)
		p.at = time.Now()
	}
	p.last = text
}

func (p *progress) end() {
	if p.place != nil && p.last != "" {
		fmt.Fprint(p.place, "\r"+clearLine)
		p.last = ""
	}
}

// examples are how each is used.
var examples = map[string]string{
	"drain":     "drain worker-3 --why 'kernel upgrade' --for 1h --wait",
	"undrain":   "undrain worker-3",
	"cordon":    "cordon worker-3 --why 'its disk is slow'",
	"uncordon":  "uncordon worker-3",
	"pin":       "pin tool-001.chamber-1 worker-3 --for 24h",
	"unpin":     "unpin tool-001.chamber-1",
	"ban":       "ban tool-001.chamber-1 worker-3",
	"unban":     "unban tool-001.chamber-1 worker-3",
	"move":      "move tool-001.chamber-1 worker-3 --wait",
	"release":   "release --force tool-001.chamber-1",
	"lift":      "lift tool-001.chamber-1 --why 'the bad message is gone'",
	"pause":     "pause --for 2h --why 'sale'",
	"resume":    "resume",
	"rebalance": "plan && parti rebalance --wait",
	"refresh":   "refresh",
	"step-down": "step-down",
}

func upper(words []string) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = strings.ToUpper(w)
	}
	return all
}
