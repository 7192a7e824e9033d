package natskv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti/internal/kv"
)

// The ways in which a request gets no answer.
var (
	errNobody  = errors.New("nobody listens there")                 // it did not arrive anywhere
	errSilence = errors.New("no answer in time")                    // it may have arrived
	errUnsent  = fmt.Errorf("%w: not connected", kv.ErrUnavailable) // it was not sent
	// errUnended is a batch whose end was not sent, since there was no time left for it.
	errUnended = fmt.Errorf("%w: the batch was not sent to its end", kv.ErrUnavailable)
)

// look is how often a request that waits looks for a denial, which the server
// tells only as an error of the connection.
const look = 40 * time.Millisecond

// bounded is ctx with the time for one request. A ctx that ended before gives its cause.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	select {
	case <-s.quit:
		return nil, nil, fmt.Errorf("%w: %w", kv.ErrUnavailable, errClosed)
	default:
	}
	bounded, cancel := context.WithTimeoutCause(ctx, s.timeout, errSilence)
	return bounded, cancel, nil
}

// request sends a message and waits for its answer: until ctx, which must have a
// deadline, ends; until the connection is interrupted; or until the server denies it.
//
// Its error is errNobody or errUnsent when the request certainly did nothing, a
// DeniedError, or what ended the waiting.
func (s *Store) request(ctx context.Context, msg *nats.Msg) (*nats.Msg, error) { //nolint:contextcheck // life is the connection's
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	life := s.life()
	if life.Err() != nil || !s.nc.IsConnected() {
		return nil, errUnsent
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(life, func() { cancel(context.Cause(life)) })() //nolint:contextcheck // as above
	before := s.nc.LastError()
	defer s.lookout(ctx, cancel, before, msg.Subject).Stop()

	answer, err := s.nc.RequestMsgWithContext(ctx, msg)
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, nats.ErrNoResponders):
		return nil, errNobody
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrInvalidConnection):
		return nil, errUnsent
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, &kv.TooLargeError{Key: msg.Subject, Size: len(msg.Data), Max: s.Limits().MaxPayload}
	case ctx.Err() != nil:
		cause := context.Cause(ctx)
		if errors.Is(cause, errSilence) {
			if denied := s.denied(before, msg.Subject); denied != nil {
				return nil, denied
			}
		}
		return nil, cause
	default:
		return nil, fmt.Errorf("%w: %w", errInterrupted, err)
	}
}

// lookout looks now and then, until ctx ends, whether the server has denied the
// request, and ends it then.
func (s *Store) lookout(ctx context.Context, cancel context.CancelCauseFunc, before error, subject string) *time.Timer {
	return time.AfterFunc(look, func() {
		if err := s.denied(before, subject); err != nil {
			cancel(err)
		}
		if ctx.Err() == nil {
			s.lookout(ctx, cancel, before, subject)
		}
	})
}

// violation is how the server words a denial.
var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]*)"`)

// denied says whether the connection has had an error since that denies this
// subject, or our inbox.
func (s *Store) denied(before error, subject string) error {
	err := s.nc.LastError()
	if err == nil || err == before || !errors.Is(err, nats.ErrPermissionViolation) { //nolint:errorlint // is it that very one
		return nil
	}
	m := violation.FindStringSubmatch(err.Error())
	if m == nil {
		return nil
	}
	// The client lowers no case, but a server's wording is no contract.
	publish := strings.EqualFold(m[1], "publish")
	switch {
	case publish && m[2] == subject:
		return &kv.DeniedError{Op: "publish", Subject: subject}
	case !publish && (m[2] == subject || strings.HasPrefix(m[2], s.inbox())):
		return &kv.DeniedError{Op: "subscribe", Subject: m[2]}
	}
	return nil
}

// overheard says whether the connection has had a denial since that is about something
// else. It keeps only the last, which may have taken the place of one that is about us: so
// who subscribes does it again then, up to deniedTries times.
func (s *Store) overheard(before error) bool {
	err := s.nc.LastError()
	return err != before && errors.Is(err, nats.ErrPermissionViolation) //nolint:errorlint // is it that very one
}

const deniedTries = 3

func (s *Store) inbox() string {
	if p := s.nc.Opts.InboxPrefix; p != "" {
		return p
	}
	return nats.InboxPrefix
}

