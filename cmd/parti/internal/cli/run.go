package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/cmd/parti/internal/run"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
)

// runFlags are the flags of the command run.
type runFlags struct {
	to          connection
	group       string
	partitions  string
	embedded    bool
	embeddedDir string
	done        bool
	reject      int
	prefix      bool

	config    string // a file
	isolation string
	flags     parti.Config // what other flags say of it
}

func newRun(s *Streams, g *global) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run a program once for each partition, spread over a fleet",
		Long: `Run a program, in whatever language, once for each partition that this worker owns. Start
the same on other machines, or in other terminals, with the same group: they share the
partitions, and when one ends, or is killed, the others take over what it had.

The program knows its partition by its environment: PARTI_PARTITION, PARTI_TOKEN, PARTI_WORKER,
PARTI_GROUP, PARTI_WEIGHT, and PARTI_LABEL_NAME for each label of the partition. In its arguments
{partition}, {token}, {worker}, {group} and {weight} are replaced. Its input is empty. The token
is larger each time that the partition changes hands: write it with your data, and refuse to
overwrite a larger one.

A partition goes to another worker only when all is gone that the program has started: its whole
process group, and on Linux also what has left that. It gets SIGTERM when its partition is
revoked, or this worker stops, and SIGKILL after --drain-timeout. If its first process ends
earlier than others, these have 0.2s to end by themselves, then get SIGTERM, and SIGKILL after
--drain-timeout; the exit code of the first is that of the program. What has left the group gets
SIGKILL alone, as soon as nothing of the group is left: a program that makes itself a daemon is
to be told to stay in the foreground.

It is expected to run for as long as its partition is here. If it exits, with whatever code, it is
started again: after 1s at first, after up to 1m when that goes on. See --done-on-success and
--reject-code for other wishes.

What it writes to its output and error output is passed on line by line, never mixed, after the
name of the partition and "|"; a line above 64 KiB goes on in the next, after "+". With
--prefix=false, where nothing says so, a line is whole up to 1 MiB; a longer one ends where
another comes in between, and goes on after that. Events are on the error output, with "parti:".
With --json all of it is an object a line.

--partitions N is 0 to N-1, as the partition function of NATS has them. A file has one on each
line, an ID and possibly a weight; or .json or .yaml, a list of IDs and of objects with id, weight
and labels. It is watched. Give all workers the same, since any may come to lead; one without
--partitions only runs what others hand out.

Settings are all those of parti.Config: flags for the usual ones, the environment for any, such as
PARTI_HEARTBEAT_INTERVAL=1s or PARTI_LABELS=rack:12,line:a, and a file with --config. A flag comes
before the environment, and that before the file. Programs inherit the environment: a parti run
within a parti run has these settings, too, unless they are taken out.

A process beside this one, "parti guardian", starts the programs and ends them. If this one is
killed, everything is killed at once. With --isolation fence nothing outlives the trust in
this worker, not even while this process is stopped or swapped out; without, an isolated worker
goes on with what it has. If both are killed at once, as by pkill -9 -f parti, what programs have
started goes on. On other systems than Linux the programs do, too, and what has left its process
group is not found. There is no Windows yet.

The first Ctrl-C or SIGTERM stops cleanly; the second at once. It also stops cleanly, with exit
code 1, when nobody reads what it writes any more, as in "parti run ... | head".`,
		Example: `  parti run --group crawl --embedded --partitions 16 -- ./crawl.sh {partition}
  parti run --group tools --partitions tools.yaml --isolation fence -- python3 poll.py
  parti run --group tools --partitions tools.yaml --context prod --max 50 --drain-timeout 10s -- ./poll
  parti run --group jobs --partitions jobs.txt --done-on-success --reject-code 75 -- ./job {partition}`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no command is given")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			// Programs are asked to end first.
			ctx, stop := clearing(cmd.Context())
			defer stop()
			return f.run(ctx, s, g, cmd.Flags(), args)
		},
	}
	f.add(cmd.Flags())
	_ = cmd.RegisterFlagCompletionFunc("isolation", cobra.FixedCompletions([]string{"freeze", "fence"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// add adds the flags.
func (f *runFlags) add(flags *pflag.FlagSet) {
	flags.SetInterspersed(false)
	flags.StringVarP(&f.group, "group", "g", "", "the `name` of the group; also PARTI_GROUP")
	flags.StringVar(&f.partitions, "partitions", "", "the `source` of the partitions: a file that lists them, or how many there are (default: none; others lead)")
	flags.BoolVar(&f.embedded, "embedded", false, "for one machine: the first process brings a NATS server, and others take over when it ends")
	flags.StringVar(&f.embeddedDir, "embedded-dir", "", "the `directory` of that server; all processes have the same (default: one for each group below XDG_STATE_HOME or ~/.local/state)")
	flags.BoolVar(&f.done, "done-on-success", false, "exit code 0 says that the partition's work is done: it is run again only when it was taken from the list and put there anew; what exits after SIGTERM was stopped, whatever its code")
	flags.IntVar(&f.reject, "reject-code", 0, "an exit `code` that gives the partition to another worker, 1 to 255; what exits after SIGTERM was stopped, whatever its code (default: none)")
	flags.BoolVar(&f.prefix, "prefix", true, "write the name of the partition before each line")

	flags.StringVar(&f.config, "config", "", "a YAML `file` with more settings of parti.Config, such as heartbeat_interval: 1s; above it is the environment, such as PARTI_HEARTBEAT_INTERVAL=1s, and above both are flags")
	c := &f.flags
	flags.StringVar(&f.isolation, "isolation", "", "the `policy` while NATS is away: freeze goes on, fence ends everything in time (default freeze)")
	flags.Int64Var(&c.Capacity, "max", 0, "the most partitions for this worker; where they have weights, the most `weight` (default: no limit)")
	flags.Int64Var(&c.Share, "share", 0, "this worker's part of the load, relative to others (default 1)")
	flags.StringVar(&c.Identity, "identity", "", "a `name` that this worker keeps across restarts, with its worker ID (default: the host's name, where nobody else has it)")
	flags.StringVar(&c.WorkerIDPrefix, "worker-prefix", "", "the `word` that worker IDs begin with (default worker)")
	flags.StringVar(&c.Zone, "zone", "", "the `zone` where this worker is")
	flags.StringToStringVar(&c.Labels, "label", nil, "a label of this worker, as `key=value`; may be repeated")
	flags.Lookup("label").DefValue = ""
	flags.DurationVar(&c.DrainTimeout, "drain-timeout", 0, "the time from SIGTERM to SIGKILL (default 30s)")
	flags.DurationVar(&c.SessionTTL, "session-ttl", 0, "how long a session lasts without renewal; with fence, a silent worker is lost after it (default 15s)")
	flags.IntVar(&c.ExpectedWorkers, "expected-workers", 0, "begin at once when so many are there (default: a group that begins waits a moment for more)")
	flags.DurationVar(&c.RestartGrace, "restart-grace", 0, "how long partitions wait for a worker that has stopped to come back (default: not at all)")
	f.to.flags(flags)
}

// envPrefix is what the names of variables for settings begin with.
const envPrefix = "PARTI_"

const tryRun = "parti run --help"

// settings are the file's, above them the environment's, and above these the flags'.
func (f *runFlags) settings(flags *pflag.FlagSet, lookup func(string) string) (parti.Config, error) {
	var c parti.Config
	if f.config != "" {
		text, err := os.ReadFile(f.config)
		if err != nil {
			return c, fmt.Errorf("--config: %w", err)
		}
		d := yaml.NewDecoder(bytes.NewReader(text))
		d.KnownFields(true)
		if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("--config %s: %w", f.config, err)
		}
	}
	if err := fromEnvironment(&c, lookup); err != nil {
		return c, err
	}
	for name, set := range map[string]func(){
		"max":              func() { c.Capacity = f.flags.Capacity },
		"share":            func() { c.Share = f.flags.Share },
		"identity":         func() { c.Identity = f.flags.Identity },
		"worker-prefix":    func() { c.WorkerIDPrefix = f.flags.WorkerIDPrefix },
		"zone":             func() { c.Zone = f.flags.Zone },
		"label":            func() { c.Labels = f.flags.Labels },
		"drain-timeout":    func() { c.DrainTimeout = f.flags.DrainTimeout },
		"session-ttl":      func() { c.SessionTTL = f.flags.SessionTTL },
		"expected-workers": func() { c.ExpectedWorkers = f.flags.ExpectedWorkers },
		"restart-grace":    func() { c.RestartGrace = f.flags.RestartGrace },
	} {
		if flags.Changed(name) {
			set()
		}
	}
	if f.isolation != "" {
		if err := c.Isolation.UnmarshalText([]byte(f.isolation)); err != nil {
			return c, fmt.Errorf("--isolation: %w", err)
		}
	}
	return c, nil
}

// fromEnvironment sets what PARTI_ variables say, such as PARTI_HEARTBEAT_INTERVAL=1s.
func fromEnvironment(c *parti.Config, lookup func(string) string) error {
	fields, err := env.GetFieldParamsWithOptions(c, env.Options{Prefix: envPrefix})
	if err != nil {
		return err
	}
	for _, field := range fields {
		value := lookup(field.Key)
		if value == "" {
			continue
		}
		// One at a time, since an error names a field and not its variable.
		one := env.Options{Prefix: envPrefix, Environment: map[string]string{field.Key: value}}
		if err := env.ParseWithOptions(c, one); err != nil {
			if bad, ok := errors.AsType[env.ParseError](err); ok {
				err = bad.Err
			}
			return fmt.Errorf("%s=%s in the environment: %w", field.Key, value, err)
		}
	}
	return nil
}

// mistyped are variables that mean nothing and are nearly called as a setting is, each with
// that setting, sorted.
func mistyped(environ []string) (all [][2]string) {
	fields, err := env.GetFieldParamsWithOptions(&parti.Config{}, env.Options{Prefix: envPrefix})
	if err != nil {
		return nil // who reads the settings says so
	}
	known := map[string]bool{"PARTI_CONSOLE_TOKEN": true}
	for _, field := range fields {
		known[field.Key] = true
	}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if value == "" || known[name] || run.Tells(name) || !strings.HasPrefix(strings.ToUpper(name), envPrefix) {
			continue
		}
		best, least := "", mostTypos+1
		for _, field := range fields {
			d := distance(strings.ToUpper(name), field.Key)
			if d < least && 3*d <= len(field.Key)-len(envPrefix) {
				best, least = field.Key, d
			}
		}
		if best != "" {
			all = append(all, [2]string{name, best})
		}
	}
	slices.SortFunc(all, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return all
}

// mostTypos is how many letters of a setting's name may be wrong for it to be the one that
// was meant; in a short name a third of them.
const mostTypos = 2

func (f *runFlags) run(ctx context.Context, s *Streams, g *global, flags *pflag.FlagSet, command []string) error {
	if f.group = s.group(f.group); f.group == "" {
		return usage(errNoGroup, tryGroup)
	}
	// Before --embedded makes a directory of that name.
	if err := badGroup(f.group); err != nil {
		return usage(err, "parti run --group orders ...")
	}
	cfg, err := f.settings(flags, s.Env)
	if err != nil {
		return usage(err, tryRun)
	}
	if flags.Changed("reject-code") && (f.reject < 1 || f.reject > 255) {
		return usage(fmt.Errorf("--reject-code %d: it is 1 to 255", f.reject), tryRun)
	}
	if f.embeddedDir != "" && !f.embedded {
		return usage(errors.New("--embedded-dir: it goes with --embedded"), tryRun)
	}
	if name := f.clash(flags); name != "" {
		return usage(fmt.Errorf("--%s: --embedded brings its own server", name), "one of them")
	}
	if _, err := run.Look(command); err != nil {
		return usage(err, tryRun)
	}
	partitions, err := run.Partitions(ctx, f.partitions)
	if err != nil {
		return usage(fmt.Errorf("--partitions %s: %w", f.partitions, err), tryRun)
	}
	style := func(w io.Writer) run.Style {
		return run.Style{JSON: g.json, Bare: !f.prefix, Color: s.colors(g.color, w)}
	}
	o := run.Options{
		Group: f.group, Source: partitions, Config: cfg, Command: command, DoneOnSuccess: f.done, RejectCode: f.reject,
		Out: s.Out, Err: s.Err, OutStyle: style(s.Out), ErrStyle: style(s.Err),
	}
	defer o.Close()
	if s.Environ != nil {
		for _, m := range mistyped(s.Environ()) {
			o.Say("warning", m[0]+" in the environment is no setting, and changes nothing; did you mean "+m[1]+"?")
		}
	}
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	js, leave, err := f.connect(ctx, s, &o, give)
	if err != nil {
		return err
	}
	defer leave()
	store, err := natskv.Open(ctx, js, f.group, natskv.WithLogger(o.Logger()))
	if err != nil {
		return f.failed(ctx, err)
	}
	defer store.Close()
	o.Store = store
	err = run.Run(ctx, o)
	if cause := context.Cause(ctx); errors.Is(cause, natskv.ErrConnectionClosed) {
		err = cause
	}
	if err != nil {
		return f.failed(ctx, err)
	}
	return nil
}

// clash is a flag that says where NATS is although it is here.
func (f *runFlags) clash(flags *pflag.FlagSet) (name string) {
	other := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(connection).flags(other)
	other.VisitAll(func(o *pflag.Flag) {
		if f.embedded && flags.Changed(o.Name) {
			name = o.Name
		}
	})
	return name
}

// runTries is how often a server is tried that does not answer in time, before it is taken
// for a mistake.
const runTries = 3

// connect connects to NATS. When the connection is closed for good, it gives up.
func (f *runFlags) connect(ctx context.Context, s *Streams, o *run.Options, give context.CancelCauseFunc) (js jetstream.JetStream, leave func(), err error) {
	opts := append(natskv.ConnectOptions(), nats.ClosedHandler(func(nc *nats.Conn) {
		give(errors.Join(natskv.ErrConnectionClosed, nc.LastError()))
	}))
	if f.embedded {
		return f.embed(s, o, opts)
	}
	// Who mistypes is to know at once; from then on it waits for as long as it takes. That
	// a server is slow is no mistake.
	var nc *nats.Conn
	for range runTries {
		nc, err = f.to.connect(ctx, s, append(opts, nats.RetryOnFailedConnect(false))...)
		if slow, is := errors.AsType[net.Error](err); !is || !slow.Timeout() || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if js, err = f.to.jetstream(nc); err != nil {
		nc.Close()
		return nil, nil, err
	}
	return js, nc.Close, nil
}

// embed connects to the server of this machine's processes, or brings it.
func (f *runFlags) embed(s *Streams, o *run.Options, opts []nats.Option) (js jetstream.JetStream, leave func(), err error) {
	dir := f.embeddedDir
	if dir == "" {
		if dir, err = stateDir(s, f.group); err != nil {
			return nil, nil, usage(err, "--embedded-dir")
		}
	}
	server, err := run.Embed(dir, func(text string) { o.Say("embedded", text) })
	if err != nil {
		return nil, nil, &Error{Code: Failed, What: "cannot bring a NATS server in " + dir, Why: err, Try: "--embedded-dir, with a directory of your own"}
	}
	nc, err := server.Connect(opts...)
	if err == nil {
		if js, err = jetstream.New(nc); err == nil {
			return js, func() { nc.Close(); server.Close() }, nil
		}
		nc.Close()
	}
	server.Close()
	return nil, nil, &Error{Code: Failed, What: "cannot use the embedded NATS server", Why: err}
}

// stateDir is where programs keep what is to be there again.
func stateDir(s *Streams, group string) (string, error) {
	base := s.Env("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "parti", group), nil
}

// failed says what to do about a worker that cannot go on.
func (f *runFlags) failed(ctx context.Context, err error) error {
	e := &Error{Code: Failed, What: "cannot run for group " + f.group, Why: err}
	denied := (*kv.DeniedError)(nil)
	wrong := (*parti.ConfigError)(nil)
	stuck := (*parti.StuckError)(nil)
	switch {
	case errors.As(err, &wrong):
		return usage(err, "another value by its flag, in the environment, or in the file of --config")
	case errors.Is(err, natskv.ErrNotLetIn):
		e.Code, e.Try = Forbidden, "--creds, --nkey, --user or --context, for a user that the server knows"
	case errors.As(err, &denied), errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrPermissionViolation):
		e.Code, e.Try = Forbidden, "parti permissions --group "+f.group+" --role worker,provisioner"
	case errors.Is(err, parti.ErrIdentityInUse):
		e.Try = "another --identity, or none"
	case errors.Is(err, run.ErrUnread):
		e.What, e.Try = "the worker has stopped", tryUnread
	case errors.As(err, &stuck):
		e.What = "the worker has stopped, but not all that it ran"
	case errors.Is(err, context.DeadlineExceeded):
		e.Code = TimedOut
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		e.What, e.Why = "interrupted before the worker had begun", nil
	}
	return e
}

// newGuardian is for parti itself; see package run.
func newGuardian() *cobra.Command {
	return &cobra.Command{
		Use:    run.GuardianWord,
		Short:  "Watch over the programs of parti run, which starts this by itself",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			if err := run.Guard(); err != nil {
				return usage(err, tryRun)
			}
			return nil
		},
	}
}
