package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

// golden compares with a file in testdata/golden.
func golden(t *testing.T, name string, lines []string) {
	t.Helper()
	got := strings.Join(lines, "\n") + "\n"
	path := filepath.Join("testdata", "golden", name+".txt")
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-rewrite writes it anew):\n%s", path, got)
	}
}

var (
	noon     = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	soon     = parti.Millis(8_000)
	evenness = parti.Millis(190_000)
)

func atVersion(number uint32) plan.Version { return plan.Version(1_000_000<<32 | uint64(number)) }

// settled is a group at rest.
func settledGroup() admin.Snapshot {
	s := admin.Snapshot{
		Schema: 1, At: noon, Sentence: "Settled. 1 024 partitions on 4 workers. Nothing pending.", Settled: true,
		Leader: &admin.Leader{Worker: "worker-0", Session: "n0", Answers: true, Leads: true}, Term: 3, Version: atVersion(217), Phase: plan.Stable, Why: plan.WhyJoined,
		Counts: admin.Counts{Workers: 4, Partitions: 1024, Running: 1024},
	}
	for i, id := range []string{"worker-0", "worker-1", "worker-2", "worker-3"} {
		s.Workers = append(s.Workers, admin.Worker{
			ID: id, Session: "n", State: "live", Does: "Stable", Leader: i == 0, Owns: true, Identity: "orders-" + id[7:], Host: "node-" + id[7:] + ".eu-west.example.org",
			Software: "v1.4.0", Started: noon.Add(-26*time.Hour - time.Duration(i)*time.Hour), Share: 1, Partitions: 256, Weight: 2560, Load: 1000, Running: 256,
		})
	}
	return s
}

// movingGroup is one in which much happens.
func movingGroup() admin.Snapshot {
	s := settledGroup()
	s.Settled = false
	s.Sentence = "Moving 17 of 1 024: waiting for worker-3 to let go (8 s)."
	s.Phase, s.Why = plan.Rebalancing, plan.WhyDrain
	s.Counts.Moving, s.Counts.Running, s.Counts.Aside = 17, 1007, 1
	s.Pending = []parti.Pending{
		{Why: plan.WhyBalance, About: "seeing whether the load is even", In: &evenness},
		{Why: plan.WhyDrain, About: "worker-3 to let go of 17 partitions", Holds: "worker-3", For: soon},
	}
	s.Doubt = "more than a third of the others vanished at once"
	s.Alerts = []admin.Alert{
		{Worker: "worker-0", Leader: true, About: "pin", Text: "tool-001.chamber-1 is pinned to worker-9, which is not there: it runs elsewhere until it is"},
		{Worker: "worker-3", About: "stuck", Text: "the handler of tool-007.chamber-2 ignores Hard for 1 m 4 s"},
	}
	s.Controls = []plan.Control{
		{Kind: plan.Drain, Worker: "worker-3", Who: "ann@ops-1", When: noon.Add(-70 * time.Second), Why: "kernel upgrade", Until: noon.Add(time.Hour)},
		{Kind: plan.Pin, Partition: "tool-001.chamber-1", Worker: "worker-9", Who: "bob@ops-2", When: noon.Add(-80 * time.Hour)},
	}
	w := s.Workers
	w[1].State, w[1].Why, w[1].Zone = "suspect", "no responders for 1.1s", "b"
	w[2].Cordoned, w[2].Coming, w[2].Load, w[2].Partitions, w[2].Zone = true, 17, 1085, 278, "a"
	w[3].Drained, w[3].Releasing, w[3].Load, w[3].Partitions, w[3].Running, w[3].Does = true, 17, 0, 0, 17, "Degraded"
	s.Workers = append(s.Workers, admin.Worker{ID: "worker-4", State: "ended", Why: "declared lost by worker-0: no responders for 1.2s", Partitions: 3, Isolation: "fence"})
	return s
}

