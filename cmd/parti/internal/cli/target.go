package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
)

// A target is the group that a command is about, and the way to it.
type target struct {
	connection

	streams *Streams
	group   string
	timeout time.Duration
	who     string // steers; empty: the user of this process
}

// patience is the usual --timeout.
const patience = 10 * time.Second

// flags adds the flags that say which group it is, and how to reach it.
func (t *target) flags(cmd *cobra.Command, s *Streams) {
	t.streams = s
	f := cmd.Flags()
	t.connection.flags(f)
	f.StringVarP(&t.group, "group", "g", "", "the `name` of the group; also PARTI_GROUP. Without it, the only one there is")
	f.DurationVar(&t.timeout, "timeout", patience, "give up after this `time`, with exit code 5; 0: no limit")
	_ = cmd.RegisterFlagCompletionFunc("group", t.completeGroups)
	_ = cmd.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return contextsOf(s.Env).names(), cobra.ShellCompDirectiveNoFileComp
	})
}

// A way is an open way to a group.
type way struct {
	*admin.Group

	name  string
	nc    *nats.Conn
	store *natskv.Store
}

func (w *way) close() {
	w.store.Close()
	w.nc.Close()
}

// bounded is ctx with the time of --timeout.
func (t *target) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, t.timeout, errTimeout)
}

var errTimeout = errors.New("the time of --timeout is over")

// open opens the way to the group. Its error is an [Error].
func (t *target) open(ctx context.Context) (*way, error) {
	nc, err := t.reach(ctx)
	if err != nil {
		return nil, err
	}
	w, err := t.openOver(ctx, nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return w, nil
}

// reach connects with all that natskv asks for, so that doctor does not find fault with this
// connection.
func (t *target) reach(ctx context.Context) (*nats.Conn, error) {
	return t.connect(ctx, t.streams, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectBufSize(-1),
		nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2), quiet)
}

// mute is for a store that is only looked at, and whose errors say what is wrong.
var mute = slog.New(slog.DiscardHandler)

// quiet keeps the client from writing to standard error: what is denied, or goes wrong, is
// an error of the request that it concerns.
var quiet = nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})

func (t *target) openOver(ctx context.Context, nc *nats.Conn) (*way, error) {
	js, err := t.jetstream(nc)
	if err != nil {
		return nil, err
	}
	name, err := t.which(ctx, js)
	if err != nil {
		return nil, err
	}
	store, err := natskv.Open(ctx, js, name, natskv.WithoutCreate(), natskv.WithoutBarrier(), natskv.WithLogger(mute))
	switch {
	case err == nil:
		var opts []admin.Option
		if t.who != "" {
			opts = append(opts, admin.WithWho(t.who))
		}
		return &way{Group: admin.Open(store, opts...), name: name, nc: nc, store: store}, nil
	case errors.Is(err, kv.ErrLost):
		there, _ := groups(ctx, js)
		return nil, noGroup(name, there)
	default:
		return nil, t.failed(name, err)
	}
}

// named is what the command line or the environment says of the group, or empty.
func (t *target) named() string { return t.streams.group(t.group) }

// group is the one that --group names, else the environment, or empty.
func (s *Streams) group(flag string) string { return cmp.Or(flag, s.Env("PARTI_GROUP")) }

// tryGroup is what to try where no group is named.
const tryGroup = "--group NAME, or PARTI_GROUP in the environment"

// errNoGroup is for commands to which the only group that there is means nothing.
var errNoGroup = errors.New("no group is named")

// which says which group it is: the one that is named, or the only one.
func (t *target) which(ctx context.Context, js jetstream.JetStream) (string, error) {
	if name := t.named(); name != "" {
		if err := badGroup(name); err != nil {
			return "", usage(err, "parti status --group orders")
		}
		return name, nil
	}
	there, err := groups(ctx, js)
	switch {
	case err != nil && ctx.Err() != nil: // the time is over for the command, not only for the list
		return "", t.used.ended(ctx)
	case err != nil:
		return "", &Error{Code: Usage, What: "no group is named, and the list of those that there are cannot be had", Why: err, Try: tryGroup}
	case len(there) == 1:
		return there[0], nil
	case len(there) == 0:
		return "", &Error{Code: NotFound, What: "there is no group here", Why: errors.New("no bucket's name begins with parti-"), Try: "--nats or --context for another server; a group is there once its first worker has started"}
	default:
		return "", &Error{Code: Usage, What: "no group is named", Why: errors.New("there is " + strings.Join(there, ", ")), Try: tryGroup}
	}
}

