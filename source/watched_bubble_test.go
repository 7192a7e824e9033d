package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/internal/trouble"
	"github.com/parti-go/parti/plan"
)

// A rig is a source that is watched, and asked whenever it says that it changed.
type rig struct {
	t       *testing.T
	w       *Watched
	mu      sync.Mutex
	calls   int
	changes []string
	end     func() error
}

// watch watches w in the bubble of the caller.
func watch(t *testing.T, w *Watched) *rig {
	t.Helper()
	r := &rig{t: t, w: w}
	w.opts.observe = func(c plan.Changes) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changes = append(r.changes, c.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- w.Watch(ctx, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.calls++
		})
	}()
	r.end = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
	r.expect(settle, 1) // that it has begun
	return r
}

// expect waits for d and fails unless changed was called so often since the last time.
func (r *rig) expect(d time.Duration, calls int) {
	r.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls != calls {
		r.t.Errorf("changed was called %d times, want %d", r.calls, calls)
	}
	r.calls = 0
}

// lists fails unless the source lists these IDs.
func (r *rig) lists(ids ...string) {
	r.t.Helper()
	all, err := r.w.ListPartitions(r.t.Context())
	if err != nil {
		r.t.Error(err)
		return
	}
	got := make([]string, len(all))
	for i, p := range all {
		got[i] = p.ID
	}
	if !slices.Equal(got, ids) {
		r.t.Errorf("%v, want %v", got, ids)
	}
}

// refuses fails unless listing is an error with that text.
func (r *rig) refuses(want string) {
	r.t.Helper()
	all, err := r.w.ListPartitions(r.t.Context())
	if err == nil || all != nil || !strings.Contains(err.Error(), want) {
		r.t.Errorf("%v, %v, want %s", all, err, want)
	}
}

// lately fails unless this was observed since the last time.
func (r *rig) lately(want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.changes, want) {
		r.t.Errorf("observed %q, want %q", r.changes, want)
	}
	r.changes = nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFileIsWatched(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "tools.txt")
		w, err := File(path)
		if err != nil {
			t.Fatal(err)
		}
		r := watch(t, w)
		r.expect(3*time.Second, 0)
		r.refuses(fmt.Sprintf("source: file %q: it is not there: make it, or see whether the path is right", path))
		if _, err := w.ListPartitions(t.Context()); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		write(t, path, "a\n")
		r.expect(2*time.Second, 1)
		r.lists("a")
		r.lately() // there was nothing before

		next := path + ".next" // as editors and careful programs do it
		write(t, next, "b\na 5\n")
		r.expect(2*time.Second, 0)
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
		r.expect(2*time.Second, 1)
		r.lists("a", "b")
		r.lately("1 added (b), 1 reweighted (a)")
		write(t, path, "# the same\na 5\nb\n")
		r.expect(5*time.Second, 0)

		write(t, path, "b\na 5")
		r.expect(5*time.Second, 1)
		r.refuses("the last line has no end")
		r.expect(5*time.Second, 0) // it is known
		write(t, path, "a 5\nb\n")
		r.expect(2*time.Second, 1) // that it is whole again
		r.lists("a", "b")
		r.lately()

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		r.expect(2*time.Second, 1)
		r.refuses("it is not there")
		write(t, path, "# none\n")
		r.expect(2*time.Second, 1)
		r.lists()
		r.lately("2 removed (a, b)")
	})
}

// As Kubernetes replaces a ConfigMap: the file is a link into a directory that is a link
// that is replaced.
func TestFileOfLinks(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "tools.json")
		publish := func(version, text string) {
			t.Helper()
			into := filepath.Join(dir, version)
			if err := os.Mkdir(into, 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(into, "tools.json"), text)
			if err := errors.Join(os.Symlink(version, filepath.Join(dir, "..tmp")), os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(filepath.Join("..data", "tools.json"), path); err != nil {
			t.Fatal(err)
		}
		publish("..v1", `["a"]`)
		w, err := File(path)
		if err != nil {
			t.Fatal(err)
		}
		r := watch(t, w)
		r.lists("a")
		publish("..v2", `["a", {"id": "b", "weight": 3}]`)
		r.expect(2*time.Second, 1)
		r.lists("a", "b")
		r.lately("1 added (b)")
	})
}

