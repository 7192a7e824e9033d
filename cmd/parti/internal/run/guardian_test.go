//go:build unix

package run

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parti-go/parti"
)

// eventually waits for something that only a look tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-late.C:
			t.Fatalf("still not: %s", what)
		}
	}
}

func groupLives(pid int) bool { return !errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) }

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// A try is a guardian and what its commands write.
type try struct {
	*guard

	t *testing.T
}

func tryGuard(t *testing.T) try {
	t.Helper()
	g, err := startGuard(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return try{g, t}
}

// sh starts a script and returns it with the lines that it writes. It is up to the
// script to say that it is where a test wants it.
func (g try) sh(script string, change ...func(*order)) (*child, *bufio.Reader) {
	g.t.Helper()
	c, out, err := g.begin(script, change...)
	if err != nil {
		g.t.Fatal(err)
	}
	return c, out
}

func (g try) begin(script string, change ...func(*order)) (*child, *bufio.Reader, error) {
	g.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = r.Close() })
	_ = syscall.SetNonblock(int(w.Fd()), false)
	sh, err := exec.LookPath("sh")
	if err != nil {
		g.t.Fatal(err)
	}
	o := order{Path: sh, Args: []string{"sh", "-c", script}, Env: job{Partition: "p"}.env(), Patience: time.Minute}
	for _, f := range change {
		f(&o)
	}
	c, err := g.start(o, w, os.Stderr)
	_ = w.Close()
	return c, bufio.NewReader(r), err
}

// said is the next line, as a number where it is one.
func said(t *testing.T, r *bufio.Reader) (string, int) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	line = strings.TrimSpace(line)
	n, _ := strconv.Atoi(line)
	return line, n
}

func gone(t *testing.T, c *child) end {
	t.Helper()
	select {
	case <-c.gone:
	case <-time.After(30 * time.Second):
		t.Fatalf("process %d goes on", c.pid)
	}
	if groupLives(c.pid) {
		t.Errorf("something is left of group %d", c.pid)
	}
	return c.end
}

// A guardian that does not come up is given up: it says why, or parti does not wait for it.
func TestNoGuardian(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for how, c := range map[string]struct {
		ctx  context.Context
		says string
	}{
		"3":      {t.Context(), "exit status 3"},
		"silent": {cancelled, context.Canceled.Error()},
	} {
		t.Setenv(envGuardian, how)
		failed := make(chan error, 1)
		go func() {
			g, err := startGuard(c.ctx)
			if err == nil {
				g.close()
			}
			failed <- err
		}()
		select {
		case err := <-failed:
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", how, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: it waits for ever", how)
		}
	}
}

func TestExit(t *testing.T) {
	g := tryGuard(t)
	for script, want := range map[string]end{
		"exit 0":          {Itself: true},
		"exit 3":          {Code: 3, Itself: true},
		"kill -KILL $$":   {Signal: syscall.SIGKILL, Itself: true},
		"kill -USR1 $$":   {Signal: syscall.SIGUSR1, Itself: true},
		"exec sh -c true": {Itself: true},
	} {
		c, _ := g.sh(script)
		got := gone(t, c)
		if got.At == 0 {
			t.Errorf("%q: it does not say when", script)
		}
		if got.At = 0; got != want {
			t.Errorf("%q: %+v", script, got)
		}
	}
	_, _, err := g.begin("", func(o *order) { o.Path = filepath.Join(t.TempDir(), "nothing") })
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a program that is not there: %v", err)
	}
}

// What has exited before it was asked to was not stopped, whatever goes on after it.
func TestItself(t *testing.T) {
	g := tryGuard(t)
	c, out := g.sh(`sleep 600 & echo $!; exit 0`)
	said(t, out)
	eventually(t, "the first process is gone", func() bool { return !alive(c.pid) })
	c.term()
	if e := gone(t, c); e.Code != 0 || !e.Itself {
		t.Errorf("%+v", e)
	}
	c, out = g.sh(`trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done`)
	said(t, out)
	c.term()
	if e := gone(t, c); e.Code != 0 || e.Itself {
		t.Errorf("%+v", e)
	}
}

