package partitest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti"
)

// A witness is a test that is allowed to fail.
type witness struct {
	testing.TB

	mu    sync.Mutex
	lines []string
}

func (w *witness) Helper() {}

func (w *witness) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func (w *witness) Error(args ...any) { w.Errorf("%s", fmt.Sprint(args...)) }

var errFatal = errors.New("fatal")

func (w *witness) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	panic(errFatal)
}

// words are how a history says what happened.
var words = map[string]What{
	"starts": Started, "returns": Returned, "acts": Acted, "crashes": Crashed,
	"freezes": Frozen, "wakes": Woke, "isolated": Isolated, "back": Back,
}

// history is a ledger of entries a second apart, each as "worker what partition token",
// and for nothing as many dots as seconds.
func history(tb testing.TB, lines ...string) *Ledger {
	tb.Helper()
	l := NewLedger(tb)
	at := time.Now()
	for _, line := range lines {
		at = at.Add(time.Second)
		if strings.Trim(line, ".") == "" {
			at = at.Add(time.Duration(len(line)-1) * time.Second)
			continue
		}
		e, what := Entry{At: at}, ""
		_, _ = fmt.Sscan(line, &e.Worker, &what, &e.Partition, &e.Token) // some have no partition
		if e.What = words[what]; e.What == 0 {
			tb.Fatalf("%q says nothing", line)
		}
		l.Enter(e)
	}
	return l
}

