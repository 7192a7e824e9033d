package member

import (
	"fmt"
	"testing"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/kv"
)

// Whatever goes wrong for a minute, the group settles by itself afterwards, nothing
// ran twice, and nothing is still asked for.
func TestChaos(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() || raced {
		seeds = 10
	}
	injected := 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			w.rand.Uint64()
			for range seed {
				w.rand.Uint64()
			}
			w.group(4, 12)
			w.fault = func(_ *box, op Op) fault {
				if w.rand.IntN(12) != 0 {
					return fault{}
				}
				injected++
				switch w.rand.IntN(5) {
				case 0:
					return fault{err: kv.ErrUnavailable}
				case 1:
					return fault{err: kv.ErrUnknown}
				case 2:
					return fault{err: kv.ErrUnknown, stored: true}
				case 3:
					if _, get := op.Do.(Get); get {
						return fault{err: kv.ErrUnavailable}
					}
					return fault{err: kv.ErrUnknown, late: time.Duration(w.rand.IntN(3000)) * time.Millisecond}
				default:
					return fault{err: fmt.Errorf("out of the blue")}
				}
			}
			for i := range 6 {
				w.run(10 * time.Second)
				switch w.rand.IntN(5) {
				case 0:
					if b := w.other(); b != nil {
						b.kill()
					}
				case 1:
					if b := w.leader(); b != nil {
						b.kill()
					}
				case 2:
					if b := w.leader(); b != nil {
						b.step(StepDown{})
					}
				case 3:
					if b := w.other(); b != nil {
						b.step(Leave{})
					}
				}
				w.start(w.config(fmt.Sprintf("new-%d", i)))
			}
			w.fault = nil
			w.must("all is well again", 150*time.Second, w.settled)
			w.run(30 * time.Second)
			version := w.store.head().Version
			w.run(60 * time.Second)
			if v := w.store.head().Version; v != version || !w.settled() {
				t.Errorf("plan %v became %v long after the last fault\n%s", version, v, w.tail())
			}
			if w.store.renewals != 0 {
				t.Error("the store was made anew though it lost nothing")
			}
			for _, b := range w.boxes {
				if n := len(b.m.calls); !b.dead && n > 12 {
					t.Errorf("%s has %d requests out", b.name, n)
				}
				if n := len(b.m.timers); !b.dead && n > 12 {
					t.Errorf("%s has %d timers", b.name, n)
				}
			}
		})
	}
	if injected == 0 {
		t.Error("no fault was injected")
	}
}

// The store is lost, or goes back, at any time, while answers are lost as well.
func TestChaosOfTheStore(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			for range seed {
				w.rand.Uint64()
			}
			w.group(4, 12)
			w.fault = func(*box, Op) fault {
				if w.rand.IntN(20) == 0 {
					return fault{err: kv.ErrUnknown, stored: w.rand.IntN(2) == 0}
				}
				return fault{}
			}
			back := seed%2 == 0
			restore := w.store.backup()
			w.run(time.Duration(w.rand.IntN(4000)) * time.Millisecond)
			if back {
				restore()
			} else {
				w.store.there, w.store.keys = false, map[Key]*entry{}
			}
			w.run(5 * time.Second)
			w.fault = nil
			w.must("all is well again", 150*time.Second, w.settled)
			if w.store.renewals > 2 || w.store.renewals == 0 && !back {
				t.Errorf("made anew %d times", w.store.renewals)
			}
			for _, b := range w.boxes {
				for _, e := range saw[event.SessionLost](b) {
					t.Errorf("%s lost its session: %s", b.name, e.Why)
				}
			}
		})
	}
}
