package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/test/natstest"
)

// Markers go in silence, and leave no marker of their own.
func TestMarkersGo(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := open(t, natstest.NewLink(natstest.InBubble(t)).Connect(t, natskv.ConnectOptions()...), "g")
		ctx, cancel := context.WithCancel(t.Context())
		var told []string
		ready, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- s.Follow(ctx, []string{""}, func() { close(ready) }, func(e kv.Entry) {
				told = append(told, fmt.Sprint(e.Key, " ", e.Gone))
			})
		}()
		<-ready
		write := func(w kv.Write) kv.Rev {
			t.Helper()
			rev, err := s.Write(ctx, w)
			if err != nil {
				t.Fatal(err)
			}
			return rev
		}
		write(kv.Write{Key: "expires", TTL: 10 * time.Second})
		write(kv.Write{Key: "removed", Remove: true, Last: write(kv.Write{Key: "removed"})})
		time.Sleep(30 * time.Second)
		for _, key := range []string{"expires", "removed"} {
			if e, err := s.Get(ctx, key); !errors.Is(err, kv.ErrMissing) || e.Rev == 0 {
				t.Errorf("%s: %+v, %v; want a marker", key, e, err)
			}
		}
		time.Sleep(3 * time.Minute)
		for _, key := range []string{"expires", "removed"} {
			if e, err := s.Get(ctx, key); !errors.Is(err, kv.ErrMissing) || e.Rev != 0 {
				t.Errorf("%s: %+v, %v; want nothing at all", key, e, err)
			}
			write(kv.Write{Key: key})
		}
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		want := []string{"expires false", "removed false", "removed true", "expires true", "expires false", "removed false"}
		if !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

// A connection that swallows everything: writes are unknown, and the client finds out.
func TestBlackHole(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		l := natstest.NewLink(natstest.InBubble(t))
		s := open(t, l.Connect(t, natskv.ConnectOptions()...), "g")
		ready, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- s.Follow(t.Context(), []string{""}, func() { close(ready) }, func(kv.Entry) {}) }()
		<-ready
		began := time.Now()
		l.Freeze()
		_, err := s.Write(t.Context(), kv.Write{Key: "a"})
		if took := time.Since(began); !errors.Is(err, kv.ErrUnknown) || took > 3*time.Second {
			t.Errorf("a write into the hole: %v after %v", err, took)
		}
		if _, err := s.Get(t.Context(), "a"); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("a read from the hole: %v", err)
		}
		if err := <-done; !errors.Is(err, kv.ErrHole) {
			t.Errorf("the follow: %v", err)
		}
		if took := time.Since(began); took > 9*time.Second {
			t.Errorf("noticed after %v", took)
		}
		l.Mend()
		awaitUp(t, s)
		if _, err := s.Write(t.Context(), kv.Write{Key: "b"}); err != nil {
			t.Error(err)
		}
	})
}
