package run

import (
	"errors"
	"io"
	"sync"
	"syscall"
)

// ErrUnread says that a worker has stopped since who read its output is gone.
var ErrUnread = errors.New("nobody reads the output")

// readers knows whether those are there who read what is written.
type readers struct {
	once sync.Once
	gone chan struct{} // closed when somebody is gone
}

func newReaders() *readers { return &readers{gone: make(chan struct{})} }

// note takes note of how a write has ended. One that fails for another reason, as on a
// full disk, is no reason to stop: the next may not.
func (r *readers) note(err error) {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		r.once.Do(func() { close(r.gone) })
	}
}
