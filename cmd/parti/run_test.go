//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// busy is a command with a process of its own, which ignores what it can. It waits without
// looking again and again: two dozen shells that start a sleep each moment keep a core from
// the workers, and use up the numbers of processes, so that one of them comes again.
const busy = `
	(trap "" TERM HUP INT; exec sleep 600) &
	trap 'kill -KILL $!; echo asked; exit 0' TERM
	echo "pid $!"
	wait`

// Three processes share a script; one is killed, one is stopped, one is interrupted.
func TestRunFleet(t *testing.T) {
	t.Parallel()
	const partitions = 12
	// Nothing moves soon for who comes late: a shell that is asked to end as soon as it started
	// has not said yet what it does then.
	s := newScene(t, patient, "--partitions", fmt.Sprint(partitions), "--expected-workers", "3").nats()
	var fleet []*proc
	for i := range 3 {
		fleet = append(fleet, s.start(fmt.Sprintf("host-%d", i), busy))
	}
	victim, lost := fleet[0], share(t, partitions/3, fleet...)[0]
	pids := victim.pidsNow(lost)
	if len(pids) != 2*partitions/3 {
		t.Errorf("%d processes", len(pids))
	}
	killed := time.Now()
	victim.signal(syscall.SIGKILL)
	gone := waitGone(t, pids)
	t.Logf("killed: all %d processes of its commands are gone after %v", len(pids), gone.Sub(killed))
	// The others had four each, and each gets two more.
	again := slices.Concat(share(t, partitions/2, fleet[1:]...)...)
	for _, was := range lost {
		i := slices.IndexFunc(again, func(e entry) bool { return e.Partition == was.Partition })
		if i < 0 || again[i].Token <= was.Token {
			t.Errorf("partition %s: %+v after %+v", was.Partition, again[max(i, 0)], was)
			continue
		}
		if at := again[i].Time; at.Before(gone.Truncate(time.Millisecond)) {
			t.Errorf("partition %s was started %v before all was gone", was.Partition, gone.Sub(at))
		}
	}

	fleet[1].signal(syscall.SIGTERM)
	fleet[1].ends(0)
	fleet[2].running(partitions)
	fleet[2].signal(syscall.SIGINT)
	fleet[2].ends(0)
	for _, p := range fleet[1:] {
		asked := 0
		all := p.entries()
		for _, e := range of(all, "output") {
			if e.Line == "asked" {
				asked++
			}
		}
		if started, ended := of(all, "started"), of(all, "ended"); len(started) != len(ended) || asked != len(started) {
			t.Errorf("%s: %d started, %d were asked to end, %d did", p.name, len(started), asked, len(ended))
		}
	}
}

// A process that is stopped ends nothing by itself. Under Fence its guardian does, before
// the trust in it ends, and so before anybody else begins.
func TestRunFence(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"willing":   busy,
		"unwilling": `trap "" TERM; sleep 600 & echo "pid $!"; wait`,
	} {
		t.Run(name, func(t *testing.T) { runFence(t, script) })
	}
}

func runFence(t *testing.T, script string) {
	t.Helper()
	const (
		ttl    = 8 * time.Second
		margin = 3 * time.Second
	)
	s := newScene(t, "fence_margin: 3s\n", "--partitions", "6", "--expected-workers", "2",
		"--isolation", "fence", "--drain-timeout", "1s", "--session-ttl", ttl.String()).nats()
	a, b := s.start("a", script), s.start("b", script)
	lost := share(t, 3, a, b)[0]
	pids := a.pidsNow(lost)
	if len(pids) != 6 {
		t.Errorf("%d processes", len(pids))
	}
	stopped := time.Now()
	a.signal(syscall.SIGSTOP)
	gone := waitGone(t, pids)
	// What was renewed last was sent before it was stopped. The margin is for a machine that
	// is too busy to end them in time.
	trusted := stopped.Add(ttl - margin)
	if gone.After(trusted.Add(margin)) {
		t.Errorf("commands went on %v longer than the trust", gone.Sub(trusted))
	}
	t.Logf("stopped: all %d processes are gone after %v, at the least %v before the trust in it would end",
		len(pids), gone.Sub(stopped), trusted.Sub(gone))
	took := b.running(6)
	for _, was := range lost {
		i := slices.IndexFunc(took, func(e entry) bool { return e.Partition == was.Partition })
		if i < 0 || took[i].Token <= was.Token || took[i].Time.Before(gone.Truncate(time.Millisecond)) {
			t.Errorf("partition %s: %+v after %+v, gone at %v", was.Partition, took[max(i, 0)], was, gone)
			continue
		}
		t.Logf("partition %s is started elsewhere %v later", was.Partition, took[i].Time.Sub(gone))
	}

	// When it wakes, it knows what has happened, and comes back.
	a.signal(syscall.SIGCONT)
	for _, was := range lost {
		e := a.first("the end of "+was.Partition, func(e entry) bool { return e.Event == "ended" && e.PID == was.PID })
		if e.Why != "trust" {
			t.Errorf("%+v", e)
		}
	}
	share(t, 3, a, b)
	for _, p := range []*proc{a, b} {
		p.signal(syscall.SIGTERM)
		p.ends(0)
	}
}

