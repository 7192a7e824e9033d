//go:build unix

package partitest

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

// Kill ends a process with SIGKILL. One that has ended is no mistake.
func Kill(tb testing.TB, p *os.Process) {
	tb.Helper()
	send(tb, p, syscall.SIGKILL)
}

// Pause stops a process with SIGSTOP, until Resume, at the latest until the test ends.
func Pause(tb testing.TB, p *os.Process) {
	tb.Helper()
	send(tb, p, syscall.SIGSTOP)
	tb.Cleanup(func() { send(tb, p, syscall.SIGCONT) })
}

// Resume lets a process go on that was paused.
func Resume(tb testing.TB, p *os.Process) {
	tb.Helper()
	send(tb, p, syscall.SIGCONT)
}

func send(tb testing.TB, p *os.Process, s syscall.Signal) {
	tb.Helper()
	if err := p.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Errorf("signal %v to process %d: %v", s, p.Pid, err)
	}
}
