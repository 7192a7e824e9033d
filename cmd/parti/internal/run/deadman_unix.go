//go:build unix

package run

import (
	"sync"
	"syscall"
	"time"
)

// A deadman kills every group when trust is over, also while the guardian's loop hangs: the
// start of a program, or a look at what is left of one, may wait for a file system that is as
// far away as NATS is. What became of them the loop says when it goes on.
type deadman struct {
	alarm *alarm
	quit  chan struct{}

	mu     sync.Mutex
	killAt time.Duration
	groups map[int]bool
}

func newDeadman() (*deadman, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, err
	}
	d := &deadman{alarm: a, quit: make(chan struct{}), groups: map[int]bool{}}
	go d.watch()
	return d, nil
}

func (d *deadman) watch() {
	for {
		select {
		case <-d.alarm.rings:
		case <-d.quit:
			return
		}
		d.mu.Lock()
		if d.killAt > 0 && machineTime() >= d.killAt {
			for group := range d.groups {
				_ = syscall.Kill(-group, syscall.SIGKILL)
			}
		}
		d.mu.Unlock()
	}
}

// trust says until when it is to wait.
func (d *deadman) trust(killAt time.Duration) {
	d.mu.Lock()
	d.killAt = killAt
	d.mu.Unlock()
	d.alarm.set(killAt)
}

func (d *deadman) add(group int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.groups[group] = true
}

func (d *deadman) close() {
	close(d.quit)
	d.alarm.close()
}

// remove is for a group of which nothing is left: its number may be another's.
func (d *deadman) remove(group int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.groups, group)
}
