package natstest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream is that of a connection, for what a test prepares and looks at: it waits longer
// than the library does by itself, and makes a request about streams, consumers and keys
// again when no answer comes. In a cluster that has just come together, or that has no CPU
// for a while, the leader that has the request may lose it when it is the leader no more.
// What is published is not published again: that is for the test to decide.
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
	return insistStream(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.JetStream.CreateStream(ctx, cfg) })
}

func (js insistent) UpdateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	return insistStream(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.JetStream.UpdateStream(ctx, cfg) })
}

func (js insistent) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	return insistStream(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.JetStream.Stream(ctx, name) })
}

func (js insistent) DeleteStream(ctx context.Context, name string) error {
	return remove(ctx, jetstream.ErrStreamNotFound, func(ctx context.Context) error { return js.JetStream.DeleteStream(ctx, name) })
}

// CreateConsumer gives the consumer that there is where an earlier request has made it.
func (js insistent) CreateConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	return insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return js.JetStream.CreateConsumer(ctx, stream, cfg)
	})
}

func (js insistent) UpdateConsumer(ctx context.Context, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	return insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return js.JetStream.UpdateConsumer(ctx, stream, cfg)
	})
}

func (js insistent) Consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	return insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return js.JetStream.Consumer(ctx, stream, name) })
}

func (js insistent) DeleteConsumer(ctx context.Context, stream, name string) error {
	return remove(ctx, jetstream.ErrConsumerNotFound, func(ctx context.Context) error { return js.JetStream.DeleteConsumer(ctx, stream, name) })
}

// CreateKeyValue gives the bucket that there is where an earlier request has made it.
func (js insistent) CreateKeyValue(ctx context.Context, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	return insistBucket(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return js.JetStream.CreateKeyValue(ctx, cfg) })
}

func (js insistent) CreateOrUpdateKeyValue(ctx context.Context, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	return insistBucket(ctx, func(ctx context.Context) (jetstream.KeyValue, error) {
		return js.JetStream.CreateOrUpdateKeyValue(ctx, cfg)
	})
}

func (js insistent) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	return insistBucket(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return js.JetStream.KeyValue(ctx, bucket) })
}

func (js insistent) DeleteKeyValue(ctx context.Context, bucket string) error {
	return remove(ctx, jetstream.ErrBucketNotFound, func(ctx context.Context) error { return js.JetStream.DeleteKeyValue(ctx, bucket) })
}

type insistentStream struct{ jetstream.Stream }

func insistStream(ctx context.Context, request func(context.Context) (jetstream.Stream, error)) (jetstream.Stream, error) {
	s, err := insist(ctx, request)
	if err != nil {
		return nil, err
	}
	return insistentStream{s}, nil
}

func (s insistentStream) Info(ctx context.Context, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return insist(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return s.Stream.Info(ctx, opts...) })
}

func (s insistentStream) Purge(ctx context.Context, opts ...jetstream.StreamPurgeOpt) error {
	return remove(ctx, nil, func(ctx context.Context) error { return s.Stream.Purge(ctx, opts...) })
}

func (s insistentStream) GetMsg(ctx context.Context, seq uint64, opts ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return insist(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return s.Stream.GetMsg(ctx, seq, opts...) })
}

func (s insistentStream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return insist(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return s.Stream.GetLastMsgForSubject(ctx, subject)
	})
}

func (s insistentStream) UpdateConsumer(ctx context.Context, cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	return insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return s.Stream.UpdateConsumer(ctx, cfg) })
}

func (s insistentStream) Consumer(ctx context.Context, name string) (jetstream.Consumer, error) {
	return insist(ctx, func(ctx context.Context) (jetstream.Consumer, error) { return s.Stream.Consumer(ctx, name) })
}

func (s insistentStream) DeleteConsumer(ctx context.Context, name string) error {
	return remove(ctx, jetstream.ErrConsumerNotFound, func(ctx context.Context) error { return s.Stream.DeleteConsumer(ctx, name) })
}

// A whole is a list that was read to its end.
type whole[T any] struct {
	all chan T
	err error
}

func (l whole[T]) Err() error { return l.err }

type wholeNames struct{ whole[string] }

func (l wholeNames) Name() <-chan string { return l.all }

type wholeInfos struct{ whole[*jetstream.ConsumerInfo] }

func (l wholeInfos) Info() <-chan *jetstream.ConsumerInfo { return l.all }

