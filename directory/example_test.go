package directory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/directory"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/source"
)

// inMemory is a store for the examples; in a program it is natskv.Open's.
func inMemory() (store parti.Store, done func()) {
	server := memkv.New()
	return server.Client("example"), server.Close
}

// serve runs one worker, which says where it can be reached, over eight hashed partitions.
func serve(store parti.Store) (stop func()) {
	eight, err := source.Hashed(8)
	if err != nil {
		fmt.Println(err)
	}
	m, err := parti.NewManager(store, eight, parti.HandlerFunc(func(ctx context.Context, _ parti.Lease) error {
		<-ctx.Done()
		return nil
	}), parti.Config{ExpectedWorkers: 1, Labels: map[string]string{"addr": "10.0.0.7:8080"}})
	if err != nil {
		fmt.Println(err)
	}
	if err := m.Start(context.Background()); err != nil {
		fmt.Println(err)
	}
	return func() {
		if err := m.Stop(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
}

// A gateway sends what concerns a customer to whoever owns the customer's partition.
func Example() {
	store, done := inMemory()
	defer done()
	defer serve(store)()

	dir, err := directory.Open(context.Background(), store)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dir.Close()

	owner, ok := dir.OwnerOfKey(8, "customer-4711")
	fmt.Println(ok, owner.Process.Label("addr"))
	fmt.Println("partition", directory.PartitionOfKey(8, "customer-4711"), "of", dir.Len())
	fmt.Println("certain as of a few seconds ago:", dir.Staleness() < 10*time.Second)
	// Output:
	// true 10.0.0.7:8080
	// partition 7 of 8
	// certain as of a few seconds ago: true
}

// Changes begins with what there is.
func ExampleDirectory_Changes() {
	store, done := inMemory()
	defer done()
	defer serve(store)()

	dir, err := directory.Open(context.Background(), store)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dir.Close()

	n := 0
	for change := range dir.Changes(context.Background()) {
		if change.Before.Worker == "" && change.After.Process.Label("addr") != "" {
			n++ // a connection could be made here
		}
		if n == 8 {
			break
		}
	}
	fmt.Println(n, "partitions have come")
	// Output: 8 partitions have come
}
