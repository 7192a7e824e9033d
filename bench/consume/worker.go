package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/source"
)

const (
	group  = "bench"
	stream = "BENCH"
)

// runWorker is some workers: servers, way, partitions, workers, isolation. It writes
//
//	b <partition> <token> <time>                     a handler was called, time in ns
//	x <partition> <token> <time>                     and it returned
//	m <key> <number> <token> <stored> <processed>    a message, times in ns
//	r <partitions>                                   how many run here, whenever that changes
//	l <true or false>                                whether one of them leads, whenever that changes
//	e <text>                                         what went wrong
//
// and stops one worker for every line that it reads, and all on SIGTERM.
func runWorker(args []string) error {
	partitions, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	workers, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	var isolation parti.Isolation
	if err := isolation.UnmarshalText([]byte(args[4])); err != nil {
		return err
	}
	o := &output{w: bufio.NewWriter(os.Stdout)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	all := make([]parti.Partition, partitions)
	for i := range all {
		all[i].ID = fmt.Sprint("p", i)
	}
	var mgrs []*parti.Manager
	var closes []func()
	for range workers {
		m, end, err := newWorker(ctx, args[0], args[1], source.Static(all...), isolation, o)
		if err != nil {
			return err
		}
		mgrs, closes = append(mgrs, m), append(closes, end)
	}
	var starting sync.WaitGroup
	for _, m := range mgrs {
		starting.Go(func() {
			if err := m.Start(ctx); err != nil && ctx.Err() == nil {
				o.line("e start: %v", err)
			}
		})
	}
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	leads := false
	orders := make(chan struct{})
	go func() {
		defer close(orders)
		s := bufio.NewScanner(os.Stdin)
		for s.Scan() {
			orders <- struct{}{}
		}
	}()
	for {
		select {
		case _, ok := <-orders:
			if !ok {
				return errors.New("the parent has ended")
			}
			last := len(mgrs) - 1
			halt(mgrs[last], closes[last], o)
			mgrs, closes = mgrs[:last], closes[:last]
			continue
		case <-look.C:
			if now := slices.ContainsFunc(mgrs, (*parti.Manager).IsLeader); now != leads {
				leads = now
				o.line("l %v", leads)
			}
			continue
		case <-ctx.Done():
		}
		for i, m := range mgrs {
			halt(m, closes[i], o)
		}
		return nil
	}
}

func halt(m *parti.Manager, end func(), o *output) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := m.Stop(ctx); err != nil {
		o.line("e stop: %v", err)
	}
	end()
}

func newWorker(ctx context.Context, urls, way string, parts parti.PartitionSource, isolation parti.Isolation, o *output) (*parti.Manager, func(), error) {
	nc, err := nats.Connect(urls, natskv.ConnectOptions()...)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, nil, err
	}
	store, err := natskv.Open(ctx, js, group)
	if err != nil {
		return nil, nil, err
	}
	observe := consumer.Observe(func(t consumer.Trouble) { o.line("e %s: %v", t.Partition, t.Err) })
	var h parti.Handler
	if way == "durable" {
		h, err = consumer.NewDurable(ctx, js, group, stream, "s.{partition}.>", o.message, observe)
	} else {
		h, err = consumer.NewCursor(ctx, js, group, stream, "s.{partition}.>", o.message, observe)
	}
	if err != nil {
		return nil, nil, err
	}
	counted := parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		o.running(1)
		defer o.running(-1)
		o.line("b %s %d %d", l.Partition.ID, l.Token, time.Now().UnixNano())
		defer func() { o.line("x %s %d %d", l.Partition.ID, l.Token, time.Now().UnixNano()) }()
		return h.Run(ctx, l)
	})
	m, err := parti.NewManager(store, parts, counted, parti.Config{Isolation: isolation, SettleTime: time.Second, ScaleWindow: time.Second, Cooldown: -1, Identity: fmt.Sprint(os.Getpid(), "-", time.Now().UnixNano())},
		parti.WithLogger(slog.New(slog.DiscardHandler)))
	return m, func() { store.Close(); nc.Close() }, err
}

// An output are the lines that a worker writes.
type output struct {
	mu  sync.Mutex
	w   *bufio.Writer
	run int
}

func (o *output) line(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.w, format+"\n", args...)
	_ = o.w.Flush() // the parent has ended otherwise
}

// running says how many run: the last line must be the last number.
func (o *output) running(d int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.run += d
	fmt.Fprintf(o.w, "r %d\n", o.run)
	_ = o.w.Flush()
}

// message reports a message, before it is acknowledged.
func (o *output) message(_ context.Context, m *consumer.Msg) error {
	key := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	o.line("m %s %s %d %d %d", key, m.Data[:strings.IndexByte(string(m.Data)+" ", ' ')], m.Token, m.Stored.UnixNano(), time.Now().UnixNano())
	return nil
}