// What has said before SIGTERM that its work is done is not run again, although its partition
// was asked back by the time that all of it was gone.
func TestOutcome(t *testing.T) {
	h := &handler{done: true, reject: 75}
	revoked, revoke := context.WithCancel(t.Context())
	revoke()
	for _, c := range []struct {
		ctx  context.Context
		end  end
		want error
	}{
		{revoked, end{Itself: true}, parti.ErrDone},
		{revoked, end{Itself: true, Why: endRest}, parti.ErrDone},
		{revoked, end{}, nil},
		{t.Context(), end{Itself: true, Why: endTrust}, parti.ErrDone},
		{revoked, end{Code: 75, Itself: true}, nil},
		{t.Context(), end{}, parti.ErrDone},
		{t.Context(), end{Code: 75, Itself: true}, parti.ErrReject},
	} {
		if err := h.outcome(c.ctx, c.end); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, and not %v", c.end, err, c.want)
		}
	}
}

// A command has what it needs, and no signal that parti ignores is ignored by it.
func TestSurroundings(t *testing.T) {
	g := tryGuard(t)
	c, out := g.sh(`echo "$PARTI_PARTITION"; read x || echo "no input"; ls /proc/self/fd | wc -l; exec sleep 600`)
	if line, _ := said(t, out); line != "p" {
		t.Errorf("partition %q", line)
	}
	if line, _ := said(t, out); line != "no input" {
		t.Errorf("input: %q", line)
	}
	if _, n := said(t, out); runtime.GOOS == "linux" {
		// What these tests were given themselves, they pass on.
		text, err := exec.Command("sh", "-c", "ls /proc/self/fd | wc -l").Output()
		if own, _ := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || n != own {
			t.Errorf("it has %d open files, not %d, %v", n, own, err)
		}
	}
	if pgid, err := syscall.Getpgid(c.pid); err != nil || pgid != c.pid {
		t.Errorf("group %d of process %d, %v", pgid, c.pid, err)
	}
	c.term() // sleep has no handler
	if e := gone(t, c); e.Signal != syscall.SIGTERM {
		t.Errorf("%+v", e)
	}
}

// SIGTERM reaches all of the group, also what is stopped; the command is over when its last
// process is.
func TestTermReachesAll(t *testing.T) {
	g := tryGuard(t)
	c, out := g.sh(`
		(trap 'echo inner; exit 0' TERM; echo ready; while :; do sleep 0.01; done) &
		trap 'echo outer; exit 7' TERM
		echo ready
		while :; do sleep 0.01; done`)
	said(t, out)
	said(t, out)
	if err := syscall.Kill(-c.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.term()
	a, _ := said(t, out)
	b, _ := said(t, out)
	if a+b != "innerouter" && a+b != "outerinner" {
		t.Errorf("%s %s", a, b)
	}
	if e := gone(t, c); e.Code != 7 || e.Why != "" {
		t.Errorf("%+v", e)
	}
}

func TestKill(t *testing.T) {
	g := tryGuard(t)
	c, out := g.sh(`trap "" TERM; sleep 600 & echo $!; wait`)
	_, inner := said(t, out)
	c.term()
	c.term()
	c.kill()
	if e := gone(t, c); e.Signal != syscall.SIGKILL || alive(inner) {
		t.Errorf("%+v", e)
	}
}

// What goes on after the first process has ended has a moment to end by itself, is asked
// to, and killed when its patience is over. Only then is the command gone.
func TestRest(t *testing.T) {
	g := tryGuard(t)
	begun := machineTime()
	c, out := g.sh(`sleep 600 & echo $!; exit 4`)
	_, inner := said(t, out)
	if e := gone(t, c); e.Code != 4 || e.Why != endRest || alive(inner) || e.At-begun < restTime {
		t.Errorf("%+v after %v", e, e.At-begun)
	}

	mark := filepath.Join(t.TempDir(), "ready")
	c, out = g.sh(`(trap "" TERM; echo ready; mkdir `+mark+`; while :; do sleep 0.01; done) & while [ ! -e `+mark+` ]; do sleep 0.01; done; exit 5`,
		func(o *order) { o.Patience = 100 * time.Millisecond })
	said(t, out)
	if e := gone(t, c); e.Code != 5 || e.Why != endRest {
		t.Errorf("%+v", e)
	}
}

// Nor does it help to leave the group.
func TestEscape(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("orphans are not seen here")
	}
	g := tryGuard(t)
	c, out := g.sh(`setsid sh -c 'trap "" TERM HUP; (setsid sleep 600 & echo $!); echo $$; while :; do sleep 0.01; done' & sleep 600`)
	other, otherOut := g.sh(`setsid sh -c 'echo $$; exec sleep 600' & sleep 600`, func(o *order) { o.Env = job{Partition: "q"}.env() })
	_, stray := said(t, out)
	_, loose := said(t, out)
	_, others := said(t, otherOut)
	c.term()
	gone(t, c)
	if alive(stray) || alive(loose) {
		t.Error("an escaped process goes on")
	}
	if !alive(others) || !alive(other.pid) {
		t.Error("the wrong one was killed")
	}
	// One without an environment is nobody's, and holds nobody up.
	bare, bareOut := g.sh(`setsid env -i sh -c 'echo $$; exec sleep 600' & sleep 600`, func(o *order) { o.Env = job{Partition: "r"}.env() })
	_, loner := said(t, bareOut)
	bare.kill()
	gone(t, bare)
	if !alive(loner) {
		t.Error("what cannot be told was killed")
	}
	_ = syscall.Kill(loner, syscall.SIGKILL)
	other.kill()
	gone(t, other)
	if alive(others) {
		t.Error("an escaped process goes on")
	}
}

