//go:build linux

package partitest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti"
)

// A child is a worker in a process of its own, whose handler does what it is told.
type child struct {
	*exec.Cmd

	tell    io.WriteCloser
	answers *bufio.Scanner
	heard   chan error // what Listen returns
}

const childToken = "PARTITEST_CHILD_TOKEN"

// startChild starts the worker "a", which runs "p" with token 1, and enters what it does.
func startChild(t *testing.T, l *Ledger) *child {
	t.Helper()
	here, there, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$"), heard: make(chan error, 1)}
	c.Env = append(os.Environ(), childToken+"=1")
	c.ExtraFiles = []*os.File{there}
	c.Stderr = os.Stderr
	if c.tell, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.answers = bufio.NewScanner(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := there.Close(); err != nil {
		t.Error(err)
	}
	go func() {
		c.heard <- l.Listen(here)
		_ = here.Close()
	}()
	return c
}

// do lets the child's handler do something, and waits until it says so.
func (c *child) do(t *testing.T, what string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.tell, what); err != nil {
		t.Fatal(err)
	}
	if !c.answers.Scan() || c.answers.Text() != what {
		t.Fatalf("told to %s, it says %q: %v", what, c.answers.Text(), c.answers.Err())
	}
}

// TestChild is what a child runs.
func TestChild(t *testing.T) {
	if os.Getenv(childToken) == "" {
		t.Skip("it is for startChild")
	}
	r := NewRemote(os.NewFile(3, "ledger"), "a")
	answer := func(what string) { fmt.Fprintln(os.Stdout, what) } //nolint:forbidigo,nolintlint // the test listens
	lease := parti.NewLease(parti.Partition{ID: "p"}, 1, nil, nil)
	err := r.Watch(parti.HandlerFunc(func(context.Context, parti.Lease) error {
		for told := bufio.NewScanner(os.Stdin); told.Scan(); {
			var err error
			switch what := told.Text(); what {
			case "act":
				err = r.Effect(lease, what, func() error { return nil })
			case "be refused":
				if r.Effect(lease, what, func() error { return ErrRefused }) == nil {
					err = fmt.Errorf("it was accepted")
				}
			case "hang":
				err = r.Effect(lease, what, func() error {
					answer(what)
					_, err := io.ReadAll(os.Stdin) // for ever
					return err
				})
			case "return":
				answer(what)
				return nil
			}
			if err != nil {
				return err
			}
			answer(told.Text())
		}
		return nil
	})).Run(t.Context(), lease)
	if err != nil {
		t.Error(err)
	}
}

// locally runs "p" as the worker "b" of this process.
func locally(t *testing.T, l *Ledger, token uint64, do func(parti.Lease)) {
	t.Helper()
	lease := parti.NewLease(parti.Partition{ID: "p"}, token, nil, nil)
	err := l.Watch("b", parti.HandlerFunc(func(context.Context, parti.Lease) error {
		do(lease)
		return nil
	})).Run(t.Context(), lease)
	if err != nil {
		t.Error(err)
	}
}

func ownedBy(l *Ledger, worker string) func() bool {
	return func() bool { by, _, ok := l.Owner("p"); return ok && by == worker }
}

// A process that is killed owns nothing from then on, and what it had under way may
// have been done or not.
func TestRemoteKilled(t *testing.T) {
	w := &witness{TB: t}
	l := NewLedger(w)
	c := startChild(t, l)
	l.Await("a runs it", patience, ownedBy(l, "a"))
	c.do(t, "act")
	c.do(t, "hang")
	killed := time.Now()
	Kill(t, c.Process)
	if err := <-c.heard; err != nil {
		t.Error(err)
	}
	l.Killed("a", killed)
	_ = c.Wait() // it was killed
	if _, _, ok := l.Owner("p"); ok {
		t.Error("a process that was killed owns a partition")
	}
	locally(t, l, 2, func(b parti.Lease) {
		if err := l.Effect(b, "first", func() error { return nil }); err != nil {
			t.Error(err)
		}
		l.Over()
	})
	l.Check(parti.Fence, MaxGap(patience))
	hung := l.still().acts["p"][1]
	if r := l.Report(); len(w.lines) > 0 || hung.outcome != unknown || r.Crashes != 1 || len(r.Gaps) != 1 || r.Accepted != 2 || r.Moves != 1 {
		t.Errorf("%v\n%v", r, w.lines)
	}
}

// A crash is not entered before what the process did between the signal and its end.
func TestKilledTakesAMoment(t *testing.T) {
	l := history(t, "a starts p 1", "a returns p 1", "a starts p 2")
	l.Killed("a", l.entries[0].At)
	l.Killed("b", l.entries[0].At)
	if r := l.Report(); r.Crashes != 2 || len(r.Gaps) != 1 || len(r.Missing) != 1 {
		t.Errorf("%v", r)
	}
	if _, _, ok := l.Owner("p"); ok {
		t.Error("it is owned")
	}
	all := l.sorted()
	if len(all) != 5 || all[1].Worker != "b" || all[4].What != Crashed {
		t.Errorf("%v", all)
	}
}

