//go:build unix

package run

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// guardianFD is the guardian's end of the socket pair.
const guardianFD = 3

// Guard is the life of a guardian: the process whose other end of the socket pair is
// parti. It returns once parti is gone and nothing is left of what it started.
func Guard() error {
	conn, err := connOf(os.NewFile(guardianFD, "parti"))
	if err != nil {
		return fmt.Errorf("parti starts this by itself: %w", err)
	}
	defer conn.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	alarm, err := newAlarm()
	if err != nil {
		return err
	}
	defer alarm.close()
	last, err := newDeadman()
	if err != nil {
		return err
	}
	defer last.close()

	// The death of a command's parent, which kills it, is that of the thread that
	// started it: all are started by this one, which is here to the end.
	runtime.LockOSThread()
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 2)) // a start keeps one to itself until the program has begun
	prepareGuardian()

	g := &guardian{conn: conn, null: null, alarm: alarm, last: last, commands: map[uint64]*command{}, byPID: map[int]*command{}, killed: map[int][]byte{}, reports: newMailbox[report]()}
	// What people send to all of parti's processes is for parti. They are caught instead
	// of ignored, since commands would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTSTP)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)

	orders := make(chan order)
	go readOrders(conn, orders)
	go g.reports.each(func(r report) { _ = writeFrame(conn, r) }) // parti may be gone
	g.reports.put(report{Is: isReady})
	g.loop(orders, ended)
	return nil
}

// readOrders takes orders until parti is gone.
func readOrders(conn *net.UnixConn, orders chan<- order) {
	defer close(orders)
	for {
		var o order
		files, err := readFrame(conn, &o)
		if err != nil {
			return
		}
		o.files = files
		orders <- o
	}
}

// A guardian starts commands and ends them. One goroutine owns it.
type guardian struct {
	conn     *net.UnixConn
	null     *os.File
	alarm    *alarm
	last     *deadman
	reports  *mailbox[report]
	commands map[uint64]*command
	byPID    map[int]*command // those whose first process was not waited for yet
	killed   map[int][]byte   // orphans that were, by the mark of whose they were, until they are waited for

	termAt, killAt time.Duration // zero: for ever
}

// A command is a process group.
type command struct {
	id       uint64
	pid      int    // of the first process, and of the group
	mark     []byte // what is in the environment of whatever it starts
	patience time.Duration

	asked   bool // to end
	itself  bool // its first process had ended before that
	forced  bool // to end: its group was killed
	ended   bool // its first process has, with this:
	status  syscall.WaitStatus
	endedAt time.Duration // when that was
	killAt  time.Duration // end what is left; zero: not by itself
	why     ending
	doubts  int // how often it could not be told whose an orphan is
}

// maxDoubts is how often to look again at an orphan without an environment: one that is
// about to become another program has none for a moment, and others never have.
const maxDoubts = 20

// lookEvery is how often the guardian looks for what no signal tells: that the last of
// a group has ended which was not its own child.
const lookEvery = 5 * time.Millisecond

func (g *guardian) loop(orders <-chan order, ended <-chan os.Signal) {
	look := time.NewTicker(lookEvery)
	look.Stop()
	for {
		select {
		case o, ok := <-orders:
			if !ok {
				g.endAll()
				return
			}
			g.obey(o)
		case <-ended:
		case <-g.alarm.rings:
		case <-look.C:
		}
		g.enforceTrust()
		if g.settle() {
			look.Reset(lookEvery)
		} else {
			look.Stop()
		}
	}
}

func (g *guardian) obey(o order) {
	c := g.commands[o.ID]
	switch o.Do {
	case doStart:
		g.start(o)
	case doTerm:
		if c == nil {
			return
		}
		g.reap() // what has ended by itself was not asked to
		if !c.ended || c.lives() {
			c.term()
		}
	case doKill:
		if c != nil {
			c.kill()
		}
	case doTrust:
		g.termAt, g.killAt = max(g.termAt, o.TermAt), max(g.killAt, o.KillAt)
		g.alarm.set(g.next())
		g.last.trust(g.killAt)
	}
}

