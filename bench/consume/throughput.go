package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/bench/internal/process"
	"github.com/parti-go/parti/consumer"
)

const (
	ratePartitions = 64
	rounds         = 3
)

// throughputWays are the ways to consume the whole stream once. The first is what the
// others are compared with.
var throughputWays = []struct{ name, what string }{
	{"bare", "one pull consumer for all, each message acknowledged; no order is kept when one fails"},
	{"bare-none", "the same without acknowledgements"},
	{"bare-one", "a pull consumer per partition with one message in flight, as a Durable has: what keeps order across owners"},
	{"bare-64", "a pull consumer per partition with 64 messages in flight"},
	{"durable", "consumer.NewDurable, its defaults"},
	{"durable-64", "consumer.NewDurable, InFlight(64)"},
	{"cursor", "consumer.NewCursor, its defaults"},
}

// throughput lets one process after the other consume the same messages.
func throughput(ctx context.Context, o options, tw *tabwriter.Writer) error {
	s, err := process.StartSite(1)
	if err != nil {
		return err
	}
	defer s.Stop()
	if err := fill(ctx, s.URLs(), o.messages); err != nil {
		return err
	}
	rates, allocs, bytes := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for round := range rounds {
		for _, w := range throughputWays {
			p, err := process.Start("role-rate", s.URLs(), w.name, strconv.Itoa(o.messages), strconv.Itoa(round))
			if err != nil {
				return err
			}
			var rate, alloc, size float64
			if _, err := fmt.Sscan(<-p.Lines, &rate, &alloc, &size); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			rates[w.name], allocs[w.name], bytes[w.name] = append(rates[w.name], rate), append(allocs[w.name], alloc), append(bytes[w.name], size)
		}
	}
	fmt.Fprintf(tw, "%d messages of 1 KiB in %d partitions, one worker process, one node, in memory; median of %d\n\n", o.messages, ratePartitions, rounds)
	fmt.Fprintln(tw, "way\tmessages/s\t÷ bare\tallocations/message\tbytes/message\t")
	for _, w := range throughputWays {
		var ratios []float64
		for i, r := range rates[w.name] {
			ratios = append(ratios, r/rates["bare"][i])
		}
		fmt.Fprintf(tw, "%s\t%.0f\t%.2f\t%.1f\t%.0f\t%s\n", w.name, median(rates[w.name]), median(ratios), median(allocs[w.name]), median(bytes[w.name]), w.what)
	}
	return nil
}

func median(xs []float64) float64 {
	xs = slices.Sorted(slices.Values(xs))
	return xs[len(xs)/2]
}

// fill makes the stream and publishes the messages.
func fill(ctx context.Context, urls string, n int) error {
	nc, err := nats.Connect(urls)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: stream, Subjects: []string{"s.>"}, Storage: jetstream.MemoryStorage}); err != nil {
		return err
	}
	data := []byte(strings.Repeat("x", 1024))
	for i := range n {
		if _, err := js.PublishAsync(fmt.Sprintf("s.p%d.k", i%ratePartitions), data); err != nil {
			return err
		}
		if i%1000 == 999 || i == n-1 {
			select {
			case <-js.PublishAsyncComplete():
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// runRate consumes the stream once: servers, way, messages, a number of its own. It writes
// messages per second, and allocations and bytes per message.
func runRate(args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	nc, err := nats.Connect(args[0])
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var (
		got    atomic.Int64
		over   = make(chan struct{})
		before runtime.MemStats
		after  runtime.MemStats
	)
	one := func() {
		if got.Add(1) == int64(n) {
			close(over)
		}
	}
	begin, err := prepare(js, args[1], "r"+args[3], one)
	if err != nil {
		return err
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	stop, err := begin()
	if err != nil {
		return err
	}
	select {
	case <-over:
	case <-time.After(5 * time.Minute):
		return fmt.Errorf("%d of %d messages came", got.Load(), n)
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	stop()
	per := func(a, b uint64) float64 { return float64(b-a) / float64(n) }
	fmt.Println(float64(n)/took.Seconds(), per(before.Mallocs, after.Mallocs), per(before.TotalAlloc, after.TotalAlloc))
	return nil
}

// prepare makes what is there before a worker starts: the consumers of partitions, above all.
func prepare(js jetstream.JetStream, way, name string, one func()) (begin func() (stop func(), err error), err error) {
	ctx := context.Background()
	f := func(context.Context, *consumer.Msg) error {
		one()
		return nil
	}
	var h parti.Handler
	switch way {
	case "bare", "bare-none":
		cfg := jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000}
		if way == "bare-none" {
			cfg = jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy}
		}
		return bare(js, []jetstream.ConsumerConfig{cfg}, one)
	case "bare-one", "bare-64":
		pending := map[string]int{"bare-one": 1, "bare-64": 64}[way]
		var cfgs []jetstream.ConsumerConfig
		for i := range ratePartitions {
			cfgs = append(cfgs, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: pending, FilterSubject: fmt.Sprintf("s.p%d.>", i)})
		}
		return bare(js, cfgs, one)
	case "durable":
		h, err = durable(js, "d"+name, f)
	case "durable-64":
		h, err = durable(js, "m"+name, f, consumer.InFlight(64))
	case "cursor":
		h, err = consumer.NewCursor(ctx, js, "c"+name, stream, "s.{partition}.>", f)
	}
	if err != nil {
		return nil, err
	}
	return func() (func(), error) { return leases(h), nil }, nil
}

func durable(js jetstream.JetStream, name string, f consumer.Func, opts ...consumer.Option) (parti.Handler, error) {
	d, err := consumer.NewDurable(context.Background(), js, name, stream, "s.{partition}.>", f, opts...)
	if err != nil {
		return nil, err
	}
	for i := range ratePartitions {
		if err := d.Provision(context.Background(), parti.Partition{ID: fmt.Sprint("p", i)}); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func bare(js jetstream.JetStream, cfgs []jetstream.ConsumerConfig, one func()) (func() (func(), error), error) {
	var all []jetstream.Consumer
	for _, cfg := range cfgs {
		c, err := js.CreateConsumer(context.Background(), stream, cfg)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return func() (func(), error) {
		var stops []func()
		for i, c := range all {
			ack := cfgs[i].AckPolicy == jetstream.AckExplicitPolicy
			cc, err := c.Consume(func(m jetstream.Msg) {
				if ack {
					_ = m.Ack() // the last ones may be lost with the process
				}
				one()
			})
			if err != nil {
				return nil, err
			}
			stops = append(stops, cc.Stop)
		}
		return func() {
			for _, stop := range stops {
				stop()
			}
		}, nil
	}, nil
}

// leases runs a handler for all partitions, as a Manager does.
func leases(h parti.Handler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range ratePartitions {
		all.Go(func() {
			l := parti.NewLease(parti.Partition{ID: fmt.Sprint("p", i)}, 1, context.Background(), func() error { return nil })
			if err := h.Run(ctx, l); err != nil {
				fmt.Println("e", err)
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}
