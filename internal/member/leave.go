package member

import (
	"time"

	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/hold"
)

// A clean stop goes in this order:
//
//	the outcome of the last commit is known ──► the leader's key is removed ──►
//	every handler returns ──► last words ──► Done
//
// The leadership goes first, so that somebody else places our partitions. It may
// take LeaderTTL/4, but no more than handOverMost: a store that does not answer must not
// keep handlers running, which need the time of the stop for themselves. On a connection
// that is closed for good there is nothing to wait for.

// handOverMost is how long the leadership may take at most, however long LeaderTTL is.
const handOverMost = 5 * time.Second

// leave begins a clean stop.
func (m *Machine) leave() {
	if m.leaving {
		return
	}
	m.leaving = true
	if m.session != nil {
		m.handOver()
	}
}

func (m *Machine) handOver() {
	if m.connection.Closed { // nobody is told of anything any more
		m.drain()
		return
	}
	m.after(m.session.life, "hand over", min(m.cfg.LeaderTTL/4, handOverMost), m.drain)
	if m.term != nil {
		m.term.finish()
	}
}

// handedOver goes on with a clean stop. It reports whether it went a step further.
func (m *Machine) handedOver() bool {
	switch {
	case !m.leaving || m.term != nil:
		return false
	case !m.resigned:
		m.resigned = true
		m.stand.tell(elect.Leave{})
		return true
	case m.stand.rd.Out && !m.letGo:
		m.drain()
		return true
	}
	return false
}

// drain has the session leave.
func (m *Machine) drain() {
	if m.letGo || m.session == nil {
		return
	}
	m.letGo = true
	m.session.tell(hold.Leave{})
}

// abandon stops waiting.
func (m *Machine) abandon() {
	m.abandoned = true
	if m.session == nil {
		return
	}
	if m.term != nil {
		m.term.end("there is no time left", 0)
	}
	m.drain()
	m.session.tell(hold.Abandon{})
}
