package natskv

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An Option changes how a Store is opened. A nil Option is ignored.
type Option func(*options)

type options struct {
	log            *slog.Logger
	storage        jetstream.StorageType
	replicas       int // 0: as the cluster has them
	timeout        time.Duration
	create, repair bool
	reconnect      bool
	withBarrier    bool
}

func defaults() options {
	return options{
		log:         slog.Default(),
		storage:     jetstream.FileStorage,
		timeout:     2 * time.Second,
		create:      true,
		reconnect:   true,
		withBarrier: true,
	}
}

// WithLogger says where warnings go: what people should act on, and seldom. By default, and
// with nil, they go to [slog.Default]. A logger with [slog.DiscardHandler] logs nothing.
func WithLogger(log *slog.Logger) Option {
	return func(o *options) {
		if o.log = log; log == nil {
			o.log = slog.Default()
		}
	}
}

// WithMemory keeps a new bucket in the servers' memory. By default it is kept in
// files. A group survives the loss of its bucket either way; in memory, a restart
// of all servers is one.
func WithMemory() Option { return func(o *options) { o.storage = jetstream.MemoryStorage } }

// WithReplicas says on how many nodes a new bucket is kept: 1, 3 or 5. By default,
// and with 0, it is 3 where the cluster has so many nodes, else 1.
func WithReplicas(n int) Option { return func(o *options) { o.replicas = n } }

// WithRequestTimeout is how long one request may take. A listing of many keys, which is
// many requests, may take fifteen times as long. A context that ends earlier counts as
// well: a Manager gives no request but a listing more than a quarter of SessionTTL less
// FenceMargin (3.3 s by default), and 5 s at the most. Default: 2 s. Range: 50 ms to 1 min.
func WithRequestTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// The range of WithRequestTimeout: below it a healthy store is given up, and what is above
// it is a mistake in the unit.
const (
	leastTimeout = 50 * time.Millisecond
	mostTimeout  = time.Minute
)

// check says all that is wrong with the options.
func (o *options) check() error {
	var errs []error
	if !slices.Contains([]int{0, 1, 3, 5}, o.replicas) {
		errs = append(errs, fmt.Errorf("natskv: WithReplicas(%d): use 1, 3 or 5, or 0 for as many as the cluster has, at most 3; an even number is lost as easily as one less", o.replicas))
	}
	if o.timeout < leastTimeout || o.timeout > mostTimeout {
		errs = append(errs, fmt.Errorf("natskv: WithRequestTimeout(%v): use 50ms to 1m, or leave it out for 2s", o.timeout))
	}
	return errors.Join(errs...)
}

// WithoutCreate lets Open fail with [ErrNoBucket] when there is no bucket, for processes that
// are not permitted to make one.
func WithoutCreate() Option { return func(o *options) { o.create = false } }

// WithRepair lets Open mend the settings of a bucket that can be changed in place.
// By default wrong settings are an error.
func WithRepair() Option { return func(o *options) { o.repair = true } }

// WithoutForceReconnect leaves the connection alone. By default a connection that
// looks whole while the store has not answered for three times the request timeout
// is moved to another server, if it knows of one, at most every 15 s: the server may
// be cut off from the others.
func WithoutForceReconnect() Option { return func(o *options) { o.reconnect = false } }

// WithoutBarrier is for processes that only look: nothing is written then. By default a
// following begins with a write whose condition cannot hold, a barrier: its refusal shows
// that the bucket's leader knows of the following. Without it, a change of the following's
// first milliseconds may be missed on a cluster. Whoever may publish to any key of a bucket
// can empty it, so that who only looks should not have the right for it.
func WithoutBarrier() Option { return func(o *options) { o.withBarrier = false } }

// ConnectOptions are what a connection of a worker needs: it finds out within
// seconds that its server is gone, never gives up, and keeps no writes back to send
// them when they are no longer meant. Further options may follow them, such as a longer
// [nats.FlusherTimeout] where a large message takes more than 6 s to go out.
//
// Credentials that the server refuses are shown to it again and again, since they may be
// renewed. So revoking a user is an outage to its worker: under Freeze that goes on with
// what it has, for parti.Config.MaxFreeze at most, while others are given it.
func ConnectOptions() []nats.Option {
	return []nats.Option{
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings), // a black hole is noticed in 6 s
		// Also where the socket is full: the client holds its lock while it waits for room in
		// it, by itself for a minute, and neither pings nor lets anybody else ask.
		nats.FlusherTimeout((maxPings + 1) * pingInterval),
		nats.ReconnectOnFlusherError(),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),     // credentials that have expired may be renewed
		nats.RetryOnFailedConnect(true), // a worker may start before its server
		nats.ReconnectBufSize(-1),       // a write that cannot be sent fails now
		nats.Timeout(2 * time.Second),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			// Short, since a worker that is away for long is taken for dead, and
			// spread, since a whole fleet reconnects at once.
			most := min(100*time.Millisecond<<min(attempts, 5), 2*time.Second)
			return most/2 + rand.N(most/2)
		}),
	}
}

const (
	pingInterval = 2 * time.Second
	maxPings     = 2
)

// lacking names what a connection was made without.
func lacking(o *nats.Options) (names []string) {
	if o.PingInterval <= 0 || o.PingInterval > 2*pingInterval || o.MaxPingsOut > 2*maxPings {
		names = append(names, "PingInterval(2s) and MaxPingsOutstanding(2): a dead server is noticed late")
	}
	if !o.AllowReconnect || o.MaxReconnect >= 0 {
		names = append(names, "MaxReconnects(-1): it gives up for good after some time")
	}
	if !o.IgnoreAuthErrorAbort {
		names = append(names, "IgnoreAuthErrorAbort(): it gives up for good when credentials expire before they are renewed")
	}
	if o.ReconnectBufSize >= 0 {
		names = append(names, "ReconnectBufSize(-1): writes are kept back and sent when they are no longer meant")
	}
	return names
}
