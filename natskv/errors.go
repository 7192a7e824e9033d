package natskv

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/parti-go/parti/internal/kv"
)

// ErrNoJetStream says that the server, or the account, has no JetStream.
var ErrNoJetStream = errors.New("JetStream is not enabled: start nats-server with -js, or give this account JetStream limits")

// ErrConnectionClosed says that the connection was closed, or has given up, and will
// not come back. Open and directory.Open say it. It is the same as parti.ErrConnectionClosed,
// with which a worker ends that this befalls later.
var ErrConnectionClosed = kv.ErrClosed

// ErrNotLetIn says that the server refuses the connection's credentials. Only Open says it;
// a worker whose credentials expire later goes on trying.
var ErrNotLetIn = errors.New("the NATS server does not let this connection in: give it credentials that the server knows and that have not expired")

// What a Store answers, and so [Open], admin, directory, and whatever else looks at it. They
// are wrapped, with more words.
var (
	// ErrNoBucket says that the bucket is not there: [Open] says it where it may not make
	// one ([WithoutCreate]). A worker whose bucket is lost makes it anew.
	ErrNoBucket = kv.ErrLost
	// ErrUnavailable says that the store cannot be reached, or cannot answer, now. Nothing
	// was stored, if it was a write.
	ErrUnavailable = kv.ErrUnavailable
	// ErrUnknown says that a write got no answer: it was stored, or will be, or not.
	ErrUnknown = kv.ErrUnknown
)

// A DeniedError says that the server forbids this user what was tried: its Op, "publish" or
// "subscribe", to its Subject.
type DeniedError = kv.DeniedError

// A TooLargeError refuses a value above the server's limit: that of its Key, which has Size
// bytes and may have Max.
type TooLargeError = kv.TooLargeError

// A TooOldError refuses a server that lacks what the store is built on.
type TooOldError struct {
	Server      string // version, as far as it is known
	Level, Need int    // of the JetStream API
}

func (e *TooOldError) Error() string {
	return fmt.Sprintf("the server (version %s) speaks JetStream API level %d, and level %d is needed: upgrade to nats-server 2.12.3 or newer", e.Server, e.Level, e.Need)
}

// A SettingsError refuses a bucket whose settings are wrong.
type SettingsError struct {
	Stream string
	Wrong  []Setting
}

// A Setting is one that is wrong.
type Setting struct {
	Name       string
	Have, Want string
	// Fixed says that it cannot be changed on a stream that exists.
	Fixed bool
}

// newer says whether it is the bucket of a newer release.
func (s Setting) newer() bool { return s.Name == schemaKey }

func (e *SettingsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the stream %s has wrong settings: ", e.Stream)
	fixed, newer := false, false
	for i, s := range e.Wrong {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s is %s and must be %s", s.Name, s.Have, s.Want)
		fixed, newer = fixed || s.Fixed, newer || s.newer()
	}
	switch {
	case newer:
		b.WriteString("; it is of a newer release: upgrade this process, and leave the bucket as it is")
	case fixed:
		fmt.Fprintf(&b, "; it was made by something else and cannot be mended in place: stop the group, `nats stream rm %s`, and let a worker make it", e.Stream)
	default:
		fmt.Fprintf(&b, "; open it once with natskv.WithRepair(), or use `nats stream edit %s` (the KV API, such as CreateOrUpdateKeyValue, switches some of these off: do not use it on this bucket)", e.Stream)
	}
	return b.String()
}

// apiError is JetStream's answer when it is not yes.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%s (JetStream error %d)", e.Description, e.ErrCode)
}

// JetStream's error codes that mean something to us.
const (
	codeNoPeers         = 10005 // not enough nodes for so many replicas, as far as is known now
	codeNotAvailable    = 10008 // no leader, right now
	codeNoMessage       = 10037
	codeNotForAccount   = 10039
	codeCreateFailed    = 10049 // such as when the server could not make the stream's files
	codeTooLarge        = 10054
	codeNameInUse       = 10058
	codeNoStream        = 10059
	codeSequence        = 10063 // a replica's count of messages is not the leader's
	codeStale           = 10071
	codeNoReplicas      = 10074
	codeNotEnabled      = 10076
	codeStoreFailed     = 10077 // such as a limit of the stream
	codeOffline         = 10118 // all servers that have the stream are away
	codeInFlight        = 10164 // another write to that subject is in flight
	codeTTLDisabled     = 10166
	codeBatchDisabled   = 10174
	codeBatchIncomplete = 10176
	codeBatchTooLarge   = 10199
	codeBatchTooMany    = 10210 // batches at a time
)

// class is the error of package kv that an answer stands for; nil when it stands
// for none, which is loud on purpose.
func (e *apiError) class() error {
	switch e.ErrCode {
	case codeNoStream:
		return kv.ErrLost
	case codeStale:
		return kv.ErrStale
	case codeNoMessage:
		return kv.ErrMissing
	case codeNotForAccount, codeNotEnabled:
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, ErrNoJetStream)
	case codeOffline, codeInFlight, codeBatchTooMany, codeBatchIncomplete:
		return kv.ErrUnavailable
	}
	if e.Code == http.StatusServiceUnavailable {
		return kv.ErrUnavailable
	}
	return nil
}

// classed wraps an answer in the class that it stands for.
func (e *apiError) classed() error {
	switch c := e.class(); {
	case c == nil:
		return fmt.Errorf("natskv: %w", e)
	case errors.Is(c, kv.ErrStale), errors.Is(c, kv.ErrMissing), errors.Is(c, kv.ErrLost):
		return c
	default:
		return fmt.Errorf("%w: %w", c, e)
	}
}

// isCode says whether an error is that answer.
func isCode(err error, code int) bool {
	var e *apiError
	return errors.As(err, &e) && e.ErrCode == code
}
