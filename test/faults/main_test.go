package faults

import (
	"fmt"
	"os"
	"testing"

	"github.com/parti-go/parti/test/natstest"
)

// This process may be a worker and not a test.
func TestMain(m *testing.M) {
	if name := os.Getenv(asWorker); name != "" {
		if err := worker(name); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	natstest.SideBySide()
	natstest.VerifyTestMain(m)
}
