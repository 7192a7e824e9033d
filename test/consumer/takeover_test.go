package consumer_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/test/natstest"
)

// An owner whose time is over gives back what it has not begun when nothing is asked for any
// more: the server would give it to what is left of its request, again and again, each time a
// try, until it comes to nobody.
func TestGivesBackOnce(t *testing.T) {
	t.Parallel()
	for _, s := range sites(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, jetstream.LimitsPolicy)
			tries := make(chan int, 1)
			a := w.owner("a", func(_ context.Context, m *consumer.Msg) error {
				tries <- m.Tries
				return nil
			}, consumer.AckWait(time.Hour), consumer.PullExpiry(time.Minute))
			a.make("p")
			for token := uint64(1); token <= 10; token++ {
				hard, end := context.WithCancelCause(t.Context())
				t.Cleanup(func() { end(nil) })
				var fenced atomic.Bool
				came, over := make(chan struct{}, 1), make(chan error, 1)
				lease := parti.NewLease(parti.Partition{ID: "p"}, token, hard, func() error {
					if !fenced.Load() {
						return nil
					}
					select {
					case came <- struct{}{}: // a message is in hand, and waits for proof
					default:
					}
					return parti.ErrFenced
				})
				go func() { over <- a.h.Run(t.Context(), lease) }()
				if token > 1 {
					if n := <-tries; n > 2 {
						t.Errorf("tenure %d: what nobody had begun with was given out %d times", token, n)
					}
				}
				w.send("p", 1)
				<-tries
				a.pending("p", 0)
				fenced.Store(true)
				w.send("p", 1)
				<-came
				end(parti.ErrFenced)
				if err := <-over; err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// What the server gives to a process that is not there any more is found when that one's
// request has expired, also if something has come until then; and what this owner has given
// back for later is not asked for before its time.
func TestWhatCameToNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, siteOf(natstest.Start(t)), jetstream.LimitsPolicy)
	var failed atomic.Int64
	o := w.owner("o", func(_ context.Context, m *consumer.Msg) error {
		if m.Partition == "p" {
			failed.Add(1)
			return errors.New("not yet")
		}
		return nil
	}, consumer.AckWait(time.Hour), consumer.PullExpiry(5*time.Second), consumer.BackOff(time.Hour)) // the first look is then, and must find something out
	o.make("p", "q")
	x := o.run("p", 1)
	w.send("p", 1)
	w.until("a try", func() bool { return len(w.got["p"]) == 1 })

	y := o.run("q", 1)
	w.isOut("q", func(c *jetstream.ConsumerInfo) bool { return c.NumWaiting == 1 })
	w.takesOne("q") // by a request that comes second, and the owner's next one third
	w.exactly("q", 3)
	w.send("q", 1)
	w.exactly("q", 4)
	if n := failed.Load(); n != 1 {
		t.Errorf("what was given back for an hour was tried %d times in seconds", n)
	}
	x.release(t)
	y.release(t)
}

// What was on its way when the owner's connection broke, and comes to nobody, is asked for
// when its requests are over, long after the partition began.
func TestLostWithTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, siteOf(natstest.Start(t)), jetstream.LimitsPolicy)
	o := w.owner("o", nil, consumer.AckWait(time.Hour), consumer.PullExpiry(2*time.Second))
	o.make("q")
	looks, err := w.js.Conn().SubscribeSync("$JS.API.CONSUMER.INFO." + w.stream + ".group~q")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	x := o.run("q", 1)
	for range 2 { // as it begins, and when a former owner's request would be over: nothing is out
		if _, err := looks.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
	}
	w.isOut("q", func(c *jetstream.ConsumerInfo) bool { return c.NumWaiting == 1 })
	w.takesOne("q")
	if err := o.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	w.exactly("q", 3)
	x.release(t)
}

// What has failed may come to nobody when it is tried again: it does not rest any more then,
// and is asked for.
func TestAnotherTryCameToNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, siteOf(natstest.Start(t)), jetstream.LimitsPolicy)
	var tries atomic.Int64
	o := w.owner("o", func(context.Context, *consumer.Msg) error {
		if tries.Add(1) == 1 {
			return errors.New("not yet")
		}
		return nil
	}, consumer.AckWait(time.Hour), consumer.PullExpiry(5*time.Second), consumer.BackOff(500*time.Millisecond))
	o.make("p")
	x := o.run("p", 1)
	w.isOut("p", func(c *jetstream.ConsumerInfo) bool { return c.NumWaiting == 1 })
	other := w.another("p")
	w.send("p", 1)
	if m, err := other.NextMsg(patience); err != nil || !strings.HasPrefix(m.Reply, "$JS.ACK.") {
		t.Fatal(m, err)
	}
	w.until("another try", func() bool { return len(w.got["p"]) == 2 })
	x.release(t)
}

// takesOne has somebody else take one of three messages of a partition, of which the owner
// has asked for the first.
func (w *world) takesOne(partition string) {
	w.t.Helper()
	other := w.another(partition)
	w.send(partition, 3)
	if m, err := other.NextMsg(patience); err != nil || !strings.HasPrefix(m.Reply, "$JS.ACK.") {
		w.t.Fatal(m, err)
	}
}

// another makes a request for one message that is not the owner's, next to that one's.
func (w *world) another(partition string) *nats.Subscription {
	w.t.Helper()
	inbox := nats.NewInbox()
	other, err := w.js.Conn().SubscribeSync(inbox)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.js.Conn().PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+w.stream+".group~"+partition, inbox, []byte(`{"batch":1,"expires":60000000000}`)); err != nil {
		w.t.Fatal(err)
	}
	w.isOut(partition, func(c *jetstream.ConsumerInfo) bool { return c.NumWaiting == 2 })
	return other
}

// isOut waits until the consumer of a partition, as its leader sees it, is as it is to be.
func (w *world) isOut(partition string, as func(*jetstream.ConsumerInfo) bool) {
	w.t.Helper()
	var last *jetstream.ConsumerInfo
	for end := time.Now().Add(patience); time.Now().Before(end); moment() {
		if err := anyhow(func() error {
			c, err := w.js.Consumer(w.t.Context(), w.stream, "group~"+partition)
			if err == nil {
				last = c.CachedInfo()
			}
			return err
		}); err != nil {
			w.t.Fatal(err)
		}
		if as(last) {
			return
		}
	}
	w.t.Fatalf("the consumer of %s stays as it is: %+v", partition, last)
}
