package kv

import "context"

// A Finding is one thing that was looked at, for people.
type Finding struct {
	// About is what was looked at, in a word or two: "server", "bucket", "clock".
	About string `json:"about"`
	Level Grade  `json:"level"`
	// What was found, why that matters, and what to do about it; the latter two are empty
	// where all is well.
	What string `json:"what"`
	Why  string `json:"why,omitempty"`
	Fix  string `json:"fix,omitempty"`
}

// Grade says how bad a finding is.
type Grade string

// The grades.
const (
	Fine  Grade = "ok"
	Note  Grade = "note"    // good to know
	Warn  Grade = "warning" // it will do harm some day
	Wrong Grade = "bad"     // it does harm now
)

// An Inspector is a store that can look at itself and at its surroundings. It writes
// nothing that stays, and reports what it is not permitted to look at as a Note.
type Inspector interface {
	Inspect(ctx context.Context) ([]Finding, error)
}
