package hold

import "time"

// trust is how long the session is good, as far as its worker can prove.
//
//	sent            answered                     fence        until        sent+TTL
//	 |-----------------|---------------------------|------------|---- Margin ---|
//	 |<------------------------ length ----------------------->|
//	                                               |< length/4 >|
type trust struct {
	length time.Duration // of trust: TTL less Margin
	until  time.Time     // zero: none
	jump   time.Time     // the last jump of the clock; what was sent before it counts for nothing
	lost   time.Time     // since when there is none; zero: there is
}

// at reports whether ownership is provable at now.
func (t *trust) at(now time.Time) bool { return now.Before(t.until) }

// fence is when only a quarter is left.
func (t *trust) fence() time.Time {
	if t.until.IsZero() {
		return t.until
	}
	return t.until.Add(-t.length / 4)
}

// renewed extends trust from the moment when the renewal was sent. The answer to
// an earlier one that comes later shortens nothing.
func (t *trust) renewed(now, sent time.Time) {
	if sent.After(now) { // nothing is sent in the future
		sent = now
	}
	if sent.Before(t.jump) { // measured on a clock that is no more
		return
	}
	if until := sent.Add(t.length); until.After(t.until) {
		t.until = until
	}
	if t.at(now) {
		t.lost = time.Time{}
	}
}

// jumped drops trust: how long ago the last renewal was cannot be told any more.
func (t *trust) jumped(now time.Time) {
	if t.at(now) {
		t.lost = now
	}
	t.until, t.jump = time.Time{}, now
}

// lapsed reports, once, that trust has ended by now.
func (t *trust) lapsed(now time.Time) bool {
	if t.at(now) || !t.lost.IsZero() {
		return false
	}
	t.lost = t.until
	return true
}
