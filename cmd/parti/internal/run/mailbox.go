package run

import "sync"

// A mailbox keeps what is put into it, in order, for one who takes. To put something
// in never waits.
type mailbox[T any] struct {
	mu     sync.Mutex
	all    []T
	closed bool
	signal chan struct{}
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{signal: make(chan struct{}, 1)} }

func (m *mailbox[T]) put(v T) {
	m.mu.Lock()
	m.all = append(m.all, v)
	m.mu.Unlock()
	m.wake()
}

// close lets each return once all was taken.
func (m *mailbox[T]) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.wake()
}

func (m *mailbox[T]) wake() {
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// each calls f with everything, one after the other.
func (m *mailbox[T]) each(f func(T)) {
	for range m.signal {
		m.mu.Lock()
		all, closed := m.all, m.closed
		m.all = nil
		m.mu.Unlock()
		for _, v := range all {
			f(v)
		}
		if closed {
			return
		}
	}
}
