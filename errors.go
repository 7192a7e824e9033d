package parti

import (
	"errors"
	"fmt"
	"strings"

	"github.com/parti-go/parti/internal/join"
	"github.com/parti-go/parti/internal/kv"
)

// What a [Handler] returns to say that it does not want the partition any more.
// Both may be wrapped.
var (
	// ErrDone says that the partition is finished: it is run again, here or
	// elsewhere, only after the source has left it out and listed it anew. That holds
	// from when the leader has read it, also if the partition was about to move. It is
	// forgotten when the worker is lost before that, or when the whole bucket is lost:
	// who must not run twice finds out by itself that it has run.
	ErrDone = errors.New("parti: partition is done")
	// ErrReject says that the partition should be given to another worker. This one
	// gets it again after a minute at the earliest, if nobody else took it; each
	// rejection in a row has it wait longer, from a second up to a minute.
	ErrReject = errors.New("parti: partition is rejected")
)

// Why a handler's context has ended; see [context.Cause].
var (
	// ErrRevoked says that the partition goes to another worker, or is no more.
	ErrRevoked = errors.New("parti: partition is revoked")
	// ErrFenced says that ownership cannot be proved much longer, or not any more.
	ErrFenced = errors.New("parti: ownership cannot be proved")
	// ErrStopped says that the worker is stopping.
	ErrStopped = errors.New("parti: worker is stopping")
)

// What the methods of a [Manager] return.
var (
	// ErrIdentityInUse says that another live process runs under Config.Identity. An
	// [IdentityInUseError] says which one.
	ErrIdentityInUse = join.ErrIdentityInUse
	// ErrConnectionClosed says that the worker has stopped because its connection to NATS was
	// closed for good: by this process, or because it has given up, as connections do after
	// some time unless they are made with natskv.ConnectOptions. Others take over what it
	// had, and it could not come back: make a new connection, store and Manager. It is the same
	// as natskv.ErrConnectionClosed.
	ErrConnectionClosed = kv.ErrClosed
	// ErrStarted says that a Manager was started before. A Manager has one life:
	// make a new one for the next.
	ErrStarted = errors.New("parti: manager was started already; make a new one for each run")
	// ErrNotRunning says that a Manager was not started yet, or has stopped.
	ErrNotRunning = errors.New("parti: manager is not running")
)

// An IdentityInUseError is an [ErrIdentityInUse] that says who has the Identity: the Worker
// ID of the other process, and its Host, which is empty where that has no name.
type IdentityInUseError = join.InUseError

// A StuckError says that a worker ended while some of its handlers would not
// return. Their session was left to lapse: other workers take over only once the
// group has proved it dead, and the partitions named here may still be running in
// this process until then and after.
type StuckError struct {
	// Partitions are the IDs of what is still running, sorted.
	Partitions []string
}

// maxNamed is how many partitions an error names: enough to find the fault,
// few enough for one line.
const maxNamed = 10

func (e *StuckError) Error() string {
	names, more := e.Partitions, ""
	if len(names) > maxNamed {
		names, more = names[:maxNamed], fmt.Sprintf(" and %d more", len(names)-maxNamed)
	}
	what := "handlers do"
	if len(e.Partitions) == 1 {
		what = "handler does"
	}
	return fmt.Sprintf("parti: %d %s not return although Hard has ended: %s%s",
		len(e.Partitions), what, strings.Join(names, ", "), more)
}

// A ConfigError is one mistake in a [Config] or in the arguments of [NewManager],
// which reports all of them at once, joined.
type ConfigError struct {
	Field string // such as "SessionTTL" or "Alerts.Warn"
	Value any    // what it was, after defaults
	Rule  string // what it must be
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("parti: %s is %s; it must be %s", e.Field, quote(e.Value), e.Rule)
}

func quote(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}
