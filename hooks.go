package parti

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/parti-go/parti/event"
)

// Hooks are called when something has changed. All are optional.
//
// Order: each is called in the order in which things happened. Concurrency: one at
// a time, never two of them at once, on goroutines of their own. Speed: a slow hook
// delays nothing but other hooks, and finds what happened meanwhile merged: states
// it never saw are skipped, a partition that came and went is not mentioned, of
// alerts the last remains. Context: ctx has the values of the one that the Manager
// was started with, and ends when the Manager has stopped, except for the last
// hooks, which tell of that. Errors: an error returned, a panic, or runtime.Goexit
// goes to OnError and to the log. All methods of the Manager may be called, Stop included.
type Hooks struct {
	// OnAssignmentChanged tells which partitions were started here and which have
	// ended here, each sorted by ID. A handler that is run again after an early
	// return is no change.
	OnAssignmentChanged func(ctx context.Context, added, removed []Partition) error
	// OnStateChanged tells of a new [State]; it is never the old one.
	OnStateChanged func(ctx context.Context, from, to State) error
	// OnDegradedAlert tells for how long this worker has been degraded, at the times
	// that Config.Alerts says.
	OnDegradedAlert func(ctx context.Context, level AlertLevel, since time.Duration) error
	// OnError tells of what went wrong and is tried again, of handlers that returned
	// early, and of the errors of the other hooks. It has nobody to return its own
	// error to: that is only logged. Of errors that wait for a slow hook, those beyond
	// a hundred are only counted.
	OnError func(ctx context.Context, err error) error
}

func (h Hooks) none() bool {
	return h.OnAssignmentChanged == nil && h.OnStateChanged == nil && h.OnDegradedAlert == nil && h.OnError == nil
}

// maxHookErrors is how many errors wait for a slow hook: enough to see a pattern.
const maxHookErrors = 100

// A news is what the hooks have not been told yet, in the order in which each kind
// of it began. What comes later is merged into it.
type news struct {
	order []newsKind // kinds that have something, by when they began to

	from, to State

	before, after map[string]Partition // of what has changed: here when last told, and here now

	alert AlertLevel
	since time.Duration

	errs []error
	more int // errors beyond those
}

type newsKind uint8

const (
	newsState newsKind = iota
	newsAssignment
	newsAlert
	newsError
)

// A hookFeed turns the stream of events into calls of hooks.
type hookFeed struct {
	hooks Hooks
	log   *slog.Logger

	mu      sync.Mutex
	pending news
	running map[string]Partition // what the events say runs here now

	courier courier
}

func newHookFeed(h Hooks, log *slog.Logger) *hookFeed {
	f := &hookFeed{hooks: h, log: log, running: map[string]Partition{}}
	f.courier.init()
	return f
}

// tell takes a batch of events. It never waits.
func (f *hookFeed) tell(events []Event) {
	f.mu.Lock()
	for _, e := range events {
		f.add(e)
	}
	some := len(f.pending.order) > 0
	f.mu.Unlock()
	if some {
		f.courier.wake()
	}
}

func (f *hookFeed) add(e Event) {
	switch e := e.(type) {
	case event.StateChanged:
		f.addState(e)
	case event.Assigned:
		f.put(e.Partition.ID, &e.Partition)
	case event.Released:
		f.put(e.Partition, nil)
	case event.Returned:
		if e.Final {
			f.put(e.Partition, nil)
			break
		}
		f.addError(fmt.Errorf("parti: handler of %s returned while it owned it; run again in %v: %s", e.Partition, e.BackOff, cmp.Or(e.Err, "no error")))
	case event.Degraded:
		if f.hooks.OnDegradedAlert == nil {
			break
		}
		var level AlertLevel
		if level.UnmarshalText([]byte(e.Level)) == nil {
			f.pending.alert, f.pending.since = level, e.For
			f.begin(newsAlert)
		}
	case event.Failed:
		f.addError(fmt.Errorf("parti: %s: %s", e.Doing, e.Err))
	case event.SourceFailed:
		f.addError(fmt.Errorf("parti: list partitions: %s", e.Err))
	case event.SourceRejected:
		f.addError(fmt.Errorf("parti: list partitions: not believed: %s", e.Err))
	case event.Stuck:
		f.addError(fmt.Errorf("parti: handler of %s has ignored Hard for %v", e.Partition, e.For))
	case event.Exiting:
		f.addError(fmt.Errorf("parti: the process ends, since the handler of %s ignores Hard and %s asked for it", e.Partition, e.By))
	case event.Alert:
		if e.Text != "" {
			f.addError(fmt.Errorf("parti: %s: %s", e.About, e.Text))
		}
	case event.SessionLost:
		f.addError(fmt.Errorf("parti: session of %s is lost: %s", e.Worker, e.Why))
	case event.Claimed, event.SessionResumed, event.Revoked, event.Led, event.Deposed, event.Planned, event.Refused,
		event.Slowed, event.Suspected, event.Recovered, event.Lost, event.Doubted, event.Trusted, event.StoreRenewed, event.Dropped:
	}
}

func (f *hookFeed) begin(kind newsKind) {
	if !slices.Contains(f.pending.order, kind) {
		f.pending.order = append(f.pending.order, kind)
	}
}

func (f *hookFeed) end(kind newsKind) {
	f.pending.order = slices.DeleteFunc(f.pending.order, func(k newsKind) bool { return k == kind })
}

func (f *hookFeed) addState(e event.StateChanged) {
	var from, to State
	if f.hooks.OnStateChanged == nil || from.UnmarshalText([]byte(e.From)) != nil || to.UnmarshalText([]byte(e.To)) != nil {
		return
	}
	p := &f.pending
	if !slices.Contains(p.order, newsState) {
		p.from = from
		f.begin(newsState)
	}
	p.to = to
	if p.from == p.to {
		f.end(newsState)
	}
}

