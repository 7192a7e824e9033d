//go:build unix

package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// readyTime is how long a guardian may take to start.
const readyTime = 15 * time.Second

// A guard is a guardian as parti sees it.
type guard struct {
	conn    *net.UnixConn
	process *exec.Cmd
	dead    chan struct{} // closed when it is gone

	write sync.Mutex // one message at a time

	mu       sync.Mutex
	next     uint64
	children map[uint64]*child // until they are gone
	over     bool              // it takes no more
	closing  bool              // parti ends
}

// guardians are the processes of all guardians that were not waited for yet. They are
// children as well, and those of a parti run within a parti run have the mark of a command. The
// lock is held where one starts, since it seems to be parti itself until it runs.
var guardians = struct {
	sync.Mutex

	pids map[int]bool
}{pids: map[int]bool{}}

// A child is a command.
type child struct {
	id      uint64
	guard   *guard
	started chan struct{} // closed when it runs or could not be started
	gone    chan struct{} // closed when nothing of it is left
	mark    []byte        // what is in the environment of whatever it starts
	pid     int           // valid after started; 0: it could not be
	refused error         // why
	end     end           // valid after gone
}

// An end is how a command ended.
type end struct {
	Code   int            // what it exited with
	Signal syscall.Signal // or what killed it
	Why    ending         // the guardian ended it by itself
	Itself bool           // its first process had ended before it was asked to
	At     time.Duration  // by machineTime
	Lost   bool           // the guardian was killed: nobody knows how it ended
}

var errGuardianGone = errors.New("the guardian is gone")

// startGuard starts a guardian: this program, as "parti guardian".
func startGuard(ctx context.Context) (*guard, error) {
	path, err := self()
	if err != nil {
		return nil, err
	}
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	// Orphans of a guardian that was killed come here.
	becomeReaper()
	// It must outlive parti, so it is not bound to ctx, and is in a session of its own.
	process := exec.Command(path, GuardianWord) //nolint:noctx // it ends with the socket
	process.Args[0] = "parti"
	process.ExtraFiles = []*os.File{theirs} // guardianFD
	process.Stderr = os.Stderr
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	guardians.Lock()
	if err = process.Start(); err == nil {
		guardians.pids[process.Process.Pid] = true
	}
	guardians.Unlock()
	// From here on the guardian alone has it, so that its death is the end of the socket.
	_ = theirs.Close()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start the guardian: %w", err)
	}
	g := &guard{conn: conn, process: process, dead: make(chan struct{}), children: map[uint64]*child{}}
	ready := make(chan struct{})
	go g.listen(ready)
	timer := time.NewTimer(readyTime)
	defer timer.Stop()
	select {
	case <-ready:
		return g, nil
	case <-g.dead:
		err = fmt.Errorf("start the guardian: %v", process.ProcessState)
	case <-timer.C:
		err = fmt.Errorf("the guardian is not ready after %v", readyTime)
		_ = process.Process.Kill()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	g.close()
	return nil, err
}

// listen takes reports until the guardian is gone.
func (g *guard) listen(ready chan<- struct{}) {
	defer close(g.dead)
	for {
		var r report
		if _, err := readFrame(g.conn, &r); err != nil {
			break
		}
		if r.Is == isReady {
			close(ready)
			continue
		}
		g.heard(r)
	}
	g.mu.Lock()
	g.over = true
	left := g.children
	g.children = nil
	g.mu.Unlock()
	_ = g.conn.Close()
	_ = g.process.Wait()
	guardians.Lock()
	delete(guardians.pids, g.process.Process.Pid)
	guardians.Unlock()
	g.endLost(left)
}

func (g *guard) heard(r report) {
	g.mu.Lock()
	c := g.children[r.ID]
	if r.Is != isStarted {
		delete(g.children, r.ID)
	}
	g.mu.Unlock()
	if c == nil {
		return
	}
	switch r.Is {
	case isStarted:
		c.pid = r.PID
		close(c.started)
	case isRefused:
		c.refused = errors.New(r.Err)
		close(c.started)
		close(c.gone)
	case isGone:
		c.end = end{Code: r.Code, Signal: syscall.Signal(r.Signal), Why: r.Why, Itself: r.Itself, At: r.At}
		close(c.gone)
	case isReady:
	}
}