// ask is a request to the store itself. That nobody answers is suspicious.
func (s *Store) ask(ctx context.Context, msg *nats.Msg, writes bool) (*nats.Msg, error) {
	answer, err := s.request(ctx, msg)
	if errors.Is(err, errSilence) || errors.Is(err, errNobody) {
		s.suspect(writes)
	}
	return answer, err
}

// heard notes that the store has answered. While writes go unanswered, reads prove
// nothing: a server that is cut off answers them for a while.
func (s *Store) heard(writes bool) {
	if writes {
		s.mute.Store(false)
	}
	if !s.mute.Load() {
		s.silent.Store(0)
	}
}

// suspect notes that the store has not, on a connection that looks whole. When that
// has lasted for three times the time for a request, the connection is moved to
// another server: this one may be cut off from the others.
func (s *Store) suspect(writes bool) {
	if writes {
		s.mute.Store(true)
	}
	now := time.Now().UnixNano()
	s.silent.CompareAndSwap(0, now)
	since := s.silent.Load()
	if since == 0 || time.Duration(now-since) < 3*s.timeout || !s.reconnect || len(s.nc.Servers()) < 2 {
		return
	}
	// A store without a quorum is silent on every server: moving must not become
	// a habit.
	last := s.moved.Load()
	if time.Duration(now-last) < 15*time.Second || !s.moved.CompareAndSwap(last, now) {
		return
	}
	s.silent.Store(0)
	s.log.Warn("no answer from the store for long: moving the connection to another server", "server", s.nc.ConnectedServerName())
	_ = s.nc.ForceReconnect()
}

// call is a request to JetStream's API. The answer, if it is yes, is read into
// into; if it is no, the error is an apiError.
func (s *Store) call(ctx context.Context, method string, request, into any) error {
	data := []byte{}
	if request != nil {
		var err error
		if data, err = json.Marshal(request); err != nil {
			return err
		}
	}
	msg := nats.NewMsg(s.api + method)
	msg.Data = data
	answer, err := s.ask(ctx, msg, false)
	if err != nil {
		return err
	}
	var no struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &no); err != nil {
		return fmt.Errorf("natskv: unreadable answer to %s: %w", method, err)
	}
	if no.Error != nil && no.Error.ErrCode == codeNotAvailable {
		s.suspect(false)
		return no.Error
	}
	s.heard(false)
	if no.Error != nil {
		return no.Error
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer.Data, into)
}

// classify gives the error of a read, or of a request that was certainly not
// carried out, its class of package kv.
func classify(err error) error {
	var no *apiError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return no.classed()
	case errors.Is(err, errNobody), errors.Is(err, errSilence), errors.Is(err, errInterrupted), errors.Is(err, errClosed):
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	default:
		return err // unsent, denied, or ctx's
	}
}

// unknown is classify for a write: no answer says nothing about it. Nor does a denial of our
// inbox: the write was sent, and only its answer does not come. Nor codeSequence: a server
// that is left with nothing in the stream says so, and then stores the write all the same.
func unknown(err error) error {
	var denied *kv.DeniedError
	var tooLarge *kv.TooLargeError
	var no *apiError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &denied) && denied.Op != "publish", isCode(err, codeSequence):
		return fmt.Errorf("%w: %w", kv.ErrUnknown, err)
	case errors.As(err, &no), errors.As(err, &denied), errors.As(err, &tooLarge), errors.Is(err, errNobody), errors.Is(err, errUnsent):
		return classify(err)
	case errors.Is(err, errUnended):
		return err
	default:
		return fmt.Errorf("%w: %w", kv.ErrUnknown, err)
	}
}

// insist repeats a read for as long as nobody is there to answer it, as while the
// stream changes its leader.
func insist(ctx context.Context, read func() error) error {
	for try := 0; ; try++ {
		err := read()
		var no *apiError
		if !errors.Is(err, errNobody) && (!errors.As(err, &no) || no.ErrCode != codeNotAvailable) || pause(ctx, try) != nil {
			return err
		}
	}
}

// pause waits a moment before another try, the longer the more there were.
func pause(ctx context.Context, try int) error {
	d := min(time.Millisecond<<min(try, 6), 50*time.Millisecond)
	t := time.NewTimer(d/2 + jitter(d/2))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
