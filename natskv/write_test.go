package natskv

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// What is not certain about a write is not said of it.
func TestWhatIsKnownOfAWrite(t *testing.T) {
	for _, c := range []struct {
		err, want error
	}{
		{errSilence, kv.ErrUnknown},
		{errInterrupted, kv.ErrUnknown},
		{errNobody, kv.ErrUnavailable},
		{errUnsent, kv.ErrUnavailable},
		{&apiError{Code: http.StatusServiceUnavailable, ErrCode: codeNotAvailable}, kv.ErrUnavailable},
		{&apiError{Code: http.StatusServiceUnavailable, ErrCode: codeSequence}, kv.ErrUnknown},
		{&apiError{Code: http.StatusBadRequest, ErrCode: codeStale}, kv.ErrStale},
		{&kv.DeniedError{Op: "subscribe", Subject: "_INBOX.x"}, kv.ErrUnknown}, // it was published
	} {
		err := unknown(c.err)
		if !errors.Is(err, c.want) || errors.Is(err, kv.ErrUnknown) != (c.want == kv.ErrUnknown) { //nolint:errorlint // is it that very one
			t.Errorf("%v: %v, want %v", c.err, err, c.want)
		}
	}
	denied := &kv.DeniedError{Op: "publish", Subject: "$KV.parti-g.plan"}
	if err := unknown(denied); !errors.Is(err, denied) || errors.Is(err, kv.ErrUnknown) {
		t.Errorf("%v", err)
	}
}

// A batch that takes longer to send than there is time ends there, and nothing of it is stored.
func TestBatchThatTakesTooLong(t *testing.T) {
	s := new(Store)
	s.link.whole = t.Context()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errSilence)
	_, err := s.sendBatch(ctx, []kv.Write{{Key: "a"}, {Key: "b"}}, nil)
	if err = unknown(err); !errors.Is(err, kv.ErrUnavailable) || errors.Is(err, kv.ErrUnknown) {
		t.Errorf("%v", err)
	}
}

// Refusals with a long time between them say nothing of a key that stays closed, and those
// that go on do: the stream's leader is asked to step down, and not again at once.
func TestKeyThatStaysClosed(t *testing.T) {
	var w wedged
	now := time.Now()
	refusedFor := func(d time.Duration) (due []time.Duration) {
		for at := time.Duration(0); at < d; at += time.Second {
			if w.due("leader", now.Add(at)) {
				due = append(due, at)
			}
		}
		return due
	}
	for range 3 {
		if due := refusedFor(3 * time.Second); due != nil {
			t.Errorf("due after %v of refusals weeks after others", due)
		}
		now = now.Add(14 * 24 * time.Hour)
	}
	if due := refusedFor(40 * time.Second); len(due) != 2 || due[0] != patience || due[1] != patience+nudge {
		t.Errorf("due after %v, want %v and %v", due, patience, patience+nudge)
	}
}

// Whoever writes seldom tries seldom, and notices all the same.
func TestKeyOfALongHeartbeatStaysClosed(t *testing.T) {
	var w wedged
	now := time.Now()
	if w.due("session.w", now) || !w.due("session.w", now.Add(time.Minute)) {
		t.Error("it is not due a minute later")
	}
}
