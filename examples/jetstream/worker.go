package main

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
)

// work is the life of one worker: all there is to write.
func work(ctx context.Context, url string) error {
	nc, err := nats.Connect(url, natskv.ConnectOptions()...)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	store, err := natskv.Open(ctx, js, "orders")
	if err != nil {
		return err
	}
	defer store.Close()

	handler, err := consumer.NewDurable(ctx, js, "orders", "ORDERS", "orders.{partition}",
		func(ctx context.Context, m *consumer.Msg) error {
			done := nats.NewMsg("done." + m.Partition)
			done.Data = m.Data
			done.Header.Set("Parti-Token", strconv.FormatUint(m.Token, 10))
			_, err := js.PublishMsg(ctx, done)
			return err
		})
	if err != nil {
		return err
	}
	var all []parti.Partition
	for n := range regions {
		all = append(all, parti.Partition{ID: region(n)})
	}
	mgr, err := parti.NewManager(store, source.Static(all...), handler, parti.Config{ExpectedWorkers: workers},
		parti.WithLogger(slog.New(slog.DiscardHandler))) // main tells the story
	if err != nil {
		return err
	}
	return mgr.Run(ctx)
}
