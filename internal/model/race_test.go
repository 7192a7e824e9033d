//go:build race

package model

// The explorer is one goroutine: the race detector finds nothing in it and makes it
// some ten times slower, so with it only small scopes are explored. make explore has
// all of them.
func init() { largest = 10_000 }
