package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/bench/internal/process"
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

// A setup is what a worker is told: its role's arguments.
type setup struct {
	urls, group, identity string
	isolation             parti.Isolation
	workers, partitions   int
}

func (s setup) start() (*process.Process, error) {
	return process.Start("role-worker", s.urls, s.group, s.identity, s.isolation.String(), strconv.Itoa(s.workers), strconv.Itoa(s.partitions))
}

func readSetup(args []string) (s setup, err error) {
	s.urls, s.group, s.identity = args[0], args[1], args[2]
	var errs [3]error
	errs[0] = s.isolation.UnmarshalText([]byte(args[3]))
	s.workers, errs[1] = strconv.Atoi(args[4])
	s.partitions, errs[2] = strconv.Atoi(args[5])
	return s, errors.Join(errs[:]...)
}

// open connects to the group's store.
func open(ctx context.Context, urls, group string) (*natskv.Store, func(), error) {
	nc, err := nats.Connect(urls, natskv.ConnectOptions()...)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	store, err := natskv.Open(ctx, js, group)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return store, func() { store.Close(); nc.Close() }, nil
}

// runWorker is one worker, until it is killed. It writes, each with the time in ns,
//
//	began <time> <partition> <token>    a handler was called
//	ended <time> <partition> <token>    it is about to return
//	claimed <time> <worker ID>
//	led <time> <term>
//	phase <time> <phase>                of the group, while this worker leads it; "none" otherwise
//	plan <time> <partition>...          a plan was committed that grants these
//	lost <time> <worker ID> <why>
//	aside <time> <partition>            it is quarantined
//	event <time> <text>                 what else happened, for people
func runWorker(args []string) error {
	s, err := readSetup(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent ends
	}()
	store, end, err := open(ctx, s.urls, s.group)
	if err != nil {
		return err
	}
	defer end()
	var parts []parti.Partition
	for i := range s.partitions {
		parts = append(parts, parti.Partition{ID: fmt.Sprint("p", i)})
	}
	m, err := parti.NewManager(store, source.Static(parts...), parti.HandlerFunc(handle), parti.Config{
		Identity: s.identity, Isolation: s.isolation,
		// A new software version lifts quarantines, which so many kills lead to.
		Software: fmt.Sprint("process ", os.Getpid(), " of ", time.Now().UnixNano()),
		// For voluntary moves alone; see the package comment.
		ExpectedWorkers: s.workers, SettleTime: 300 * time.Millisecond, ScaleWindow: time.Second, Cooldown: -1,
	}, parti.WithLogger(slog.New(slog.DiscardHandler)), parti.WithObserver(observe))
	if err != nil {
		return err
	}
	go reportPhase(ctx, m)
	return m.Run(ctx)
}

var sayMu sync.Mutex

// say writes a line at once: a worker that is killed has no other chance.
func say(what, format string, args ...any) {
	at := time.Now().UnixNano()
	sayMu.Lock()
	defer sayMu.Unlock()
	fmt.Printf("%s %d %s\n", what, at, fmt.Sprintf(format, args...))
}

func handle(ctx context.Context, l parti.Lease) error {
	say("began", "%s %d", l.Partition.ID, l.Token)
	<-ctx.Done()
	say("ended", "%s %d", l.Partition.ID, l.Token)
	return nil
}

func observe(e parti.Event) {
	switch e := e.(type) {
	case event.Assigned, event.Revoked, event.Released: // handlers say it themselves
	case event.Claimed:
		say("claimed", "%s", e.Worker)
	case event.Led:
		say("led", "%d", e.Term)
	case event.Planned:
		var granted []string
		for _, m := range e.Decision.Moves {
			if m.Step == plan.Granted {
				granted = append(granted, m.Partition)
			}
		}
		say("plan", "%s", strings.Join(granted, " "))
	case event.Lost:
		say("lost", "%s %s", e.Worker, e.Why)
	case event.Alert:
		if p, ok := strings.CutPrefix(e.About, "quarantine "); ok && e.Text != "" {
			say("aside", "%s", p)
		}
		say("event", "%T %+v", e, e)
	default:
		say("event", "%T %+v", e, e)
	}
}

// reportPhase says what the group is doing whenever that changes. It is no event, since
// it is a part of the plan.
func reportPhase(ctx context.Context, m *parti.Manager) {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for was := ""; ; {
		now := "none"
		if s := m.Status(); s.Leader {
			now = s.Phase.String()
		}
		if now != was {
			say("phase", "%s", now)
			was = now
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}