// escapedParent says what leaves the group, and does not wait for a child that it has there.
const escapedParent = `(sleep 600 & exec setsid sleep 600) & echo $!; sleep 600`

// leads waits until a process has a group of its own.
func leads(t *testing.T, pid int) {
	t.Helper()
	eventually(t, "it has left the group", func() bool {
		group, err := syscall.Getpgid(pid)
		return err == nil && group == pid
	})
}

// Nor does it help to leave the group and not to wait for a child in it: that one is dead, and
// seems to be left of the group for as long as its parent lives.
func TestEscapedParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("orphans are not seen here")
	}
	for how, end := range map[string]func(g try, c *child){
		"killed": func(_ try, c *child) { c.kill() },
		"untrusted": func(g try, _ *child) {
			now := machineTime()
			if err := g.tell(order{Do: doTrust, TermAt: now, KillAt: now}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(how, func(t *testing.T) {
			g := tryGuard(t)
			c, out := g.sh(escapedParent)
			_, stray := said(t, out)
			leads(t, stray)
			end(g, c)
			if gone(t, c); alive(stray) {
				t.Error("an escaped process goes on")
			}
		})
	}
}

// When parti is gone, so is everything, at once.
func TestPartiIsGone(t *testing.T) {
	g := tryGuard(t)
	var pids []int
	for range 3 {
		c, out := g.sh(`trap "" TERM; (trap "" TERM; sleep 600) & echo $!; wait`)
		_, inner := said(t, out)
		pids = append(pids, c.pid, inner)
	}
	_ = g.conn.CloseWrite() // as the system does when parti is killed
	<-g.dead
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d goes on", pid)
		}
	}
	if g.process.ProcessState.ExitCode() != 0 {
		t.Errorf("the guardian: %v", g.process.ProcessState)
	}
	if _, _, err := g.begin("exit 0"); !errors.Is(err, errGuardianGone) {
		t.Errorf("a start without a guardian: %v", err)
	}
}

// What people send to all processes of a terminal is none of the guardian's business.
func TestGuardianStays(t *testing.T) {
	g := tryGuard(t)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if err := g.process.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	c, out := g.sh("echo here")
	if line, _ := said(t, out); line != "here" {
		t.Error(line)
	}
	gone(t, c)
}

// A guardian that is killed takes all with it.
func TestGuardianIsKilled(t *testing.T) {
	g := tryGuard(t)
	c, out := g.sh(`sleep 600 & echo $!; wait`)
	_, inner := said(t, out)
	if err := g.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := gone(t, c); !e.Lost {
		t.Errorf("%+v", e)
	}
	eventually(t, "the inner process is gone", func() bool { return !alive(inner) })
}

