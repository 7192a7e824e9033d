package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
	"github.com/parti-go/parti/internal/sim"
)

func newSimulate(s *Streams, g *global) *cobra.Command {
	t := &target{}
	var (
		since     string
		is, other []string
		seeds     int
		script    bool
	)
	cmd := &cobra.Command{
		Use:   "simulate [FILE]",
		Short: "Play a fleet in virtual time, also with other settings",
		Long: `Play what happened to a group, as far as its log of decisions tells, or a fleet that a file
describes: in virtual time, with the very code that workers run. With --set, once more with other
settings, side by side. --now says which settings the group has, where they are not the defaults:
no record tells. Long times in which nothing happened are cut short.

A file says one thing a line: how long it runs, the weights of partitions, the hosts, and what
happens to them. --script writes what is made of a group's history, to begin with:

  run 6m quiet 2m
  partitions 1 1 1 5
  host start=0s
  host start=0s capacity=100
  at 1m crash 1
  at 1m30s start 1

Settings are those of the configuration:

` + strings.Join(indented(settingNames()), "\n"),
		Example: `  parti simulate --group orders --since 48h --set scale_window=1m --set cooldown=30s
  parti simulate --group orders --script > fleet.txt
  parti simulate fleet.txt --set restart_grace=30s --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if seeds < 1 || seeds > maxSeeds {
				return usage(fmt.Errorf("--seeds %d: it is 1 to %d", seeds, maxSeeds), "parti simulate --seeds 3")
			}
			from, err := sinceWhen(since, time.Now())
			if err != nil {
				return usage(fmt.Errorf("--since %s: %w", since, err), "parti simulate --since 24h")
			}
			var sc *sim.Scenario
			if len(args) == 1 {
				sc, err = described(s, args[0])
			} else {
				sc, err = t.past(cmd.Context(), s, from)
			}
			if err != nil {
				return err
			}
			if err := change(&sc.Settings, "--now", is); err != nil {
				return err
			}
			if script {
				return writeLines(s.Out, strings.Split(strings.TrimRight(sc.Script(), "\n"), "\n"))
			}
			return compare(cmd.Context(), s, g, sc, other, seeds)
		},
	}
	t.flags(cmd, s)
	f := cmd.Flags()
	f.StringVar(&since, "since", "24h", "of the history, what happened since this `time`: 24h, or 2026-01-02T15:04:05Z")
	f.StringArrayVar(&is, "now", nil, "a setting as it is now, `name=value`; may be repeated")
	f.StringArrayVar(&other, "set", nil, "another setting to compare with, `name=value`; may be repeated")
	f.IntVar(&seeds, "seeds", 3, "how often it is played, each time with other chances")
	f.BoolVar(&script, "script", false, "write the description, and play nothing")
	for _, name := range []string{"now", "set"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(settingNames(), cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
	}
	return cmd
}

const maxSeeds = 100

// indented are words as lines of a help.
func indented(words []string) []string {
	lines := show.Wrap(strings.Join(words, ", ")+".", 90)
	for i := range lines {
		lines[i] = "  " + lines[i]
	}
	return lines
}

// described reads a file.
func described(s *Streams, path string) (*sim.Scenario, error) {
	in := s.In
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, usage(err, "parti simulate --help")
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	sc, err := sim.Parse(in)
	switch {
	case err != nil:
		return nil, usage(fmt.Errorf("%s: %w", path, err), "parti simulate --help")
	case len(sc.Weights) > replayMost:
		return nil, usage(fmt.Errorf("%s: it has %d partitions, and a simulation takes %d", path, len(sc.Weights), replayMost), "a sample of them")
	}
	return sc, nil
}

// past makes a scenario of the group's history, and says what it knows.
func (t *target) past(ctx context.Context, s *Streams, since time.Time) (*sim.Scenario, error) {
	var sc *sim.Scenario
	err := t.do(ctx, func(ctx context.Context, w *way) error {
		now, err := w.Snapshot(ctx)
		if err != nil {
			return err
		}
		decisions, err := w.decisions(ctx, admin.Query{Since: since})
		if err != nil {
			return err
		}
		slices.Reverse(decisions)
		var events int
		sc, events = replayed(now, decisions)
		if len(sc.Hosts) == 0 {
			return &Error{Code: Failed, What: fmt.Sprintf("group %q has no history", w.name), Why: errors.New("no worker has ever had a partition"), Try: "parti simulate FILE"}
		}
		fmt.Fprintf(s.Err, "Group %s: %s, %s, and %s in %s.\n", w.name, show.Plural(len(sc.Hosts), "worker"), show.Plural(len(sc.Weights), "partition"),
			show.Plural(events, "event"), show.Plural(len(decisions), "decision"))
		return nil
	})
	return sc, err
}

// A setting of a simulation, by its name in the configuration.
var simulated = []struct {
	name  string
	time  func(*sim.Settings) *time.Duration
	count func(*sim.Settings) *int
}{
	{name: "heartbeat_interval", time: func(s *sim.Settings) *time.Duration { return &s.Heartbeat }},
	{name: "session_ttl", time: func(s *sim.Settings) *time.Duration { return &s.TTL }},
	{name: "fence_margin", time: func(s *sim.Settings) *time.Duration { return &s.Margin }},
	{name: "lost_after", time: func(s *sim.Settings) *time.Duration { return &s.LostAfter }},
	{name: "leader_ttl", time: func(s *sim.Settings) *time.Duration { return &s.LeaderTTL }},
	{name: "probe_interval", time: func(s *sim.Settings) *time.Duration { return &s.Probe }},
	{name: "reconcile_interval", time: func(s *sim.Settings) *time.Duration { return &s.Reconcile }},
	{name: "settle_time", time: func(s *sim.Settings) *time.Duration { return &s.Settle }},
	{name: "cold_start_window", time: func(s *sim.Settings) *time.Duration { return &s.ColdStart }},
	{name: "scale_window", time: func(s *sim.Settings) *time.Duration { return &s.Scale }},
	{name: "cooldown", time: func(s *sim.Settings) *time.Duration { return &s.Cooldown }},
	{name: "emergency_grace", time: func(s *sim.Settings) *time.Duration { return &s.EmergencyGrace }},
	{name: "recovery_grace", time: func(s *sim.Settings) *time.Duration { return &s.RecoveryGrace }},
	{name: "restart_grace", time: func(s *sim.Settings) *time.Duration { return &s.RestartGrace }},
	{name: "drain_timeout", time: func(s *sim.Settings) *time.Duration { return &s.Drain }},
	{name: "expected_workers", count: func(s *sim.Settings) *int { return &s.Expected }},
	{name: "moves_in_flight", count: func(s *sim.Settings) *int { return &s.Moves }},
}

func settingNames() []string {
	names := make([]string, len(simulated))
	for i, s := range simulated {
		names[i] = s.name
	}
	return names
}

// change sets what flags say.
func change(s *sim.Settings, flag string, all []string) error {
	for _, one := range all {
		name, value, _ := strings.Cut(one, "=")
		i := slices.Index(settingNames(), name)
		if i < 0 {
			return usage(fmt.Errorf("%s %s: there is no such setting; %s", flag, one, meant(name, settingNames())), "parti simulate --help")
		}
		if of := simulated[i].count; of != nil {
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return usage(fmt.Errorf("%s %s: it is a number, 0 or more", flag, one), "parti simulate "+flag+" "+name+"=16")
			}
			*of(s) = n
			continue
		}
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return usage(fmt.Errorf("%s %s: it is a time, 0 or more", flag, one), "parti simulate "+flag+" "+name+"=10s")
		}
		*simulated[i].time(s) = d
	}
	return nil
}

// played is what some runs amounted to: counts are for one run on average.
type played struct {
	Plans    float64 `json:"plans"`    // that changed what somebody runs
	Moves    float64 `json:"moves"`    // partitions that changed hands
	Starts   float64 `json:"starts"`   // of handlers
	Lost     float64 `json:"lost"`     // workers that were declared lost
	Degraded float64 `json:"degraded"` // times that a worker was cut off
	Fenced   float64 `json:"fenced"`   // times that one stopped for that
	Writes   float64 `json:"writes"`   // to the store
	// BareMs is the longest that a partition was without a handler, in any run.
	BareMs int64 `json:"longest_bare_ms"`
	// Broken are promises that did not hold: a fault of Parti's, or of the settings.
	Broken []string `json:"broken,omitempty"`
}

// comparison is what simulate writes as JSON.
type comparison struct {
	Schema     int           `json:"schema"`
	Seeds      int           `json:"seeds"`
	Hosts      int           `json:"hosts"`
	Partitions int           `json:"partitions"`
	Virtual    time.Duration `json:"-"`
	VirtualMs  int64         `json:"virtual_ms"`
	Now        played        `json:"now"`
	Settings   []string      `json:"settings,omitempty"`
	With       *played       `json:"with,omitempty"`
}

// compare plays a scenario as it is and, if there are other settings, with these.
func compare(ctx context.Context, s *Streams, g *global, sc *sim.Scenario, other []string, seeds int) error {
	c := comparison{Schema: 1, Seeds: seeds, Hosts: len(sc.Hosts), Partitions: len(sc.Weights), Virtual: sc.Run + sc.Quiet, Settings: other}
	c.VirtualMs = c.Virtual.Milliseconds()
	with := sc.Settings
	if err := change(&with, "--set", other); err != nil {
		return err
	}
	var err error
	if c.Now, err = play(ctx, sc, seeds); err != nil {
		return err
	}
	if len(other) > 0 {
		sc.Settings = with
		p, err := play(ctx, sc, seeds)
		if err != nil {
			return err
		}
		c.With = &p
	}
	if g.json {
		return writeJSON(s.Out, c)
	}
	return writeLines(s.Out, simulateLines(c, s.look(g)))
}

// play plays it with seeds 1, 2, and so on.
func play(ctx context.Context, sc *sim.Scenario, seeds int) (played, error) {
	var p played
	for seed := range seeds {
		if ctx.Err() != nil {
			return p, &Error{Code: Failed, What: "interrupted"}
		}
		one := *sc
		one.Seed = uint64(seed) + 1
		one.Faults = slices.Clone(sc.Faults)
		r := sim.Run(&one, sim.Options{})
		p.Plans += float64(r.Stats.Sliced)
		p.Moves += float64(r.Stats.Moves)
		p.Starts += float64(r.Stats.Starts)
		p.Lost += float64(r.Stats.Lost)
		p.Degraded += float64(r.Stats.Degraded)
		p.Fenced += float64(r.Stats.Fenced)
		p.Writes += float64(r.Stats.Writes)
		p.BareMs = max(p.BareMs, r.Stats.MaxBare.Milliseconds())
		if r.Violation != nil {
			p.Broken = append(p.Broken, fmt.Sprintf("seed %d: %v", one.Seed, r.Violation))
		}
	}
	for _, n := range []*float64{&p.Plans, &p.Moves, &p.Starts, &p.Lost, &p.Degraded, &p.Fenced, &p.Writes} {
		*n /= float64(seeds)
	}
	return p, nil
}

// simulateLines are the screen of simulate.
func simulateLines(c comparison, look show.Look) []string {
	t := show.Table{Columns: []show.Column{{Name: "WHAT", Gives: true, Key: true}, {Name: "NOW", Right: true}}}
	if c.With != nil {
		t.Columns = append(t.Columns, show.Column{Name: "THEN", Right: true})
	}
	row := func(name string, of func(played) show.Cell) {
		cells := []show.Cell{show.Text(name), of(c.Now)}
		if c.With != nil {
			cells = append(cells, of(*c.With))
		}
		t.Row(cells...)
	}
	mean := func(of func(played) float64) func(played) show.Cell {
		return func(p played) show.Cell { return show.Both(strconv.FormatFloat(of(p), 'f', 1, 64), decimal(of(p))) }
	}
	row("plans that changed what somebody runs", mean(func(p played) float64 { return p.Plans }))
	row("partitions that changed hands", mean(func(p played) float64 { return p.Moves }))
	row("handlers started", mean(func(p played) float64 { return p.Starts }))
	row("longest without a handler", func(p played) show.Cell { return show.Took(time.Duration(p.BareMs) * time.Millisecond) })
	row("workers declared lost", mean(func(p played) float64 { return p.Lost }))
	row("times that a worker was cut off", mean(func(p played) float64 { return p.Degraded }))
	row("times that one stopped for that", mean(func(p played) float64 { return p.Fenced }))
	row("writes to the store", mean(func(p played) float64 { return p.Writes }))
	var lines []string
	say := func(word, text string, paint func(string) string) {
		if look.Plain {
			lines = append(lines, word+"\t"+text)
			return
		}
		for _, line := range show.Wrap(text, look.Width) {
			lines = append(lines, paint(look.Cut(line, look.Width)))
		}
	}
	head := fmt.Sprintf("%s and %s through %s, %s.", show.Plural(c.Hosts, "worker"), show.Plural(c.Partitions, "partition"), admin.Duration(c.Virtual), show.Plural(c.Seeds, "time"))
	if len(c.Settings) > 0 {
		head += " Then: " + strings.Join(c.Settings, ", ") + "."
	}
	say("sentence", head, look.Paint.Bold)
	broken := c.Now.Broken
	if c.With != nil {
		broken = slices.Concat(broken, c.With.Broken)
	}
	for _, text := range broken {
		say("broken", "A promise was broken, "+text+".", look.Paint.Red)
	}
	if !look.Plain {
		lines = append(lines, "")
	}
	return append(lines, t.Lines(look)...)
}
