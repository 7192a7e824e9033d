package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// steps are a store with a test behind it: what must succeed does, or the test ends.
type steps struct {
	kv.Store
	t   *testing.T
	ctx context.Context //nolint:containedctx // it lives as long as the test
}

// open gives a new view of the fixture's store.
func open(t *testing.T, f Fixture) steps {
	t.Helper()
	return steps{f.Open(t), t, ctxOf(t)}
}

// put writes and returns the revision.
func (s steps) put(key, value string, last kv.Rev) kv.Rev {
	s.t.Helper()
	return s.write(kv.Write{Key: key, Value: []byte(value), Last: last})
}

func (s steps) putTTL(key, value string, last kv.Rev, ttl time.Duration) kv.Rev {
	s.t.Helper()
	return s.write(kv.Write{Key: key, Value: []byte(value), Last: last, TTL: ttl})
}

func (s steps) remove(key string, last kv.Rev) kv.Rev {
	s.t.Helper()
	return s.write(kv.Write{Key: key, Last: last, Remove: true})
}

func (s steps) write(w kv.Write) kv.Rev {
	s.t.Helper()
	return s.must("write "+w.Key, w, func() (kv.Rev, error) { return s.Write(s.ctx, w) })
}

func (s steps) commit(ws ...kv.Write) kv.Rev {
	s.t.Helper()
	return s.must("commit", ws[0], func() (kv.Rev, error) { return s.Commit(s.ctx, ws) })
}

// must tries a write until it is stored; first is what it begins with. The leader of a cluster
// may change meanwhile, for want of a core: then the answer is lost, and nobody answers
// for some seconds. An unknown outcome is looked at, and what certainly was not stored is
// tried again.
func (s steps) must(what string, first kv.Write, try func() (kv.Rev, error)) kv.Rev {
	s.t.Helper()
	var rev kv.Rev
	unknown := false
	eventually(s.t, what, func() bool {
		var err error
		if rev, err = try(); err == nil {
			return true
		}
		if unknown = unknown || errors.Is(err, kv.ErrUnknown); unknown {
			var stored bool
			rev, stored = s.stored(first)
			return stored
		}
		if !errors.Is(err, kv.ErrUnavailable) {
			s.t.Fatalf("%s: %v", what, err)
		}
		return false
	})
	return rev
}

// stored reports whether a write of which nobody knows was stored, and at what revision.
func (s steps) stored(w kv.Write) (kv.Rev, bool) {
	e, err := s.Get(s.ctx, w.Key)
	there := err == nil && !w.Remove && bytes.Equal(e.Value, w.Value)
	return e.Rev, e.Rev > w.Last && (there || w.Remove && errors.Is(err, kv.ErrMissing))
}

// get reads a key, also where nobody answers for some seconds.
func (s steps) get(key string) (e kv.Entry, err error) {
	s.t.Helper()
	err = s.answer("get "+key, nil, func() (err error) { e, err = s.Get(s.ctx, key); return err })
	return e, err
}

// settles writes what must not be there, as those do who may have to wait for a store
// that has just changed its leader: an unknown outcome is looked at, and what
// certainly was not stored is tried again.
func (s steps) settles(key, value string) kv.Rev {
	s.t.Helper()
	var rev kv.Rev
	eventually(s.t, "the write of "+key, func() bool {
		var err error
		rev, err = s.Write(s.ctx, kv.Write{Key: key, Value: []byte(value)})
		if errors.Is(err, kv.ErrUnknown) || errors.Is(err, kv.ErrStale) {
			var e kv.Entry
			if e, err = s.Get(s.ctx, key); err == nil && string(e.Value) != value {
				s.t.Fatalf("%s is %q, want %q", key, e.Value, value)
			}
			rev = e.Rev
		}
		if err != nil && !errors.Is(err, kv.ErrUnavailable) && !errors.Is(err, kv.ErrMissing) {
			s.t.Fatalf("write %s: %v", key, err)
		}
		return err == nil
	})
	return rev
}

// refused makes a write that must fail with that error.
func (s steps) refused(want error, w kv.Write) {
	s.t.Helper()
	var rev kv.Rev
	err := s.answer("write "+w.Key, want, func() (err error) { rev, err = s.Write(s.ctx, w); return err })
	if !errors.Is(err, want) {
		s.t.Fatalf("write %s after %d: revision %d, error %v; want %v", w.Key, w.Last, rev, err, want)
	}
}

func (s steps) refusedCommit(want error, ws ...kv.Write) {
	s.t.Helper()
	var rev kv.Rev
	err := s.answer("commit", want, func() (err error) { rev, err = s.Commit(s.ctx, ws); return err })
	if !errors.Is(err, want) {
		s.t.Fatalf("commit: revision %d, error %v; want %v", rev, err, want)
	}
}

