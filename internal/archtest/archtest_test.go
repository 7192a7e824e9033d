package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFloors checks the work space this test stands in.
func TestFloors(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	found, err := Check(t.Context(), root, Module, Floors)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// fakeFloors is the building of the fake trees below.
const fakeFloors = `
7  cmd/...  test/...
5  natskv  admin
4  .  sim (tests)
3  memkv  member (pure)  kvtest (tests)
2  lead  hold
1  strategy  kv (port)
0  plan
-  model/...
`

// TestRules breaks each rule once in a fake tree and looks for the sentence that
// says so; want is what all of it must contain, and nothing means no complaint.
func TestRules(t *testing.T) {
	t.Parallel()
	const mod = "example.org/fake"
	for _, tc := range []struct {
		name  string
		files map[string]string // below the tree; "imports a b" stands for a file that imports these of ours
		want  []string
	}{
		{"downward", map[string]string{"lead/lead.go": "imports plan kv strategy"}, nil},
		{"root downward", map[string]string{"parti.go": "imports plan lead memkv"}, nil},
		{
			"upward",
			map[string]string{"lead/lead.go": "imports memkv"},
			[]string{"lead/lead.go:2: lead (floor 2) imports memkv (floor 3): it stands above. Remedy: pass it in"},
		},
		{
			"upward to the root",
			map[string]string{"memkv/m.go": "imports ."},
			[]string{"memkv/m.go:2: memkv (floor 3) imports . (floor 4): it stands above"},
		},
		{
			"same floor",
			map[string]string{"lead/lead.go": "imports hold"},
			[]string{"lead/lead.go:2: lead (floor 2) imports hold (floor 2): they stand on the same floor. Remedy: move"},
		},
		{"own family", map[string]string{"cmd/x/main.go": "imports cmd/internal/cli"}, nil},
		{
			"another family of the floor",
			map[string]string{"cmd/x/main.go": "imports test/tool"},
			[]string{"cmd/x (floor 7) imports test/tool (floor 7): they stand on the same floor"},
		},
		{
			"unknown package",
			map[string]string{"util/u.go": "package util"},
			[]string{"util: package util has no floor. Remedy: give it one in Floors"},
		},
		{
			"unknown package below a known one",
			map[string]string{"plan/more/m.go": "package more"},
			[]string{"plan/more: package plan/more has no floor"},
		},
		{
			"import of an unknown package",
			map[string]string{"admin/a.go": "imports util"},
			[]string{"admin/a.go:2: admin (floor 5) imports util, which has no floor"},
		},
		{
			"apart imports",
			map[string]string{"model/m.go": "imports plan"},
			[]string{"model (stands apart) imports plan (floor 0): it stands apart and imports nothing of ours"},
		},
		{
			"apart imports in a test",
			map[string]string{"model/m.go": "package model", "model/m_test.go": "imports plan"},
			[]string{"model/m_test.go:2: model (stands apart) imports plan"},
		},
		{
			"apart is imported",
			map[string]string{"lead/lead.go": "imports model"},
			[]string{"lead (floor 2) imports model (stands apart): it stands apart and nothing imports it"},
		},
		{"within the family that stands apart", map[string]string{"model/m.go": "imports model/search"}, nil},
		{
			"test package in the product",
			map[string]string{"natskv/n.go": "imports kvtest"},
			[]string{"natskv (floor 5) imports kvtest (floor 3): it exists for tests. Remedy: import it from a _test.go"},
		},
		{"test package in a test", map[string]string{"memkv/m.go": "package memkv", "memkv/m_test.go": "imports kvtest"}, nil},
		{"test package in a test package", map[string]string{"sim/s.go": "imports kvtest"}, nil},
		{"test package on the top floor", map[string]string{"cmd/sim/main.go": "imports sim"}, nil},
		{"upward in a test", map[string]string{"lead/lead.go": "package lead", "lead/lead_test.go": "imports sim memkv"}, nil},
		{
			"NATS in the shell",
			map[string]string{"parti.go": "package parti\nimport _ \"github.com/nats-io/nats.go\""},
			[]string{"parti.go:2: . (floor 4) imports github.com/nats-io/nats.go: only the floors above 4 know NATS"},
		},
		{"NATS in natskv", map[string]string{"natskv/n.go": "package natskv\nimport _ \"github.com/nats-io/nats.go\""}, nil},
		{"NATS in a test", map[string]string{"parti.go": "package parti", "p_test.go": "package parti\nimport _ \"github.com/nats-io/nats.go\""}, nil},

		{
			"impure imports",
			map[string]string{"lead/lead.go": "package lead\n" + imports("context", "sync/atomic", "log/slog", "math/rand/v2", "os", "net/http", "testing", "C", "unsafe", "hash/maphash")},
			[]string{
				"lead (floor 2, pure) imports context. Remedy: a brain does not wait",
				"imports sync/atomic. Remedy: one goroutine",
				"imports log/slog. Remedy: return what happened",
				"imports math/rand/v2. Remedy: take chance as an argument",
				"imports os. Remedy: leave it to the shell",
				"imports net/http. Remedy: leave it to the shell",
				"imports testing. Remedy: keep it in _test.go files",
				"imports C. Remedy: leave it",
				"imports unsafe. Remedy: do without",
				"imports hash/maphash. Remedy: it is seeded",
			},
		},
		{
			"impure where it is marked pure",
			map[string]string{"member/m.go": "imports lead", "member/n.go": "package p\n" + imports("sync")},
			[]string{"member/n.go:2: member (floor 3, pure) imports sync. Remedy: one goroutine"},
		},
		{"pure imports", map[string]string{"plan/p.go": "package plan\n" + imports("errors", "fmt", "slices", "time")}, nil},
		{"impure imports higher up", map[string]string{"memkv/m.go": "package memkv\n" + imports("context", "sync", "os")}, nil},
		{"impure imports in a test", map[string]string{"lead/lead.go": "package lead", "lead/l_test.go": "package lead\n" + imports("os", "testing")}, nil},
		{"context in the port", map[string]string{"kv/kv.go": "package kv\nimport \"context\"\ntype Store interface{ Wait(context.Context) <-chan struct{} }"}, nil},
		{
			"sync in the port",
			map[string]string{"kv/kv.go": "package kv\n" + imports("sync")},
			[]string{"kv (floor 1, pure) imports sync."},
		},
		{
			"a file for another system",
			map[string]string{"lead/lead.go": "package lead", "lead/l_plan9.go": "package lead\n" + imports("os")},
			[]string{"lead/l_plan9.go:2: lead (floor 2, pure) imports os"},
		},
		{
			"a dot import",
			map[string]string{"lead/lead.go": "package lead\nimport . \"time\"\nvar T = Now()"},
			[]string{"lead (floor 2, pure) imports time with a dot"},
		},
		{"a hash in strategy", map[string]string{"strategy/s.go": "package strategy\n" + imports("github.com/zeebo/xxh3")}, nil},
		{
			"a hash elsewhere",
			map[string]string{"lead/lead.go": "package lead\n" + imports("github.com/zeebo/xxh3")},
			[]string{"lead (floor 2, pure) imports github.com/zeebo/xxh3, which is not ours"},
		},
		{
			"goroutines and channels",
			map[string]string{"hold/h.go": "package hold\nfunc f(c chan int) {\n\tgo f(c)\n\tc <- 1\n\t<-c\n\tselect {}\n}"},
			[]string{
				"hold/h.go:2: hold (floor 2, pure) has a channel",
				"hold/h.go:3: hold (floor 2, pure) starts a goroutine. Remedy: return the work",
				"hold/h.go:4: hold (floor 2, pure) sends on a channel",
				"hold/h.go:5: hold (floor 2, pure) receives from a channel",
				"hold/h.go:6: hold (floor 2, pure) waits in a select",
			},
		},
		{
			"clocks",
			map[string]string{"hold/h.go": "package hold\nimport clock \"time\"\nvar (\n\ta = clock.Now()\n\tb = clock.Sleep\n\tc = clock.NewTimer(1)\n)"},
			[]string{
				"hold/h.go:4: hold (floor 2, pure) uses time.Now. Remedy: take the time as an argument",
				"hold/h.go:5: hold (floor 2, pure) uses time.Sleep",
				"hold/h.go:6: hold (floor 2, pure) uses time.NewTimer",
			},
		},
		{"arithmetic on times", map[string]string{"hold/h.go": "package hold\nimport \"time\"\nfunc f(now time.Time) time.Time { return now.Add(time.Second).Local() }"}, nil},
		{"a variable called time", map[string]string{"hold/h.go": "package hold\nimport _ \"time\"\nfunc f(time struct{ Now int }) int { return time.Now }"}, nil},
		{
			"printing",
			map[string]string{"hold/h.go": "package hold\nimport \"fmt\"\nfunc f() {\n\tfmt.Println()\n\tprintln()\n}"},
			[]string{"uses fmt.Println. Remedy: return what happened", "calls the builtin println. Remedy: return what happened"},
		},
		{
			"a file that cannot be read",
			map[string]string{"hold/h.go": "package hold\nfunc {"},
			[]string{"hold/h.go: cannot be read:"},
		},
		{
			"a module outside go.work",
			map[string]string{
				"go.work": "go 1.26\nuse (\n\t.\n\t./cmd\n)\n", "cmd/go.mod": "module " + mod + "/cmd\n", "cmd/x/main.go": "package main\nfunc main() {}",
				"parti.go": "package parti", "test/go.mod": "module " + mod + "/test\n", "tools/go.mod": "module " + mod + "/tools\n",
			},
			[]string{"test/go.mod: the module is not in go.work, so it is neither built nor tested. Remedy: go work use ./test"},
		},
		{
			"a breach in another module",
			map[string]string{
				"go.work": "go 1.26\nuse (\n\t.\n\t./admin\n)\n", "admin/go.mod": "module " + mod + "/admin\n", "admin/a.go": "imports cmd/x", "plan/p.go": "package plan",
			},
			[]string{"admin/a.go:2: admin (floor 5) imports cmd/x (floor 7): it stands above"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			write(t, root, "go.mod", "module "+mod+"\n")
			for name, content := range tc.files {
				if names, ok := strings.CutPrefix(content, "imports "); ok {
					paths := strings.Fields(names)
					for i, name := range paths {
						paths[i] = strings.TrimSuffix(mod+"/"+name, "/.")
					}
					content = "package p\n" + imports(paths...)
				}
				write(t, root, name, content)
			}
			found, err := Check(t.Context(), root, mod, fakeFloors)
			if err != nil {
				t.Fatal(err)
			}
			rest := strings.Join(found, "\n")
			for _, want := range tc.want {
				if !strings.Contains(rest, want) {
					t.Errorf("nothing says %q", want)
				}
			}
			if len(found) != len(tc.want) {
				t.Errorf("%d complaints, want %d", len(found), len(tc.want))
			}
			if t.Failed() {
				t.Logf("found:\n%s", rest)
			}
		})
	}
}

func TestParseFloors(t *testing.T) {
	for table, want := range map[string]string{
		"x plan":            `floor "x": neither a number nor -`,
		"-1 plan":           `floor "-1": neither a number nor -`,
		"0 plan\n1 plan":    "plan stands in the table twice",
		"0 (tests) plan":    "floor 0: the mark (tests) follows no package",
		"0 plan (whatever)": "plan: unknown mark (whatever)",
		"":                  "",
	} {
		_, err := parseFloors(table)
		if got := errorText(err); got != want {
			t.Errorf("parseFloors(%q): %q, want %q", table, got, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// imports is the text that imports the paths.
func imports(paths ...string) string {
	var b strings.Builder
	for _, path := range paths {
		b.WriteString("import _ \"" + path + "\"\n")
	}
	return b.String()
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
