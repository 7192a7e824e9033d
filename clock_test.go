package parti

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/parti-go/parti/event"
)

// shifted is a reading of the clocks on a machine whose wall clock is off by so many
// seconds: package time keeps both clocks in one value, and compares by the monotonic one.
// A bubble has none, so this is for tests in real time.
func shifted(t time.Time, seconds int64) time.Time {
	layout := (*struct { // as package time documents it
		wall uint64 // 1 bit: there is a monotonic reading; 33: seconds since 1885; 30: nanoseconds
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	layout.wall += uint64(seconds) << 30 // which wraps around
	return t
}

func TestShifted(t *testing.T) {
	now := time.Now()
	for _, s := range []int64{-3600, 3600} {
		then := shifted(now, s)
		if by := then.Round(0).Sub(now.Round(0)); by != time.Duration(s)*time.Second || then.Sub(now) != 0 {
			t.Errorf("the wall clock is off by %v, want %ds, and the monotonic one by %v", by, s, then.Sub(now))
		}
	}
}

// A machine sleeps for an hour. Its wall clock has counted that, and its monotonic one has
// not: time has passed, and the date is what the wall clock says.
func TestDateAfterSuspension(t *testing.T) {
	machine := &suspendable{begun: time.Now()}
	c := newClockWith(machine.boot, time.Second, func() time.Time {
		return shifted(time.Now(), machine.suspended.Load()/int64(time.Second))
	})
	before := c.now()
	machine.suspended.Store(int64(time.Hour))
	if !c.look() {
		t.Error("no jump")
	}
	now := c.now()
	if passed := now.Sub(before); (passed - time.Hour).Abs() > time.Minute {
		t.Errorf("%v passed, want an hour", passed)
	}
	if off := c.date(now).Sub(time.Now().Round(0).Add(time.Hour)); off.Abs() > time.Minute {
		t.Errorf("the date is off by %v", off)
	}
}

// Somebody sets the wall clock of two workers of three, back or on, the leader's among
// them: nothing moves. Back, nobody notices; on, it is taken for a pause of the machine, and
// ownership is proved anew, which under Freeze stops nothing.
func TestWallClockIsSet(t *testing.T) {
	t.Parallel()
	for _, isolation := range []Isolation{Freeze, Fence} {
		for _, hours := range []int64{-24, 24} {
			t.Run(fmt.Sprintf("%v/%+d hours", isolation, hours), func(t *testing.T) {
				t.Parallel()
				wallClockIsSet(t, isolation, hours)
			})
		}
	}
}

func wallClockIsSet(t *testing.T, isolation Isolation, hours int64) {
	t.Helper()
	f := newFleet(t, parts(12)...)
	var off atomic.Int64
	cfg := Config{
		Isolation: isolation, ExpectedWorkers: 3, HeartbeatInterval: 500 * time.Millisecond,
		SessionTTL: 12 * time.Second, LostAfter: 9 * time.Second, LeaderTTL: 30 * time.Second, // a busy machine may stand still for some of them
	}
	var all []*mate
	for _, name := range []string{"a", "b", "c"} {
		all = append(all, f.make(name, cfg, nil))
	}
	steady := all[2]
	for _, m := range all {
		m.read = func() time.Time {
			if m == steady {
				return time.Now()
			}
			return shifted(time.Now(), off.Load())
		}
		if err := m.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m == all[0] { // it leads
			slowly(t, "the first one leads", m.IsLeader)
		}
	}
	runs := func() bool { return len(f.ledger.owners()) == 12 && len(f.ledger.counts()) == 3 }
	slowly(t, "every partition runs", runs)
	owners, starts := f.marks()

	off.Store(hours * 3600)
	<-time.After(cfg.SessionTTL + cfg.LostAfter) // whoever would be lost by it is

	slowly(t, "every partition runs", runs)
	for id, was := range owners {
		if now := f.ledger.owners()[id]; now != was {
			t.Errorf("%s was on %s and is on %s", id, was, now)
		}
	}
	if hours < 0 || isolation == Freeze {
		for _, wrong := range f.unmoved(owners, starts) {
			t.Error(wrong)
		}
	}
	for _, m := range all {
		if lost := happened[event.SessionLost](m); len(lost) > 0 {
			t.Errorf("%s has lost its session: %+v", m.name, lost)
		}
		slowly(t, m.name+" is stable", func() bool { return m.State() == StateStable })
	}
	if hours < 0 && !all[0].IsLeader() { // one that was paused knows that another may lead
		t.Error("another leads")
	}
	stopAll(all...)
}

// slowly waits in real time.
func slowly(t *testing.T, what string, so func() bool) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for late := time.After(time.Minute); !so(); {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("not so after a minute: %s", what)
		}
	}
}
