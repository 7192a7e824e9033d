package run

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepareGuardian makes the guardian hard to do without. What is not allowed is left.
func prepareGuardian() {
	// Orphans of what it starts become its children, whatever they did to get away.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	// What was once in memory stays there. Not what is to come: where there is a limit,
	// memory that cannot be locked could not be had at all.
	_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_ONFAULT)
	// "pkill parti" is for parti.
	_ = os.WriteFile("/proc/self/comm", []byte("guardian"), 0)
}

// childAttributes give a command a group of its own, and let it die with the guardian.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// children are those of this process, dead or alive.
func children() (all []int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// self is the program that runs, even if its file was replaced since.
func self() (string, error) { return "/proc/self/exe", nil }
