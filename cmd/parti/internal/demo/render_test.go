package demo

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/plan"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-rewrite writes it anew):\n%s", path, got)
	}
}

// moment is the middle of a demo.
func moment() View {
	return View{
		Server: "embedded nats-server 2.15.2", Elapsed: 83*time.Second + 420*time.Millisecond,
		Step: 3, Steps: 8, Name: "worker killed",
		Text:    "worker-3 is killed: its sockets are closed, nothing is said, nothing released. The leader must find out; then its 12 partitions go to the others, and nobody else's move.",
		Waiting: "12 partitions to run",
		Workers: []Row{
			{ID: "worker-0", Identity: "host-1", State: "Stable", Leads: true, Partitions: 12, Rate: 61.2},
			{ID: "worker-17", Identity: "host-2", State: "Stable", Partitions: 13, Rate: 59.7},
			{ID: "worker-3", Identity: "host-3", State: "killed", Gone: true},
			{ID: "worker-104", Identity: "host-4", State: "ShuttingDown", Partitions: 1, Rate: 3},
			{ID: "host-5", Identity: "host-5", State: "ClaimingID"},
		},
		Running: 48, Orphans: 12, Plan: plan.MakeVersion(1040832, 17), Phase: plan.Emergency, Leader: "worker-0", Term: 2,
		Sent: 24890, Done: 24871, Repeated: 3,
		Notes: []note{
			{81 * time.Second, "worker-0 suspects worker-3: no responders"},
			{82 * time.Second, "worker-3 is lost: no responders for 1s"},
			{82*time.Second + 10*time.Millisecond, "plan v17 (lost): 12 granted; places 12, at least 12 needed, and so on and so on, far beyond what is wide"},
		},
	}
}

func TestScreen(t *testing.T) {
	after := moment()
	after.Waiting, after.Outcome = "", "worker killed after 1.8 s: 12 moved, at least 12 had to; plans: 1"
	after.Doubles = 1
	for _, c := range []struct {
		name string
		view View
		look show.Look
	}{
		{"80", moment(), show.Look{Width: 80, Height: 24}},
		{"120", moment(), show.Look{Width: 120, Height: 40}},
		{"80-color", after, show.Look{Width: 80, Height: 24, Paint: true}},
		{"80-ascii", moment(), show.Look{Width: 80, Height: 24, ASCII: true}},
		{"40-low", moment(), show.Look{Width: 40, Height: 16}},
		{"before", View{Server: "embedded nats-server 2.15.2"}, show.Look{Width: 80, Height: 24}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := Render(c.view, c.look)
			if len(lines) > c.look.Height {
				t.Errorf("%d lines on a screen of %d", len(lines), c.look.Height)
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > c.look.Width && !c.look.Paint {
					t.Errorf("%d columns on a screen of %d: %s", n, c.look.Width, line)
				}
			}
			if c.look.ASCII && strings.IndexFunc(strings.Join(lines, ""), func(r rune) bool { return r > 126 }) >= 0 {
				t.Error("it is not ASCII")
			}
			golden(t, "screen-"+c.name+".txt", strings.ReplaceAll(strings.Join(lines, "\n"), "\x1b", "^")+"\n")
		})
	}
}

func TestManyWorkersLeaveRoom(t *testing.T) {
	v := moment()
	for i := range 40 {
		v.Workers = append(v.Workers, Row{ID: fmt.Sprintf("worker-%d", 200+i), State: "Stable", Partitions: 3})
	}
	text := strings.Join(Render(v, show.Look{Width: 80, Height: 24}), "\n")
	for _, want := range []string{"and 3", "double owners", "Messages"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not shown:\n%s", want, text)
		}
	}
}

// findings are what a whole demo might have found.
func findings() *Summary {
	return &Summary{
		Schema: SummarySchema, Server: "embedded nats-server 2.15.2", Seed: 7, Workers: 5, Partitions: 60, TookMs: 14123,
		Moved: 111, Bound: 111, LeaderBound: 111, Plans: 13, Sent: 23832, Processed: 23832, Repeated: 2,
		Unowned: []Cause{{"cold start", Spread{60, 84, 110, 110}}, {"handed over", Spread{24, 6.1, 63.4, 63.4}}, {"worker killed", Spread{12, 1500, 1512, 1512.3}}},
		Steps: []Step{
			{Name: "cold start", TookMs: 123, Moved: 60, Bound: 60, Plans: 1, Unowned: Spread{60, 84, 110, 110}},
			{Name: "steady", TookMs: 1104, Processed: 312},
			{Name: "worker killed", TookMs: 1840, Moved: 12, Bound: 12, Plans: 1, Processed: 523, Repeated: 2, Unowned: Spread{12, 1500, 1512, 1512.3}},
		},
	}
}

func TestSummary(t *testing.T) {
	bad := findings()
	bad.Lost, bad.Processed, bad.DoubleOwners = 1, bad.Processed-1, 2
	bad.judge([]string{"p-001 ran on worker-1 (token 2) and on worker-2 (token 3) at the same time"}, []string{"p-007 #12"})
	early := findings()
	early.Interrupted, early.Processed = true, early.Sent-40
	for _, c := range []struct {
		name string
		sum  *Summary
	}{{"good", findings()}, {"broken", bad}, {"interrupted", early}} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			c.sum.Write(&b, false)
			golden(t, "summary-"+c.name+".txt", b.String())
		})
	}
}

func TestDescribe(t *testing.T) {
	v := plan.MakeVersion(3, 9)
	for _, c := range []struct {
		d    plan.Decision
		want string
	}{
		{plan.Decision{Version: v, Why: plan.WhyReceipt}, "plan v9 (receipt): nothing to do"},
		{
			plan.Decision{Version: v, Why: plan.WhyLost, Moves: []plan.Move{{Step: plan.Granted}}, More: 3, Strategy: &plan.Explanation{Placed: 4, BoundMoves: 4}},
			"plan v9 (lost): 1 granted, 3 more; places 4, at least 4 needed",
		},
		{
			plan.Decision{Version: v, Why: plan.WhyJoined, Moves: []plan.Move{{Step: plan.Revoked}, {Step: plan.Rerouted}}, Strategy: &plan.Explanation{Moved: 2, BoundMoves: 2}},
			"plan v9 (joined): 1 asked back, 1 rearranged; moves 2, at least 2 needed",
		},
		{
			plan.Decision{Version: v, Why: plan.WhyReplaced, Strategy: &plan.Explanation{Moved: 2, Placed: 1, BoundMoves: 3}},
			"plan v9 (replaced): nothing to do; places 1 and moves 2, at least 3 needed",
		},
		{
			plan.Decision{Version: v, Why: plan.WhyReturn, Moves: []plan.Move{{Step: plan.Granted}}, Strategy: &plan.Explanation{Placed: 1, BoundMoves: 1}},
			"plan v9 (return): 1 granted, where they were before",
		},
	} {
		if got := describe(c.d); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
