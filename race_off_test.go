//go:build !race

package parti

const raceEnabled = false
