package run

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/parti-go/parti/cmd/parti/internal/cut"
)

// Lines of many commands stay whole, each after the name of its own.
func TestPrinter(t *testing.T) {
	var b bytes.Buffer
	p := &printer{readers: newReaders(), place: &place{}, w: &b, stream: "stdout"}
	var all sync.WaitGroup
	for _, id := range []string{"a", "b", "c"} {
		all.Go(func() {
			l := p.of(job{Partition: id})
			for range 500 {
				_, _ = l.Write([]byte(strings.Repeat(id, 50)))
				_, _ = l.Write([]byte(strings.Repeat(id, 50) + "\n"))
			}
			l.Close()
		})
	}
	all.Wait()
	got := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(got) != 1500 {
		t.Errorf("%d lines", len(got))
	}
	for _, line := range got {
		if id := line[:1]; line != id+" | "+strings.Repeat(id, 100) {
			t.Fatalf("torn: %q", line)
		}
	}
}

func TestStyles(t *testing.T) {
	text := strings.Repeat("x", cut.Longest) + "y\nz"
	write := func(s Style) string {
		var b bytes.Buffer
		l := (&printer{readers: newReaders(), place: &place{}, w: &b, stream: "stderr", style: s}).of(job{Partition: "p.1", Token: 1 << 60})
		_, _ = l.Write([]byte(text))
		l.Close()
		return strings.ReplaceAll(b.String(), strings.Repeat("x", cut.Longest), "xx")
	}
	if got := write(Style{}); got != "p.1 | xx\np.1 + y\np.1 | z\n" {
		t.Errorf("%q", got)
	}
	if got := write(Style{Bare: true}); got != "xxy\nz\n" {
		t.Errorf("%q", got)
	}
	if got := write(Style{Color: true}); !strings.HasPrefix(got, "\x1b[") || !strings.Contains(got, "mp.1 | \x1b[0mxx\n") {
		t.Errorf("%q", got)
	}
	var got outputRecord
	line, _, _ := strings.Cut(write(Style{JSON: true}), "\n")
	if err := json.Unmarshal([]byte(line), &got); err != nil || got != (outputRecord{1, "output", "p.1", 1 << 60, "stderr", "xx", true}) {
		t.Errorf("%s: %+v, %v", line, got, err)
	}
}

// A bare line stays whole while others write, up to where it is broken; a longer one ends
// before theirs, also before an event, and before what comes by the other stream.
func TestBareLines(t *testing.T) {
	var b bytes.Buffer
	place := &place{}
	printer := func() *printer {
		return &printer{readers: newReaders(), place: place, w: &b, style: Style{Bare: true}}
	}
	out := printer()
	one, two, complaints := out.of(job{Partition: "one"}), out.of(job{Partition: "two"}), printer().of(job{Partition: "one"})
	talk := &talk{err: place, w: &b, readers: newReaders()}
	long, piece := strings.Repeat("x", 70<<10), strings.Repeat("x", maxBare)
	for _, c := range []struct {
		steps []any
		want  string
	}{
		{[]any{one, long, two, "b\n", one, "c\n"}, "b\n" + long + "c\n"},
		{[]any{one, piece + "y", one, "z\n", two, "b\n"}, piece + "yz\nb\n"},
		{[]any{one, piece + "y", two, "b\n", one, "z\n"}, piece + "\nb\nyz\n"},
		{[]any{one, piece + "y", complaints, "b\n", one, "z\n"}, piece + "\nb\nyz\n"},
		{[]any{one, piece + "y", talk, "e", one, "z\n"}, piece + "\nparti: e\nyz\n"},
		{[]any{one, piece + "y", two, piece + "b", one, "z\n", two, "c\n"}, piece + "\n" + piece + "\nyz\nbc\n"},
	} {
		b.Reset()
		for i := 0; i < len(c.steps); i += 2 {
			text, _ := c.steps[i+1].(string)
			switch from := c.steps[i].(type) {
			case *cut.Lines:
				_, _ = from.Write([]byte(text))
			default:
				talk.write(record{Text: text})
			}
		}
		short := strings.NewReplacer(piece, "PIECE", long, "LONG")
		if got := b.String(); got != c.want {
			t.Errorf("%.200q, want %q", short.Replace(got), short.Replace(c.want))
		}
	}
}

func TestJob(t *testing.T) {
	t.Setenv(envWithin, "")
	j := job{Group: "g", Worker: "worker-1", Partition: "a.b", Token: 12, Weight: 3, Labels: map[string]string{"data-center": "x y", "bad": "a\x00b"}}
	got := strings.Join(j.args([]string{"{partition}", "{token}-{worker}", "{{partition}}", "{else}", "{group}{weight}", "{partition"}), " ")
	if got != "a.b 12-worker-1 {a.b} {else} g3 {partition" {
		t.Error(got)
	}
	got = strings.Join(j.env(), " ")
	if got != "PARTI_WITHIN=a.b  PARTI_PARTITION=a.b PARTI_TOKEN=12 PARTI_WORKER=worker-1 PARTI_GROUP=g PARTI_WEIGHT=3 PARTI_LABEL_DATA_CENTER=x y" {
		t.Error(got)
	}
}

func TestPartitions(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for text, want := range map[string]string{
		"3":                          "0:0 1:0 2:0",
		file("list", "b 7 # x\na\n"): "a:0 b:7",
		file("a.json", `["a", {"id": "b", "weight": 2, "labels": {"x": "1"}}]`): "a:0 b:2",
		file("a.yml", "- a\n- {id: b, weight: 2}\n"):                            "a:0 b:2",
		"0":                        "it is 1 to 1000000",
		"-3":                       "it is 1 to 1000000",
		file("b.yaml", "a: b\n"):   "it is not a list",
		filepath.Join(dir, "none"): "it is not there",
	} {
		var got string
		s, err := Partitions(t.Context(), text)
		if err == nil {
			all, err := s.ListPartitions(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var words []string
			for _, p := range all {
				words = append(words, p.ID+":"+string(rune('0'+p.Weight)))
			}
			got = strings.Join(words, " ")
		} else {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if s, err := Partitions(t.Context(), ""); s != nil || err != nil {
		t.Errorf("nothing: %v, %v", s, err)
	}
}

// Who reads is gone when a pipe says so, and not when a disk is full.
func TestReaders(t *testing.T) {
	r := newReaders()
	isGone := func() bool {
		select {
		case <-r.gone:
			return true
		default:
			return false
		}
	}
	for _, err := range []error{nil, &os.PathError{Op: "write", Path: "log", Err: syscall.ENOSPC}} {
		if r.note(err); isGone() {
			t.Errorf("they are gone after %v", err)
		}
	}
	for range 2 {
		if r.note(&os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}); !isGone() {
			t.Error("they are not gone")
		}
	}
}
