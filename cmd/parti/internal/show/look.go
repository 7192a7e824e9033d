// Package show is how the command puts things on a screen, or writes them for
// another program: tables, counts, durations and colours.
package show

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Look is how to write: for which terminal, or for none.
type Look struct {
	Width, Height int
	Paint         Paint
	ASCII         bool // nothing beyond ASCII
	// Plain is for programs: no header, no alignment, tabs between columns, and
	// numbers, times and durations as machines read them.
	Plain bool
}

// Clean is text, which may be anybody's, without control characters: those that are space
// become one, and the others, which a terminal would obey, a mark; so do those that turn what
// follows around, as for writing from right to left. It stays on its line and
// in its column, and as long as it was.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069':
			return utf8.RuneError
		case !unicode.IsControl(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		default:
			return utf8.RuneError
		}
	}, text)
}

// Cut is text that is clean, and shortened to a width, with a mark where something is missing.
func (l Look) Cut(text string, width int) string {
	text = Clean(text)
	if l.ASCII {
		text = ascii.Replace(text)
	}
	if Width(text) <= width {
		return text
	}
	mark := "…"
	if l.ASCII {
		mark = "~"
	}
	end, used := 0, 0
	for i, r := range text {
		if used += columns(r); used > width-1 {
			break
		}
		end = i + utf8.RuneLen(r)
	}
	return text[:end] + mark
}

// Width is how many columns of a terminal text takes that is clean.
func Width(text string) (n int) {
	for _, r := range text {
		n += columns(r)
	}
	return n
}

// columns is how many one character takes: those of East Asia two, and none what goes onto the
// character before.
func columns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	default:
		return 1
	}
}

// wide are the characters that take two columns, by and large: the widths that Unicode calls
// W and F (UAX 11), with what few of another lie between them.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1},
		{Lo: 0x2e80, Hi: 0x303e, Stride: 1},
		{Lo: 0x3041, Hi: 0xa4cf, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1},
		{Lo: 0xfe30, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff00, Hi: 0xff60, Stride: 1},
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1},
		{Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1},
		{Lo: 0x1f900, Hi: 0x1f9ff, Stride: 1},
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}

// ascii replaces what we write beyond it.
var ascii = strings.NewReplacer("·", "-", "█", "#", "▏", "|", "★", "*", "…", "...", "–", "-", "→", "->", "×", "x", "≥", ">=", "≤", "<=", "\uFFFD", "?")

// Wrap breaks text at spaces, into lines that are at most so wide where words are not
// longer themselves.
func Wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && Width(line)+1+Width(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
