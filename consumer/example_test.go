package consumer_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
)

// A worker that books the orders of the regions that it owns.
func ExampleNewDurable() { //nolint:testableexamples // it needs a server
	if err := work(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func work(ctx context.Context) error {
	nc, err := nats.Connect(nats.DefaultURL, natskv.ConnectOptions()...)
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
	book := func(_ context.Context, m *consumer.Msg) error {
		fmt.Printf("%s: order %d, under token %d\n", m.Partition, m.Sequence, m.Token)
		return nil
	}
	handler, err := consumer.NewDurable(ctx, js, "orders", "ORDERS", "orders.{partition}", book,
		consumer.AckWait(10*time.Second),
		consumer.MaxDeliver(5), consumer.DeadLetter("dead.orders"))
	if err != nil {
		return err
	}
	regions := source.Static(parti.Partition{ID: "eu"}, parti.Partition{ID: "us"})
	mgr, err := parti.NewManager(store, regions, handler, parti.Config{})
	if err != nil {
		return err
	}
	return mgr.Run(ctx)
}

// The same for thousands of customers, each a partition: orders.<customer>.
func ExampleNewCursor() { //nolint:testableexamples // it needs a server
	nc, err := nats.Connect(nats.DefaultURL, natskv.ConnectOptions()...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	handler, err := consumer.NewCursor(context.Background(), js, "orders", "ORDERS", "orders.{partition}",
		func(_ context.Context, m *consumer.Msg) error {
			fmt.Printf("%s: order %d, under token %d\n", m.Partition, m.Sequence, m.Token)
			return nil
		}, consumer.CursorEvery(200*time.Millisecond))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println(handler != nil) // give it to parti.NewManager, as above
}
