package show_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/cmd/parti/internal/show"
)

func TestNumber(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1024: "1 024", 1234567: "1 234 567", -1024: "-1 024", -12: "-12"} {
		if got := show.Number(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := show.Number(uint64(18_000_000_000_000_000_000)); got != "18 000 000 000 000 000 000" {
		t.Error(got)
	}
	if one, many := show.Plural(1, "worker"), show.Plural(1024, "worker"); one != "1 worker" || many != "1 024 workers" {
		t.Error(one, many)
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ got, want string }{
		{admin.Past(now, now), "now"},
		{admin.Past(now, now.Add(time.Hour)), "now"}, // clocks differ
		{admin.Past(now, now.Add(-8*time.Second)), "8 s ago"},
		{show.Until(now, now), "now"},
		{show.Until(now, now.Add(190*time.Second)), "in 3 m 10 s"},
		{show.Until(now, now.Add(48*time.Hour)), "until " + now.Add(48*time.Hour).In(show.Zone).Format("2006-01-02 15:04")},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		look  show.Look
		text  string
		width int
		want  string
	}{
		{show.Look{}, "worker", 6, "worker"},
		{show.Look{}, "worker", 5, "work…"},
		{show.Look{}, "wörker", 5, "wörk…"},
		{show.Look{ASCII: true}, "a → b", 9, "a -> b"},
		{show.Look{ASCII: true}, "a → b", 5, "a ->~"},
		{show.Look{}, "worker", 0, "…"},
		{show.Look{}, "\u5de5\u5177-1", 6, "\u5de5\u5177-1"},
		{show.Look{}, "\u5de5\u5177-1", 5, "\u5de5\u5177…"},
		{show.Look{}, "\u5de5\u5177-1", 4, "\u5de5…"},
		{show.Look{}, "e\u0301e\u0301", 2, "e\u0301e\u0301"},
	} {
		if got := c.look.Cut(c.text, c.width); got != c.want {
			t.Errorf("%q in %d: %q, want %q", c.text, c.width, got, c.want)
		}
	}
	if got := show.Wrap("one two  three-is-long four", 9); !slices.Equal(got, []string{"one two", "three-is-long", "four"}) {
		t.Errorf("%q", got)
	}
	if got := show.Wrap(" ", 9); got != nil {
		t.Errorf("%q", got)
	}
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"· é plain text":          "· é plain text",
		"a\tb\r\nc\u0085d":        "a b  c d",
		"\x1b[2J\x00\a\x7f\u009b": "\uFFFD[2J\uFFFD\uFFFD\uFFFD\uFFFD",
		"no UTF-8: \x9b2J":        "no UTF-8: \uFFFD2J",
		"a\u202eb\u2066c\u200fd":  "a\uFFFDb\uFFFDc\u200fd",
	} {
		if got := show.Clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := (show.Look{ASCII: true}).Cut("\x1b[2J\n", 4); got != "?[2~" {
		t.Errorf("%q", got)
	}
}

// table has a column of every kind.
func table() *show.Table {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	t := &show.Table{Columns: []show.Column{
		{Name: "ID", Gives: true, Key: true},
		{Name: "N", Right: true},
		{Name: "TOOK"},
		{Name: "MAYBE", Maybe: true},
		{Name: "SPARE", Spare: 1},
		{Name: "RAW", For: show.Programs},
		{Name: "NICE", For: show.People, Gives: true},
	}}
	t.Row(show.Text("a-name-of-some-length"), show.Count(1024), show.Took(190*time.Second), show.Few(0), show.Ago(now, now.Add(-time.Minute)), show.Text("x\ty"), show.Text("a text that is long enough"))
	t.Row(show.Text("b").Painted(show.Paint(true).Red), show.Count(7))
	return t
}

func TestTable(t *testing.T) {
	for _, c := range []struct {
		name string
		look show.Look
		want string
	}{
		{"wide", show.Look{Width: 120}, `
ID                         N  TOOK      SPARE        NICE
a-name-of-some-length  1 024  3 m 10 s  1 m 0 s ago  a text that is long enough
b                          7`},
		{"less", show.Look{Width: 66}, `
ID                         N  TOOK      NICE
a-name-of-some-length  1 024  3 m 10 s  a text that is long enough
b                          7`},
		{"narrow", show.Look{Width: 50}, `
ID                      N  TOOK      NICE
a-name-of-some-le…  1 024  3 m 10 s  a text that …
b                       7`},
		{"too narrow", show.Look{Width: 30, ASCII: true}, `
ID           N  TOOK      NICE
a-name~  1 024  3 m 10 s  a t~
b            7`},
		{"painted", show.Look{Width: 66, Paint: true}, `
` + "\x1b[1mID                         N  TOOK      NICE\x1b[0m" + `
a-name-of-some-length  1 024  3 m 10 s  a text that is long enough
` + "\x1b[31mb\x1b[0m" + `                          7`},
		{"for programs", show.Look{Plain: true, Paint: true}, `
a-name-of-some-length	1024	3m10s	0	2026-03-04T11:59:00Z	x y
b	7				`},
	} {
		got := "\n" + strings.Join(table().Lines(c.look), "\n")
		if got != c.want {
			t.Errorf("%s:%s\nwant:%s", c.name, got, c.want)
		}
	}
	if n := table().Len(); n != 2 {
		t.Error(n)
	}
}

// A column is as wide as a terminal shows it.
func TestWideTable(t *testing.T) {
	x := &show.Table{Columns: []show.Column{{Name: "ID"}, {Name: "N", Right: true}}}
	x.Row(show.Text("\u5de5\u5177"), show.Count(7))
	x.Row(show.Text("tool"), show.Count(8))
	if got := x.Lines(show.Look{Width: 40}); !slices.Equal(got, []string{"ID    N", "\u5de5\u5177  7", "tool  8"}) {
		t.Errorf("%q", got)
	}
}

// What is shown of a URL is neither a password nor a token, however it is written.
func TestRedacted(t *testing.T) {
	for urls, want := range map[string]string{
		"":                                 "",
		"nats://h:4222":                    "nats://h:4222",
		"h":                                "h",
		"h:4222, tls://i":                  "h:4222,tls://i",
		"nats://me:s3cret@h:4222":          "nats://me:xxxxx@h:4222",
		"me:s3cret@h:4222":                 "me:xxxxx@h:4222",
		"me:s3cret@h":                      "me:xxxxx@h",
		"nats://s3cret@h":                  "nats://xxxxx@h",
		"s3cret@h":                         "xxxxx@h",
		"s3cret@h:4222,me:s3cret@[::1]:42": "xxxxx@h:4222,me:xxxxx@[::1]:42",
		"ws://s3cret@h/path":               "ws://xxxxx@h/path",
		"nats://me:s3@cret@h":              "nats://me:xxxxx@h",
		"me:s3%@cret@h:4222":               "h:4222",
		"nats://me:1/s3@cret@h":            "h",
		"nats://me:s3/cret@h":              "h",
		"nats://me:x@s3/cret@h":            "h",
		"nats://h/s3cret@h":                "h",
		"nats://me:1?s3cret@h":             "h",
		"nats://me:1#s3cret@h":             "h",
	} {
		if got := show.Redacted(urls); got != want {
			t.Errorf("%q: %q, want %q", urls, got, want)
		}
	}
}
