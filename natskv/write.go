package natskv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti/internal/kv"
)

// Headers of JetStream that make a message a conditional write.
const (
	headerLast   = "Nats-Expected-Last-Subject-Sequence"
	headerStream = "Nats-Expected-Stream"
	headerTTL    = "Nats-TTL"
)

// Write makes one conditional change.
func (s *Store) Write(ctx context.Context, w kv.Write) (kv.Rev, error) {
	return s.change(ctx, []kv.Write{w})
}

// Commit makes several changes at once.
func (s *Store) Commit(ctx context.Context, ws []kv.Write) (kv.Rev, error) {
	return s.change(ctx, ws)
}

// change makes the changes, all or none, and tries again where nothing was stored
// and the answer was not a no.
func (s *Store) change(ctx context.Context, ws []kv.Write) (kv.Rev, error) {
	if err := kv.CheckCommit(ws); err != nil {
		return 0, err
	}
	limits := s.Limits()
	if len(ws) > limits.MaxBatch {
		return 0, &kv.TooManyError{Writes: len(ws), Max: limits.MaxBatch}
	}
	for _, w := range ws {
		if len(w.Value) > limits.MaxPayload {
			return 0, &kv.TooLargeError{Key: w.Key, Size: len(w.Value), Max: limits.MaxPayload}
		}
	}
	whole := ctx
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	markers := map[string]kv.Rev{} // of keys that must not exist, and left one
	for try := 0; ; try++ {
		rev, err := s.send(ctx, ws, markers)
		if err == nil {
			s.wedged.open(ws[0].Key)
			return rev, nil
		}
		if errors.Is(err, errSilence) && s.gone(whole) {
			return 0, kv.ErrLost
		}
		again, err := s.refused(ctx, err, ws, markers)
		if !again {
			return 0, err
		}
		if pause(ctx, try) != nil {
			return 0, err
		}
	}
}

// refused says whether a change that failed is worth another try, and else the
// error to give. The error stands also when there is no time for another.
func (s *Store) refused(ctx context.Context, err error, ws []kv.Write, markers map[string]kv.Rev) (again bool, _ error) {
	var no *apiError
	isNo := errors.As(err, &no)
	switch {
	case isNo && no.ErrCode == codeStale:
		s.wedged.open(ws[0].Key)
		again, err := s.overMarkers(ctx, ws, markers)
		switch {
		case err != nil:
			return false, err
		case again:
			return true, fmt.Errorf("%w: no time for another try", kv.ErrUnavailable)
		}
		return false, kv.ErrStale
	case isNo && no.ErrCode == codeInFlight:
		// Somebody else's write to that key is on its way through the replicas. When it
		// has arrived, the answer will be a yes or a no.
		s.unwedge(ctx, ws[0].Key)
		return true, fmt.Errorf("%w: another write to that key is in flight", kv.ErrUnavailable)
	case isNo && (no.ErrCode == codeBatchTooMany || no.ErrCode == codeBatchIncomplete):
		return true, unknown(err)
	case isNo && no.ErrCode == codeBatchTooLarge:
		return false, s.tooMany(no, len(ws))
	case isNo && slices.Contains([]int{codeBatchDisabled, codeTTLDisabled, codeTooLarge, codeStoreFailed}, no.ErrCode):
		return false, s.drifted(ctx, no)
	case errors.Is(err, errNobody):
		// Nobody takes writes: the stream is gone, or has no leader right now.
		if _, err := s.infoOnce(ctx, "", 0); isCode(err, codeNoStream) {
			return false, kv.ErrLost
		}
		return true, fmt.Errorf("%w: the stream %s has no leader", kv.ErrUnavailable, s.stream)
	default:
		return false, unknown(err)
	}
}

// gone says, of a write that nobody has answered, whether that is because there is no
// stream any more. Near the stream the server says at once that nobody listens; what
// leads to JetStream elsewhere listens also for what is not there.
func (s *Store) gone(ctx context.Context) bool {
	if s.api == usualAPI {
		return false
	}
	_, err := s.infoOnce(ctx, "", 0)
	return isCode(err, codeNoStream)
}

// overMarkers looks what is where a key must not exist, after the server has
// refused to write there: a marker is as good as nothing, but has a revision.
// Where nothing is left of it by now, a single write can be tried again; of a batch
// nobody knows which key was meant.
func (s *Store) overMarkers(ctx context.Context, ws []kv.Write, markers map[string]kv.Rev) (again bool, err error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		there bool
		slots = make(chan struct{}, abreast) // what is removed leaves a marker for good: there may be many
	)
	for _, w := range ws {
		if w.Last != 0 {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			e, failed := s.get(ctx, w.Key)
			<-slots
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failed == nil:
				there = true
			case !errors.Is(failed, kv.ErrMissing):
				err = failed // nothing was stored, and so it stays
			case e.Rev != markers[w.Key] || len(ws) == 1:
				markers[w.Key] = e.Rev
				again = true
			}
		})
	}
	wg.Wait()
	if there || err != nil {
		return false, err
	}
	return again, nil
}