func TestLedgerChecks(t *testing.T) {
	for name, c := range map[string]struct {
		history       []string
		bounds        []Bound
		freeze, fence string // what is found; empty: nothing
	}{
		"a handoff": {history: []string{"a starts p 1", "a returns p 1", "b starts p 2"}},
		"a token twice": {
			history: []string{"a starts p 1", "a returns p 1", "b starts p 1"},
			freeze:  "b starts it with token 1 after 1", fence: "b starts it with token 1 after 1",
		},
		"a handler that is called again": {history: []string{"a starts p 1", "a returns p 1", "a starts p 1"}},
		"but not after a crash": {
			history: []string{"a starts p 1", "a crashes", "a starts p 1"},
			freeze:  "a starts it with token 1 after 1", fence: "a starts it with token 1 after 1",
		},
		"a smaller token": {
			history: []string{"a starts p 2", "a returns p 2", "a starts p 1"},
			freeze:  "a starts it with token 1 after 2", fence: "a starts it with token 1 after 2",
		},
		"two at once": {
			history: []string{"a starts p 1", "b starts p 2", "a returns p 1"},
			freeze:  "b starts it while a runs it", fence: "b starts it while a runs it",
		},
		"two partitions": {history: []string{"a starts p 1", "b starts q 2"}},
		"a return without a start": {
			history: []string{"a starts p 2", "b returns p 1"},
			freeze:  "b returns with token 1 and has not started it", fence: "b returns with token 1",
		},
		"a crash":     {history: []string{"a starts p 1", "a crashes", "b starts p 2", "a returns p 1"}},
		"a successor": {history: []string{"a starts p 1", "a crashes", "a starts p 2", "a returns p 2", "b starts p 3"}},
		"a freeze":    {history: []string{"a starts p 1", "a freezes", "b starts p 2", "a wakes", "a returns p 1"}},
		"it wakes and goes on": {
			history: []string{"a starts p 1", "a freezes", "a wakes", ".", "b starts p 2"},
			freeze:  "b starts it while a runs it", fence: "b starts it while a runs it",
		},
		"isolated": {
			history: []string{"a starts p 1", "a isolated", "b starts p 2", "a back", "a returns p 1"},
			fence:   "under Fence it must have stopped",
		},
		"it is back for long": {
			history: []string{"a starts p 1", "a isolated", "a back", "....................", "b starts p 2"},
			freeze:  "b starts it while a runs it", fence: "b starts it while a runs it",
		},
		"it is called again while it is isolated": {
			history: []string{"a starts p 1", "a isolated", "a returns p 1", "b starts p 2", "a starts p 1", "a back", "a returns p 1"},
			fence:   "a starts it again while b runs it, and is isolated",
		},
		"or before another one begins": {
			history: []string{"a starts p 1", "a isolated", "a returns p 1", "a starts p 1", "b starts p 2", "a back", "a returns p 1"},
			fence:   "under Fence it must have stopped",
		},
		"and goes on when it is back": {
			history: []string{"a starts p 1", "a isolated", "a returns p 1", "b starts p 2", "a starts p 1", "a back", "....................", "b acts p 2"},
			freeze:  "a still runs it beside b", fence: "a still runs it beside b",
		},
		"it wakes and does not return": {
			history: []string{"a starts p 1", "a freezes", "b starts p 2", "a wakes", ".", ".", ".", ".", ".", ".", "b acts p 2"},
			freeze:  "a still runs it beside b", fence: "a still runs it beside b",
		},
		"it wakes and is isolated": {
			history: []string{"a starts p 1", "a freezes", "b starts p 2", "a isolated", "a wakes", ".", ".", "a back", "a returns p 1"},
		},
		"a late return from a former process": {
			history: []string{"a starts p 1", "a crashes", "a starts p 2", "a returns p 1", "a crashes", "b starts p 3"},
		},
		"an old effect": {
			history: []string{"a starts p 1", "b acts p 2", "a acts p 1"},
			freeze:  "an effect of token 1 was accepted after one of token 2", fence: "an effect of token 1",
		},
		"nobody runs it": {
			history: []string{"a starts p 1", "a returns p 1"},
			freeze:  "nobody runs it since its return on a", fence: "nobody runs it",
		},
		"a long gap": {
			history: []string{"a starts p 1", "a crashes", ".", ".", "b starts p 2"}, bounds: []Bound{MaxGap(2 * time.Second)},
			freeze: "nobody ran it for 3s after the crash of a, the bound is 2s", fence: "nobody ran it for 3s",
		},
		"a frozen gap": {
			history: []string{"a starts p 1", "a freezes", ".", ".", "a wakes"}, bounds: []Bound{MaxGap(2 * time.Second)},
			freeze: "nobody ran it for 3s after the freeze of a", fence: "nobody ran it for 3s",
		},
		"a short gap": {history: []string{"a starts p 1", "a crashes", ".", ".", "b starts p 2"}, bounds: []Bound{MaxGap(3 * time.Second)}},
		"moves": {
			history: []string{"a starts p 1", "a returns p 1", "b starts p 2", "b returns p 2", "b starts p 3"}, bounds: []Bound{MaxMoves(0)},
			freeze: "1 moves, the bound is 0", fence: "1 moves, the bound is 0",
		},
		"moves within the bound": {
			history: []string{"a starts p 1", "a returns p 1", "b starts p 2", "b returns p 2", "b starts p 3"}, bounds: []Bound{MaxMoves(1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for policy, want := range map[parti.Isolation]string{parti.Freeze: c.freeze, parti.Fence: c.fence} {
				w := &witness{TB: t}
				history(w, c.history...).Check(policy, c.bounds...)
				all := strings.Join(w.lines, "\n")
				if (want == "") != (all == "") || !strings.Contains(all, want) {
					t.Errorf("%v: want %q, found %q", policy, want, all)
				}
			}
		})
	}
}

// The checker of histories finds by itself what the running checks find, and what they
// cannot.
func TestLedgerLinearizability(t *testing.T) {
	for name, c := range map[string]struct {
		history []string
		policy  parti.Isolation
		bad     bool
	}{
		"two at once":            {history: []string{"a starts p 1", "b starts p 2"}, bad: true},
		"a token twice":          {history: []string{"a starts p 1", "a returns p 1", "b starts p 1"}, bad: true},
		"a smaller token":        {history: []string{"a starts p 2", "a returns p 2", "a starts p 1"}, bad: true},
		"called again":           {history: []string{"a starts p 1", "a returns p 1", "a starts p 1"}},
		"but not after a crash":  {history: []string{"a starts p 1", "a crashes", "a starts p 1"}, bad: true},
		"a crash":                {history: []string{"a starts p 1", "a crashes", "b starts p 2"}},
		"isolated":               {history: []string{"a starts p 1", "a isolated", "b starts p 2"}},
		"isolated under Fence":   {history: []string{"a starts p 1", "a isolated", "b starts p 2"}, policy: parti.Fence, bad: true},
		"one that had no hold":   {history: []string{"a starts p 1", "a freezes", "b starts p 2", "a wakes", "a returns p 1", "c starts p 3"}, bad: true},
		"and one that gave back": {history: []string{"a starts p 1", "a freezes", "b starts p 2", "a wakes", "a returns p 1", "b returns p 2", "c starts p 3"}},
	} {
		if found := history(t, c.history...).irregular(c.policy); (len(found) > 0) != c.bad {
			t.Errorf("%s: %v", name, found)
		}
	}
	// Effects that overlap may have been taken in either order, and others may not.
	for name, c := range map[string]struct {
		acts []act
		bad  bool
	}{
		"overlapping":                      {acts: []act{{token: 2, call: 1, back: 4}, {token: 1, call: 2, back: 3}}},
		"one after the other":              {acts: []act{{token: 2, call: 1, back: 2}, {token: 1, call: 3, back: 4}}, bad: true},
		"refused for nothing":              {acts: []act{{token: 2, call: 1, back: 2, outcome: refused}, {token: 1, call: 1, back: 4}}, bad: true},
		"refused because of one under way": {acts: []act{{token: 1, call: 1, back: 3, outcome: refused}, {token: 2, call: 2, back: 4}}},
		"an unknown one took place":        {acts: []act{{token: 2, call: 1, back: 2, outcome: unknown}, {token: 1, call: 3, back: 4, outcome: refused}}},
		"or did not":                       {acts: []act{{token: 2, call: 1, back: 2, outcome: unknown}, {token: 1, call: 3, back: 4}}},
		"but not both":                     {acts: []act{{token: 2, call: 1, back: 2, outcome: unknown}, {token: 1, call: 3, back: 4}, {token: 1, call: 5, back: 6, outcome: refused}}, bad: true},
	} {
		l := NewLedger(t)
		l.acts["p"] = c.acts
		if found := l.irregular(parti.Fence); (len(found) > 0) != c.bad {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// What nothing excuses any more is found also where nothing was entered since.
func TestLedgerExcuseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &witness{TB: t}
		l := NewLedger(w)
		l.Enter(Entry{What: Started, Worker: "a", Partition: "p", Token: 1})
		l.Enter(Entry{What: Frozen, Worker: "a"})
		l.Enter(Entry{What: Started, Worker: "b", Partition: "p", Token: 2})
		l.Enter(Entry{What: Woke, Worker: "a"})
		if l.Check(parti.Fence); len(w.lines) > 0 {
			t.Errorf("it has just woken: %v", w.lines)
		}
		time.Sleep(backGrace)
		if l.Check(parti.Fence); len(w.lines) != 1 || !strings.Contains(w.lines[0], "a still runs it beside b") {
			t.Errorf("%v", w.lines)
		}
		if r := l.Report(); r.Doubles != 1 || r.OverlapFrozen != 1 {
			t.Errorf("%v", r)
		}
	})
}

func TestLedgerLateEntries(t *testing.T) {
	w := &witness{TB: t}
	l := NewLedger(w)
	at := time.Now()
	l.Enter(Entry{At: at.Add(3), What: Started, Worker: "b", Partition: "p", Token: 2}) // heard of too soon
	l.Enter(Entry{At: at.Add(1), What: Started, Worker: "a", Partition: "p", Token: 1})
	l.Enter(Entry{At: at.Add(2), What: Returned, Worker: "a", Partition: "p", Token: 1})
	l.Check(parti.Fence)
	if len(w.lines) > 0 {
		t.Error(w.lines)
	}
	if r := l.Report(); r.Starts != 2 || r.Moves != 1 || r.Doubles != 0 || len(r.Gaps) != 1 || !strings.Contains(r.String(), "starts of handlers") {
		t.Errorf("%v", r)
	}
}

func TestLedgerAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &witness{TB: t}
		l := history(w, "a starts p 1")
		go func() {
			time.Sleep(time.Second)
			l.Enter(Entry{What: Returned, Worker: "a", Partition: "p", Token: 1})
			l.Enter(Entry{What: Started, Worker: "b", Partition: "p", Token: 2})
		}()
		l.Covered(time.Hour, parti.Partition{ID: "p"})
		l.Await("b owns it", time.Hour, func() bool { by, token, ok := l.Owner("p"); return ok && by == "b" && token == 2 })
		if len(w.lines) > 0 {
			t.Error(w.lines)
		}
		func() {
			defer func() {
				if recover() != errFatal { //nolint:errorlint // that very value
					t.Error("it waits for ever")
				}
			}()
			l.Covered(time.Minute, parti.Partition{ID: "p"}, parti.Partition{ID: "q"})
		}()
		if all := strings.Join(w.lines, "\n"); !strings.Contains(all, "map[b:1]") || !strings.Contains(all, "b starts p (token 2)") {
			t.Errorf("it does not say how things stand: %s", all)
		}
	})
}

