//go:build race

package model

// The explorer is one goroutine: the race detector finds nothing in it and makes it
// some ten times slower, so with it the large scopes are left out.
func init() { largest = 150_000 }
