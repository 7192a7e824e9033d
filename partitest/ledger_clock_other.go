//go:build !linux

package partitest

import "time"

// machineClock is not known here.
func machineClock() (time.Duration, bool) { return 0, false }
