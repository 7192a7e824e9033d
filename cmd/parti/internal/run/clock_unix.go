//go:build unix && !linux

package run

import (
	"time"

	"golang.org/x/sys/unix"
)

// machineTime is a time that is the same in all processes. Of a suspension it knows as
// much as the system does: on macOS it counts it.
func machineTime() time.Duration { return readClock(unix.CLOCK_MONOTONIC) }
