// Package fence_test has an owner wake up after its time, over real servers.
package fence_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/parti-go/parti/fence"
	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	natstest.Register()
	natstest.VerifyTestMain(m, goleak.IgnoreCurrent())
}

func everywhere(t *testing.T, run func(t *testing.T, replicas int, connect func() jetstream.JetStream)) {
	t.Helper()
	t.Run("one", func(t *testing.T) {
		t.Parallel()
		ns := natstest.Start(t)
		run(t, 1, func() jetstream.JetStream { return natstest.JetStream(t, natstest.Connect(t, ns)) })
	})
	t.Run("three", func(t *testing.T) {
		t.Parallel()
		c, n := natstest.StartCluster(t, 3), 0
		run(t, 3, func() jetstream.JetStream { n++; return natstest.JetStream(t, c.Connect(t, n%3)) })
	})
}

// within gives a context for one step.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

const patience = 2 * time.Minute

// anyhow tries again what got no answer, as when the leader that was asked lost it: each of
// these may be done twice.
func anyhow(t *testing.T, try func(context.Context) error) (err error) {
	t.Helper()
	for all := within(t); ; {
		one, cancel := context.WithTimeout(all, 10*time.Second)
		err = try(one)
		cancel()
		if !natstest.Passing(err) || all.Err() != nil {
			return err
		}
		<-time.After(10 * time.Millisecond) // that nobody answers may be heard at once
	}
}