// start starts a command that writes to out and complains to complaints. These stay
// open; the command has its own.
func (g *guard) start(o order, out, complaints *os.File) (*child, error) {
	c := &child{guard: g, started: make(chan struct{}), gone: make(chan struct{}), mark: markOf(o.Env)}
	g.mu.Lock()
	if g.over {
		g.mu.Unlock()
		return nil, errGuardianGone
	}
	g.next++
	c.id = g.next
	g.children[c.id] = c
	g.mu.Unlock()
	o.Do, o.ID = doStart, c.id
	if err := g.tell(o, out, complaints); err != nil {
		g.forget(c)
		return nil, err
	}
	<-c.started
	return c, c.refused
}

// forget is for an order that was not sent.
func (g *guard) forget(c *child) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.children, c.id)
}

// tell sends an order.
func (g *guard) tell(o order, files ...*os.File) error {
	g.write.Lock()
	defer g.write.Unlock()
	return writeFrame(g.conn, o, files...)
}

// term asks the command to end, and kill ends it. A guardian that is gone has ended it.
func (c *child) term() { _ = c.guard.tell(order{Do: doTerm, ID: c.id}) }
func (c *child) kill() { _ = c.guard.tell(order{Do: doKill, ID: c.id}) }

// lostTime is how long parti tries to end what cannot be killed, once it ends itself.
const lostTime = 5 * time.Second

// endLost ends commands that a dead guardian has left behind: their first processes were
// killed with the guardian, where the system does that, and what has lost its parent is a
// child of parti now. None is gone before nothing of it is left: others may have what it
// worked on then.
func (g *guard) endLost(left map[uint64]*child) {
	for id, c := range left {
		select {
		case <-c.started:
		default:
			c.refused = errGuardianGone
			close(c.started)
			close(c.gone)
			delete(left, id)
		}
	}
	all := make([]*lost, 0, len(left))
	for _, c := range left {
		all = append(all, &lost{child: c})
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var until time.Duration // zero: for as long as it takes
	for len(all) > 0 {
		if until == 0 && g.isClosing() {
			until = machineTime() + lostTime
		}
		late := until != 0 && machineTime() >= until
		all = slices.DeleteFunc(all, func(l *lost) bool {
			gone := l.kill() || late
			if gone {
				l.child.end = end{Lost: true, At: machineTime()}
				close(l.child.gone)
			}
			return gone
		})
		<-look.C
	}
}

// A lost is a command without a guardian.
type lost struct {
	child  *child
	killed map[int]bool // what had left the group, until it is waited for
	doubts int          // how often it could not be told whose an orphan is
}

// kill kills what is left, and reports whether nothing is.
func (l *lost) kill() (gone bool) {
	group := -l.child.pid
	_ = syscall.Kill(group, syscall.SIGKILL)
	for ended := true; ended; {
		ended = waitedFor(group)
	}
	lives := !errors.Is(syscall.Kill(group, 0), syscall.ESRCH)
	// Only now, since the children of whatever has ended have come to parti.
	found, doubt := l.killMarked()
	if doubt && !found && !lives && l.doubts < maxDoubts {
		l.doubts++
		return false
	}
	return !found && !lives
}

// killMarked kills what has left the group, where it can be told that it has. It reports
// whether there was any, and whether it could not be told of some.
func (l *lost) killMarked() (found, doubt bool) {
	guardians.Lock()
	defer guardians.Unlock()
	before := l.killed
	l.killed = map[int]bool{}
	for _, pid := range children() {
		if guardians.pids[pid] {
			continue
		}
		yes, known := marked(pid, l.child.mark)
		switch {
		case yes && syscall.Kill(pid, syscall.SIGKILL) == nil, before[pid]: // its environment goes before it does
			found = true
			if !waitedFor(pid) {
				l.killed[pid] = true
			}
		case !known:
			doubt = true
		}
	}
	return found, doubt
}

// waitedFor waits for a child, or for one of a group, if there is one that has ended.
func waitedFor(pid int) bool {
	was, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	return err == nil && was > 0
}

// isClosing reports whether parti ends.
func (g *guard) isClosing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closing
}

// isOver reports whether it takes no more commands.
func (g *guard) isOver() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.over
}

// close lets the guardian end what is left, and itself, and waits for it.
func (g *guard) close() {
	g.mu.Lock()
	g.over, g.closing = true, true
	g.mu.Unlock()
	_ = g.conn.CloseWrite()
	<-g.dead
}
