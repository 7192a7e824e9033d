package partitest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/source"
)

// Most of these tests wait most of the time: more of them than there are cores go side by
// side, unless go test was told how many.
func TestMain(m *testing.M) {
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		if err := flag.Set("test.parallel", "4"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(unhurried{m})
}

// unhurried are all tests, and the end of what they started: connections and servers that
// were closed end a moment later, and goleak waits for half a second.
type unhurried struct{ *testing.M }

func (u unhurried) Run() int {
	code := u.M.Run()
	for late := time.Now().Add(patience); code == 0 && time.Now().Before(late); {
		if goleak.Find() == nil {
			break
		}
	}
	return code
}

func TestLease(t *testing.T) {
	p := parti.Partition{ID: "x"}
	for name, c := range map[string]struct {
		end  func(*Lease)
		want error
	}{
		"revoke": {(*Lease).Revoke, parti.ErrRevoked},
		"stop":   {(*Lease).Stop, parti.ErrStopped},
		"fence":  {(*Lease).Fence, parti.ErrFenced},
	} {
		l, next := NewLease(p), NewLease(p)
		if next.Token <= l.Token || l.Partition.ID != "x" || l.Check() != nil || l.Context().Err() != nil || l.Hard().Err() != nil {
			t.Errorf("%s: a new lease is %+v", name, l)
		}
		l.Isolate()
		if !errors.Is(l.Check(), parti.ErrFenced) || l.Context().Err() != nil || l.Hard().Err() != nil {
			t.Errorf("%s: isolated", name)
		}
		l.Reconnect()
		c.end(l)
		if !errors.Is(context.Cause(l.Context()), c.want) || l.Hard().Err() != nil || l.Check() != nil {
			t.Errorf("%s: ctx ended with %v", name, context.Cause(l.Context()))
		}
		l.EndHard()
		if !errors.Is(context.Cause(l.Hard()), c.want) || !errors.Is(l.Check(), c.want) {
			t.Errorf("%s: Hard ended with %v, Check %v", name, context.Cause(l.Hard()), l.Check())
		}
		next.EndHard()
		if !errors.Is(context.Cause(next.Context()), parti.ErrFenced) {
			t.Errorf("Hard alone ended ctx with %v", context.Cause(next.Context()))
		}
	}
}

// A record is a reporter that keeps what it is told.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) Run(name string, f func(reporter)) { f(r) }
func (r *record) Helper()                           {}
func (r *record) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// What Exercise is for: each of these handlers breaks one rule.
func TestExerciseFindsWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(ctx context.Context, l parti.Lease) error
		want string
	}{
		"returns at once": {func(context.Context, parti.Lease) error { return nil }, "returned while it owned the partition"},
		"fails":           {func(context.Context, parti.Lease) error { return errors.New("no way") }, "with: no way"},
		"panics":          {func(context.Context, parti.Lease) error { panic("boo") }, "panic: boo"},
		"ends its goroutine": {func(context.Context, parti.Lease) error {
			runtime.Goexit()
			return nil
		}, "ended its goroutine"},
		"waits for Hard alone": {func(_ context.Context, l parti.Lease) error {
			<-l.Hard().Done()
			return nil
		}, "has not returned 1m0s after its context has ended"},
		"ignores Hard": {func(ctx context.Context, l parti.Lease) error {
			<-ctx.Done()
			if l.Hard().Err() != nil {
				time.Sleep(30 * time.Second)
			}
			return nil
		}, "has not returned 1s after Hard has ended"},
		"looks at nothing before it is late": {func(ctx context.Context, l parti.Lease) error {
			if ctx.Err() != nil {
				time.Sleep(2 * time.Minute)
			}
			<-ctx.Done()
			return nil
		}, "its context had ended before it began"},
		"leaves a goroutine behind": {func(ctx context.Context, l parti.Lease) error {
			go time.Sleep(3 * time.Minute)
			<-ctx.Done()
			return nil
		}, "1 goroutines that it started have not"},
		"uses the lease afterwards": {func(ctx context.Context, l parti.Lease) error {
			go func() {
				<-ctx.Done()
				time.Sleep(time.Second)
				_ = l.Check()
			}()
			<-ctx.Done()
			return nil
		}, "used 1 times after Run had returned"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &record{}
				newExercise(parti.HandlerFunc(c.run), []Option{Patience(time.Minute)}).run(r)
				time.Sleep(24 * time.Hour) // what was left behind ends at last
				if !strings.Contains(strings.Join(r.lines, "\n"), c.want) {
					t.Errorf("it said:\n%s\nwanted: %s", strings.Join(r.lines, "\n"), c.want)
				}
			})
		})
	}
}

type good struct{}

func (g good) Prepare(ctx context.Context, p parti.Partition) error { return ctx.Err() }

func (g good) Run(ctx context.Context, l parti.Lease) error {
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			if l.Check() != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	<-ctx.Done()
	work.Wait()
	return context.Cause(ctx)
}

func TestExercisePassesAGoodHandler(t *testing.T) {
	Exercise(t, good{}, Watch(10*time.Millisecond), Patience(time.Minute), HardPatience(time.Minute), Partitions(parti.Partition{ID: "a"}, parti.Partition{ID: "b", Weight: 3}))
}

func TestExerciseAcceptsDone(t *testing.T) {
	Exercise(t, parti.HandlerFunc(func(context.Context, parti.Lease) error { return parti.ErrDone }), Watch(time.Millisecond), Patience(time.Minute), HardPatience(time.Minute))
}

type badPreparer struct {
	good
	err    error
	hangs  bool
	panics bool // when its ctx has ended
}

func (b badPreparer) Prepare(ctx context.Context, _ parti.Partition) error {
	if b.hangs {
		time.Sleep(time.Hour)
	}
	if b.panics && ctx.Err() != nil {
		panic("boo")
	}
	return b.err
}

func TestExerciseLooksAtPrepare(t *testing.T) {
	for want, h := range map[string]parti.Handler{
		"Prepare of exercise-1 failed: oh no":      badPreparer{err: errors.New("oh no")},
		"Prepare of exercise-1 has not returned a": badPreparer{hangs: true},
		"Prepare of exercise-1 failed: panic: boo": badPreparer{panics: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &record{}
			newExercise(h, nil).run(r)
			time.Sleep(24 * time.Hour)
			if !strings.Contains(strings.Join(r.lines, "\n"), want) {
				t.Errorf("it said %q, wanted %q", r.lines, want)
			}
		})
	}
}

func TestStoreRunsAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewStore()
		var all []*parti.Manager
		for range 3 {
			m, err := parti.NewManager(store, source.Static(parti.Partition{ID: "a"}, parti.Partition{ID: "b"}, parti.Partition{ID: "c"}), good{},
				parti.Config{ExpectedWorkers: 3})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, m)
		}
		var wg sync.WaitGroup
		for _, m := range all {
			wg.Go(func() {
				if err := m.Start(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		time.Sleep(5 * time.Minute)
		for _, m := range all {
			if n := m.Status().Running; n != 1 {
				t.Errorf("%s runs %d", m.WorkerID(), n)
			}
			if err := m.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
