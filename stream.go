package parti

import (
	"log/slog"
	"sync"

	"github.com/parti-go/parti/event"
)

// A stream hands events to one reader on a goroutine of its own, in order, and
// never makes the teller wait.
type stream struct {
	read func(Event)
	log  *slog.Logger
	room int // how many may wait

	mu      sync.Mutex
	waiting []Event
	dropped int // since the last that waits

	courier courier
}

func newStream(read func(Event), log *slog.Logger) *stream {
	s := &stream{read: read, log: log, room: EventBuffer}
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

// run reads until the courier is closed and all is read.
func (s *stream) run() {
	defer close(s.courier.done)
	for s.courier.wait() {
		for _, e := range s.take() {
			s.courier.calling(func() {
				if err := guarded(func() error { s.read(e); return nil }); err != nil {
					logPanic(s.log, "observer", err)
				}
			})
		}
	}
}
