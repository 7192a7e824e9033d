package parti

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/plan"
)

// A runner calls the handler: one goroutine for each lease.
type runner struct {
	handler Handler
	warmer  *warmer         // nil: the handler is no Preparer
	values  context.Context //nolint:containedctx // of all handlers
	check   func() error    // of the session's trust
	report  func(...member.Fact)
	log     *slog.Logger

	mu   sync.Mutex
	runs map[plan.Lease]*run
	wait sync.WaitGroup
}

// A run is one call of the handler.
type run struct {
	key      plan.Lease
	lease    Lease             // the handler's own
	labels   map[string]string // as the lease had them, whatever its handler does with its own
	ctx      context.Context   //nolint:containedctx // of one call
	stop     context.CancelCauseFunc
	stopHard context.CancelCauseFunc

	preparing bool // waits for Prepare
	stopping  bool
}

func newRunner(h Handler, values context.Context, ahead int, check func() error, report func(...member.Fact), log *slog.Logger) *runner { //nolint:revive // values is not the context of this call
	r := &runner{
		handler: h, values: values, check: check, report: report, log: log,
		runs: map[plan.Lease]*run{},
	}
	if p, ok := h.(Preparer); ok {
		r.warmer = newWarmer(p, values, ahead)
	}
	return r
}

// add makes the run of a grant to this worker.
func (r *runner) add(g plan.Grant, worker string) *run {
	key := plan.Lease{Partition: g.ID, Token: g.Token}
	hard, stopHard := context.WithCancelCause(r.values)
	ctx, stop := context.WithCancelCause(hard)
	labels := g.Labels
	g.Labels = maps.Clone(labels) // the brain keeps its own
	lease := NewLease(g.Partition, uint64(g.Token), hard, func() error {
		if hard.Err() != nil {
			return context.Cause(hard)
		}
		return r.check()
	})
	lease.Worker = worker
	run := &run{key: key, lease: lease, labels: labels, ctx: ctx, stop: stop, stopHard: stopHard, preparing: r.warmer != nil}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.runs[key]; twice {
		panic(fmt.Sprintf("parti: %s is to be started twice under token %v", g.ID, g.Token))
	}
	r.runs[key] = run
	return run
}

// start lets it run.
func (r *runner) start(run *run) { r.wait.Go(func() { r.run(run) }) }

// run calls the handler and reports how it returned, whatever it does.
func (r *runner) run(run *run) {
	key := run.key
	err := errGoexit // unless it returns
	defer func() {
		run.stopHard(errReturned)
		exited := member.Exited{Lease: key, How: howOf(err)}
		if err != nil {
			exited.Err = err.Error()
		}
		if p := (*panicError)(nil); errors.As(err, &p) {
			exited.How, exited.Panicked = hold.Failed, true
		}
		r.mu.Lock()
		delete(r.runs, key)
		r.mu.Unlock()
		r.report(exited)
		if exited.Panicked { // last, since the log may hang
			logPanic(r.log, "handler of "+key.Partition, err)
		}
	}()
	err = r.callHandler(run)
}

// errGoexit is the failure of a handler that called runtime.Goexit.
var errGoexit = errors.New("it ended its goroutine instead of returning")

// errReturned is why the contexts of a lease have ended when its handler returned.
var errReturned = fmt.Errorf("%w: its handler has returned", ErrFenced)

func (r *runner) callHandler(run *run) error {
	if r.warmer != nil {
		if err := r.warmer.warm(run.ctx, run.lease.Partition); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		r.mu.Lock()
		run.preparing = false
		r.mu.Unlock()
	}
	if run.ctx.Err() == nil { // else it is too late to begin
		r.report(member.Started{Lease: run.key})
		return guarded(func() error { return r.handler.Run(run.ctx, run.lease) })
	}
	return nil
}

func howOf(err error) hold.How {
	switch {
	case err == nil:
		return hold.Returned
	case errors.Is(err, ErrDone):
		return hold.Done
	case errors.Is(err, ErrReject):
		return hold.Rejected
	default:
		return hold.Failed
	}
}

func causeOf(c hold.Cause) error {
	switch c {
	case hold.Revoked:
		return ErrRevoked
	case hold.Fenced:
		return ErrFenced
	case hold.Stopped:
		return ErrStopped
	}
	panic(fmt.Sprintf("parti: unknown cause %d", c))
}

// end asks a run to stop; hard, to stop at once. One that has returned already is
// none of its business.
func (r *runner) end(s hold.Stop, hard bool) {
	r.mu.Lock()
	run := r.runs[s.Lease]
	if run != nil {
		run.stopping = true
	}
	r.mu.Unlock()
	if run == nil {
		return
	}
	run.stop(causeOf(s.Cause)) // keeps the cause of the first stop
	if hard {
		run.stopHard(causeOf(s.Cause))
	}
}

// prepare warms partitions up that are about to come.
func (r *runner) prepare(p Partition) {
	if r.warmer != nil {
		r.warmer.ahead(p)
	}
}

// forget ends the warming up of a partition that is not to come after all.
func (r *runner) forget(id string) {
	if r.warmer != nil {
		r.warmer.cool(id)
	}
}

// leases are those that run and were not asked to stop, sorted by partition. They are the
// caller's own, as those of handlers are theirs.
func (r *runner) leases() []Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Lease, 0, len(r.runs))
	for _, run := range r.runs {
		if run.runs() {
			l := run.lease
			l.Partition.Labels = maps.Clone(run.labels)
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b Lease) int { return cmp.Compare(a.Partition.ID, b.Partition.ID) })
	return all
}

// runs reports whether the handler runs and was not asked to stop. It is called under the
// runner's lock.
func (r *run) runs() bool { return !r.preparing && !r.stopping }

// stuck reports whether Hard has ended, and not because the handler has returned.
func (r *run) stuck() bool {
	hard := r.lease.Hard()
	return hard.Err() != nil && !errors.Is(context.Cause(hard), errReturned)
}

// count counts the runs that run and were not asked to stop, and names those that were, and
// of these those whose Hard has ended, sorted.
func (r *runner) count() (running int, draining, stuck []string) {
	running = len(r.names((*run).runs))
	draining = r.names(func(run *run) bool { return run.stopping })
	stuck = r.names((*run).stuck)
	return running, draining, stuck
}

// names are those of the runs that which chooses, sorted.
func (r *runner) names(which func(*run) bool) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, run := range r.runs {
		if which(run) {
			all = append(all, run.lease.Partition.ID)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// busy reports whether any handler has not returned.
func (r *runner) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.runs) > 0
}

// endAll ends all contexts.
func (r *runner) endAll(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.runs {
		run.stopping = true
		run.stop(cause)
		run.stopHard(cause)
	}
}

// abandon ends all contexts and gives the handlers a while to return. It names the
// partitions of those that did not.
func (r *runner) abandon(grace time.Duration) (stuck []string) {
	r.endAll(ErrStopped)
	if r.warmer != nil {
		r.warmer.close()
	}
	returned := make(chan struct{})
	go func() { // ends with the last handler, however late that is
		r.wait.Wait()
		if r.warmer != nil {
			r.warmer.wait.Wait()
		}
		close(returned)
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-returned:
		return nil
	case <-timer.C:
	}
	stuck = r.names(func(*run) bool { return true })
	if r.warmer != nil {
		stuck = append(stuck, r.warmer.busy()...)
		slices.Sort(stuck)
		stuck = slices.Compact(stuck)
	}
	return stuck
}