// A file that is being written in place is read when it is whole.
func TestFileBeingWritten(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "tools")
		w, err := File(path, Every(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, "a\n")
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, text := range []string{"a\nb\n", "a\nb\nc\n", "a\nb\nc\nd\n"} {
				time.Sleep(70 * time.Millisecond)
				write(t, path, text)
			}
		})
		all, err := w.ListPartitions(t.Context())
		if err != nil || len(all) != 4 {
			t.Errorf("%v, %v", all, err)
		}
		wg.Wait()

		stop := make(chan struct{})
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(90 * time.Millisecond):
					write(t, path, fmt.Sprintf("a\nb%d\n", n))
				}
			}
		})
		synctest.Wait()
		time.Sleep(time.Second)
		if all, err := w.ListPartitions(t.Context()); err == nil || !strings.Contains(err.Error(), "it keeps changing, for 5s by now: replace it as a whole, by a rename") {
			t.Errorf("%v, %v", all, err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 150*time.Millisecond, errors.New("enough"))
		defer cancel()
		began := time.Now()
		if _, err := w.ListPartitions(ctx); err == nil || !strings.Contains(err.Error(), "enough") || time.Since(began) > 150*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		close(stop)
		wg.Wait()
	})
}

// How a file is written is said by its name, or by an option.
func TestFileFormats(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name, text string
			opts       []FileOption
		}{
			{"a.json", `["x"]`, nil},
			{"a.JSON", `["x"]`, nil},
			{"a", `["x"]`, []FileOption{JSON()}},
			{"a.yaml", "[\"x\"]\n", []FileOption{YAML(json.Unmarshal)}},
			{"a.yml", "x\n", []FileOption{Lines()}},
			{"a.txt", "[\"x\"]\n", []FileOption{YAML(json.Unmarshal)}},
			{"a.txt", "x\n", nil},
		} {
			path := filepath.Join(dir, c.name)
			write(t, path, c.text)
			w, err := File(path, c.opts...)
			if err != nil {
				t.Error(err)
				continue
			}
			if all, err := w.ListPartitions(t.Context()); err != nil || len(all) != 1 || all[0].ID != "x" {
				t.Errorf("%s: %v, %v", c.name, all, err)
			}
		}
	})
}

