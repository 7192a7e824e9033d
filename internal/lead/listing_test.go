package lead

import (
	"strings"
	"testing"

	"github.com/parti-go/parti/plan"
)

// A new leader knows of what is on probation and has no owner the ID alone. When the source
// tells the rest at last, after all windows are over, it is placed.
func TestListedLate(t *testing.T) {
	g := newGroup(t)
	do := func(lines ...string) {
		for _, line := range lines {
			g.do(strings.Fields(line))
		}
	}
	do("partitions 2", "workers boss", "lead", "run 20s", "source-fails connection refused")
	g.aside = []plan.Aside{{Partition: "tried", Why: plan.WhyQuarantine, Times: 1}} // its time is over, and nobody had room
	do("lead", "run 1m")
	if g.workers["boss"].run["tried"] != 0 {
		t.Error("it is granted before the source has said what it weighs")
	}
	do("partitions p00 p01 tried", "run 1m")
	if g.workers["boss"].run["tried"] == 0 {
		t.Error("it is not granted:", g.trace)
	}
}