// A partition goes to another worker only after its command has ended: by itself where it
// does, and by force where it does not.
func TestRunRevoke(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, drain, script, signal string }{ // a shell may need long to say something
		{"willing", "20s", `trap 'echo bye; exit 0' TERM; sleep 600 & echo ready; wait`, ""},
		{"unwilling", "5s", `trap 'echo no' TERM; echo ready; while :; do sleep 600 & wait; done`, "SIGKILL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, "", "--partitions", "4", "--drain-timeout", c.drain).nats()
			a := s.start("a", c.script)
			a.running(4)
			b := s.start("b", c.script)
			moved := share(t, 2, a, b)[1]
			for _, m := range moved {
				e := a.first("the end of "+m.Partition, func(e entry) bool { return e.Event == "ended" && e.Partition == m.Partition })
				asked := a.first("the revoke of "+m.Partition, func(e entry) bool { return e.Event == "revoked" && e.Partition == m.Partition })
				if e.Signal != c.signal || c.signal == "" && (e.Code == nil || *e.Code != 0) {
					t.Errorf("%+v", e)
				}
				if m.Time.Before(e.Time) {
					t.Errorf("partition %s is started %v before its end elsewhere", m.Partition, e.Time.Sub(m.Time))
				}
				if c.signal == "" {
					a.says(m.Partition, "bye")
					continue
				}
				a.says(m.Partition, "no")
				if took := e.Time.Sub(asked.Time); took < 1500*time.Millisecond { // it was asked a moment before that was written
					t.Errorf("killed after %v", took)
				}
			}
			a.signal(syscall.SIGTERM)
			b.signal(syscall.SIGTERM)
			a.ends(0)
			b.ends(0)
		})
	}
}

// The second signal ends all at once.
func TestRunTwoSignals(t *testing.T) {
	t.Parallel()
	s := newScene(t, "", "--partitions", "2", "--expected-workers", "1").nats()
	p := s.start("a", `trap 'echo no' TERM; echo ready; while :; do sleep 600 & wait; done`)
	p.running(2)
	p.signal(syscall.SIGINT)
	p.says("0", "no")
	p.signal(syscall.SIGINT)
	p.ends(-1)
	waitGone(t, p.pids())
}

// Exit codes say what becomes of a partition.
func TestRunCodes(t *testing.T) {
	t.Parallel()
	s := newScene(t, patient, "--partitions", "3", "--expected-workers", "2", "--done-on-success", "--reject-code", "75").nats()
	mark := filepath.Join(s.dir, "mark")
	script := `echo "$PARTI_WORKER {worker} {partition} {token} $PARTI_TOKEN"
		case $PARTI_PARTITION in
		0) exit 0 ;;
		1) mkdir ` + mark + ` 2>/dev/null && exit 75 ;;
		2) mkdir ` + mark + `-2 2>/dev/null && exit 3 ;;
		esac
		exec sleep 600`
	a, b := s.start("a", script), s.start("b", script)
	both := func(what string, is func(e entry) bool) entry {
		t.Helper()
		return firstOf(t, what, is, a, b)
	}
	both("0 is done", func(e entry) bool { return e.Event == "done" && e.Partition == "0" })
	was := both("1 is rejected", func(e entry) bool { return e.Event == "rejected" && e.Partition == "1" })
	both("1 is started again", func(e entry) bool { return e.Event == "started" && e.Partition == "1" && e.Token > was.Token })
	e := both("2 is started again", func(e entry) bool { return e.Event == "restart" && e.Partition == "2" })
	if e.Backoff == nil || *e.Backoff != 1000 || e.Err != "exit code 3" {
		t.Errorf("%+v", e)
	}
	both("2 runs again", func(x entry) bool { return x.Event == "started" && x.Partition == "2" && x.Time.After(e.Time) })
	for _, p := range []*proc{a, b} {
		p.signal(syscall.SIGTERM)
		p.ends(0)
		for _, e := range of(p.entries(), "output") {
			if words := strings.Fields(e.Line); len(words) != 5 || words[0] != words[1] || words[2] != e.Partition || words[3] != words[4] || words[3] != fmt.Sprint(e.Token) {
				t.Errorf("%+v", e)
			}
		}
	}
}

