package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/test/natstest"
)

// bothWays runs a test with durable consumers and with cursors, on a server of its own.
func bothWays(t *testing.T, run func(t *testing.T, js jetstream.JetStream, way string)) {
	t.Helper()
	for _, way := range []string{"Durable", "Cursor"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			run(t, jetStream(t, natstest.Connect(t, natstest.Start(t))), way)
		})
	}
}

// handler is a handler of one of the two ways.
func handler(t *testing.T, js jetstream.JetStream, way, stream, subject string, f consumer.Func, opts ...consumer.Option) parti.Handler {
	t.Helper()
	var h parti.Handler
	var err error
	if way == "Cursor" {
		h, err = consumer.NewCursor(t.Context(), js, "g", stream, subject, f, opts...)
	} else {
		h, err = consumer.NewDurable(t.Context(), js, "g", stream, subject, f, opts...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// giveUp runs partition p until its first message is given up, and says what was told of it.
func giveUp(t *testing.T, js jetstream.JetStream, way, stream, subject string, token uint64) consumer.Trouble {
	t.Helper()
	told := make(chan consumer.Trouble, 100)
	h := handler(t, js, way, stream, subject, func(context.Context, *consumer.Msg) error { return consumer.ErrPermanent },
		consumer.DeadLetter("dead"), consumer.Observe(func(x consumer.Trouble) {
			if x.Sequence > 0 { // others are of the connection
				told <- x
			}
		}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- h.Run(ctx, parti.NewLease(parti.Partition{ID: "p"}, token, t.Context(), func() error { return nil }))
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	select {
	case x := <-told:
		return x
	case <-time.After(patience):
		t.Fatal("nothing is given up")
		return consumer.Trouble{}
	}
}

func makeStreams(t *testing.T, js jetstream.JetStream, all ...jetstream.StreamConfig) {
	t.Helper()
	for _, cfg := range all {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
}

// deadLetters are those that are stored, in order.
func deadLetters(t *testing.T, js jetstream.JetStream) (all []*jetstream.RawStreamMsg) {
	t.Helper()
	s, err := js.Stream(t.Context(), "DEAD")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// A message that its stream has copied from another one can be given up like any other.
func TestDeadLetterOfACopy(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, js jetstream.JetStream, way string) {
		makeStreams(t, js,
			jetstream.StreamConfig{Name: "EDGE", Subjects: []string{"edge.>"}},
			jetstream.StreamConfig{Name: "HUB", Subjects: []string{"hub.>"}, Sources: []*jetstream.StreamSource{{
				Name: "EDGE", SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: "edge.>", Destination: "hub.>"}},
			}}},
			jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead"}})
		if _, err := js.Publish(t.Context(), "edge.p", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if x := giveUp(t, js, way, "HUB", "hub.{partition}", 1); !x.Dead {
			t.Error(x.Err)
		}
		if all := deadLetters(t, js); len(all) != 1 || string(all[0].Data) != "x" || all[0].Header.Get("Nats-Stream-Source") != "" {
			t.Errorf("%v", all)
		}
	})
}

// A stream that is made anew gives the same sequences out again: each of their messages
// has a dead letter of its own.
func TestDeadLettersOfAStreamMadeAnew(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, js jetstream.JetStream, way string) {
		makeStreams(t, js, jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead"}})
		for generation := range 2 {
			makeStreams(t, js, jetstream.StreamConfig{Name: "IN", Subjects: []string{"in.>"}})
			if _, err := js.Publish(t.Context(), "in.p", []byte(strconv.Itoa(generation))); err != nil {
				t.Fatal(err)
			}
			if x := giveUp(t, js, way, "IN", "in.{partition}", uint64(generation+1)); !x.Dead || x.Sequence != 1 {
				t.Errorf("%+v", x)
			}
			if err := js.DeleteStream(t.Context(), "IN"); err != nil {
				t.Fatal(err)
			}
		}
		if all := deadLetters(t, js); len(all) != 2 || string(all[0].Data) != "0" || string(all[1].Data) != "1" {
			t.Errorf("%v", all)
		}
	})
}

// A message that is too large with its reason for the server, or for the stream of dead
// letters, goes there without its data, and says how much that was.
func TestDeadLetterTooLarge(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, js jetstream.JetStream, way string) {
		payload := int(js.Conn().MaxPayload())
		makeStreams(t, js, jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead"}})
		for i, c := range []struct {
			most, size int
			dropped    string
		}{
			{-1, payload - 100, strconv.Itoa(payload - 100)},
			{4096, 4096, "4096"},
			{4096, 1024, ""},
		} {
			stream, subject := fmt.Sprint("IN", i), fmt.Sprint("in", i)
			makeStreams(t, js, jetstream.StreamConfig{Name: stream, Subjects: []string{subject + ".*"}})
			if _, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead"}, MaxMsgSize: int32(c.most)}); err != nil {
				t.Fatal(err)
			}
			m := nats.NewMsg(subject + ".p")
			m.Data = make([]byte, c.size)
			m.Header.Set("X-Own", "kept")
			if _, err := js.PublishMsg(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if x := giveUp(t, js, way, stream, subject+".{partition}", 1); !x.Dead {
				t.Error(x.Err)
			}
			left := c.size
			if c.dropped != "" {
				left = 0
			}
			all := deadLetters(t, js)
			if len(all) != i+1 {
				t.Fatalf("%d bytes of %d: %d letters", c.size, c.most, len(all))
			}
			if h := all[i].Header; len(all[i].Data) != left || h.Get(consumer.HeaderDropped) != c.dropped || h.Get("X-Own") != "kept" {
				t.Errorf("%d bytes of %d: %v", c.size, c.most, h)
			}
		}
	})
}

// A message that was in hand when owners were lost, but not for it, is tried by the next one
// all the same, however few tries there may be; so it is by the one after the next.
func TestCursorInHandByChance(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		dead, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: w.stream + "-DEAD", Subjects: []string{w.stream + ".dead"}})
		if err != nil {
			t.Fatal(err)
		}
		opts := []consumer.Option{consumer.DeadLetter(w.stream + ".dead"), consumer.MaxDeliver(1), consumer.CursorEvery(10 * time.Millisecond)}
		w.send("p", 3)
		for token := uint64(1); token <= 2; token++ {
			a := w.owner("a", func(ctx context.Context, m *consumer.Msg) error {
				if string(m.Data) == "2" {
					<-ctx.Done()
				}
				return nil
			}, opts...)
			x := a.run("p", token)
			w.until("it is in hand", func() bool { return len(w.got["p"]) == 1+int(token) })
			w.cursorIs("p", func(c cursor) bool { return c.token == strconv.FormatUint(token, 10) && c.Trying == 2 && c.Tries == 1 })
			a.nc.Close()
			x.hard(parti.ErrFenced)
			x.over()
		}
		y := w.owner("b", nil, opts...).run("p", 3)
		w.until("the last", func() bool { return w.has("p", 3, 3, true) })
		y.release(t)
		w.mu.Lock()
		if want := []string{"a", "a", "a", "b", "b"}; !slices.Equal(w.got["p"], []int{1, 2, 2, 2, 3}) || !slices.Equal(w.where, want) {
			t.Errorf("%v by %v", w.got["p"], w.where)
		}
		w.mu.Unlock()
		if info, err := dead.Info(t.Context()); err != nil || info.State.Msgs > 0 {
			t.Errorf("%v, %v", info, err)
		}
	})
}

