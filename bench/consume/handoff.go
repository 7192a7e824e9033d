package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/parti-go/parti/bench/internal/process"
	"github.com/parti-go/parti/partitest"
)

// errBroken says that a promise was.
var errBroken = errors.New("messages were lost or came out of order, or ownership was not as promised")

// handoff lets workers and nodes come and go, one after the other, and says what the
// messages of that time have seen.
func handoff(ctx context.Context, o options, tw *tabwriter.Writer) error {
	rate := o.rate
	if rate == 0 {
		rate = 250
	}
	o.workers, o.partitions = cmp.Or(o.workers, 3), cmp.Or(o.partitions, 12)
	fmt.Fprintf(tw, "%d messages/s over %d keys in %d partitions, %d workers. Delay: from stored to processed, the longest of each key\n\n",
		rate, handoffKeys(o), o.partitions, o.workers)
	fmt.Fprintf(tw, "%5s  %-8s  %-32s %9s %9s %9s %10s %10s\n", "nodes", "way", "event", "processed", "repeated", "reordered", "delay p50", "delay max")
	broken := false
	for _, nodes := range o.nodes {
		for _, way := range o.ways {
			bad, err := handoffOn(ctx, o, nodes, way, rate, tw)
			if err != nil {
				return fmt.Errorf("%d nodes, %s: %w", nodes, way, err)
			}
			broken = broken || bad
		}
	}
	if broken {
		return errBroken
	}
	return nil
}

// handoffKeys is the number of keys: some for each partition where these are few.
func handoffKeys(o options) int { return (max(60, o.partitions) + senders - 1) / senders * senders }

// singles is how many workers at most are processes of their own: things are done to one
// process after another. The others share processes, as many would be the machine's load.
const singles = 4

func handoffOn(ctx context.Context, o options, nodes int, way string, rate int, tw *tabwriter.Writer) (broken bool, err error) {
	s, err := process.StartSite(nodes)
	if err != nil {
		return false, err
	}
	defer s.Stop()
	f, err := newFleet(ctx, s, way, o.partitions, handoffKeys(o), o.isolation)
	if err != nil {
		return false, err
	}
	if err := f.surround(max(o.workers-singles, 0)); err != nil {
		return false, err
	}
	for range min(o.workers, singles) {
		if _, err := f.add(1); err != nil {
			return false, err
		}
	}
	if err := f.await(ctx, "all partitions run", f.even); err != nil {
		return false, err
	}
	sending, enough := context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		f.send(sending, rate)
	}()
	row := func(event string) {
		c, delays := f.look()
		broken = broken || c.reordered > 0
		if len(delays) == 0 {
			delays = []time.Duration{0}
		}
		fmt.Fprintf(tw, "%5d  %-8s  %-32s %9d %9d %9d %10v %10v\n", nodes, way, event, c.processed, c.repeated, c.reordered,
			delays[len(delays)/2].Round(100*time.Microsecond), delays[len(delays)-1].Round(100*time.Microsecond))
		_ = tw.Flush()
	}
	if err := f.events(ctx, row); err != nil {
		enough()
		return broken, err
	}
	enough()
	<-sent
	if err := f.await(ctx, "every message is processed", func() bool { return f.lost() == 0 }); err != nil {
		fmt.Fprintf(tw, "%5d  %-8s  LOST %d\n", nodes, way, f.lost())
		broken = true
	}
	f.tell(tw)
	return broken, f.stop()
}

// tell says what workers had to tell, the most frequent first.
func (f *fleet) tell(tw *tabwriter.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kinds := map[string]int{}
	for text, n := range f.troubles {
		kinds[numbers.ReplaceAllString(text, "N")] += n
	}
	for _, kind := range slices.SortedFunc(maps.Keys(kinds), func(a, b string) int { return kinds[b] - kinds[a] }) {
		fmt.Fprintf(tw, "       (%d times: %.120s)\n", kinds[kind], kind)
	}
}

var numbers = regexp.MustCompile(`\d+`)

