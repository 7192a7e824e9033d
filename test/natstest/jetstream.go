package natstest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream is that of a connection, for what a test prepares and looks at: it waits longer
// than the library does by itself, and makes a request for a stream or a bucket again when
// no answer comes. In a cluster that has just come together, the leader that has the
// request may lose it when it is the leader no more.
func JetStream(tb testing.TB, nc *nats.Conn) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		tb.Fatal(err)
	}
	return insistent{js}
}

type insistent struct{ jetstream.JetStream }

// CreateStream gives the stream that there is where an earlier request has made it.
func (js insistent) CreateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	return insist(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.JetStream.CreateStream(ctx, cfg) })
}

// CreateKeyValue gives the bucket that there is where an earlier request has made it.
func (js insistent) CreateKeyValue(ctx context.Context, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	return insist(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return js.JetStream.CreateKeyValue(ctx, cfg) })
}

func (js insistent) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	return insist(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.JetStream.Stream(ctx, name) })
}

// answerTime is how long one request waits.
const answerTime = 3 * time.Second

func insist[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		once, cancel := context.WithTimeout(ctx, answerTime)
		v, err := request(once)
		cancel()
		switch {
		case ctx.Err() != nil:
			return v, err
		case errors.Is(err, context.DeadlineExceeded):
		case errors.Is(err, nats.ErrNoResponders):
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		default:
			return v, err
		}
	}
}
