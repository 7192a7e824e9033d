package natskv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/parti-go/parti/internal/kv"
)

// Headers of JetStream that tell a marker from a value.
const (
	headerOperation = "KV-Operation"
	headerReason    = "Nats-Marker-Reason"
)

// isMarker says whether a message stands for a key that is gone.
func isMarker(h nats.Header) bool {
	return h.Get(headerReason) != "" || h.Get(headerOperation) != ""
}

// Get reads one key at the stream's leader.
func (s *Store) Get(ctx context.Context, key string) (kv.Entry, error) {
	none := kv.Entry{Key: key, Gone: true}
	if err := kv.CheckKey(key); err != nil {
		return none, err
	}
	ctx, cancel, err := s.bounded(ctx)
	if err != nil {
		return none, err
	}
	defer cancel()
	return s.get(ctx, key)
}

// get is Get with a ctx that has a deadline.
func (s *Store) get(ctx context.Context, key string) (kv.Entry, error) {
	none := kv.Entry{Key: key, Gone: true}
	request := struct {
		Last string `json:"last_by_subj"`
	}{s.keys + key}
	var answer struct {
		Message struct {
			Seq  uint64 `json:"seq"`
			Hdrs []byte `json:"hdrs"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := insist(ctx, func() error { return s.call(ctx, "STREAM.MSG.GET."+s.stream, request, &answer) }); err != nil {
		return none, classify(err)
	}
	m := answer.Message
	if len(m.Hdrs) > 0 {
		h, err := nats.DecodeHeadersMsg(m.Hdrs)
		if err != nil {
			return none, err
		}
		if isMarker(h) {
			none.Rev = kv.Rev(m.Seq)
			return none, kv.ErrMissing
		}
	}
	if m.Data == nil {
		m.Data = []byte{}
	}
	return kv.Entry{Key: key, Value: m.Data, Rev: kv.Rev(m.Seq)}, nil
}

// abreast is how many keys List reads at a time.
const abreast = 16

// listTimes is how many times as long as one request a List may take.
const listTimes = 15

// errNotAll ends a List that takes longer.
var errNotAll = fmt.Errorf("%w: no answer for every key in time", kv.ErrUnavailable)

// List reads all keys that match the prefix: it asks the stream's leader which there
// are and what the last revision is, and then reads each there. A consumer would
// need one request less, but it may live on a replica that lags, has to be placed
// and removed, and is one of a thousand that a stream may have. Batched direct reads
// come from any replica.
func (s *Store) List(ctx context.Context, prefix string) ([]kv.Entry, kv.Rev, error) {
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, listTimes*s.timeout, errNotAll)
	defer cancel()
	life := s.life()
	keys, rev, err := s.present(ctx, prefix)
	if err != nil {
		return nil, 0, err
	}
	l := listing{store: s, life: life, keys: keys}
	var wg sync.WaitGroup
	for range min(abreast, len(keys)) {
		wg.Go(func() { l.read(ctx) })
	}
	wg.Wait()
	if l.failed != nil {
		return nil, 0, l.failed
	}
	slices.SortFunc(l.entries, func(a, b kv.Entry) int { return cmp.Compare(a.Key, b.Key) })
	return l.entries, rev, nil
}

// A listing is a List under way.
type listing struct {
	store *Store
	life  context.Context //nolint:containedctx // the connection's, when it began

	mu      sync.Mutex
	keys    []string // to be read
	entries []kv.Entry
	failed  error
}

// read reads one key after the other, until none is left.
func (l *listing) read(ctx context.Context) {
	for {
		key, ok := l.take()
		if !ok {
			return
		}
		e, err := l.get(ctx, key)
		l.mu.Lock()
		switch {
		case err == nil:
			l.entries = append(l.entries, e)
		case errors.Is(err, kv.ErrMissing): // a marker, or removed since
		case l.failed == nil:
			l.failed = err
		}
		l.mu.Unlock()
	}
}

// take is the next key to read.
func (l *listing) take() (key string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil || len(l.keys) == 0 {
		return "", false
	}
	key, l.keys = l.keys[0], l.keys[1:]
	return key, true
}

// get reads a key, and goes on trying for as long as ctx lasts: one answer that does not
// come is not to be the loss of all that came. After an interruption it does not, since
// whoever follows has to list again.
func (l *listing) get(ctx context.Context, key string) (kv.Entry, error) {
	for try := 0; ; try++ {
		e, err := l.store.Get(ctx, key)
		if !errors.Is(err, kv.ErrUnavailable) || l.life.Err() != nil || l.over() || pause(ctx, try) != nil {
			return e, err
		}
	}
}

// over says whether the list has failed for want of another key.
func (l *listing) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed != nil
}

// Names tells which keys match the prefix.
func (s *Store) Names(ctx context.Context, prefix string) ([]string, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	names, _, err := s.present(ctx, prefix)
	return names, err
}

// present is the keys that match the prefix, markers included, and the last
// revision of the stream before it was asked for any of them.
func (s *Store) present(ctx context.Context, prefix string) ([]string, kv.Rev, error) {
	if err := kv.CheckPrefix(prefix); err != nil {
		return nil, 0, err
	}
	filter := s.keys + ">"
	keys := map[string]struct{}{}
	if prefix != "" {
		below := strings.TrimSuffix(prefix, ".")
		filter = s.keys + below + ".>"
		if below == prefix { // it may also be a key itself
			keys[prefix] = struct{}{}
		}
	}
	var rev kv.Rev
	for offset := 0; ; {
		info, err := ofLeader(s.info(ctx, filter, offset))
		if err != nil {
			return nil, 0, classify(err)
		}
		if offset == 0 {
			rev = kv.Rev(info.State.LastSeq)
		}
		for subject := range info.State.Subjects {
			keys[strings.TrimPrefix(subject, s.keys)] = struct{}{}
		}
		offset += len(info.State.Subjects)
		if len(info.State.Subjects) == 0 || offset >= info.Total {
			return slices.Sorted(maps.Keys(keys)), rev, nil
		}
	}
}

// Incarnation tells how often the store was made anew: the sequence tells it.
func (s *Store) Incarnation(ctx context.Context) (uint32, error) {
	info, err := s.info(ctx, "", 0)
	if err != nil {
		return 0, classify(err)
	}
	return kv.Rev(info.State.LastSeq).Incarnation(), nil
}
