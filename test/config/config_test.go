// Package config_test loads parti.Config as programs do, with libraries that the
// core does not depend on.
package config_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"go.yaml.in/yaml/v4"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/partitest"
	"github.com/parti-go/parti/source"
)

// A program's own configuration has Parti's as a part.
type program struct {
	Listen string       `yaml:"listen" env:"LISTEN"`
	Parti  parti.Config `yaml:"parti" envPrefix:"PARTI_"`
}

const full = `
listen: ":8080"
parti:
  worker_id_prefix: tool
  max_workers: 64
  identity: tool-3
  software: "1.2"
  share: 2
  capacity: 100
  zone: b
  labels: {rack: "12", line: a}
  heartbeat_interval: 2s
  session_ttl: 20s
  lost_after: 8s
  leader_ttl: 14s
  probe_interval: 250ms
  reconcile_interval: 4s
  fence_margin: 3s
  settle_time: 1s
  cold_start_window: 40s
  scale_window: 15s
  expected_workers: 12
  cooldown: -1ns
  emergency_grace: 1500ms
  stuck_after: 2m
  max_freeze: 1h
  moves_in_flight: 8
  restart_grace: 20s
  drain_timeout: 45s
  recovery_grace: 25s
  isolation: freeze
  degraded: {enter_after: 11s, exit_after: 6s, error_threshold: 7, error_window: 31s}
  alerts: {info: 1m, warn: 3m, error: 6m, critical: 12m, interval: 2m}
  refresh_interval: 1h
`

var want = parti.Config{
	WorkerIDPrefix: "tool", MaxWorkers: 64, Identity: "tool-3", Software: "1.2", Share: 2, Capacity: 100, Zone: "b",
	Labels:            map[string]string{"rack": "12", "line": "a"},
	HeartbeatInterval: 2 * time.Second, SessionTTL: 20 * time.Second, LostAfter: 8 * time.Second, LeaderTTL: 14 * time.Second,
	ProbeInterval: 250 * time.Millisecond, ReconcileInterval: 4 * time.Second, FenceMargin: 3 * time.Second,
	SettleTime: time.Second, ColdStartWindow: 40 * time.Second, ScaleWindow: 15 * time.Second, ExpectedWorkers: 12, Cooldown: -1,
	EmergencyGrace: 1500 * time.Millisecond, StuckAfter: 2 * time.Minute, MaxFreeze: time.Hour, MovesInFlight: 8,
	RestartGrace: 20 * time.Second, DrainTimeout: 45 * time.Second, RecoveryGrace: 25 * time.Second, Isolation: parti.Freeze,
	Degraded:        parti.Degraded{EnterAfter: 11 * time.Second, ExitAfter: 6 * time.Second, ErrorThreshold: 7, ErrorWindow: 31 * time.Second},
	Alerts:          parti.Alerts{Info: time.Minute, Warn: 3 * time.Minute, Error: 6 * time.Minute, Critical: 12 * time.Minute, Interval: 2 * time.Minute},
	RefreshInterval: time.Hour,
}

// everyField fails when a field of want is zero, but for the one whose zero value
// has a name: a field that is added must be loaded here, too.
func everyField(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	for f, value := range v.Fields() {
		switch {
		case f.Name == "Isolation":
		case value.IsZero():
			t.Errorf("%s%s is not loaded by this test", path, f.Name)
		case f.Type.Kind() == reflect.Struct:
			everyField(t, value, f.Name+".")
		}
	}
}

func TestYAML(t *testing.T) {
	everyField(t, reflect.ValueOf(want), "")
	var p program
	if err := yaml.Load([]byte(full), &p, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p.Parti, want) {
		t.Errorf("got  %+v\nwant %+v", p.Parti, want)
	}
	if err := valid(p.Parti); err != nil {
		t.Error(err)
	}

	back, err := yaml.Dump(p)
	if err != nil {
		t.Fatal(err)
	}
	var again program
	if err := yaml.Load(back, &again, yaml.WithKnownFields()); err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("%v: it does not come back from\n%s", err, back)
	}
}

func TestYAMLFence(t *testing.T) {
	var p program
	if err := yaml.Load([]byte("parti: {isolation: fence}"), &p, yaml.WithKnownFields()); err != nil || p.Parti.Isolation != parti.Fence {
		t.Errorf("%v, %v", p.Parti.Isolation, err)
	}
}

func valid(c parti.Config) error {
	_, err := parti.NewManager(partitest.NewStore(), source.Static(), nil, c)
	return err
}

