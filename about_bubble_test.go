package parti

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
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
