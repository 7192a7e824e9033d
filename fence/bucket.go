package fence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/pattern"
)

// A Bucket is a key-value bucket whose keys remember the token that they were written
// under. Values are read as from any bucket. It is safe for concurrent use; writes of one
// owner to one key at the same time are in no order. A key that is deleted, or has expired,
// forgets its token: put an empty value instead, and use a bucket without TTL.
//
// It does not work through a JetStream domain or another prefix of the API.
type Bucket struct {
	js     jetstream.JetStream
	stream string
	prefix string
}

// NewBucket looks at the bucket, which must be there, without a TTL: the error wraps
// [jetstream.ErrStreamNotFound] where it is not there.
func NewBucket(ctx context.Context, js jetstream.JetStream, bucket string) (*Bucket, error) {
	stream := "KV_" + bucket
	s, err := find(ctx, js, stream)
	if err != nil {
		return nil, fmt.Errorf("fence: bucket %s: %w", bucket, err)
	}
	if age := s.CachedInfo().Config.MaxAge; age > 0 {
		return nil, fmt.Errorf("fence: bucket %s forgets its keys after %v, and their tokens with them: use one without TTL", bucket, age)
	}
	return &Bucket{js: js, stream: stream, prefix: "$KV." + bucket + "."}, nil
}

// Put writes a value if no later lease has written that key. It returns the revision.
// When it fails with anything but [ErrFenced], the value may have been written.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, token uint64) (uint64, error) {
	return b.write(ctx, key, value, token, false)
}

// Claim writes nothing but the token, and keeps the value: from then on, writes of
// earlier leases are refused. A key that is not there is made, with an empty value. It returns
// and fails as Put does.
func (b *Bucket) Claim(ctx context.Context, key string, token uint64) (uint64, error) {
	return b.write(ctx, key, nil, token, true)
}

func (b *Bucket) write(ctx context.Context, key string, value []byte, token uint64, keep bool) (uint64, error) {
	subject := b.prefix + key
	began := time.Now()
	for try := 1; ; try++ {
		var last uint64
		old, err := newest(ctx, b.js, b.stream, subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			if keep {
				value = nil // it may have been there at the try before
			}
		case err != nil:
			return 0, fmt.Errorf("fence: read %s: %w", subject, err)
		default:
			last = old.seq
			if have := tokenOf(old.header); have > token {
				return 0, &TokenError{What: subject, Have: have, Mine: token}
			}
			if keep {
				value = old.data
			}
		}
		m := nats.NewMsg(subject)
		m.Data = value
		m.Header.Set(HeaderToken, strconv.FormatUint(token, 10))
		ack, err := publish(ctx, b.js, b.stream, m, jetstream.WithExpectLastSequencePerSubject(last))
		switch {
		case err == nil:
			return ack.Sequence, nil
		case !stale(err) || time.Since(began) > contested:
			return 0, fmt.Errorf("fence: write %s: %w", subject, err)
		}
		if !pause(ctx, again(try)) {
			return 0, context.Cause(ctx)
		}
	}
}

// errElsewhere says that a fence would be read in one place and written in another.
var errElsewhere = errors.New("it does not work through a JetStream domain or another prefix of the API: connect to a server of that domain")

// find looks for a stream.
func find(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	if js == nil {
		return nil, errors.New("a nil JetStream: give it what jetstream.New returns for a connection")
	}
	if o := js.Options(); o.Domain != "" || o.APIPrefix != "" && strings.TrimSuffix(o.APIPrefix, ".")+"." != jetstream.DefaultAPIPrefix {
		return nil, errElsewhere
	}
	return ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, name) })
}

// A message is one of a stream.
type message struct {
	seq    uint64
	header nats.Header
	data   []byte
}

