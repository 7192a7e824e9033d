package partitest_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/partitest"
)

// What follows is shown in docs/TESTING.md, word for word.

// newPoller is the handler under test: it does something for its partition all the time,
// and enters it in the ledger.
func newPoller(w *partitest.Worker) parti.Handler {
	return parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		every := time.NewTicker(20 * time.Millisecond)
		defer every.Stop()
		for ctx.Err() == nil {
			if err := w.Fleet.Act(l, "poll"); err != nil {
				return err
			}
			select {
			case <-every.C:
			case <-ctx.Done():
			}
		}
		return nil
	})
}

func TestPollerCrash(t *testing.T) {
	t.Parallel()
	parts := partitest.Numbered(20)
	fleet := partitest.NewFleet(t, partitest.StartNATS(t), parts, newPoller)
	a := fleet.Join("a")
	fleet.Join("b")
	fleet.Join("c")
	fleet.Settled(2 * time.Minute)
	before := fleet.Report() // workers that came later than others have moved some

	a.Crash() // as SIGKILL does

	fleet.Covered(2*time.Minute, parts...)
	fleet.Check(parti.Freeze, partitest.MaxGap(15*time.Second), partitest.MaxMoves(before.Moves+7)) // what a had
	t.Log(fleet.Report())
}

func TestPollerPartition(t *testing.T) {
	t.Parallel()
	fleet := partitest.NewFleet(t, partitest.StartNATSCluster(t, 3), partitest.Numbered(20), newPoller)
	fleet.Config.Isolation = parti.Fence // who is cut off stops before others begin
	a := fleet.Join("a")
	fleet.Join("b")
	fleet.Settled(2 * time.Minute)

	nodes := partitest.Group{fleet.NATS.Node(0), fleet.NATS.Node(1), fleet.NATS.Node(2)}
	apart := partitest.PartitionNetwork(t, partitest.Group{a.Manager}, nodes)
	fleet.Await("b has everything", 2*time.Minute, func() bool { return fleet.Shares()["b"] == 20 })
	apart.Heal()

	fleet.Settled(2 * time.Minute)
	fleet.Check(parti.Fence)
}

func TestPollerRollingUpdate(t *testing.T) {
	t.Parallel()
	fleet := partitest.NewFleet(t, partitest.StartNATS(t), partitest.Numbered(20), newPoller)
	fleet.Config.RestartGrace = 20 * time.Second
	workers := []*partitest.Worker{fleet.Join("a"), fleet.Join("b"), fleet.Join("c")}
	fleet.Settled(2 * time.Minute)
	before := fleet.Report()

	for _, old := range workers {
		old.Leave()
		fleet.Join(old.Name)
		fleet.Settled(2 * time.Minute)
	}

	fleet.Check(parti.Freeze, partitest.MaxMoves(before.Moves), partitest.MaxGap(15*time.Second)) // nothing has moved
}

// The page shows tests that run.
func TestPageOfTests(t *testing.T) {
	page, err := os.ReadFile("../docs/TESTING.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("break_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) != 4 {
		t.Errorf("%d programs on the page", len(blocks))
	}
	for _, block := range blocks {
		if code, _, _ := strings.Cut(block, "```"); !strings.Contains(string(source), code) {
			t.Errorf("not in break_test.go:\n%s", code)
		}
	}
}