// put says that a partition runs here now, or does not (nil).
func (f *hookFeed) put(id string, now *Partition) {
	if f.hooks.OnAssignmentChanged == nil {
		return
	}
	p := &f.pending
	if !slices.Contains(p.order, newsAssignment) {
		p.before, p.after = map[string]Partition{}, map[string]Partition{}
		f.begin(newsAssignment)
	}
	was, ran := f.running[id]
	_, here := p.before[id]
	_, come := p.after[id]
	if ran && !here && !come {
		p.before[id] = was
	}
	if now == nil {
		delete(f.running, id)
		delete(p.after, id)
	} else {
		f.running[id] = *now
		p.after[id] = *now
	}
}

func (f *hookFeed) addError(err error) {
	if f.hooks.OnError == nil {
		return
	}
	f.begin(newsError)
	if p := &f.pending; len(p.errs) < maxHookErrors {
		p.errs = append(p.errs, err)
	} else {
		p.more++
	}
}

// take removes what was first. The call is nil when it came to nothing.
func (f *hookFeed) take() (call func(ctx context.Context) error, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &f.pending
	if len(p.order) == 0 {
		return nil, false
	}
	kind := p.order[0]
	p.order = p.order[1:]
	h := f.hooks
	switch kind {
	case newsState:
		from, to := p.from, p.to
		return func(ctx context.Context) error { return h.OnStateChanged(ctx, from, to) }, true
	case newsAssignment:
		added, removed := only(p.after, p.before), only(p.before, p.after)
		p.before, p.after = nil, nil
		if len(added)+len(removed) == 0 {
			return nil, true
		}
		return func(ctx context.Context) error { return h.OnAssignmentChanged(ctx, added, removed) }, true
	case newsAlert:
		level, since := p.alert, p.since
		return func(ctx context.Context) error { return h.OnDegradedAlert(ctx, level, since) }, true
	case newsError:
		errs, more := p.errs, p.more
		p.errs, p.more = nil, 0
		if more > 0 {
			errs = append(errs, fmt.Errorf("parti: and %d more errors", more))
		}
		return func(ctx context.Context) error {
			for _, err := range errs {
				f.onError(ctx, err)
			}
			return nil
		}, true
	}
	panic("parti: unknown kind of news")
}

// only is what a has and b has not, sorted by ID.
func only(a, b map[string]Partition) []Partition {
	var all []Partition
	for id, p := range a {
		if _, both := b[id]; !both {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(p, q Partition) int { return cmp.Compare(p.ID, q.ID) })
	return all
}

// lastHooks is how long the hooks that tell of the end may take together.
const lastHooks = 5 * time.Second

// run calls hooks until the courier is closed and all is told. Live is their
// context until it ends; values is that of those after it, for a while.
func (f *hookFeed) run(live, values context.Context) {
	defer close(f.courier.done)
	for f.courier.wait() {
		f.deliver(live)
		if live.Err() != nil {
			ctx, cancel := context.WithTimeout(values, lastHooks)
			f.deliver(ctx)
			cancel()
		}
	}
}

// deliver calls hooks until all is told, or ctx has ended.
func (f *hookFeed) deliver(ctx context.Context) {
	for ctx.Err() == nil {
		call, ok := f.take()
		if !ok {
			return
		}
		if call != nil {
			f.courier.calling(func() { f.call(ctx, call) })
		}
	}
}

func (f *hookFeed) call(ctx context.Context, hook func(context.Context) error) {
	if err := apart(func() error { return hook(ctx) }); err != nil {
		logPanic(f.log, "hook", err)
		f.onError(ctx, fmt.Errorf("parti: hook: %w", err))
	}
}

func (f *hookFeed) onError(ctx context.Context, err error) {
	if f.hooks.OnError == nil {
		return
	}
	if err := apart(func() error { return f.hooks.OnError(ctx, err) }); err != nil {
		logPanic(f.log, "hook OnError", err)
	}
}

// A panicError is a panic of the user's code.
type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// Unwrap is the value of the panic where that is an error.
func (e *panicError) Unwrap() error {
	err, _ := e.value.(error)
	return err
}

// apart is guarded on a goroutine of its own, so that runtime.Goexit, as t.FailNow calls it,
// ends no other, and is an error, too.
func apart(f func() error) error {
	err := errGoexit // unless it returns
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = guarded(f)
	}()
	<-ended
	return err
}

// guarded calls f and turns a panic into a *panicError, and an error that cannot be read into
// another one. That f ends its goroutine by runtime.Goexit is told apart by the caller's own
// defers, where it does not run [apart].
func guarded(f func() error) error {
	err := recovered(f)
	if err == nil {
		return nil
	}
	return readable(err)
}

// recovered calls f and turns a panic into a *panicError.
func recovered(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: string(debug.Stack())}
		}
	}()
	return f()
}

// readable is err, or a *panicError if its methods panic, as those of a nil pointer do that
// was returned as an error: they are the user's code, too, and whoever reads the error later
// has no guard.
func readable(err error) error {
	said := recovered(func() error {
		_ = err.Error()
		_ = howOf(err)
		_ = errors.As(err, new(*panicError))
		return nil
	})
	p, ok := said.(*panicError) //nolint:errorlint // it is that, or nil
	if !ok {
		return err
	}
	p.value = fmt.Sprintf("in a method of its error, a %T", err) // not the panic's value, which may be another such error
	if hollow(err) {
		p.value = fmt.Sprintf("its error is a nil %T, and not nil: return nil where there is no error", err)
	}
	return p
}
