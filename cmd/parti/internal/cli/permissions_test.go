package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/conf"

	"github.com/parti-go/parti/permissions"
)

// What it writes is what a server reads.
func TestPermissions(t *testing.T) {
	use := permissions.Use{Group: "orders", Stream: "ORDERS", Cursors: true, CursorBucket: "offsets", DeadLetter: "dead.orders", InboxPrefix: "_ORDERS"}
	want, err := permissions.For(use, permissions.Worker, permissions.Provisioner)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"permissions", "--group", "orders", "--stream", "ORDERS", "--cursors", "--cursor-bucket", "offsets", "--dead-letter", "dead.orders",
		"--inbox-prefix", "_ORDERS", "--role", "worker,provisioner",
	}
	code, out, talk := try(t.Context(), nil, args...)
	if code != Done || talk != "" {
		t.Fatalf("%d %s", code, talk)
	}
	parsed, err := conf.Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	for list, subjects := range map[string][]string{"publish": want.Publish.Allow, "subscribe": want.Subscribe.Allow} {
		got := parsed["permissions"].(map[string]any)[list].(map[string]any)["allow"].([]any) //nolint:forcetypeassert // the test fails if not
		if fmt.Sprint(got) != fmt.Sprint(subjects) {
			t.Errorf("%s: %v, want %v", list, got, subjects)
		}
	}
	if answers, _ := parsed["permissions"].(map[string]any)["allow_responses"].(bool); !answers { //nolint:forcetypeassert // as above
		t.Errorf("%v", parsed)
	}

	nameless := slices.Concat(args[:1], args[3:])
	if code, named, _ := try(t.Context(), map[string]string{"PARTI_GROUP": "orders"}, nameless...); code != Done || named != out {
		t.Errorf("with the group in the environment: %d %s", code, named)
	}

	code, out, _ = try(t.Context(), nil, append(args, "--json", "--role", "observer")...)
	var all granted
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != Done || all.Schema != 1 || len(all.Users) != 2 || !slices.Equal(all.Users[0].Permissions.Publish.Allow, want.Publish.Allow) {
		t.Errorf("%d %v %s", code, err, out)
	}

	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "no group is named"},
		{[]string{"--group", "a b"}, `group "a b"`},
		{[]string{"--group", "g", "--role", "king"}, `role "king"`},
		{[]string{"--group", "g", "--cursors"}, "name it"},
	} {
		code, out, talk := try(t.Context(), nil, append([]string{"permissions"}, c.args...)...)
		if code != Usage || out != "" || !strings.Contains(talk, c.says) || !strings.Contains(talk, "try:") {
			t.Errorf("%v: %d %s%s", c.args, code, out, talk)
		}
	}
}
