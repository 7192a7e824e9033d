package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/parti-go/parti/cmd/parti/internal/demo"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/internal/kv"
)

// demoPace is the time to look at a step before the next one begins.
const demoPace = 3 * time.Second

func newDemo(s *Streams, g *global) *cobra.Command {
	var (
		o        demo.Options
		once     bool
		plain    bool
		sabotage string
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a group live through a bad day",
		Long: `Start a NATS server and some workers in this process, let messages flow, and then: kill a
worker, add one, drain one, kill the leader, restart all. At the end say what moved, how long
partitions were without an owner, and whether a message was lost or a partition had two owners.

It needs nothing, and leaves nothing behind. On a terminal it draws a screen, otherwise it
writes lines to standard error; the summary goes to standard output. It exits with 1 if a
promise was broken. Ctrl-C ends it early, and so does the end of its terminal; it also ends, with
exit code 1, when nobody reads what it writes any more.`,
		Example: `  parti demo
  parti demo --workers 8 --partitions 200
  parti demo --once --json            in a script: no time to look, the summary as JSON
  parti demo --nats nats://localhost  on your own server; what it makes there it removes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := cmd.Flags()
			if once && !flags.Changed("pace") {
				o.Pace = 0
			}
			if !flags.Changed("seed") {
				o.Seed = rand.Uint64N(1_000_000)
			}
			o.Sabotage = demo.Sabotage(sabotage)
			if err := checkDemo(o); err != nil {
				return err
			}
			ctx, stop := clearing(cmd.Context())
			defer stop()
			ctx, same, stop := s.heard(ctx)
			defer stop()
			return unread(ctx, "the demo was stopped", runDemo(ctx, same, g, o, once, plain))
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Workers, "workers", 5, fmt.Sprintf("workers, %d to %d", demo.MinWorkers, demo.MaxWorkers))
	flags.IntVar(&o.Partitions, "partitions", 60, fmt.Sprintf("partitions, up to %d", demo.MaxPartitions))
	flags.IntVar(&o.Rate, "rate", 300, "messages per second, all partitions together")
	flags.StringVar(&o.URL, "nats", "", "use the NATS server at this `URL` instead of one of its own")
	flags.BoolVar(&once, "once", false, "play as fast as the facts allow, and fail if it is interrupted: for scripts and CI")
	flags.DurationVar(&o.Pace, "pace", demoPace, "the time to look at each step before the next; with --once: 0s")
	flags.Uint64Var(&o.Seed, "seed", 0, "choose whom it hits; without it: by chance")
	flags.BoolVar(&plain, "plain", false, "write lines also on a terminal")
	flags.StringVar(&sabotage, "sabotage", "", "break a promise on purpose, to see that it is noticed: "+strings.Join(demo.Sabotages(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("sabotage", cobra.FixedCompletions(demo.Sabotages(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// checkDemo says what is wrong with the flags.
func checkDemo(o demo.Options) error {
	const try = "parti demo --help"
	switch {
	case o.Workers < demo.MinWorkers || o.Workers > demo.MaxWorkers:
		return usage(fmt.Errorf("--workers %d: it is %d to %d", o.Workers, demo.MinWorkers, demo.MaxWorkers), try)
	case o.Partitions < o.Workers || o.Partitions > demo.MaxPartitions:
		return usage(fmt.Errorf("--partitions %d: it is at least one for each worker (%d), and at most %d, since a stream takes no more consumers",
			o.Partitions, o.Workers, demo.MaxPartitions), try)
	case o.Rate < 1 || o.Rate > demo.MaxRate:
		return usage(fmt.Errorf("--rate %d: it is 1 to %d", o.Rate, demo.MaxRate), try)
	case o.Pace < 0:
		return usage(fmt.Errorf("--pace %v: it is 0s or more", o.Pace), try)
	case o.Sabotage != demo.SabotageNone && !slices.Contains(demo.Sabotages(), string(o.Sabotage)):
		return usage(fmt.Errorf("--sabotage %s: it is %s", o.Sabotage, strings.Join(demo.Sabotages(), ", ")), try)
	}
	return nil
}

func runDemo(ctx context.Context, s *Streams, g *global, o demo.Options, once, plain bool) error {
	closeScreen := func() {}
	file, tty := terminal(s.Err)
	if tty && !plain && s.Env("TERM") != "dumb" {
		screen := newScreen(file, show.Paint(s.colors(g.color, s.Err)), s.ascii())
		o.View = func(v demo.View) {
			screen.draw(func(look show.Look) []string { return demo.Render(v, look) })
		}
		// Whoever interrupts wants the terminal back now, not when all is cleared away.
		defer context.AfterFunc(ctx, screen.close)()
		closeScreen = screen.close
	} else {
		o.Line = plainLines(s.Err, show.Paint(s.colors(g.color, s.Err)))
	}
	sum, err := demo.Run(ctx, o)
	closeScreen()
	if err != nil {
		return demoError(err)
	}
	if g.json {
		if err := writeJSON(s.Out, sum); err != nil {
			return err
		}
	} else {
		sum.Write(s.Out, show.Paint(s.colors(g.color, s.Out)))
	}
	switch {
	case len(sum.Broken) > 0:
		return &Error{
			Code: Failed, What: "a promise was broken", Why: errors.New(sum.Broken[0]),
			Try: fmt.Sprintf("the same again: parti demo --once --workers %d --partitions %d --seed %d", o.Workers, o.Partitions, o.Seed),
		}
	case sum.Interrupted && once:
		return &Error{Code: Failed, What: "interrupted before the script was over"}
	}
	return nil
}

// demoError says what to do about an error that is not a broken promise.
func demoError(err error) error {
	if e := (*demo.ConnectError)(nil); errors.As(err, &e) {
		return &Error{
			Code: Failed, What: "cannot use " + e.URL, Why: e.Err,
			Try: "start a server with `nats-server -js`, or leave --nats away: the demo brings its own",
		}
	}
	denied := (*kv.DeniedError)(nil)
	if errors.As(err, &denied) || errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrAuthorization) {
		return &Error{Code: Forbidden, What: "the demo was stopped", Why: err, Try: "a user that may make streams, or leave --nats away"}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Code: TimedOut, What: "the demo was stopped", Why: err}
	}
	return &Error{Code: Failed, What: "the demo was stopped", Why: err}
}

// plainLines writes the demo for a reader.
func plainLines(w io.Writer, p show.Paint) func(demo.Line) {
	return func(l demo.Line) {
		at := fmt.Sprintf("%6.1fs  ", l.At.Seconds())
		switch l.Kind {
		case demo.LineStep:
			fmt.Fprintf(w, "\n%s%s\n", at, p.Bold(l.Text))
		case demo.LineTell:
			fmt.Fprintf(w, "%s%s\n", at, l.Text)
		case demo.LineEvent:
			fmt.Fprintf(w, "%s  %s\n", at, p.Dim(l.Text))
		case demo.LineOutcome:
			fmt.Fprintf(w, "%s%s\n", at, p.Green(l.Text))
		}
	}
}
