package source_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

// With a YAML library of your choice it would be
// source.File("tools.yaml", source.YAML(yaml.Unmarshal)).
func ExampleFile() {
	dir, err := os.MkdirTemp("", "parti-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "tools.txt")
	text := "# ID and weight\ntool-002 5\ntool-001\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	tools, err := source.File(path, source.Every(5*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tools.ListPartitions(context.Background()))
	// Output: [{tool-001 0 map[]} {tool-002 5 map[]}] <nil>
}

// The tools are the keys of a bucket, such as nats kv put tools tool-001 5 makes one.
func ExampleKV() { //nolint:testableexamples // it needs a server
	_ = func(js jetstream.JetStream) (parti.PartitionSource, error) {
		return source.KV(js, "tools")
	}
}

// Whatever region has orders is a partition, as heavy as it has many.
func ExampleSubjects() { //nolint:testableexamples // it needs a server
	_ = func(js jetstream.JetStream) (parti.PartitionSource, error) {
		return source.Subjects(js, "ORDERS", "orders.{partition}.>", source.WeighMessages(), source.Every(time.Minute))
	}
}

func ExampleSQL() { //nolint:testableexamples // it needs a server
	_ = func(db *sql.DB) (parti.PartitionSource, error) {
		return source.SQL(db, "SELECT id, weight FROM tools WHERE plant = ?", source.Args("north"),
			source.Observe(func(c plan.Changes) { fmt.Println("tools:", c) }))
	}
}
