package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/bench/internal/process"
	"github.com/parti-go/parti/partitest"
)

// A message is one of a key, by its number.
type message struct {
	key    string
	number int
}

// noTest lets a ledger be kept without a test.
type noTest struct{ testing.TB }

func (noTest) Helper() {}

// A fleet are workers, the messages that they are sent, and what became of each.
type fleet struct {
	site       *process.Site
	way        string
	partitions int
	keys       int
	isolation  parti.Isolation
	ledger     *partitest.Ledger // of who runs what, and what was done to whom
	js         jetstream.JetStream
	nc         *nats.Conn

	mu       sync.Mutex
	workers  []*process.Process
	crowd    []*process.Process       // workers to whom nothing is done
	size     map[*process.Process]int // how many workers a process has
	names    map[*process.Process]string
	killed   map[*process.Process]time.Time
	heard    map[*process.Process]time.Time // the last time that it told of a run
	running  map[*process.Process]int
	leader   *process.Process
	sent     map[message]time.Time    // when it was stored
	next     map[string]int           // of a key
	last     map[string]int           // the highest number that was processed
	seen     map[message]int          // how often
	delays   map[string]time.Duration // of a key, the longest since the last look
	counts   counts                   // since the last look
	troubles map[string]int
	changed  chan struct{}
}

type counts struct{ sent, processed, repeated, reordered int }

func newFleet(ctx context.Context, s *process.Site, way string, partitions, keys int, isolation parti.Isolation) (*fleet, error) {
	f := &fleet{
		isolation: isolation, ledger: partitest.NewLedger(noTest{}),
		size: map[*process.Process]int{}, names: map[*process.Process]string{}, killed: map[*process.Process]time.Time{}, heard: map[*process.Process]time.Time{},
		site: s, way: way, partitions: partitions, keys: keys, running: map[*process.Process]int{}, sent: map[message]time.Time{}, next: map[string]int{},
		last: map[string]int{}, seen: map[message]int{}, delays: map[string]time.Duration{}, troubles: map[string]int{}, changed: make(chan struct{}, 1),
	}
	var err error
	if f.nc, err = nats.Connect(s.URLs(), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(50*time.Millisecond), nats.ReconnectBufSize(-1), nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2)); err != nil {
		return nil, err
	}
	if f.js, err = jetstream.New(f.nc); err != nil {
		return nil, err
	}
	err = process.Retry(ctx, func(ctx context.Context) error {
		_, err := f.js.CreateStream(ctx, jetstream.StreamConfig{Name: stream, Subjects: []string{"s.>"}, Replicas: len(s.Nodes), Storage: jetstream.FileStorage, Duplicates: time.Minute})
		return err
	})
	return f, err
}

// add starts a process with so many workers.
func (f *fleet) add(workers int) (*process.Process, error) {
	p, err := process.Start("role-worker", f.site.URLs(), f.way, strconv.Itoa(f.partitions), strconv.Itoa(workers), f.isolation.String())
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.workers, f.size[p] = append(f.workers, p), workers
	f.names[p] = fmt.Sprint("w", len(f.names)+1)
	f.mu.Unlock()
	go func() {
		for line := range p.Lines {
			f.line(p, line)
		}
		f.mu.Lock()
		delete(f.running, p)
		f.ended(p)
		f.mu.Unlock()
		f.nudge()
	}()
	return p, nil
}

func (f *fleet) remove(p *process.Process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.workers = slices.DeleteFunc(f.workers, func(q *process.Process) bool { return p == q })
}

// kill kills a process, which is owner of nothing from then on.
func (f *fleet) kill(p *process.Process) error {
	f.mu.Lock()
	f.killed[p] = time.Now()
	f.mu.Unlock()
	return p.Signal(syscall.SIGKILL)
}

// ended enters the end of a process, all of whose lines have come. f.mu is held.
func (f *fleet) ended(p *process.Process) {
	at := f.killed[p]
	if last := f.heard[p]; last.After(at) { // the signal takes a moment
		at = last
	}
	f.ledger.Enter(partitest.Entry{At: at, What: partitest.Crashed, Worker: f.names[p]})
}

func (f *fleet) nudge() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// line takes what a worker says.
func (f *fleet) line(p *process.Process, line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.nudge()
	words := strings.Fields(line)
	switch {
	case len(words) == 2 && words[0] == "r":
		f.running[p], _ = strconv.Atoi(words[1])
	case len(words) == 4 && (words[0] == "b" || words[0] == "x"):
		e := partitest.Entry{What: partitest.Started, Worker: f.names[p], Partition: words[1]}
		if words[0] == "x" {
			e.What = partitest.Returned
		}
		e.Token, _ = strconv.ParseUint(words[2], 10, 64)
		ns, _ := strconv.ParseInt(words[3], 10, 64)
		e.At = time.Unix(0, ns)
		f.heard[p] = e.At
		f.ledger.Enter(e)
	case len(words) == 2 && words[0] == "l":
		if words[1] == "true" {
			f.leader = p
		}
	case len(words) == 6 && words[0] == "m":
		number, _ := strconv.Atoi(words[2])
		stored, _ := strconv.ParseInt(words[4], 10, 64)
		processed, _ := strconv.ParseInt(words[5], 10, 64)
		f.processed(message{words[1], number}, time.Duration(processed-stored))
	default:
		f.troubles[line]++
	}
}

