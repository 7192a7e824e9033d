package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/pflag"

	"github.com/parti-go/parti"
)

func TestRunUsage(t *testing.T) {
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		args string
		says string
	}{
		{"--group g", "no command is given"},
		{"-- true", "no group is named"},
		{"--group a.b -- true", `group "a.b": a name is letters, digits, - and _`},
		{"--group g -- no-such-program", "no program to run"},
		{"--group g --partitions 0 -- true", "--partitions 0: it is 1 to 1000000, or a file"},
		{"--group g --partitions /nowhere -- true", "--partitions /nowhere: "},
		{"--group g --isolation melt -- true", "--isolation: "},
		{"--group g --reject-code 256 -- true", "--reject-code 256: it is 1 to 255"},
		{"--group g --reject-code 0 -- true", "--reject-code 0: it is 1 to 255"},
		{"--group g --embedded-dir /tmp -- true", "--embedded-dir: it goes with --embedded"},
		{"--group g --embedded --nats nats://x -- true", "--nats: --embedded brings its own server"},
		{"--group g --config /nowhere -- true", "--config: open /nowhere"},
		{"--group g --config " + file("a.yaml", "session_tl: 3s\n") + " -- true", "session_tl"},
		{"--group g --config " + file("b.yaml", "session_ttl: many\n") + " -- true", "time.Duration"},
		{"--group g --drain-timeout soon -- true", `invalid argument "soon"`},
	} {
		code, out, talk := try(t.Context(), nil, append([]string{"run"}, strings.Fields(c.args)...)...)
		if out != "" || code != Usage || !strings.Contains(talk, c.says) || !strings.Contains(talk, "try: ") {
			t.Errorf("%s: exit code %d: %s%s", c.args, code, out, talk)
		}
	}
}

// Flags come before the environment, and that before the file; what none of them says is
// left to the library.
func TestRunSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("share: 2\ncapacity: 9\nisolation: fence\nlabels: {a: b}\nstuck_after: 5s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var f runFlags
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.add(flags)
	if err := flags.Parse([]string{"--config", path}); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{}
	env := func(name string) string { return vars[name] }
	want := parti.Config{Share: 2, Capacity: 9, Isolation: parti.Fence, Labels: map[string]string{"a": "b"}, StuckAfter: 5 * time.Second}
	if got, err := f.settings(flags, env); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the file alone: %+v, %v", got, err)
	}
	vars["PARTI_SHARE"], vars["PARTI_ZONE"], vars["PARTI_DEGRADED_ENTER_AFTER"], vars["PARTI_ISOLATION"] = "8", "south", "7s", "freeze"
	vars["PARTI_LABELS"], vars["PARTI_WORKER"], vars["PARTI_GROUP"], vars["ZONE"] = "c:d,e:f", "ours", "ours", "theirs"
	want = parti.Config{
		Share: 8, Capacity: 9, Zone: "south", Labels: map[string]string{"c": "d", "e": "f"}, StuckAfter: 5 * time.Second,
		Degraded: parti.Degraded{EnterAfter: 7 * time.Second},
	}
	if got, err := f.settings(flags, env); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with the environment: %+v, %v", got, err)
	}
	vars["PARTI_SESSION_TTL"] = "long"
	if _, err := f.settings(flags, env); err == nil || !strings.HasPrefix(err.Error(), "PARTI_SESSION_TTL=long in the environment: ") {
		t.Errorf("%v", err)
	}
	delete(vars, "PARTI_SESSION_TTL")
	if err := flags.Parse([]string{
		"--max", "7", "--share", "3", "--label", "x=y", "--label", "z=1", "--identity", "me", "--worker-prefix", "w", "--zone", "north",
		"--drain-timeout", "3s", "--session-ttl", "4s", "--expected-workers", "5", "--restart-grace", "6s", "--isolation", "freeze",
	}); err != nil {
		t.Fatal(err)
	}
	want = parti.Config{
		Share: 3, Capacity: 7, Labels: map[string]string{"x": "y", "z": "1"}, StuckAfter: 5 * time.Second,
		Identity: "me", WorkerIDPrefix: "w", Zone: "north", DrainTimeout: 3 * time.Second, SessionTTL: 4 * time.Second,
		ExpectedWorkers: 5, RestartGrace: 6 * time.Second, Degraded: parti.Degraded{EnterAfter: 7 * time.Second},
	}
	if got, err := f.settings(flags, env); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with flags: %+v, %v", got, err)
	}
}

