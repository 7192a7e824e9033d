package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/test/natstest"
)

// The node goes that alone has a consumer, while the stream has its quorum: whoever asks
// hears 503, or nothing, and never that there is no such consumer. It is waited for: one
// made anew would give again what was given. (Only where the stream has limits may a
// consumer have fewer replicas than its stream.)
func TestConsumerWithoutQuorum(t *testing.T) {
	t.Parallel()
	three := natstest.StartCluster(t, 3)
	w := newWorldOf(t, site{"three", 3, func(t *testing.T, opts ...nats.Option) *nats.Conn {
		t.Helper()
		return three.Connect(t, 0, opts...)
	}}, jetstream.LimitsPolicy, jetstream.FileStorage)
	w.owner("a", nil).keep(t, "p", 1)
	w.send("p", 5)
	w.exactly("p", 5)
	stream, err := w.js.Stream(t.Context(), w.stream)
	if err != nil {
		t.Fatal(err)
	}
	w.acknowledged(stream)

	name := ""
	for name = range stream.ConsumerNames(t.Context()).Name() { //nolint:revive // there is one
	}
	alone := func() *jetstream.ConsumerInfo {
		c, err := stream.Consumer(t.Context(), name)
		if err != nil {
			return nil // nobody leads for a moment
		}
		info := c.CachedInfo()
		if cfg := info.Config; cfg.Replicas != 1 {
			cfg.Replicas = 1
			_, _ = stream.UpdateConsumer(t.Context(), cfg) // or again
			return nil
		}
		if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) > 0 {
			return nil
		}
		return info
	}
	only := alone()
	for again := time.NewTicker(20 * time.Millisecond); only == nil; only = alone() {
		select {
		case <-again.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	i := slices.IndexFunc(three.Nodes, func(ns *server.Server) bool { return ns.Name() == only.Cluster.Leader })
	t.Logf("%s has it alone", only.Cluster.Leader)
	natstest.Stop(three.Nodes[i])

	w.send("p", 5) // the stream has a quorum
	for tries := 0; tries < 5; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		c, err := w.js.Consumer(ctx, w.stream, only.Name)
		if err == nil {
			_, err = c.Info(ctx)
		}
		if err != nil {
			tries++
		}
		cancel()
	}
	w.mu.Lock()
	if n := len(w.got["p"]); n != 5 {
		t.Errorf("%d messages came, and nobody can have given them", n)
	}
	w.mu.Unlock()
	three.Restart(t, i)
	three.Await(t)
	w.send("p", 5)
	w.exactly("p", 15)
	var names []string
	for name := range stream.ConsumerNames(t.Context()).Name() {
		names = append(names, name)
	}
	if fmt.Sprint(names) != fmt.Sprint([]string{only.Name}) {
		t.Errorf("the stream has the consumers %v, want %s alone", names, only.Name)
	}
}
