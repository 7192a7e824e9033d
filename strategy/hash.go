package strategy

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// The numbers below decide who owns what in every process of a group, of every
// release and architecture, at the same time: they are fixed for good, and a golden
// test says so. XXH64 is specified to the bit, and so is the rest, in integers.

// digest is the place of an ID among all IDs: its XXH64 with seed 0.
func digest(id string) uint64 { return xxhash.Sum64String(id) }

// mix is a bijection in which every bit of x sways every bit of the outcome: the
// finalizer of Steele, Lea and Flood's SplitMix64 (Fast Splittable Pseudorandom Number
// Generators, 2014) with Stafford's thirteenth set of constants.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// golden is 2^64 over the golden ratio: its multiples are far apart.
const golden = 0x9e3779b97f4a7c15

// node is the place of one of a worker's nodes on the ring.
func node(worker uint64, k int) uint64 { return mix(worker + uint64(k+1)*golden) }

// pair is what a partition and a worker mean to each other.
func pair(partition, worker uint64) uint64 { return mix(partition ^ mix(worker+golden)) }

const (
	logBits = 12 // the table has 2^logBits steps
	logUnit = 32 // binary places of what waiting returns
)

// A logTable has log2(1 + k÷2^logBits) at k, in units of 2^-logUnit, rounded down.
type logTable [1<<logBits + 1]uint64

func newLogTable() *logTable {
	var t logTable
	for k := range t {
		t[k] = log2(1<<63 + uint64(k)<<(63-logBits))
	}
	t[1<<logBits] = 1 << logUnit
	return &t
}

// log2 is the binary logarithm of x÷2^63, for x from 2^63: one binary place after the
// other, each by squaring (as Briggs had it).
func log2(x uint64) (log uint64) {
	for range logUnit {
		log <<= 1
		high, low := bits.Mul64(x, x) // has its point after the second bit
		if high>>63 != 0 {
			log |= 1
			x = high
		} else {
			x = high<<1 | low>>63
		}
	}
	return log
}

// waiting makes of a hash, evenly spread, a waiting time, exponentially spread: its
// negative binary logarithm as a fraction of 2^64, in units of 2^-logUnit. It
// falls as the hash grows, and is right to 8 decimal places.
func (t *logTable) waiting(hash uint64) int64 {
	zeros := bits.LeadingZeros64(hash | 1)
	x := (hash | 1) << zeros << 1 // what comes after the leading one
	k := x >> (64 - logBits)
	rest := x << logBits >> 32
	log := t[k] + (t[k+1]-t[k])*rest>>32
	return int64(uint64(zeros+1)<<logUnit - log)
}
