package parti

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/event"
)

// tellHooks runs f with a feed whose hooks write down how they were called, each
// after taking the given time.
type hookScript struct {
	calls []string
	slow  time.Duration
	busy  bool
	feed  *hookFeed
	stop  context.CancelFunc
}

func newHookScript(t *testing.T, fail func(call string) error) *hookScript {
	t.Helper()
	s := &hookScript{}
	note := func(format string, args ...any) error {
		if s.busy {
			t.Error("two hooks at a time")
		}
		s.busy = true
		time.Sleep(s.slow)
		s.busy = false
		call := fmt.Sprintf(format, args...)
		s.calls = append(s.calls, call)
		if fail != nil {
			return fail(call)
		}
		return nil
	}
	s.feed = newHookFeed(Hooks{
		OnAssignmentChanged: func(_ context.Context, added, removed []Partition) error {
			return note("+%v -%v", ids(added), ids(removed))
		},
		OnStateChanged:  func(_ context.Context, from, to State) error { return note("%v>%v", from, to) },
		OnDegradedAlert: func(_ context.Context, l AlertLevel, d time.Duration) error { return note("%v %v", l, d) },
		OnError:         func(_ context.Context, err error) error { return note("error %v", err) },
	}, slog.New(slog.DiscardHandler))
	live, stop := context.WithCancel(t.Context())
	s.stop = stop
	go s.feed.run(live, t.Context())
	return s
}

func (s *hookScript) tell(events ...Event) *hookScript {
	s.feed.tell(events)
	synctest.Wait()
	return s
}

func (s *hookScript) end() []string {
	time.Sleep(time.Minute)
	s.stop()
	close(s.feed.courier.closed)
	<-s.feed.courier.done
	return s.calls
}

func ids(ps []Partition) []string {
	all := make([]string, len(ps))
	for i, p := range ps {
		all[i] = p.ID
	}
	return all
}

func came(id string) Event { return event.Assigned{Partition: Partition{ID: id}} }
func went(id string) Event { return event.Released{Partition: id} }
func now(from, to State) Event {
	return event.StateChanged{From: from.String(), To: to.String()}
}

func wantCalls(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("hooks were called so:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestHooksTellWhatChanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHookScript(t, nil)
		s.tell(now(StateInit, StateClaimingID))
		s.tell(now(StateClaimingID, StateStable), came("b"), came("a"))
		s.tell(came("a")) // run again: no change
		s.tell(event.Degraded{Level: "warn", For: time.Minute})
		s.tell(went("a"), came("c"))
		s.tell(event.Returned{Partition: "b", Err: "no more", Final: true})
		s.tell(event.Returned{Partition: "c", Err: "oh", BackOff: time.Second})
		s.tell(event.SourceFailed{Err: "away"}, event.Alert{About: "x", Text: "y"}, event.Alert{About: "x"})
		wantCalls(t, s.end(),
			"Init>ClaimingID",
			"ClaimingID>Stable", "+[a b] -[]",
			"warn 1m0s",
			"+[c] -[a]",
			"+[] -[b]",
			"error parti: handler of c returned while it owned it; run again in 1s: oh",
			"error parti: list partitions: away", "error parti: x: y")
	})
}

// What goes while its handler waits for a back-off is told as removed.
func TestHooksTellWhatGoesInItsBackOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(4)...)
		here := map[string]bool{}
		fail := HandlerFunc(func(context.Context, Lease) error { return errSomething })
		a := f.joinWith("a", Config{}, fail, WithHooks(Hooks{OnAssignmentChanged: func(_ context.Context, added, removed []Partition) error {
			for _, p := range added {
				here[p.ID] = true
			}
			for _, p := range removed {
				delete(here, p.ID)
			}
			return nil
		}}))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(here) != 4 {
			t.Errorf("hooks say that a has %v", here)
		}
		b := f.join("b", Config{})
		f.eventually(time.Minute, "b runs two", func() bool { return f.ledger.counts()["b"] == 2 })
		for id := range f.ledger.owners() {
			if len(here) != 2 || here[id] {
				t.Errorf("hooks say that a has %v, and %s runs on b", here, id)
			}
		}
		stopAll(a)
		if len(here) != 0 {
			t.Errorf("hooks say that a has %v, though it has stopped", here)
		}
		stopAll(b)
	})
}