// newest asks the leader of a stream for the last message of a subject. The client's own
// call asks any replica where the stream allows it, as buckets do: one that lags does not
// have what was written last, and the rightful owner would be refused again and again.
func newest(ctx context.Context, js jetstream.JetStream, stream, subject string) (m message, err error) {
	request, err := json.Marshal(struct {
		Last string `json:"last_by_subj"`
	}{subject})
	if err != nil {
		return m, err
	}
	reply, err := ask(ctx, func(ctx context.Context) (*nats.Msg, error) {
		return js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, request)
	})
	if err != nil {
		return m, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq    uint64 `json:"seq"`
			Header []byte `json:"hdrs"`
			Data   []byte `json:"data"`
		} `json:"message"`
	}
	switch err := json.Unmarshal(reply.Data, &answer); {
	case err != nil:
		return m, err
	case answer.Error != nil && answer.Error.ErrorCode == noMessage:
		return m, jetstream.ErrMsgNotFound
	case answer.Error != nil:
		return m, answer.Error
	}
	m.seq, m.data = answer.Message.Seq, answer.Message.Data
	if len(answer.Message.Header) > 0 {
		m.header, err = nats.DecodeHeadersMsg(answer.Message.Header)
	}
	return m, err
}

// ask makes a request that changes nothing. It makes it again for as long as ctx allows
// while nobody is there to answer, as when the stream is about to have another leader, and
// some times when the answer does not come: it may be lost then, too.
func ask[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	for silent := 0; ; {
		one, cancel := context.WithTimeout(ctx, silence<<silent)
		answer, err := request(one)
		cancel()
		switch {
		case errors.Is(err, nats.ErrNoResponders):
		case errors.Is(err, context.DeadlineExceeded) && silent < silences:
			silent++
		default:
			return answer, err
		}
		if !pause(ctx, 20*time.Millisecond) {
			return answer, err
		}
	}
}

// An answer may take silence, then twice as long, and so on, silences times.
const (
	silence  = time.Second
	silences = 3
)

// publish waits, as ask does, while nobody answers: then nothing was stored. That is also what
// it is like when no stream takes the subject, and so the stream is looked at now and then.
func publish(ctx context.Context, js jetstream.JetStream, stream string, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	opts = append(slices.Clip(opts), jetstream.WithExpectStream(stream))
	var wrong error
	for try := 1; ; try++ {
		ack, err := js.PublishMsg(ctx, m, opts...)
		if !errors.Is(err, jetstream.ErrNoStreamResponse) {
			return ack, err
		}
		if try%deafTries == 0 {
			// Twice, since there may just be a leader again, and the subject be another one
			// once the server has mapped it.
			before := wrong
			if wrong = takes(ctx, js, stream, m.Subject); wrong != nil && before != nil {
				return nil, wrong
			}
		}
		if !pause(ctx, 20*time.Millisecond) {
			return ack, err
		}
	}
}

// deafTries is after how many tries that nobody has taken the stream is looked at. The client
// makes half a second of each.
const deafTries = 2

// takes says why a stream takes no message of a subject, if that is what is the matter.
func takes(ctx context.Context, js jetstream.JetStream, stream, subject string) error {
	one, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	s, err := js.Stream(one, stream)
	if err != nil {
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream %s: %w", stream, err)
		}
		return nil // it has no leader, as while it is about to have another
	}
	info := s.CachedInfo()
	if info.Cluster != nil && info.Cluster.Leader == "" {
		return nil // that was one of its followers
	}
	if all := info.Config.Subjects; !pattern.WithinAny(subject, all) {
		return fmt.Errorf("stream %s takes %s: use one of these subjects, or give it this one as well", stream, strings.Join(all, ", "))
	}
	return nil
}

// contested is for how long a write is tried over that of somebody else. One that is on its way
// may be so for as long as the stream takes to find out that its leader is cut off.
const contested = 15 * time.Second

// again is how long to wait after so many tries.
func again(tries int) time.Duration { return time.Duration(min(tries, 50)) * time.Millisecond }

// pause waits, and reports false when ctx has ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Errors of JetStream.
const (
	noMessage = 10037 // there is no such message
	wrongLast = 10071 // the condition of a write does not hold
	inFlight  = 10164 // it is not known whether it holds
)

func stale(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == wrongLast || api.ErrorCode == inFlight)
}

// tokenOf is the token of a message, or 0.
func tokenOf(h nats.Header) uint64 {
	n, err := strconv.ParseUint(h.Get(HeaderToken), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
