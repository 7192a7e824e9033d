package kvtest

import (
	"errors"
	"testing"

	"github.com/parti-go/parti/internal/kv"
)

var linkCases = []testCase{
	{"Connection/is up", func(t *testing.T, f Fixture) {
		s := open(t, f)
		c, changed := s.Connection()
		if !c.Up || c.Server == "" || changed == nil {
			t.Errorf("%+v", c)
		}
		select {
		case <-changed:
			t.Error("changed already")
		default:
		}
	}},
	{"Connection/tells of a cut and of its end", func(t *testing.T, f Fixture) {
		if f.Cut == nil {
			t.Skip("this fixture cannot cut")
		}
		s, other := open(t, f), open(t, f)
		before, changed := s.Connection()
		f.Cut(s.Store)
		receive(t, "a change of the connection", changed)
		down, changed := s.Connection()
		if down.Up || down.Interrupts != before.Interrupts+1 {
			t.Errorf("cut: %+v after %+v", down, before)
		}
		f.Mend(s.Store)
		receive(t, "a change of the connection", changed)
		up, _ := s.Connection()
		if !up.Up || up.Interrupts != before.Interrupts+2 || up.Server == "" {
			t.Errorf("mended: %+v after %+v", up, down)
		}
		if c, _ := other.Connection(); !c.Up || c.Interrupts != 0 {
			t.Errorf("the other view: %+v", c)
		}
	}},
	{"Connection/without it nothing is stored", func(t *testing.T, f Fixture) {
		if f.Cut == nil {
			t.Skip("this fixture cannot cut")
		}
		s, other := open(t, f), open(t, f)
		a := s.put("a", "one", 0)
		f.Cut(s.Store)
		eventually(t, "the cut", func() bool { c, _ := s.Connection(); return !c.Up })
		s.refused(kv.ErrUnavailable, kv.Write{Key: "a", Value: []byte("two"), Last: a})
		s.refused(kv.ErrUnavailable, kv.Write{Key: "b", Value: []byte("two")})
		s.refusedCommit(kv.ErrUnavailable, kv.Write{Key: "c"}, kv.Write{Key: "d"})
		if _, err := s.Get(s.ctx, "a"); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("Get: %v", err)
		}
		if _, _, err := s.List(s.ctx, ""); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("List: %v", err)
		}
		if _, err := s.Names(s.ctx, ""); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("Names: %v", err)
		}
		if _, err := s.Incarnation(s.ctx); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("Incarnation: %v", err)
		}
		if _, err := s.Renew(s.ctx, kv.MaxIncarnation); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("Renew: %v", err)
		}
		f.Mend(s.Store)
		eventually(t, "the connection", func() bool { c, _ := s.Connection(); return c.Up })
		end := s.put("end", "", 0)
		other.lists("", "a=one", "end=")
		s.has("a", "one", a)
		s.has("end", "", end)
	}},
	{"Limits/are the server's", func(t *testing.T, f Fixture) {
		s := open(t, f)
		if l := s.Limits(); l.MaxPayload < 1<<10 || l.MaxBatch < 2 {
			t.Errorf("%+v", l)
		}
	}},
}
