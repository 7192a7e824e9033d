package parti

import (
	"log/slog"
	"sync"

	"github.com/parti-go/parti/event"
)

// A stream hands events to its readers on a goroutine of its own, in order, each to all of
// them before the next, and never makes the teller wait.
type stream struct {
	readers []func(Event)
	log     *slog.Logger
	room    int // how many may wait

	mu      sync.Mutex
	waiting []Event
	dropped int // since the last that waits

	taken []Event // of those the first is being read; the goroutine's own
	next  int     // who reads it next

	courier courier
}

func newStream(log *slog.Logger, readers ...func(Event)) *stream {
	s := &stream{readers: readers, log: log, room: EventBuffer}
	s.courier.init()
	return s
}

// tell takes a batch of events.
func (s *stream) tell(events []Event) {
	s.mu.Lock()
	for _, e := range events {
		if len(s.waiting) >= s.room && !isLast(e) {
			s.dropped++
			continue
		}
		s.confess()
		s.waiting = append(s.waiting, e)
	}
	s.mu.Unlock()
	s.courier.wake()
}

// confess puts the number of dropped events in their place.
func (s *stream) confess() {
	if s.dropped > 0 {
		s.waiting = append(s.waiting, event.Dropped{Count: s.dropped})
		s.dropped = 0
	}
}

func isLast(e Event) bool {
	state, ok := e.(event.StateChanged)
	return ok && state.To == StateStopped.String()
}

func (s *stream) take() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confess()
	events := s.waiting
	s.waiting = nil
	return events
}

// run reads until the courier is closed and all is read. A reader that ends the goroutine by
// runtime.Goexit, as t.FailNow does, leaves the rest to another one.
func (s *stream) run() {
	over := false
	defer func() {
		if over {
			close(s.courier.done)
			return
		}
		logPanic(s.log, "observer", errGoexit)
		go s.run()
	}()
	for s.readTaken(); s.courier.wait(); s.readTaken() {
		s.taken = s.take()
	}
	over = true
}

// readTaken hands out what was taken, from where it was left.
func (s *stream) readTaken() {
	for ; len(s.taken) > 0; s.taken, s.next = s.taken[1:], 0 {
		for e := s.taken[0]; s.next < len(s.readers); {
			read := s.readers[s.next]
			s.next++
			s.courier.calling(func() {
				if err := guarded(func() error { read(e); return nil }); err != nil {
					logPanic(s.log, "observer", err) // its own failure, and not the others'
				}
			})
		}
	}
	s.taken = nil
}
