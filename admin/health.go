package admin

import (
	"fmt"
	"time"
)

// A Level grades what is wrong, in the order of severity that monitoring uses.
type Level uint8

// The levels.
const (
	OK Level = iota
	Warning
	Critical
	Unknown
)

// String is ok, warning, critical or unknown.
func (l Level) String() string {
	return [...]string{"ok", "warning", "critical", "unknown"}[min(l, Unknown)]
}

// MarshalText writes the word.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a word; one that it does not know is an error.
func (l *Level) UnmarshalText(text []byte) error {
	for _, known := range []Level{OK, Warning, Critical, Unknown} {
		if known.String() == string(text) {
			*l = known
			return nil
		}
	}
	return fmt.Errorf("admin: unknown level %q", text)
}

// Limits say from when on a group is not well. A zero field is not looked at, but for
// those that say otherwise.
type Limits struct {
	// MinWorkers is how many workers must be there: fewer are critical.
	MinWorkers int
	// Unassigned partitions: more are a warning, and critical. Negative: not looked at.
	UnassignedWarn, UnassignedCritical int
	// Moving: how long a worker may take to let go of what it was asked for.
	MovingWarn, MovingCritical time.Duration
	// Load: how much of its fair share a worker may have, in thousandths of it: 1000 is just
	// that.
	LoadWarn, LoadCritical int64
}

// DefaultLimits want somebody to lead and no partition to be without an owner, let a
// handler take a minute to stop, and do not mind the load.
func DefaultLimits() Limits {
	return Limits{MinWorkers: 1, MovingWarn: time.Minute, MovingCritical: 10 * time.Minute}
}

// Health is how a group is.
type Health struct {
	Schema   int      `json:"schema"`
	Level    Level    `json:"level"`
	Sentence string   `json:"sentence"`
	Problems []string `json:"problems,omitempty"` // worst first
	Metrics  []Metric `json:"metrics"`
}

// A Metric is a number that monitoring keeps.
type Metric struct {
	// Name is in words joined by _, as Prometheus wants it; Unit is empty or "s".
	Name  string  `json:"name"`
	Help  string  `json:"help"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
}

// Health judges a snapshot.
func (s *Snapshot) Health(l Limits) Health {
	h := Health{Schema: Schema, Sentence: s.Sentence}
	var found [Unknown + 1][]string
	problem := func(level Level, format string, a ...any) {
		found[level] = append(found[level], fmt.Sprintf(format, a...))
		h.Level = max(h.Level, level)
	}
	above := func(n, warn, critical int64, text string) {
		switch {
		case critical >= 0 && n > critical:
			problem(Critical, "%s", text)
		case warn >= 0 && n > warn:
			problem(Warning, "%s", text)
		}
	}
	switch {
	case s.Leader == nil:
		problem(Critical, "nobody leads")
	case !s.Leader.Answers:
		problem(Warning, "the leader, %s, does not answer", s.Leader.Worker)
	case !s.Leader.Leads: // since when cannot be told: where none can take its term, each soon gives way to another
		problem(Warning, "the leader, %s, has not taken its term: it was elected only just now, or the store does not take its plans", s.Leader.Worker)
	}
	if n := s.Counts.Workers; n < l.MinWorkers {
		problem(Critical, "%s there, and at least %d should be", map[bool]string{true: "1 worker is", false: number(n) + " workers are"}[n == 1], l.MinWorkers)
	}
	are := map[bool]string{true: " is", false: " are"}[s.Counts.Unassigned == 1]
	above(int64(s.Counts.Unassigned), int64(l.UnassignedWarn), int64(l.UnassignedCritical), counted(s.Counts.Unassigned)+are+" unassigned")
	var moving time.Duration
	for _, p := range s.Pending {
		if p.Holds != "" {
			moving = max(moving, p.For.Duration())
		}
	}
	above(int64(moving), limit(int64(l.MovingWarn)), limit(int64(l.MovingCritical)), fmt.Sprintf("partitions have waited for their owner to let go for %s", Duration(moving)))
	var load int64
	for _, w := range s.Workers {
		load = max(load, w.Load)
		switch w.State {
		case "suspect", "vanished", stateSilent:
			problem(Warning, "%s is %s: %s", w.ID, w.State, w.Why)
		}
	}
	above(load, limit(l.LoadWarn), limit(l.LoadCritical), fmt.Sprintf("the fullest worker has %s of its fair share", percent(load)))
	for _, a := range s.Alerts {
		problem(Warning, "%s: %s", a.Worker, a.Text)
	}
	for _, u := range s.Unreadable {
		problem(Warning, "%s cannot be read: %s", u.Key, u.Err)
	}
	for level := Unknown; level > OK; level-- {
		h.Problems = append(h.Problems, found[level]...)
	}
	led := 0.0
	if s.Leader != nil && (s.Leader.Leads || !s.Leader.Answers) { // what does not answer may lead all the same
		led = 1
	}
	h.Metrics = []Metric{
		{Name: "workers", Help: "Workers that are there and can own partitions.", Value: float64(s.Counts.Workers)},
		{Name: "partitions", Help: "Partitions that the source lists.", Value: float64(s.Counts.Partitions)},
		{Name: "unassigned", Help: "Partitions without an owner.", Value: float64(s.Counts.Unassigned)},
		{Name: "moving", Help: "Partitions that their owners were asked to let go of.", Value: float64(s.Counts.Moving)},
		{Name: "aside", Help: "Partitions that are kept out of the plan.", Value: float64(s.Counts.Aside)},
		{Name: "running", Help: "Handlers that run.", Value: float64(s.Counts.Running)},
		{Name: "led", Help: "1 when somebody leads.", Value: led},
		{Name: "moving_longest_seconds", Help: "How long the longest release has taken so far.", Value: moving.Seconds(), Unit: "s"},
		{Name: "load_peak_ratio", Help: "Load of the fullest worker over its fair share.", Value: float64(load) / 1000},
	}
	return h
}

// limit is a limit, or none where it is 0.
func limit(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}
