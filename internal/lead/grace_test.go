package lead

import (
	"strings"
	"testing"
)

// A worker that is killed while it stops is lost: within RestartGrace, too, nothing of it
// waits for a successor, neither what it had let go of nor what it still ran.
func TestKilledWhileItStops(t *testing.T) {
	g := newGroup(t)
	for _, line := range []string{
		"set grace=5m", "partitions 6", "workers boss w1 w2", "lead", "run 20s",
		"stick w1 p01", "leave w1", "run 2s",
	} {
		g.do(strings.Fields(line))
	}
	if n := len(g.workers["w1"].run); n != 1 || len(g.slices["w1"].Granted) != 2 {
		t.Fatalf("it still runs %d, and its slice has %+v", n, g.slices["w1"])
	}
	for _, line := range []string{"crash w1", "run 30s"} {
		g.do(strings.Fields(line))
	}
	if n := len(g.workers["boss"].run) + len(g.workers["w2"].run); n != 6 {
		t.Errorf("%d of 6 run again\n%s", n, strings.Join(g.trace, "\n"))
	}
	for id, want := range map[string]bool{"p01": true, "p04": false} { // which it had let go of
		if p := &g.m.parts[g.m.index[id]]; (len(p.crashed) > 0) != want {
			t.Errorf("%s is blamed for %v", id, p.crashed)
		}
	}
}

// Nor is one blamed that it has had for longer than what it had let go of.
func TestKilledWhileItStopsWithAnOlderOne(t *testing.T) {
	g := newGroup(t)
	for _, line := range []string{
		"set grace=5m", "partitions 6", "workers boss w1 w2", "lead", "run 20s",
		"control move partition=p00 worker=w1 number=1 young=1", "run 5s", "stick w1 p04", "leave w1", "run 2s",
	} {
		g.do(strings.Fields(line))
	}
	if n := len(g.workers["w1"].run); n != 1 || len(g.slices["w1"].Granted) != 3 {
		t.Fatalf("it still runs %d, and its slice has %+v", n, g.slices["w1"])
	}
	for _, line := range []string{"crash w1", "run 30s"} {
		g.do(strings.Fields(line))
	}
	for _, id := range []string{"p00", "p01", "p04"} {
		if p := &g.m.parts[g.m.index[id]]; p.home == "w1" || len(p.crashed) > 0 {
			t.Errorf("%s is at home with %s, and blamed for %v", id, p.home, p.crashed)
		}
	}
}
