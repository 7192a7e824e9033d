package memkv_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/memkv"
)

// BenchmarkRenewal is one renewal of a session with a TTL among 1 000, each of
// whom follows the plan and its own slice, and one of whom follows all sessions.
func BenchmarkRenewal(b *testing.B) {
	s := memkv.New()
	defer s.Close()
	ctx, cancel := context.WithCancel(b.Context())
	const fleet = 1000
	var ended []chan struct{}
	follow := func(c *memkv.Client, prefixes ...string) {
		ready, end := make(chan struct{}), make(chan struct{})
		ended = append(ended, end)
		go func() {
			defer close(end)
			_ = c.Follow(ctx, prefixes, func() { close(ready) }, func(kv.Entry) {})
		}()
		<-ready
	}
	var clients [fleet]*memkv.Client
	var keys [fleet]string
	var revs [fleet]kv.Rev
	for i := range fleet {
		clients[i] = s.Client(fmt.Sprint(i))
		keys[i] = fmt.Sprintf("session.worker-%d", i)
		follow(clients[i], "leader", "plan", fmt.Sprintf("slice.worker-%d", i))
	}
	follow(clients[0], "session.")
	value := make([]byte, 400)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		rev, err := clients[i].Write(ctx, kv.Write{Key: keys[i], Value: value, Last: revs[i], TTL: 75 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		revs[i] = rev
		i = (i + 1) % fleet
	}
	cancel()
	for _, end := range ended {
		<-end
	}
}

// A fleet of 1 000 for two minutes of fake time: 120 000 renewals.
func TestFleetIsCheap(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	began := time.Now()
	const fleet, minutes = 1000, 2
	synctest.Test(t, func(t *testing.T) {
		s := memkv.New()
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), minutes*time.Minute)
		defer cancel()
		for i := range fleet {
			c := s.Client(fmt.Sprint(i))
			go func() {
				tick := time.NewTicker(time.Second)
				defer tick.Stop()
				var rev kv.Rev
				for {
					var err error
					rev, err = c.Write(context.Background(), kv.Write{Key: fmt.Sprintf("session.%d", i), Last: rev, TTL: 15 * time.Second})
					if err != nil {
						t.Error(err)
						return
					}
					select {
					case <-tick.C:
					case <-ctx.Done():
						return
					}
				}
			}()
		}
		<-ctx.Done()
		synctest.Wait()
	})
	t.Logf("%d workers for %d minutes of fake time took %v", fleet, minutes, time.Since(began))
}
