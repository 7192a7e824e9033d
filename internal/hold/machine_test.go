package hold_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/plan"
)

// A Started or Exited that nobody can have caused is a bug of the shell; one that
// comes again is not worth dying for.
func TestImpossibleFactsPanic(t *testing.T) {
	a := plan.Grant{Partition: plan.Partition{ID: "a"}, Token: 5}
	for _, f := range []hold.Fact{
		hold.Started{Lease: plan.Lease{Partition: "a", Token: 6}},
		hold.Exited{Lease: plan.Lease{Partition: "a", Token: 6}},
	} {
		m := hold.New(base, zero, zero)
		m.Step(zero, hold.Sliced{Slice: plan.Slice{Session: "me", Version: 5, Granted: []plan.Grant{a}}})
		m.Ready()
		func() {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, "a@0.6") {
					t.Errorf("%T: %s", f, said)
				}
			}()
			m.Step(zero, f)
		}()
		for range 2 {
			m.Step(zero, hold.Exited{Lease: plan.Lease{Partition: "a", Token: 5}})
			m.Step(zero, hold.Started{Lease: plan.Lease{Partition: "a", Token: 5}})
		}
	}
}

func TestTimeDoesNotGoBack(t *testing.T) {
	m := hold.New(base, zero, zero)
	m.Step(zero.Add(13*time.Second), hold.Tick{})
	m.Ready()
	m.Step(zero.Add(time.Second), hold.Tick{})
	if rd := m.Ready(); !rd.Trusted.IsZero() {
		t.Errorf("trusted again until %s", rd.Trusted.Sub(zero))
	}
}

// Without limits for degraded mode and alerts, only trust matters.
func TestZeroMeansNever(t *testing.T) {
	cfg := base
	cfg.Degraded, cfg.Alerts, cfg.MovesInFlight = hold.Degraded{}, hold.Alerts{}, 0
	m := hold.New(cfg, zero, zero)
	for range 100 {
		m.Step(zero, hold.Failing{})
	}
	m.Step(zero.Add(11*time.Second), hold.Tick{})
	if rd := m.Ready(); rd.State != hold.Waiting || rd.Trusted.IsZero() {
		t.Errorf("%s", rd.State)
	}
	m.Step(zero.Add(time.Hour), hold.Tick{})
	if rd := m.Ready(); rd.State != hold.Isolated || len(rd.Alerts) > 0 || !rd.WakeAt.IsZero() {
		t.Errorf("%s, alerts %v, wake %s", rd.State, rd.Alerts, rd.WakeAt)
	}
	m.Step(zero.Add(time.Hour), hold.Renewed{Sent: zero.Add(time.Hour)})
	m.Step(zero.Add(time.Hour), hold.Sliced{Slice: plan.Slice{Session: "me", Version: 2, Granted: grants(3)}})
	if rd := m.Ready(); len(rd.Start) != 1 || rd.State != hold.Stable {
		t.Errorf("%s, starts %v", rd.State, rd.Start)
	}
}

func TestHowItEnded(t *testing.T) {
	lost := hold.New(base, zero, zero)
	lost.Step(zero, hold.Found{Key: hold.Foreign})
	left := hold.New(base, zero, zero)
	left.Step(zero, hold.Leave{})
	left.Ready()
	left.Step(zero, hold.Renewed{Sent: zero})
	for _, c := range []struct {
		m          *hold.Machine
		lost, left bool
	}{{lost, true, false}, {left, false, true}} {
		if c.m.Lost() != c.lost || c.m.Left() != c.left || !c.m.Ready().Over {
			t.Errorf("lost %v, left %v", c.m.Lost(), c.m.Left())
		}
	}
}

func grants(n int) []plan.Grant {
	list := make([]plan.Grant, n)
	for i := range list {
		list[i] = plan.Grant{Partition: plan.Partition{ID: fmt.Sprintf("p-%05d", i)}, Token: 1}
	}
	return list
}

// running is a Machine that runs n partitions.
func running(n int) *hold.Machine {
	cfg := base
	cfg.MovesInFlight = n
	m := hold.New(cfg, zero, zero)
	m.Step(zero, hold.Sliced{Slice: plan.Slice{Session: "me", Version: 1, Granted: grants(n)}})
	for _, g := range m.Ready().Start {
		m.Step(zero, hold.Started{Lease: plan.Lease{Partition: g.ID, Token: g.Token}})
	}
	return m
}

// BenchmarkRenewed is what an idle worker's brain costs per heartbeat.
func BenchmarkRenewed(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, now := running(n), zero
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Second)
				m.Step(now, hold.Renewed{Sent: now})
				m.Ready()
			}
		})
	}
}

// BenchmarkSliced is what a new slice that changes one partition costs.
func BenchmarkSliced(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, list := running(n), grants(n)
			b.ReportAllocs()
			for v := plan.Version(2); b.Loop(); v++ {
				list[0].Token = v
				m.Step(zero, hold.Sliced{Slice: plan.Slice{Session: "me", Version: v, Granted: list}})
				m.Ready()
			}
		})
	}
}