// What cannot be read at all, the library says; what was read and will not do,
// NewManager says. Either says all of it at once.
func TestYAMLMistakes(t *testing.T) {
	var p program
	err := yaml.Load([]byte("parti:\n  session_ttl: soon\n  isolation: maybe\n  sesion_ttl: 3s\n"), &p, yaml.WithKnownFields())
	for _, part := range []string{"line 2", "soon", `unknown isolation "maybe"; there are ["freeze" "fence"]`, "sesion_ttl"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
	p = program{}
	if err := yaml.Load([]byte("parti: {session_ttl: 1500ms, share: -1}"), &p, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	err = valid(p.Parti)
	for _, part := range []string{"SessionTTL is 1.5s", "Share is -1"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
}

func TestEnv(t *testing.T) {
	var p program
	err := env.ParseWithOptions(&p, env.Options{Environment: map[string]string{
		"LISTEN":                         ":8080",
		"PARTI_WORKER_ID_PREFIX":         "tool",
		"PARTI_MAX_WORKERS":              "64",
		"PARTI_IDENTITY":                 "tool-3",
		"PARTI_SOFTWARE":                 "1.2",
		"PARTI_SHARE":                    "2",
		"PARTI_CAPACITY":                 "100",
		"PARTI_ZONE":                     "b",
		"PARTI_LABELS":                   "rack:12,line:a",
		"PARTI_HEARTBEAT_INTERVAL":       "2s",
		"PARTI_SESSION_TTL":              "20s",
		"PARTI_LOST_AFTER":               "8s",
		"PARTI_LEADER_TTL":               "14s",
		"PARTI_PROBE_INTERVAL":           "250ms",
		"PARTI_RECONCILE_INTERVAL":       "4s",
		"PARTI_FENCE_MARGIN":             "3s",
		"PARTI_SETTLE_TIME":              "1s",
		"PARTI_COLD_START_WINDOW":        "40s",
		"PARTI_SCALE_WINDOW":             "15s",
		"PARTI_EXPECTED_WORKERS":         "12",
		"PARTI_COOLDOWN":                 "-1ns",
		"PARTI_EMERGENCY_GRACE":          "1500ms",
		"PARTI_STUCK_AFTER":              "2m",
		"PARTI_MAX_FREEZE":               "1h",
		"PARTI_MOVES_IN_FLIGHT":          "8",
		"PARTI_RESTART_GRACE":            "20s",
		"PARTI_DRAIN_TIMEOUT":            "45s",
		"PARTI_RECOVERY_GRACE":           "25s",
		"PARTI_ISOLATION":                "freeze",
		"PARTI_DEGRADED_ENTER_AFTER":     "11s",
		"PARTI_DEGRADED_EXIT_AFTER":      "6s",
		"PARTI_DEGRADED_ERROR_THRESHOLD": "7",
		"PARTI_DEGRADED_ERROR_WINDOW":    "31s",
		"PARTI_ALERTS_INFO":              "1m",
		"PARTI_ALERTS_WARN":              "3m",
		"PARTI_ALERTS_ERROR":             "6m",
		"PARTI_ALERTS_CRITICAL":          "12m",
		"PARTI_ALERTS_INTERVAL":          "2m",
		"PARTI_REFRESH_INTERVAL":         "1h",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p.Parti, want) {
		t.Errorf("got  %+v\nwant %+v", p.Parti, want)
	}
}

// The environment over a file: what is not set there stays.
func TestEnvOverYAML(t *testing.T) {
	var p program
	if err := yaml.Load([]byte(full), &p, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	if err := env.ParseWithOptions(&p, env.Options{Environment: map[string]string{"PARTI_SHARE": "9", "PARTI_ISOLATION": "fence"}}); err != nil {
		t.Fatal(err)
	}
	over := want
	over.Share, over.Isolation = 9, parti.Fence
	if !reflect.DeepEqual(p.Parti, over) {
		t.Errorf("got  %+v\nwant %+v", p.Parti, over)
	}
}

func TestEnvMistakes(t *testing.T) {
	var p program
	err := env.ParseWithOptions(&p, env.Options{Environment: map[string]string{"PARTI_SESSION_TTL": "soon", "PARTI_ISOLATION": "maybe", "PARTI_SHARE": "x"}})
	var all env.AggregateError
	if !errors.As(err, &all) || len(all.Errors) != 3 {
		t.Errorf("%v", err)
	}
	for _, part := range []string{"SessionTTL", "Isolation", "maybe", "Share"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
}
