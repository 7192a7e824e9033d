//go:build unix

package run

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// envGuardian makes a guardian that is of no use: one that is never ready, or the code that it
// exits with at once.
const envGuardian = "TEST_GUARDIAN"

// The tests' program is a guardian as well.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == GuardianWord {
		if how := os.Getenv(envGuardian); how == "silent" {
			_, _ = io.Copy(io.Discard, os.NewFile(guardianFD, "parti")) // until parti lets go
			os.Exit(0)
		} else if code, err := strconv.Atoi(how); err == nil {
			os.Exit(code)
		}
		if err := Guard(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