// A process that stands still is overlapped, which is excused; what it does when it
// has woken is refused, or else found.
func TestRemotePaused(t *testing.T) {
	for does, want := range map[string]string{
		"be refused": "",
		"act":        "p: an effect of token 1 was accepted after one of token 2",
	} {
		w := &witness{TB: t}
		l := NewLedger(w)
		c := startChild(t, l)
		l.Await("a runs it", patience, ownedBy(l, "a"))
		l.Enter(Entry{What: Frozen, Worker: "a"})
		Pause(t, c.Process)
		locally(t, l, 2, func(b parti.Lease) {
			if err := l.Effect(b, "first", func() error { return nil }); err != nil {
				t.Error(err)
			}
			Resume(t, c.Process)
			l.Enter(Entry{What: Woke, Worker: "a"})
			c.do(t, does)
			c.do(t, "return")
			if err := <-c.heard; err != nil {
				t.Error(err)
			}
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
			l.Over()
		})
		l.Check(parti.Fence)
		all := strings.Join(w.lines, "\n")
		if r := l.Report(); (want == "") != (all == "") || !strings.Contains(all, want) || r.OverlapFrozen != 1 || r.Refused+r.Accepted != 2 {
			t.Errorf("%s: %v\n%s", does, r, all)
		}
	}
}

func TestListen(t *testing.T) {
	l := NewLedger(t)
	err := l.Listen(strings.NewReader(`{"say":"starts","worker":"a","partition":"p","token":1}
hello
{"say":"sings","worker":"a"}
{"say":"acts","worker":"a","partition":"p","token":1,"effect":7}
{"say":"returns","worker":"a","partition":"p","token":1}
{"say":"starts","worker":"a","par`))
	for _, want := range []string{`"hello"`, `it says "sings"`, "effect 7 was not tried"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, it says %v", want, err)
		}
	}
	if r := l.Report(); r.Starts != 1 || len(r.Missing) != 1 {
		t.Errorf("%v", r)
	}
	if err := l.Listen(io.MultiReader(strings.NewReader("\n"), broken{})); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("it says %v", err)
	}
}

// What counts is when it happened by the clock of the machine, not when it was heard.
func TestListenGoesByTheClock(t *testing.T) {
	now, ok := machineClock()
	if !ok {
		t.Fatal("no clock")
	}
	w := &witness{TB: t}
	l := NewLedger(w)
	hear := func(worker string, lines ...string) {
		t.Helper()
		var all strings.Builder
		for _, text := range lines { // a time in seconds, and the rest
			at, rest, _ := strings.Cut(text, " ")
			after, err := time.ParseDuration(at + "s")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&all, `{"clock":%d,"worker":%q,"partition":"p",%s}`+"\n", now+after, worker, rest)
		}
		if err := l.Listen(strings.NewReader(all.String())); err != nil {
			t.Error(err)
		}
	}
	hear("b",
		`4 "say":"starts","token":2`,
		`5 "say":"tries","token":2,"effect":1`,
		`6 "say":"acts","token":2,"effect":1`,
		`9 "say":"tries","token":2,"effect":2`, // without an answer
	)
	hear("a",
		`1 "say":"starts","token":1`,
		`2 "say":"tries","token":1,"effect":1`,
		`3 "say":"returns","token":1`,
		`7 "say":"acts","token":1,"effect":1`, // by a goroutine that was left behind
	)
	l.Check(parti.Fence)
	if r := l.Report(); len(w.lines) > 0 || r.Starts != 2 || r.Accepted != 2 || r.LongestGap().Round(time.Millisecond) != time.Second {
		t.Errorf("%v\n%v", r, w.lines)
	}
	if d := time.Until(l.sorted()[0].At.Add(-time.Second)); d > 0 || d < -time.Minute {
		t.Errorf("it is %v away from the time of this process", d)
	}

	hear("b", `20 "say":"tries","token":3,"effect":1`)
	hear("b", `10 "say":"tries","token":3,"effect":1`)
	hear("b", `11 "say":"tries","token":2,"effect":1`, `12 "say":"refused","token":2,"effect":1`)
	if l.Check(parti.Fence); len(w.lines) > 0 {
		t.Error(w.lines)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, errBroken }
func (broken) Write([]byte) (int, error) { return 0, errBroken }

var errBroken = fmt.Errorf("out of order")

// What the ledger does not hear of is not done.
func TestRemoteUnheard(t *testing.T) {
	r := NewRemote(broken{}, "a")
	lease := parti.NewLease(parti.Partition{ID: "p"}, 1, nil, nil)
	never := func() error {
		t.Error("it is done")
		return nil
	}
	if r.Watch(parti.HandlerFunc(func(context.Context, parti.Lease) error { return never() })).Run(t.Context(), lease) == nil {
		t.Error("the handler ran")
	}
	if r.Effect(lease, "x", never) == nil {
		t.Error("the effect was done")
	}
	if _, ok := r.Watch(preparing{}).(parti.Preparer); !ok {
		t.Error("the Preparer is lost")
	}
}