func TestFileIsNone(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	write(t, large, "a\n")
	if err := os.Truncate(large, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:        "it is not a regular file: use one",
		os.DevNull: "it is not a regular file: use one",
		large:      "it has 268435457 bytes: use one of at most 268435456",
	} {
		w, err := File(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.ListPartitions(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// What the leader is given is its own.
func TestWatchedIsItsOwn(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "tools.json")
		write(t, path, `[{"id": "a", "labels": {"k": "v"}}]`)
		w, err := File(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			all, err := w.ListPartitions(t.Context())
			if err != nil || all[0].ID != "a" || all[0].Labels["k"] != "v" {
				t.Fatal(all, err)
			}
			all[0].ID, all[0].Labels["k"] = "b", "w"
		}
	})
}

// A fake is a source whose next answer is set.
type fake struct {
	mu  sync.Mutex
	all []plan.Partition
	err error
}

func (f *fake) set(err error, ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.all = err, nil
	for _, id := range ids {
		f.all = append(f.all, plan.Partition{ID: id})
	}
}

func (f *fake) read(context.Context) ([]plan.Partition, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all, f.err
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(nil, "a")
		r := watch(t, &Watched{name: "fake", opts: options{every: 10 * time.Second}, read: f.read})
		r.expect(25*time.Second, 0) // nothing but what it is
		r.lists("a")
		r.expect(25*time.Second, 0)
		f.set(nil, "a", "b")
		r.expect(5*time.Second, 0) // not before it is looked at
		r.expect(10*time.Second, 1)
		r.expect(30*time.Second, 0) // the leader may take its time
		r.lists("a", "b")
		f.set(nil, "a", "b", "c")
		r.lists("a", "b", "c") // by itself, before it is looked at
		r.expect(30*time.Second, 1)
		r.lists("a", "b", "c")
		r.expect(30*time.Second, 0)
		r.lately("1 added (b)", "1 added (c)")

		f.set(errors.New("away"))
		r.refuses("source: fake: away")
		r.expect(15*time.Second, 1)
		r.expect(30*time.Second, 0) // the leader tries again by itself
		f.set(nil, "a", "b", "c")
		r.expect(15*time.Second, 1) // but need not wait that long
		f.set(errors.New("away"))
		r.expect(15*time.Second, 1)
		r.expect(30*time.Second, 0)
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// A change between the leader's list and the first look is not missed, nor is one that only
// another Manager has listed.
func TestWatchBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(nil, "a")
		w := &Watched{name: "fake", opts: options{every: 10 * time.Second}, read: f.read}
		if _, err := w.ListPartitions(t.Context()); err != nil {
			t.Error(err)
		}
		f.set(nil, "b")
		r, s := watch(t, w), watch(t, w)
		r.lists("b")
		f.set(nil, "c")
		s.lists("c")
		r.expect(10*time.Second, 1)
		s.expect(0, 1)
		s.lists("c")
		r.expect(time.Minute, 0)
		s.expect(0, 0)
	})
}

// What comes and goes between two looks may have been given to the leader.
func TestWatchDoubts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(nil, "a")
		var slow atomic.Int64
		r := watch(t, &Watched{name: "fake", opts: options{every: 10 * time.Second}, read: func(ctx context.Context) ([]plan.Partition, error) {
			all, err := f.read(ctx)
			time.Sleep(time.Duration(slow.Load()))
			return all, err
		}})
		f.set(nil, "b")
		r.lists("b")
		f.set(nil, "a")
		r.expect(10*time.Second, 1)
		r.lists("a")
		r.expect(time.Minute, 0)

		f.set(errors.New("away"))
		r.refuses("away")
		f.set(nil, "a")
		r.expect(10*time.Second, 1)
		r.lists("a")
		r.expect(time.Minute, 0)

		// The leader reads before the change, and has its list after the look that saw it.
		slow.Store(int64(15 * time.Second))
		var wg sync.WaitGroup
		wg.Go(func() { r.lists("a") })
		synctest.Wait()
		slow.Store(0)
		f.set(nil, "b")
		r.expect(12*time.Second, 1)
		wg.Wait()
		r.expect(10*time.Second, 1)
		r.lists("b")
		r.expect(time.Minute, 0)
	})
}

func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(nil, "a")
		tell := make(chan error)
		w := &Watched{name: "fake", opts: options{every: time.Hour}, read: f.read, listen: func(ctx context.Context, news func()) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case err := <-tell:
					if err != nil {
						return err
					}
					news()
				}
			}
		}}
		r := watch(t, w)
		r.lists("a")
		tell <- nil
		r.expect(time.Second, 0) // news that are none
		for _, ids := range [][]string{{"b"}, {"b", "c"}, {"b", "c", "d"}} {
			f.set(nil, ids...)
			tell <- nil
		}
		r.expect(time.Second, 1) // all at once
		r.lists("b", "c", "d")
		if err := r.end(); err != nil {
			t.Error(err)
		}

		ended := make(chan error)
		go func() { ended <- w.Watch(t.Context(), func() {}) }()
		tell <- errors.New("cut")
		if err := <-ended; err == nil || err.Error() != "source: fake: listen for changes: cut" {
			t.Error(err)
		}
		for want, listen := range map[string]func(context.Context, func()) error{
			"listen for changes: it stopped":         func(context.Context, func()) error { return nil },
			"listen for changes: it panicked: oh no": func(context.Context, func()) error { panic("oh no") },
		} {
			w.listen = listen
			if err := w.Watch(t.Context(), func() {}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
	})
}

