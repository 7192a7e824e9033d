package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"
)

// commands are all but hidden ones and those that cobra adds.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	visit(newRoot(&Streams{Env: func(string) string { return "" }}), func(c *cobra.Command) {
		if c.HasParent() && !c.Hidden && c.Name() != "help" && c.Name() != "completion" && (c.Parent() == nil || c.Parent().Name() != "completion") {
			all = append(all, c)
		}
	})
	if len(all) < 25 {
		t.Fatalf("there are only %d commands", len(all))
	}
	return all
}

// Every command says what it does, shows how, and stands under a heading.
func TestCommandsSayWhatTheyDo(t *testing.T) {
	for _, c := range commands(t) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || !c.HasExample() && c.Name() != "version" || c.GroupID == "" {
			t.Errorf("%s: %q, example %v, heading %q", c.Name(), c.Short, c.HasExample(), c.GroupID)
		}
		for line := range strings.SplitSeq(c.Long, "\n") {
			if len(line) > 115 {
				t.Errorf("%s: a line of the help is long: %s", c.Name(), line)
			}
		}
		code, help, _ := try(t.Context(), nil, append(strings.Fields(c.CommandPath())[1:], "--help")...)
		if code != Done || !strings.Contains(help, codeHelp()) || !strings.Contains(help, "Usage:\n  parti "+c.Name()) {
			t.Errorf("%s --help: exit code %d\n%s", c.Name(), code, help)
		}
		if c.Flags().Lookup("context") != nil && !strings.Contains(help, "\nTo reach NATS:\n") {
			t.Errorf("%s --help does not say how NATS is reached:\n%s", c.Name(), help)
		}
	}
}

// Whatever changes something refuses where nobody can be asked, before it connects, and
// where nobody is asked, it must be told which group it is.
func TestChangesAreAsked(t *testing.T) {
	env := map[string]string{"NATS_URL": "nats://127.0.0.1:1"}
	n := 0
	for _, c := range commands(t) {
		if c.GroupID != groupSteer {
			continue
		}
		n++
		args := strings.Fields(c.Use)
		if c.Flags().Lookup("force") != nil {
			args = append(args, "--force")
		}
		code, out, talk := try(t.Context(), env, args...)
		if code != Usage || out != "" || !strings.Contains(talk, "nobody is there to be asked") || !strings.Contains(talk, "try: parti "+strings.Join(args, " ")+" --yes --group NAME") {
			t.Errorf("%s: exit code %d: %s%s", c.Use, code, out, talk)
		}
		code, _, talk = try(t.Context(), env, append(args, "--yes")...)
		if code != Usage || !strings.Contains(talk, "--yes without a group") {
			t.Errorf("%s --yes: exit code %d: %s", c.Use, code, talk)
		}
	}
	if n < 16 {
		t.Errorf("there are only %d", n)
	}
}