// What the first process of a command says counts, although others go on after it.
func TestRunCodesBesideOthers(t *testing.T) {
	t.Parallel()
	s := newScene(t, patient, "--partitions", "2", "--expected-workers", "2", "--done-on-success", "--reject-code", "75").nats()
	mark := filepath.Join(s.dir, "mark")
	script := `echo "here"
		sleep 600 & echo "pid $!"
		case $PARTI_PARTITION in
		0) exit 0 ;;
		1) mkdir ` + mark + ` 2>/dev/null && exit 75 ;;
		esac
		wait`
	a, b := s.start("a", script), s.start("b", script)
	for partition, want := range map[string]struct {
		event string
		code  int
	}{"0": {"done", 0}, "1": {"rejected", 75}} {
		ended := firstOf(t, partition+" has ended", func(e entry) bool { return e.Event == "ended" && e.Partition == partition }, a, b)
		if ended.Why != "rest" || ended.Code == nil || *ended.Code != want.code || !strings.HasSuffix(ended.Text, "; others went on, and were ended") {
			t.Errorf("%+v", ended)
		}
		next := firstOf(t, "what becomes of "+partition, func(e entry) bool {
			return e.Partition == partition && slices.Contains([]string{"done", "rejected", "restart"}, e.Event)
		}, a, b)
		if next.Event != want.event {
			t.Errorf("%+v", next)
		}
	}
	for _, p := range []*proc{a, b} {
		p.signal(syscall.SIGTERM)
		p.ends(0)
	}
}

// All that commands write comes out, whole, although one of what they started holds the
// pipe for longer.
func TestRunOutput(t *testing.T) {
	t.Parallel()
	s := newScene(t, "", "--partitions", "4", "--expected-workers", "1", "--done-on-success").nats()
	p := s.start("a", `
		i=0; while [ $i -lt 500 ]; do echo "$PARTI_PARTITION:$i"; echo "e $PARTI_PARTITION:$i" >&2; i=$((i+1)); done
		head -c 100000 /dev/zero | tr '\0' x; echo
		printf 'no end'`)
	p.until("all are done", func(all []entry) bool { return len(of(all, "done")) == 4 })
	p.signal(syscall.SIGTERM)
	p.ends(0)
	all := p.entries()
	for partition := range 4 {
		var out, complaints []string
		for _, e := range of(all, "output") {
			switch {
			case e.Partition != fmt.Sprint(partition):
			case e.Stream == "stdout":
				out = append(out, fmt.Sprint(e.Line, e.More))
			default:
				complaints = append(complaints, e.Line)
			}
		}
		if len(out) != 503 || len(complaints) != 500 {
			t.Fatalf("partition %d: %d lines, %d complaints", partition, len(out), len(complaints))
		}
		for i := range 500 {
			if out[i] != fmt.Sprintf("%d:%dfalse", partition, i) || complaints[i] != fmt.Sprintf("e %d:%d", partition, i) {
				t.Fatalf("partition %d, line %d: %q %q", partition, i, out[i], complaints[i])
			}
		}
		if out[500] != strings.Repeat("x", 64<<10)+"true" || out[501] != strings.Repeat("x", 100000-64<<10)+"false" || out[502] != "no endfalse" {
			t.Errorf("partition %d: the last lines have %d, %d and %q", partition, len(out[500]), len(out[501]), out[502])
		}
	}
}

