package memkv_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/memkv"
)

// bubble runs a test on fake time with a server and two views of it.
func bubble(t *testing.T, test func(t *testing.T, s *memkv.Server, a, b *memkv.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := memkv.New()
		defer s.Close()
		test(t, s, s.Client("a"), s.Client("b"))
	})
}

func struck(t *testing.T, c interface{ Struck(memkv.Fault) int }, f memkv.Fault, want int) {
	t.Helper()
	if got := c.Struck(f); got != want {
		t.Errorf("%s struck %d times, want %d", f, got, want)
	}
}

func set(t *testing.T, c *memkv.Client, key, value string, last kv.Rev) kv.Rev {
	t.Helper()
	rev, err := c.Write(t.Context(), kv.Write{Key: key, Value: []byte(value), Last: last})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func is(t *testing.T, c *memkv.Client, key, want string) {
	t.Helper()
	e, err := c.Get(t.Context(), key)
	if got := string(e.Value); got != want || (err != nil) != (want == "") {
		t.Errorf("%s is %q, %v; want %q", key, got, err, want)
	}
}

// fails makes a write that must fail so, after that time.
func fails(t *testing.T, c *memkv.Client, key string, last kv.Rev, want error, after time.Duration) {
	t.Helper()
	began := time.Now()
	_, err := c.Write(t.Context(), kv.Write{Key: key, Value: []byte("late"), Last: last})
	if !errors.Is(err, want) {
		t.Errorf("write: %v; want %v", err, want)
	}
	if took := time.Since(began); took != after {
		t.Errorf("failed after %v, want %v", took, after)
	}
}

// following starts a Follow; the result is what it was told of, until it ended with err.
func following(t *testing.T, c *memkv.Client, prefixes ...string) (told func() (keys []string, err error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var keys []string
	done, ready := make(chan error, 1), make(chan struct{})
	go func() {
		done <- c.Follow(ctx, prefixes, func() { close(ready) }, func(e kv.Entry) { keys = append(keys, e.Key) })
	}()
	<-ready
	return func() ([]string, error) {
		synctest.Wait()
		cancel()
		return keys, <-done
	}
}

func TestLostRequestAndAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		a.Lose(memkv.Requests)
		fails(t, a, "k", 0, kv.ErrUnknown, s.Timeout)
		is(t, b, "k", "")
		struck(t, a, memkv.LostRequest, 1)
		if _, err := a.Get(t.Context(), "k"); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("a read without an answer: %v", err)
		}
		a.Mend()
		is(t, b, "k", "")

		a.Lose(memkv.Answers)
		fails(t, a, "k", 0, kv.ErrUnknown, s.Timeout)
		is(t, b, "k", "late")
		struck(t, a, memkv.LostAnswer, 1)
		a.Mend()
		is(t, a, "k", "late")
		if c, _ := a.Connection(); !c.Up || c.Interrupts != 0 {
			t.Errorf("a silent fault shows: %+v", c)
		}
		struck(t, s, memkv.LostAnswer, 1)
		struck(t, b, memkv.LostAnswer, 0)
	})
}

func TestLoseNextAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, _ *memkv.Client) {
		a.LoseNextAnswer()
		is(t, a, "k", "") // a read takes no part in it
		fails(t, a, "k", 0, kv.ErrUnknown, 0)
		is(t, a, "k", "late")
		set(t, a, "other", "x", 0)
		struck(t, a, memkv.LostAnswer, 1)
	})
}

// A write that its caller gave up arrives later, and only where its condition
// still holds.
func TestLateWrites(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		rev := set(t, a, "taken", "one", 0)
		a.LateWrites(10 * time.Second)
		fails(t, a, "free", 0, kv.ErrUnknown, s.Timeout)
		fails(t, a, "taken", rev, kv.ErrUnknown, s.Timeout)
		a.Mend()
		set(t, b, "taken", "two", rev)
		is(t, b, "free", "")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		is(t, b, "free", "late")
		is(t, b, "taken", "two")
		struck(t, a, memkv.LateWrite, 2)
	})
}

func TestSlow(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		a.Slow(func() time.Duration { return 300 * time.Millisecond })
		began := time.Now()
		set(t, a, "k", "one", 0)
		if took := time.Since(began); took != 600*time.Millisecond {
			t.Errorf("took %v", took)
		}
		a.Slow(func() time.Duration { return 1500 * time.Millisecond })
		fails(t, a, "slow", 0, kv.ErrUnknown, s.Timeout) // it was stored after 1.5 s, the answer needs 3
		is(t, b, "slow", "late")
		a.Slow(func() time.Duration { return 5 * time.Second })
		fails(t, a, "slower", 0, kv.ErrUnknown, s.Timeout)
		is(t, b, "slower", "")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		is(t, b, "slower", "late")
		if a.Struck(memkv.Slowed) == 0 {
			t.Error("not counted")
		}
	})
}