// Data is on standard output, as JSON with a schema number on request, and talk is on
// standard error. Every command is tried; a new one must be added here.
func TestEveryCommandHasJSON(t *testing.T) {
	f := newTroop(t, serve(t, server.Options{}).ClientURL(), "orders", 4)
	for _, name := range []string{"host-0", "host-1"} {
		if _, err := f.start(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"NATS_URL": f.url, "PARTI_GROUP": "orders"}
	args := map[string]string{
		"status": "", "workers": "", "partitions": "", "plan": "", "explain": "p-000", "history": "", "check": "", "doctor": "", "controls": "",
		"drain": "worker-1 --yes", "undrain": "worker-1 --yes", "cordon": "worker-1 --yes", "uncordon": "worker-1 --yes",
		"pin": "p-000 worker-0 --yes", "unpin": "p-000 --yes", "ban": "p-001 worker-1 --yes", "unban": "p-001 worker-1 --yes", "move": "p-002 worker-0 --yes",
		"pause": "--yes", "resume": "--yes", "rebalance": "--yes", "refresh": "--yes", "step-down": "--yes",
		"simulate": "testdata/fleet.txt --seeds 1", "permissions": "--group orders", "version": "", "man": "", "bench": "--workers 3 --partitions 6 --rounds 1 --yes",
	}
	elsewhere := map[string]string{
		"top": "it goes on until it is interrupted: as status --watch", "events": "testdata/script/follow.txtar", "demo": "TestDemo", "run": "its own tests",
		"console": "testdata/script/console.txtar",
		"lift":    "it has nothing to lift here: the same code as the others", "release": "nothing is stuck here: the same code as the others",
	}
	for _, c := range commands(t) {
		if _, ok := elsewhere[c.Name()]; ok {
			continue
		}
		line, ok := args[c.Name()]
		if !ok {
			t.Errorf("%s is not tried", c.Name())
			continue
		}
		if strings.HasPrefix(c.Name(), "un") || c.Name() == "resume" {
			back := map[string]string{"undrain": "drain", "uncordon": "cordon", "unpin": "pin", "unban": "ban", "resume": "pause"}[c.Name()]
			if code, _, talk := try(t.Context(), env, append([]string{back}, strings.Fields(args[back])...)...); code != Done {
				t.Fatalf("%s: %s", back, talk)
			}
		}
		code, out, talk := try(t.Context(), env, append(append([]string{c.Name()}, strings.Fields(line)...), "--json")...)
		var doc struct {
			Schema int `json:"schema"`
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Schema != 1 || code != Done {
			t.Errorf("%s --json: exit code %d, error %v, schema %d\n%s%s", c.Name(), code, err, doc.Schema, out, talk)
		}
		if c.GroupID == groupLook && talk != "" {
			t.Errorf("%s --json talks: %s", c.Name(), talk)
		}
		if c.GroupID == groupSteer { // put things back
			back := map[string]string{"drain": "undrain", "cordon": "uncordon", "pin": "unpin", "ban": "unban", "pause": "resume"}[c.Name()]
			if back != "" {
				if code, _, talk := try(t.Context(), env, append([]string{back}, strings.Fields(args[back])...)...); code != Done {
					t.Fatalf("%s: %s", back, talk)
				}
			}
		}
	}
}

// Off a terminal nothing is decorated, however the environment begs for less or more;
// asked for, it is.
func TestDecoration(t *testing.T) {
	f := newTroop(t, serve(t, server.Options{}).ClientURL(), "orders", 2)
	if _, err := f.start(t.Context(), "host-0"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env     map[string]string
		args    []string
		colours bool
	}{
		{nil, nil, false},
		{map[string]string{"CLICOLOR_FORCE": "1"}, nil, false}, // tabs, and nothing to colour
		{nil, []string{"--color", "always"}, false},
	} {
		env := map[string]string{"NATS_URL": f.url}
		maps.Copy(env, c.env)
		code, out, _ := try(t.Context(), env, append([]string{"workers"}, c.args...)...)
		if code != Done || strings.Contains(out, "\x1b") != c.colours || strings.Count(out, "\t") != 12 {
			t.Errorf("%v %v: exit code %d: %q", c.env, c.args, code, out)
		}
	}
	for _, c := range []struct {
		env     map[string]string
		flag    string
		colours bool
	}{
		{nil, colorAuto, true},
		{map[string]string{"NO_COLOR": "1"}, colorAuto, false},
		{map[string]string{"TERM": "dumb"}, colorAuto, false},
		{map[string]string{"NO_COLOR": "1"}, colorAlways, true},
		{nil, colorNever, false},
	} {
		var out, talk bytes.Buffer
		env := func(k string) string { return c.env[k] }
		code := Run(t.Context(), []string{"workers", "--nats", f.url, "--color", c.flag}, &Streams{In: strings.NewReader(""), Out: &out, Err: &talk, Env: env, Width: 80})
		if code != Done || strings.Contains(out.String(), "\x1b[") != c.colours || !strings.Contains(out.String(), "PARTITIONS") {
			t.Errorf("--color %s with %v: exit code %d: %q %s", c.flag, c.env, code, out.String(), talk.String())
		}
	}
}

// Two operators are asked at the same time; both agree. One wins, the other is told who
// it was, and when.
func TestTwoOperators(t *testing.T) {
	f := newTroop(t, serve(t, server.Options{}).ClientURL(), "orders", 4)
	for _, name := range []string{"host-0", "host-1"} {
		if _, err := f.start(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow := &answering{asked: make(chan struct{}), answer: make(chan string, 1)}
	env := func(k string) string { return map[string]string{"NATS_URL": f.url, "PARTI_GROUP": "orders"}[k] }
	done := make(chan Code, 1)
	var out bytes.Buffer
	go func() {
		done <- Run(t.Context(), []string{"pin", "p-000", "worker-0", "--as", "ann"}, &Streams{In: slow, Out: &out, Err: slow, Env: env, Width: 80})
	}()
	<-slow.asked
	begun := time.Now().UTC()
	if code, _, talk := try(t.Context(), map[string]string{"NATS_URL": f.url, "PARTI_GROUP": "orders"}, "pin", "p-000", "worker-1", "--as", "bob", "--yes"); code != Done {
		t.Fatal(talk)
	}
	slow.answer <- "yes\n"
	code := <-done
	says := slow.text.String()
	faster := func(at time.Time) bool {
		return strings.Contains(says, "another operator was faster: pin p-000 to worker-1, by bob at "+at.Format("15:"))
	}
	if code != Failed || out.Len() > 0 || !faster(begun) && !faster(time.Now().UTC()) {
		t.Errorf("exit code %d: %s%s", code, out.String(), says)
	}
}

// An answering is a terminal at which somebody thinks before they answer.
type answering struct {
	text   bytes.Buffer
	asked  chan struct{}
	answer chan string
}

func (a *answering) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "[y/N]") {
		defer close(a.asked)
	}
	return a.text.Write(p)
}

func (a *answering) Read(p []byte) (int, error) { return copy(p, <-a.answer), nil }

// Shells complete names of the group.
func TestCompletions(t *testing.T) {
	f := newTroop(t, serve(t, server.Options{}).ClientURL(), "orders", 2)
	if _, err := f.start(t.Context(), "host-0"); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"NATS_URL": f.url}
	for line, want := range map[string]string{
		"drain ":                       "worker-0",
		"explain ":                     "p-000 p-001",
		"pin p-000 ":                   "worker-0",
		"pin p-000 worker-0 ":          "",
		"partitions --worker ":         "worker-0",
		"partitions --state ":          "unassigned owned moving stopping quarantined done",
		"plan --without ":              "worker-0",
		"history --partition ":         "p-000 p-001",
		"status --group ":              "orders",
		"unpin ":                       "",
		"check --format ":              "text json nagios prometheus",
		"status --color ":              "auto always never",
		"drain --nats nats://[::1]:1 ": "",
	} {
		args := append([]string{"__complete"}, strings.Split(line, " ")...)
		for late := time.Now().Add(testTime); ; { // a shell is not kept waiting for a server that is slow
			code, out, _ := try(t.Context(), env, args...)
			words := strings.Fields(out)
			if code == Done && len(words) > 0 && strings.Join(words[:len(words)-1], " ") == want {
				break
			}
			if time.Now().After(late) {
				t.Errorf("%s: exit code %d: %q, want %q", line, code, out, want)
				break
			}
			<-time.After(pauseTime)
		}
	}
}

// The nats command is told of commands as it wants it, and what it passes on is understood.
func TestPlugin(t *testing.T) {
	code, out, talk := try(t.Context(), nil, introspect)
	var m pluginModel
	if err := json.Unmarshal([]byte(out), &m); err != nil || code != Done || talk != "" || m.Name != "parti" || m.Help == "" {
		t.Fatalf("exit code %d, error %v: %s%s", code, err, out, talk)
	}
	known := map[string]pluginCommand{}
	for _, c := range m.Commands {
		known[c.Name] = c
		for _, a := range c.Args {
			if !a.Cumulative {
				t.Errorf("%s: %s is passed on in no order", c.Name, a.Name)
			}
		}
	}
	pin, ok := known["pin"]
	if !ok || len(pin.Args) != 1 || !pin.Args[0].Required || pin.Args[0].Name != "partition-worker" {
		t.Errorf("%+v", pin)
	}
	flags := map[string]pluginFlag{}
	for _, f := range pin.Flags {
		flags[f.Name] = f
	}
	for name, want := range map[string]bool{"yes": true, "tlsfirst": true, "json": true, "context": false, "server": false, "for": false} {
		if f, ok := flags[name]; !ok || f.Boolean != want {
			t.Errorf("--%s: %+v", name, f)
		}
	}
	if _, ok := known["demo"]; ok {
		t.Error("the demo is no command of nats")
	}

	// As the nats command passes it on: flags with =, those of its own by its names, arguments last.
	f := newTroop(t, serve(t, server.Options{}).ClientURL(), "orders", 2)
	if _, err := f.start(t.Context(), "host-0"); err != nil {
		t.Fatal(err)
	}
	if err := f.rest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, out, talk = try(t.Context(), nil, "pin", "--group=orders", "--yes", "--server="+f.url, "--timeout=5s", "p-000", "worker-0"); code != Done {
		t.Errorf("exit code %d: %s%s", code, out, talk)
	}
}

// The manual has every command and flag, and is what man reads.
func TestMan(t *testing.T) {
	code, page, talk := try(t.Context(), nil, "man")
	if code != Done || talk != "" || !strings.HasPrefix(page, ".TH PARTI 1\n") {
		t.Fatalf("exit code %d: %s", code, talk)
	}
	for _, c := range commands(t) {
		if !strings.Contains(page, "\n.SS parti "+troff(c.Name())) {
			t.Errorf("%s is not in it", c.Name())
		}
	}
	for _, word := range []string{`.B \-\-group name`, `.B \-\-tls\-first`, ".B PARTI_GROUP", ".B 5\ntimed out waiting"} {
		if !strings.Contains(page, word) {
			t.Errorf("%s is not in it", word)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("there is no groff here")
	}
	cmd := exec.CommandContext(context.Background(), groff, "-man", "-Tutf8", "-ww", "-z")
	cmd.Stdin = strings.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}