// start starts a command in a process group of its own.
func (g *guardian) start(o order) {
	defer closeAll(o.files)
	var pid int
	var err error
	switch {
	case len(o.files) != 2:
		err = fmt.Errorf("%d files came along instead of 2", len(o.files))
	case o.Fenced && machineTime() >= g.termAt:
		err = errors.New("the trust in this worker has run out")
	default:
		pid, err = syscall.ForkExec(o.Path, o.Args, &syscall.ProcAttr{
			Env:   environment(os.Environ(), o.Env),
			Files: []uintptr{g.null.Fd(), o.files[0].Fd(), o.files[1].Fd()},
			Sys:   childAttributes(),
		})
	}
	if err != nil {
		g.reports.put(report{Is: isRefused, ID: o.ID, Err: err.Error()})
		return
	}
	c := &command{id: o.ID, pid: pid, mark: markOf(o.Env), patience: o.Patience}
	g.commands[o.ID], g.byPID[pid] = c, c
	g.last.add(pid)
	g.reports.put(report{Is: isStarted, ID: o.ID, PID: pid})
}

// term asks all of the group to end, once. What is stopped goes on, to hear it.
func (c *command) term() {
	if c.asked {
		return
	}
	c.asked = true
	_ = syscall.Kill(-c.pid, syscall.SIGTERM)
	_ = syscall.Kill(-c.pid, syscall.SIGCONT)
}

// kill ends all of the group. That nothing of it is left is seen by settle.
func (c *command) kill() {
	c.asked, c.forced = true, true
	_ = syscall.Kill(-c.pid, syscall.SIGKILL)
}

// next is when trust asks for something.
func (g *guardian) next() time.Duration {
	if machineTime() < g.termAt {
		return g.termAt
	}
	return g.killAt
}

// enforceTrust ends commands as trust does.
func (g *guardian) enforceTrust() {
	now := machineTime()
	if g.killAt == 0 || now < g.termAt {
		return
	}
	g.reap()
	for _, c := range g.commands {
		switch {
		case c.ended && !c.lives(): // by itself, or by the deadman, who may be faster
			if now >= g.killAt && c.status.Signal() == syscall.SIGKILL {
				c.why = endTrust
			}
		case now >= g.killAt:
			c.why = endTrust
			c.kill()
		case !c.asked:
			c.why = endTrust
			c.term()
		}
	}
	if now < g.killAt {
		g.alarm.set(g.killAt)
	}
}

// settle takes note of what has ended, and reports whether to look again soon.
func (g *guardian) settle() (again bool) {
	g.reap()
	var orphans []int // read at most once
	looked := false
	for _, c := range g.sorted() {
		if !c.ended {
			continue
		}
		lives := c.lives()
		if !lives {
			g.last.remove(c.pid)
		} else {
			g.endRest(c)
			again = true
			// What is left of a group that was killed may be dead, and its parent one that has
			// left the group and does not wait for it: that one has to end first.
			if !c.forced {
				continue
			}
		}
		// What has left its group is ended as well, where it can be told whose it is.
		if !looked {
			orphans, looked = g.orphans(), true
		}
		found, doubt := g.killMarked(orphans, c.mark)
		if doubt && !lives && c.doubts < maxDoubts {
			c.doubts++
			found = true
		}
		if found || lives {
			again = true
			continue
		}
		delete(g.commands, c.id)
		r := report{Is: isGone, ID: c.id, PID: c.pid, Why: c.why, Itself: c.itself, At: machineTime()}
		if c.status.Signaled() {
			r.Signal = int(c.status.Signal())
		} else {
			r.Code = c.status.ExitStatus()
		}
		g.reports.put(r)
	}
	return again
}

// sorted are the commands in the order in which they were started.
func (g *guardian) sorted() []*command {
	all := make([]*command, 0, len(g.commands))
	for _, c := range g.commands {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *command) int { return cmp.Compare(a.id, b.id) })
	return all
}

