// Package kv is the store as Parti needs it.
//
// There is no Put and no blind Delete: every write says what it expects to find,
// so a writer that has fallen behind is told so instead of winning. What decides
// is the answer of a conditional write, never a read: a read may come from a
// replica that does not know yet that it was left behind.
//
// A store is one stream of writes with one order. Every accepted write gets a
// [Rev] above all earlier ones, and no Rev is ever given out twice, also not after
// the store was lost or went back to an earlier state: then it is made anew with
// [Store.Renew] and goes on above everything that could have been given out before.
//
// Keys are tokens joined by dots, such as "session.worker-7". A prefix is whole
// tokens too, see [Match].
//
// Every call ends: at the latest when the store's own time for a request is over
// (two seconds unless told otherwise; a List of many keys may take longer), and
// earlier when its context ends. A write that was sent and got no answer in that time
// is [ErrUnknown], also when it was the context that ended; the error then wraps both.
//
// Package kvtest is the contract as a test suite.
package kv

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Rev is the place of one write in the order of all. A key's revision is that
// of its last write, removals included. Zero means that the key must not exist:
// never written, or removed, or expired.
type Rev uint64

// The classes of errors. Every error of a Store is one of these, or ctx's, or
// an error that wraps none of them, which callers must treat as loud and unknown.
var (
	// ErrStale refuses a write: the key is not as the writer expected. Nothing was stored.
	ErrStale = errors.New("the key has changed since it was read")
	// ErrMissing says that there is no such key.
	ErrMissing = errors.New("no such key")
	// ErrUnknown says that a write got no answer: it was stored, or will be, or not.
	// The caller reads again and compares the content.
	ErrUnknown = errors.New("no answer to the write; it may be stored or not")
	// ErrUnavailable says that the store cannot be reached or cannot answer. Nothing
	// was stored, if it was a write.
	ErrUnavailable = errors.New("the store cannot be reached")
	// ErrLost says that the bucket is not there at all.
	ErrLost = errors.New("the bucket is not there")
	// ErrNoResponders says of a probe that nobody listens.
	ErrNoResponders = errors.New("nobody answers to that name")
	// ErrHole says that a Follow may have missed something. Take a new snapshot.
	ErrHole = errors.New("changes may have been missed")
)

// ErrClosed says that the connection is closed for good. Connection tells of that, and who
// uses a Store ends with this error; its methods fail with ErrUnavailable.
var ErrClosed = errors.New("the NATS connection is closed for good: make a new one with natskv.ConnectOptions, which never give up")

// A TooLargeError refuses a value above the server's limit.
type TooLargeError struct {
	Key       string
	Size, Max int // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s: %d bytes are more than the server's limit of %d; raise max_payload, or use fewer or shorter partition IDs per worker", e.Key, e.Size, e.Max)
}

// A DeniedError says that the server forbids what was tried.
type DeniedError struct {
	Op      string // "publish" or "subscribe"
	Subject string
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("not permitted to %s to %q; grant it to this user, or see `parti permissions`", e.Op, e.Subject)
}

// An Entry is a key at one revision.
type Entry struct {
	Key   string
	Value []byte // nil when Gone; not to be changed
	Rev   Rev
	// Gone is set when the key was removed or has expired; Rev is then that of
	// the marker, if the store tells of one.
	Gone bool
}

// A Write is one conditional change.
type Write struct {
	Key   string
	Value []byte
	// Last is the revision that the key must have. Zero: it must not exist.
	Last Rev
	// Remove deletes the key instead of setting it.
	Remove bool
	// TTL removes the key after that time, counted by the server's wall clock;
	// whole seconds, at least one; zero keeps it. Every write sets it anew. With
	// Remove it is how long the marker stays that stands for the key. Where that is
	// not for good, a store that is killed later may bring the key's last value back.
	TTL time.Duration
}

// A TooManyError refuses a commit above the server's limit.
type TooManyError struct {
	Writes, Max int
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("a commit of %d writes is more than the server's limit of %d; make several", e.Writes, e.Max)
}

// Limits are what the server allows.
type Limits struct {
	MaxPayload int // bytes of one value
	MaxBatch   int // writes in one Commit
}