// Processes of one machine need no server; when the one that has it is killed, the others
// have it, with all that was in it.
func TestRunEmbedded(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	s := newScene(t, "", "--partitions", "6", "--expected-workers", "3", "--embedded", "--embedded-dir", dir)
	var fleet []*proc
	for _, name := range []string{"a", "b", "c"} {
		fleet = append(fleet, s.start(name, busy))
		if name == "a" {
			fleet[0].first("it has the server", func(e entry) bool { return e.Event == "embedded" })
		}
	}
	most := uint64(0)
	for _, e := range slices.Concat(share(t, 2, fleet...)...) {
		most = max(most, e.Token)
	}
	pids := fleet[0].pids()
	fleet[0].signal(syscall.SIGKILL)
	waitGone(t, pids)
	share(t, 3, fleet[1:]...)
	heirs := 0
	for _, p := range fleet[1:] { // before the first is asked to end, and the other takes over from it
		heirs += len(of(p.entries(), "embedded"))
	}
	if heirs != 1 {
		t.Errorf("%d took the server over", heirs)
	}
	for _, p := range fleet[1:] {
		p.signal(syscall.SIGTERM)
	}
	for _, p := range fleet[1:] {
		<-p.done
	}
	// A group that begins anew on the same machine goes on with larger tokens.
	p := s.start("a", busy, "--expected-workers", "1")
	for _, e := range p.running(6) {
		if e.Token <= most {
			t.Errorf("token %d after %d", e.Token, most)
		}
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// Whose output nobody reads is let go as well.
func TestRunNobodyReads(t *testing.T) {
	t.Parallel()
	s := newScene(t, "", "--partitions", "2", "--expected-workers", "1", "--drain-timeout", "300ms").nats()
	p := s.prepare("a", `yes; yes >&2`)
	out, talk := p.pipes()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.cmd.Process.Kill() }()
	first := bufio.NewReaderSize(out, 16)
	if _, err := first.ReadByte(); err != nil { // it runs
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { _, err := p.cmd.Process.Wait(); ended <- err }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testTime):
		t.Fatal("it waits for ever")
	}
	_, _ = io.Copy(io.Discard, talk)
	_, _ = io.Copy(io.Discard, out) // until whoever has it is gone
}

// When nobody reads what it writes any more, it stops as if it was asked to: its commands
// are asked to end, and have.
func TestRunUnread(t *testing.T) {
	t.Parallel()
	for _, closed := range []string{"output", "complaints"} {
		t.Run(closed, func(t *testing.T) {
			s := newScene(t, "", "--partitions", "2", "--expected-workers", "1").nats()
			mark := filepath.Join(s.dir, "asked-")
			p := s.prepare("a", `trap 'mkdir `+mark+`$PARTI_PARTITION; exit 0' TERM; while :; do echo tick; echo tick >&2; sleep 0.2; done`)
			shut, open := p.pipes()
			if closed == "complaints" {
				shut, open = open, shut
			}
			if err := p.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.cmd.Process.Kill() })
			go func() {
				p.read(open)
				_ = p.cmd.Wait()
				close(p.done)
			}()
			lines := bufio.NewScanner(shut)
			for ticks := map[string]bool{}; len(ticks) < 2 && lines.Scan(); {
				var e entry
				if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
					t.Fatal(err)
				}
				if e.Event == "output" {
					ticks[e.Partition] = true
				}
			}
			if err := shut.Close(); err != nil {
				t.Fatal(err)
			}
			p.ends(1)
			if asked, err := filepath.Glob(mark + "*"); err != nil || len(asked) != 2 {
				t.Errorf("asked to end: %v, %v", asked, err)
			}
			if all := p.entries(); closed == "output" && (!slices.ContainsFunc(all, func(e entry) bool { return e.Event == "state" && e.Why == "Stopped" }) ||
				!strings.HasSuffix(all[len(all)-2].Text, "nobody reads the output")) {
				t.Errorf("it does not say that it has stopped, and why:\n%s", p)
			}
		})
	}
}

// A guardian that is killed is an event: what it had is gone, and is started again by
// another.
func TestRunGuardianKilled(t *testing.T) {
	t.Parallel()
	if !isLinux() {
		t.Skip("children cannot be found")
	}
	s := newScene(t, "", "--partitions", "2", "--expected-workers", "1").nats()
	p := s.start("a", busy)
	was := p.running(2)
	if err := syscall.Kill(p.guardian(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, w := range was {
		e := p.first("the end of "+w.Partition, func(e entry) bool { return e.Event == "ended" && e.PID == w.PID })
		if e.Why != "guardian" || lives(w.PID) {
			t.Errorf("%+v", e)
		}
	}
	for _, e := range p.running(2) {
		if e.Token != was[0].Token {
			t.Errorf("%+v", e)
		}
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}
