package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/parti-go/parti/cmd/parti/internal/run"
)

// clearing is the ctx of a command that has something to clear away before it ends: it also
// ends with the terminal. A write to nobody is an error from here on to the end, instead of
// the end.
func clearing(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if signal.Ignored(syscall.SIGHUP) { // nohup
		return ctx, func() {}
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

// heard are the same streams, and a ctx that ends with [run.ErrUnread] once nobody reads what
// is written to them. The signal does not say that: it comes of a broken connection, too.
func (s *Streams) heard(ctx context.Context) (context.Context, *Streams, context.CancelFunc) {
	ctx, give := context.WithCancelCause(ctx)
	same := *s
	for _, w := range []*io.Writer{&same.Out, &same.Err} {
		if _, tty := terminal(*w); !tty { // one that goes away says so
			*w = &told{*w, give}
		}
	}
	return ctx, &same, func() { give(nil) }
}

// A told writer tells when nobody reads what is written.
type told struct {
	w    io.Writer
	give context.CancelCauseFunc
}

func (t *told) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		t.give(run.ErrUnread)
	}
	return n, err
}

// tryUnread is what to do about output that nobody reads.
const tryUnread = "send the output to who reads it to the end, to a file, or to /dev/null"

// unread is the error of a command that has ended since nobody reads what it writes; or err,
// when it has not.
func unread(ctx context.Context, what string, err error) error {
	if errors.Is(context.Cause(ctx), run.ErrUnread) {
		return &Error{Code: Failed, What: what, Why: run.ErrUnread, Try: tryUnread}
	}
	return err
}