func TestASlowHookFindsChangesMerged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHookScript(t, nil)
		s.slow = time.Second
		s.tell(came("a"), came("b")) // being told
		s.tell(now(StateStable, StateDegraded), came("c"), went("a"))
		s.tell(went("c"), came("d"), now(StateDegraded, StateStable)) // as before
		s.tell(event.Degraded{Level: "info", For: 1}, event.Degraded{Level: "critical", For: 2})
		s.tell(came("a"), went("b"))
		wantCalls(t, s.end(), "+[a b] -[]", "+[d] -[b]", "critical 2ns")
	})
}

func TestAChangeThatCameToNothingIsNotTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHookScript(t, nil)
		s.slow = time.Second
		s.tell(came("a"))
		s.tell(came("x"), went("x"), went("a"), came("a"))
		wantCalls(t, s.end(), "+[a] -[]")
	})
}

func TestErrorsAndPanicsOfHooks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHookScript(t, func(call string) error {
			switch {
			case strings.Contains(call, "[a]"):
				return errSomething
			case strings.Contains(call, "[b]"):
				panic("boo")
			case strings.Contains(call, "something"):
				panic("in OnError, too")
			}
			return nil
		})
		s.tell(came("a")).tell(came("b")).tell(came("c"))
		wantCalls(t, s.end(), "+[a] -[]", "error parti: hook: something", "+[b] -[]", "error parti: hook: panic: boo", "+[c] -[]")
	})
}

func TestErrorsForASlowHookAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHookScript(t, nil)
		s.slow = time.Millisecond
		s.tell(now(StateInit, StateStable)) // being told
		for i := range 205 {
			s.feed.tell([]Event{event.Failed{Doing: "x", Err: fmt.Sprint(i)}})
		}
		calls := s.end()
		if last := calls[len(calls)-1]; last != "error parti: and 105 more errors" || len(calls) != maxHookErrors+2 {
			t.Errorf("%d calls, the last is %q", len(calls), last)
		}
	})
}

// The last hooks are called although the Manager has ended, with a context that
// has not; a hook that waits for its context is not waited for long.
func TestLastHooks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		live, stop := context.WithCancel(t.Context())
		var seen []error
		feed := newHookFeed(Hooks{OnStateChanged: func(ctx context.Context, _, to State) error {
			seen = append(seen, ctx.Err())
			if to == StateStopped {
				<-ctx.Done()
				seen = append(seen, ctx.Err())
			}
			return nil
		}}, slog.New(slog.DiscardHandler))
		go feed.run(live, context.WithoutCancel(live))
		feed.tell([]Event{now(StateInit, StateStable)})
		synctest.Wait()
		stop()
		feed.tell([]Event{now(StateStable, StateStopped)})
		close(feed.courier.closed)
		begun := time.Now()
		<-feed.courier.done
		if took := time.Since(begun); took != lastHooks {
			t.Errorf("it took %v", took)
		}
		if !slices.EqualFunc(seen, []error{nil, nil, context.DeadlineExceeded}, errors.Is) {
			t.Errorf("contexts were %v", seen)
		}
	})
}

func TestStreamKeepsOrderAndCountsWhatItDrops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var got []Event
		gate := make(chan struct{})
		s := newStream(slog.New(slog.DiscardHandler), func(e Event) {
			<-gate
			got = append(got, e)
			if _, ok := e.(event.Led); ok {
				panic("boo")
			}
		})
		s.room = 3
		go s.run()
		num := func(i int) Event { return event.Stuck{Token: uint64(i)} }
		s.tell([]Event{event.Led{}})
		synctest.Wait() // it hangs in the first
		for i := range 10 {
			s.tell([]Event{num(i)})
		}
		s.tell([]Event{now(StateStable, StateStopped)})
		close(gate)
		synctest.Wait()
		s.tell([]Event{num(11)})
		close(s.courier.closed)
		<-s.courier.done
		want := []Event{event.Led{}, num(0), num(1), num(2), event.Dropped{Count: 7}, now(StateStable, StateStopped), num(11)}
		if !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// An observer that panics hides nothing from the others.
func TestAnObserverPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(3)...)
		var first, second atomic.Int32
		m := f.join("a", Config{ExpectedWorkers: 1},
			WithObserver(func(Event) { first.Add(1); panic("boo") }),
			WithObserver(func(Event) { second.Add(1) }))
		f.settled(5*time.Second, 3, m)
		stopAll(m)
		if n := first.Load(); n == 0 || n != second.Load() {
			t.Errorf("of %d events the second observer was told %d", n, second.Load())
		}
	})
}

// broken is a log whose every line panics.
type broken struct{ slog.Handler }

func (broken) Enabled(context.Context, slog.Level) bool { return true }

func (broken) Handle(context.Context, slog.Record) error { panic("no log") }

// A log that panics takes nothing down, whoever writes to it.
func TestALogPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var panicked atomic.Bool
		f, m := alone(t, 3, Config{}, HandlerFunc(func(ctx context.Context, l Lease) error {
			if panicked.CompareAndSwap(false, true) {
				panic("boo")
			}
			return wait(ctx, l)
		}),
			WithLogger(slog.New(broken{slog.DiscardHandler})),
			WithObserver(func(Event) { panic("boo") }),
			WithHooks(Hooks{OnStateChanged: func(context.Context, State, State) error { return errSomething }}))
		f.settled(time.Minute, 3, m)
		stopAll(m)
	})
}

// An observer that ends its goroutine, as t.FailNow does, ends neither the others nor itself.
func TestAnObserverEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(3)...)
		var first, second atomic.Int32
		var once sync.Once
		m := f.join("a", Config{ExpectedWorkers: 1},
			WithObserver(func(Event) { first.Add(1); once.Do(runtime.Goexit) }),
			WithObserver(func(Event) { second.Add(1) }),
			WithHooks(Hooks{
				OnStateChanged: func(context.Context, State, State) error { runtime.Goexit(); return nil },
			}))
		f.settled(5*time.Second, 3, m)
		stopAll(m)
		if n := first.Load(); n < 3 || n != second.Load() || int(n) != len(happened[Event](m)) {
			t.Errorf("of %d events the first observer was told %d, the second %d", len(happened[Event](m)), n, second.Load())
		}
	})
}

// A log that ends the goroutine of whoever writes to it hides nothing from observers.
func TestALogEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(3)...)
		m := f.join("a", Config{ExpectedWorkers: 1}, WithLogger(slog.New(leaving{slog.DiscardHandler})),
			WithObserver(func(Event) { panic("boo") }))
		f.settled(5*time.Second, 3, m)
		stopAll(m)
	})
}

// leaving is a log whose every line ends its goroutine.
type leaving struct{ slog.Handler }

func (leaving) Enabled(context.Context, slog.Level) bool { return true }

func (leaving) Handle(context.Context, slog.Record) error {
	runtime.Goexit()
	return nil
}

// So it is with hooks, and OnError is told.
func TestAHookEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newHookScript(t, func(call string) error {
			if strings.Contains(call, "[a]") || strings.Contains(call, "first") {
				runtime.Goexit()
			}
			return nil
		})
		s.tell(came("a")).tell(came("b"))
		s.feed.tell([]Event{event.SourceFailed{Err: "first"}, event.SourceFailed{Err: "second"}})
		synctest.Wait()
		wantCalls(t, s.end(), "+[a] -[]", "error parti: hook: "+errGoexit.Error(), "+[b] -[]",
			"error parti: list partitions: first", "error parti: list partitions: second")
	})
}
