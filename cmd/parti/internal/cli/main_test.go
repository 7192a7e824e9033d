package cli

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

// Nothing that a demo starts outlives it.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // what goes wrong here does so on purpose
	goleak.VerifyTestMain(m)
}
