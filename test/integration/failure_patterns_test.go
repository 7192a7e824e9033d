package integration

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/partitest"
	"github.com/parti-go/parti/test/fleettest"
)

// Ten workers are restarted within a hundred milliseconds. Within RestartGrace the same
// identities get what they had: nothing moves, and there is no storm of plans.
func TestPattern_ThunderingHerd_AllWorkersRestartSimultaneously(t *testing.T) {
	t.Parallel()
	f := fleettest.New(t, partitest.StartNATS(t), 60, parti.Freeze)
	f.Config.RestartGrace = 20 * time.Second
	fleettest.Calm(f)
	// On a busy machine they do not come back within Hurry's third of a second of one another.
	f.Config.SettleTime, f.Config.ScaleWindow = 5*time.Second, 5*time.Second
	old := fleettest.Crew(t, f, 10)
	before := f.Report()
	f.Mark("all are restarted")
	again := make([]*partitest.Worker, len(old))
	begun := time.Now()
	var restarts sync.WaitGroup
	for i, w := range old {
		restarts.Go(func() {
			w.Leave()
			again[i] = f.Join(w.Name)
		})
	}
	restarts.Wait()
	f.Mark("all were restarted within %v", time.Since(begun))
	f.Settled(fleettest.Patience)
	f.Check(parti.Freeze, partitest.MaxMoves(before.Moves), partitest.MaxGap(fleettest.Slack*f.Config.RestartGrace))
	if n := fleettest.Plans(again); n > 2 {
		t.Errorf("%d plans for one restart", n)
	}
	if r := f.Report(); r.Starts != before.Starts+60 {
		t.Errorf("%d starts of 60 partitions", r.Starts-before.Starts)
		for _, p := range partitest.Numbered(60) {
			if line := f.Timeline(p.ID); strings.Count(line, " starts ") != 2 {
				t.Errorf("%s:\n%s", p.ID, line)
			}
		}
	}
}

// Two leaders: what the first wrote lies in the network, all but its renewals, until
// another was elected. It arrives late, and is refused; nobody helps.
func TestPattern_SplitBrain_DualLeaders(t *testing.T) {
	t.Parallel()
	fleettest.Both(t, func(t *testing.T, isolation parti.Isolation) {
		f := fleettest.New(t, partitest.StartNATSCluster(t, 3), 30, isolation)
		f.Config.LostAfter = 10 * time.Second // the nodes may elect somebody, and then all who had asked wait
		all := fleettest.Crew(t, f, 4)
		first := fleettest.Leads(t, f)
		// A worker is to be replaced, so that the leader has something to write.
		held := partitest.HoldMessages(t, first.Conn, partitest.Going(partitest.ToServer),
			partitest.Subject("$KV.*.leader", "$KV.*.plan", "$KV.*.slice.>", "$KV.*.chain.>", "$KV.*.log.>"))
		f.Mark("what %s writes as a leader lies in the network", first.Name)
		victim := all[0]
		if victim == first {
			victim = all[1]
		}
		victim.Crash()
		f.Await("another worker leads", fleettest.Patience, func() bool {
			for _, w := range all {
				if w != first && w != victim && len(partitest.Happened[event.Led](w)) > 0 {
					return true
				}
			}
			return false
		})
		f.Settled(fleettest.Patience)
		if held.Count() < 2 {
			t.Errorf("%d messages were held", held.Count())
		}
		f.Mark("it arrives")
		held.Heal()
		f.Await("the first one knows that its term is over", fleettest.Patience, func() bool {
			return len(partitest.Happened[event.Deposed](first)) > 0 && !first.IsLeader()
		})
		second := fleettest.Leads(t, f)
		f.Settled(fleettest.Patience)
		fleettest.OneSequence(t, all)
		if second == nil || second == first {
			t.Errorf("%v leads", second)
		}
		f.Check(isolation)
	})
}

// A worker that is slow, but not dead, keeps what it has. Where others are taken for slow or
// suspect as well the machine is what is slow, and a minute there tells nothing.
func TestPattern_GrayFailure_SlowButNotDead(t *testing.T) {
	t.Parallel()
	for try := range 3 {
		told := false
		t.Run(fmt.Sprint("try ", try+1), func(t *testing.T) { told = grayFailure(t) })
		if told || t.Failed() {
			return
		}
	}
	t.Skip("three times, workers that nobody slowed down were slow as well")
}

// grayFailure is a minute with a slow worker. It reports whether that told anything.
func grayFailure(t *testing.T) (told bool) {
	t.Helper()
	f := fleettest.New(t, partitest.StartNATS(t), 30, parti.Freeze)
	f.Config.LostAfter = 6 * time.Second // the default; slow is less than dead
	all := fleettest.Crew(t, f, 3)
	victim := all[0]
	if victim.IsLeader() {
		victim = all[1]
	}
	before := f.Report()
	slow := partitest.SlowdownWorker(t, victim.Manager, 2.5)
	late := partitest.DelayMessages(t, victim.Conn, 50*time.Millisecond, 200*time.Millisecond)
	fleettest.Eventually(t, "a minute of it", func() bool { return slow.Count() >= 24 })
	late.Heal()
	slow.Heal()
	for _, w := range all {
		if len(partitest.Happened[event.Deposed](w)) > 0 {
			t.Logf("%s lost its term", w.Name)
			return false
		}
		for _, e := range partitest.Happened[event.Suspected](w) {
			if e.Worker != victim.WorkerID() {
				t.Logf("%s was suspected: %s", e.Worker, e.Why)
				return false
			}
		}
	}
	if late.Count() == 0 {
		t.Error("no message was late")
	}
	if shown := partitest.Happened[event.Slowed](fleettest.Leads(t, f)); !slices.ContainsFunc(shown, func(e event.Slowed) bool { return e.Worker == victim.WorkerID() }) {
		t.Errorf("%s is not shown as slow, but %v", victim.WorkerID(), shown)
	}
	f.Check(parti.Freeze, partitest.MaxMoves(before.Moves))
	if r := f.Report(); r.Starts != before.Starts {
		t.Errorf("%d starts", r.Starts-before.Starts)
	}
	return true
}
