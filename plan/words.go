package plan

import (
	"fmt"
	"time"
)

// Millis is a duration in whole milliseconds, as records keep it.
type Millis int64

// ToMillis rounds d up to whole milliseconds.
func ToMillis(d time.Duration) Millis {
	return Millis((d + time.Millisecond - 1) / time.Millisecond)
}

// Duration is m as package time counts.
func (m Millis) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Why is the reason for a plan or for one move in it. People alert on it, so
// the words do not change.
type Why uint8

// The reasons, in no order that matters.
const (
	WhyNone        Why = iota
	WhyFirstPlan       // the group's first plan
	WhyRestarted       // most of the group came back at once
	WhyRecovered       // the store was lost or went back; rebuilt from what workers hold
	WhyJoined          // a worker joined
	WhyReplaced        // a worker left and another joined within one window
	WhyLeaving         // a worker is stopping on purpose
	WhyLost            // a worker is lost
	WhyDrain           // an operator drains a worker
	WhyPartitions      // partitions were added or removed
	WhyWeights         // weights or labels of partitions changed
	WhyPin             // a pin demands it
	WhySettings        // what operators want changed, or a worker's share, capacity, zone or labels
	WhyRebalance       // an operator asked for it
	WhyBalance         // evening out after an emergency
	WhyReceipt         // a former owner has let go
	WhyQuarantine      // owners kept crashing on it, or its time is over
	WhyRejected        // the handler said ErrReject
	WhyDone            // the handler said ErrDone
	WhyCapacity        // there is no room for it
	WhyReturn          // back to where it was before
	WhyTerm            // a new leader's first commit
	WhyOverload        // its worker had more than it should
	WhyNewCapacity     // its next worker had less than it should
	WhyZone            // too many of its label were in one zone
	WhyBan             // an operator does not want it where it was
	WhyMove            // an operator moved it
	whyEnd
)

var whyWords = [...]string{
	WhyNone: "none", WhyFirstPlan: "first-plan", WhyRestarted: "restarted", WhyRecovered: "recovered",
	WhyJoined: "joined", WhyReplaced: "replaced", WhyLeaving: "leaving", WhyLost: "lost", WhyDrain: "drain",
	WhyPartitions: "partitions", WhyWeights: "weights", WhyPin: "pin", WhySettings: "settings",
	WhyRebalance: "rebalance", WhyBalance: "balance", WhyReceipt: "receipt", WhyQuarantine: "quarantine",
	WhyRejected: "rejected", WhyDone: "done", WhyCapacity: "capacity", WhyReturn: "return", WhyTerm: "term",
	WhyOverload: "overload", WhyNewCapacity: "new-capacity", WhyZone: "zone",
	WhyBan: "ban", WhyMove: "move",
}

// String is the word for w that records, logs and screens use.
func (w Why) String() string {
	if w < whyEnd {
		return whyWords[w]
	}
	return fmt.Sprintf("why(%d)", uint8(w))
}

// MarshalText writes the word.
func (w Why) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads a word. One that it does not know becomes WhyNone, since
// a later release may have more of them.
func (w *Why) UnmarshalText(text []byte) error {
	*w = WhyNone
	for i, word := range whyWords {
		if word == string(text) {
			*w = Why(i)
		}
	}
	return nil
}

// Phase is what the group is doing, as its leader last said. It is independent
// of the state of any one worker.
type Phase uint8

// The phases of a group.
const (
	ColdStart   Phase = iota // no plan yet: waiting for workers
	Stable                   // nothing is pending
	Scaling                  // a window is open: workers joined or left, or a setting changed
	Rebalancing              // partitions are on their way
	Emergency                // a worker is lost and its partitions are not placed yet, for which there is room
	Paused                   // an operator paused voluntary moves
	Recovering               // the leader is not sure of what it sees, or the store came back
	phaseEnd
)

var phaseWords = [...]string{
	ColdStart: "ColdStart", Stable: "Stable", Scaling: "Scaling", Rebalancing: "Rebalancing",
	Emergency: "Emergency", Paused: "Paused", Recovering: "Recovering",
}

// String is the word for p that records, logs and screens use.
func (p Phase) String() string {
	if p < phaseEnd {
		return phaseWords[p]
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// MarshalText writes the word.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a word; one that it does not know is an error.
func (p *Phase) UnmarshalText(text []byte) error {
	for i, word := range phaseWords {
		if word == string(text) {
			*p = Phase(i)
			return nil
		}
	}
	return fmt.Errorf("plan: unknown phase %q", text)
}
