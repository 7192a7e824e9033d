package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/fence"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/partitest"
	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/test/fleettest"
)

// What a process needs to know to be a worker and not a test.
const (
	asWorker  = "PARTI_TEST_WORKER" // its name
	atURL     = "PARTI_TEST_URL"
	underWhat = "PARTI_TEST_ISOLATION"
	ofHowMany = "PARTI_TEST_PARTITIONS"
)

const sinkBucket = "sink"

// worker is a process of a fleet: it works until it is told to end, or its parent is gone,
// and enters what it does in the ledger that reads file 3.
func worker(name string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	n, err := strconv.Atoi(os.Getenv(ofHowMany))
	if err != nil {
		return err
	}
	nc, err := nats.Connect(os.Getenv(atURL), natskv.ConnectOptions()...)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	store, err := natskv.Open(ctx, js, "processes")
	if err != nil {
		return err
	}
	defer store.Close()
	sink, err := fence.NewBucket(ctx, js, sinkBucket)
	if err != nil {
		return err
	}
	ledger := partitest.NewRemote(os.NewFile(3, "ledger"), name)
	works := parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		every := time.NewTicker(100 * time.Millisecond)
		defer every.Stop()
		for {
			// It does not look whether it still owns the partition: that is for the sink to say.
			err := ledger.Effect(l, "works", func() error {
				within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				defer cancel()
				_, err := sink.Put(within, l.Partition.ID, []byte(name), l.Token)
				if errors.Is(err, fence.ErrFenced) {
					return partitest.ErrRefused
				}
				return err
			})
			if errors.Is(err, partitest.ErrRefused) {
				return nil
			}
			select {
			case <-every.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
	cfg := unhurried(isolationOf(os.Getenv(underWhat)))
	cfg.Identity = name
	m, err := parti.NewManager(store, source.Static(partitest.Numbered(n)...), ledger.Watch(works), cfg)
	if err != nil {
		return err
	}
	return m.Run(ctx)
}

// unhurried is the configuration of processes. Each of them may get no CPU for some seconds,
// while the others do: then it is lost and does not know it, which under Freeze is two
// owners, and under Fence the end of what is promised.
func unhurried(isolation parti.Isolation) parti.Config {
	cfg := fleettest.Hurry(isolation)
	cfg.SessionTTL, cfg.LostAfter, cfg.EmergencyGrace = 12*time.Second, 10*time.Second, 5*time.Second
	return cfg
}

func isolationOf(name string) parti.Isolation {
	if name == parti.Fence.String() {
		return parti.Fence
	}
	return parti.Freeze
}

// A process is one that runs worker.
type process struct {
	*exec.Cmd

	name  string
	stdin io.Closer
	heard chan error // what Listen returns
}

func start(t *testing.T, l *partitest.Ledger, on *partitest.NATS, name string, isolation parti.Isolation, partitions int) *process {
	t.Helper()
	here, there, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(t.Context(), os.Args[0]), name: name, heard: make(chan error, 1)}
	p.Env = append(os.Environ(), asWorker+"="+name, atURL+"="+on.Link(name).URL(), underWhat+"="+isolation.String(), fmt.Sprintf("%s=%d", ofHowMany, partitions))
	p.ExtraFiles = []*os.File{there}
	p.Stderr = os.Stderr
	if p.stdin, err = p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if err := there.Close(); err != nil {
		t.Error(err)
	}
	go func() {
		p.heard <- l.Listen(here)
		_ = here.Close()
	}()
	t.Cleanup(func() {
		partitest.Resume(t, p.Process)
		_ = p.stdin.Close()
		select {
		case err := <-p.heard:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(fleettest.Patience):
			partitest.Kill(t, p.Process)
			t.Errorf("%s does not end", p.name)
		}
		_ = p.Wait() // it may have been killed
	})
	return p
}

// kill is SIGKILL: nothing is given back.
func (p *process) kill(t *testing.T, l *partitest.Ledger) {
	t.Helper()
	at := time.Now()
	partitest.Kill(t, p.Process)
	if err := <-p.heard; err != nil {
		t.Error(err)
	}
	p.heard <- nil
	l.Killed(p.name, at)
}

// Processes of their own are killed, and frozen for longer than they are waited for. Whoever
// wakes acts on what it no longer owns, and the sink refuses that.
func TestProcess_KilledAndFrozen(t *testing.T) {
	t.Parallel()
	fleettest.Both(t, func(t *testing.T, isolation parti.Isolation) {
		const partitions = 24
		on, l := partitest.StartNATS(t), partitest.NewLedger(t)
		js := jetStream(t, on)
		if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: sinkBucket, Storage: jetstream.MemoryStorage}); err != nil {
			t.Fatal(err)
		}
		parts, names := partitest.Numbered(partitions), []string{"a", "b", "c", "d"}
		all := map[string]*process{}
		for _, name := range names {
			all[name] = start(t, l, on, name, isolation, partitions)
		}
		t.Cleanup(l.Over)
		even := func(among ...string) func() bool {
			return func() bool {
				shares := l.Shares()
				for _, name := range among {
					if n := shares[name]; n < partitions/len(among) || n > (partitions+len(among)-1)/len(among) {
						return false
					}
				}
				return true
			}
		}
		l.Await("they share the partitions", fleettest.Patience, even(names...))
		l.Covered(fleettest.Patience, parts...)

		l.Mark("a is killed")
		all["a"].kill(t, l)
		l.Covered(fleettest.Patience, parts...)
		l.Await("the others have them", fleettest.Patience, even("b", "c", "d"))
		all["a"] = start(t, l, on, "a", isolation, partitions)
		l.Await("its successor has its share", fleettest.Patience, even(names...))

		cfg := unhurried(isolation)
		l.Enter(partitest.Entry{What: partitest.Frozen, Worker: "b"})
		partitest.Pause(t, all["b"].Process)
		l.Await("the others have everything", fleettest.Patience, func() bool {
			owned := 0
			for _, p := range parts {
				if by, _, ok := l.Owner(p.ID); ok && slices.Contains([]string{"a", "c", "d"}, by) {
					owned++
				}
			}
			return owned == partitions
		})
		partitest.Resume(t, all["b"].Process)
		l.Enter(partitest.Entry{What: partitest.Woke, Worker: "b"})
		l.Await("it has found out, and is given its share again", fleettest.Patience, even(names...))
		l.Covered(fleettest.Patience, parts...)
		l.Check(isolation, partitest.MaxGap(fleettest.Slack*(fleettest.Detection+cfg.SessionTTL+cfg.LeaderTTL)))
		r := l.Report()
		// What it does once it wakes is refused, if it gets to do anything before it finds out.
		if r.Crashes != 1 || r.Freezes != 1 || r.OverlapFrozen == 0 {
			t.Errorf("nobody was killed and frozen:\n%v", r)
		}
		t.Log(r)
	})
}