func listedPartitions() []admin.Partition {
	return []admin.Partition{
		{ID: "tool-001.chamber-1", Weight: 10, State: admin.Owned, Owner: "worker-0", Token: atVersion(12), Why: plan.WhyFirstPlan, Pinned: "worker-0"},
		{ID: "tool-001.chamber-2", Weight: 1500, State: admin.Moving, Owner: "worker-3", Next: "worker-2", Token: atVersion(40), Since: atVersion(217), Why: plan.WhyDrain},
		{ID: "tool-001.chamber-3", Weight: 1, State: admin.Stopping, Owner: "worker-1", Token: atVersion(41), Since: atVersion(216), Why: plan.WhyPartitions},
		{ID: "tool-002.a-chamber-with-a-very-long-name.and-another-token-that-goes-on-and-on-and-on", Weight: 1, State: admin.Owned, Owner: "worker-1", Token: atVersion(216), Why: plan.WhyOverload, Banned: []string{"worker-2", "worker-3"}},
		{ID: "tool-003.chamber-1", Weight: 1, State: admin.Quarantined, Why: plan.WhyQuarantine, For: 60_000, Times: 2, Owners: []string{"worker-1", "worker-2", "worker-4"}},
		{ID: "tool-003.chamber-2", Weight: 1, State: admin.Done, Why: plan.WhyDone},
	}
}

func explained() admin.Explanation {
	granted := &plan.Decision{Version: atVersion(40), Term: 2, Leader: "worker-1", At: noon.Add(-3 * time.Hour), Why: plan.WhyReceipt}
	asked := &plan.Decision{Version: atVersion(217), Term: 3, Leader: "worker-0", At: noon.Add(-8 * time.Second), Why: plan.WhyDrain, About: "an operator drains worker-3"}
	return admin.Explanation{
		Schema:   1,
		Sentence: "tool-001.chamber-2 moves from worker-3 to worker-2, because an operator drained its worker; worker-3 has not let go yet, after 8 s.",
		Partition: admin.Partition{
			ID: "tool-001.chamber-2", Weight: 1500, State: admin.Moving, Owner: "worker-3", Next: "worker-2", Token: atVersion(40), Since: atVersion(217), Why: plan.WhyDrain,
			Labels: map[string]string{"line": "7", "area": "etch"}, Banned: []string{"worker-0"},
		},
		Since: granted.At, Granted: granted, Asked: asked,
		Last: &admin.LastMove{From: "worker-1", To: "worker-3", At: granted.At, Version: atVersion(40), Why: plan.WhyJoined, About: "worker-3 joined"},
		Next: []string{"It is on its way to worker-2: granted there as soon as worker-3 has let go.", "worker-3 is drained: it leaves as soon as somebody else can take it.", "It is banned from worker-0."},
	}
}

func decided() []plan.Decision {
	return []plan.Decision{
		{Version: atVersion(217), Term: 3, Leader: "worker-0", At: noon.Add(-8 * time.Second), Why: plan.WhyDrain, About: "an operator drains worker-3", Moves: make([]plan.Move, 17), Strategy: &plan.Explanation{Moved: 17, BoundMoves: 17}},
		{Version: atVersion(216), Term: 3, Leader: "worker-0", At: noon.Add(-50 * time.Minute), Why: plan.WhyLost, About: "worker-4: no responders for 1.2s", More: 1024, Unassigned: 3, Waited: 1200, Moves: []plan.Move{
			{Partition: "tool-001.chamber-3", Step: plan.Granted, From: "worker-4", To: "worker-1", Why: plan.WhyLost},
		}, Strategy: &plan.Explanation{Placed: 1024, BoundMoves: 1000}},
		{Version: atVersion(1), Term: 1, Leader: "worker-7", At: noon.Add(-49 * time.Hour), Why: plan.WhyFirstPlan, About: "the group's first plan", Moves: make([]plan.Move, 32), More: 992, Waited: 30_000},
	}
}

