package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/test/natstest"
)

// What was removed stays removed, also when the server is killed long after that and finds
// on its disk what was there before.
func TestRemovedStaysRemoved(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		disk, image := t.TempDir(), t.TempDir()
		s := open(t, natstest.NewLink(natstest.InBubble(t, onDisk(disk))).Connect(t, natskv.ConnectOptions()...), "g")
		write := func(w kv.Write) kv.Rev {
			t.Helper()
			rev, err := s.Write(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			return rev
		}
		other := write(kv.Write{Key: "other"})
		write(kv.Write{Key: "removed", Remove: true, Last: write(kv.Write{Key: "removed", Value: []byte("old")})})
		write(kv.Write{Key: "brief", Remove: true, Last: write(kv.Write{Key: "brief", Value: []byte("old")}), TTL: time.Second})
		expires := write(kv.Write{Key: "expires", Value: []byte("old"), TTL: 10 * time.Second})
		write(kv.Write{Key: "expires", Last: expires, TTL: 10 * time.Second})
		for range 90 {
			time.Sleep(time.Second)
			other = write(kv.Write{Key: "other", Last: other})
		}
		if err := os.CopyFS(image, os.DirFS(disk)); err != nil { // what a kill would leave
			t.Fatal(err)
		}
		killed := open(t, natstest.NewLink(natstest.InBubble(t, onDisk(image))).Connect(t, natskv.ConnectOptions()...), "g")
		if e, err := killed.Get(t.Context(), "removed"); !errors.Is(err, kv.ErrMissing) {
			t.Errorf("it is there again: %q, %v", e.Value, err)
		}
		time.Sleep(time.Second) // what had expired is there as well, but has its time with it
		if e, err := killed.Get(t.Context(), "expires"); !errors.Is(err, kv.ErrMissing) {
			t.Errorf("what had expired stays: %q, %v", e.Value, err)
		}
		e, err := killed.Get(t.Context(), "brief")
		t.Logf("of one whose marker had gone: %q, %v", e.Value, err)
	})
}

func onDisk(dir string) natstest.Options {
	return func(o *server.Options) { o.StoreDir = dir }
}

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
		write(kv.Write{Key: "removed", Remove: true, Last: write(kv.Write{Key: "removed"}), TTL: time.Minute})
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

// A bucket with one replica is offline while its server of a cluster restarts: that passes.
// The others of the cluster say so.
func TestBucketIsOffline(t *testing.T) {
	for _, passes := range []bool{true, false} {
		t.Run(fmt.Sprint(passes), func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				link := natstest.NewLink(natstest.InBubble(t))
				open(t, link.Connect(t), "g", natskv.WithMemory())
				api := link.Connect(t)
				asked := 0
				if _, err := api.Subscribe("AWAY.API.STREAM.INFO.>", func(m *nats.Msg) {
					if asked++; asked <= 3 || !passes {
						_ = m.Respond([]byte(`{"error":{"code":500,"err_code":10118,"description":"stream is offline"}}`))
						return
					}
					_ = api.PublishRequest("$JS.API."+strings.TrimPrefix(m.Subject, "AWAY.API."), m.Reply, m.Data)
				}); err != nil {
					t.Fatal(err)
				}
				if err := api.Flush(); err != nil {
					t.Fatal(err)
				}
				js, err := jetstream.NewWithAPIPrefix(link.Connect(t), "AWAY.API")
				if err != nil {
					t.Fatal(err)
				}
				s, err := natskv.Open(t.Context(), js, "g")
				if passes {
					if err != nil {
						t.Fatal(err)
					}
					s.Close()
					return
				}
				if !errors.Is(err, natskv.ErrUnavailable) || !strings.Contains(err.Error(), "stream is offline") {
					t.Errorf("%v", err)
				}
				all, err := natskv.Inspect(t.Context(), js, "g")
				found(t, all, err).have("replicas", kv.Wrong, "the stream KV_parti-g is offline")
			})
		})
	}
}

// A leader that answers once, and then not, is told of, and how far it is.
func TestInspectNoSecondAnswer(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		link := natstest.NewLink(natstest.InBubble(t))
		api := link.Connect(t)
		asked := 0
		if _, err := api.Subscribe("MUTE.API.STREAM.INFO.>", func(m *nats.Msg) {
			if asked++; asked == 1 {
				_ = m.Respond([]byte(`{"config":{"metadata":{"_nats.level":"2"}}}`))
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := api.Flush(); err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.NewWithAPIPrefix(link.Connect(t), "MUTE.API")
		if err != nil {
			t.Fatal(err)
		}
		all, err := natskv.Inspect(t.Context(), js, "orders")
		f := found(t, all, err)
		f.have("bucket", kv.Warn, "has answered, and then not", "no answer in time")
		f.have("bucket", kv.Fine, "answers within")
		f.have("server", kv.Fine, "API level 2")
	})
}
