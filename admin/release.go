package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

// askAgain is how often a process is asked to end, until it has.
const askAgain = 2 * time.Second

// Release makes the process end that holds a partition and whose handler ignores Hard: the
// only safe way to take it from there. Everything else that runs in that process ends with
// it, and moves on as after a crash. It returns when the process does not answer any more,
// or when the handler has returned after all; what was asked for is taken back then.
//
// A [RefusedError] when the partition was not asked back, or its handler still has time:
// then Hard has not ended, and waiting is enough. A process that does not read what it is
// asked cannot be ended from here; when ctx ends first, the error wraps its cause, and
// says so: end it by the means of its machine.
func (g *Group) Release(ctx context.Context, partition string, o Order) (Change, error) {
	p, err := g.read(ctx)
	if err != nil {
		return Change{}, err
	}
	s := g.snapshot(p, nil)
	x, err := s.Partition(partition)
	if err != nil {
		return Change{}, err
	}
	refuse := func(why, try string) (Change, error) {
		return Change{}, &RefusedError{What: "release " + partition, Why: why, Try: try}
	}
	session, there := p.sessions[x.Owner]
	switch {
	case x.Owner == "":
		return refuse("nobody has it", "parti explain "+partition)
	case !there || ended(session) || session.Nonce != p.slices[x.Owner].Session:
		return refuse("the session of "+x.Owner+" that had it is not there any more: its end is concluded by itself", "wait, and look again")
	}
	about, err := g.about(ctx, session.Nonce)
	switch {
	case err != nil:
		return refuse(fmt.Sprintf("the process of %s on %s does not answer (%v)", x.Owner, session.Host, err), "end it by the means of its machine")
	case !slices.Contains(about.Draining, partition):
		return refuse("its handler was not asked to stop", "drain "+x.Owner+", ban the partition from it, or move it: it is asked then")
	case !slices.Contains(about.Stuck, partition):
		return refuse("its handler still has time: its Hard has not ended", "wait for DrainTimeout")
	}
	c, err := g.want(ctx, plan.Control{
		Kind: plan.ForceRelease, Partition: partition, Worker: x.Owner, Session: session.Nonce, Token: x.Token,
	}, o)
	if err != nil {
		return c, err
	}
	defer func() { // nobody else is to be asked
		done, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		_, _ = g.takeBack(done, c.Control)
	}()
	for {
		waiting, cancel := context.WithTimeout(ctx, askAgain)
		err := g.gone(waiting, session.Nonce, partition)
		cancel()
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return c, fmt.Errorf("%s has not ended: it may not read what it is asked: %w", x.Owner, context.Cause(ctx))
		}
		if _, err := g.put(ctx, c.Control); err != nil { // it may have been missed, or came too soon
			return c, err
		}
	}
}

// gone waits until nobody answers to that name, or the partition does not drain there.
func (g *Group) gone(ctx context.Context, nonce, partition string) error {
	for {
		about, err := g.about(ctx, nonce)
		if errors.Is(err, kv.ErrNoResponders) || err == nil && !slices.Contains(about.Draining, partition) {
			return nil
		}
		if !pause(ctx, watchLeast, nil) {
			return context.Cause(ctx)
		}
	}
}
