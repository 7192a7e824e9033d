package parti

import (
	"sync"

	"github.com/parti-go/parti/internal/member"
)

// A queue holds the facts that the machine was not told yet, in order. It is the
// only way to tell it anything. It has no limit, so that no teller ever waits and no
// fact is lost, and yet it stays small: each request has one answer, of changes
// to one key that were followed, only the newest is kept, and wishes for a refresh are one.
type queue struct {
	signal chan struct{} // holds one: there is something

	mu    sync.Mutex
	facts []member.Fact
	told  map[member.Key]int // where in facts the last change of a key is
	wish  bool               // a Refresh is in facts: what is listed for it is listed after all that wish so by then
	shut  bool
}

func newQueue() *queue {
	return &queue{signal: make(chan struct{}, 1), told: map[member.Key]int{}}
}

// push adds facts. After shut it does nothing.
func (q *queue) push(facts ...member.Fact) {
	q.mu.Lock()
	if q.shut {
		q.mu.Unlock()
		return
	}
	for _, f := range facts {
		q.add(f)
	}
	q.mu.Unlock()
	q.wake()
}

func (q *queue) add(f member.Fact) {
	switch f := f.(type) {
	case member.Told:
		if at, ok := q.told[f.Record.Key]; ok {
			q.facts[at] = f
			return
		}
		q.told[f.Record.Key] = len(q.facts)
	case member.Following, member.Hole:
		clear(q.told) // what comes now belongs to another following
	case member.Refresh:
		if q.wish {
			return
		}
		q.wish = true
	case member.Tick, member.Answer, member.Connected, member.Started, member.Exited, member.Jumped,
		member.StepDown, member.Leave, member.Abandon:
	}
	q.facts = append(q.facts, f)
}

// take removes and returns all facts.
func (q *queue) take() []member.Fact {
	q.mu.Lock()
	defer q.mu.Unlock()
	facts := q.facts
	q.facts, q.wish = nil, false
	clear(q.told)
	return facts
}

// shutDown drops what there is and what comes.
func (q *queue) shutDown() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.facts, q.told, q.shut = nil, nil, true
}

// wake makes the loop turn.
func (q *queue) wake() {
	select {
	case q.signal <- struct{}{}:
	default: // one is enough
	}
}
