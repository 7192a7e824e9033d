//go:build unix && !linux

package run

import "time"

// An alarm rings at a time of machineTime. It looks every so often, since a timer does
// not count a suspension.
type alarm struct {
	rings chan struct{}
	times chan time.Duration
	quit  chan struct{}
}

const alarmLook = 50 * time.Millisecond

func newAlarm() (*alarm, error) {
	a := &alarm{rings: make(chan struct{}, 1), times: make(chan time.Duration), quit: make(chan struct{})}
	go func() {
		look := time.NewTicker(alarmLook)
		defer look.Stop()
		due := time.NewTimer(0)
		at := time.Duration(0)
		for {
			select {
			case at = <-a.times:
				due.Reset(at - machineTime())
			case <-due.C:
			case <-look.C:
			case <-a.quit:
				return
			}
			if at == 0 || machineTime() < at {
				continue
			}
			at = 0
			select {
			case a.rings <- struct{}{}:
			default:
			}
		}
	}()
	return a, nil
}

// set lets it ring at that time instead of another. A time that is over rings at once.
func (a *alarm) set(at time.Duration) { a.times <- at }

func (a *alarm) close() { close(a.quit) }
