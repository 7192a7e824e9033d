//go:build unix

package run

import (
	"time"

	"golang.org/x/sys/unix"
)

func readClock(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic("parti: the machine does not tell the time: " + err.Error())
	}
	return time.Duration(ts.Nano())
}
