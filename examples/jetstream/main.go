// Command jetstream is a fleet that consumes a stream, and survives the loss of a worker.
//
//	go run ./examples/jetstream
//
// It starts a nats-server, a producer and three worker processes on this machine, kills one
// of the workers in the middle with SIGKILL, and counts at the end: every message was
// processed, in order, and only what the dead worker had in hand came twice.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	workers  = 3
	regions  = 12
	messages = 6000 // of all regions together
	rate     = 1000 // messages per second

	patience = 30 * time.Second // with a server that shares its machine with all of this
	quiet    = time.Minute      // longer than a leader may doubt its own view, when a worker is lost
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := fleet
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		run = func(ctx context.Context) error { return work(ctx, os.Args[2]) }
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "jetstream:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stopped above
	}
}

// region is the ID of the n-th partition.
func region(n int) string { return fmt.Sprintf("region-%02d", n) }

// fleet runs everything.
func fleet(ctx context.Context) error {
	url, shut, err := serve()
	if err != nil {
		return err
	}
	defer shut()
	nc, err := nats.Connect(url, nats.Timeout(patience))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		return err
	}
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "ORDERS", Subjects: []string{"orders.*"}, Retention: jetstream.WorkQueuePolicy},
		{Name: "DONE", Subjects: []string{"done.*"}}, // what workers have done, for the count
	} {
		if _, err := js.CreateStream(ctx, cfg); err != nil {
			return err
		}
	}
	var fleet []*exec.Cmd
	defer func() {
		for _, w := range fleet {
			_ = w.Process.Signal(syscall.SIGTERM)
		}
		for _, w := range fleet {
			_ = w.Wait()
		}
	}()
	for range workers {
		w := exec.CommandContext(context.WithoutCancel(ctx), os.Args[0], "worker", url) //nolint:gosec // it is this program
		w.Stdout, w.Stderr = os.Stdout, os.Stderr
		if err := w.Start(); err != nil {
			return err
		}
		fleet = append(fleet, w)
	}
	fmt.Printf("%d workers, %d regions, %d orders at %d per second\n", workers, regions, messages, rate)
	if err := produce(ctx, js, func() {
		fmt.Printf("SIGKILL to process %d\n", fleet[0].Process.Pid)
		_ = fleet[0].Process.Kill()
	}); err != nil {
		return err
	}
	return count(ctx, js)
}

// serve starts a server on loopback.
func serve() (url string, shut func(), err error) {
	dir, err := os.MkdirTemp("", "parti-example-")
	if err != nil {
		return "", nil, err
	}
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		return "", nil, err
	}
	ns.Start()
	shut = func() {
		ns.Shutdown()
		ns.WaitForShutdown()
		_ = os.RemoveAll(dir)
	}
	if !ns.ReadyForConnections(patience) {
		shut()
		return "", nil, errors.New("the server does not start")
	}
	return ns.ClientURL(), shut, nil
}

// produce publishes numbered orders to all regions in turn, and calls half in the middle.
func produce(ctx context.Context, js jetstream.JetStream, half func()) error {
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for n := range messages {
		if n == messages/2 {
			half()
		}
		r := region(n % regions)
		number := strconv.Itoa(n/regions + 1)
		if _, err := js.Publish(ctx, "orders."+r, []byte(number), jetstream.WithMsgID(r+"/"+number)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// count reads what was done until nothing is missing, or nothing comes any more.
func count(ctx context.Context, js jetstream.JetStream) error {
	c, err := js.OrderedConsumer(ctx, "DONE", jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	all := tally{seen: map[string]map[int]bool{}, last: map[string]int{}}
	gap := map[string]time.Duration{}
	when := map[string]time.Time{}
	for all.done < messages {
		m, err := c.Next(jetstream.FetchMaxWait(quiet))
		if err != nil {
			return fmt.Errorf("%d of %d orders were processed, and then nothing came for %v: %w", all.done, messages, quiet, err)
		}
		n, err := strconv.Atoi(string(m.Data()))
		if err != nil {
			return err
		}
		at, err := m.Metadata()
		if err != nil {
			return err
		}
		r := m.Subject()
		all.add(r, n)
		if t, ok := when[r]; ok {
			gap[r] = max(gap[r], at.Timestamp.Sub(t))
		}
		when[r] = at.Timestamp
	}
	var longest time.Duration
	for _, d := range gap {
		longest = max(longest, d)
	}
	fmt.Printf("processed %d of %d orders; lost 0, out of order %d, twice %d (what the dead worker had in hand); longest pause of a region %v\n",
		all.done, messages, all.disorder, all.twice, longest.Round(10*time.Millisecond))
	if all.disorder > 0 {
		return errors.New("orders of one region were not processed in order")
	}
	return nil
}

// A tally is what was processed of each region.
type tally struct {
	seen                  map[string]map[int]bool
	last                  map[string]int // the largest number
	done, twice, disorder int
}

// add takes the next order of a region in.
func (t *tally) add(region string, n int) {
	switch seen := t.seen[region]; {
	case seen[n]:
		t.twice++
		return
	case seen == nil:
		t.seen[region] = map[int]bool{}
	}
	if n != t.last[region]+1 {
		t.disorder++
	}
	t.seen[region][n], t.last[region] = true, max(t.last[region], n)
	t.done++
}
