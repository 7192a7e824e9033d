package partitest

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineClock reads the clock by which package time measures, which all processes of
// the machine share.
func machineClock() (time.Duration, bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
