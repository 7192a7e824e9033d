package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

// A steering is a command that changes something: it says what it will do and asks,
// does it, and can wait until it has come about.
type steering struct {
	use, short, long, example string
	// about is what the control is that it writes or takes back, of the arguments.
	about func(args []string) plan.Control
	// names are what the arguments name, for completions.
	names []func(admin.Snapshot) []string
	// will says what it will do.
	will func(now admin.Snapshot, c plan.Control) string
	do   func(ctx context.Context, w *way, c plan.Control, o admin.Order) (admin.Change, error)
	// done says in the past tense what was done.
	done func(c plan.Control) string
	// ends says that it can end by itself: it has --for. Some stay what they are.
	ends bool
	// takesBack says that it takes something back: nothing is to be said of why.
	takesBack bool
	// forced says that it does harm, and needs --force on top of everything.
	forced bool
	// slow says that do itself waits.
	slow bool
	// wait waits until it has come about; nil: there is nothing to wait for.
	wait func(ctx context.Context, w *way, c plan.Control, p *progress) error
}

// A steer is one run of a steering.
type steer struct {
	*steering
	target

	g     *global
	yes   bool
	waits bool
	force bool
	order admin.Order
}

// waitPatience is the usual --timeout of --wait.
const waitPatience = 5 * time.Minute

func newSteering(s *Streams, g *global, v steering) *cobra.Command {
	x := &steer{steering: &v, g: g}
	cmd := &cobra.Command{
		Use: v.use, Short: v.short, Long: v.long, Example: v.example,
		Args: cobra.ExactArgs(len(v.names)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (x.waits || v.slow) && !cmd.Flags().Changed("timeout") {
				x.timeout = waitPatience
			}
			return x.run(cmd, args)
		},
		ValidArgsFunction: x.completes(v.names...),
	}
	x.flags(cmd, s)
	f := cmd.Flags()
	f.BoolVarP(&x.yes, "yes", "y", false, "do not ask; it needs --group or PARTI_GROUP")
	f.StringVar(&x.who, "as", "", "who does it, for the record; without it, the `user` of this process at its host")
	if !v.takesBack {
		f.StringVar(&x.order.Why, "why", "", "the `reason`, for the record and other operators")
	}
	if v.ends {
		f.DurationVar(&x.order.For, "for", 0, "end by itself after this `time`; without it, when it is taken back")
	}
	if v.forced {
		f.BoolVar(&x.force, "force", false, "yes, it is to be so")
	}
	if v.wait != nil {
		f.BoolVar(&x.waits, "wait", false, fmt.Sprintf("wait until it has come about; then --timeout is %v if it is not given", waitPatience))
	}
	return cmd
}

var errNobody = errors.New("nobody is there to be asked: this is no terminal")

func (x *steer) run(cmd *cobra.Command, args []string) error {
	s := x.streams
	again := cmd.CommandPath() + " " + strings.Join(args, " ")
	again = strings.TrimSpace(again)
	if x.force {
		again += " --force"
	}
	switch {
	case x.forced && !x.force:
		return usage(fmt.Errorf("%s without --force: %s", cmd.Name(), strings.ToLower(x.short[:1])+x.short[1:]), again+" --force")
	case x.order.For < 0:
		return usage(fmt.Errorf("--for %v: it is a time above 0", x.order.For), again+" --for 1h")
	case x.yes && x.named() == "":
		return usage(errors.New("--yes without a group: what nobody is asked about must say where it is"), again+" --yes --group NAME")
	case !x.yes && !s.askable():
		return usage(errNobody, again+" --yes --group NAME")
	}
	return x.through(cmd.Context(), x.about(args))
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
		err = exists(now, c)
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
		if err := unchanged(ctx, w, seen, c); err != nil {
			return err
		}
	}
	began := time.Now()
	change, err := x.steering.do(ctx, w, c, x.order)
	if err != nil {
		return x.late(ctx, w, err)
	}
	return x.tell(ctx, w, change, began)
}

// exists says which name there is not. Partitions may have no owner, and are then in no
// record; where the leader does not name them all, what is wanted of them is left to be
// judged by the group.
func exists(now admin.Snapshot, c plan.Control) error {
	if c.Worker != "" {
		if _, err := now.Worker(c.Worker); err != nil && !slices.ContainsFunc(now.Controls, func(o plan.Control) bool { return o.Worker == c.Worker }) {
			return err
		}
	}
	if c.Partition != "" && unnamed(now) == 0 {
		if _, err := now.Partition(c.Partition); err != nil && !slices.ContainsFunc(now.Controls, func(o plan.Control) bool { return o.Partition == c.Partition }) {
			return err
		}
	}
	return nil
}

