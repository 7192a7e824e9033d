// Command consume measures package consumer, and prints tables:
// go run ./bench/consume, with one of
//
//	throughput   one worker beside a bare pull consumer
//	handoff      what messages see when workers and nodes come and go
//	cursor       thousands of partitions with cursors
//	churn        all of it by chance, for a time, every message and every run of a
//	             partition accounted for
//
// Servers and workers are processes of their own, which are killed and frozen for real,
// on the loopback interface: the figures are of a machine that does all of it at once.
// handoff and churn end with 1 when a message was lost or came out of order; churn also
// when a partition had two owners, when tokens did not grow, or when nobody ran a
// partition for longer than its bound.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/bench/internal/process"
)

// roles are what this program can be besides the measurement.
var roles = map[string]func(args []string) error{"role-node": process.RunNode, "role-worker": runWorker, "role-rate": runRate}

type options struct {
	ways       []string
	nodes      []int
	messages   int
	workers    int
	partitions int
	rate       int
	isolation  parti.Isolation
	duration   time.Duration
	seed       uint64
}

func main() {
	what := ""
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	if role, ok := roles[what]; ok {
		if err := role(os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
			os.Exit(1)
		}
		return
	}
	var (
		o     options
		ways  string
		nodes string
	)
	fs := flag.NewFlagSet(what, flag.ExitOnError)
	fs.StringVar(&ways, "ways", "durable,cursor", "ways to consume")
	fs.StringVar(&nodes, "nodes", "1,3", "numbers of NATS nodes")
	fs.IntVar(&o.messages, "messages", 200_000, "messages of 1 KiB, for throughput")
	fs.IntVar(&o.workers, "workers", 0, "workers; 0: 3 for handoff, 64 for cursor")
	fs.IntVar(&o.partitions, "partitions", 0, "partitions; 0: 12 for handoff, 6000 for cursor")
	fs.IntVar(&o.rate, "rate", 0, "messages per second; 0: 250 for handoff, 2000 for churn and cursor")
	fs.TextVar(&o.isolation, "isolation", parti.Freeze, "what workers do when NATS is away, freeze or fence")
	fs.DurationVar(&o.duration, "for", 30*time.Minute, "how long, for churn")
	fs.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the events of churn")
	if len(os.Args) > 2 {
		_ = fs.Parse(os.Args[2:])
	}
	o.ways = strings.Split(ways, ",")
	for n := range strings.SplitSeq(nodes, ",") {
		o.nodes = append(o.nodes, map[string]int{"1": 1, "3": 3}[n])
	}
	run, ok := map[string]func(context.Context, options, *tabwriter.Writer) error{
		"throughput": throughput, "handoff": handoff, "cursor": cursors, "churn": churn,
	}[what]
	if !ok {
		fmt.Fprintln(os.Stderr, "consume: what? one of throughput, handoff, cursor, churn; see the package comment")
		os.Exit(2)
	}
	fmt.Printf("consume %s, %d cores, %s\n", what, runtime.NumCPU(), runtime.Version())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	err := run(ctx, o, tw)
	stop()
	err = errors.Join(err, tw.Flush())
	process.KillAll()
	if err != nil {
		fmt.Fprintln(os.Stderr, "consume:", err)
		os.Exit(1)
	}
}
