//go:build unix

package run

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The tests' program is a guardian as well.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == GuardianWord {
		if err := Guard(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