// A listener that fails is told of and called again after a back-off, and the source is
// looked at meanwhile; once it listens, news come at once.
func TestListenerThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(nil, "a")
		began := time.Now()
		var told []int // seconds after that
		ctx, cancel := context.WithCancel(trouble.Told(t.Context(), func(err error) {
			if err.Error() != "source: fake: listen for changes: denied" {
				t.Error(err)
			}
			told = append(told, int(time.Since(began).Seconds()))
		}))
		defer cancel()
		tell := make(chan struct{})
		w := &Watched{name: "fake", opts: options{every: 10 * time.Second}, read: f.read, listen: func(ctx context.Context, news func()) error {
			if time.Since(began) < 200*time.Second {
				return errors.New("denied")
			}
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-tell:
					news()
				}
			}
		}}
		var calls atomic.Int32
		ended := make(chan error, 1)
		go func() { ended <- w.Watch(ctx, func() { calls.Add(1) }) }()
		for n := range int32(20) {
			f.set(nil, "a", fmt.Sprint(n))
			time.Sleep(12 * time.Second)
			synctest.Wait()
			if got := calls.Load(); got != n+1 && got != n+2 { // and the first look
				t.Errorf("after %v changed was called %d times, want %d", time.Since(began), got, n+2)
			}
		}
		if want := []int{0, 1, 3, 7, 15, 31, 63, 123, 183}; !slices.Equal(told, want) {
			t.Fatalf("told after %v s, want %v", told, want)
		}
		time.Sleep(10 * time.Second)
		before := calls.Load()
		f.set(nil, "a", "b")
		tell <- struct{}{}
		time.Sleep(gather + time.Millisecond)
		synctest.Wait()
		if got := calls.Load(); got != before+1 {
			t.Errorf("news made %d calls", got-before)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The leader has a change as soon as it is looked at, though the source cannot listen, and
// says that it cannot.
func TestListenerThatFailsUnderAManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.set(nil, "a")
		w := &Watched{
			name: "fake", opts: options{every: time.Second}, read: f.read,
			listen: func(context.Context, func()) error { return errors.New("denied") },
		}
		server := memkv.New()
		defer server.Close()
		began := make(chan string, 1)
		m, err := parti.NewManager(server.Client("a"), w, parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
			began <- l.Partition.ID
			<-ctx.Done()
			return nil
		}), parti.Config{ExpectedWorkers: 1, SettleTime: time.Second, ScaleWindow: time.Second, Cooldown: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-began
		time.Sleep(10*time.Minute + 20*time.Second)
		if s := m.Status(); !strings.Contains(s.LastError, "source: fake: listen for changes: denied") {
			t.Errorf("the last error is %q", s.LastError)
		}
		f.set(nil, "a", "b")
		at := time.Now()
		<-began
		if took := time.Since(at); took > 3*time.Second {
			t.Errorf("it runs after %v", took)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A look that hangs ends with the watch.
func TestWatchEndsWhileLooking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Watched{name: "fake", opts: options{every: time.Second}, read: func(ctx context.Context) ([]plan.Partition, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}}
		for _, d := range []time.Duration{lookTime / 2, 10 * lookTime} {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			calls := 0
			if err := w.Watch(ctx, func() { calls++ }); err != nil {
				t.Error(err)
			}
			if want := min(1, int(d/lookTime)); calls != want { // that it cannot be read
				t.Errorf("after %v changed was called %d times, want %d", d, calls, want)
			}
			cancel()
		}
	})
}
