package parti

import (
	"log/slog"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/kv"
)

// A Store is where a group keeps its state. Get one from natskv.Open, or in tests
// from partitest.NewStore. Its methods are Parti's own affair: they are not for
// users to call or to implement, and change without notice.
type Store interface{ kv.Store }

// An Event is something that happened to this worker, or that it decided as
// leader; see package event for the closed set.
type Event = event.Event

// An Option adds something to a Manager that is not data. What is data is in [Config]. A nil
// Option is ignored; of several of one kind, but for observers, the last counts.
type Option interface{ apply(o *options) }

type options struct {
	strategy  AssignmentStrategy
	hooks     Hooks
	log       *slog.Logger
	observers []func(Event)
	exit      func(why string)
}

type option func(o *options)

func (f option) apply(o *options) { f(o) }

// WithStrategy chooses owners by s while this worker leads. Nil, or without this
// option: strategy.Sticky. All workers of a group should have the same.
func WithStrategy(s AssignmentStrategy) Option {
	return option(func(o *options) { o.strategy = s })
}

// WithHooks calls h as things change. A second WithHooks replaces the whole of the first.
func WithHooks(h Hooks) Option {
	return option(func(o *options) { o.hooks = h })
}

// WithLogger logs every event to l: what people should act on at Warn or Error,
// changes of this worker and of the group at Info, single partitions at Debug.
// Nil, or without this option: what people should act on goes to [slog.Default], and nothing
// else is logged. A logger with [slog.DiscardHandler] logs nothing at all.
func WithLogger(l *slog.Logger) Option {
	return option(func(o *options) { o.log = l })
}

// WithObserver calls f with every event, one at a time, in order, on one goroutine
// of its own. With several observers each event goes to all, in the order of the
// options, before the next. A nil f is ignored.
//
// A slow observer delays nothing: up to [EventBuffer] events wait for it; beyond
// that the latest are dropped, and an [event.Dropped] in their place says how many.
// The last event, that this worker has stopped, is never dropped. A panic of f is
// logged, and so is that it ends its goroutine, as t.FailNow does: it is told the next event
// all the same. f may call the Manager's methods, Stop included.
func WithObserver(f func(Event)) Option {
	return option(func(o *options) {
		if f != nil {
			o.observers = append(o.observers, f)
		}
	})
}

// WithExit says how this process ends when an operator asks for it, because a handler
// ignores Hard and blocks its partition: `parti release --force`. What runs in this process
// ends with it, and that is the only safe way to let go of the partition.
//
// f is called once, on a goroutine of its own, and must end the process, soon; meanwhile the
// worker goes on as before. f may call the Manager's methods, Stop included, to let the other
// handlers end well; the one that ignores Hard keeps Stop until its context ends. A panic of f
// is not recovered: it ends the process, too. Nil, or without this option: the reason is
// written to standard error, and the process exits with the code 1.
func WithExit(f func(why string)) Option {
	return option(func(o *options) { o.exit = f })
}

// EventBuffer is how many events wait for a slow observer, or a slow logger: the
// start of as many partitions at once.
const EventBuffer = 1 << 16
