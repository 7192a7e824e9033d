package parti_test

import (
	"context"
	"errors"
	"fmt"
	"log" //nolint:depguard // what a program of one page does
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
)

// A whole program. Start it as often as you like, anywhere.
//
//nolint:gocritic,testableexamples // when it fails, the process ends; it needs a server
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	nc, err := nats.Connect(nats.DefaultURL, natskv.ConnectOptions()...)
	if err != nil { // such as of a URL or of credentials; for a server that is away it waits
		log.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	store, err := natskv.Open(ctx, js, "orders") // creates the bucket if it is not there
	if err != nil {
		log.Fatal(err)
	}
	tools := source.Static(parti.Partition{ID: "tool-001"}, parti.Partition{ID: "tool-002", Weight: 5})
	mgr, err := parti.NewManager(store, tools, parti.HandlerFunc(run), parti.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := mgr.Run(ctx); err != nil { // nil after a clean stop
		log.Fatal(err)
	}
}

// run works on one partition until ctx ends. Its return is the release: nobody else
// starts before it.
func run(ctx context.Context, l parti.Lease) error {
	<-ctx.Done() // stop taking work; finish what is in hand under l.Hard(); return
	return nil
}

// inMemory is a store for the examples below.
func inMemory() (store parti.Store, done func()) {
	server := memkv.New()
	return server.Client("example"), server.Close
}

// Start and Stop instead of Run, for a program that has a life of its own.
func ExampleManager_Start() {
	store, done := inMemory()
	defer done()
	running := make(chan struct{})
	handler := parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		fmt.Println("running", l.Partition.ID)
		close(running)
		<-ctx.Done()
		fmt.Println("returning:", context.Cause(ctx))
		return nil
	})
	mgr, err := parti.NewManager(store, source.Static(parti.Partition{ID: "tool-001"}), handler, parti.Config{ExpectedWorkers: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	if err := mgr.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready")
	<-running
	if err := mgr.Stop(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(mgr.State())
	// Unordered output:
	// running tool-001
	// ready
	// returning: parti: worker is stopping
	// Stopped
}

// An observer sees every event, in order.
func ExampleWithObserver() {
	store, done := inMemory()
	defer done()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	mgr, err := parti.NewManager(store, source.Static(parti.Partition{ID: "tool-001"}), parti.HandlerFunc(run),
		parti.Config{ExpectedWorkers: 1},
		parti.WithObserver(func(e parti.Event) {
			switch e := e.(type) {
			case event.StateChanged:
				fmt.Println(e.From, "to", e.To)
			case event.Assigned:
				fmt.Println("assigned", e.Partition.ID)
				stop()
			case event.Released:
				fmt.Println("released", e.Partition)
			}
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := mgr.Run(ctx); err != nil {
		fmt.Println(err)
		return
	}
	// Output:
	// Init to ClaimingID
	// ClaimingID to WaitingAssignment
	// assigned tool-001
	// WaitingAssignment to Stable
	// Stable to ShuttingDown
	// released tool-001
	// ShuttingDown to Stopped
}

// Hooks tell of changes; Stop may be called from one.
func ExampleWithHooks() {
	store, done := inMemory()
	defer done()
	var mgr *parti.Manager
	hooks := parti.Hooks{
		OnAssignmentChanged: func(ctx context.Context, added, removed []parti.Partition) error {
			fmt.Println(len(added), "added,", len(removed), "removed")
			if len(added) > 0 {
				return mgr.Stop(ctx)
			}
			return nil
		},
	}
	var err error
	mgr, err = parti.NewManager(store, source.Static(parti.Partition{ID: "a"}, parti.Partition{ID: "b"}), parti.HandlerFunc(run),
		parti.Config{ExpectedWorkers: 1}, parti.WithHooks(hooks))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := mgr.Run(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	// Output:
	// 2 added, 0 removed
	// 0 added, 2 removed
}

// All mistakes in a Config are reported at once.
func ExampleConfigError() {
	store, done := inMemory()
	defer done()
	_, err := parti.NewManager(store, source.Static(), parti.HandlerFunc(run), parti.Config{SessionTTL: 1, MaxWorkers: -1})
	fmt.Println(err)
	var one *parti.ConfigError
	fmt.Println(errors.As(err, &one), one.Field)
	// Output:
	// parti: MaxWorkers is -1; it must be from 1 to 65536
	// parti: SessionTTL is 1ns; it must be whole seconds from 2s to 10m
	// true MaxWorkers
}
