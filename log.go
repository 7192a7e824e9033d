package parti

import (
	"context"
	"errors"
	"log/slog"

	"github.com/parti-go/parti/event"
)

// urgent lets through what people should act on.
type urgent struct{ slog.Handler }

func (u urgent) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && u.Handler.Enabled(ctx, level)
}

func (u urgent) WithAttrs(attrs []slog.Attr) slog.Handler { return urgent{u.Handler.WithAttrs(attrs)} }

func (u urgent) WithGroup(name string) slog.Handler { return urgent{u.Handler.WithGroup(name)} }

// logEvent writes an event to the log.
func logEvent(log *slog.Logger, e Event) {
	switch e := e.(type) {
	case event.StateChanged:
		log.Info("state changed", "from", e.From, "to", e.To)
	case event.Claimed:
		log.Info("worker ID claimed", "worker", e.Worker, "session", e.Session, "tries", e.Tries, "previous", e.Previous)
	case event.SessionLost:
		log.Error("session lost", "worker", e.Worker, "session", e.Session, "why", e.Why)
	case event.SessionResumed:
		log.Warn("session resumed", "worker", e.Worker, "session", e.Session)
	case event.Assigned:
		log.Debug("partition assigned", "partition", e.Partition.ID, "token", e.Token, "why", e.Why)
	case event.Revoked:
		log.Debug("partition revoked", "partition", e.Partition, "token", e.Token, "why", e.Why)
	case event.Released:
		if e.Err != "" {
			log.Warn("partition released with an error", "partition", e.Partition, "token", e.Token, "why", e.Why, "took", e.Took, "err", e.Err)
			break
		}
		log.Debug("partition released", "partition", e.Partition, "token", e.Token, "why", e.Why, "took", e.Took)
	case event.Returned:
		if e.Final {
			log.Info("handler returned for good", "partition", e.Partition, "token", e.Token, "err", e.Err)
			break
		}
		log.Warn("handler returned while it owned its partition",
			"partition", e.Partition, "token", e.Token, "err", e.Err, "panicked", e.Panicked, "backoff", e.BackOff)
	case event.Stuck:
		log.Error("handler ignores Hard", "partition", e.Partition, "token", e.Token, "for", e.For)
	case event.Exiting:
		log.Error("the process ends: its handler ignores Hard", "partition", e.Partition, "token", e.Token, "by", e.By, "why", e.Why)
	case event.Led:
		log.Info("leading", "term", e.Term)
	case event.Deposed:
		log.Info("leading no more", "term", e.Term, "why", e.Why)
	case event.Planned:
		d := e.Decision
		log.Info("planned", "version", d.Version.String(), "term", d.Term, "why", d.Why, "about", d.About, "steps", len(d.Moves)+d.More,
			"workers", d.Workers, "partitions", d.Partitions, "unassigned", d.Unassigned, "waited", d.Waited.Duration())
	case event.Refused:
		log.Warn("plan refused by the store", "version", e.Version.String(), "term", e.Term)
	case event.Slowed:
		log.Warn("worker is slow", "worker", e.Worker, "session", e.Session, "why", e.Why)
	case event.Suspected:
		log.Warn("worker suspected", "worker", e.Worker, "session", e.Session, "why", e.Why)
	case event.Recovered:
		log.Info("worker is well again", "worker", e.Worker, "session", e.Session)
	case event.Lost:
		log.Warn("worker lost", "worker", e.Worker, "session", e.Session, "why", e.Why)
	case event.Doubted:
		log.Warn("declaring nobody lost for now", "why", e.Why)
	case event.Trusted:
		log.Info("trusting what is seen again")
	case event.SourceFailed:
		log.Warn("partition source failed", "err", e.Err)
	case event.SourceRejected:
		log.Warn("partition source not believed", "err", e.Err)
	case event.Degraded:
		log.Warn("store does not answer", "alert", e.Level, "for", e.For)
	case event.StoreRenewed:
		log.Warn("store made anew", "incarnation", e.Incarnation, "why", e.Why)
	case event.Alert:
		if e.Text == "" {
			log.Info("alert ended", "about", e.About)
			break
		}
		log.Warn("alert", "about", e.About, "text", e.Text)
	case event.Failed:
		log.Warn("failed, and is tried again", "doing", e.Doing, "err", e.Err)
	case event.Dropped:
		log.Warn("events dropped: the log is too slow", "count", e.Count)
	}
}

// logPanic writes an error of the user's code to the log, with the stack if it was
// a panic. The log's handler is such code, too, and may be the very one that failed: then
// nobody is left to be told.
func logPanic(log *slog.Logger, what string, err error) {
	_ = apart(func() error {
		if p := (*panicError)(nil); errors.As(err, &p) {
			log.Error("panic", "in", what, "err", err, "stack", p.stack)
			return nil
		}
		log.Warn("failed", "what", what, "err", err)
		return nil
	})
}
