// Package plan is the vocabulary of partition ownership: who may run what.
//
// It is pure data. It imports no context, no clock and no NATS, so a strategy
// can be written, tested and fuzzed with nothing but this package.
package plan

import "strconv"

// MaxIDLen is the longest partition ID, in bytes.
const MaxIDLen = 200

// A Partition is one unit of work.
type Partition struct {
	// ID is a literal NATS subject of at most [MaxIDLen] bytes, such as
	// "tool-001.chamber-1": tokens joined by dots, without spaces or wildcards.
	ID string `json:"id"`
	// Weight is how much work the partition is, in any unit; 0 counts as 1.
	// It is never negative.
	Weight int64 `json:"weight,omitempty"`
	// Labels are the user's own words. A strategy may read them. The map is shared: do not
	// change it.
	Labels map[string]string `json:"labels,omitempty"`
}

// Load is the partition's weight as strategies count it: at least 1.
func (p Partition) Load() int64 { return max(p.Weight, 1) }

// A Worker is one member of the group, as a strategy sees it.
type Worker struct {
	ID string
	// Share is the worker's part of the load relative to the others'; 0 counts as 1.
	Share int64
	// Capacity is the most weight the worker may be given; 0 means no limit.
	Capacity int64
	// Zone is where the worker runs; empty means nowhere in particular.
	Zone string
	// Labels are the user's own words.
	Labels map[string]string
	// NoNew says the worker keeps what it has and is given nothing more (cordoned).
	NoNew bool
}

// Portion is the worker's share as strategies count it: at least 1.
func (w Worker) Portion() int64 { return max(w.Share, 1) }

// A Version numbers the plans of a group in one sequence: the incarnation of
// the store in the upper 32 bits, the plan's number within it in the lower.
// Versions compare as the numbers they are. The zero Version is before every plan.
//
// A lease's token is the version that granted it, as a plain uint64.
type Version uint64

// MakeVersion joins an incarnation and a number within it.
func MakeVersion(incarnation, number uint32) Version {
	return Version(incarnation)<<32 | Version(number)
}

// Incarnation is the incarnation of the store that v was committed in.
func (v Version) Incarnation() uint32 { return uint32(v >> 32) }

// Number is v's place among the plans of its incarnation.
func (v Version) Number() uint32 { return uint32(v) }

// Next is the version after v. After the last number of an incarnation comes
// the first of the next.
func (v Version) Next() Version { return v + 1 }

// String writes v as incarnation and number, such as "1040832.17".
func (v Version) String() string {
	return strconv.FormatUint(uint64(v.Incarnation()), 10) + "." + strconv.FormatUint(uint64(v.Number()), 10)
}

// MarshalText writes v as a decimal number. In JSON it is a string, since a
// JSON number loses digits above 2^53 in many readers.
func (v Version) MarshalText() ([]byte, error) {
	return strconv.AppendUint(nil, uint64(v), 10), nil
}

// UnmarshalText reads what MarshalText wrote.
func (v *Version) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return err
	}
	*v = Version(n)
	return nil
}
