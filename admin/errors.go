package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/plan"
)

// ErrNoGroup says that there is no such group: no bucket of that name.
var ErrNoGroup = errors.New("there is no such group")

// A NotFoundError says that there is nothing of that name.
type NotFoundError struct {
	// What is "worker", "partition" or the kind of a control.
	What string
	Name string
	// Nearest is the most similar name that there is, or empty.
	Nearest string
	// Unnamed is how many partitions without an owner no record names, and so may be the one
	// that was asked for: see [Snapshot.Unnamed]. 0 where it is not a partition.
	Unnamed int
}

func (e *NotFoundError) Error() string {
	text := fmt.Sprintf("there is no %s %q", e.What, e.Name)
	if e.Nearest != "" {
		text += fmt.Sprintf("; did you mean %q?", e.Nearest)
	}
	if e.Unnamed > 0 {
		text += "; it may be among what no record names: " + counted(e.Unnamed) + " without an owner"
	}
	return text
}

// A ConflictError says that another operator was faster: what they want stands, and
// what was asked for does not.
type ConflictError struct {
	// Theirs is what stands now; its zero value: what was there was taken back.
	Theirs plan.Control
}

func (e *ConflictError) Error() string {
	if e.Theirs.Kind == "" {
		return "another operator has just taken it back"
	}
	return fmt.Sprintf("another operator was faster: %s, by %s at %s", describe(e.Theirs), someone(e.Theirs.Who), e.Theirs.When.UTC().Format(time.TimeOnly))
}

// A RefusedError says why something is not done, although it could be asked for.
type RefusedError struct {
	What, Why string
	Try       string // empty: there is nothing to be done about it
}

func (e *RefusedError) Error() string {
	if e.Try == "" {
		return e.What + ": " + e.Why
	}
	return e.What + ": " + e.Why + "; try: " + e.Try
}

func someone(who string) string {
	if who == "" {
		return "somebody"
	}
	return who
}

// describe says what a control wants.
func describe(c plan.Control) string {
	text := string(c.Kind)
	if c.Partition != "" {
		text += " " + c.Partition
	}
	if c.Worker != "" {
		if c.Partition != "" {
			way := " to"
			if c.Kind == plan.Ban || c.Kind == plan.ForceRelease {
				way = " from"
			}
			text += way
		}
		text += " " + c.Worker
	}
	return text
}

// notFound names the nearest of those that there are.
func notFound(what, name string, there []string) *NotFoundError {
	return &NotFoundError{What: what, Name: name, Nearest: nearest(name, there)}
}

// nearest is the name with the fewest differences, if these are few.
func nearest(name string, there []string) string {
	best, least := "", len(name)/2+1
	for _, other := range there {
		if d := distance(strings.ToLower(name), strings.ToLower(other), least); d < least {
			best, least = other, d
		}
	}
	return best
}

// distance is how many characters must be added, removed or replaced to make b of a: the
// distance of Levenshtein (Soviet Physics Doklady 10, 1966), in two rows. It is most where
// it is not less.
func distance(a, b string, most int) int {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) >= most {
		return most
	}
	row := make([]int, len(a)+1)
	for i := range row {
		row[i] = i
	}
	for j := range len(b) {
		diagonal := row[0]
		row[0] = j + 1
		for i := range len(a) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[i], row[i+1])
			}
			diagonal, row[i+1] = row[i+1], cost
		}
		if slices.Min(row) >= most {
			return most
		}
	}
	return min(row[len(a)], most)
}
