package demo

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// books is a ledger with a clock that is turned by hand.
type books struct {
	*ledger

	t    *testing.T
	time time.Time
	rung int
}

func newBooks(t *testing.T, ids ...string) *books {
	t.Helper()
	b := &books{t: t, time: time.Unix(0, 0)}
	b.ledger = newLedger(func() time.Time { return b.time }, func() { b.rung++ }, ids)
	return b
}

func (b *books) after(d time.Duration) { b.time = b.time.Add(d) }

func (b *books) counts(want counters) {
	b.t.Helper()
	if got := b.Counters(); got != want {
		b.t.Errorf("counters are %+v, want %+v", got, want)
	}
}

func (b *books) breached(want ...string) {
	b.t.Helper()
	got := b.Breaches()
	if len(got) != len(want) {
		b.t.Fatalf("breaches are %q, want %d", got, len(want))
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			b.t.Errorf("breach is %q, want it to speak of %q", got[i], want[i])
		}
	}
}

var (
	ann = owner{1, "worker-1"}
	bob = owner{2, "worker-2"}
)

func TestAMoveAsItShouldBe(t *testing.T) {
	b := newBooks(t, "p")
	b.after(time.Second)
	r := b.Begin("p", ann, 2)
	for seq := range uint64(3) {
		b.Sent("p", seq+1)
		if !r.Effect(seq + 1) {
			t.Error("the living have effects")
		}
	}
	b.after(time.Second)
	r.End(byHandoff)
	b.after(20 * time.Millisecond)
	b.Step(4)
	b.Begin("p", bob, 3)

	b.counts(counters{Sent: 3, Processed: 3, Placed: 1, Moved: 1})
	b.breached()
	want := []gap{{"p", byStart, 0, time.Second}, {"p", byHandoff, 4, 20 * time.Millisecond}}
	if got := b.Gaps(); !slices.Equal(got, want) {
		t.Errorf("gaps are %v, want %v", got, want)
	}
	if b.rung != 3 {
		t.Errorf("the bell rang %d times, not for each beginning and end", b.rung)
	}
	if n, named := b.Missing(); n != 0 {
		t.Errorf("%d are missing: %v", n, named)
	}
}

func TestDoubleOwnersAreNoticed(t *testing.T) {
	b := newBooks(t, "p")
	b.Begin("p", ann, 2)
	b.Begin("p", bob, 3)
	b.counts(counters{Placed: 1, Moved: 1, Doubles: 1})
	b.breached("p ran on worker-1 (token 2) and on worker-2 (token 3) at the same time")
}

func TestTheDeadOwnNothing(t *testing.T) {
	b := newBooks(t, "p", "q")
	r := b.Begin("p", ann, 2)
	b.Kill(ann.life, byCrash)
	if r.Effect(1) {
		t.Error("the dead have no effects")
	}
	b.after(2 * time.Second)
	r.End(byFence) // the goroutine that is left
	b.Begin("q", ann, 2)
	b.Begin("p", bob, 3)
	b.counts(counters{Placed: 1, Moved: 1})
	b.breached()
	if got := b.Gaps()[1]; got != (gap{"p", byCrash, 0, 2 * time.Second}) {
		t.Errorf("the gap is %v", got)
	}
}

func TestTokensThatDoNotGrowAreNoticed(t *testing.T) {
	t.Run("smaller", func(t *testing.T) {
		b := newBooks(t, "p")
		b.Begin("p", ann, 3).End(byHandoff)
		b.Begin("p", bob, 2)
		b.counts(counters{Placed: 1, Moved: 1, Tokens: 1})
		b.breached("p began on worker-2 with token 2 after token 3 on worker-1")
	})
	t.Run("the same on another", func(t *testing.T) {
		b := newBooks(t, "p")
		b.Begin("p", ann, 3).End(byHandoff)
		b.Begin("p", bob, 3)
		b.counts(counters{Placed: 1, Moved: 1, Tokens: 1})
	})
	t.Run("the same in the next life", func(t *testing.T) {
		b := newBooks(t, "p")
		b.Begin("p", ann, 3).End(byStop)
		b.Begin("p", owner{7, ann.worker}, 3)
		b.counts(counters{Placed: 1, Tokens: 1})
	})
	t.Run("a handler that is run again has its lease", func(t *testing.T) {
		b := newBooks(t, "p")
		b.Begin("p", ann, 3).End(byReturn)
		b.Begin("p", ann, 3)
		b.counts(counters{Placed: 1})
		b.breached()
	})
}

