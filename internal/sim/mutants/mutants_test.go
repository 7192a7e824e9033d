package mutants_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/sim/mutants"
)

var only = flag.String("mutant", "", "only mutants whose rule contains this")

// found is the line that TestFleets prints of a violation.
var found = regexp.MustCompile(`seed (\d+) \((\w+)\): promise (\d+) \(([^)]*)\), at [^:]*: (.*)`)

// TestMutants builds the simulator with each rule taken away, and expects it to
// find the promise that is then broken.
func TestMutants(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("builds the simulator many times, without the race detector: make mutants")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants.All {
		if !strings.Contains(m.Rule, *only) {
			continue
		}
		t.Run(m.Rule, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			dir := t.TempDir()
			overlay, err := m.Overlay(root, dir)
			if err != nil {
				t.Fatal(err)
			}
			if m.Package != "" {
				fast(t, root, overlay, m.Package)
				return
			}
			bin := filepath.Join(dir, "sim.test")
			build(t, root, overlay, bin)
			built := time.Since(start)
			var out string
			for profile := range strings.SplitSeq(m.Profiles, ",") {
				if out = run(t, bin, root, profile, m.Seeds); out != "" {
					break
				}
			}
			hit := found.FindStringSubmatch(out)
			if hit == nil {
				t.Fatalf("survives %d seeds each of %s: %s", m.Seeds, m.Profiles, out)
			}
			promise, _ := strconv.Atoi(hit[3])
			if !slices.Contains(m.Breaks, promise) {
				t.Errorf("breaks promise %s (%s), not %v: %s", hit[3], hit[4], m.Breaks, hit[5])
			}
			t.Logf("caught by promise %s (%s), seed %s of %s: %s (build %.1fs, run %.1fs)",
				hit[3], hit[4], hit[1], hit[2], hit[5], built.Seconds(), (time.Since(start) - built).Seconds())
		})
	}
}

func build(t *testing.T, root, overlay, bin string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-o", bin, "./internal/sim")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("a mutant must compile: %v\n%s", err, out)
	}
}

// run tries seeds until one fails. It returns nothing when none does.
func run(t *testing.T, bin, root, profile string, seeds int) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, bin, "-test.run=^TestFleets$", "-sim.profile="+profile, "-sim.shrink=0")
	cmd.Dir = filepath.Join(root, "internal", "sim")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PARTI_SIM_SEEDS=%d", seeds), "PARTI_SIM_FROM=0", "PARTI_SIM_FAILURES=1", "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &exit) && found.Match(out):
		return string(out)
	default:
		t.Fatalf("%v\n%s", err, out)
		return ""
	}
}

// fast runs a package's own tests, which must build and fail.
func fast(t *testing.T, root, overlay, pkg string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-overlay", overlay, pkg)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		t.Fatalf("survives the tests of %s", pkg)
	case !strings.Contains(string(out), "--- FAIL"):
		t.Fatalf("%v\n%s", err, out)
	}
	_, name, _ := strings.Cut(string(out), "--- FAIL")
	name, _, _ = strings.Cut(name, "\n")
	t.Logf("caught by the tests of %s: %s", pkg, name)
}
