package kvtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// What one view answers to may take a moment to be known on another server.
var probeCases = []testCase{
	{"Probe/nobody listens", func(t *testing.T, f Fixture) {
		s := open(t, f)
		if b, err := s.Probe(s.ctx, "n1"); !errors.Is(err, kv.ErrNoResponders) {
			t.Errorf("%q, %v", b, err)
		}
	}},
	{"Probe/is answered until stop", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		stop, err := s.Answer("w.n1", func() []byte { return []byte("here") })
		if err != nil {
			t.Fatal(err)
		}
		other.answered("w.n1", "here")
		s.answered("w.n1", "here")
		other.silent("w.n2")
		other.silent("w")
		stop()
		other.silent("w.n1")
		s.silent("w.n1")
		stop()
	}},
	{"Probe/an empty answer is one", func(t *testing.T, f Fixture) {
		s := open(t, f)
		stop, err := s.Answer("n1", func() []byte { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		s.answered("n1", "")
	}},
	{"Probe/the answer is of now", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		var mu sync.Mutex
		n := 0
		stop, err := s.Answer("n1", func() []byte {
			mu.Lock()
			defer mu.Unlock()
			n++
			return fmt.Append(nil, n)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		eventually(t, "an answer", func() bool { _, err := other.Probe(other.ctx, "n1"); return err == nil })
		mu.Lock()
		first := n
		mu.Unlock()
		for i := range 5 {
			if b, err := other.Probe(other.ctx, "n1"); err != nil || string(b) != fmt.Sprint(first+i+1) {
				t.Fatalf("%q, %v; want %d", b, err, first+i+1)
			}
		}
	}},
	{"Probe/of somebody who hangs lasts as long as its context", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		asked := hangs(t, s.Store)
		eventually(t, "a probe that hangs", func() bool {
			ctx, cancel := context.WithTimeoutCause(other.ctx, 300*time.Millisecond, errEnough)
			defer cancel()
			b, err := other.Probe(ctx, "n1")
			if errors.Is(err, kv.ErrNoResponders) {
				return false
			}
			if !errors.Is(err, errEnough) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%q, %v; want the context's error", b, err)
			}
			return true
		})
		receive(t, "the probe", asked)
	}},
	{"Probe/who is cut off meanwhile knows nothing of the other", func(t *testing.T, f Fixture) {
		if f.Cut == nil {
			t.Skip("this fixture cannot cut")
		}
		s, other := open(t, f), open(t, f)
		asked := hangs(t, s.Store)
		ended := make(chan error, 1)
		go func() {
			for {
				if _, err := other.Probe(other.ctx, "n1"); !errors.Is(err, kv.ErrNoResponders) {
					ended <- err
					return
				}
			}
		}()
		receive(t, "the probe", asked)
		f.Cut(other.Store)
		if err := receive(t, "the end of the probe", ended); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("%v; want %v", err, kv.ErrUnavailable)
		}
	}},
	{"Probe/several at once", func(t *testing.T, f Fixture) {
		s, other := open(t, f), open(t, f)
		for i := range 10 {
			stop, err := s.Answer(fmt.Sprintf("n.%d", i), func() []byte { return fmt.Append(nil, i) })
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
		}
		for i := range 10 {
			other.answered(fmt.Sprintf("n.%d", i), fmt.Sprint(i))
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if b, err := other.Probe(other.ctx, fmt.Sprintf("n.%d", i%10)); err != nil || string(b) != fmt.Sprint(i%10) {
					t.Errorf("%d: %q, %v", i, b, err)
				}
			})
		}
		wg.Wait()
	}},
	{"Probe/whoever is cut off has no responders", func(t *testing.T, f Fixture) {
		if f.Cut == nil {
			t.Skip("this fixture cannot cut")
		}
		s, other := open(t, f), open(t, f)
		stop, err := s.Answer("n1", func() []byte { return []byte("here") })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		other.answered("n1", "here")
		f.Cut(s.Store)
		other.silent("n1")
		eventually(t, "the cut", func() bool { c, _ := s.Connection(); return !c.Up })
		if _, err := s.Probe(s.ctx, "n1"); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("who is cut off probes: %v", err)
		}
		f.Mend(s.Store)
		other.answered("n1", "here")
	}},
}

func (s steps) answered(name, want string) {
	s.t.Helper()
	eventually(s.t, "an answer from "+name, func() bool {
		b, err := s.Probe(s.ctx, name)
		switch {
		case errors.Is(err, kv.ErrNoResponders):
			return false
		case err != nil || string(b) != want:
			s.t.Fatalf("probe %s: %q, %v; want %q", name, b, err, want)
		}
		return true
	})
}

func (s steps) silent(name string) {
	s.t.Helper()
	eventually(s.t, "silence of "+name, func() bool {
		_, err := s.Probe(s.ctx, name)
		return errors.Is(err, kv.ErrNoResponders)
	})
}

// hangs has a store answer probes of n1, and not return from that before the test is over. It
// tells when it is asked.
func hangs(t *testing.T, s kv.Store) <-chan struct{} {
	t.Helper()
	hang, asked := make(chan struct{}), make(chan struct{}, 100)
	stop, err := s.Answer("n1", func() []byte { asked <- struct{}{}; <-hang; return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(hang)
		stop()
	})
	return asked
}
