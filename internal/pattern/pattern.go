// Package pattern compares NATS subjects: tokens joined by dots, of which * stands for
// one token and a > at the end for one or more.
//
// Subjects without such tokens are patterns, too: they stand for themselves. The empty
// subject is within nothing but itself.
package pattern

import "strings"

// Within reports whether everything that a stands for b stands for as well; so also
// whether a literal subject a is matched by b. It allocates nothing.
func Within(a, b string) bool {
	for {
		if a == "" || b == "" {
			return a == b
		}
		x, restA, moreA := strings.Cut(a, ".")
		y, restB, moreB := strings.Cut(b, ".")
		switch {
		case y == ">":
			return true
		case x == ">", y != "*" && x != y, moreA != moreB:
			return false
		case !moreA:
			return true
		}
		a, b = restA, restB
	}
}

// Meet reports whether there is a subject that both stand for. It allocates nothing.
func Meet(a, b string) bool {
	for {
		if a == "" || b == "" {
			return a == b
		}
		x, restA, moreA := strings.Cut(a, ".")
		y, restB, moreB := strings.Cut(b, ".")
		switch {
		case x == ">" || y == ">":
			return true
		case x != y && x != "*" && y != "*", moreA != moreB:
			return false
		case !moreA:
			return true
		}
		a, b = restA, restB
	}
}

// WithinAny reports whether a is within one of the patterns.
func WithinAny(a string, patterns []string) bool {
	for _, p := range patterns {
		if Within(a, p) {
			return true
		}
	}
	return false
}

// Mapped is what the subjects are within that a subject transform makes, by its destination:
// a mapping function, such as {{wildcard(1)}} or $1, stands for any token. One that makes
// several of a token, as split and slice do, stands for any number of them, and so does all
// that follows it.
func Mapped(destination string) string {
	tokens := strings.Split(destination, ".")
	for i, token := range tokens {
		function, ok := strings.CutPrefix(token, "{{")
		function = strings.ToLower(strings.TrimSpace(function))
		switch {
		case ok && (strings.HasPrefix(function, "split") || strings.HasPrefix(function, "slice")):
			return strings.Join(append(tokens[:i], ">"), ".")
		case ok, len(token) > 1 && token[0] == '$' && token[1] >= '0' && token[1] <= '9':
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}