// What had left its group goes on after that, and is ended like the rest: the command is not
// gone before.
func TestEscapeWithoutGuardian(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("orphans are not seen here")
	}
	// As in a command of another parti: guardians have its mark, and are not what is looked for.
	t.Setenv(envWithin, "p ")
	g, next := tryGuard(t), tryGuard(t)
	c, out := g.sh(`setsid sh -c 'echo $$; exec sleep 600' & sleep 600`, func(o *order) { o.Env = []string{envWithin + "=p "} })
	_, stray := said(t, out)
	other, otherOut := g.sh(escapedParent, func(o *order) { o.Env = job{Partition: "q"}.env() })
	_, parent := said(t, otherOut)
	leads(t, parent)
	if err := g.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if e := gone(t, c); !e.Lost || alive(stray) {
		t.Errorf("%+v, or an escaped process goes on", e)
	}
	if e := gone(t, other); !e.Lost || alive(parent) {
		t.Errorf("%+v, or an escaped process goes on", e)
	}
	c, out = next.sh("echo here")
	if line, _ := said(t, out); line != "here" {
		t.Error(line)
	}
	gone(t, c)
}

// Trust ends commands at its times, and not before; later ones count for all. A start
// without trust is refused.
func TestTrust(t *testing.T) {
	g := tryGuard(t)
	fenced := func(o *order) { o.Fenced = true }
	if _, _, err := g.begin("exit 0", fenced); err == nil || !strings.Contains(err.Error(), "trust") {
		t.Fatalf("a start without trust: %v", err)
	}
	begun := machineTime()
	tell := func(term, kill time.Duration) {
		if err := g.tell(order{Do: doTrust, TermAt: begun + term, KillAt: begun + kill}); err != nil {
			t.Fatal(err)
		}
	}
	tell(time.Hour, time.Hour)
	tell(time.Minute, time.Minute) // trust that was proved is not taken back
	polite, out := g.sh(`trap 'echo asked; exit 1' TERM; echo ready; while :; do sleep 0.1; done`, fenced)
	said(t, out)
	polite.term()
	said(t, out)
	if e := gone(t, polite); e.Why != "" {
		t.Errorf("%+v", e)
	}

	g = tryGuard(t)
	begun = machineTime()
	const term, kill = 6 * time.Second, 12 * time.Second // a shell may need seconds to start, and to answer
	tell(term, kill)
	polite, out = g.sh(`trap 'echo asked; exit 1' TERM; echo ready; while :; do sleep 0.1; done`, fenced)
	rude, rudeOut := g.sh(`trap "" TERM; sleep 600 & echo $!; wait`, fenced)
	said(t, out)
	_, inner := said(t, rudeOut)
	said(t, out)
	if at := machineTime() - begun; at < term {
		t.Errorf("it is asked to end after %v", at)
	}
	if e := gone(t, polite); e.Why != endTrust || e.Code != 1 {
		t.Errorf("%+v", e)
	}
	if e := gone(t, rude); e.Why != endTrust || e.At-begun < kill || alive(inner) {
		t.Errorf("%+v after %v", e, e.At-begun)
	} else {
		t.Logf("gone %v after its time", e.At-begun-kill)
	}
	if _, _, err := g.begin("exit 0", fenced); err == nil {
		t.Error("it starts commands although trust is over")
	}
	begun = machineTime()
	tell(time.Hour, time.Hour)
	c, _ := g.sh("exit 0", fenced)
	gone(t, c)
}

