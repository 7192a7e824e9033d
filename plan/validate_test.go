package plan_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/parti-go/parti/plan"
)

func TestValidID(t *testing.T) {
	long := strings.Repeat("x", plan.MaxIDLen)
	for _, id := range []string{"a", "tool-001.chamber-1", "A_b-9.$x.~", "größe.ŧ", "a.b.c.d.e", "{}", long} {
		if err := plan.ValidID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for id, problem := range map[string]string{
		"": "is empty", ".": "empty token at byte 0", ".a": "empty token at byte 0", "a.": "ends with a dot",
		"a..b": "empty token at byte 2", "a b": "' ' at byte 1", "a\tb": `'\t' at byte 1`, "a\x00": `'\x00'`, "a\x7f": `'\x7f'`,
		"a.*": "wildcard '*'", "a.>": "wildcard '>'", "x*y": "wildcard", "a\xff": "not valid UTF-8", "a\u00a0b": "character",
		"a\u2028": "character", "a\u200bb": "character", "a\u0085": "character", long + "x": "201 bytes long",
	} {
		err := plan.ValidID(id)
		var invalid *plan.InvalidError
		if !errors.As(err, &invalid) || invalid.Rule != plan.RuleID || !strings.Contains(invalid.Problem, problem) {
			t.Errorf("%q: %v, want %q", id, err, problem)
		}
	}
}

// FuzzValidID compares with a rule that looks at whole tokens.
func FuzzValidID(f *testing.F) {
	for _, id := range []string{"tool-001.chamber-1", "a..b", "a b", "", ".", ">", "größe", "a\xff", "a\u2003b"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		want := len(id) <= plan.MaxIDLen && utf8.ValidString(id)
		for token := range strings.SplitSeq(id, ".") {
			want = want && token != "" && !strings.ContainsAny(token, "*>\u200b\u200c\u200d\ufeff") &&
				!strings.ContainsFunc(token, unicode.IsSpace) && !strings.ContainsFunc(token, unicode.IsControl)
		}
		if err := plan.ValidID(id); (err == nil) != want {
			t.Errorf("%q: %v", id, err)
		}
	})
}

// rules lists the rules that err says are broken, and what is not of type Invalid.
func rules(err error) (found []string) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	for _, one := range joined.Unwrap() {
		if invalid, ok := errors.AsType[*plan.InvalidError](one); ok {
			found = append(found, invalid.Rule.String()+" "+invalid.Culprit)
		} else {
			found = append(found, one.Error())
		}
	}
	return found
}

func TestValidPartitions(t *testing.T) {
	good := []plan.Partition{{ID: "b"}, {ID: "a", Weight: 3}, {ID: "c.d", Weight: math.MaxInt64 - 4}}
	if err := plan.ValidPartitions(good); err != nil {
		t.Error(err)
	}
	bad := []plan.Partition{
		{ID: "b"}, {ID: "a", Weight: -1}, {ID: "b"}, {ID: "b"}, {ID: ""}, {ID: "c", Weight: math.MaxInt64}, {ID: "x y", Weight: 7},
	}
	want := []string{`negative partition "a"`, `id partition ""`, `overflow partition "c"`, `id partition "x y"`, `unique partition "b"`}
	if got := rules(plan.ValidPartitions(bad)); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := bad[1].ID; got != "a" {
		t.Error("the list was sorted")
	}
	many := make([]plan.Partition, 50)
	for i := range many {
		many[i].ID = fmt.Sprintf("p %d", i)
	}
	if got := rules(plan.ValidPartitions(many)); len(got) != 21 || got[20] != "plan: and 30 more" {
		t.Errorf("got %d: %q", len(got), got)
	}
	if plan.ValidPartitions(nil) != nil {
		t.Error("no partitions are fine")
	}
}

func TestValidInput(t *testing.T) {
	valid := func() plan.Input {
		return plan.Input{
			Partitions: []plan.Partition{{ID: "a"}, {ID: "b", Weight: 2}},
			Workers:    []plan.Worker{{ID: "v"}, {ID: "w", Share: 3, Capacity: 9}},
			Current:    []int{-1, 1},
		}
	}
	for _, c := range []struct {
		name string
		with func(*plan.Input)
		want []string
	}{
		{"valid", func(*plan.Input) {}, nil},
		{"all is given", func(in *plan.Input) { in.Pins, in.Home = []int{-1, 0}, []string{"", "gone"} }, nil},
		{"not sorted", func(in *plan.Input) { slices.Reverse(in.Partitions) }, []string{`order partition "a"`}},
		{"twice", func(in *plan.Input) { in.Partitions[1].ID = "a" }, []string{`unique partition "a"`}},
		{"weights", func(in *plan.Input) { in.Partitions[0].Weight, in.Partitions[1].Weight = -5, -6 }, []string{`negative partition "a"`, `negative partition "b"`}},
		{"overflow", func(in *plan.Input) { in.Partitions[1].Weight = math.MaxInt64 }, []string{`overflow partition "b"`}},
		{"no workers", func(in *plan.Input) { in.Workers = nil }, []string{"workers the list of workers"}},
		{"workers not sorted", func(in *plan.Input) { slices.Reverse(in.Workers) }, []string{`order worker "v"`}},
		{"worker twice", func(in *plan.Input) { in.Workers[0].ID = "w" }, []string{`unique worker "w"`}},
		{"worker without ID", func(in *plan.Input) { in.Workers[0].ID = "" }, []string{`id worker ""`}},
		{"capacity", func(in *plan.Input) { in.Workers[1].Capacity = -1 }, []string{`negative worker "w"`}},
		{"shares", func(in *plan.Input) { in.Workers[1].Share = math.MaxInt64 }, []string{`overflow worker "w"`}},
		{"lengths", func(in *plan.Input) { in.Current, in.Pins, in.Home = nil, []int{}, []string{} }, []string{"length Current", "length Pins", "length Home"}},
		{"owner", func(in *plan.Input) { in.Current[0] = 2 }, []string{`reference partition "a"`}},
		{"pin", func(in *plan.Input) { in.Pins = []int{0, -2} }, []string{`reference partition "b"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := valid()
			c.with(&in)
			if got := rules(plan.ValidInput(in)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestInvalidSaysWhatToDo(t *testing.T) {
	err := plan.ValidID("tool 1")
	const want = `plan: partition "tool 1" has the character ' ' at byte 4: leave out white space and control characters`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if got := plan.Rule(99).String(); got != "rule(99)" {
		t.Error(got)
	}
}

func BenchmarkValidInput(b *testing.B) {
	in := plan.Input{Workers: []plan.Worker{{ID: "w"}}, Current: make([]int, 100_000)}
	for i := range in.Current {
		in.Partitions = append(in.Partitions, plan.Partition{ID: fmt.Sprintf("tool-%05d.chamber-1", i), Weight: 5})
	}
	for b.Loop() {
		if err := plan.ValidInput(in); err != nil {
			b.Fatal(err)
		}
	}
}