func foreseen() admin.Outcome {
	o := admin.Outcome{
		Schema: 1, Sentence: "259 of 1 024 partitions would move: 256 lose their owner, 3 for evenness. 2 partitions would run nowhere.", Weight: 2590, Forced: 256,
		Loads: []admin.LoadChange{
			{Worker: "worker-0", Before: 2560, After: 3410, PartitionsBefore: 256, PartitionsAfter: 341},
			{Worker: "worker-1", Before: 2560, After: 3410, PartitionsBefore: 256, PartitionsAfter: 341},
			{Worker: "worker-3", Before: 2560, PartitionsBefore: 256, Gone: true},
			{Worker: "new-1", After: 3400, PartitionsAfter: 340, New: true},
		},
		Unassigned: []string{"tool-900.chamber-1", "tool-900.chamber-2"},
		Alerts:     []string{"2 partitions have no owner: every worker is full"},
	}
	for range 25 {
		o.Moves = append(o.Moves, admin.Relocation{Partition: "tool-001.chamber-2", From: "worker-3", To: "worker-1", Weight: 1500, Why: plan.WhyLost})
	}
	return o
}

func examined() []admin.Finding {
	return []admin.Finding{
		{About: "partitions", Level: admin.Wrong, What: "3 partitions run nowhere", Why: "no worker has room for them, or takes them", Fix: "add workers or capacity, or take back cordons; the leader's alert names an obstacle"},
		{About: "worker", Level: admin.Warn, What: "worker-1 is suspect: no responders for 1.1s", Why: "it is declared lost soon, and its partitions move", Fix: "look at that process and its network"},
		{About: "software", Level: admin.Note, What: "workers run v1.4.0 (worker-0, worker-1, worker-2 and 9 more), v1.4.1 (worker-3)", Why: "fine during a rolling update", Fix: "finish the update"},
		{About: "leader", Level: admin.Fine, What: "worker-0 leads term 3 and answers"},
	}
}