// A guardian whose loop hangs, as in the start of a program from a file system that is away,
// kills in time all the same.
func TestDeadman(t *testing.T) {
	d, err := newDeadman()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	start := func() *exec.Cmd {
		cmd := exec.Command("sleep", "600")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		d.add(cmd.Process.Pid)
		return cmd
	}
	mine, other := start(), start()
	d.remove(other.Process.Pid)
	begun := machineTime()
	const trust = 200 * time.Millisecond
	d.trust(begun + time.Hour)
	d.trust(begun + trust)
	ended := make(chan error, 1)
	go func() { ended <- mine.Wait() }()
	select {
	case <-ended: //nolint:errcheck // it was killed, as is looked at below
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
	if status, ok := mine.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL || machineTime()-begun < trust {
		t.Errorf("%v after %v", mine.ProcessState, machineTime()-begun)
	}
	if !alive(other.Process.Pid) {
		t.Error("what is gone was killed")
	}
	_ = other.Process.Kill()
	_ = other.Wait()
}

func TestTrustTimes(t *testing.T) {
	left := 10 * time.Second
	tr := trust{left: func() time.Duration { return left }, length: 13125 * time.Millisecond}
	before := machineTime()
	term, kill, ok := tr.times()
	after := machineTime()
	until := left - time.Millisecond // what is said is rounded up
	if !ok || term < before+until-tr.length/4 || term > after+until-tr.length/4 || kill < before+until-maxDying || kill > after+until-maxDying {
		t.Errorf("%v %v %v", term-before, kill-before, ok)
	}
	left = time.Millisecond
	if _, _, ok := tr.times(); ok {
		t.Error("there is no trust")
	}
	if _, kill := (trust{length: 1600 * time.Millisecond}).plan(time.Hour); kill != time.Hour-100*time.Millisecond {
		t.Errorf("%v", time.Hour-kill)
	}
}

// A message and its files arrive together, whatever comes before and after.
func TestFrames(t *testing.T) {
	a, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := connOf(theirs)
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	sent := make(chan error, 1)
	go func() {
		defer func() { _ = a.CloseWrite() }()
		for i := range n {
			r, w, err := os.Pipe()
			if err == nil {
				_, err = w.WriteString(strconv.Itoa(i))
				_ = w.Close()
			}
			if err == nil {
				err = writeFrame(a, order{ID: uint64(i), Path: strings.Repeat("x", i*1000)}, r)
			}
			if err == nil {
				err = writeFrame(a, order{Do: doTrust})
			}
			_ = r.Close()
			if err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		var o order
		files, err := readFrame(b, &o)
		if err != nil || len(files) != 1 || o.ID != uint64(i) || len(o.Path) != i*1000 {
			t.Fatalf("%d: %d files, %+v, %v", i, len(files), o.ID, err)
		}
		text, _ := io.ReadAll(files[0])
		_ = files[0].Close()
		if string(text) != strconv.Itoa(i) {
			t.Errorf("file %d says %q", i, text)
		}
		o = order{}
		if files, err := readFrame(b, &o); err != nil || len(files) != 0 || o.Do != doTrust {
			t.Fatalf("%d files, %+v, %v", len(files), o, err)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if _, err := readFrame(b, &order{}); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	_ = b.Close()
	if err := writeFrame(a, order{Path: strings.Repeat("x", maxFrame)}); err == nil {
		t.Error("a message that is too long is sent")
	}
}

// The arguments of a command are of whatever bytes, as names of files are.
func TestOddArguments(t *testing.T) {
	args := words{"sh", "", "<&>", "\xff\x00\xe9t\xe9", "é"}
	text, err := json.Marshal(order{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	var o order
	if err := json.Unmarshal(text, &o); err != nil || !slices.Equal(o.Args, args) || o.Env != nil {
		t.Errorf("%q, %v: %s", o.Args, err, text)
	}
}

// What a parti within a command has started is the command's, and not the other way round.
func TestWithin(t *testing.T) {
	t.Setenv(envWithin, "")
	outer, longer := job{Partition: "p"}.env(), job{Partition: "p1"}.env()
	t.Setenv(envWithin, "p ")
	inner := job{Partition: "p1"}.env()
	for _, c := range []struct {
		what    string
		of, env []string
		want    bool
	}{
		{"its own", outer, outer, true},
		{"within", outer, inner, true},
		{"around", inner, outer, false},
		{"another", outer, longer, false},
		{"another within", longer, inner, false},
	} {
		environ := "\x00" + strings.Join(append([]string{"HOME=/"}, c.env...), "\x00") + "\x00"
		if got := strings.Contains(environ, string(markOf(c.of))); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