func TestLateEffectsAreNoticed(t *testing.T) {
	t.Run("after the return", func(t *testing.T) {
		b := newBooks(t, "p")
		r := b.Begin("p", ann, 2)
		r.End(byHandoff)
		r.Effect(1)
		b.counts(counters{Placed: 1, Processed: 1, Late: 1})
		b.breached("message 1 of p was processed by worker-1, which did not own it any more")
	})
	t.Run("beside a newer one", func(t *testing.T) {
		b := newBooks(t, "p")
		r := b.Begin("p", ann, 2)
		b.Begin("p", bob, 3)
		r.Effect(1)
		b.counts(counters{Placed: 1, Moved: 1, Processed: 1, Doubles: 1, Late: 1})
	})
}

func TestMessagesAreCounted(t *testing.T) {
	b := newBooks(t, "p", "q")
	r := b.Begin("p", ann, 2)
	r.Effect(2) // before the producer knows that it was sent
	for seq := range uint64(3) {
		b.Sent("p", seq+1)
	}
	b.Sent("q", 1)
	r.Effect(1)
	r.Effect(2)
	b.counts(counters{Sent: 4, Processed: 2, Repeated: 1, Placed: 1})
	if n, named := b.Missing(); n != 2 || !slices.Equal(named, []string{"p #3", "q #1"}) {
		t.Errorf("%d are missing: %v", n, named)
	}
	if got := b.Done(); got["p"] != 2 || got["q"] != 0 {
		t.Errorf("done are %v", got)
	}
	if got := b.Next("p"); got != 4 {
		t.Errorf("the next message is %d", got)
	}
}

func TestOrphansAtTheEndAreNamed(t *testing.T) {
	b := newBooks(t, "p", "q", "r")
	b.Begin("q", ann, 2)
	if got := b.Close(); !slices.Equal(got, []string{"p", "r"}) {
		t.Errorf("orphans are %v", got)
	}
	b.Begin("p", bob, 2) // while all are being stopped
	b.Kill(ann.life, byCrash)
	b.Begin("q", bob, 3)
	if got := b.Gaps(); len(got) != 1 {
		t.Errorf("gaps after the end count: %v", got)
	}
}

func TestLoads(t *testing.T) {
	b := newBooks(t, "p", "q", "r")
	b.Begin("p", ann, 2)
	b.Begin("q", ann, 2)
	loads, orphans := b.Loads()
	if loads[ann.life] != 2 || orphans != 1 {
		t.Errorf("loads are %v, orphans %d", loads, orphans)
	}
	if got := b.Owners(); got["p"] != "worker-1" || got["r"] != "" {
		t.Errorf("owners are %v", got)
	}
}

func TestLeastMoves(t *testing.T) {
	for _, c := range []struct {
		name  string
		loads map[int]int
		all   int
		want  int
	}{
		{"nobody", nil, 5, 0},
		{"even", map[int]int{1: 12, 2: 12}, 24, 0},
		{"even enough", map[int]int{1: 13, 2: 12}, 25, 0},
		{"one joins", map[int]int{0: 0, 1: 12, 2: 12, 3: 12}, 36, 9},
		{"one has gone", map[int]int{1: 12, 2: 12}, 36, 12},
		{"a remainder stays where there is most", map[int]int{0: 0, 1: 4, 2: 3}, 7, 2},
		{"all from nothing", map[int]int{1: 0, 2: 0, 3: 0}, 10, 10},
		{"far from even", map[int]int{1: 9, 2: 1}, 10, 4},
	} {
		if got := leastMoves(c.loads, c.all); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestSpread(t *testing.T) {
	var gaps []gap
	for i := range 200 {
		gaps = append(gaps, gap{For: time.Duration(i+1) * time.Millisecond})
	}
	if got, want := spread(gaps), (Spread{200, 100, 198, 200}); got != want {
		t.Errorf("spread is %v, want %v", got, want)
	}
	if got := spread(nil); got != (Spread{}) {
		t.Errorf("the spread of nothing is %v", got)
	}
	if got := spread(gaps[:1]); got != (Spread{1, 1, 1, 1}) {
		t.Errorf("the spread of one is %v", got)
	}
}
