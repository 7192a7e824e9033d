package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/test/natstest"
)

// A stranger is one of several cursors that share a bucket.
type stranger struct {
	t      *testing.T
	cursor *consumer.Cursor
	came   chan string
}

func newStranger(t *testing.T, js jetstream.JetStream, group, subject string) *stranger {
	t.Helper()
	return newStrangerOf(t, js, group, "S", subject)
}

func newStrangerOf(t *testing.T, js jetstream.JetStream, group, stream, subject string, opts ...consumer.Option) *stranger {
	t.Helper()
	const room = 100
	s := &stranger{t: t, came: make(chan string, room)}
	var err error
	opts = append([]consumer.Option{consumer.CursorBucket("shared"), consumer.CursorEvery(0)}, opts...)
	s.cursor, err = consumer.NewCursor(t.Context(), js, group, stream, subject, func(_ context.Context, m *consumer.Msg) error {
		s.came <- string(m.Data)
		return nil
	}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs partition p until stop.
func (s *stranger) run(token uint64) (<-chan error, context.CancelFunc) {
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.cursor.Run(ctx, parti.NewLease(parti.Partition{ID: "p"}, token, s.t.Context(), func() error { return nil }))
	}()
	return ended, cancel
}

// gets waits for the next message.
func (s *stranger) gets(want string) {
	s.t.Helper()
	select {
	case got := <-s.came:
		if got != want {
			s.t.Errorf("%s, want %s", got, want)
		}
	case <-time.After(patience):
		s.t.Fatalf("%s does not come", want)
	}
}

// Two groups, or two subjects, never share a cursor, and hear whose it is. One that does not
// say whose it is, is of who claims it.
func TestCursorsAreNotShared(t *testing.T) {
	t.Parallel()
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	makeStreams(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	publish := func(text string) {
		t.Helper()
		if _, err := js.Publish(t.Context(), "s.p.x", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	a := newStranger(t, js, "a", "s.{partition}.x")
	publish("1")
	ended, stop := a.run(1)
	a.gets("1")
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	b, c := newStranger(t, js, "b", "s.{partition}.x"), newStranger(t, js, "a", "s.{partition}.>")
	for s, want := range map[*stranger]string{
		b: "is the cursor of group a with subject s.{partition}.x, and this is group b with subject s.{partition}.x;",
		c: "is the cursor of group a with subject s.{partition}.x, and this is group a with subject s.{partition}.>;",
	} {
		ended, stop := s.run(2)
		err := <-ended
		stop()
		var other *consumer.CursorError
		if !errors.As(err, &other) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nats kv del shared S.p") {
			t.Errorf("%v, want %s", err, want)
		}
		if n, err := s.cursor.Pending(t.Context(), "p"); !errors.As(err, &other) {
			t.Errorf("%d, %v", n, err)
		}
		if left, err := s.cursor.Sweep(t.Context(), []parti.Partition{{ID: "q"}}, consumer.MinGrace); err != nil || len(left) > 0 {
			t.Errorf("%v, %v", left, err)
		}
	}

	// As an older build has written it.
	kv, err := js.KeyValue(t.Context(), "shared")
	if err != nil {
		t.Fatal(err)
	}
	rewrite := func(change func(rec map[string]any)) {
		t.Helper()
		e, err := kv.Get(t.Context(), "S.p")
		if err != nil {
			t.Fatal(err)
		}
		rec := map[string]any{}
		if err := json.Unmarshal(e.Value(), &rec); err != nil {
			t.Fatal(err)
		}
		change(rec)
		data, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), "S.p", data); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(func(rec map[string]any) {
		if rec["group"] != "a" || rec["subject"] != "s.{partition}.x" {
			t.Errorf("%v", rec)
		}
		delete(rec, "group")
		delete(rec, "subject")
	})
	publish("2")
	ended, stop = b.run(3)
	defer stop()
	b.gets("2") // it goes on where the cursor is

	// Somebody takes it away.
	rewrite(func(rec map[string]any) {
		if rec["group"] != "b" {
			t.Errorf("%v", rec)
		}
		rec["group"] = "a"
	})
	publish("3")
	select {
	case err := <-ended:
		if !errors.As(err, new(*consumer.CursorError)) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
}
