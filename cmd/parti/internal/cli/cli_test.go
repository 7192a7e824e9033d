package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/cmd/parti/internal/demo"
	"github.com/parti-go/parti/internal/kv"
)

// try runs one command line off a terminal.
func try(ctx context.Context, env map[string]string, args ...string) (code Code, out, talk string) {
	var o, e bytes.Buffer
	environ := func() (all []string) {
		for k, v := range env {
			all = append(all, k+"="+v)
		}
		return all
	}
	code = Run(ctx, args, &Streams{In: strings.NewReader(""), Out: &o, Err: &e, Env: func(k string) string { return env[k] }, Environ: environ})
	return code, o.String(), e.String()
}

func TestExitCodes(t *testing.T) {
	want := []struct {
		code Code
		is   int
		word string
	}{
		{Done, 0, "done"},
		{Failed, 1, "failed"},
		{Usage, 2, "command line"},
		{NotFound, 3, "no such group"},
		{Forbidden, 4, "not permitted"},
		{TimedOut, 5, "timed out"},
	}
	_, help, _ := try(t.Context(), nil, "demo", "--help")
	if len(codes) != len(want) {
		t.Fatalf("there are %d exit codes, not %d", len(codes), len(want))
	}
	for i, w := range want {
		if int(w.code) != w.is {
			t.Errorf("%s is %d, not %d", w.word, w.code, w.is)
		}
		line := fmt.Sprintf("  %d  %s\n", codes[i].code, codes[i].says)
		if !strings.Contains(codes[i].says, w.word) || !strings.Contains(help, line) {
			t.Errorf("the help does not say that %d is %q:\n%s", w.is, w.word, help)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
		try  string
	}{
		{nil, "no command is given", "try: parti demo"},
		{[]string{"dmo"}, `unknown command "dmo"`, "try: parti --help"},
		{[]string{"version", "now"}, `unknown command "now"`, "try: parti version --help"},
		{[]string{"demo", "now"}, `unknown command "now"`, "try: parti demo --help"},
		{[]string{"demo", "--worker", "3"}, "unknown flag: --worker", "try: parti demo --help"},
		{[]string{"demo", "--workers", "many"}, `invalid argument "many"`, "try: parti demo --help"},
		{[]string{"demo", "--workers", "2"}, "--workers 2: it is 3 to 32", "try: parti demo --help"},
		{[]string{"demo", "--workers", "33"}, "--workers 33: it is 3 to 32", "try: parti demo --help"},
		{[]string{"demo", "--partitions", "4"}, "--partitions 4: it is at least one for each worker (5)", "try: parti demo --help"},
		{[]string{"demo", "--partitions", "1001"}, "at most 1000", "try: parti demo --help"},
		{[]string{"demo", "--rate", "0"}, "--rate 0: it is 1 to 10000", "try: parti demo --help"},
		{[]string{"demo", "--pace", "-1s"}, "--pace -1s: it is 0s or more", "try: parti demo --help"},
		{[]string{"demo", "--sabotage", "x"}, "--sabotage x: it is lose, twice", "try: parti demo --help"},
		{[]string{"version", "--color", "red"}, "--color red: it is auto, always or never", "try: parti --color=auto"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			code, out, talk := try(t.Context(), nil, c.args...)
			if out != "" {
				t.Errorf("talk on standard output: %s", out)
			}
			if code != Usage || !strings.Contains(talk, "parti: ") || !strings.Contains(talk, c.says) || !strings.Contains(talk, c.try) {
				t.Errorf("exit code %d:\n%s", code, talk)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	code, out, talk := try(t.Context(), nil, "version")
	if code != Done || talk != "" || !strings.HasPrefix(out, "parti ") || !strings.Contains(out, "nats-server 2.") {
		t.Errorf("exit code %d: %s%s", code, out, talk)
	}
	code, out, _ = try(t.Context(), nil, "version", "--json")
	var v version
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != Done || v.Schema != 1 || v.Parti == "" {
		t.Errorf("exit code %d, error %v: %s", code, err, out)
	}
}

func TestColors(t *testing.T) {
	for _, c := range []struct {
		flag string
		env  map[string]string
		want bool
	}{
		{colorAuto, nil, false}, // it is not a terminal
		{colorAlways, nil, true},
		{colorAlways, map[string]string{"NO_COLOR": "1"}, true}, // who says so means it
		{colorNever, map[string]string{"CLICOLOR_FORCE": "1"}, false},
		{colorAuto, map[string]string{"CLICOLOR_FORCE": "1"}, true},
		{colorAuto, map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{colorAuto, map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false},
		{colorAuto, map[string]string{"CLICOLOR_FORCE": "1", "TERM": "dumb"}, true},
	} {
		s := &Streams{Env: func(k string) string { return c.env[k] }}
		if got := s.colors(c.flag, &bytes.Buffer{}); got != c.want {
			t.Errorf("--color=%s with %v: %v", c.flag, c.env, got)
		}
	}
}

func TestASCII(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"LANG": "de_DE.UTF-8"}, false},
		{map[string]string{"LANG": "C"}, true},
		{map[string]string{"LC_ALL": "C.utf8", "LANG": "C"}, false},
	} {
		if got := (&Streams{Env: func(k string) string { return c.env[k] }}).ascii(); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}

func TestErrorsSayWhatToTry(t *testing.T) {
	for _, c := range []struct {
		err  error
		code Code
		says string
	}{
		{&demo.ConnectError{URL: "nats://x", Err: errors.New("refused")}, Failed, "parti: cannot use nats://x: refused\ntry: "},
		{fmt.Errorf("make: %w", &kv.DeniedError{Op: "publish", Subject: "a.b"}), Forbidden, `to publish to "a.b"`},
		{fmt.Errorf("make: %w", context.DeadlineExceeded), TimedOut, "make: "},
		{errors.New("odd"), Failed, "parti: the demo was stopped: odd\n"},
	} {
		var b bytes.Buffer
		if code := report(&b, demoError(c.err)); code != c.code || !strings.Contains(b.String(), c.says) {
			t.Errorf("exit code %d: %s", code, b.String())
		}
	}
}

func TestNoServer(t *testing.T) {
	code, _, talk := try(t.Context(), nil, "demo", "--once", "--nats", "nats://me:secret@127.0.0.1:1")
	if code != Failed || !strings.Contains(talk, "try: start a server") || strings.Contains(talk, "secret") {
		t.Errorf("exit code %d: %s", code, talk)
	}
}

// TestDemo plays the whole script, scaled down.
func TestDemo(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	code, out, talk := try(t.Context(), nil, "demo", "--once", "--workers", "4", "--partitions", "16", "--rate", "100", "--seed", "7", "--json")
	var sum demo.Summary
	if err := json.Unmarshal([]byte(out), &sum); err != nil || code != Done {
		t.Fatalf("exit code %d, error %v\n%s%s", code, err, talk, out)
	}
	if len(sum.Steps) != 8 || sum.Lost+uint64(sum.DoubleOwners) != 0 || sum.Sent == 0 || sum.Sent != sum.Processed {
		t.Errorf("the summary is odd: %s", out)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("this is left behind: %v", left)
	}
	if !strings.Contains(talk, "3/8 worker killed") || strings.Contains(talk, "\x1b") {
		t.Errorf("the talk is odd:\n%s", talk)
	}
}

// TestBrokenPromises breaks each promise on purpose.
func TestBrokenPromises(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sabotage demo.Sabotage
		says     string
	}{
		{demo.SabotageTwice, "one owner at a time: 1 double owners"},
		{demo.SabotageToken, "tokens grow: 1 did not"},
		{demo.SabotageStuck, "steady: after 1s still waiting for something that never comes"},
		{demo.SabotageLose, "no message is lost by a move: 1 lost: p-0"},
	} {
		t.Run(string(c.sabotage), func(t *testing.T) {
			t.Parallel()
			code, out, talk := try(t.Context(), nil,
				"demo", "--once", "--workers", "3", "--partitions", "6", "--rate", "60", "--seed", "7", "--sabotage", string(c.sabotage))
			if code != Failed || !strings.Contains(out, "BROKEN") || !strings.Contains(out, c.says) ||
				!strings.Contains(talk, "parti: a promise was broken: ") || !strings.Contains(talk, "--seed 7") {
				t.Errorf("exit code %d\n%s%s", code, talk, out)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		once bool
		want Code
	}{{false, Done}, {true, Failed}} {
		t.Run(fmt.Sprint("once=", c.once), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			talk := &trigger{word: "2/8 steady", pull: cancel}
			var out bytes.Buffer
			code := Run(ctx, []string{"demo", "--workers", "3", "--partitions", "6", fmt.Sprint("--once=", c.once), "--pace", "0s"},
				&Streams{Out: &out, Err: talk, Env: os.Getenv})
			if code != c.want || !strings.Contains(out.String(), "Interrupted. Up to here every promise held.") {
				t.Errorf("exit code %d\n%s%s", code, talk.String(), out.String())
			}
		})
	}
}

// A trigger pulls when a word is written.
type trigger struct {
	bytes.Buffer

	word string
	pull func()
}

func (w *trigger) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.word) {
		time.AfterFunc(100*time.Millisecond, w.pull)
	}
	return w.Buffer.Write(p)
}
