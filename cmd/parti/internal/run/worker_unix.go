//go:build unix

package run

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/parti-go/parti"
)

// looksPerHeartbeat is how often trust is looked at between two renewals: a guardian
// knows of each when the next is still far.
const looksPerHeartbeat = 4

// Run is a worker's life: it runs the command for every partition that the worker owns,
// until ctx ends. Nothing that it started is left then. It returns nil after a clean stop,
// and [ErrUnread] after one because who read its output is gone.
func Run(ctx context.Context, o Options) error {
	path, err := Look(o.Command)
	if err != nil {
		return err
	}
	talk := o.telling()
	defer talk.close()
	h := &handler{
		group: o.Group, path: path, words: o.Command, done: o.DoneOnSuccess, reject: o.RejectCode,
		patience: cmp.Or(o.Config.DrainTimeout, defaultDrain),
		out:      &printer{place: talk.out, w: o.Out, stream: "stdout", style: o.OutStyle, readers: talk.readers},
		err:      &printer{place: talk.err, w: o.Err, stream: "stderr", style: o.ErrStyle, readers: talk.readers},
		talk:     talk,
	}
	early := &warnings{talk: talk}
	mgr, err := parti.NewManager(o.Store, o.Source, h, o.Config, parti.WithObserver(talk.event), parti.WithLogger(slog.New(early)))
	if err != nil {
		return err
	}
	early.over.Store(true)
	if _, err := h.guards.get(ctx); err != nil { // what is wrong with it is seen at once
		return err
	}
	defer h.guards.close()

	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	go func() {
		select {
		case <-talk.readers.gone:
			give(ErrUnread)
		case <-ctx.Done():
		}
	}()

	var fed sync.WaitGroup
	feeding, stop := context.WithCancel(context.WithoutCancel(ctx))
	if o.Config.Isolation == parti.Fence {
		h.trust = &trust{left: func() time.Duration { return mgr.Status().TrustedFor.Duration() }, length: trustLength(o.Config)}
		fed.Go(func() { h.feed(feeding, cmp.Or(o.Config.HeartbeatInterval, defaultHeartbeat)/looksPerHeartbeat) })
	}
	defer fed.Wait()
	defer stop()
	err = mgr.Run(ctx)
	if errors.Is(context.Cause(ctx), ErrUnread) && (err == nil || errors.Is(err, context.Canceled)) {
		return ErrUnread
	}
	return err
}
