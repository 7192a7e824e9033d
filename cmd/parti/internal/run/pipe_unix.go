//go:build unix

package run

import (
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parti-go/parti/cmd/parti/internal/cut"
)

const (
	// quiet is how long nothing must come from a pipe that somebody still holds,
	// although the command is gone, before no more is expected.
	quiet = 100 * time.Millisecond
	// outputTime is the longest that what is left of a command's output may take.
	outputTime = 5 * time.Second
)

// A pipe carries what a command writes to what cuts it into lines.
type pipe struct {
	r, w   *os.File
	gone   atomic.Bool
	copied chan struct{}
}

func newPipe(to *cut.Lines) (*pipe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// A command expects that its output waits.
	if err := syscall.SetNonblock(int(w.Fd()), false); err != nil {
		_, _ = r.Close(), w.Close()
		return nil, err
	}
	p := &pipe{r: r, w: w, copied: make(chan struct{})}
	go p.copy(to)
	return p, nil
}

func (p *pipe) copy(to *cut.Lines) {
	defer close(p.copied)
	defer p.r.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		if p.gone.Load() {
			_ = p.r.SetReadDeadline(time.Now().Add(quiet))
		}
		n, err := p.r.Read(buf)
		_, _ = to.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

// finish waits until all that the command has written was passed on. It does not wait
// for processes that hold the pipe and are none of the command's, nor for ever.
func (p *pipe) finish(late <-chan struct{}) {
	p.gone.Store(true)
	_ = p.r.SetReadDeadline(time.Now().Add(quiet))
	select {
	case <-p.copied:
	case <-late:
		_ = p.r.SetReadDeadline(time.Now()) // whoever takes our output does not take it
	}
}