func TestContextEndsAWaitingWrite(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, b *memkv.Client) {
		a.Slow(func() time.Duration { return time.Second })
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, cause)
		defer cancel()
		_, err := a.Write(ctx, kv.Write{Key: "k", Value: []byte("late")})
		if !errors.Is(err, kv.ErrUnknown) || !errors.Is(err, cause) {
			t.Errorf("%v; want unknown, and why", err)
		}
		is(t, b, "k", "")
		time.Sleep(time.Second)
		synctest.Wait()
		is(t, b, "k", "late")
	})
}

// Before the client notices, what a black hole held up arrives when it ends.
func TestShortBlackHole(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		told := following(t, a, "")
		a.BlackHole()
		fails(t, a, "k", 0, kv.ErrUnknown, s.Timeout)
		set(t, b, "other", "x", 0)
		is(t, b, "k", "")
		if c, _ := a.Connection(); !c.Up {
			t.Error("noticed too early")
		}
		a.Mend()
		synctest.Wait()
		is(t, b, "k", "late")
		keys, err := told()
		if len(keys) != 2 || !errors.Is(err, context.Canceled) {
			t.Errorf("told of %v, ended with %v", keys, err)
		}
		struck(t, a, memkv.Held, 1)
		struck(t, a, memkv.Disconnected, 0)
	})
}

// After 6 s it is a lost connection.
func TestLongBlackHole(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		if _, err := a.Answer("a", func() []byte { return nil }); err != nil {
			t.Fatal(err)
		}
		told := following(t, a, "")
		a.BlackHole()
		fails(t, a, "k", 0, kv.ErrUnknown, s.Timeout)
		if _, err := b.Probe(t.Context(), "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a probe into the hole: %v", err)
		}
		set(t, b, "other", "x", 0)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		fails(t, a, "k", 0, kv.ErrUnavailable, 0)
		if keys, err := told(); len(keys) != 0 || !errors.Is(err, kv.ErrHole) {
			t.Errorf("told of %v, ended with %v", keys, err)
		}
		if _, err := b.Probe(t.Context(), "a"); !errors.Is(err, kv.ErrNoResponders) {
			t.Errorf("a probe of a lost connection: %v", err)
		}
		a.Mend()
		is(t, a, "k", "")
		if c, _ := a.Connection(); !c.Up || c.Interrupts != 2 {
			t.Errorf("%+v", c)
		}
		struck(t, a, memkv.Disconnected, 1)
		if s.Struck(memkv.LostProbe) != 1 || s.AllStruck()[memkv.Unreachable] != 1 {
			t.Errorf("counted %v", s.AllStruck())
		}
	})
}

func TestNewBlackHoleIsNotNoticedByAnOldAlarm(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, _ *memkv.Client) {
		a.BlackHole()
		time.Sleep(4 * time.Second)
		a.Mend()
		a.BlackHole()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if c, _ := a.Connection(); !c.Up {
			t.Error("noticed after 4 s")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if c, _ := a.Connection(); c.Up {
			t.Error("not noticed after 7 s")
		}
	})
}

func TestOneWayProbes(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, b *memkv.Client) {
		stop, err := a.Answer("a", func() []byte { return []byte("here") })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		probe := func(want error) {
			t.Helper()
			if _, err := b.Probe(t.Context(), "a"); !errors.Is(err, want) {
				t.Errorf("%v; want %v", err, want)
			}
		}
		probe(nil)
		a.Lose(memkv.Asked)
		probe(context.DeadlineExceeded)
		set(t, a, "k", "one", 0) // the way to the store is whole
		a.Mend()
		probe(nil)
		b.Lose(memkv.Asking)
		probe(context.DeadlineExceeded)
		b.Mend()
		a.Lose(memkv.Requests) // and the reverse
		probe(nil)
		fails(t, a, "k", 0, kv.ErrUnknown, 2*time.Second)
		a.Close()
		probe(kv.ErrNoResponders)
		struck(t, a, memkv.LostProbe, 1)
		struck(t, b, memkv.LostProbe, 1)
	})
}

func TestDroppedChangeIsNoticedAtTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, b *memkv.Client) {
		told := following(t, a, "")
		drop := true
		a.Tamper(func(e kv.Entry) memkv.Fate { return memkv.Fate{Drop: drop && e.Key == "k"} })
		rev := set(t, b, "k", "one", 0)
		set(t, b, "other", "x", 0)
		drop = false
		synctest.Wait()
		set(t, b, "other2", "x", 0)
		set(t, b, "k", "two", rev)
		if keys, err := told(); len(keys) != 2 || !errors.Is(err, kv.ErrHole) {
			t.Errorf("told of %v, ended with %v", keys, err)
		}
		struck(t, a, memkv.LostChange, 1)
	})
}

func TestDroppedChangeOfItsOwnIsNotNoticed(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, b *memkv.Client) {
		told := following(t, a, "")
		a.Lose(memkv.Changes)
		set(t, b, "k", "one", 0)
		a.Mend()
		set(t, b, "other", "x", 0)
		if keys, err := told(); len(keys) != 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("told of %v, ended with %v", keys, err)
		}
		struck(t, a, memkv.LostChange, 1)
	})
}

func TestDelayedAndRepeatedChanges(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, b *memkv.Client) {
		told := following(t, a, "")
		a.Tamper(func(e kv.Entry) memkv.Fate {
			if e.Key == "late" {
				return memkv.Fate{Delay: time.Minute}
			}
			return memkv.Fate{}
		})
		set(t, b, "late", "one", 0)
		set(t, b, "other", "x", 0)
		time.Sleep(2 * time.Minute)
		if keys, err := told(); len(keys) != 2 || keys[1] != "late" || !errors.Is(err, context.Canceled) {
			t.Errorf("told of %v, ended with %v", keys, err)
		}
		struck(t, a, memkv.DelayedChange, 1)

		told = following(t, a, "")
		a.Tamper(func(kv.Entry) memkv.Fate { return memkv.Fate{Repeat: true} })
		set(t, b, "twice", "x", 0)
		if keys, err := told(); len(keys) != 1 || !errors.Is(err, kv.ErrHole) {
			t.Errorf("told of %v, ended with %v", keys, err)
		}
		struck(t, a, memkv.RepeatedChange, 1)
	})
}

func TestRefuse(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, _ *memkv.Client) {
		wedged := errors.New("the disk is wedged")
		var heard []string
		a.Overhear(func(op memkv.Op) { heard = append(heard, op.String()) })
		a.Refuse(func(op memkv.Op) error {
			if op.Kind == memkv.OpList {
				return wedged
			}
			return nil
		})
		set(t, a, "k", "one", 0)
		if _, _, err := a.List(t.Context(), ""); !errors.Is(err, wedged) {
			t.Error(err)
		}
		struck(t, a, memkv.Refused, 1)
		a.Mend()
		is(t, a, "k", "one")
		if want := []string{"write k", "list ", "get k"}; !slices.Equal(heard, want) {
			t.Errorf("overheard %q, want %q", heard, want)
		}
	})
}

func TestHang(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		rev := set(t, a, "k", "1", 0)
		a.Hang(func(op memkv.Op) bool { return op.Kind == memkv.OpList || op.Creates })
		is(t, a, "k", "1")
		if _, _, err := a.List(t.Context(), "k"); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("%v", err)
		}
		fails(t, a, "new", 0, kv.ErrUnknown, s.Timeout)
		is(t, b, "new", "")
		set(t, a, "k", "2", rev)
		struck(t, a, memkv.Hung, 2)
		a.Mend()
		set(t, a, "new", "1", 0)
		struck(t, a, memkv.Hung, 2)
	})
}

func TestOmit(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, b *memkv.Client) {
		set(t, a, "k.1", "1", 0)
		set(t, a, "k.2", "2", 0)
		a.Omit(func(key string) bool { return key == "k.1" })
		list := func(c *memkv.Client) (keys string) {
			es, _, err := c.List(t.Context(), "k.")
			if err != nil {
				t.Error(err)
			}
			for _, e := range es {
				keys += e.Key
			}
			return keys
		}
		if got := list(a); got != "k.2" {
			t.Error(got)
		}
		is(t, a, "k.1", "1")
		if got := list(b); got != "k.1k.2" {
			t.Error(got)
		}
		struck(t, a, memkv.Omitted, 1)
		a.Mend()
		if got := list(a); got != "k.1k.2" {
			t.Error(got)
		}
	})
}

// The second arrival of a write finds another revision, unless its key is gone again.
func TestRepeatedWrites(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, b *memkv.Client) {
		a.RepeatWrites(5 * time.Second)
		first := set(t, a, "k", "1", 0)
		second := set(t, b, "k", "2", first)
		there := set(t, a, "gone", "1", 0)
		time.Sleep(time.Second)
		if _, err := b.Write(t.Context(), kv.Write{Key: "gone", Last: there, Remove: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		is(t, a, "k", "2")
		is(t, b, "gone", "1")
		struck(t, a, memkv.RepeatedWrite, 2) // b's writes are b's
		a.Mend()
		set(t, a, "k", "3", second)
		time.Sleep(10 * time.Second)
		struck(t, a, memkv.RepeatedWrite, 2)
	})
}

