package parti

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

// A worker says what it does to whoever asks, its leader also what is pending; one that
// is frozen does not, and one that has stopped says so at once.
func TestAbout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(4)...)
		a := f.join("a", Config{ExpectedWorkers: 2})
		b := f.join("b", Config{ExpectedWorkers: 2})
		f.settled(time.Minute, 4, a, b)
		leader, other := a, b
		if b.IsLeader() {
			leader, other = b, a
		}
		about := func(m *mate) About {
			t.Helper()
			x, err := m.About(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		if x := about(other); x.Leading != nil || x.Running != 2 || x.State != StateStable || x.Schema != AboutSchema {
			t.Errorf("%+v", x)
		}
		if x := about(leader); x.Leading == nil || x.Leading.Term != 1 || len(x.Leading.Workers) != 2 || x.Leading.Workers[0].State != "live" {
			t.Errorf("%+v", x.Leading)
		}

		c := f.join("c", Config{})
		time.Sleep(time.Second)
		ps := about(leader).Leading.Pending
		if len(ps) != 1 || ps[0].Why != plan.WhyJoined || ps[0].About != c.WorkerID()+" joined" || ps[0].In == nil || ps[0].In.Duration() > 2*time.Second {
			t.Errorf("%+v", ps)
		}
		f.settled(time.Minute, 4, a, b, c)

		rd, _ := other.said()
		nonce := rd.Answering
		if _, err := f.server.Client("someone").Probe(t.Context(), wire.AboutName(nonce)); err != nil {
			t.Error(err)
		}
		thaw := other.exec.gate.shut()
		asked, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := other.About(asked); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("frozen: %v", err)
		}
		thaw()
		if x := about(other); x.State == StateStopped {
			t.Errorf("%+v", x)
		}
		stopAll(a, b, c)
		if x := about(other); x.State != StateStopped || x.Leading != nil {
			t.Errorf("%+v", x)
		}
	})
}

// However long the errors of a handler and a source are, a worker can say what it does: that
// is one message.
func TestAboutLongErrors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		long := errors.New("é" + strings.Repeat("é", 1<<20))
		var bad atomic.Bool
		f := newFleet(t)
		f.source = source.Func(func(context.Context) ([]Partition, error) {
			if bad.Load() {
				return nil, long
			}
			return parts(1), nil
		})
		m := f.joinWith("a", Config{ExpectedWorkers: 1}, HandlerFunc(func(context.Context, Lease) error { return long }))
		short := func(what string) {
			t.Helper()
			text := m.aboutText(t.Context())
			var a About
			if err := json.Unmarshal(text, &a); err != nil || len(text) > 64<<10 || !strings.Contains(a.LastError, "left out") || strings.ContainsRune(a.LastError, utf8.RuneError) {
				t.Errorf("%s: %d bytes, %v, the last error has %d", what, len(text), err, len(a.LastError))
			}
		}
		f.eventually(time.Minute, "its handler has failed", func() bool { return len(happened[event.Returned](m)) > 0 })
		short("handler")
		bad.Store(true)
		if err := m.RefreshPartitions(t.Context()); err != nil {
			t.Error(err)
		}
		f.eventually(time.Minute, "its source has failed", func() bool { return len(happened[event.SourceFailed](m)) > 0 })
		short("source")
		stopAll(m)
	})
}

func TestCut(t *testing.T) {
	whole := strings.Repeat("é", maxSaid/2)
	for text, want := range map[string]string{
		whole:             whole,
		whole + "x":       whole + "… (1 of 4097 bytes left out)",
		"x" + whole:       "x" + whole[:maxSaid-2] + "… (2 of 4097 bytes left out)",
		whole[:maxSaid-2]: whole[:maxSaid-2],
	} {
		if got := cut(text); got != want {
			t.Errorf("%d bytes became %d that end with %q", len(text), len(got), got[len(got)-40:])
		}
	}
}
