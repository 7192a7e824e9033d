package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// Code is a process's exit code.
type Code int

// The exit codes.
const (
	Done      Code = 0
	Failed    Code = 1
	Usage     Code = 2
	NotFound  Code = 3
	Forbidden Code = 4
	TimedOut  Code = 5
)

// codes is the one table of them, as the help shows it.
var codes = []struct {
	code Code
	says string
}{
	{Done, "done"},
	{Failed, "failed"},
	{Usage, "the command line is wrong"},
	{NotFound, "no such group, worker or partition"},
	{Forbidden, "not permitted"},
	{TimedOut, "timed out waiting"},
}

func codeHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, c := range codes {
		fmt.Fprintf(&b, "  %d  %s\n", c.code, c.says)
	}
	return b.String()
}

// An Error says what went wrong, why, and what to try.
type Error struct {
	Code Code
	What string
	Why  error  // may be nil
	Try  string // may be empty
}

func (e *Error) Error() string {
	if e.Why == nil {
		return e.What
	}
	return e.What + ": " + e.Why.Error()
}

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Why }

// report tells of err, and returns the code to exit with.
func report(w io.Writer, err error) Code {
	if err == nil {
		return Done
	}
	if said := (*silent)(nil); errors.As(err, &said) {
		return said.code
	}
	e := (*Error)(nil)
	if !errors.As(err, &e) {
		e = &Error{Code: Failed, What: err.Error()}
	}
	fmt.Fprintf(w, "parti: %s\n", cleanLines(e.Error()))
	if e.Try != "" {
		fmt.Fprintf(w, "try: %s\n", cleanLines(e.Try))
	}
	return e.Code
}

// cleanLines cleans text that may have several lines, each for itself.
func cleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = show.Clean(line)
	}
	return strings.Join(lines, "\n")
}
