//go:build race

package member

// raced says that the race detector is on: everything takes eight times as long.
const raced = true
