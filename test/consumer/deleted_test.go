package consumer_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/consumer"
)

// keep runs a partition as a Manager does: again, when it returns with an error.
func (o *owner) keep(t *testing.T, partition string, token uint64) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			x := o.run(partition, token)
			select {
			case err := <-x.ended:
				t.Logf("%s returns: %v", partition, err)
				select {
				case <-time.After(50 * time.Millisecond):
				case <-ctx.Done():
				}
			case <-ctx.Done():
				x.release(t)
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-over
	})
}

// has reports whether all of these came; each came once if once is set. w.mu is held.
func (w *world) has(partition string, first, last int, once bool) bool {
	for n := first; n <= last; n++ {
		at := slices.Index(w.got[partition], n)
		if at < 0 || once && slices.Contains(w.got[partition][at+1:], n) {
			return false
		}
	}
	return true
}

// acknowledged waits until every consumer of the stream has heard of all that was
// processed, and a work queue has thrown it away, on every node: an acknowledgement that
// is still on its way does not outlive the consumer.
func (w *world) acknowledged(s jetstream.Stream) {
	w.t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for pending := 1; pending > 0; {
		pending = 0
		list := s.ListConsumers(w.t.Context())
		for info := range list.Info() {
			pending += info.NumAckPending
		}
		if list.Err() != nil {
			pending++ // it may be short
		}
		info, err := s.Info(w.t.Context())
		if err != nil {
			pending++ // who leads is not settled
		} else {
			pending += left(info)
		}
		select {
		case <-again.C:
		case <-late:
			w.t.Fatalf("%d are not acknowledged", pending)
		}
	}
}

// left is how many messages a work queue has still to throw away, on its leader or on
// another node.
func left(info *jetstream.StreamInfo) (n int) {
	if info.Config.Retention == jetstream.WorkQueuePolicy {
		n = int(info.State.Msgs)
	}
	if info.Cluster != nil {
		for _, r := range info.Cluster.Replicas {
			n += int(r.Lag)
			if !r.Current {
				n++
			}
		}
	}
	return n
}

// A durable consumer is deleted while it is pulled. It is made anew; a work queue gives
// nothing twice then, and nobody loses anything.
func TestConsumerDeleted(t *testing.T) {
	t.Parallel()
	for _, s := range sites(t) {
		for _, r := range []jetstream.RetentionPolicy{jetstream.LimitsPolicy, jetstream.WorkQueuePolicy} {
			t.Run(s.name+"/"+r.String(), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, s, r)
				w.owner("a", nil).keep(t, "p", 1)
				w.send("p", 5)
				w.until("five", func() bool { return w.has("p", 1, 5, true) })
				stream, err := w.js.Stream(t.Context(), w.stream)
				if err != nil {
					t.Fatal(err)
				}
				// An acknowledgement that finds no consumer any more is none: the message comes again.
				w.acknowledged(stream)
				for name := range stream.ConsumerNames(t.Context()).Name() {
					if err := stream.DeleteConsumer(t.Context(), name); err != nil {
						t.Error(err)
					}
				}
				w.send("p", 5)
				w.until("ten", func() bool { return w.has("p", 1, 10, r == jetstream.WorkQueuePolicy) })
			})
		}
	}
}

// A durable consumer is deleted while its owner asks it for nothing, and is not told of that:
// what it has in hand takes longer than its last request. It finds out, and the consumer is
// made anew.
func TestConsumerDeletedUnseen(t *testing.T) {
	t.Parallel()
	for _, s := range sites(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, jetstream.WorkQueuePolicy)
			inHand, finish := make(chan struct{}, 1), make(chan struct{})
			a := w.owner("a", func(context.Context, *consumer.Msg) error {
				select {
				case inHand <- struct{}{}:
				default: // it was told
				}
				<-finish
				return nil
			}, consumer.PullExpiry(2*time.Second))
			a.keep(t, "p", 1)
			free := sync.OnceFunc(func() { close(finish) })
			t.Cleanup(free)
			w.send("p", 1)
			select {
			case <-inHand:
			case <-time.After(patience):
				t.Fatal("the message does not come")
			}
			stream, err := w.js.Stream(t.Context(), w.stream)
			if err != nil {
				t.Fatal(err)
			}
			name := w.unasked(stream)
			if err := stream.DeleteConsumer(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			free()
			w.send("p", 4)
			w.until("five", func() bool { return w.has("p", 1, 5, false) })
		})
	}
}

