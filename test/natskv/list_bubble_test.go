package natskv_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/test/natstest"
)

// A relay stands between a store and JetStream, and loses reads of keys.
type relay struct {
	link  *natstest.Link
	loses func(key string) bool // called by one goroutine
	reads atomic.Int64
}

// open opens the group's store by way of the relay.
func (r *relay) open(t *testing.T) *natskv.Store {
	t.Helper()
	const prefix = "relay"
	to := r.link.Connect(t)
	if _, err := to.Subscribe(prefix+".>", func(m *nats.Msg) {
		subject := strings.TrimPrefix(m.Subject, prefix+".")
		if strings.HasPrefix(subject, "STREAM.MSG.GET.") {
			var read struct {
				Last string `json:"last_by_subj"`
			}
			r.reads.Add(1)
			if err := json.Unmarshal(m.Data, &read); err != nil || r.loses(read.Last[strings.LastIndex(read.Last, ".")+1:]) {
				return
			}
		}
		if !strings.HasPrefix(subject, "$KV.") {
			subject = "$JS.API." + subject
		}
		_ = to.PublishMsg(&nats.Msg{Subject: subject, Reply: m.Reply, Header: m.Header, Data: m.Data})
	}); err != nil {
		t.Fatal(err)
	}
	if err := to.Flush(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.NewWithAPIPrefix(r.link.Connect(t, natskv.ConnectOptions()...), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return openOn(t, js, "g")
}

// filled makes a bucket of n keys in the bubble of the caller.
func filled(t *testing.T, n int) *natstest.Link {
	t.Helper()
	l := natstest.NewLink(natstest.InBubble(t))
	s := open(t, l.Connect(t, natskv.ConnectOptions()...), "g", natskv.WithMemory())
	ws := make([]kv.Write, n)
	for i := range ws {
		ws[i] = kv.Write{Key: fmt.Sprintf("k.%03d", i), Value: []byte("x")}
	}
	if _, err := s.Commit(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
	return l
}

// A listing of many keys is whole although some answers do not come, even when all that are
// under way are lost at once.
func TestListOverLostAnswers(t *testing.T) {
	for name, loses := range map[string]func(nth int) bool{
		"each eighth": func(nth int) bool { return nth%8 == 0 },
		"forty":       func(nth int) bool { return nth > 100 && nth <= 140 },
	} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				nth := 0
				r := &relay{link: filled(t, 200), loses: func(string) bool { nth++; return loses(nth) }}
				s := r.open(t)
				began := time.Now()
				es, _, err := s.List(t.Context(), "k.")
				if err != nil || len(es) != 200 {
					t.Errorf("%d of 200 keys, %v", len(es), err)
				}
				t.Logf("%d reads in %v", r.reads.Load(), time.Since(began))
			})
		})
	}
}

// A key that is never answered for ends a listing with its context, or after thirty seconds;
// and while it waits for that one, it asks for nothing else.
func TestListEnds(t *testing.T) {
	for name, c := range map[string]struct {
		most, took time.Duration
		err        error
	}{
		"with its context": {5 * time.Second, 5 * time.Second, context.DeadlineExceeded},
		"by itself":        {time.Hour, 30 * time.Second, kv.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				r := &relay{link: filled(t, 50), loses: func(key string) bool { return key == "007" }}
				s := r.open(t)
				ctx, cancel := context.WithTimeout(t.Context(), c.most)
				defer cancel()
				began := time.Now()
				_, _, err := s.List(ctx, "k.")
				if took := time.Since(began).Round(time.Second); !errors.Is(err, c.err) || took != c.took {
					t.Errorf("%v after %v, want %v after %v", err, took, c.err, c.took)
				}
				if n := r.reads.Load(); n > 50+15 {
					t.Errorf("%d reads of 50 keys, want each once and one again every two seconds", n)
				}
			})
		})
	}
}

// A listing ends at once when the connection is interrupted, since a new one has to be taken.
func TestListIsInterrupted(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := &relay{link: filled(t, 50)}
		r.loses = func(key string) bool {
			if key == "030" {
				go r.link.Cut()
			}
			return key == "030"
		}
		s := r.open(t)
		began := time.Now()
		if _, _, err := s.List(t.Context(), "k."); !errors.Is(err, kv.ErrUnavailable) || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
