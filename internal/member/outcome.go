package member

import (
	"errors"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
)

// A Class says what an answer's error means.
type Class uint8

// The classes. An error that belongs to none is Strange, which is treated as an
// unknown outcome and told to people.
const (
	Fine        Class = iota
	Missing           // there is no such key
	Stale             // nothing was stored: the key is not as expected
	Unknown           // stored, or will be, or not
	Unavailable       // nothing was stored
	Lost              // the bucket is not there
	Forbidden         // nothing was stored, and trying again is of little use: too large, too many, not permitted
	Strange
)

// Outcome is the class of an error of the store.
func Outcome(err error) Class {
	var (
		large  *kv.TooLargeError
		many   *kv.TooManyError
		denied *kv.DeniedError
	)
	switch {
	case err == nil:
		return Fine
	case errors.Is(err, kv.ErrMissing):
		return Missing
	case errors.Is(err, kv.ErrStale):
		return Stale
	case errors.Is(err, kv.ErrLost):
		return Lost
	case errors.Is(err, kv.ErrUnknown):
		return Unknown
	case errors.Is(err, kv.ErrUnavailable):
		return Unavailable
	case errors.As(err, &large), errors.As(err, &many), errors.As(err, &denied):
		return Forbidden
	default:
		return Strange
	}
}

// Heard is what the outcome of a probe says: no error is an answer, any other than
// kv's is none in time.
func Heard(err error) roster.Probe {
	switch {
	case err == nil:
		return roster.Answered
	case errors.Is(err, kv.ErrNoResponders):
		return roster.NoResponders
	case errors.Is(err, kv.ErrUnavailable):
		return roster.Unprobed
	default:
		return roster.NoAnswer
	}
}
