package member

import (
	"fmt"
	"time"
)

// lateMost is how many renewals are found to be stored, and none is answered meanwhile,
// until people are told.
const lateMost = 3

// lateAbout is what the alert is about.
const lateAbout = "slow store"

// A late counts renewals that were stored and whose answer did not come in time. Nothing
// else tells of them: each is as good as lost, trust runs out and nobody leads, while the
// store, and every read of it, is well.
type late struct {
	n       int
	longest time.Duration // that was waited for an answer in vain
	unknown bool          // the last one had no answer
}

// asked takes in how the last renewal was answered, and how long that took.
func (l *late) asked(class Class, took time.Duration) {
	if l.unknown = class == Unknown; l.unknown {
		l.longest = max(l.longest, took)
	}
}

// found takes in that the last renewal is stored, as was read. It reports whether people
// are to be told now.
func (l *late) found() bool {
	if !l.unknown {
		return false
	}
	l.unknown = false
	l.n++
	return l.n == lateMost
}

// over takes in that one was answered. It reports whether people had been told.
func (l *late) over() bool {
	told := l.n >= lateMost
	*l = late{}
	return told
}

func (l *late) text() string {
	return fmt.Sprintf("the store takes longer than %v to answer writes: this session is renewed, and nothing proves it in time. "+
		"Give requests more time with natskv.WithRequestTimeout; no request may take more than 5s, nor more than a quarter of SessionTTL less FenceMargin, "+
		"so that SessionTTL must be longer for it as well", l.longest.Round(10*time.Millisecond))
}
