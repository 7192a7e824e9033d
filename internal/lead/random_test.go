package lead

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRandomGroups plays random scripts. Whatever happened, two workers never run
// one partition (the group itself watches that), and tokens grow. While what happened
// lasts, whatever runs nowhere is counted and is an alert; once it is over, every
// partition runs and plans stop.
func TestRandomGroups(t *testing.T) {
	seeds := 150
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomGroup(t, uint64(seed)) })
	}
}

func randomGroup(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	g := newGroup(t)
	var script []string
	do := func(format string, a ...any) {
		line := fmt.Sprintf(format, a...)
		script = append(script, line)
		g.do(strings.Fields(line))
		script = append(script, g.trace...)
		g.trace = nil
	}
	defer func() {
		if t.Failed() {
			t.Log("\n" + strings.Join(script, "\n"))
		}
	}()
	if r.IntN(3) == 0 {
		do("set grace=5s")
	}
	if r.IntN(4) == 0 {
		do("set batch=%d", 8+r.IntN(4))
	}
	parts := 4 + r.IntN(12)
	do("partitions %d", parts)
	do("workers boss")
	do("lead")
	ids := []string{"w1", "w2", "w3", "w4"}
	tokens := map[string]uint64{}
	for range 25 {
		id := ids[r.IntN(len(ids))]
		w := g.workers[id]
		up := w != nil && !w.crashed
		switch n := r.IntN(15); {
		case n < 4 && !up && g.m != nil:
			do("worker %s %s", id, []string{"", "fence", "ttl=20s", "capacity=3", "capacity=6"}[r.IntN(5)])
		case n == 4 && up:
			do("crash %s", id)
		case n == 5 && up && !w.hung:
			do("hang %s", id)
		case n == 6 && up && w.hung:
			do("resume %s", id)
		case n == 7 && up && !w.hung && g.m != nil:
			do("leave %s", id)
		case n == 8 && up && len(w.run) > 0:
			do("stick %s %s", id, slices.Sorted(maps.Keys(w.run))[0])
		case n == 9 && up && !w.hung && g.m != nil:
			do("letgo %s", id)
		case n == 10:
			do("lead")
		case n == 11 && g.m != nil:
			parts = 4 + r.IntN(12)
			do("partitions %d", parts)
		case n == 12 && g.m != nil:
			do("control %s", []string{
				"pause", "off", "drain worker=w1", "cordon worker=w2", "cordon worker=boss", "pin partition=p01 worker=w3", "ban partition=p02 worker=boss",
				"rebalance number=" + fmt.Sprint(len(script)),
				fmt.Sprintf("move partition=p%02d worker=%s young=1 number=%d", r.IntN(parts), id, len(script)),
			}[r.IntN(9)])
		case n == 13 && g.m != nil:
			do("interrupt")
		case n == 14 && g.failing == "":
			do("source-fails down")
		case n == 14:
			do("partitions %d", parts)
		}
		do("run %dms", 100+r.IntN(7000))
		for id, s := range g.slices {
			for _, x := range s.Granted {
				if uint64(x.Token) < tokens[x.ID] {
					t.Fatalf("%s on %s: token %v after %v", x.ID, id, x.Token, tokens[x.ID])
				}
				tokens[x.ID] = uint64(x.Token)
			}
		}
	}
	if g.m != nil {
		do("run 3m")
		if g.failing == "" { // or nobody can know
			g.named()
		}
		do("partitions %d", parts)
	}
	for _, id := range slices.Sorted(maps.Keys(g.workers)) {
		if w := g.workers[id]; !w.crashed {
			w.hung = false
			do("letgo %s", id)
		}
	}
	do("control off")
	do("run 10m") // quarantines and probation end
	last := g.head.Version
	do("run 60s")
	if g.head.Version != last {
		t.Errorf("plans do not stop: %v after %v", g.head.Version, last)
	}
	runs := map[string]int{}
	for _, w := range g.workers {
		if !w.crashed {
			for p := range w.run {
				runs[p]++
			}
		}
	}
	for _, p := range g.parts {
		if runs[p.ID] != 1 {
			t.Errorf("%s runs %d times at the end", p.ID, runs[p.ID])
		}
	}
	if len(runs) != len(g.parts) {
		t.Errorf("%d partitions run, %d are listed", len(runs), len(g.parts))
	}
	if g.now.Sub(g.start) > time.Hour {
		t.Error("time ran away")
	}
}

// named checks that what runs nowhere is counted, and that an alert says why.
func (g *group) named() {
	runs := map[string]bool{} // or may run
	for _, s := range g.slices {
		for _, x := range s.Granted {
			runs[x.ID] = true
		}
		for _, x := range s.Releasing {
			runs[x.ID] = true
		}
	}
	nowhere := 0
	for _, p := range g.parts {
		if i, ok := g.m.index[p.ID]; !runs[p.ID] && (!ok || !g.m.parts[i].aside) {
			nowhere++
			if len(g.m.alerts.on) == 0 {
				g.t.Errorf("%s runs nowhere, and no alert says so", p.ID)
			}
		}
	}
	if nowhere != g.head.Unassigned {
		g.t.Errorf("%d run nowhere, and the plan says %d", nowhere, g.head.Unassigned)
	}
}
