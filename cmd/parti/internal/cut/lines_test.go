package cut

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("é", Longest) // two bytes each
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a\nb\n", "a;b;"},
		{"a\n\nb", "a;;b;"},
		{"\r\n", "\r;"},
		{strings.Repeat("x", Longest) + "\n", strings.Repeat("x", Longest) + ";"},
		{strings.Repeat("x", Longest+1), strings.Repeat("x", Longest) + "+x;"},
		{"x" + long, "x" + long[:Longest-2] + "+" + long[:Longest] + "+" + "é" + ";"},
	} {
		for _, size := range []int{1, 7, 32 << 10, 1 << 20} {
			var got strings.Builder
			l := &Lines{Max: Longest, Emit: func(line []byte, more bool) {
				got.Write(line)
				got.WriteByte(map[bool]byte{true: '+', false: ';'}[more])
			}}
			for in := []byte(c.in); len(in) > 0; {
				n := min(size, len(in))
				_, _ = l.Write(in[:n])
				in = in[n:]
			}
			l.Close()
			if got.String() != c.want {
				t.Errorf("%.20q in pieces of %d: %d bytes, want %d", c.in, size, got.Len(), len(c.want))
			}
		}
	}
}

// Whatever is written, in whatever pieces, comes out, and no line is too long.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb"), uint64(1))
	f.Add(bytes.Repeat([]byte("é"), Longest), uint64(2))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		var got []byte
		l := &Lines{Max: Longest, Emit: func(line []byte, more bool) {
			if len(line) > Longest || bytes.IndexByte(line, '\n') >= 0 {
				t.Errorf("a line of %d bytes", len(line))
			}
			got = append(got, line...)
			if !more {
				got = append(got, '\n')
			} else if utf8.Valid(in) && !utf8.Valid(line) {
				t.Error("a character is broken")
			}
		}}
		for rest := in; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			_, _ = l.Write(rest[:n])
			rest = rest[n:]
		}
		l.Close()
		want := in
		if len(in) > 0 && in[len(in)-1] != '\n' {
			want = append(bytes.Clone(in), '\n')
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes instead of %d", len(got), len(want))
		}
	})
}

// The memory for a very long line is not kept for those after it.
func TestALongLineIsForgotten(t *testing.T) {
	l := &Lines{Max: 1 << 20, Emit: func([]byte, bool) {}}
	for _, piece := range []string{strings.Repeat("x", 1<<20), "\n", "y"} {
		_, _ = l.Write([]byte(piece))
	}
	if cap(l.rest) > 4*Longest {
		t.Errorf("it keeps %d bytes", cap(l.rest))
	}
}
