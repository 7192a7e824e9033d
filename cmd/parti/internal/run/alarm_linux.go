package run

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An alarm rings at a time of machineTime, at once after a suspension that went over it.
type alarm struct {
	rings chan struct{}
	file  *os.File
	fd    int
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{rings: make(chan struct{}, 1), file: os.NewFile(uintptr(fd), "alarm"), fd: fd}
	go func() {
		var count [8]byte
		for {
			if _, err := a.file.Read(count[:]); err != nil {
				return
			}
			select {
			case a.rings <- struct{}{}:
			default:
			}
		}
	}()
	return a, nil
}

// set lets it ring at that time instead of another. A time that is over rings at once.
func (a *alarm) set(at time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(at), 1))}
	if err := unix.TimerfdSettime(a.fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic("parti: the alarm cannot be set: " + err.Error())
	}
}

func (a *alarm) close() { _ = a.file.Close() }
