// Command bench measures what the design promises, and prints tables.
//
//	go run ./bench cold     first worker started until every partition runs
//	go run ./bench move     gap between a handler's return and the next one's start
//	go run ./bench stop     graceful stop of one worker: until all of it runs elsewhere
//	go run ./bench leader   clean stop of the leader: until the next plan is possible
//	go run ./bench steady   what an idle group costs, and how that grows
//	go run ./bench look     what an operator waits for: a snapshot, parti status, a drain
//	go run ./bench standing the same of a group larger than one machine can run, from its records
//
// Everything runs in one process, on the loopback interface, with the servers
// embedded: the figures are of a machine that does all of it at once.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/measure"
)

type options struct {
	workers, partitions int
	stores              []string
}

func main() {
	what := "help"
	if len(os.Args) > 1 {
		what = os.Args[1]
	}
	var o options
	var kinds string
	fs := flag.NewFlagSet(what, flag.ExitOnError)
	fs.IntVar(&o.workers, "workers", 64, "workers in the fleet")
	fs.IntVar(&o.partitions, "partitions", 6000, "partitions that they share")
	fs.StringVar(&kinds, "stores", strings.Join(stores, ","), "stores to measure on")
	if len(os.Args) > 2 {
		_ = fs.Parse(os.Args[2:])
	}
	o.stores = strings.Split(kinds, ",")
	run, ok := map[string]func(context.Context, options, *tabwriter.Writer) error{
		"cold": cold, "move": move, "stop": stopOne, "leader": leader, "steady": steady, "look": look, "standing": standing,
	}[what]
	if !ok {
		fmt.Fprintln(os.Stderr, "bench: what? one of cold, move, stop, leader, steady, look, standing; see the package comment")
		os.Exit(2)
	}
	fmt.Printf("%s, %d cores, %s\n", what, runtime.NumCPU(), runtime.Version())
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	err := run(ctx, o, tw)
	cancel()
	_ = tw.Flush()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// on runs f with a fleet of o.workers workers, none of them started, on each store.
func on(ctx context.Context, o options, name string, cfg parti.Config, f func(kind string, n *natsServers, fl *measure.Fleet) error) error {
	for _, kind := range o.stores {
		n, err := startNATS(kind)
		if err != nil {
			return err
		}
		fl := newFleet(n, name, o.partitions, cfg)
		for range o.workers {
			if _, err = fl.Add(ctx); err != nil {
				break
			}
		}
		if err == nil {
			err = f(kind, n, fl)
		}
		fl.Close()
		n.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func quick(workers int) parti.Config {
	return parti.Config{ExpectedWorkers: workers, MaxWorkers: 2048}
}

func cold(ctx context.Context, o options, tw *tabwriter.Writer) error {
	fmt.Fprintf(tw, "store\tcold start of %d × %d\tall running after\tplans with moves\n", o.workers, o.partitions)
	for _, expected := range []bool{true, false} {
		cfg := parti.Config{MaxWorkers: 2048}
		name := "settle time"
		if expected {
			cfg, name = quick(o.workers), "ExpectedWorkers"
		}
		err := on(ctx, o, "cold", cfg, func(kind string, _ *natsServers, f *measure.Fleet) error {
			c, err := f.Cold(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(tw, "%s\t%s\t%v\t%d\n", kind, name, c.After.Round(time.Millisecond), c.Plans)
			return tw.Flush()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func move(ctx context.Context, o options, tw *tabwriter.Writer) error {
	fmt.Fprintf(tw, "store\tone worker joins %d × %d\tplans with moves\tmoved\n", o.workers, o.partitions)
	return on(ctx, o, "move", quick(o.workers), func(kind string, _ *natsServers, f *measure.Fleet) error {
		if err := f.Up(ctx); err != nil {
			return err
		}
		var c measure.Change
		for range 3 { // the third is shown
			var err error
			if c, err = f.Join(ctx); err != nil {
				return err
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%d\n", kind, c.Gaps, c.Plans, c.Moved)
		return tw.Flush()
	})
}

func stopOne(ctx context.Context, o options, tw *tabwriter.Writer) error {
	fmt.Fprintf(tw, "store\tone of %d × %d stops: elsewhere after its last drain\tgap per partition\tmoved\n", o.workers, o.partitions)
	return on(ctx, o, "stop", quick(o.workers), func(kind string, _ *natsServers, f *measure.Fleet) error {
		if err := f.Up(ctx); err != nil {
			return err
		}
		c, err := f.Leave(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(tw, "%s\t%v\t%s\t%d\n", kind, c.After.Round(100*time.Microsecond), c.Gaps, c.Moved)
		return tw.Flush()
	})
}

func leader(ctx context.Context, o options, tw *tabwriter.Writer) error {
	fmt.Fprintln(tw, "store\tleader stops cleanly: next leader's term stands after\tpartitions of others moved")
	cfg := quick(o.workers)
	cfg.RestartGrace = time.Minute // its own partitions wait for it, so that nothing moves
	return on(ctx, o, "leader", cfg, func(kind string, _ *natsServers, f *measure.Fleet) error {
		if err := f.Up(ctx); err != nil {
			return err
		}
		for range 3 {
			c, err := f.Succeed(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(tw, "%s\t%v\t%d\n", kind, c.After.Round(100*time.Microsecond), c.Moved)
		}
		return tw.Flush()
	})
}