func (s insistentStream) ConsumerNames(ctx context.Context) jetstream.ConsumerNameLister {
	return wholeNames{insistList(ctx, func(ctx context.Context) (all []string, err error) {
		list := s.Stream.ConsumerNames(ctx)
		for name := range list.Name() {
			all = append(all, name)
		}
		return all, list.Err()
	})}
}

func (s insistentStream) ListConsumers(ctx context.Context) jetstream.ConsumerInfoLister {
	return wholeInfos{insistList(ctx, func(ctx context.Context) (all []*jetstream.ConsumerInfo, err error) {
		list := s.Stream.ListConsumers(ctx)
		for info := range list.Info() {
			all = append(all, info)
		}
		return all, list.Err()
	})}
}

func insistList[T any](ctx context.Context, read func(context.Context) ([]T, error)) whole[T] {
	all, err := insist(ctx, read)
	l := whole[T]{make(chan T, len(all)), err}
	for _, x := range all {
		l.all <- x
	}
	close(l.all)
	return l
}

type insistentBucket struct{ jetstream.KeyValue }

func insistBucket(ctx context.Context, request func(context.Context) (jetstream.KeyValue, error)) (jetstream.KeyValue, error) {
	b, err := insist(ctx, request)
	if err != nil {
		return nil, err
	}
	return insistentBucket{b}, nil
}

func (b insistentBucket) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	return insist(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return b.KeyValue.Get(ctx, key) })
}

// Put may leave two revisions of the same value.
func (b insistentBucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return insist(ctx, func(ctx context.Context) (uint64, error) { return b.KeyValue.Put(ctx, key, value) })
}

// PutString is as Put.
func (b insistentBucket) PutString(ctx context.Context, key, value string) (uint64, error) {
	return b.Put(ctx, key, []byte(value))
}

func (b insistentBucket) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	asked := false
	return insist(ctx, func(ctx context.Context) (uint64, error) {
		rev, err := b.KeyValue.Create(ctx, key, value, opts...)
		if asked && errors.Is(err, jetstream.ErrKeyExists) { // an earlier request has made it
			e, err := b.KeyValue.Get(ctx, key)
			if err != nil {
				return 0, err
			}
			return e.Revision(), nil
		}
		asked = true
		return rev, err
	})
}

func (b insistentBucket) Delete(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	return remove(ctx, nil, func(ctx context.Context) error { return b.KeyValue.Delete(ctx, key, opts...) })
}

func (b insistentBucket) Purge(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	return remove(ctx, nil, func(ctx context.Context) error { return b.KeyValue.Purge(ctx, key, opts...) })
}

// Newest is the data of the last message of a subject, as the leader of the stream has it.
// The client's own calls ask any replica where a stream allows it, as buckets do: one that
// lags does not have what was stored last.
func Newest(ctx context.Context, js jetstream.JetStream, stream, subject string) ([]byte, error) {
	request, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, err
	}
	return insist(ctx, func(ctx context.Context) ([]byte, error) {
		reply, err := js.Conn().RequestWithContext(ctx, jetstream.DefaultAPIPrefix+"STREAM.MSG.GET."+stream, request)
		if err != nil {
			return nil, err
		}
		var answer struct {
			Error   *jetstream.APIError `json:"error"`
			Message struct {
				Data []byte `json:"data"`
			} `json:"message"`
		}
		if err := json.Unmarshal(reply.Data, &answer); err != nil {
			return nil, err
		}
		if answer.Error != nil {
			return nil, answer.Error
		}
		return answer.Message.Data, nil
	})
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
		if ctx.Err() != nil || !Passing(err) {
			return v, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// remove is insist for what is gone, which is another error, where an earlier request has
// removed it.
func remove(ctx context.Context, gone error, request func(context.Context) error) error {
	asked := false
	_, err := insist(ctx, func(ctx context.Context) (struct{}, error) {
		err := request(ctx)
		if asked && gone != nil && errors.Is(err, gone) {
			err = nil
		}
		asked = true
		return struct{}{}, err
	})
	return err
}

// Passing says whether a request that failed so may be answered when it is made again: its
// answer was lost, or nobody leads who could give one, or whoever leads has not heard of
// the other nodes yet, or still has the first one on its way.
func Passing(err error) bool {
	for _, e := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	const notAvailable, noPeers, inProcess = 10008, 10005, 10158 // of JetStream
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == notAvailable || api.ErrorCode == noPeers || api.ErrorCode == inProcess)
}
