//go:build !linux

package parti

import "time"

// bootTime is not known here: a suspension is noticed only by the wall clock.
func bootTime() (time.Duration, bool) { return 0, false }

// realTime does not matter where there is no boot time.
func realTime() bool { return true }
