package lead

import (
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/roster"
)

// What nobody can take since the only one who might is suspect goes there as soon as it answers
// a probe, and waits neither for its next renewal nor for a look at the load.
func TestSuspectAnswersAgain(t *testing.T) {
	g := newGroup(t)
	do := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			g.do(strings.Fields(line))
		}
	}
	do("partitions 4", "workers boss w1 w2 w3 w4 w5 w6") // so many that two are no reason for doubt
	for _, id := range []string{"boss", "w3", "w4", "w5", "w6"} {
		do("control cordon worker=" + id)
	}
	do("lead", "run 20100ms", "crash w1", "run 500ms")
	w2 := g.workers["w2"]
	w2.crashed = true // its connection is lost
	for range 20 {
		if do("run 100ms"); g.m.roster.Member("w1").State == roster.Ended {
			break
		}
	}
	if w1, other := g.m.roster.Member("w1"), g.m.roster.Member("w2"); w1.State != roster.Ended || other.State != roster.Suspect {
		t.Fatalf("w1 is %v, w2 is %v", w1.State, other.State)
	}
	if g.m.head.Unassigned != 2 {
		t.Fatalf("%d are unassigned", g.m.head.Unassigned)
	}
	w2.crashed, w2.next = false, g.now.Add(time.Second)
	do("run 500ms")
	if n := len(w2.run); n != 4 {
		t.Errorf("w2 runs %d of 4\n%s", n, strings.Join(g.trace, "\n"))
	}
}