// A group whose name is none makes nothing, also not beside the directory of its server.
func TestRunEmbeddedGroup(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"XDG_STATE_HOME": filepath.Join(dir, "state")}
	code, out, talk := try(t.Context(), env, "run", "--group", "../x", "--embedded", "--", "true")
	if code != Usage || !strings.Contains(talk, `group "../x": a name is `) {
		t.Errorf("exit code %d: %s%s", code, out, talk)
	}
	if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
		t.Errorf("it makes %v, %v", made, err)
	}
}

// The group may be named by the environment; a flag comes before it.
func TestRunGroup(t *testing.T) {
	env := map[string]string{"PARTI_GROUP": "ours"}
	for group, args := range map[string][]string{
		"ours":   {"run"},
		"theirs": {"run", "--group", "theirs"},
	} {
		url := serve(t, server.Options{}).ClientURL()
		args = append(args, "--nats", url, "--config", put(t, filepath.Join(t.TempDir(), "c.yaml"), "session_ttl: 1ns"), "--", "true")
		if code, _, talk := try(t.Context(), env, args...); code != Usage || !strings.Contains(talk, "SessionTTL") {
			t.Errorf("exit code %d: %s", code, talk)
		}
		if code, out, talk := try(t.Context(), nil, "status", "--nats", url); code != Done || !strings.Contains(out, "group\t"+group+",") {
			t.Errorf("exit code %d: %s%s", code, out, talk)
		}
	}
}

// A variable that is nearly called as a setting is one that was meant: it is said, once,
// and everything goes on.
func TestRunMistyped(t *testing.T) {
	env := map[string]string{
		"PARTI_SESION_TTL": "3s", "PARTI_HEARTBEAT_INTERAVL": "1s", "parti_zone": "a", "PARTI_SHARES": "2", "PARTI_DEGRADED_ENTERAFTER": "7s",
		"PARTI_ZONE": "b", "PARTI_WORKER": "w", "PARTI_TOKEN": "7", "PARTI_GROUP": "g", "PARTI_WEIGHT": "1", "PARTI_PARTITION": "p", "PARTI_CONSOLE_TOKEN": "t",
		"PARTI_LABEL_S": "x", "PARTI_LABELS": "a:b", "PARTI_MINE": "x", "PARTI_CAPACTY": "", "PARTY_ZONE": "x", "HOME": t.TempDir(),
	}
	code, out, talk := try(t.Context(), env, "run", "--nats", "nats://127.0.0.1:1", "--", "true")
	var said []string
	for line := range strings.Lines(talk) {
		if strings.Contains(line, "in the environment") {
			said = append(said, strings.TrimSpace(line))
		}
	}
	want := []string{
		"parti: PARTI_DEGRADED_ENTERAFTER in the environment is no setting, and changes nothing; did you mean PARTI_DEGRADED_ENTER_AFTER?",
		"parti: PARTI_HEARTBEAT_INTERAVL in the environment is no setting, and changes nothing; did you mean PARTI_HEARTBEAT_INTERVAL?",
		"parti: PARTI_SESION_TTL in the environment is no setting, and changes nothing; did you mean PARTI_SESSION_TTL?",
		"parti: PARTI_SHARES in the environment is no setting, and changes nothing; did you mean PARTI_SHARE?",
		"parti: parti_zone in the environment is no setting, and changes nothing; did you mean PARTI_ZONE?",
	}
	if code != Failed || out != "" || !slices.Equal(said, want) {
		t.Errorf("exit code %d: %s%s", code, out, talk)
	}
	_, _, talk = try(t.Context(), env, "run", "--json", "--nats", "nats://127.0.0.1:1", "--", "true")
	if !strings.Contains(talk, `"event":"warning"`) {
		t.Error(talk)
	}
}

func TestRunNoServer(t *testing.T) {
	code, _, talk := try(t.Context(), nil, "run", "--group", "g", "--nats", "nats://127.0.0.1:1", "--", "true")
	if code != Failed || !strings.Contains(talk, "cannot connect to nats://127.0.0.1:1") || !strings.Contains(talk, "try: ") {
		t.Errorf("exit code %d: %s", code, talk)
	}
}

func TestGuardianIsNotForPeople(t *testing.T) {
	_, help, _ := try(t.Context(), nil, "--help")
	if strings.Contains(help, "guardian") {
		t.Error("it is in the help")
	}
}
