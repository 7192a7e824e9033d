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
// it, and moves on as after a crash. It returns when the process does not answer any more.
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
	if x.Owner == "" {
		return Change{}, &RefusedError{What: "release " + partition, Why: "nobody has it", Try: "parti explain " + partition}
	}
	session, there := p.sessions[x.Owner]
	if !there || ended(session) || session.Nonce != p.slices[x.Owner].Session {
		return Change{}, &RefusedError{
			What: "release " + partition, Why: "the session of " + x.Owner + " that had it is not there any more: its end is concluded by itself", Try: "wait, and look again",
		}
	}
	about, err := g.about(ctx, session.Nonce)
	if err != nil {
		return Change{}, &RefusedError{
			What: "release " + partition, Why: fmt.Sprintf("the process of %s on %s does not answer (%v)", x.Owner, session.Host, err),
			Try: "end it by the means of its machine",
		}
	}
	if !slices.Contains(about.Draining, partition) {
		return Change{}, &RefusedError{
			What: "release " + partition, Why: "its handler was not asked to stop", Try: "drain " + x.Owner + ", ban the partition from it, or move it: it is asked then",
		}
	}
	c, err := g.want(ctx, plan.Control{Kind: plan.ForceRelease, Partition: partition, Worker: x.Owner, Number: session.Nonce}, o)
	if err != nil {
		return c, err
	}
	for {
		waiting, cancel := context.WithTimeout(ctx, askAgain)
		err := g.gone(waiting, session.Nonce)
		cancel()
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return c, fmt.Errorf("%s has not ended; its handler may still have time, or it does not read what it is asked: %w", x.Owner, context.Cause(ctx))
		}
		if _, err := g.put(ctx, c.Control); err != nil { // it may have been missed
			return c, err
		}
	}
}

// gone waits until nobody answers to that name.
func (g *Group) gone(ctx context.Context, nonce string) error {
	for {
		if _, err := g.about(ctx, nonce); errors.Is(err, kv.ErrNoResponders) {
			return nil
		}
		if !pause(ctx, watchLeast, nil) {
			return context.Cause(ctx)
		}
	}
}
