package natskv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
)

// A Store is a group's bucket. It is safe for concurrent use.
//
// Close, Conn, Group and Inspect are for users. The other methods are those of parti.Store:
// Parti's own affair, which changes without notice.
type Store struct {
	options
	nc     *nats.Conn
	group  string
	bucket string // parti-<group>
	stream string // KV_parti-<group>
	api    string // $JS.API., unless told otherwise
	keys   string // $KV.parti-<group>.
	writes string // where they are written: keys, or below api where that is not the usual

	link     link
	silent   atomic.Int64 // since when the store has not answered, UnixNano; 0: it has
	mute     atomic.Bool  // and that includes writes
	moved    atomic.Int64 // when the connection was last moved, UnixNano
	maxBatch atomic.Int64
	wedged   wedged
	forming  forming

	close sync.Once
	quit  chan struct{}
	done  sync.WaitGroup
}

var _ kv.Store = (*Store)(nil)

var groupName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// defaultMaxBatch is how many messages a server takes in one batch unless it was
// told otherwise. It does not tell before one is too many.
const defaultMaxBatch = 1000

// headroom is what the headers of a message may need of the server's limit.
const headroom = 1 << 10

// Open opens the bucket of a group, and makes it if it is not there. It waits for
// the connection, as long as ctx allows.
//
// It fails with [ErrNoJetStream], [ErrConnectionClosed], [ErrNotLetIn], a [DeniedError], a
// [TooOldError], a [SettingsError] or, with [WithoutCreate], [ErrNoBucket] when the
// connection, the server, the user's permissions or the bucket will not do; the error says
// what to do. When ctx ends before there is a connection, it is an [ErrUnavailable].
func Open(ctx context.Context, js jetstream.JetStream, group string, opts ...Option) (*Store, error) {
	s, err := newStore(js, group, opts)
	if err != nil {
		return nil, err
	}
	how := s.nc.Opts
	if missing := lacking(&how); len(missing) > 0 {
		s.log.Warn("the NATS connection lacks what natskv.ConnectOptions gives", slog.String("group", group), slog.Any("missing", missing))
	}
	s.watchLink()
	if err := s.prepare(ctx, &how); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// newStore makes a Store that has not been in touch with anybody.
func newStore(js jetstream.JetStream, group string, opts []Option) (*Store, error) {
	how := defaults()
	for _, opt := range opts {
		if opt != nil {
			opt(&how)
		}
	}
	wrong := []error{how.check()}
	if js == nil {
		wrong = append(wrong, errors.New("natskv: a nil JetStream: give it what jetstream.New returns for a connection"))
	}
	if !groupName.MatchString(group) {
		wrong = append(wrong, fmt.Errorf("natskv: group %q: a name is letters, digits, - and _", group))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	s := &Store{
		options: how,
		nc:      js.Conn(),
		group:   group,
		bucket:  "parti-" + group,
		stream:  "KV_parti-" + group,
		api:     apiPrefix(js.Options()),
		keys:    "$KV.parti-" + group + ".",
		quit:    make(chan struct{}),
	}
	if s.writes = s.keys; s.api != usualAPI {
		s.writes = s.api + s.keys
	}
	s.maxBatch.Store(defaultMaxBatch)
	return s, nil
}

// Close stops what the Store started, and lets no further call through. The
// connection is its owner's and stays. Calls under way return.
//
// Close it after the Manager has stopped: one that still runs finds no store any more, as
// in an outage, and cannot say that it leaves, so that others wait until its session lapses.
func (s *Store) Close() {
	s.close.Do(func() { close(s.quit) })
	s.done.Wait()
}

// Conn is the connection that the Store was opened with, its owner's.
func (s *Store) Conn() *nats.Conn { return s.nc }

// Group is the name of the group.
func (s *Store) Group() string { return s.group }

// Limits are the server's: a value leaves room for the headers of its message.
func (s *Store) Limits() kv.Limits {
	size := int(s.nc.MaxPayload()) - headroom
	if s.api != usualAPI {
		// A server may send its clients more than it takes, and a leaf node may not: it
		// closes the connection over a value that is read, which comes in base64.
		size = (size - headroom) / 4 * 3
	}
	return kv.Limits{MaxPayload: size, MaxBatch: int(s.maxBatch.Load())}
}

// usualAPI is where JetStream listens. Another prefix leads to JetStream elsewhere, in
// another domain or account, and then stands before all subjects that it takes.
const usualAPI = "$JS.API."

func apiPrefix(o jetstream.JetStreamOptions) string {
	switch {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	default:
		return usualAPI
	}
}

// prepare waits for the connection, which is made with those options, and sees to it that
// the bucket is there and right.
func (s *Store) prepare(ctx context.Context, how *nats.Options) error {
	again := time.NewTicker(formWait)
	defer again.Stop()
	var refusal error // that a server did not let us in; a dead one of the list has no say in it
	var since time.Time
	var asking chan error // why servers do not let us in
	var askAgain time.Time
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		c, changed := s.Connection()
		if c.Up {
			break
		}
		if c.Closed {
			return ErrConnectionClosed
		}
		// Later on credentials may expire, and it is worth waiting for new ones. To begin with
		// they are wrong.
		if err := s.nc.LastError(); refusal == nil && notLetIn(err) {
			refusal, since = err, time.Now()
		}
		if refusal != nil && time.Since(since) > refusedFor {
			return fmt.Errorf("%w: %w", ErrNotLetIn, refusal)
		}
		select {
		case err := <-asking:
			if asking = nil; refusal == nil && err != nil {
				refusal, since = err, time.Now()
			}
		case <-changed:
		case <-again.C:
			if now := time.Now(); asking == nil && refusal == nil && !now.Before(askAgain) {
				answer := make(chan error, 1)
				asking, askAgain = answer, now.Add(refusedFor)
				go func() { answer <- letsNobodyIn(ctx, how) }()
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", kv.ErrUnavailable, context.Cause(ctx))
		case <-s.quit:
			return kv.ErrUnavailable
		}
	}
	for try := 0; ; try++ {
		info, err := s.infoOnce(ctx, "", 0)
		switch {
		case errors.Is(err, errNobody) && try >= silentTries && s.api != usualAPI:
			return fmt.Errorf("nobody takes requests to %s>: see that the domain or prefix is right, and that the leaf node that leads there is connected, or else: %w", s.api, ErrNoJetStream)
		case errors.Is(err, errNobody) && try >= silentTries, isCode(err, codeNotEnabled), isCode(err, codeNotForAccount):
			return ErrNoJetStream
		case err == nil:
			return s.inspect(ctx, info)
		case isCode(err, codeNoStream) && s.create:
			if err = s.establish(ctx); err == nil {
				return nil
			}
		}
		// A cluster that has just come up may have no leader yet, also for a stream
		// that was made a moment ago.
		if err = classify(err); !errors.Is(err, kv.ErrUnavailable) && !errors.Is(err, kv.ErrUnknown) || try >= openTries {
			return err
		}
		if sleep(ctx, formWait) != nil {
			return err
		}
	}
}

// refusedFor is how long Open believes in credentials that the server refuses.
const refusedFor = time.Second

// letsNobodyIn connects to each server for a moment, and returns why one refuses us; nil when
// one lets us in, or none answers. The connection that is being made has it as its last
// error, but not any more once it has found the next server of the list dead.
func letsNobodyIn(ctx context.Context, how *nats.Options) error {
	var refusal error
	for _, url := range append([]string{how.Url}, how.Servers...) {
		if url == "" || ctx.Err() != nil {
			continue
		}
		o := *how
		o.Url, o.Servers, o.RetryOnFailedConnect, o.AllowReconnect = url, nil, false, false
		o.AsyncErrorCB = func(*nats.Conn, *nats.Subscription, error) {}
		o.ClosedCB, o.ConnectedCB, o.DisconnectedErrCB, o.DisconnectedCB, o.DiscoveredServersCB, o.LameDuckModeHandler = nil, nil, nil, nil, nil, nil
		nc, err := o.Connect()
		switch {
		case err == nil:
			nc.Close()
			return nil
		case notLetIn(err):
			refusal = err
		}
	}
	return refusal
}

// notLetIn says whether the server refuses a connection for its credentials.
func notLetIn(err error) bool {
	for _, is := range []error{nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// How often Open asks again, every formWait, where the server has no answer yet,
// and where nobody listens for requests to JetStream.
const (
	openTries   = 40
	silentTries = 4
)
