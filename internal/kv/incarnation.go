package kv

import "time"

// seqBits is how much of a [Rev] counts within one incarnation: 2^38 writes are
// eight years of a thousand writes a second, and leave 26 bits of incarnation.
const seqBits = 38

// Floor is the last revision before any of that incarnation. A new store begins
// above it, so that a revision tells by itself which incarnation it is of, and
// none of a later one is ever below one of an earlier.
func Floor(incarnation uint32) Rev { return Rev(incarnation) << seqBits }

// MaxIncarnation is the largest incarnation that a revision can hold.
const MaxIncarnation = 1<<(64-seqBits) - 1

// Incarnation is the incarnation that r was given out in.
func (r Rev) Incarnation() uint32 { return uint32(r >> seqBits) }

// epoch is where the count of incarnations begins.
var epoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// FirstIncarnation is the incarnation of a store that nobody remembers: the
// minutes since 2025 began. So a store that was forgotten by everybody still gets
// a higher one than it had, as long as it was made anew less than once a minute.
func FirstIncarnation(now time.Time) uint32 {
	return uint32(min(max(now.Sub(epoch)/time.Minute, 1), MaxIncarnation))
}
