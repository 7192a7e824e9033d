package lead

import (
	"fmt"
	"strings"
	"testing"
)

// What a leader remembers does not grow with how often workers restart, or with how many
// orders it was given.
func TestBoundedTerm(t *testing.T) {
	g := newGroup(t)
	do := func(line string) { g.do(strings.Fields(line)) }
	for _, line := range []string{"partitions 6", "workers boss w1", "lead", "run 20s"} {
		do(line)
	}
	for range 20 {
		for _, line := range []string{"leave w1", "run 1s", "workers w1", "run 15s"} {
			do(line)
		}
	}
	if n := len(g.m.roster.Ends()); n > 2 {
		t.Errorf("it remembers how %d sessions ended", n)
	}
	for n := range 20 {
		do(fmt.Sprintf("control rebalance number=%d young=1", n))
		do("control off")
	}
	if n := len(g.m.controls.seen); n > 1 {
		t.Errorf("it remembers %d orders", n)
	}
}