// events are what handoff does.
func (f *fleet) events(ctx context.Context, row func(event string)) error {
	process.Wait(ctx, 3*time.Second)
	row("nothing")

	added, err := f.add(1)
	if err != nil {
		return err
	}
	if err := f.await(ctx, "the new one has its share", f.even); err != nil {
		return err
	}
	process.Wait(ctx, 2*time.Second)
	row("worker added")

	f.remove(added)
	if err := added.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := f.await(ctx, "its share runs elsewhere", f.even); err != nil {
		return err
	}
	process.Wait(ctx, 2*time.Second)
	row("worker drained")

	victim := f.workers[0]
	who := f.who(victim)
	f.remove(victim)
	if err := f.kill(victim); err != nil {
		return err
	}
	process.Wait(ctx, 500*time.Millisecond)
	if err := f.await(ctx, "its share runs elsewhere", f.even); err != nil {
		return err
	}
	process.Wait(ctx, 2*time.Second)
	row(who + " killed")
	if _, err := f.add(1); err != nil {
		return err
	}
	if err := f.await(ctx, "it is even again", f.even); err != nil {
		return err
	}
	process.Wait(ctx, 2*time.Second)
	f.look()

	frozen := f.workers[0]
	who = f.who(frozen)
	if err := frozen.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	process.Wait(ctx, 20*time.Second)
	if err := frozen.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	process.Wait(ctx, 8*time.Second)
	if err := f.await(ctx, "it is even again", f.even); err != nil {
		return err
	}
	row(who + " frozen for 20 s and woken")
	if len(f.site.Nodes) == 1 {
		return nil
	}

	i, err := f.streamLeader(ctx)
	if err != nil {
		return err
	}
	if err := f.site.Nodes[i].Signal(syscall.SIGKILL); err != nil {
		return err
	}
	process.Wait(ctx, 20*time.Second)
	if err := f.await(ctx, "all partitions run", f.covered); err != nil {
		return err
	}
	row("stream's leader killed")
	return f.site.Start(i)
}