// While dead letters cannot be stored a message may be given out as often as one that kills
// its owners: it is buried with its own error all the same, and not tried more often than
// it may be where tries are counted here.
func TestDeadLetterKeepsItsReason(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		cfg := jetstream.StreamConfig{Name: w.stream + "-DEAD", Subjects: []string{w.stream + ".dead"}, Storage: jetstream.MemoryStorage}
		if _, err := w.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		refused, buried := make(chan struct{}, 1000), make(chan struct{})
		a := w.owner("a", func(context.Context, *consumer.Msg) error { return errors.New("no such account") },
			consumer.DeadLetter(w.stream+".dead"), consumer.MaxDeliver(2), consumer.BackOff(10*time.Millisecond),
			consumer.Observe(func(x consumer.Trouble) {
				switch {
				case x.Dead:
					close(buried)
				case x.Sequence > 0:
					refused <- struct{}{}
				}
			}))
		a.make("p")
		if err := w.js.DeleteStream(t.Context(), cfg.Name); err != nil {
			t.Fatal(err)
		}
		w.send("p", 1)
		x := a.run("p", 1)
		for range 10 { // twice as often as it may be tried, and three times, and more
			<-refused
		}
		dead, err := w.js.CreateStream(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-buried:
		case <-time.After(patience):
			t.Fatal("it is not buried")
		}
		x.release(t)
		m, err := dead.GetMsg(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Header.Get(consumer.HeaderReason); got != "no such account" {
			t.Error(got)
		}
		if n := len(w.got["p"]); w.cursors && (n != 2 || m.Header.Get(consumer.HeaderTries) != "2") {
			t.Errorf("it was tried %d times, and says %s", n, m.Header.Get(consumer.HeaderTries))
		}
	})
}
