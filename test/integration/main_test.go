package integration

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	natstest.SideBySide()
	goleak.VerifyTestMain(m)
}
