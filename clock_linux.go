package parti

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is the time since the machine started, suspension included.
func bootTime() (time.Duration, bool) { return readClock(unix.CLOCK_BOOTTIME) }

// realTime reports whether package time tells the machine's time. In a
// testing/synctest bubble it does not.
func realTime() bool {
	for range 3 { // the two readings may be apart once, by chance
		wall, ok := readClock(unix.CLOCK_REALTIME)
		if !ok {
			return false
		}
		if d := time.Since(time.Unix(0, int64(wall))); -time.Second < d && d < time.Second {
			return true
		}
	}
	return false
}

func readClock(id int32) (time.Duration, bool) {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
