package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/google/pprof/profile"

	"github.com/parti-go/parti/internal/measure"
)

// steadyFor is how long an idle fleet is watched.
const steadyFor = 20 * time.Second

func steady(ctx context.Context, o options, tw *tabwriter.Writer) error {
	fmt.Fprintln(tw, "workers\tall have started after\twrites per worker and heartbeat\tgoroutines per worker\theap per worker\t"+
		"cores: all, servers too\tthe leader\ta follower")
	for _, workers := range []int{10, 30, 64, 150, 300, 1000} {
		if workers > o.workers && workers > 150 {
			continue
		}
		p := o
		p.workers, p.partitions, p.stores = workers, 1, []string{"memory"} // next to no handlers
		err := on(ctx, p, "steady", quick(workers), func(_ string, _ *natsServers, f *measure.Fleet) error { return idle(ctx, f, tw) })
		if err != nil {
			return err
		}
	}
	return nil
}

// idle measures a fleet in which nothing happens.
func idle(ctx context.Context, f *measure.Fleet, tw *tabwriter.Writer) error {
	workers := len(f.Workers())
	goroutines, heap := runtime.NumGoroutine(), heapNow()
	came := time.Now()
	if err := f.Up(ctx); err != nil {
		return err
	}
	up := time.Since(came)
	first, err := writes(ctx, f)
	if err != nil {
		return err
	}
	var prof bytes.Buffer
	if err := pprof.StartCPUProfile(&prof); err != nil {
		return err
	}
	began, cpu := time.Now(), cpuNow()
	wait := time.NewTimer(steadyFor)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	pprof.StopCPUProfile()
	took, busy := time.Since(began), cpuNow()-cpu
	last, err := writes(ctx, f)
	if err != nil {
		return err
	}
	leader, follower, err := shares(f, &prof)
	if err != nil {
		return err
	}
	cores := func(d time.Duration) float64 { return d.Seconds() / took.Seconds() }
	fmt.Fprintf(tw, "%d\t%v\t%.2f\t%.1f\t%d KiB\t%.3f\t%.4f\t%.4f\n", workers, up.Round(10*time.Millisecond),
		float64(last-first)/took.Seconds()/float64(workers),
		float64(runtime.NumGoroutine()-goroutines)/float64(workers), (int64(heapNow())-int64(heap))/int64(workers)/1024,
		cores(busy), cores(leader), cores(follower))
	return tw.Flush()
}

// shares is the processor time, in a profile, of the leader and of a follower on
// average: all that runs for it, its connection included.
func shares(f *measure.Fleet, prof *bytes.Buffer) (leader, follower time.Duration, err error) {
	p, err := profile.Parse(prof)
	if err != nil {
		return 0, 0, err
	}
	of := map[string]time.Duration{}
	for _, s := range p.Sample {
		if who := s.Label[measure.Label]; len(who) > 0 {
			of[who[0]] += time.Duration(s.Value[1])
		}
	}
	for _, n := range f.Workers() {
		if n.Manager.IsLeader() {
			leader = of[n.Name]
		} else {
			follower += of[n.Name]
		}
	}
	return leader, follower / time.Duration(max(1, len(f.Workers())-1)), nil
}

// writes is how many writes the store has taken so far.
func writes(ctx context.Context, f *measure.Fleet) (uint64, error) {
	s, err := f.Workers()[0].Stream.Stream(ctx, "KV_parti-steady")
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.LastSeq, nil
}

func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func cpuNow() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
