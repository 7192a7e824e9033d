//go:build unix

package builds

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/partitest"
)

// Environment variables.
const (
	earlierBuild = "PARTI_EARLIER_BUILD" // the command parti of another build
	thisBuild    = "PARTI_THIS_BUILD"    // and of this one
	ledgerPipe   = "PARTI_TEST_LEDGER"   // says that this process is the work, and where it writes
	workerName   = "PARTI_TEST_WORKER"   // and for whom
)

func TestMain(m *testing.M) {
	if pipe := os.Getenv(ledgerPipe); pipe != "" {
		os.Exit(work(pipe)) //nolint:forbidigo // this process is no test
	}
	m.Run()
}

// work is what parti run runs for each partition: it says when it starts and, once it is
// asked to, when it ends.
func work(pipe string) (code int) {
	if err := worked(pipe); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func worked(pipe string) error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	to, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	say := func(what partitest.What) error { // in one piece
		_, err := fmt.Fprintf(to, "%d %s %s %s\n", what, os.Getenv(workerName), os.Getenv("PARTI_PARTITION"), os.Getenv("PARTI_TOKEN"))
		return err
	}
	if err := say(partitest.Started); err != nil {
		return err
	}
	<-end
	return say(partitest.Returned)
}

const (
	workers    = 4
	partitions = 24
	patience   = 3 * time.Minute
)

// A fleet is processes of parti run, each of one build or the other.
type fleet struct {
	*partitest.Ledger
	t    *testing.T
	nats *partitest.NATS
	pipe string
	all  [workers]*process
}

type process struct {
	cmd   *exec.Cmd
	ended chan error
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{Ledger: partitest.NewLedger(t), t: t, nats: partitest.StartNATS(t), pipe: filepath.Join(t.TempDir(), "ledger")}
	if err := syscall.Mkfifo(f.pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	// For reading and writing, so that it does not end with the last process.
	from, err := os.OpenFile(f.pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		f.listen(from)
	}()
	t.Cleanup(func() {
		_ = from.Close()
		<-heard
	})
	t.Cleanup(func() {
		for i := range f.all {
			f.stop(i)
		}
	})
	return f
}

// listen enters what the work says, in the order in which it comes.
func (f *fleet) listen(from io.Reader) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		var e partitest.Entry
		if _, err := fmt.Sscan(lines.Text(), &e.What, &e.Worker, &e.Partition, &e.Token); err != nil {
			f.t.Errorf("%q: %v", lines.Text(), err)
			continue
		}
		f.Enter(e)
	}
}

// start lets the i-th worker be a process of that build.
func (f *fleet) start(i int, build string) {
	f.t.Helper()
	f.Mark("w%d starts, build %s", i, os.Getenv(build))
	cmd := exec.CommandContext(context.WithoutCancel(f.t.Context()), os.Getenv(build), "run", "--nats", f.nats.Node(0).URL(), "--group", "skew",
		"--partitions", fmt.Sprint(partitions), "--identity", fmt.Sprint("w", i), "--expected-workers", fmt.Sprint(workers),
		"--restart-grace", "1m", "--", os.Args[0])
	cmd.Env = append(os.Environ(), ledgerPipe+"="+f.pipe, fmt.Sprintf("%s=w%d", workerName, i))
	out, err := os.Create(filepath.Join(f.t.TempDir(), fmt.Sprintf("w%d.log", i)))
	if err != nil {
		f.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	p := &process{cmd: cmd, ended: make(chan error, 1)}
	go func() {
		p.ended <- cmd.Wait()
		_ = out.Close()
		if f.t.Failed() {
			text, _ := os.ReadFile(out.Name())
			fmt.Fprintf(os.Stderr, "--- w%d\n%s\n", i, text)
		}
	}()
	f.all[i] = p
}

// stop stops the i-th worker as an orchestrator does.
func (f *fleet) stop(i int) {
	p := f.all[i]
	if p == nil {
		return
	}
	f.all[i] = nil
	f.Mark("w%d is asked to stop", i)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		f.t.Error(err)
	}
	select {
	case err := <-p.ended:
		if err != nil {
			f.t.Errorf("w%d: %v", i, err)
		}
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		f.t.Errorf("w%d does not stop", i)
	}
}

func (f *fleet) parts() (all []parti.Partition) {
	for i := range partitions {
		all = append(all, parti.Partition{ID: fmt.Sprint(i)}) // as --partitions names them
	}
	return all
}

// settled waits until each has its part.
func (f *fleet) settled() {
	f.t.Helper()
	f.Await("every worker has its part", patience, func() bool {
		shares := f.Shares()
		for _, n := range shares {
			if n != partitions/workers {
				return false
			}
		}
		return len(shares) == workers
	})
	f.Covered(patience, f.parts()...)
}

// A fleet goes from one build to the other, a worker at a time, and back again: nothing
// moves, whichever build leads. Then, half and half, a killed worker of either is found.
func TestBuildsRolled(t *testing.T) {
	for _, name := range []string{earlierBuild, thisBuild} {
		if os.Getenv(name) == "" {
			t.Skipf("%s names no command: make skew", name)
		}
	}
	f := newFleet(t)
	for i := range workers {
		f.start(i, earlierBuild)
	}
	f.settled()
	before := f.Report()
	for _, build := range []string{thisBuild, earlierBuild} {
		for i := range workers {
			f.stop(i)
			f.start(i, build)
			f.settled()
		}
	}
	f.Check(parti.Fence, partitest.MaxMoves(before.Moves))
	r := f.Report()
	if most := before.Starts + 2*partitions; r.Starts > most {
		t.Errorf("%d starts, want at most %d: each worker's part twice", r.Starts, most)
	}
	t.Log(r)

	for i := range workers / 2 { // half of them
		f.stop(i)
		f.start(i, thisBuild)
		f.settled()
	}
	for _, i := range []int{0, workers - 1} { // one of each build
		p := f.all[i]
		f.all[i] = nil
		f.Mark("w%d is killed", i)
		partitest.Kill(t, p.cmd.Process)
		<-p.ended //nolint:errcheck // it was killed
		f.Enter(partitest.Entry{What: partitest.Crashed, Worker: fmt.Sprint("w", i)})
		f.Covered(patience, f.parts()...)
		f.start(i, map[int]string{0: earlierBuild, workers - 1: thisBuild}[i]) // the other one
		f.settled()
	}
	f.Check(parti.Fence)
}
