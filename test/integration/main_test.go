package integration

import (
	"testing"

	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	natstest.SideBySide()
	natstest.VerifyTestMain(m)
}
