package cli

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing that a demo starts outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