// processed judges a message. f.mu is held.
func (f *fleet) processed(m message, delay time.Duration) {
	f.counts.processed++
	f.seen[m]++
	switch {
	case f.seen[m] > 1:
		f.counts.repeated++
	case m.number < f.last[m.key]:
		f.counts.reordered++
	default:
		f.last[m.key] = m.number
	}
	if f.seen[m] == 1 {
		f.delays[m.key] = max(f.delays[m.key], delay)
	}
}

// send publishes at a rate until ctx ends, each message until it is stored.
func (f *fleet) send(ctx context.Context, rate int) {
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() { f.sendSome(ctx, i, rate) })
	}
	all.Wait()
}

// senders are so many, none of which waits for another's message to be stored. The number
// of keys is a multiple of theirs, so that each has keys of its own.
const senders = 4

// sendSome sends every so many-th message when it is due, and what could not be sent in
// time as fast as it goes.
func (f *fleet) sendSome(ctx context.Context, first, rate int) {
	began := time.Now()
	for i := first; ; i += senders {
		if due := time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))); due > 0 {
			process.Wait(ctx, due)
		}
		if ctx.Err() != nil {
			return
		}
		key := fmt.Sprint("k", i%f.keys)
		f.mu.Lock()
		f.next[key]++
		m := message{key, f.next[key]}
		f.mu.Unlock()
		msg := nats.NewMsg(fmt.Sprintf("s.p%d.%s", i%f.keys%f.partitions, key))
		msg.Data = []byte(strconv.Itoa(m.number))
		if err := process.Retry(context.Background(), func(ctx context.Context) error { //nolint:contextcheck // what was begun is finished
			_, err := f.js.PublishMsg(ctx, msg, jetstream.WithMsgID(key+"-"+strconv.Itoa(m.number)))
			return err
		}); err != nil {
			return
		}
		f.mu.Lock()
		f.sent[m] = time.Now()
		f.counts.sent++
		f.mu.Unlock()
	}
}

// await waits until a condition on the fleet holds.
func (f *fleet) await(ctx context.Context, what string, cond func() bool) error {
	return process.Await(ctx, &f.mu, f.changed, what, cond)
}

// covered says whether every partition runs. f.mu is held.
func (f *fleet) covered() bool {
	n := 0
	for _, r := range f.running {
		n += r
	}
	return n == f.partitions
}

// who says whether a worker leads the group.
func (f *fleet) who(p *process.Process) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leader == p {
		return "leader"
	}
	return "worker"
}

// even says whether each worker runs as many as any other. f.mu is held.
func (f *fleet) even() bool {
	all, workers := slices.Concat(f.workers, f.crowd), 0
	for _, p := range all {
		workers += f.size[p]
	}
	for _, p := range all {
		if d := f.running[p]*workers - f.partitions*f.size[p]; d > workers*f.size[p] || d < -workers*f.size[p] {
			return false
		}
	}
	return f.covered()
}

// surround adds so many workers to whom nothing will be done, several to a process.
func (f *fleet) surround(workers int) error {
	for workers > 0 {
		n := min(workers, 16)
		p, err := f.add(n)
		if err != nil {
			return err
		}
		f.remove(p)
		f.mu.Lock()
		f.crowd = append(f.crowd, p)
		f.mu.Unlock()
		workers -= n
	}
	return nil
}

// lost is how many messages were stored and never processed. f.mu is held.
func (f *fleet) lost() (n int) {
	for m := range f.sent {
		if f.seen[m] == 0 {
			n++
		}
	}
	return n
}

// look returns what has been counted since the last look, and forgets it.
func (f *fleet) look() (counts, []time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.counts
	var delays []time.Duration
	for _, d := range f.delays {
		delays = append(delays, d)
	}
	slices.Sort(delays)
	f.counts, f.delays = counts{}, map[string]time.Duration{}
	return c, delays
}

// drain stops the workers one after the other, and waits for what they say.
func (f *fleet) stop() error {
	f.mu.Lock()
	workers := slices.Concat(f.workers, f.crowd)
	f.mu.Unlock()
	var errs []error
	for _, p := range workers {
		errs = append(errs, f.kill(p))
		f.remove(p)
	}
	f.nc.Close()
	return errors.Join(errs...)
}