// reap waits for all children that have ended: first processes of commands, and
// orphans. A process group's number is free for others only after that, so that no
// signal hits somebody else's.
func (g *guardian) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		delete(g.killed, pid)
		if c := g.byPID[pid]; c != nil {
			delete(g.byPID, pid)
			c.ended, c.status, c.endedAt, c.itself = true, status, machineTime(), !c.asked
		}
	}
}

// lives reports whether anything is left of a group.
func (c *command) lives() bool { return !errors.Is(syscall.Kill(-c.pid, 0), syscall.ESRCH) }

// restTime is how long what goes on after the first process may take to end by itself: a
// tee that the output goes through has the last lines still to pass on.
const restTime = 200 * time.Millisecond

// endRest ends what goes on after the first process has ended: it has a moment to end by
// itself, then it is asked to, and killed when its time is over.
func (g *guardian) endRest(c *command) {
	now := machineTime()
	if !c.asked && now < c.endedAt+restTime {
		return
	}
	if c.killAt == 0 {
		c.killAt = now + c.patience
		if !c.asked {
			c.why = endRest
		}
		c.term()
	}
	if now >= c.killAt {
		c.kill()
	}
}

// endTime is how long the guardian tries to end what cannot be killed, once parti is gone.
const endTime = 10 * time.Second

// endAll kills everything at once, and waits until nothing is left.
func (g *guardian) endAll() {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for until := machineTime() + endTime; machineTime() < until; <-look.C {
		for _, c := range g.commands {
			c.kill()
		}
		_, _ = g.killMarked(g.orphans(), nil)
		g.reap()
		left := 0
		for id, c := range g.commands {
			if c.ended && !c.lives() {
				delete(g.commands, id)
				continue
			}
			left++
		}
		if left == 0 && len(g.orphans()) == 0 {
			return
		}
	}
}

// orphans are children of the guardian that it did not start itself: their parents
// have ended, and the system gave them to it. Members of living groups are none.
func (g *guardian) orphans() []int {
	groups := map[int]bool{}
	for _, c := range g.commands {
		groups[c.pid] = true
	}
	var all []int
	for _, pid := range children() {
		if g.byPID[pid] != nil {
			continue
		}
		if group, err := syscall.Getpgid(pid); err == nil && !groups[group] {
			all = append(all, pid)
		}
	}
	return all
}

// killMarked kills those of the processes whose environment has the mark; all, if mark
// is nil. It reports whether there were any, and whether it could not be told of some.
func (g *guardian) killMarked(pids []int, mark []byte) (found, doubt bool) {
	for _, pid := range pids {
		if was, ok := g.killed[pid]; ok && bytes.Equal(was, mark) { // its environment goes before it does
			found = true
			continue
		}
		if mark != nil {
			switch yes, known := marked(pid, mark); {
			case !known:
				doubt = true
				continue
			case !yes:
				continue
			}
		}
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			g.killed[pid] = mark
			found = true
		}
	}
	return found, doubt
}

// marked reports whether a process has the mark in its environment. It is not known
// while there is none.
func marked(pid int, mark []byte) (yes, known bool) {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err == nil && len(env) == 0 {
		return false, false
	}
	return err == nil && bytes.Contains(append([]byte{0}, env...), mark), true
}

// markOf is how to know what a command started: by how a variable in its environment begins.
func markOf(env []string) []byte {
	for _, kv := range env {
		if strings.HasPrefix(kv, envWithin+"=") {
			return []byte("\x00" + kv)
		}
	}
	return []byte{0, 0} // nobody's
}

// environment is base with more of it, or other.
func environment(base, more []string) []string {
	names := map[string]bool{}
	for _, kv := range more {
		name, _, _ := strings.Cut(kv, "=")
		names[name] = true
	}
	all := slices.DeleteFunc(slices.Clone(base), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return names[name]
	})
	return append(all, more...)
}