// unasked waits until the only consumer of the stream has no request for messages, and names it.
func (w *world) unasked(s jetstream.Stream) string {
	w.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for {
		for info := range s.ListConsumers(w.t.Context()).Info() {
			if info.NumWaiting == 0 {
				return info.Name
			}
		}
		select {
		case <-again.C:
		case <-late:
			w.t.Fatal("somebody still asks for messages")
		}
	}
}

// A stream is purged while partitions are consumed: what is gone is gone, and what comes
// then comes once.
func TestStreamPurged(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		a := w.owner("a", nil)
		a.make("p")
		a.keep(t, "p", 1)
		w.send("p", 3)
		w.until("three", func() bool { return w.has("p", 1, 3, true) })
		stream, err := w.js.Stream(t.Context(), w.stream)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.send("p", 3)
		w.until("six", func() bool { return w.has("p", 1, 6, true) })
	})
}

// A stream is deleted and made anew while durable consumers pull from it. What comes then
// comes once.
func TestStreamDeleted(t *testing.T) {
	t.Parallel()
	for _, s := range sites(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, jetstream.LimitsPolicy)
			w.owner("a", nil).keep(t, "p", 1)
			w.send("p", 3)
			w.until("three", func() bool { return w.has("p", 1, 3, true) })
			stream, err := w.js.Stream(t.Context(), w.stream)
			if err != nil {
				t.Fatal(err)
			}
			cfg := stream.CachedInfo().Config
			if err := w.js.DeleteStream(t.Context(), w.stream); err != nil {
				t.Fatal(err)
			}
			if _, err := w.js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			w.send("p", 3)
			w.until("six", func() bool { return w.has("p", 1, 6, true) })
		})
	}
}

// The stream of dead letters is deleted, and made anew later. What is hopeless meanwhile
// waits for it.
func TestDeadLettersDeleted(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		cfg := jetstream.StreamConfig{Name: w.stream + "-DEAD", Subjects: []string{w.stream + ".dead"}, Storage: jetstream.MemoryStorage}
		if _, err := w.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		refused := make(chan struct{}, 100)
		a := w.owner("a", func(_ context.Context, m *consumer.Msg) error {
			if string(m.Data) == "2" {
				return consumer.ErrPermanent
			}
			return nil
		}, consumer.DeadLetter(w.stream+".dead"), consumer.MaxDeliver(3), consumer.BackOff(50*time.Millisecond),
			consumer.Observe(func(x consumer.Trouble) {
				if x.Sequence == 2 && !x.Dead {
					select {
					case refused <- struct{}{}:
					default:
					}
				}
			}))
		a.make("p")
		a.keep(t, "p", 1)
		if err := w.js.DeleteStream(t.Context(), cfg.Name); err != nil {
			t.Fatal(err)
		}
		w.send("p", 3)
		for range 2 {
			select {
			case <-refused:
			case <-time.After(patience):
				t.Fatal("nobody misses the stream of dead letters")
			}
		}
		dead, err := w.js.CreateStream(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.until("the third", func() bool { return w.has("p", 3, 3, true) })
		for end := time.Now().Add(patience); ; {
			m, err := dead.GetMsg(t.Context(), 1)
			if err == nil {
				if string(m.Data) != "2" {
					t.Errorf("%s is dead", m.Data)
				}
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	})
}