func open(t *testing.T, js jetstream.JetStream, bucket string) (b *fence.Bucket) {
	t.Helper()
	if err := anyhow(t, func(ctx context.Context) (err error) {
		b, err = fence.NewBucket(ctx, js, bucket)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, b *fence.Bucket, key, value string, token uint64) error {
	t.Helper()
	return anyhow(t, func(ctx context.Context) error {
		_, err := b.Put(ctx, key, []byte(value), token)
		return err
	})
}

// is checks what a key has, at the leader of its bucket: a replica may lag.
func is(t *testing.T, js jetstream.JetStream, bucket, key, want string) {
	t.Helper()
	if got, err := natstest.Newest(within(t), js, "KV_"+bucket, "$KV."+bucket+"."+key); err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestBucket(t *testing.T) {
	everywhere(t, func(t *testing.T, replicas int, connect func() jetstream.JetStream) {
		js := connect()
		if _, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "accounts", Replicas: replicas}); err != nil {
			t.Fatal(err)
		}
		a, b := open(t, connect(), "accounts"), open(t, connect(), "accounts")
		if err := put(t, a, "alice", "10", 1); err != nil {
			t.Fatal(err)
		}
		if err := put(t, a, "alice", "11", 1); err != nil {
			t.Fatal(err) // as often as it likes
		}
		if err := anyhow(t, func(ctx context.Context) error {
			_, err := b.Claim(ctx, "alice", 2)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		is(t, js, "accounts", "alice", "11")
		err := put(t, a, "alice", "12", 1) // it wakes
		var by *fence.TokenError
		if !errors.Is(err, fence.ErrFenced) || !errors.As(err, &by) || by.Have != 2 || by.Mine != 1 {
			t.Errorf("the zombie: %v", err)
		}
		is(t, js, "accounts", "alice", "11")
		if err := put(t, b, "alice", "20", 2); err != nil {
			t.Fatal(err)
		}
		is(t, js, "accounts", "alice", "20")
		if _, err := fence.NewBucket(within(t), js, "nothere"); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestNilJetStream(t *testing.T) {
	_, bucket := fence.NewBucket(within(t), nil, "accounts")
	_, publisher := fence.NewPublisher(within(t), nil, "ORDERS", "fence.a", 1)
	for _, err := range []error{bucket, publisher} {
		if err == nil || !strings.Contains(err.Error(), "a nil JetStream") {
			t.Errorf("%v", err)
		}
	}
}

// Through a domain, or another prefix, a fence would be read in one place and written in
// another: it is refused before anything is asked.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	nc := natstest.Connect(t, natstest.Start(t))
	domain, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	prefix, err := jetstream.NewWithAPIPrefix(nc, "$JS.hub.API")
	if err != nil {
		t.Fatal(err)
	}
	for _, js := range []jetstream.JetStream{domain, prefix} {
		_, bucket := fence.NewBucket(within(t), js, "accounts")
		_, publisher := fence.NewPublisher(within(t), js, "ORDERS", "fence.a", 1)
		for _, err := range []error{bucket, publisher} {
			if err == nil || !strings.Contains(err.Error(), "JetStream domain") {
				t.Errorf("%v", err)
			}
		}
	}
	usual, err := jetstream.NewWithAPIPrefix(nc, "$JS.API")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fence.NewBucket(within(t), usual, "nothere"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("by the usual prefix: %v", err)
	}
}

// What was written last is asked of the leader alone: a replica may lag. This user may ask
// no other.
func TestTheLeaderIsAsked(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$JS.API.DIRECT.>"}},
		}}}
	})
	js := natstest.JetStream(t, natstest.Connect(t, ns, nats.UserInfo("u", "p")))
	if _, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "accounts"}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(within(t), jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out.>", "fence.>"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	b, err := fence.NewBucket(within(t), js, "accounts")
	if err != nil {
		t.Fatal(err)
	}
	for token := uint64(1); token < 3; token++ {
		if _, err := b.Put(within(t), "alice", []byte("10"), token); err != nil {
			t.Error(err)
		}
		p, err := fence.NewPublisher(within(t), js, "OUT", "fence.p", token)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Publish(within(t), &nats.Msg{Subject: "out.p"}); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Claim(within(t), "alice", 1); !errors.Is(err, fence.ErrFenced) {
		t.Errorf("the zombie: %v", err)
	}
}

// A subject that the stream does not take is no outage: whoever publishes to it is told, and
// does not wait for as long as the lease lasts.
func TestSubjectThatNobodyTakes(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Connect(t, natstest.Start(t)))
	for stream, subjects := range map[string][]string{"OUT": {"out.>", "fence.>"}, "OTHER": {"other.>"}} {
		if _, err := js.CreateStream(within(t), jetstream.StreamConfig{Name: stream, Subjects: subjects}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := fence.NewPublisher(within(t), js, "OUT", "fence.p", 1)
	if err != nil {
		t.Fatal(err)
	}
	says := func(err error, text string) {
		t.Helper()
		if err == nil || errors.Is(err, fence.ErrFenced) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, which does not say %q", err, text)
		}
	}
	_, err = fence.NewPublisher(within(t), js, "OUT", "fences.p", 1)
	says(err, "fences.p: stream OUT takes out.>, fence.>")
	_, err = p.Publish(within(t), nats.NewMsg("ou.p"))
	says(err, "ou.p: stream OUT takes out.>, fence.>")
	_, err = fence.NewPublisher(within(t), js, "OUT", "other.fence", 1)
	says(err, "expected stream")
	_, err = p.Publish(within(t), nats.NewMsg("other.p"))
	says(err, "expected stream")
	if err := js.DeleteStream(within(t), "OUT"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(within(t), nats.NewMsg("out.p")); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("%v", err)
	}
}

// A stream that forgets the fence by itself is none, nor is a bucket that forgets tokens. And one
// that has forgotten it is to blame, rather than another lease.
func TestFenceThatIsForgotten(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Connect(t, natstest.Start(t)))
	if _, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "aged", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(within(t), jetstream.StreamConfig{Name: "AGED", Subjects: []string{"aged.>"}, MaxAge: time.Hour}); err != nil {
		t.Fatal(err)
	}
	st, err := js.CreateStream(within(t), jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out.>", "fence.>"}})
	if err != nil {
		t.Fatal(err)
	}
	_, bucket := fence.NewBucket(within(t), js, "aged")
	_, publisher := fence.NewPublisher(within(t), js, "AGED", "aged.fence", 1)
	for _, err := range []error{bucket, publisher} {
		if err == nil || errors.Is(err, fence.ErrFenced) || !strings.Contains(err.Error(), "after 1h0m0s") {
			t.Errorf("%v", err)
		}
	}
	p, err := fence.NewPublisher(within(t), js, "OUT", "fence.p", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Purge(within(t), jetstream.WithPurgeSubject("fence.p")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(within(t), nats.NewMsg("out.p")); !errors.Is(err, fence.ErrFenced) || !strings.Contains(err.Error(), "no message under fence.p any more") {
		t.Errorf("%v", err)
	}
}

// A sleeper does something before it publishes, once.
type sleeper struct {
	jetstream.JetStream

	first func()
}

func (s *sleeper) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if f := s.first; f != nil {
		s.first = nil
		f()
	}
	return s.JetStream.PublishMsg(ctx, m, opts...)
}

// The owner is frozen between its look at the key and its write.
func TestBucketBetween(t *testing.T) {
	everywhere(t, func(t *testing.T, replicas int, connect func() jetstream.JetStream) {
		js := connect()
		if _, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "between", Replicas: replicas}); err != nil {
			t.Fatal(err)
		}
		frozen := &sleeper{JetStream: connect()}
		a, b := open(t, frozen, "between"), open(t, connect(), "between")
		frozen.first = func() {
			if err := put(t, b, "k", "b", 2); err != nil {
				t.Error(err)
			}
		}
		if err := put(t, a, "k", "a", 1); !errors.Is(err, fence.ErrFenced) {
			t.Errorf("the zombie: %v", err)
		}
		is(t, js, "between", "k", "b")
	})
}