// Every screen at the widths 80 and 120, and as programs get it. What does not depend on
// the width must at least fit into it.
func TestGoldenScreens(t *testing.T) {
	zone := show.Zone
	show.Zone = time.UTC
	defer func() { show.Zone = zone }()
	still, busy := settledGroup(), movingGroup()
	well, ill := still.Health(admin.DefaultLimits()), busy.Health(admin.DefaultLimits())
	busy.Leader = nil
	worse := busy.Health(admin.DefaultLimits())
	busy = movingGroup()
	pace := &pace{granted: 3.4, released: 5.1, plans: 0.2}
	many := settledGroup()
	for len(many.Workers) < 200 {
		many.Workers = append(many.Workers, many.Workers[1+len(many.Workers)%3])
	}
	for i := range 9 {
		many.Alerts = append(many.Alerts, admin.Alert{Worker: "worker-1", About: "source", Text: "list number " + string(rune('1'+i)) + " was refused"})
		many.Controls = append(many.Controls, plan.Control{Kind: plan.Cordon, Worker: "worker-" + string(rune('1'+i)), Who: "ann", When: noon})
	}
	many.Workers[150].State, many.Workers[150].Why = "slow", "renewed 2.1s late"
	simulation := comparison{
		Seeds: 3, Hosts: 12, Partitions: 1000, Virtual: 7 * time.Minute, Settings: []string{"cooldown=1m", "settle_time=5s"},
		Now:  played{Plans: 6, Moves: 8.25, Starts: 20, Lost: 1, Writes: 1714.33, BareMs: 1457},
		With: &played{Plans: 6.5, Moves: 8, Starts: 20, Lost: 1, Writes: 1718, BareMs: 21_375, Broken: []string{"seed 2: promise 7, at 1m0s: a partition is without an owner for too long"}},
	}
	benched := measured{
		Server: "2.12.1", Workers: 30, Partitions: 1500, Replicas: 3, Storage: "file",
		Figures: []figure{
			{Name: "write", What: "conditional write of 256 bytes", N: 100, P50: 0.78, P99: 3.04, Max: 12.6},
			{Name: "join", What: "worker joins: gap of a partition that moves", N: 1234, P50: 26.8, P99: 90.3, Max: 112},
			{Name: "loss", What: "worker lost: gap of each of its partitions", N: 150, P50: 1318.2, P99: 1421.7, Max: 2421},
		},
	}
	for name, screen := range map[string]func(show.Look) []string{
		"bench":          benched.lines,
		"simulate":       func(l show.Look) []string { return simulateLines(simulation, l) },
		"status-settled": func(l show.Look) []string { return statusLines("orders", still, l) },
		"status-moving":  func(l show.Look) []string { return statusLines("orders", busy, l) },
		"status-many":    func(l show.Look) []string { return statusLines("orders", many, l) },
		"status-new": func(l show.Look) []string {
			return statusLines("orders", admin.Snapshot{At: noon, Sentence: "Nobody has been here yet."}, l)
		},
		"top":               func(l show.Look) []string { return watchLines("orders", busy, nil, pace, true, l) },
		"workers":           func(l show.Look) []string { return workerLines(busy, l) },
		"partitions":        func(l show.Look) []string { return partitionLines(listedPartitions(), l) },
		"controls":          func(l show.Look) []string { return controlLines(busy, l) },
		"explain":           func(l show.Look) []string { return explainLines(explained(), noon, l) },
		"history":           func(l show.Look) []string { return historyLines(decided(), "", noon, l) },
		"history-partition": func(l show.Look) []string { return historyLines(decided()[1:2], "tool-001.chamber-3", noon, l) },
		"plan":              func(l show.Look) []string { return planLines(foreseen(), usualMoves, l) },
		"doctor":            func(l show.Look) []string { return doctorLines(examined(), l) },
		"check-ok":          func(l show.Look) []string { return checkLines(well, l) },
		"check-warning":     func(l show.Look) []string { return checkLines(ill, l) },
		"check-critical":    func(l show.Look) []string { return checkLines(worse, l) },
	} {
		for suffix, look := range map[string]show.Look{
			"80": {Width: 80, Height: 40}, "120": {Width: 120, Height: 40}, "plain": {Plain: true},
		} {
			t.Run(name+"-"+suffix, func(t *testing.T) {
				lines := screen(look)
				golden(t, name+"-"+suffix, lines)
				for _, line := range lines {
					if n := utf8.RuneCountInString(line); look.Width > 0 && n > look.Width {
						t.Errorf("a line has %d characters, and the screen %d:\n%s", n, look.Width, line)
					}
					if strings.TrimRight(line, " ") != line {
						t.Errorf("a line ends in spaces: %q", line)
					}
				}
			})
		}
	}
	golden(t, "status-moving-80-color", statusLines("orders", busy, show.Look{Width: 80, Height: 40, Paint: true}))
	golden(t, "status-moving-80-ascii", statusLines("orders", busy, show.Look{Width: 80, Height: 40, ASCII: true}))
}

// Colours say nothing that the words do not, and ASCII is ASCII.
func TestLooksSayTheSame(t *testing.T) {
	busy := movingGroup()
	plain := strings.Join(statusLines("orders", busy, show.Look{Width: 80}), "\n")
	painted := strings.Join(statusLines("orders", busy, show.Look{Width: 80, Paint: true}), "\n")
	if bare := strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[2m", "", "\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[36m", "").Replace(painted); bare != plain {
		t.Errorf("without its colours it is\n%s", bare)
	}
	for _, line := range statusLines("orders", busy, show.Look{Width: 60, ASCII: true}) {
		for _, r := range line {
			if r > 126 {
				t.Errorf("%q is no ASCII: %s", r, line)
			}
		}
	}
}
