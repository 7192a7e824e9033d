package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/fence"
)

// A function that finds a later lease ends the run, and its message is neither given up nor
// counted, also where it says that no try will help; unless it finds one again and again
// while the lease goes on: then it is for the message, and what comes after it goes on.
func TestFunctionIsFenced(t *testing.T) {
	t.Parallel()
	const believed = 3
	for _, last := range []error{nil, fence.Rows(noRows{}, nil)} {
		t.Run(fmt.Sprint("in the end ", last), func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, js jetstream.JetStream, way string) {
				makeStreams(t, js, jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead"}}, jetstream.StreamConfig{Name: "IN", Subjects: []string{"in.>"}})
				for range 2 {
					if _, err := js.Publish(t.Context(), "in.p", nil); err != nil {
						t.Fatal(err)
					}
				}
				var ended atomic.Int64
				told := make(chan int, 20)
				through := make(chan struct{})
				h := handler(t, js, way, "IN", "in.{partition}", func(_ context.Context, m *consumer.Msg) error {
					if m.Sequence == 2 {
						close(through)
						return nil
					}
					told <- m.Tries
					switch ended.Load() {
					case believed - 1:
						return errors.Join(consumer.ErrPermanent, fence.ErrFenced)
					case believed:
						return last
					default:
						return fmt.Errorf("write it: %w", &fence.TokenError{What: "there", Have: 2, Mine: 1})
					}
				}, consumer.DeadLetter("dead"), consumer.MaxDeliver(1))
				lease := parti.NewLease(parti.Partition{ID: "p"}, 1, t.Context(), nil)
				is := func(calls int) {
					t.Helper()
					if len(told) != calls {
						t.Errorf("run %d: called %d times, want %d", ended.Load(), len(told), calls)
					}
					for len(told) > 0 {
						if tries := <-told; tries != 1 {
							t.Errorf("run %d: it is try %d", ended.Load(), tries)
						}
					}
				}
				for ; ended.Load() < believed; ended.Add(1) {
					if err := h.Run(t.Context(), lease); !errors.Is(err, fence.ErrFenced) || !errors.Is(err, parti.ErrFenced) {
						t.Fatalf("run %d: %v", ended.Load(), err)
					}
					is(2)
				}
				ctx, stop := context.WithCancel(t.Context())
				over := make(chan error, 1)
				go func() { over <- h.Run(ctx, lease) }()
				select {
				case <-through:
				case <-time.After(patience):
					t.Error("it does not get on")
				}
				stop()
				if err := <-over; err != nil {
					t.Error(err)
				}
				if last == nil {
					is(1)
				} else {
					is(2)
				}
				switch all := deadLetters(t, js); {
				case last == nil && len(all) > 0:
					t.Errorf("%v", all)
				case last != nil && (len(all) != 1 || all[0].Header.Get(consumer.HeaderReason) != last.Error()):
					t.Errorf("%v", all)
				}
			})
		})
	}
}

// A function that says that ownership cannot be proved is called again when it can, in the
// same run, and that does not count.
func TestFunctionLacksProof(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, js jetstream.JetStream, way string) {
		makeStreams(t, js, jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead"}}, jetstream.StreamConfig{Name: "IN", Subjects: []string{"in.>"}})
		if _, err := js.Publish(t.Context(), "in.p", nil); err != nil {
			t.Fatal(err)
		}
		const runs = 8
		var (
			isolated atomic.Bool
			calls    atomic.Int64
			troubles atomic.Int64
		)
		over := make(chan int, 1)
		h := handler(t, js, way, "IN", "in.{partition}", func(_ context.Context, m *consumer.Msg) error {
			if n := calls.Add(1); n <= runs {
				isolated.Store(true)
				err := m.Check()
				isolated.Store(n%2 == 0) // or the proof comes while it returns
				return err
			}
			over <- m.Tries
			return nil
		}, consumer.DeadLetter("dead"), consumer.MaxDeliver(1), consumer.Observe(func(x consumer.Trouble) {
			if x.Sequence > 0 && errors.Is(x.Err, parti.ErrFenced) {
				troubles.Add(1)
				isolated.Store(false)
			}
		}))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- h.Run(ctx, parti.NewLease(parti.Partition{ID: "p"}, 1, t.Context(), func() error {
				if isolated.Load() {
					return parti.ErrFenced
				}
				return nil
			}))
		}()
		select {
		case tries := <-over:
			if tries != 1 {
				t.Errorf("it is try %d", tries)
			}
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(patience):
			t.Error("it is not tried again")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := troubles.Load(); n != runs {
			t.Errorf("%d were told", n)
		}
		if all := deadLetters(t, js); len(all) > 0 {
			t.Errorf("%v", all)
		}
	})
}

// Who waits for either finds both.
func TestFencedIsFenced(t *testing.T) {
	t.Parallel()
	for _, err := range []error{fence.ErrFenced, &fence.TokenError{}, fence.Rows(noRows{}, nil)} {
		if !errors.Is(err, fence.ErrFenced) || !errors.Is(err, parti.ErrFenced) {
			t.Errorf("%v", err)
		}
	}
	if errors.Is(parti.ErrFenced, fence.ErrFenced) {
		t.Error("not every lost lease is a later one's")
	}
}

type noRows struct{}

func (noRows) LastInsertId() (int64, error) { return 0, nil }
func (noRows) RowsAffected() (int64, error) { return 0, nil }
