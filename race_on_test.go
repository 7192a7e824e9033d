//go:build race

package parti

const raceEnabled = true
