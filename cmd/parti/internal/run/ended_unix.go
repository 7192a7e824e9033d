//go:build unix

package run

import (
	"fmt"
	"time"
)

// ended tells how a command ended, and after how long.
func (t *talk) ended(j job, pid int, e end, took time.Duration) {
	r := record{
		Event: "ended", Worker: j.Worker, Partition: j.Partition, Token: j.Token, PID: pid,
		Took: took.Milliseconds(), Why: string(e.Why),
		Text: fmt.Sprintf("%s has ended after %s: %s", j.Partition, short(took), e),
	}
	switch {
	case e.Lost:
		r.Why = "guardian"
	case e.Signal != 0:
		r.Signal = signalName(e.Signal)
	default:
		r.Code = &e.Code
	}
	t.say(r)
}
