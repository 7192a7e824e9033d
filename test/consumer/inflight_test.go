package consumer_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parti-go/parti/consumer"
)

// With several in flight, what has passed a message that fails is not repeated when the
// partition moves.
func TestMovePastAFailure(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		w.pastAFailure(func(_ *owner, x *tenure) { x.release(t) })
	})
}

// Nor is it when the owner is lost, once the cursor says so.
func TestCursorLostPastAFailure(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		w.pastAFailure(func(o *owner, _ *tenure) {
			w.cursorIs("p", func(c cursor) bool { return c.Done == 0 && len(c.Beyond) == 19 })
			o.nc.Close()
		})
	})
}

// pastAFailure lets 19 messages pass one that fails, ends their owner, and checks what the
// next one is given.
func (w *world) pastAFailure(end func(*owner, *tenure)) {
	w.t.Helper()
	fails := func(_ context.Context, m *consumer.Msg) error {
		if string(m.Data) == "1" {
			return errors.New("not yet")
		}
		return nil
	}
	opts := []consumer.Option{consumer.InFlight(4), consumer.BackOff(20 * time.Millisecond)}
	if w.cursors {
		opts = append(opts, consumer.CursorEvery(10*time.Millisecond))
	}
	a, b := w.owner("a", fails, opts...), w.owner("b", nil, opts...)
	a.make("p")
	w.send("p", 20)
	x := a.run("p", 1)
	w.until("the others", func() bool { return w.has("p", 2, 20, true) })
	end(a, x)
	y := b.run("p", 2)
	w.send("p", 1)
	w.until("the first, and the last", func() bool { return w.by("b", 2) && w.has("p", 21, 21, true) })
	b.pending("p", 0)
	y.release(w.t)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.has("p", 2, 21, true) {
		w.t.Errorf("%v", w.got["p"])
	}
	if w.cursors {
		if c := w.cursor("p"); c.Done < 21 || len(c.Beyond) > 0 {
			w.t.Errorf("%+v", c)
		}
	}
}

// by reports whether an owner was given so many messages. w.mu is held.
func (w *world) by(owner string, n int) bool {
	for _, who := range w.where {
		if who == owner {
			n--
		}
	}
	return n <= 0
}

// While one message of a partition takes long, a cursor lets no more pass it than it can
// write down, however many there are; when it is done the others come, each once.
func TestCursorPassesAFew(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		finish := make(chan struct{})
		var passed atomic.Int64
		o := w.owner("o", func(_ context.Context, m *consumer.Msg) error {
			switch {
			case m.Partition != "p":
			case string(m.Data) == "1":
				<-finish
			default:
				passed.Add(1)
			}
			return nil
		}, consumer.InFlight(2), consumer.CursorEvery(10*time.Millisecond))
		const n, most = 1000, 2 + 256
		w.burst("p", n)
		x := o.run("p", 1)
		w.until("as many as may", func() bool { return len(w.got["p"]) == most })
		w.cursorIs("p", func(c cursor) bool { return c.Done == 0 && len(c.Beyond) == most-1 })
		w.burst("q", n) // others are not held up; and if more of p came, they would by now
		y := o.run("q", 1)
		w.until("all of q", func() bool { return w.has("q", 1, n, true) })
		if got := passed.Load(); got != most-1 {
			t.Errorf("%d passed the first, want %d", got, most-1)
		}
		close(finish)
		w.until("all of p", func() bool { return w.has("p", 1, n, true) })
		x.release(t)
		y.release(t)
		if c := w.cursor("p"); c.Done < n || len(c.Beyond) > 0 {
			t.Errorf("%+v", c)
		}
	})
}
