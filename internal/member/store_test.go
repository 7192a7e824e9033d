package member

import (
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// What proves that the store went back, and what does not. The store has shown
// revisions up to 100, and the session's key was last acknowledged at 90.
func TestProofs(t *testing.T) {
	inc := kv.Floor(3)
	session, other := Key{KindSession, "w-1"}, Key{Kind: KindLeader}
	for _, c := range []struct {
		name  string
		key   Key
		last  kv.Rev // the condition
		got   kv.Rev // the revision acknowledged
		heard uint32 // an incarnation heard of while it was on its way
		proof bool
	}{
		{"in order", session, inc + 90, inc + 101, 0, false},
		{"a revision below one given out", other, 0, inc + 60, 0, true},
		{"the same revision twice", other, 0, inc + 100, 0, true},
		{"a condition older than one acknowledged", session, inc + 80, inc + 101, 0, true},
		{"created anew: the key was gone", session, 0, inc + 101, 0, false},
		{"an older condition on a key of others", other, inc + 5, inc + 101, 0, false},
		{"made anew meanwhile", session, inc + 80, inc + 101, 4, false},
		{"of a new incarnation", session, inc + 90, kv.Floor(4) + 1, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			cfg := w.config("me")
			m := New(cfg, time.Unix(0, 0))
			m.store.shows(3)
			m.store.acked, m.store.keys[session] = inc+100, inc+90
			m.ask(&m.life, Put{Record: Record{Key: c.key, Rev: c.last}}, func(Answer) {})
			m.store.heard(c.heard)
			m.answer(Answer{ID: m.last, Rev: c.got})
			if m.store.renewing != c.proof {
				t.Errorf("taken for a proof: %v", m.store.renewing)
			}
			for _, op := range m.ops {
				if r, ok := op.Do.(Renew); ok && r.Incarnation != 4 {
					t.Errorf("made anew as %d, want 4", r.Incarnation)
				}
			}
		})
	}
}

// Two writes on their way at the same time may be answered in any order.
func TestAnswersOutOfOrderProveNothing(t *testing.T) {
	w := newWorld(t)
	m := New(w.config("me"), time.Unix(0, 0))
	m.ask(&m.life, Put{Record: Record{Key: Key{KindSession, "w-1"}}}, func(Answer) {})
	first := m.last
	m.ask(&m.life, Put{Record: Record{Key: Key{Kind: KindLeader}}}, func(Answer) {})
	m.answer(Answer{ID: m.last, Rev: kv.Floor(3) + 11})
	m.answer(Answer{ID: first, Rev: kv.Floor(3) + 10})
	if m.store.renewing {
		t.Error("taken for a proof")
	}
}