// answer tries until somebody answers, or the error is the one that is wanted. It is for what
// changes nothing, or may be done twice.
func (s steps) answer(what string, want error, try func() error) (err error) {
	s.t.Helper()
	eventually(s.t, "an answer to "+what, func() bool {
		err = try()
		return errors.Is(err, want) || !errors.Is(err, kv.ErrUnavailable) && !errors.Is(err, kv.ErrUnknown)
	})
	return err
}

// has says that the key is there, with that value and revision.
func (s steps) has(key, value string, rev kv.Rev) {
	s.t.Helper()
	e, err := s.get(key)
	if err != nil || string(e.Value) != value || e.Rev != rev || e.Gone || e.Key != key {
		s.t.Fatalf("get %s: %q at %d (gone %v, key %q), error %v; want %q at %d", key, e.Value, e.Rev, e.Gone, e.Key, err, value, rev)
	}
}

// gone says that the key is not there, and returns its marker's revision.
func (s steps) gone(key string) kv.Rev {
	s.t.Helper()
	e, err := s.get(key)
	if !errors.Is(err, kv.ErrMissing) || !e.Gone || e.Value != nil || e.Key != key {
		s.t.Fatalf("get %s: %+v, error %v; want it gone", key, e, err)
	}
	return e.Rev
}

// lists says what a List holds, as "key=value" in order.
func (s steps) lists(prefix string, want ...string) {
	s.t.Helper()
	var es []kv.Entry
	var rev kv.Rev
	err := s.answer("list", nil, func() (err error) { es, rev, err = s.List(s.ctx, prefix); return err })
	if err != nil {
		s.t.Fatalf("list %q: %v", prefix, err)
	}
	var got []string
	for _, e := range es {
		if e.Gone || e.Rev == 0 || e.Rev > rev && rev == 0 {
			s.t.Errorf("list %q holds %+v", prefix, e)
		}
		got = append(got, e.Key+"="+string(e.Value))
	}
	if !slices.Equal(got, want) {
		s.t.Fatalf("list %q: %v; want %v", prefix, got, want)
	}
}

// names says what Names holds.
func (s steps) names(prefix string, want ...string) {
	s.t.Helper()
	var got []string
	err := s.answer("names", nil, func() (err error) { got, err = s.Names(s.ctx, prefix); return err })
	if err != nil {
		s.t.Fatalf("names %q: %v", prefix, err)
	}
	if !slices.Equal(got, want) {
		s.t.Fatalf("names %q: %v; want %v", prefix, got, want)
	}
}

// A follower is a Follow under way, on a goroutine of its own.
type follower struct {
	t      *testing.T
	told   chan kv.Entry
	ended  chan error
	cancel context.CancelCauseFunc
}

// errEnough ends a follower.
var errEnough = errors.New("enough")

// follow starts one and waits until it is ready.
func (s steps) follow(prefixes ...string) *follower {
	s.t.Helper()
	ctx, cancel := context.WithCancelCause(s.ctx)
	f := &follower{t: s.t, told: make(chan kv.Entry, 1<<14), ended: make(chan error, 1), cancel: cancel}
	ready := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := s.Follow(ctx, prefixes, func() { close(ready) }, func(e kv.Entry) { f.told <- e })
		f.ended <- err
	}()
	s.t.Cleanup(func() { cancel(errEnough); <-done })
	select {
	case <-ready:
	case <-done:
		s.t.Fatalf("follow %q: %v", prefixes, <-f.ended)
	case <-time.After(patience):
		s.t.Fatalf("follow %q is not ready", prefixes)
	}
	return f
}

// next is the next change it is told of.
func (f *follower) next() kv.Entry {
	f.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case e := <-f.told:
		return e
	case err := <-f.ended:
		f.t.Fatalf("the follow ended: %v", err)
	case <-late.C:
		f.t.Fatalf("was told nothing for %v", patience)
	}
	panic("unreachable")
}

// tells says what the next changes are, as "key=value@rev" or "-key@rev".
func (f *follower) tells(want ...string) {
	f.t.Helper()
	for _, w := range want {
		if got := show(f.next()); got != w {
			f.t.Fatalf("was told %s, want %s", got, w)
		}
	}
}

// until skips to the change of that key.
func (f *follower) until(key string) kv.Entry {
	f.t.Helper()
	for {
		if e := f.next(); e.Key == key {
			return e
		}
	}
}

// ends waits for it to end with that error.
func (f *follower) ends(want error) {
	f.t.Helper()
	if err := receive(f.t, "the end of the follow", f.ended); !errors.Is(err, want) {
		f.t.Fatalf("the follow ended with %v, want %v", err, want)
	}
}

func show(e kv.Entry) string {
	if e.Gone {
		return fmt.Sprintf("-%s@%d", e.Key, e.Rev)
	}
	return fmt.Sprintf("%s=%s@%d", e.Key, e.Value, e.Rev)
}

func shown(key, value string, rev kv.Rev) string {
	return show(kv.Entry{Key: key, Value: []byte(value), Rev: rev})
}

func shownGone(key string, rev kv.Rev) string { return show(kv.Entry{Key: key, Rev: rev, Gone: true}) }
