package run

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineTime is the time since the machine started, suspension included. It is the
// same in all processes.
func machineTime() time.Duration { return readClock(unix.CLOCK_BOOTTIME) }
