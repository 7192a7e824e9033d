package hold

// An ending is how far the session's end has come. Nothing in it is ever taken back.
type ending struct {
	lost      bool // another session, a tombstone, or nothing stands at the key
	leaving   bool // asked to
	abandoned bool // nobody waits any more
	lapsing   bool // abandoned with a handler still running: never any last words
	spoken    bool // the last words were asked for
	left      bool // they are stored
}

// leave begins to drain everything.
func (m *Machine) leave() { m.leaving = true }

// abandon ends the waiting. A handler that is still running now takes the last
// words away for good: the session lapses, and the leader concludes its end.
func (m *Machine) abandon() {
	if m.abandoned {
		return
	}
	m.leaving, m.abandoned = true, true
	m.lapsing = m.slots.running() > 0
}

// over reports whether the session has ended and nothing runs.
func (m *Machine) over() bool {
	if m.slots.running() > 0 {
		return false
	}
	return m.lost || m.left || m.abandoned
}

// silent reports whether the session has nothing to say any more.
func (m *Machine) silent() bool { return m.lost || m.left || m.lapsing }