// streamLeader is the node that leads the stream.
func (f *fleet) streamLeader(ctx context.Context) (int, error) {
	var name string
	err := process.Retry(ctx, func(ctx context.Context) error {
		st, err := f.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		if c := st.CachedInfo().Cluster; c != nil {
			name = c.Leader
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := range f.site.Nodes {
		if name == fmt.Sprint("n", i+1) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no node is %q", name)
}

// churn lets all of it happen by chance.
func churn(ctx context.Context, o options, tw *tabwriter.Writer) error {
	rate := o.rate
	if rate == 0 {
		rate = 2000
	}
	way := o.ways[len(o.ways)-1]
	s, err := process.StartSite(3)
	if err != nil {
		return err
	}
	defer s.Stop()
	f, err := newFleet(ctx, s, way, 48, 480, o.isolation)
	if err != nil {
		return err
	}
	for range 5 {
		if _, err := f.add(1); err != nil {
			return err
		}
	}
	if err := f.await(ctx, "all partitions run", f.even); err != nil {
		return err
	}
	op, err := f.operate(ctx)
	if err != nil {
		return err
	}
	defer op.stop()
	sending, enough := context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		f.send(sending, rate)
	}()
	fmt.Printf("%s, 48 partitions, 480 keys, %d messages/s, three nodes, isolation %v, for %v, seed %d\n", way, rate, o.isolation, o.duration, o.seed)
	events, err := f.churn(ctx, o)
	enough()
	<-sent
	if err != nil {
		return err
	}
	// What does not come about is part of the report, which says why.
	late := errors.Join(f.await(ctx, "all partitions run", f.covered),
		f.await(ctx, "every message is processed", func() bool { return f.lost() == 0 }))
	found := f.ledger.Violations(o.isolation, partitest.MaxGap(worstGap))
	report := f.ledger.Report()
	c, delays := f.look()
	faults := 0
	fmt.Fprintln(tw, "event\ttimes\t")
	for _, e := range []string{"added", "drained", "killed", "frozen", "node killed"} {
		fmt.Fprintf(tw, "%s\t%d\t\n", e, events[e])
		faults += events[e]
	}
	fmt.Fprintf(tw, "in all\t%d\t\n\n", faults)
	op.mu.Lock()
	fmt.Fprintf(tw, "let out of quarantine by the operator\t%d\n", op.lifted)
	op.mu.Unlock()
	fmt.Fprintf(tw, "messages per second, on average\t%.0f\n", float64(c.sent)/o.duration.Seconds())
	fmt.Fprintf(tw, "handlers called\t%d\n", report.Starts)
	fmt.Fprintf(tw, "beside another owner\t%d\n", report.Doubles)
	fmt.Fprintf(tw, "beside one that was frozen\t%d\n", report.OverlapFrozen)
	gaps(tw, report)
	f.mu.Lock()
	lost := f.lost()
	fmt.Fprintf(tw, "\nsent\t%d\nprocessed\t%d\nrepeated\t%d\nlost\t%d\nreordered\t%d\n", c.sent, c.processed, c.repeated, lost, c.reordered)
	f.mu.Unlock()
	if len(delays) > 0 {
		fmt.Fprintf(tw, "delay, the longest of each key: p50\t%v\nmax\t%v\n", delays[len(delays)/2].Round(time.Millisecond), delays[len(delays)-1].Round(time.Millisecond))
	}
	f.tell(tw)
	for _, text := range found {
		fmt.Fprintln(os.Stderr, text)
	}
	if late != nil {
		for _, text := range op.says() {
			fmt.Fprintln(os.Stderr, text)
		}
	}
	if lost > 0 || c.reordered > 0 || len(found) > 0 || late != nil {
		return errors.Join(errBroken, late)
	}
	return f.stop()
}

// worstGap is the longest for which nobody may run a partition, whatever comes together: a
// node that leads the stream (10 s) and the group's leader (LeaderTTL) are lost, the next
// one begins in doubt (RecoveryGrace), and counts SessionTTL, twice where a worker's
// successor is lost as well. An operator lets out of quarantine what chance brings there.
const worstGap = 90 * time.Second

// gaps prints for how long nobody ran a partition, by what had ended its run.
func gaps(tw *tabwriter.Writer, r partitest.Report) {
	by := map[string][]time.Duration{}
	for _, g := range r.Gaps { // "the crash of w3", "its return on w3"
		cause := strings.Join(strings.Fields(g.Cause)[:2], " ")
		by[cause] = append(by[cause], g.Lasted)
	}
	fmt.Fprintln(tw, "\nnobody ran it after\ttimes\tp50\tp99\tmax\t")
	for _, cause := range slices.Sorted(maps.Keys(by)) {
		d := by[cause]
		slices.Sort(d)
		at := func(p int) time.Duration { return d[min(len(d)*p/100, len(d)-1)].Round(time.Millisecond) }
		fmt.Fprintf(tw, "%s\t%d\t%v\t%v\t%v\t\n", cause, len(d), at(50), at(99), at(100))
	}
}

// freeze stops a process for a while.
func (f *fleet) freeze(p *process.Process, d time.Duration) error {
	f.mu.Lock()
	name := f.names[p]
	f.mu.Unlock()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	f.ledger.Enter(partitest.Entry{What: partitest.Frozen, Worker: name})
	time.AfterFunc(d, func() {
		f.ledger.Enter(partitest.Entry{What: partitest.Woke, Worker: name})
		_ = p.Signal(syscall.SIGCONT) // it may have been killed meanwhile
	})
	return nil
}

// churn does something every few seconds, and counts what.
func (f *fleet) churn(ctx context.Context, o options) (map[string]int, error) {
	rng := rand.New(rand.NewPCG(o.seed, 0))
	events := map[string]int{}
	for end := time.Now().Add(o.duration); time.Now().Before(end) && ctx.Err() == nil; {
		process.Wait(ctx, time.Duration(2000+rng.IntN(6000))*time.Millisecond)
		event, err := f.one(ctx, rng)
		if err != nil {
			return events, fmt.Errorf("%s: %w", event, err)
		}
		events[event]++
	}
	return events, nil
}

func (f *fleet) one(ctx context.Context, rng *rand.Rand) (string, error) {
	f.mu.Lock()
	workers := len(f.workers)
	p := f.workers[rng.IntN(workers)]
	f.mu.Unlock()
	n := rng.IntN(10)
	switch {
	case workers < 4 || n < 3 && workers < 8:
		_, err := f.add(1)
		return "added", err
	case n < 6:
		f.remove(p)
		return "drained", p.Signal(syscall.SIGTERM)
	case n < 8:
		f.remove(p)
		return "killed", f.kill(p)
	case n < 9:
		return "frozen", f.freeze(p, time.Duration(1+rng.IntN(25))*time.Second)
	}
	i := rng.IntN(len(f.site.Nodes))
	if err := f.site.Nodes[i].Signal(syscall.SIGKILL); err != nil {
		return "node killed", err
	}
	process.Wait(ctx, 12*time.Second) // long enough for another leader, and for the node to be missed
	if err := f.site.Start(i); err != nil {
		return "node killed", err
	}
	process.Wait(ctx, 15*time.Second) // the node catches up before another one dies
	return "node killed", nil
}