func TestStaleReads(t *testing.T) {
	bubble(t, func(t *testing.T, _ *memkv.Server, a, b *memkv.Client) {
		rev := set(t, b, "k", "one", 0)
		a.Stale()
		two := set(t, b, "k", "two", rev)
		is(t, a, "k", "one")
		fails(t, a, "k", rev, kv.ErrStale, 0)
		a.Mend()
		is(t, a, "k", "two")
		set(t, a, "k", "three", two)
		struck(t, a, memkv.StaleRead, 1)
	})
}

func TestDownAndUp(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		if _, err := a.Write(t.Context(), kv.Write{Key: "ttl", TTL: time.Second}); err != nil {
			t.Fatal(err)
		}
		set(t, a, "k", "one", 0)
		b.Cut()
		s.Down()
		fails(t, a, "k", 0, kv.ErrUnavailable, 0)
		time.Sleep(time.Minute)
		s.Up()
		is(t, a, "k", "one")
		is(t, a, "ttl", "")
		fails(t, b, "k", 0, kv.ErrUnavailable, 0) // its own link is still cut
		b.Mend()
		is(t, b, "k", "one")
	})
}

func TestQuorum(t *testing.T) {
	for _, keep := range []bool{true, false} {
		bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
			if _, err := a.Write(t.Context(), kv.Write{Key: "lease", Value: []byte("one"), TTL: 5 * time.Second}); err != nil {
				t.Fatal(err)
			}
			told := following(t, b, "lease")
			s.LoseQuorum()
			fails(t, a, "k", 0, kv.ErrUnknown, s.Timeout)
			time.Sleep(time.Minute)
			is(t, a, "k", "")
			is(t, a, "lease", "one") // nothing expires without a quorum
			s.FindQuorum(keep)
			is(t, a, "lease", "")
			if keep {
				is(t, a, "k", "late")
			} else {
				is(t, a, "k", "")
			}
			set(t, a, "after", "x", 0)
			if keys, _ := told(); len(keys) != 1 {
				t.Errorf("told of %v", keys)
			}
			struck(t, a, memkv.Held, 1)
		})
	}
}

// What is lost is lost for everybody, and what comes back is of the past.
func TestWipeAndRestore(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		one := set(t, a, "k", "one", 0)
		snapshot := s.Snapshot()
		two := set(t, a, "k", "two", one)
		told := following(t, b, "")
		s.Restore(snapshot)
		is(t, a, "k", "one")
		fails(t, a, "k", two, kv.ErrStale, 0)
		if again := set(t, a, "k", "other two", one); again != two {
			t.Errorf("a store that went back gives out %d again, not %d", two, again)
		}
		s.Restore(snapshot) // a snapshot can be used twice
		is(t, a, "k", "one")
		s.Wipe()
		fails(t, a, "k", 0, kv.ErrLost, 0)
		struck(t, s, memkv.Wiped, 1)
		struck(t, s, memkv.WentBack, 2)
		if _, err := told(); err == nil {
			t.Error("no error")
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		told := following(t, a, "")
		b.Lose(memkv.Requests)
		hanging := make(chan error, 1)
		go func() {
			_, err := b.Write(t.Context(), kv.Write{Key: "k"})
			hanging <- err
		}()
		synctest.Wait()
		s.Close()
		if err := <-hanging; !errors.Is(err, kv.ErrUnknown) {
			t.Error(err)
		}
		if _, err := told(); !errors.Is(err, kv.ErrHole) {
			t.Error(err)
		}
		fails(t, a, "k", 0, kv.ErrUnavailable, 0)
	})
}

// A Follow that does not keep up is told so, and does not grow without bound.
func TestSlowFollower(t *testing.T) {
	bubble(t, func(t *testing.T, s *memkv.Server, a, b *memkv.Client) {
		stuck, done, ready := make(chan struct{}), make(chan error, 1), make(chan struct{})
		go func() {
			done <- a.Follow(t.Context(), []string{""}, func() { close(ready) }, func(kv.Entry) { <-stuck })
		}()
		<-ready
		var rev kv.Rev
		for a.Struck(memkv.SlowFollower) == 0 {
			rev = set(t, b, "k", "x", rev)
		}
		close(stuck)
		if err := <-done; !errors.Is(err, kv.ErrHole) {
			t.Error(err)
		}
		struck(t, s, memkv.SlowFollower, 1)
	})
}
