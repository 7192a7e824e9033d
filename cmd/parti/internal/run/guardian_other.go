//go:build unix && !linux

package run

import (
	"os"
	"syscall"
)

// prepareGuardian does nothing: these systems give orphans to their first process.
func prepareGuardian() {}

// childAttributes give a command a group of its own.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// children are not told here.
func children() []int { return nil }

func self() (string, error) { return os.Executable() }