// ask says what it will do, and returns once somebody has agreed.
func (x *steer) ask(ctx context.Context, now admin.Snapshot, c plan.Control, group string) error {
	s := x.streams
	text := x.will(now, c)
	if x.order.For > 0 {
		text += " It ends by itself after " + admin.Duration(x.order.For) + "."
	}
	if old := standing(now, c); old != nil && !x.takesBack {
		text += " It replaces: " + controlLine(*old, now.At) + "."
	}
	p := show.Paint(s.colors(x.g.color, s.Err))
	fmt.Fprintf(s.Err, "Group %s: %s\n", p.Bold(group), text)
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

// standing is what is in force at the place of a control, or nil.
func standing(now admin.Snapshot, c plan.Control) *plan.Control {
	for _, old := range now.Controls {
		same := old.Kind == c.Kind && old.Partition == c.Partition
		if c.Kind != plan.Pin {
			same = same && old.Worker == c.Worker
		}
		if same && old.Number == "" {
			return &old
		}
	}
	return nil
}

// unchanged fails when another operator was here while this one was asked.
func unchanged(ctx context.Context, w *way, before admin.Snapshot, c plan.Control) error {
	now, err := w.Snapshot(ctx)
	if err != nil {
		return err
	}
	was, is := standing(before, c), standing(now, c)
	switch {
	case was == nil && is == nil, was != nil && is != nil && was.Who == is.Who && was.When.Equal(is.When):
		return nil
	case is == nil:
		return &admin.ConflictError{}
	default:
		return &admin.ConflictError{Theirs: *is}
	}
}

// changed is what a command that changes something writes as JSON.
type changed struct {
	Schema int `json:"schema"`
	admin.Change
	// WaitedMs is how long it waited until it had come about; only with --wait.
	WaitedMs *int64 `json:"waited_ms,omitempty"`
}

// tell says what was done, waits if it is to, and says how long that took.
func (x *steer) tell(ctx context.Context, w *way, change admin.Change, began time.Time) error {
	s := x.streams
	about := change.Control
	if about.Kind == "" && change.Before != nil {
		about = *change.Before
	}
	if !x.g.json {
		switch {
		case change.Already:
			fmt.Fprintf(s.Out, "It stands already: %s\n", controlLine(about, time.Now()))
		case change.Before != nil && !x.takesBack && change.Before.Kind != "" && change.Control.Number == "":
			fmt.Fprintf(s.Out, "%s It replaces: %s\n", x.done(about), controlLine(*change.Before, time.Now()))
		case change.Before != nil && x.takesBack:
			fmt.Fprintf(s.Out, "%s It was: %s\n", x.done(about), controlLine(*change.Before, time.Now()))
		default:
			fmt.Fprintln(s.Out, x.done(about))
		}
	}
	out := changed{Schema: admin.Schema, Change: change}
	if x.waits {
		p := newProgress(s)
		err := x.wait(ctx, w, about, p)
		p.end()
		if err != nil {
			return x.late(ctx, w, err)
		}
		ms := time.Since(began).Milliseconds()
		out.WaitedMs = &ms
		if !x.g.json {
			fmt.Fprintf(s.Out, "It has come about, in %s.\n", admin.Duration(time.Since(began)))
		}
	}
	if x.g.json {
		return writeJSON(s.Out, out)
	}
	return nil
}

// late says it of an error when the time is over for what was asked for.
func (x *steer) late(ctx context.Context, w *way, err error) error {
	if !x.waits && !x.slow || ctx.Err() == nil || !errors.Is(context.Cause(ctx), errTimeout) {
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
	inPlace bool
	last    string
	at      time.Time
}

func newProgress(s *Streams) *progress {
	_, tty := terminal(s.Err)
	return &progress{streams: s, inPlace: tty && s.Env("TERM") != "dumb"}
}

func (p *progress) show(text string) {
	if text == p.last {
		return
	}
	switch {
	case p.inPlace:
		fmt.Fprint(p.streams.Err, "\r"+text+clearLine)
	case p.last == "" || time.Since(p.at) >= time.Second:
		fmt.Fprintln(p.streams.Err, text)
		p.at = time.Now()
	}
	p.last = text
}

func (p *progress) end() {
	if p.inPlace && p.last != "" {
		fmt.Fprint(p.streams.Err, "\r"+clearLine)
		p.last = ""
	}
}
