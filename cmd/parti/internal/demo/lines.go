package demo

import "sync"

// lines hands lines to one reader, one at a time, in order.
type lines struct {
	mu     sync.Mutex
	f      func(Line)
	closed bool
}

func newLines(f func(Line)) *lines { return &lines{f: f} }

func (l *lines) add(x Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil && !l.closed {
		l.f(x)
	}
}

// close lets no more lines through.
func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