// message is one change as the server takes it.
func (s *Store) message(w kv.Write, markers map[string]kv.Rev) *nats.Msg {
	m := nats.NewMsg(s.writes + w.Key)
	m.Data = w.Value
	last := w.Last
	if last == 0 {
		last = markers[w.Key]
	}
	m.Header[headerLast] = []string{strconv.FormatUint(uint64(last), 10)}
	m.Header[headerStream] = []string{s.stream}
	if w.Remove {
		// PURGE rather than DEL: when its own time is over, the server puts no
		// further marker in its place. It stays if it can: a server that is killed
		// after a marker has expired finds what was before it, on its disk, and takes
		// it for what the key has. (nats-server#8505)
		m.Header[headerOperation] = []string{"PURGE"}
	}
	if w.TTL > 0 {
		m.Header[headerTTL] = []string{seconds(w.TTL)}
	}
	return m
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) + "s" }

// ack is the server's answer to a write.
type ack struct {
	Stream string    `json:"stream"`
	Seq    uint64    `json:"seq"`
	Error  *apiError `json:"error"`
}

// send makes the changes once. It returns the revision of the first.
func (s *Store) send(ctx context.Context, ws []kv.Write, markers map[string]kv.Rev) (kv.Rev, error) {
	var answer *nats.Msg
	var err error
	if len(ws) == 1 {
		answer, err = s.ask(ctx, s.message(ws[0], markers), true)
	} else {
		answer, err = s.sendBatch(ctx, ws, markers)
	}
	if err != nil {
		return 0, err
	}
	var a ack
	if err := json.Unmarshal(answer.Data, &a); err != nil {
		return 0, fmt.Errorf("unreadable answer %q: %w", answer.Data, err)
	}
	if a.Error != nil && (a.Error.ErrCode == codeInFlight || a.Error.ErrCode == codeNotAvailable) {
		s.suspect(true) // a leader that has lost the others says so of every key that it was asked to write
	} else {
		s.heard(true)
	}
	switch {
	case a.Error != nil:
		return 0, a.Error
	case a.Stream != s.stream || a.Seq == 0:
		return 0, fmt.Errorf("answer of another stream: %q", answer.Data)
	}
	return kv.Rev(a.Seq) - kv.Rev(len(ws)-1), nil
}

// tooMany is the server's own limit on a batch, which it tells only now.
func (s *Store) tooMany(no *apiError, n int) error {
	limit := n - 1
	var size int
	if _, err := fmt.Sscanf(no.Description, "atomic publish batch is too large: %d", &size); err == nil && size > 0 && size < n {
		limit = size
	}
	s.maxBatch.Store(int64(limit))
	return &kv.TooManyError{Writes: n, Max: limit}
}

// drifted says what became of the bucket's settings while it was in use.
func (s *Store) drifted(ctx context.Context, no *apiError) error {
	info, err := s.info(ctx, "", 0)
	if err == nil {
		if wrong := s.wrong(info.Config); len(wrong) > 0 {
			return &SettingsError{Stream: s.stream, Wrong: wrong}
		}
	}
	return no.classed()
}

// wedged notices a key that stays in flight.
//
// On replicas, a server refuses a conditional write while another one to the same
// subject is on its way. When the stream's sequence jumps under a write that is on its
// way (see Renew), the server drops that write and still keeps its subject closed,
// for good. A new leader of the stream opens it.
type wedged struct {
	mu     sync.Mutex
	keys   map[string]closed
	kicked time.Time
}

// closed is when writes of a key were refused so, first and last.
type closed struct{ since, last time.Time }

// patience is how long a write may be in flight: longer than any election among the
// servers. nudge is how often the leader is asked to step down. Refusals further apart than
// apart are not of one write: that is tried again with every heartbeat at least.
const (
	patience = 12 * time.Second
	nudge    = 15 * time.Second
	apart    = 10 * time.Minute
)

// open notes that the key is not closed.
func (w *wedged) open(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.keys, key)
}

// due notes that it is, and says whether it is time to do something about it.
func (w *wedged) due(key string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys == nil {
		w.keys = map[string]closed{}
	}
	c := w.keys[key]
	if now.Sub(c.last) > apart {
		c.since = now
	}
	c.last = now
	w.keys[key] = c
	if now.Sub(c.since) < patience || now.Sub(w.kicked) < nudge {
		return false
	}
	w.kicked = now
	return true
}

func (s *Store) unwedge(ctx context.Context, key string) {
	if !s.wedged.due(key, time.Now()) {
		return
	}
	s.log.Warn("a key has been in flight for long: asking the stream's leader to step down", "stream", s.stream, "key", key)
	if err := s.stepDown(ctx); err != nil {
		s.log.Error("the stream's leader did not step down; use `nats stream cluster step-down`", "stream", s.stream, "error", err)
	}
}

func (s *Store) stepDown(ctx context.Context) error {
	return s.call(ctx, "STREAM.LEADER.STEPDOWN."+s.stream, nil, nil)
}