// badGroup is what is wrong with the name of a group, if anything is.
func badGroup(name string) error {
	if strings.Trim(name, letters) != "" {
		return fmt.Errorf("group %q: a name is letters, digits, - and _", name)
	}
	return nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// groups lists the groups whose buckets the user may see, sorted.
func groups(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bounded, done := context.WithTimeoutCause(ctx, connectTime, errors.New("the server does not answer"))
	defer done()
	nc := js.Conn()
	before := nc.ErrorHandler()
	nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			cancel(err)
		}
	})
	defer nc.SetErrorHandler(before)
	const prefix = "KV_parti-"
	list := js.StreamNames(bounded, jetstream.WithStreamListSubject("$KV.*.>"))
	var names []string
	for name := range list.Name() {
		if group, ok := strings.CutPrefix(name, prefix); ok {
			names = append(names, group)
		}
	}
	slices.Sort(names)
	if err := list.Err(); err != nil {
		if cause := context.Cause(bounded); cause != nil {
			err = cause
		}
		return nil, err
	}
	return names, nil
}

func noGroup(name string, there []string) *Error {
	e := &Error{Code: NotFound, What: fmt.Sprintf("there is no group %q", name), Try: "--nats or --context for another server; a group is there once its first worker has started"}
	if len(there) > 0 {
		e.Why = errors.New(meant(name, there))
		e.Try = "parti status --group " + there[0]
		if n := nearest(name, there); n != "" {
			e.Try = "parti status --group " + n
		}
	}
	return e
}

// failed says what to do about an error of the group.
func (t *target) failed(group string, err error) error {
	var (
		ours     *Error
		denied   *kv.DeniedError
		missing  *admin.NotFoundError
		said     *silent
		conflict *admin.ConflictError
		refused  *admin.RefusedError
		settings *natskv.SettingsError
		old      *natskv.TooOldError
	)
	in := fmt.Sprintf("group %q", group)
	of := " --group " + group
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours), errors.As(err, &said):
		return err
	case errors.Is(err, admin.ErrNoGroup):
		return noGroup(group, nil)
	case errors.As(err, &missing):
		e := &Error{Code: NotFound, What: fmt.Sprintf("%s has no %s %q", in, missing.What, missing.Name), Try: "parti status" + of}
		var why []string
		if missing.Nearest != "" {
			why = append(why, "did you mean "+missing.Nearest+"?")
		}
		if n := missing.Unnamed; n > 0 {
			why = append(why, "it may be among what no record names: "+show.Plural(n, "partition")+" without an owner")
		}
		if len(why) > 0 {
			e.Why = errors.New(strings.Join(why, " "))
		}
		if missing.What == "worker" || missing.What == "partition" {
			e.Try = "parti " + missing.What + "s" + of
		}
		return e
	case errors.As(err, &conflict):
		return &Error{Code: Failed, What: in + " is as it was", Why: conflict, Try: "parti controls" + of}
	case errors.As(err, &refused):
		return &Error{Code: Failed, What: refused.What, Why: errors.New(refused.Why), Try: refused.Try}
	case errors.As(err, &denied):
		return &Error{Code: Forbidden, What: "not permitted", Why: denied, Try: "a user in the role of observer, or of operator to steer: parti permissions" + of}
	case errors.As(err, &settings), errors.As(err, &old), errors.Is(err, natskv.ErrNoJetStream):
		return &Error{Code: Failed, What: in + " cannot be used", Why: err, Try: "parti doctor" + of}
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: TimedOut, What: in + " did not answer in " + t.timeout.String(), Why: err, Try: "a longer --timeout, or parti doctor" + of}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Failed, What: "interrupted"}
	case errors.Is(err, kv.ErrUnavailable), errors.Is(err, kv.ErrUnknown):
		return &Error{Code: Failed, What: in + " cannot be reached", Why: err, Try: "nats server check jetstream, or parti doctor" + of}
	default:
		return &Error{Code: Failed, What: in, Why: err}
	}
}

// do opens the way, and calls f with it for the time of --timeout.
func (t *target) do(ctx context.Context, f func(context.Context, *way) error) error {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	w, err := t.open(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	return t.failed(w.name, f(ctx, w))
}

func (t *target) completeGroups(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	nc, err := t.connect(ctx, t.streams, quiet)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer nc.Close()
	js, err := t.jetstream(nc)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := groups(ctx, js)
	return names, cobra.ShellCompDirectiveNoFileComp
}