func TestLedgerActs(t *testing.T) {
	l := NewLedger(t)
	sinkDown := errors.New("no answer")
	acting := func(worker string, do func(lease parti.Lease)) {
		t.Helper()
		lease := NewLease(parti.Partition{ID: "p"})
		h := l.Watch(worker, parti.HandlerFunc(func(context.Context, parti.Lease) error {
			do(lease.Lease)
			return nil
		}))
		if err := h.Run(lease.Context(), lease.Lease); err != nil {
			t.Error(err)
		}
	}
	var old parti.Lease
	acting("a", func(a parti.Lease) {
		old = a
		if err := l.Act(a, "first"); err != nil {
			t.Error(err)
		}
		l.Enter(Entry{What: Frozen, Worker: "a"})
		acting("b", func(b parti.Lease) {
			if err := errors.Join(l.Act(b, "second"), l.Act(b, "third")); err != nil {
				t.Error(err)
			}
			if err := l.Effect(b, "lost", func() error { return sinkDown }); !errors.Is(err, sinkDown) {
				t.Error(err)
			}
			if err := l.Act(a, "late"); !errors.Is(err, ErrRefused) {
				t.Error(err)
			}
		})
		l.Enter(Entry{What: Crashed, Worker: "a"})
		if err := l.Act(a, "from the grave"); !errors.Is(err, ErrCrashed) {
			t.Error(err)
		}
	})
	late := NewLease(parti.Partition{ID: "q"})
	h := l.Watch("c", parti.HandlerFunc(func(context.Context, parti.Lease) error {
		t.Error("a handler of a process that is gone")
		return nil
	}))
	l.Enter(Entry{What: Crashed, Worker: "c"})
	if err := h.Run(late.Context(), late.Lease); err != nil {
		t.Error(err)
	}
	if err := l.Act(old, "after its return"); err == nil {
		t.Error("an effect without a handler")
	}
	l.Over()
	if r := l.Report(); r.Accepted != 3 || r.Refused != 1 || r.Ghosts != 2 || r.OverlapFrozen != 1 {
		t.Errorf("%v", r)
	}
}

func TestLedgerKeepsPreparer(t *testing.T) {
	l := NewLedger(t)
	if _, ok := l.Watch("a", preparing{}).(parti.Preparer); !ok {
		t.Error("it is lost")
	}
	if _, ok := l.Watch("a", parti.HandlerFunc(nil)).(parti.Preparer); ok {
		t.Error("it is made up")
	}
}

type preparing struct{}

func (preparing) Run(context.Context, parti.Lease) error         { return nil }
func (preparing) Prepare(context.Context, parti.Partition) error { return nil }
