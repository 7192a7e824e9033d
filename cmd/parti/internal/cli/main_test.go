package cli

import (
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Nothing that a demo starts outlives it.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // what goes wrong here does so on purpose
	goleak.VerifyTestMain(unhurried{m})
}

// unhurried are all tests, and the end of what they started: connections and servers that
// were closed end a moment later, and goleak waits for half a second.
type unhurried struct{ *testing.M }

func (u unhurried) Run() int {
	code := u.M.Run()
	for late := time.Now().Add(testTime); code == 0 && time.Now().Before(late); {
		if goleak.Find() == nil {
			break
		}
	}
	return code
}
