package sim_test

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/sim"
)

var (
	script  = flag.String("sim.script", "", "replay this script")
	profile = flag.String("sim.profile", "", "only this profile")
	tries   = flag.Int("sim.shrink", 300, "runs spent on shrinking a scenario that failed")
	verbose = flag.Bool("sim.trace", false, "print the whole trace of a violation")
)

// round and sames count the calls of TestFleets and TestSame: with -count each takes
// other seeds.
var (
	round int
	sames uint64
)

func env(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestFleets runs fleets of every profile. PARTI_SIM_SEEDS says how many in all,
// PARTI_SIM_FROM where the seeds begin, PARTI_SIM_MINUTES how long each lasts, and
// PARTI_SIM_FAILURES after how many failures to stop.
func TestFleets(t *testing.T) {
	each := 14 // of every profile; it takes as long as 2 under the race detector

	if testing.Short() || raced {
		each = 1
	}
	n := each * len(sim.Profiles())
	if testing.Short() { // the next ones in each round
		n = n/10 + 1
	}
	seeds, minutes := env(t, "PARTI_SIM_SEEDS", n), env(t, "PARTI_SIM_MINUTES", sim.Minutes)
	from := env(t, "PARTI_SIM_FROM", seeds*round)
	round++
	profiles := sim.Profiles()
	if *profile != "" {
		profiles = strings.Split(*profile, ",")
	}
	var (
		mu    sync.Mutex
		total sim.Totals
		wait  sync.WaitGroup
		next  = from
	)
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				stop := seed >= from+seeds || len(total.Failed) >= env(t, "PARTI_SIM_FAILURES", 1)
				mu.Unlock()
				if stop {
					return
				}
				sc := sim.Generate(profiles[seed%len(profiles)], uint64(seed), minutes)
				res := sim.Run(sc, sim.Options{})
				mu.Lock()
				total.Add(sc, &res)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	t.Logf("%s, %.1fs\n%s", &total, time.Since(start).Seconds(), total.Faults())
	for i, sc := range total.Failed {
		if i < 3 {
			fail(t, sc)
		} else {
			t.Errorf("seed %d (%s): %v", sc.Seed, sc.Profile, total.Violations[i])
		}
	}
	if seeds >= 8*len(sim.Profiles()) && *profile == "" && len(total.Failed) == 0 {
		for _, k := range total.Missing() {
			t.Errorf("no fault of kind %q has taken effect: the proof is hollow", k)
		}
		if total.Stats.Counted == 0 {
			t.Error("no moves were counted: the proof is hollow")
		}
	}
}

// fail reports a scenario that broke a promise, with the least script that does.
func fail(t *testing.T, sc *sim.Scenario) {
	t.Helper()
	v := sim.Run(sc, sim.Options{}).Violation
	if v == nil {
		t.Errorf("seed %d (%s) failed, and does not when it is run again: something is not deterministic", sc.Seed, sc.Profile)
		return
	}
	least := sc
	if *tries > 0 {
		least = sim.Shrink(sc, v.Promise, *tries)
	}
	again := sim.Run(least, sim.Options{Trace: true})
	t.Errorf("seed %d (%s): %v\nthe least that does: %v\nreplay with: go test ./internal/sim -run TestReplay -sim.script=FILE\n%s\n%s",
		sc.Seed, sc.Profile, v, again.Violation, least.Script(), strings.Join(lines(&again), "\n"))
}

func lines(r *sim.Result) []string {
	if *verbose || r.Violation == nil {
		return r.Trace
	}
	out := sim.Timeline(r.Trace, r.Violation.Partition)
	return out[max(0, len(out)-60):]
}

// TestReplay plays a script.
func TestReplay(t *testing.T) {
	if *script == "" {
		t.Skip("no -sim.script")
	}
	sc := load(t, *script)
	r := sim.Run(sc, sim.Options{Trace: true})
	t.Logf("%d steps, violation: %v\n%s", r.Stats.Steps, r.Violation, strings.Join(lines(&r), "\n"))
	if r.Violation != nil {
		t.Fail()
	}
}

func load(t *testing.T, file string) *sim.Scenario {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sc, err := sim.Parse(f)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return sc
}

// TestScripts plays what once failed.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			sc := load(t, file)
			r := sim.Run(sc, sim.Options{})
			switch {
			case r.Violation == nil && sc.Expect != 0:
				t.Errorf("promise %s is kept now: take the expectation out", sc.Expect)
			case r.Violation != nil && r.Violation.Promise != sc.Expect:
				t.Error(r.Violation)
			}
		})
	}
}

// TestSame runs some scenarios twice: the same scenario is the same run.
func TestSame(t *testing.T) {
	seeds := uint64(len(sim.Profiles()))
	first := uint64(0)
	if testing.Short() || raced { // other ones in each round
		first = sames % seeds
		sames++
		seeds = first + 1
	}
	for seed := first; seed < seeds; seed++ {
		sc := sim.Generate(sim.Profiles()[seed], seed, sim.Minutes)
		sc.Run = min(sc.Run, 3*time.Minute)
		a, b := sim.Run(sc, sim.Options{}), sim.Run(sc, sim.Options{Trace: true})
		if a.Stats != b.Stats {
			t.Errorf("seed %d (%s): two runs differ:\n%+v\n%+v", seed, sc.Profile, a.Stats, b.Stats)
		}
	}
}

// TestScript reads what it writes.
func TestScript(t *testing.T) {
	for seed := range uint64(200) {
		sc := sim.Generate(sim.Profiles()[seed%uint64(len(sim.Profiles()))], seed, sim.Minutes)
		text := sc.Script()
		again, err := sim.Parse(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if got := again.Script(); got != text {
			t.Fatalf("wrote\n%s\nand read\n%s", text, got)
		}
	}
	for _, bad := range []string{"", "seed x", "at 1s nothing", "host start=1", "run 1s", "set Nothing 3", "partitions a", "what", "claim nothing"} {
		if _, err := sim.Parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is no script", bad)
		}
	}
}

// What a script says of hosts and partitions that there cannot be is said at once.
func TestScriptOfNobody(t *testing.T) {
	for fault, says := range map[string]string{
		"crash -1":              "at 1s crash -1: there is no host -1: it is 0 to 1",
		"crash 0,2":             "at 1s crash 0,2: there is no host 2: it is 0 to 1",
		"garble n=-1":           "line 2: garble n=-1: it is 0 or more",
		"remove for 1s n=-1":    "line 2: remove n=-1: it is 0 or more",
		"poison n=-1 0":         "line 2: poison n=-1: it is 0 or more",
		"go-back n=-1":          "line 2: go-back n=-1: it is 0 or more",
		"crash 0,1 for 5s n=1":  "",
		"skew 0 for 5s n=-1000": "",
		"garble for 1s n=7":     "",
		"remove for 1s n=99999": "",
	} {
		sc, err := sim.Parse(strings.NewReader("run 1m quiet 1m\nat 1s " + fault + "\npartitions 1 1\nhost start=1s\nhost\n"))
		switch {
		case err == nil && says == "":
			sim.Run(sc, sim.Options{})
		case err == nil || err.Error() != says:
			t.Errorf("%s: %v", fault, err)
		}
	}
}
