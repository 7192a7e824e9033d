package parti

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

// Workers without a logger say what is wrong with their store; here that is on purpose.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}
