// Package hatch lets package partitest do to a Manager what no user may: stop it
// where it stands, as if its process were frozen or gone.
package hatch

import "context"

// Open finds the way into a *parti.Manager, and reports false for anything else. Package
// parti sets it.
var Open func(manager any) (Worker, bool) //nolint:gochecknoglobals // the one way from below into a package above, set once before main

// A Worker is the inside of a Manager.
type Worker interface {
	// Store is what the Manager was made with.
	Store() any

	// Begin starts it, as Start does, but waits for nothing.
	Begin(ctx context.Context) error

	// Started reports whether it was started. What follows may only be called then.
	Started() bool

	// Freeze stops it as it stands: nothing is decided, renewed, started, stopped or
	// answered until thaw; handlers that run go on. It waits until the step under way is
	// over. Freezes may overlap, and end each by its own thaw, which may be called again.
	Freeze() (thaw func())

	// Bury ends it for good without another word to its store: the contexts of its
	// handlers end, and what is frozen of it never wakes. It returns when all has ended,
	// or handlers have had a second for it. Stop returns then, with an error.
	Bury()
}
