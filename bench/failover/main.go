// Command failover measures how soon the partitions of a killed worker run elsewhere:
//
//	go run ./bench/failover [-isolation freeze|fence|both] [-kills 300] [-for 1h]
//
// Servers and workers are processes of their own, on the loopback interface. The workers
// are killed with SIGKILL one after the other, every third time the one that leads the
// group (-leaders). Each kill waits until the group is even and at rest again, and then for
// a random part of a second or two, so that it comes at any time between two heartbeats.
// Several groups (-groups) share the servers, each with its own kills. A worker that is
// killed is replaced, once its partitions run, by a process of the same identity. Three
// groups take about 6 minutes for 300 kills under Freeze, and 35 under Fence.
//
// Handlers do nothing but report that they begin and end. Settings are the defaults, apart
// from SettleTime, ScaleWindow and Cooldown, which are shorter, and ExpectedWorkers: these
// say when partitions that have an owner may move, so that a group comes to rest sooner. A
// plan for orphans waits for none of them.
//
// A partition whose owners were killed three times, each time among their newest, is
// quarantined by the leader, as one that crashes them: it has no repair, and is counted.
// Each process calls itself another version of the software, which lifts the quarantine.
//
// It prints, from the kill on, the time until the last of the worker's partitions runs
// elsewhere (repair), until any one of them does (partition), and until a plan that grants
// them was committed (plan); how the worker was known to be lost; and what the machine
// added: where processes wait for a core, the figures are the machine's. What was said
// during a kill that took longer than its goal, or than -slow, goes to stderr.
//
// The goals, for workers and leaders alike: under Freeze repair and plan p50 ≤ 1.5 s and
// p99 ≤ 2.5 s, under Fence p99 ≤ SessionTTL + 1 s. It ends with 1 when one is missed, when
// a partition began while another living worker ran it, or under a token that had not grown.
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
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/bench/internal/process"
)

// roles are what this program can be besides the measurement.
var roles = map[string]func(args []string) error{"role-node": process.RunNode, "role-worker": runWorker}

type options struct {
	isolations []parti.Isolation
	kills      int
	duration   time.Duration
	nodes      int
	groups     int
	workers    int
	partitions int
	leaders    int
	slow       time.Duration
	seed       uint64
}

func main() {
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(2)
	}
	fmt.Printf("failover, %d cores, %s; nodes %d, groups %d, workers %d and partitions %d in each, one kill of %d a leader's, seed %d\n",
		runtime.NumCPU(), runtime.Version(), o.nodes, o.groups, o.workers, o.partitions, o.leaders, o.seed)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err = measure(ctx, o)
	stop()
	process.KillAll()
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	var isolation string
	fs := flag.NewFlagSet("failover", flag.ExitOnError)
	fs.StringVar(&isolation, "isolation", "both", "freeze, fence, or both one after the other")
	fs.IntVar(&o.kills, "kills", 300, "kills under each isolation, over all groups")
	fs.DurationVar(&o.duration, "for", 0, "kill for so long under each isolation, however often that is")
	fs.IntVar(&o.nodes, "nodes", 1, "NATS nodes, 1 or 3")
	fs.IntVar(&o.groups, "groups", 3, "groups side by side")
	fs.IntVar(&o.workers, "workers", 6, "worker processes in each group")
	fs.IntVar(&o.partitions, "partitions", 60, "partitions in each group")
	fs.IntVar(&o.leaders, "leaders", 3, "one kill of so many is a leader's")
	fs.DurationVar(&o.slow, "slow", 0, "say what happened in a kill that took longer; 0: longer than its goal")
	fs.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the choice of workers and moments")
	_ = fs.Parse(args)
	if fs.NArg() > 0 {
		return o, fmt.Errorf("what is %q? see the package comment", strings.Join(fs.Args(), " "))
	}
	if isolation == "both" {
		o.isolations = []parti.Isolation{parti.Freeze, parti.Fence}
	} else {
		o.isolations = make([]parti.Isolation, 1)
		if err := o.isolations[0].UnmarshalText([]byte(isolation)); err != nil {
			return o, err
		}
	}
	if o.nodes != 1 && o.nodes != 3 {
		return o, errors.New("-nodes is 1 or 3")
	}
	if o.workers < 3 || o.partitions < o.workers || o.groups < 1 || o.leaders < 1 {
		return o, errors.New("at least 3 workers, a partition for each of them, 1 group, and -leaders 1 are needed")
	}
	return o, nil
}
