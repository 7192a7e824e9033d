package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/consumer"
)

// signs subscribes to the signs of life of a stream's messages. What it returns waits until
// each of so many has given as many as are needed for longer than AckWait.
func (w *world) signs() (wait func(messages int)) {
	w.t.Helper()
	const enough = 4 // they come every third of it
	said := make(chan *nats.Msg, 10_000)
	if _, err := w.site.connect(w.t).ChanSubscribe("$JS.ACK."+w.stream+".>", said); err != nil {
		w.t.Fatal(err)
	}
	counts := map[string]int{} // by message
	return func(messages int) {
		w.t.Helper()
		late := time.After(patience)
		for alive := 0; alive < messages; {
			select {
			case m := <-said:
				if string(m.Data) != "+WPI" {
					continue
				}
				if counts[m.Subject]++; counts[m.Subject] == enough {
					alive++
				}
			case <-late:
				w.t.Fatalf("signs of life came of %d messages, want %d", len(counts), messages)
			}
		}
	}
}

// once fails if a message was given out before.
func once(t *testing.T, m *consumer.Msg) {
	t.Helper()
	if m.Tries != 1 {
		t.Errorf("message %s of %s was given out %d times", m.Data, m.Partition, m.Tries)
	}
}

// Messages that wait for one of the worker's slots are not given out again, however long
// they wait: each is tried once.
func TestWaitForASlot(t *testing.T) {
	t.Parallel()
	for _, s := range sites(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, jetstream.WorkQueuePolicy)
			inHand, finish := make(chan struct{}), make(chan struct{})
			o := w.owner("o", func(_ context.Context, m *consumer.Msg) error {
				once(t, m)
				if m.Partition == "p" {
					close(inHand)
					<-finish
				}
				return nil
			}, consumer.InFlight(3), consumer.InFlightPerWorker(1), consumer.AckWait(5*time.Second))
			o.make("p", "q")
			wait := w.signs()
			w.send("p", 1)
			x := o.run("p", 1)
			<-inHand
			w.send("q", 3)
			y := o.run("q", 1)
			wait(4) // the one in hand, and those that wait
			close(finish)
			w.until("all", func() bool { return w.has("q", 1, 3, true) })
			o.pending("q", 0)
			x.release(t)
			y.release(t)
		})
	}
}

// A message that waits until ownership can be proved is not given out again: it is tried
// once.
func TestWaitForProof(t *testing.T) {
	t.Parallel()
	for _, s := range sites(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, jetstream.WorkQueuePolicy)
			o := w.owner("o", func(_ context.Context, m *consumer.Msg) error {
				once(t, m)
				return nil
			}, consumer.AckWait(5*time.Second))
			o.make("p")
			wait := w.signs()
			w.send("p", 1)
			x := o.run("p", 1)
			w.exactly("p", 1)
			o.pending("p", 0)
			x.fenced.Store(true)
			w.send("p", 1)
			wait(1)
			x.fenced.Store(false)
			w.exactly("p", 2)
			o.pending("p", 0)
			x.release(t)
		})
	}
}
