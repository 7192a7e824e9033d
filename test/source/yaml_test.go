package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/parti-go/parti/source"
)

// What a YAML library makes of a file.
func TestYAML(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tools.yml")
	w, err := source.File(path, source.YAML(yaml.Unmarshal))
	must(t, err)
	for text, want := range map[string]string{
		"# tools\n- b\n- id: a\n  weight: 5\n  labels: {room: \"3\"}\n": "a:5map[room:3] b",
		"---\n- a\n- &x {id: b, weight: 0x10}\n":                        "a b:16",
		"[]\n":                                                          "",
		"- id: \"007\"\n- no\n":                                         "007 no",
		"- a\n- 7\n":                                                    "item 2: it is the number 7: write an ID in quotes, or an object with id, weight and labels",
		"- id: 1e3\n":                                                   "item 1: the id is the number 1000: write it in quotes",
		"- id: a\n  labels: {room: 3}\n":                                `item 1: partition "a": the label "room" is the number 3: write it in quotes`,
		"- id: a\n  weight: 1.5\n":                                      `item 1: partition "a": the weight is the number 1.5: write a whole number`,
		"- id: a\n  weight:\n":                                          `item 1: partition "a": the weight is empty`,
		"- id: a\n  weight: 99999999999999999999\n":                     `item 1: partition "a": the weight is the number 1e+20`,
		"-\n":                    "item 1: it is empty: write an ID in quotes",
		"- id: a\n  id: b\n":     "it cannot be decoded: mend it: ",
		"- a\n- {id: b, 3: c}\n": "item 2: the field name is the number 3: write it in quotes",
		"- a\n- b: [\n":          "it cannot be decoded: mend it: ",
		"# nothing\n":            "it is not a list",
		"tools:\n- a\n":          "it is not a list",
	} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		got := listed(t, w)
		if got != want && (!strings.HasPrefix(got, "source: file ") || !strings.Contains(got, want) || want == "") {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