// A message of this lease that got no answer may be on its way for some seconds, and on
// replicas the next is refused for as long: that passes.
func TestWriteOnItsWay(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Connect(t, natstest.Start(t)))
	if _, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "busy"}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(within(t), jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out.>", "fence.>"}}); err != nil {
		t.Fatal(err)
	}
	busy := &busyJS{JetStream: js}
	b := open(t, busy, "busy")
	p, err := fence.NewPublisher(within(t), busy, "OUT", "fence.p", 1)
	if err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{
		"Put":     func() error { _, err := b.Put(within(t), "k", nil, 1); return err },
		"Publish": func() error { _, err := p.Publish(within(t), nats.NewMsg("out.p")); return err },
	} {
		if busy.refuses = 40; do() != nil || busy.refuses > 0 {
			t.Errorf("%s gave up, %d refusals early", what, busy.refuses)
		}
	}
}

// busyJS refuses messages, so many more, for others that are on their way.
type busyJS struct {
	jetstream.JetStream

	refuses int
}

func (b *busyJS) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if b.refuses > 0 {
		b.refuses--
		return nil, fmt.Errorf("nats: %w", &jetstream.APIError{Code: 400, ErrorCode: 10164, Description: "wrong last sequence"})
	}
	return b.JetStream.PublishMsg(ctx, m, opts...)
}

// What is deleted without a trace while it is claimed stays deleted.
func TestClaimOfAKeyThatGoes(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Connect(t, natstest.Start(t)))
	if _, err := js.CreateKeyValue(within(t), jetstream.KeyValueConfig{Bucket: "goes"}); err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(within(t), "KV_goes")
	if err != nil {
		t.Fatal(err)
	}
	between := &sleeper{JetStream: js}
	b := open(t, between, "goes")
	if err := put(t, b, "k", "old", 1); err != nil {
		t.Fatal(err)
	}
	between.first = func() {
		if err := st.Purge(within(t), jetstream.WithPurgeSubject("$KV.goes.k")); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Claim(within(t), "k", 2); err != nil {
		t.Fatal(err)
	}
	is(t, js, "goes", "k", "")
}

