//go:build unix

package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/parti-go/parti"
)

// A handler is the [parti.Handler] that runs a command for each lease. It returns when
// nothing of the command is left.
type handler struct {
	group    string
	path     string
	words    []string
	done     bool // exit code 0 is the end
	reject   int
	patience time.Duration
	trust    *trust // nil: it is not a matter of trust

	guards   guards
	out, err *printer
	talk     *talk
}

func (h *handler) Run(ctx context.Context, l parti.Lease) error {
	g, err := h.guards.get(ctx)
	if err != nil {
		return err
	}
	h.tellTrust(g)
	j := job{
		Group: h.group, Worker: l.Worker, Partition: l.Partition.ID, Token: l.Token,
		Weight: max(l.Partition.Weight, 1), Labels: l.Partition.Labels,
	}
	out, err := newPipe(h.out.of(j))
	if err != nil {
		return err
	}
	complaints, err := newPipe(h.err.of(j))
	if err != nil {
		_ = out.w.Close()
		return err
	}
	begun := machineTime()
	c, err := g.start(order{
		Path: h.path, Args: j.args(h.words), Env: j.env(), Patience: h.patience, Fenced: h.trust != nil,
	}, out.w, complaints.w)
	_, _ = out.w.Close(), complaints.w.Close()
	if err == nil {
		h.talk.started(j, c.pid)
		c.wait(ctx, l.Hard())
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), outputTime)
	defer cancel()
	out.finish(late.Done())
	complaints.finish(late.Done())
	if err != nil {
		return fmt.Errorf("it could not be started: %w", err)
	}
	h.talk.ended(j, c.pid, c.end, c.end.At-begun)
	return h.outcome(ctx, c.end)
}

// wait ends a command as its lease ends, and returns when nothing of it is left.
func (c *child) wait(ctx, hard context.Context) {
	asked, forced := ctx.Done(), hard.Done()
	for {
		select {
		case <-asked:
			c.term()
			asked = nil
		case <-forced:
			c.kill()
			forced = nil
		case <-c.gone:
			return
		}
	}
}

// outcome says what becomes of the partition.
func (h *handler) outcome(ctx context.Context, e end) error {
	text := errors.New(e.String())
	// That others went on does not change what the first process has said.
	switch clean := !e.Lost && e.Signal == 0 && (e.Why != endTrust || e.Itself); {
	case clean && e.Code == 0 && h.done && (e.Itself || ctx.Err() == nil):
		// Also where the partition is asked back by now: what has exited before SIGTERM was not
		// stopped, and its work would be done once more elsewhere.
		return fmt.Errorf("%w: %w", parti.ErrDone, text)
	case ctx.Err() != nil:
		if e.Signal == syscall.SIGKILL {
			return text // in a hurry
		}
		return nil
	case clean && e.Code != 0 && e.Code == h.reject:
		return fmt.Errorf("%w: %w", parti.ErrReject, text)
	}
	return text
}

// String says how a command ended.
func (e end) String() string {
	switch {
	case e.Lost:
		return "killed, since its guardian was"
	case e.Why == endTrust:
		return "ended by the guardian, since the trust in this worker ran out"
	case e.Signal != 0:
		return "killed by " + signalName(e.Signal) + e.rest()
	}
	return fmt.Sprintf("exit code %d", e.Code) + e.rest()
}

// rest says what became of those that went on after the first process.
func (e end) rest() string {
	if e.Why != endRest {
		return ""
	}
	return "; others went on, and were ended"
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

// tellTrust tells a guardian how long the worker is trusted.
func (h *handler) tellTrust(g *guard) {
	if h.trust == nil {
		return
	}
	if termAt, killAt, ok := h.trust.times(); ok {
		_ = g.tell(order{Do: doTrust, TermAt: termAt, KillAt: killAt})
	}
}

// feed tells the guardian of every renewal, until ctx ends. It looks far more often than
// there are any.
func (h *handler) feed(ctx context.Context, every time.Duration) {
	look := time.NewTicker(every)
	defer look.Stop()
	for {
		if g := h.guards.now(); g != nil {
			h.tellTrust(g)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// guards has one guardian at a time: a new one if the one before was killed.
type guards struct {
	mu  sync.Mutex
	one *guard
}

func (g *guards) get(ctx context.Context) (*guard, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.one == nil || g.one.isOver() {
		one, err := startGuard(ctx)
		if err != nil {
			return nil, err
		}
		g.one = one
	}
	return g.one, nil
}

// now is the guardian that there is, or nil.
func (g *guards) now() *guard {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.one
}

// close lets it end what is left.
func (g *guards) close() {
	if one := g.now(); one != nil {
		one.close()
	}
}
