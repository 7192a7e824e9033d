package cli

import (
	"slices"
	"strings"

	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// nearest is the one of the names that was probably meant by word, or empty when
// none is near enough. Of several that are as near, the first in order counts.
func nearest(word string, names []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, name := range slices.Sorted(slices.Values(names)) {
		d := distance(strings.ToLower(word), strings.ToLower(name))
		if len(word) > 2 && strings.HasPrefix(strings.ToLower(name), strings.ToLower(word)) {
			d = min(d, 1)
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour that make a into b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := range x {
		row[0] = i + 1
		for j := range y {
			change := 1
			if x[i] == y[j] {
				change = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+change)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}

// meant is the sentence that names what was probably meant, or lists what there is
// when that is little.
func meant(word string, names []string) string {
	const few = 8
	if n := nearest(word, names); n != "" {
		return "did you mean " + n + "?"
	}
	switch sorted := slices.Sorted(slices.Values(names)); {
	case len(sorted) == 0:
		return "there is none"
	case len(sorted) <= few:
		return "there is " + strings.Join(sorted, ", ")
	default:
		return "there is " + strings.Join(sorted[:few], ", ") + " and " + show.Number(len(sorted)-few) + " more"
	}
}
