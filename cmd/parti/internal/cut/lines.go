// Package cut makes lines of what commands write.
package cut

import (
	"bytes"
	"unicode/utf8"
)

// Longest is where a longer line is broken, in bytes, where nothing else is said.
const Longest = 64 << 10

// Lines cuts what is written to it into lines, and hands each to Emit without its end:
// more says that the line goes on in the next. It is for one goroutine.
type Lines struct {
	Emit func(line []byte, more bool)
	Max  int // where to break, in bytes
	rest []byte
}

// Write takes the next bytes. It never fails.
func (l *Lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		l.add(p[:i])
		l.Emit(l.rest, false)
		if l.rest = l.rest[:0]; cap(l.rest) > 4*Longest {
			l.rest = nil // such a line is rare
		}
		p = p[i+1:]
	}
	l.add(p)
	return n, nil
}

// add lengthens the line that has no end yet, and breaks it where it is too long:
// before a character rather than within it.
func (l *Lines) add(p []byte) {
	for len(l.rest)+len(p) > l.Max {
		n := l.Max - len(l.rest)
		l.rest = append(l.rest, p[:n]...)
		p = p[n:]
		cut := boundary(l.rest)
		l.Emit(l.rest[:cut], true)
		l.rest = append(l.rest[:0], l.rest[cut:]...)
	}
	l.rest = append(l.rest, p...)
}

// boundary is the length of text without a character that has only begun.
func boundary(text []byte) int {
	for i := 1; i < utf8.UTFMax && i < len(text); i++ {
		if at := len(text) - i; utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				return at
			}
			break
		}
	}
	return len(text)
}

// Close hands over a last line that has no end.
func (l *Lines) Close() {
	if len(l.rest) > 0 {
		l.Emit(l.rest, false)
		l.rest = nil
	}
}