// A Store is implemented by natskv and memkv and held to one contract by kvtest.
// Its methods may be called from several goroutines at once.
type Store interface {
	// Get reads one key where the truth is (the stream's leader). A key that is
	// not there is an Entry with Gone set and ErrMissing; its Rev is then that of
	// the marker, when there is one, else zero. A later write may expect either
	// that Rev or zero. Markers of what has expired are cleared away after a while.
	Get(ctx context.Context, key string) (Entry, error)

	// List reads all present keys that match the prefix, in order of keys. It is a
	// snapshot: it holds every write with a revision up to the Rev it returns, and
	// may hold some later ones. Once it knows the keys it may take as long as fifteen
	// requests, so that what came is not lost over an answer that does not.
	List(ctx context.Context, prefix string) ([]Entry, Rev, error)

	// Names tells which keys match the prefix, in order, for much less than List does:
	// every one that is there, and perhaps some that are not, such as one that only a
	// marker stands for.
	Names(ctx context.Context, prefix string) ([]string, error)

	// Write makes one conditional change: ErrStale, ErrUnknown, ErrUnavailable,
	// ErrLost, a TooLargeError, a DeniedError, or the new revision.
	Write(ctx context.Context, w Write) (Rev, error)

	// Commit makes several changes at once: all of them or none. It returns the
	// revision of the first; the others follow by one each. The same errors as
	// Write's; ErrStale when any condition does not hold; a TooManyError above
	// Limits.MaxBatch. Keys must differ.
	Commit(ctx context.Context, ws []Write) (Rev, error)

	// Follow calls f with every change of a key that matches one of the prefixes,
	// as it is told of them: usually within a millisecond, in order for any one
	// key, each at most once. It calls ready once the following has begun, so that
	// a List after it misses nothing. f and ready run on the caller's goroutine,
	// and f must not block for long.
	//
	// It returns nil never: ctx's cause when ctx ends; ErrUnavailable, ErrLost or a
	// DeniedError when it could not begin, without having called ready; ErrHole as
	// soon as it knows that it may have missed something: the connection was
	// interrupted, f was too slow, a change of a key does not follow on the one
	// before, the store was made anew or went back. One loss cannot be noticed: a
	// change that was dropped on the way, as long as its key does not change again.
	// So nothing may depend on Follow alone; callers read what matters every few
	// seconds.
	Follow(ctx context.Context, prefixes []string, ready func(), f func(Entry)) error

	// Answer lets this process be probed under name until stop is called. The
	// answer is what reply returns; reply must be quick and may be called from
	// any goroutine.
	Answer(name string, reply func() []byte) (stop func(), err error)

	// Probe asks the process that answers under name: its answer,
	// ErrNoResponders when nobody listens there, ctx's error (or
	// context.DeadlineExceeded when the store's own time for a request is over)
	// when somebody listens and does not answer, or ErrUnavailable when this
	// process itself is not connected.
	Probe(ctx context.Context, name string) ([]byte, error)

	// Incarnation tells how often the store was made anew: it grows with every
	// Renew. ErrLost when the bucket is not there.
	Incarnation(ctx context.Context) (uint32, error)

	// Renew makes the store anew under a higher incarnation: all keys are gone and
	// every later revision is above all earlier ones. It is safe to call at the
	// same time from many places and again after an unknown outcome: a store whose
	// incarnation is at least that already is left alone. It returns the
	// incarnation in force. Pass one above every incarnation that anybody has seen,
	// and at least [FirstIncarnation]. The keys that it removes are not told to Follow.
	Renew(ctx context.Context, incarnation uint32) (uint32, error)

	// Limits are the server's, as last seen.
	Limits() Limits

	// Connection tells, level-triggered, of the connection: whether it is up now, and
	// how many times it was interrupted (reconnects, changes of server, gaps).
	// The channel is closed at the next change.
	Connection() (Connection, <-chan struct{})
}

// A Connection is what is known of the way to the store.
type Connection struct {
	Up         bool
	Interrupts uint64 // grows by one at each disconnect and each reconnect
	Closed     bool   // for good: it does not come back
	Server     string // name of the server, for people
}
