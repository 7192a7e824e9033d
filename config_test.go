package parti

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/strategy"
)

func TestZeroConfigIsGood(t *testing.T) {
	c := withDefaults(Config{})
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range []Isolation{Freeze, Fence} {
		c.Isolation = isolation
		if w := c.warnings(); w != nil {
			t.Errorf("under %v: %q", isolation, w)
		}
	}
}

// What a default is, in the words of the comment beside the field, is held here.
func TestDefaults(t *testing.T) {
	got := withDefaults(Config{Software: "v1"})
	want := Config{
		WorkerIDPrefix: "worker", MaxWorkers: 256, Software: "v1", Share: 1,
		HeartbeatInterval: time.Second, SessionTTL: 15 * time.Second, LostAfter: 6 * time.Second,
		LeaderTTL: 12 * time.Second, ProbeInterval: 500 * time.Millisecond, ReconcileInterval: 5 * time.Second,
		FenceMargin: 1875 * time.Millisecond, SettleTime: 2 * time.Second, ColdStartWindow: 30 * time.Second,
		ScaleWindow: 10 * time.Second, Cooldown: 10 * time.Second, EmergencyGrace: time.Second,
		StuckAfter: time.Minute, MovesInFlight: 16, DrainTimeout: 30 * time.Second, RecoveryGrace: 15 * time.Second,
		Degraded: Degraded{EnterAfter: 10 * time.Second, ExitAfter: 5 * time.Second, ErrorThreshold: 5, ErrorWindow: 30 * time.Second},
		Alerts:   Alerts{Info: 30 * time.Second, Warn: 2 * time.Minute, Error: 5 * time.Minute, Critical: 10 * time.Minute, Interval: time.Minute},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if withDefaults(got).Cooldown != got.Cooldown {
		t.Error("a second time changes something")
	}
}

func TestDerivedDefaults(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Config
		get  func(Config) time.Duration
		want time.Duration
	}{
		{"FenceMargin", Config{SessionTTL: 40 * time.Second}, func(c Config) time.Duration { return c.FenceMargin }, 5 * time.Second},
		{"LostAfter", Config{HeartbeatInterval: 3 * time.Second}, func(c Config) time.Duration { return c.LostAfter }, 9 * time.Second},
		{"LeaderTTL", Config{HeartbeatInterval: 4500 * time.Millisecond}, func(c Config) time.Duration { return c.LeaderTTL }, 14 * time.Second},
		{"ColdStartWindow", Config{SettleTime: time.Minute}, func(c Config) time.Duration { return c.ColdStartWindow }, time.Minute},
		{"ScaleWindow", Config{SettleTime: time.Minute}, func(c Config) time.Duration { return c.ScaleWindow }, time.Minute},
		{"Cooldown", Config{Cooldown: -1}, func(c Config) time.Duration { return c.Cooldown }, 0},
	} {
		if got := c.get(withDefaults(c.in)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestPresetsAreValid(t *testing.T) {
	degraded := []Degraded{DegradedConservative(), DegradedBalanced(), DegradedAggressive()}
	alerts := []Alerts{AlertsConservative(), AlertsBalanced(), AlertsAggressive()}
	for i := range degraded {
		c := withDefaults(Config{Degraded: degraded[i], Alerts: alerts[i]})
		if err := c.check(); err != nil {
			t.Error(err)
		}
		if c.Degraded != degraded[i] || c.Alerts != alerts[i] {
			t.Errorf("preset %d leaves something to the defaults", i)
		}
		if i > 0 && (degraded[i].EnterAfter >= degraded[i-1].EnterAfter || alerts[i].Critical >= alerts[i-1].Critical) {
			t.Errorf("preset %d is not more aggressive than the one before", i)
		}
	}
}

func TestEveryMistakeIsReported(t *testing.T) {
	bad := Config{
		WorkerIDPrefix: "a.b", MaxWorkers: -1, Identity: "two\nlines", Share: -2, Capacity: -1, Zone: strings.Repeat("z", 201),
		Labels:            map[string]string{"": "x", "k": "\x00"},
		HeartbeatInterval: 20 * time.Second, SessionTTL: 1500 * time.Millisecond, LostAfter: time.Second, LeaderTTL: 1500 * time.Millisecond,
		ProbeInterval: time.Microsecond, ReconcileInterval: -1, FenceMargin: time.Hour,
		SettleTime: 20 * time.Second, ColdStartWindow: time.Second, ScaleWindow: time.Second, ExpectedWorkers: 3,
		EmergencyGrace: -1, StuckAfter: -1, MaxFreeze: time.Second, MovesInFlight: -1, RestartGrace: -1, DrainTimeout: -1,
		RecoveryGrace: -1, Isolation: 7, RefreshInterval: 1,
		Degraded: Degraded{EnterAfter: -1, ExitAfter: -1, ErrorThreshold: -1, ErrorWindow: -1},
		Alerts:   Alerts{Info: -1, Warn: time.Hour, Error: time.Minute, Critical: time.Second, Interval: time.Millisecond},
	}
	_, err := NewManager(nil, nil, nil, bad, WithStrategy(strategy.Sticky(strategy.Tolerance(-3))))
	const want = `
parti: store is "nil"; it must be a store, such as natskv.Open returns
parti: handler is "nil"; it must be a Handler, or else there must be a source: a worker with neither does nothing
strategy: Tolerance(-3) is out of range: use 1 to 500
parti: WorkerIDPrefix is "a.b"; it must be 1 to 64 letters, digits, "-" and "_"
parti: MaxWorkers is -1; it must be from 1 to 65536
parti: Identity is "two\nlines"; it must be at most 200 bytes of printable text
parti: Share is -2; it must be from 1 to 1000000
parti: Capacity is -1; it must be 0 for no limit, or more
parti: Zone is "ZZZ"; it must be at most 200 bytes of printable text
parti: Labels is ""; it must be named by 1 to 200 bytes of printable text
parti: Labels[k] is "\x00"; it must be at most 200 bytes of printable text
parti: SessionTTL is 1.5s; it must be whole seconds from 2s to 10m
parti: LostAfter is 1s; it must be at least three times HeartbeatInterval (1m0s)
parti: LeaderTTL is 1.5s; it must be whole seconds, at least 2s and three times HeartbeatInterval (1m0s)
parti: ProbeInterval is 1µs; it must be at least 50ms
parti: ReconcileInterval is -1ns; it must be at least 100ms
parti: ColdStartWindow is 1s; it must be at least SettleTime (20s)
parti: ScaleWindow is 1s; it must be at least SettleTime (20s)
parti: EmergencyGrace is -1ns; it must be at least 1ms
parti: StuckAfter is -1ns; it must be at least 1ms
parti: MovesInFlight is -1; it must be from 1 to 65536
parti: RestartGrace is -1ns; it must be 0 for none, or at least 1ms
parti: DrainTimeout is -1ns; it must be at least 1ms
parti: RecoveryGrace is -1ns; it must be at least 1ms
parti: RefreshInterval is 1ns; it must be 0 for never, or at least 100ms
parti: Isolation is Isolation(7); it must be freeze or fence
parti: Degraded.EnterAfter is -1ns; it must be at least 1ms
parti: Degraded.ExitAfter is -1ns; it must be at least 1ms
parti: Degraded.ErrorThreshold is -1; it must be from 1 to 10000
parti: Degraded.ErrorWindow is -1ns; it must be at least 1ms
parti: Alerts.Info is -1ns; it must be at least 1ms
parti: Alerts.Error is 1m0s; it must be above Alerts.Warn (1h0m0s)
parti: Alerts.Critical is 1s; it must be above Alerts.Error (1m0s)
parti: Alerts.Interval is 1ms; it must be at least 1s`
	got := "\n" + strings.ReplaceAll(err.Error(), strings.Repeat("z", 201), "ZZZ")
	if got != want {
		t.Errorf("got:%s\n\nwant:%s", got, want)
	}
	var one *ConfigError
	if !errors.As(err, &one) || one.Field != "store" {
		t.Errorf("the first is %+v", one)
	}
}

func TestMistakesThatExcludeEachOther(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{SessionTTL: 9 * time.Second, HeartbeatInterval: 4 * time.Second}, "HeartbeatInterval is 4s; it must be from 50ms to a third of SessionTTL (3s)"},
		{Config{FenceMargin: time.Hour}, "FenceMargin is 1h0m0s; it must be from 10ms to half of SessionTTL (7.5s)"},
		{Config{ExpectedWorkers: 300}, "ExpectedWorkers is 300; it must be from 0 to 256"},
		{Config{Isolation: Fence, MaxFreeze: time.Hour}, "MaxFreeze is 1h0m0s; it must be 0 under Isolation fence"},
		{Config{MaxFreeze: time.Second}, "MaxFreeze is 1s; it must be 0 for no limit, or at least SessionTTL"},
		{Config{SessionTTL: 3 * time.Second, FenceMargin: 1200 * time.Millisecond}, "SessionTTL is 3s; it must be above FenceMargin and two HeartbeatIntervals (3.2s)"},
		{Config{HeartbeatInterval: 3 * time.Second, Degraded: DegradedAggressive()}, "Degraded.EnterAfter is 3s; it must be at least three times HeartbeatInterval, or ReconcileInterval if that is less (9s)"},
		{Config{RestartGrace: 1, Cooldown: 1}, "RestartGrace is 1ns; it must be 0 for none, or at least 1ms\nparti: Cooldown is 1ns; it must be negative for none, or at least 1ms"},
		{Config{Labels: many(33)}, "Labels is \"33 labels\""},
	} {
		full := withDefaults(c.cfg)
		if err := full.check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func many(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[strings.Repeat("x", i+1)] = ""
	}
	return all
}

// Every field is checked or cannot be wrong, has a comment, and the tags that load
// it. A field that is added must be added here, too.
func TestEveryFieldHasTags(t *testing.T) {
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for f := range typ.Fields() {
			yaml, env := f.Tag.Get("yaml"), f.Tag.Get("env")+f.Tag.Get("envPrefix")
			if snake(f.Name) != yaml || strings.ToUpper(yaml) != strings.TrimSuffix(env, "_") {
				t.Errorf("%s%s: tags %q and %q", path, f.Name, yaml, env)
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, f.Name+".")
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
}

func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	upper := func(i int) bool { return i >= 0 && i < len(runes) && runes[i] >= 'A' && runes[i] <= 'Z' }
	for i, r := range runes {
		if i > 0 && upper(i) && (!upper(i-1) || i+1 < len(runes) && !upper(i+1)) {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

func TestWarning(t *testing.T) {
	server := memkv.New()
	defer server.Close()
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Isolation: Fence, SessionTTL: 10 * time.Second}, "raise SessionTTL to 14s"},
		{Config{Isolation: Freeze, SessionTTL: 10 * time.Second}, ""},
		{Config{Isolation: Fence, SessionTTL: 14 * time.Second}, ""},
	} {
		var log bytes.Buffer
		_, err := NewManager(server.Client("a"), source.Static(), nil, c.cfg, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if err != nil {
			t.Error(err)
		}
		if got := log.String(); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("logged %q, want %q", got, c.want)
		}
	}
}

func TestArguments(t *testing.T) {
	server := memkv.New()
	defer server.Close()
	store := server.Client("a")
	for want, err := range map[string]error{
		"a nil parti.HandlerFunc": second(NewManager(store, source.Static(), HandlerFunc(nil), Config{})),
		"without a handler":       second(NewManager(store, source.Static(), HandlerFunc(wait), Config{}, WithLogger(new(slog.Logger)))),
		"a nil source.Func":       second(NewManager(store, source.Func(nil), HandlerFunc(wait), Config{})),
		"store":                   second(NewManager((*memkv.Client)(nil), nil, HandlerFunc(wait), Config{})),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := NewManager(store, nil, HandlerFunc(wait), Config{}, nil, WithLogger(nil), WithStrategy(nil), WithObserver(nil)); err != nil {
		t.Error(err)
	}
}

func second(_ *Manager, err error) error { return err }

// The public words are those that the inner ones become.
func TestWordsAgree(t *testing.T) {
	inner := map[member.State]State{
		member.Init: StateInit, member.ClaimingID: StateClaimingID, member.WaitingAssignment: StateWaitingAssignment,
		member.Stable: StateStable, member.Degraded: StateDegraded, member.Fenced: StateFenced,
		member.ShuttingDown: StateShuttingDown, member.Stopped: StateStopped,
	}
	for in, want := range inner {
		if got := stateOf(in); got != want {
			t.Errorf("member state %d is %v, want %v", in, got, want)
		}
	}
	for s := range State(len(stateWords)) {
		text, _ := s.MarshalText()
		var back State
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%v comes back as %v, %v", s, back, err)
		}
	}
	for l := range AlertLevel(len(alertWords)) {
		text, _ := l.MarshalText()
		var back AlertLevel
		if err := back.UnmarshalText(text); err != nil || back != l {
			t.Errorf("%v comes back as %v, %v", l, back, err)
		}
	}
	var i Isolation
	if err := i.UnmarshalText([]byte("fence")); err != nil || i != Fence {
		t.Error(i, err)
	}
	if err := i.UnmarshalText([]byte("Fence")); err == nil || err.Error() != `parti: unknown isolation "Fence"; there are ["freeze" "fence"]` {
		t.Error(err)
	}
	if State(99).String()+Isolation(99).String()+AlertLevel(99).String() != "State(99)Isolation(99)AlertLevel(99)" {
		t.Error("words of what is no word")
	}
	if !slices.Equal([]string{"info", "warn", "error", "critical"}, alertWords[:]) {
		t.Error(alertWords)
	}
}

// One mistake hides no other, and no sum of durations overflows.
func TestAMistakeHidesNoOther(t *testing.T) {
	store := memkv.New()
	defer store.Close()
	report := func(cfg Config) string {
		_, err := NewManager(store.Client("x"), nil, HandlerFunc(wait), cfg)
		return fmt.Sprint(err)
	}
	for _, c := range []struct {
		cfg    Config
		fields []string
	}{
		{
			Config{
				SessionTTL: 1500 * time.Millisecond, HeartbeatInterval: -time.Second, FenceMargin: -time.Second,
				LeaderTTL: 1500 * time.Millisecond, MaxWorkers: -1, ExpectedWorkers: -5,
			},
			[]string{"SessionTTL", "HeartbeatInterval", "FenceMargin", "LeaderTTL", "MaxWorkers", "ExpectedWorkers"},
		},
		{
			Config{
				DrainTimeout: math.MaxInt64, RestartGrace: math.MaxInt64, LostAfter: math.MaxInt64,
				ScaleWindow: math.MaxInt64, ColdStartWindow: math.MaxInt64, MaxFreeze: math.MaxInt64,
			},
			[]string{"DrainTimeout", "RestartGrace", "LostAfter", "ScaleWindow", "ColdStartWindow", "MaxFreeze"},
		},
	} {
		got := report(c.cfg)
		for _, field := range c.fields {
			if !strings.Contains(got, "parti: "+field+" is ") {
				t.Errorf("%s is not reported in:\n%s", field, got)
			}
		}
		if n := strings.Count(got, "parti: "); n != len(c.fields) {
			t.Errorf("%d mistakes are reported, and %d were made:\n%s", n, len(c.fields), got)
		}
	}
}

// What is slow to answer by its own settings is not degraded for that.
func TestDegradedFollowsTheIntervals(t *testing.T) {
	c := withDefaults(Config{SessionTTL: time.Minute, HeartbeatInterval: 15 * time.Second, ReconcileInterval: 30 * time.Second})
	if err := c.check(); err != nil || c.Degraded.EnterAfter != 45*time.Second {
		t.Errorf("%v, %v", c.Degraded.EnterAfter, err)
	}
}
