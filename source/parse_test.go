package source

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parti-go/parti/plan"
)

// parseAs reads data as a file of that format. As YAML it reads JSON, which is that too.
func parseAs(f format, data string) ([]plan.Partition, error) {
	x := file{name: `file "x"`, format: f, decode: json.Unmarshal}
	all, err := x.parse([]byte(data))
	if err != nil {
		err = failed(x.name, err)
	}
	return all, err
}

func TestParse(t *testing.T) {
	room := map[string]string{"room": "3"}
	for _, c := range []struct {
		name   string
		format format
		data   string
		want   []plan.Partition
	}{
		{"lines", inLines, "# all tools\n\nb 5 # heavy\r\na\n\t c.1\t0 \nd#1 #\n", []plan.Partition{{ID: "a"}, {ID: "b", Weight: 5}, {ID: "c.1"}, {ID: "d#1"}}},
		{"byte order mark", inLines, "\ufeffa\n", []plan.Partition{{ID: "a"}}},
		{"no lines", inLines, "# none\n", nil},
		{"JSON", inJSON, `["b", {"id": "a", "weight": 9223372036854775806, "labels": {"room": "3"}}]`, []plan.Partition{{ID: "a", Weight: 9223372036854775806, Labels: room}, {ID: "b"}}},
		{"no JSON", inJSON, ` [ ] `, nil},
		{"YAML", inYAML, "[\"b\", {\"id\": \"a\", \"weight\": 5, \"labels\": {\"room\": \"3\"}}]\n", []plan.Partition{{ID: "a", Weight: 5, Labels: room}, {ID: "b"}}},
		{"no YAML", inYAML, "[]\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseAs(c.format, c.data)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(c.want) || len(got) > 0 && !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// Each error names the culprit, where it stands, and what to do.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		format format
		data   string
		want   string
	}{
		{inLines, "", `source: file "x": it is empty, as if it was being written: to list no partitions, write [] in JSON and YAML, and in lines a comment`},
		{inJSON, " \n", `source: file "x": it is empty`},
		{inLines, "tool-2\ntool-1", `source: file "x": the last line has no end, as if the rest was missing: end the file with a newline`},
		{inLines, "a\nb\na\n", `source: file "x": line 3: partition "a" is listed already, by line 1: list every partition once`},
		{inLines, "a\nb.*\n", `source: file "x": line 2: partition "b.*" has the wildcard '*' at byte 2: list every partition by its literal subject`},
		{inLines, "a -1\n", `line 1: partition "a" has the weight -1: use 0 or more; 0 counts as 1`},
		{inLines, "a 9223372036854775807\nb\n", `line 2: partition "b" has the weight 0, with which the sum of all is too large: use a larger unit`},
		{inLines, "a 1.5\n", `line 1: partition "a": the weight "1.5" is not a whole number that fits into 64 bits: write one, such as 5`},
		{inLines, "a 1 2\n", `line 1: partition "a": "2" is one word too many: write an ID and possibly a weight, and # before a comment`},
		{inLines, "a\u00a05\n", "has the character '\\u00a0' at byte 1"},
		{inLines, "a\x00\n", `has the character '\x00' at byte 1`},
		{inLines, "a\n.b\nc.\n", `line 2: partition ".b" has an empty token at byte 0: put exactly one dot between tokens; line 3: partition "c." ends with a dot`},
		{inJSON, `["a", "b`, `line 1: it is not valid JSON: mend it: unexpected end of JSON input`},
		{inJSON, "[\n\"a\",\n]", `line 3: it is not valid JSON: mend it: invalid character ']'`},
		{inJSON, `["a"] ["b"]`, `line 1: it is not valid JSON: mend it: invalid character '[' after top-level value`},
		{inJSON, "[\n\"a\",\n\"b\xff\"]", `line 3: it is not valid UTF-8: encode it so`},
		{inJSON, `{"partitions": []}`, `it is not a list: write one of IDs, or of objects with id, weight and labels`},
		{inJSON, `null`, `it is not a list`},
		{inJSON, "[\"a\",\n\n  7]", `line 3: it is the number 7: write an ID in quotes, or an object`},
		{inJSON, `[null]`, `line 1: it is empty: write an ID`},
		{inJSON, `[true]`, `line 1: it is the truth value true: write an ID`},
		{inJSON, `[["a"]]`, `line 1: it is a list: write an ID`},
		{inJSON, `[{}]`, `line 1: it has no id: give it one`},
		{inJSON, `[{"id": 7}]`, `line 1: the id is the number 7: write it in quotes`},
		{inJSON, `[{"id": "a", "id": "b"}]`, `line 1: it has "id" twice: write it once`},
		{inJSON, `[{"ID": "a"}]`, `line 1: it has no id`},
		{inJSON, `[{"id": "a", "wieght": 7}]`, `line 1: partition "a": the field "wieght" is unknown: use id, weight and labels`},
		{inJSON, `[{"id": "a", "weight": "7"}]`, `partition "a": the weight is the text "7": write a whole number`},
		{inJSON, `[{"id": "a", "weight": 1.5}]`, `partition "a": the weight "1.5" is not a whole number`},
		{inJSON, `[{"id": "a", "weight": null}]`, `the weight is empty: write a whole number`},
		{inJSON, `[{"id": "a", "weight": -2}]`, `line 1: partition "a" has the weight -2: use 0 or more`},
		{inJSON, `[{"id": "a", "labels": ["x"]}]`, `partition "a": the field labels is a list: write an object of strings`},
		{inJSON, `[{"id": "a", "weight": [3, 4]}]`, `partition "a": the weight is a list: write a whole number`},
		{inJSON, `[{"id": "a", "weight": [[3], {"x": 4}], "wieght": 7}]`, `partition "a": the weight is a list: write a whole number`},
		{inJSON, `[{"id": "a", "labels": {"room": ["x"]}}]`, `partition "a": the label "room" is a list: write it in quotes`},
		{inJSON, `[{"id": "a", "labels": {"room": 3}}]`, `partition "a": the label "room" is the number 3: write it in quotes`},
		{inJSON, `[{"id": "a", "labels": {"room": {"x": {}}}}]`, `it is nested too deeply`},
		{inJSON, "[{\n\"id\": \"a\"},\n\"a\"]", `line 3: partition "a" is listed already, by line 1`},
		{inYAML, `["a"]`, `the last line has no end`},
		{inYAML, "[\"a\", 7]\n", `item 2: it is the number 7: write an ID in quotes`},
		{inYAML, "[{\"id\": \"a\", \"weight\": 1.5}]\n", `item 1: partition "a": the weight is the number 1.5: write a whole number`},
		{inYAML, "[{\"id\": \"a\", \"weight\": 1e300}]\n", `the weight is the number 1e+300`},
		{inYAML, "{}\n", `it is not a list`},
		{inYAML, "nonsense\n", `it cannot be decoded: mend it: invalid character`},
		{inYAML, "# x\n---\n[\"a\"]\n---\n[\"b\"]\n", `line 4: another document begins, and only the first would be read: write one list`},
		{inYAML, "[\"a\"]\n...\n[\"b\"]\n", `line 3: another document begins`},
		{inYAML, "---\n--- # x\n", `line 2: another document begins`},
	} {
		_, err := parseAs(c.format, c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v\nwant %s", c.data, err, c.want)
		}
	}
}

func TestListError(t *testing.T) {
	_, err := parseAs(inLines, strings.Repeat(">\n", 30))
	var list *ListError
	if !errors.As(err, &list) || list.Source != `file "x"` || len(list.Faults) != 20 || list.More != 10 || list.Faults[1].Where != "line 2" {
		t.Fatalf("%+v", list)
	}
	var invalid *plan.InvalidError
	if !errors.As(err, &invalid) || invalid.Rule != plan.RuleID {
		t.Error(err)
	}
	if !strings.HasSuffix(err.Error(), "; and 10 more") {
		t.Error(err)
	}
}

func TestLaterDocument(t *testing.T) {
	for data, want := range map[string]int{
		"a\n":                      0,
		"---\na\n":                 0,
		"%YAML 1.2\n---\na\n...\n": 0,
		"---\na\n...\n# end\n\n":   0,
		"- a\n- |\n  ---\n----\n":  0,
		"a\n---\nb\n":              2,
		"a\r\n---\r\nb\r\n":        2,
		"a\n---\n":                 2,
		"---\n---\n":               2,
		"a\n...\n%YAML 1.2\n":      3,
		"--- a\n---\tb\n":          2,
	} {
		if got := laterDocument([]byte(data)); got != want {
			t.Errorf("%q: line %d, want %d", data, got, want)
		}
	}
}

// What decoders of YAML may make of it.
func TestParseItem(t *testing.T) {
	for _, v := range []any{
		map[string]any{"id": "a", "weight": 5, "labels": map[string]any{"k": "v"}},
		map[string]any{"id": "a", "weight": int64(5), "labels": map[any]any{"k": "v"}},
		map[any]any{"id": "a", "weight": uint64(5), "labels": map[any]any{"k": "v"}},
		map[any]any{"id": "a", "weight": 5.0, "labels": map[string]any{"k": "v"}},
	} {
		p, err := parseItem(v)
		if err != nil || p.ID != "a" || p.Weight != 5 || !maps.Equal(p.Labels, map[string]string{"k": "v"}) {
			t.Errorf("%v: %v, %v", v, p, err)
		}
	}
	for want, v := range map[string]any{
		"the field name is the number 1":              map[any]any{1: "a"},
		"the weight is the number 1844":               map[string]any{"id": "a", "weight": uint64(18446744073709551615)},
		"the weight is a []string":                    map[string]any{"id": "a", "weight": []string{}},
		"the field labels is empty":                   map[string]any{"id": "a", "labels": nil},
		"the label \"k\" is the truth value true: wr": map[string]any{"id": "a", "labels": map[string]any{"k": true}},
		"the field name is the truth value true":      map[string]any{"id": "a", "labels": map[any]any{true: "v"}},
		"it is a map[string]int":                      map[string]int{},
	} {
		if _, err := parseItem(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", v, err, want)
		}
	}
}

// valid checks what every listing is.
func valid(t *testing.T, all []plan.Partition) {
	t.Helper()
	if err := plan.ValidPartitions(all); err != nil {
		t.Error(err)
	}
	if !slices.IsSortedFunc(all, func(a, b plan.Partition) int { return cmp.Compare(a.ID, b.ID) }) {
		t.Errorf("not sorted: %v", all)
	}
}

func FuzzLines(f *testing.F) {
	for _, s := range []string{"a\nb 5\n", "# x\n a\t-1 #y\r\n", "a\n\x00\n", "a b c\n", "\ufeffa\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		all, err := parseAs(inLines, data)
		if err != nil {
			return
		}
		valid(t, all)
		var b strings.Builder
		b.WriteString("#\n")
		for _, p := range all {
			fmt.Fprintln(&b, p.ID, p.Weight)
		}
		again, err := parseAs(inLines, b.String())
		if err != nil || !plan.Diff(all, again).Empty() {
			t.Errorf("%q was %v, and written again is %v, %v", data, all, again, err)
		}
		if cut := strings.TrimSuffix(data, "\n"); !strings.HasSuffix(cut, "\n") {
			if _, err := parseAs(inLines, cut); err == nil {
				t.Errorf("%q lists something without its last byte", data)
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`[]`, `["a"]`, "[\n\"a\",\n{\"id\": \"b\", \"weight\": 5, \"labels\": {\"k\": \"v\"}}]", `[{"id": "a", "id": "b"}]`, `[[[[]]]]`, `["\ud800"]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		all, err := parseAs(inJSON, data)
		if err != nil {
			return
		}
		valid(t, all)
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		if all == nil {
			text = []byte("[]")
		}
		again, err := parseAs(inJSON, string(text))
		if err != nil || !plan.Diff(all, again).Empty() {
			t.Errorf("%q was %v, and written again is %v, %v", data, all, again, err)
		}
		whole := bytes.TrimSpace([]byte(data))
		for _, n := range []int{len(whole) / 2, len(whole) - 1} {
			if _, err := parseAs(inJSON, string(whole[:n])); err == nil {
				t.Errorf("%q lists something when only %d bytes are there", data, n)
			}
		}
	})
}

func FuzzLaterDocument(f *testing.F) {
	f.Add("---\na\n---\n")
	f.Fuzz(func(t *testing.T, data string) {
		if n := laterDocument([]byte(data)); n < 0 || n > 1+strings.Count(data, "\n") {
			t.Errorf("line %d", n)
		}
	})
}
