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
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	mark := "…"
	if l.ASCII {
		mark = "~"
	}
	return string([]rune(text)[:max(width-1, 0)]) + mark
}

// ascii replaces what we write beyond it.
var ascii = strings.NewReplacer("·", "-", "█", "#", "▏", "|", "★", "*", "…", "...", "–", "-", "→", "->", "×", "x", "≥", ">=", "≤", "<=", "\uFFFD", "?")

// Wrap breaks text at spaces, into lines that are at most so wide where words are not
// longer themselves.
func Wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
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
