package consumer_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
)

// Where a stream has its messages from others, or stores them under other subjects than
// they come with, they are consumed under those that they have there; what it can never
// have is refused.
func TestSubjectsThatAStreamIsNotPublishedTo(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, js jetstream.JetStream, way string) {
		makeStreams(t, js,
			jetstream.StreamConfig{Name: "EDGE", Subjects: []string{"edge.*"}},
			jetstream.StreamConfig{Name: "MIRROR", Mirror: &jetstream.StreamSource{Name: "EDGE"}},
			jetstream.StreamConfig{Name: "SOURCES", Sources: []*jetstream.StreamSource{{Name: "EDGE"}}},
			jetstream.StreamConfig{Name: "MORE", Subjects: []string{"more.*"}, Sources: []*jetstream.StreamSource{{Name: "EDGE"}}},
			jetstream.StreamConfig{
				Name: "TRANSFORM", Subjects: []string{"in.*"},
				SubjectTransform: &jetstream.SubjectTransformConfig{Source: "in.*", Destination: "in.{{wildcard(1)}}.{{partition(1,1)}}"},
			})
		for _, subject := range []string{"edge.p", "in.p"} {
			if _, err := js.Publish(t.Context(), subject, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct{ stream, subject, has string }{
			{"MIRROR", "edge.{partition}", "edge.p"},
			{"SOURCES", "edge.{partition}", "edge.p"},
			{"MORE", "edge.{partition}", "edge.p"},
			{"TRANSFORM", "in.{partition}.*", "in.p.0"},
		} {
			came := make(chan string, 1)
			h := handler(t, js, way, c.stream, c.subject, func(_ context.Context, m *consumer.Msg) error {
				came <- m.Subject
				return nil
			})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- h.Run(ctx, parti.NewLease(parti.Partition{ID: "p"}, 1, t.Context(), func() error { return nil }))
			}()
			select {
			case got := <-came:
				if got != c.has {
					t.Errorf("%s: %s, want %s", c.stream, got, c.has)
				}
			case <-time.After(patience):
				t.Errorf("%s: nothing comes", c.stream)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		_, err := consumer.NewDurable(t.Context(), js, "g", "TRANSFORM", "out.{partition}", func(context.Context, *consumer.Msg) error { return nil })
		var no *consumer.StreamError
		if !errors.As(err, &no) || !strings.Contains(err.Error(), "does not have the subjects out.{partition}, but in.*, in.*.*") {
			t.Error(err)
		}
	})
}
