package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/parti-go/parti/bench/internal/process"
)

// cursorProcesses is how many processes the workers are in.
const cursorProcesses = 4

// cursors is what thousands of partitions cost.
func cursors(ctx context.Context, o options, tw *tabwriter.Writer) error {
	rate := o.rate
	if rate == 0 {
		rate = 2000
	}
	o.workers, o.partitions = cmp.Or(o.workers, 64), cmp.Or(o.partitions, 6000)
	s, err := process.StartSite(1)
	if err != nil {
		return err
	}
	defer s.Stop()
	f, err := newFleet(ctx, s, "cursor", o.partitions, o.partitions, o.isolation)
	if err != nil {
		return err
	}
	began := time.Now()
	for range cursorProcesses {
		if _, err := f.add(o.workers / cursorProcesses); err != nil {
			return err
		}
	}
	if err := f.await(ctx, "all partitions run", f.covered); err != nil {
		return err
	}
	fmt.Fprintf(tw, "%d partitions, %d workers in %d processes, one node\n\n", o.partitions, o.workers, cursorProcesses)
	fmt.Fprintf(tw, "first process started until all run\t%v\n", time.Since(began).Round(10*time.Millisecond))

	sending, enough := context.WithCancel(ctx)
	defer enough()
	go f.send(sending, rate)
	process.Wait(ctx, 5*time.Second)
	f.look()
	writes, err := f.cursorWrites(ctx)
	if err != nil {
		return err
	}
	const window = 10 * time.Second
	process.Wait(ctx, window)
	after, err := f.cursorWrites(ctx)
	if err != nil {
		return err
	}
	c, delays := f.look()
	fmt.Fprintf(tw, "messages/s sent, processed\t%d, %d\n", c.sent/10, c.processed/10)
	fmt.Fprintf(tw, "delay, the longest of each key: p50, max\t%v, %v\n", delays[len(delays)/2].Round(100*time.Microsecond), delays[len(delays)-1].Round(100*time.Microsecond))
	fmt.Fprintf(tw, "cursor writes/s\t%.0f\n", float64(after-writes)/window.Seconds())
	st, err := f.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	fmt.Fprintf(tw, "consumers on the stream\t%d\n", st.CachedInfo().State.Consumers)
	memory := 0
	for _, p := range f.workers {
		memory += resident(p)
	}
	fmt.Fprintf(tw, "resident memory per worker\t%.1f MiB\n", float64(memory)/float64(o.workers)/1024)

	f.look()
	began = time.Now()
	if _, err := fmt.Fprintln(f.workers[0].In, "drain"); err != nil {
		return err
	}
	process.Wait(ctx, 100*time.Millisecond)
	if err := f.await(ctx, "all partitions run", f.covered); err != nil {
		return err
	}
	fmt.Fprintf(tw, "one worker drained: all run elsewhere after\t%v\n", time.Since(began).Round(time.Millisecond))
	process.Wait(ctx, 2*time.Second)
	c, delays = f.look()
	fmt.Fprintf(tw, "meanwhile: repeated, reordered, longest delay\t%d, %d, %v\n", c.repeated, c.reordered, delays[len(delays)-1].Round(time.Millisecond))
	enough()
	process.Wait(ctx, 500*time.Millisecond)
	if err := f.await(ctx, "every message is processed", func() bool { return f.lost() == 0 }); err != nil {
		return err
	}
	fmt.Fprintf(tw, "lost\t%d\n", f.lost())
	f.tell(tw)
	return f.stop()
}

// cursorWrites is how many cursors have been written so far.
func (f *fleet) cursorWrites(ctx context.Context) (uint64, error) {
	st, err := f.js.Stream(ctx, "KV_"+group+"-cursors")
	if err != nil {
		return 0, err
	}
	return st.CachedInfo().State.LastSeq, nil
}

// resident is a process's memory, in KiB.
func resident(p *process.Process) (kib int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, _ = fmt.Sscan(rest, &kib)
		}
	}
	return kib
}