func TestPublisher(t *testing.T) {
	everywhere(t, func(t *testing.T, replicas int, connect func() jetstream.JetStream) {
		js := connect()
		s, err := js.CreateStream(within(t), jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out.>", "fence.>"}, Replicas: replicas})
		if err != nil {
			t.Fatal(err)
		}
		begin := func(partition string, token uint64) (p *fence.Publisher, err error) {
			err = anyhow(t, func(ctx context.Context) (err error) {
				p, err = fence.NewPublisher(ctx, connect(), "OUT", "fence."+partition, token)
				return err
			})
			return p, err
		}
		publish := func(p *fence.Publisher, text string, opts ...jetstream.PublishOpt) error {
			opts = append(opts, jetstream.WithMsgID(text)) // stored once, however often it is published
			return anyhow(t, func(ctx context.Context) error {
				_, err := p.Publish(ctx, &nats.Msg{Subject: "out.p", Data: []byte(text)}, opts...)
				return err
			})
		}
		a, err := begin("p", 1)
		if err != nil {
			t.Fatal(err)
		}
		other, err := begin("q", 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"a1", "a2"} {
			if err := publish(a, text); err != nil {
				t.Fatal(err)
			}
		}
		if err := publish(a, "a3", jetstream.WithExpectLastSequence(1)); err == nil || errors.Is(err, fence.ErrFenced) {
			t.Errorf("another condition that does not hold: %v", err)
		}
		b, err := begin("p", 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := publish(a, "a4"); !errors.Is(err, fence.ErrFenced) { // it wakes
			t.Errorf("the zombie: %v", err)
		}
		if _, err := begin("p", 1); !errors.Is(err, fence.ErrFenced) { // and begins anew
			t.Errorf("the zombie: %v", err)
		}
		if err := errors.Join(publish(b, "b1"), publish(other, "q1")); err != nil {
			t.Error(err)
		}
		again, err := begin("q", 1) // of the same lease
		if err != nil {
			t.Fatal(err)
		}
		if err := publish(other, "q2"); !errors.Is(err, fence.ErrFenced) || errors.As(err, new(*fence.TokenError)) || !strings.Contains(err.Error(), "another Publisher of this lease, of token 1,") {
			t.Errorf("the first of two: %v", err)
		}
		if err := publish(again, "q3"); err != nil {
			t.Error(err)
		}
		var got []string
		for seq := uint64(1); ; seq++ {
			m, err := s.GetMsg(within(t), seq, jetstream.WithGetMsgSubject("out.p"))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got, seq = append(got, string(m.Data)+" "+m.Header.Get(fence.HeaderToken)), m.Sequence
		}
		if want := "[a1 1 a2 1 b1 2 q1 1 q3 1]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %v", got, want)
		}
		if _, err := js.CreateStream(within(t), jetstream.StreamConfig{Name: "QUEUE", Subjects: []string{"queue.>"}, Retention: jetstream.WorkQueuePolicy}); err != nil {
			t.Fatal(err)
		}
		if _, err := fence.NewPublisher(within(t), js, "QUEUE", "queue.fence", 1); err == nil {
			t.Error("a fence in a work queue")
		}
	})
}

// rows is the result of a statement.
type rows struct {
	n   int64
	err error
}

func (rows) LastInsertId() (int64, error)   { return 0, nil }
func (r rows) RowsAffected() (int64, error) { return r.n, r.err }

// Who waits for another's message waits no longer than it may.
func TestPublisherWaitsForItsTurn(t *testing.T) {
	js := natstest.JetStream(t, natstest.Connect(t, natstest.Start(t)))
	if _, err := js.CreateStream(within(t), jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out.>", "fence.>"}}); err != nil {
		t.Fatal(err)
	}
	held := heldJS{js, make(chan struct{}), make(chan struct{})}
	p, err := fence.NewPublisher(within(t), held, "OUT", "fence.p", 1)
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() {
		_, err := p.Publish(within(t), nats.NewMsg("out.held"))
		first <- err
	}()
	<-held.sent
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Publish(ctx, nats.NewMsg("out.p")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(held.goes)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// A heldJS keeps messages for out.held back until goes is closed, and says when it has one.
type heldJS struct {
	jetstream.JetStream

	sent, goes chan struct{}
}

func (h heldJS) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if m.Subject == "out.held" {
		close(h.sent)
		<-h.goes
	}
	return h.JetStream.PublishMsg(ctx, m, opts...)
}

func TestRows(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		res       sql.Result
		err, want error
	}{
		{rows{n: 1}, nil, nil},
		{rows{n: 0}, nil, fence.ErrFenced},
		{rows{err: broken}, nil, broken},
		{nil, broken, broken},
	} {
		if err := fence.Rows(c.res, c.err); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c, err, c.want)
		}
	}
}
