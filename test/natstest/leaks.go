package natstest

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// VerifyTestMain is goleak's, which waits for half a second: where a machine is busy, it may
// take what a server has left behind that long to end.
func VerifyTestMain(m *testing.M, opts ...goleak.Option) {
	goleak.VerifyTestMain(patient{m, opts}, opts...)
}

// A patient run ends when nothing is left of it, or after a while.
type patient struct {
	*testing.M

	opts []goleak.Option
}

func (p patient) Run() (code int) {
	code = p.M.Run()
	for late := time.Now().Add(20 * time.Second); code == 0 && time.Now().Before(late); {
		if goleak.Find(p.opts...) == nil {
			break
		}
	}
	return code
}
