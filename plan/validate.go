package plan

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxReported is how many violations one call reports by name; the rest are counted.
const maxReported = 20

// Rule names what an [InvalidError] violates.
type Rule uint8

// The rules.
const (
	RuleID        Rule = iota + 1 // an ID is a literal NATS subject of at most MaxIDLen bytes
	RuleUnique                    // an ID occurs once
	RuleOrder                     // lists are sorted by ID, bytewise
	RuleNegative                  // weights, shares and capacities are not negative
	RuleOverflow                  // all weights together, and all shares, fit into an int64
	RuleLength                    // what is per partition has one entry per partition
	RuleReference                 // an index names a worker, or is -1
	RuleWorkers                   // there is at least one worker
)

var ruleWords = [...]string{
	RuleID: "id", RuleUnique: "unique", RuleOrder: "order", RuleNegative: "negative", RuleOverflow: "overflow",
	RuleLength: "length", RuleReference: "reference", RuleWorkers: "workers",
}

// String is the word for r.
func (r Rule) String() string {
	if r > 0 && int(r) < len(ruleWords) {
		return ruleWords[r]
	}
	return fmt.Sprintf("rule(%d)", uint8(r))
}

// InvalidError is one violation: who, what is wrong, and what to do about it.
type InvalidError struct {
	Rule Rule
	// Culprit names the thing, such as `partition "a b"`, quoted as Go quotes it.
	Culprit string
	// Problem is what is wrong with it, Remedy what to do.
	Problem, Remedy string
}

// Error says culprit, problem and remedy in one line.
func (e *InvalidError) Error() string {
	return "plan: " + e.Culprit + " " + e.Problem + ": " + e.Remedy
}

// idBytes tells the bytes that an ID may hold anywhere but for the dot and for
// what begins at 0x80, which is looked at as UTF-8.
var idBytes = func() (ok [256]bool) {
	for c := '!'; c <= '~'; c++ {
		ok[c] = c != '*' && c != '>' && c != '.'
	}
	return ok
}()

// ValidID returns an [*InvalidError] unless id is a literal NATS subject of at most
// [MaxIDLen] bytes: tokens joined by dots, none empty, without white space,
// control characters or the wildcards * and >, in valid UTF-8.
func ValidID(id string) error {
	if plainID(id) {
		return nil
	}
	return oddID(id)
}

// plainID says whether an ID is valid and of nothing but ASCII, as almost all are.
// It is asked of every partition in every plan, so it looks at eight bytes at once.
func plainID(id string) bool {
	const (
		ones = 0x0101010101010101 // times c: c in every byte
		high = 0x80 * ones
		low  = 0x7f * ones
	)
	if len(id) > MaxIDLen {
		return false
	}
	dot := uint64(1) // the byte before was a dot, or there is none
	i := 0
	for ; i+8 <= len(id); i += 8 {
		s := id[i : i+8]
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// The high bit of each byte of not is clear where x has that character, of
		// shown where x has a space or something below; of x itself it is clear in ASCII.
		star, more, del := x^'*'*ones, x^'>'*ones, x^0x7f*ones
		not := (star&low + low) & (more&low + low) & (del&low + low)
		shown := (x | high) - '!'*ones
		if (^x&not&shown)&high != high {
			return false
		}
		dots := ^((x^'.'*ones)&low + low) & high >> 7 // 1 in the byte of each dot
		if dots&(dots<<8|dot) != 0 {
			return false
		}
		dot = dots >> 56
	}
	for ; i < len(id); i++ {
		switch c := id[i]; {
		case idBytes[c]:
			dot = 0
		case c == '.' && dot == 0:
			dot = 1
		default:
			return false
		}
	}
	return dot == 0
}

// oddID judges an ID that is not made of plain ASCII tokens.
func oddID(id string) error {
	bad := func(problem, remedy string) error {
		return &InvalidError{Rule: RuleID, Culprit: partitionName(id), Problem: problem, Remedy: remedy}
	}
	switch {
	case id == "":
		return bad("is empty", "give every partition an ID, such as \"tool-001.chamber-1\"")
	case len(id) > MaxIDLen:
		return bad(fmt.Sprintf("is %d bytes long", len(id)), fmt.Sprintf("keep IDs to %d bytes", MaxIDLen))
	case !utf8.ValidString(id):
		return bad("is not valid UTF-8", "encode the ID as UTF-8")
	}
	start := 0
	for i, r := range id {
		switch {
		case r == '.' && i == start:
			return bad(fmt.Sprintf("has an empty token at byte %d", i), "put exactly one dot between tokens")
		case r == '.':
			start = i + 1
		case r == '*' || r == '>':
			return bad(fmt.Sprintf("has the wildcard %q at byte %d", r, i), "list every partition by its literal subject")
		case r <= ' ' || r >= 0x7f && r < 0xa0 || isSpace(r):
			return bad(fmt.Sprintf("has the character %q at byte %d", r, i), "leave out white space and control characters")
		}
	}
	if start == len(id) {
		return bad("ends with a dot", "put exactly one dot between tokens")
	}
	return nil
}

// isSpace tells the white space of Unicode beyond Latin-1, and the marks that
// are invisible like it.
func isSpace(r rune) bool {
	switch r {
	case 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff:
		return true
	}
	return r >= 0x2000 && r <= 0x200d
}

// ValidPartitions returns nil or one error that joins an [*InvalidError] for each
// partition that cannot be: an ID that is not valid or occurs twice, a negative
// weight, or the weight with which the sum of all no longer fits into an int64.
// The list need not be sorted. Beyond twenty, violations are only counted.
func ValidPartitions(parts []Partition) error {
	var found violations
	var sum int64
	for i := range parts {
		found.id(&parts[i])
		sum = found.weigh(&parts[i], sum)
	}
	// Looked for in a sorted copy, so that the answer does not depend on the order.
	if !slices.IsSortedFunc(parts, byID) {
		parts = slices.SortedFunc(slices.Values(parts), byID)
	}
	for i := 1; i < len(parts); i++ {
		if parts[i].ID == parts[i-1].ID && (i == 1 || parts[i].ID != parts[i-2].ID) {
			found.add(RuleUnique, partitionName(parts[i].ID), "is listed more than once", "list every partition once")
		}
	}
	return found.err()
}

// ValidInput returns nil or one error that joins an [*InvalidError] for each rule of
// [Input] that in breaks. A strategy that is given a valid Input need not look again.
func ValidInput(in Input) error {
	var found violations
	found.partitions(in.Partitions)
	found.workers(in.Workers)
	found.length("Current", len(in.Current), len(in.Partitions), false)
	found.length("Pins", len(in.Pins), len(in.Partitions), in.Pins == nil)
	found.length("Home", len(in.Home), len(in.Partitions), in.Home == nil)
	if len(found.list) == 0 {
		found.references(in, in.Current, "is owned by", "set Current to -1 where the owner is gone")
		found.references(in, in.Pins, "is pinned to", "pin to a worker that is there, or set Pins to -1")
	}
	return found.err()
}

// violations collects what is wrong.
type violations struct {
	list []error
	more int
}

func (v *violations) add(rule Rule, culprit, problem, remedy string) {
	v.put(&InvalidError{Rule: rule, Culprit: culprit, Problem: problem, Remedy: remedy})
}

func (v *violations) put(err error) {
	if len(v.list) == maxReported {
		v.more++
		return
	}
	v.list = append(v.list, err)
}

func (v *violations) err() error {
	if v.more > 0 {
		return errors.Join(append(v.list, fmt.Errorf("plan: and %d more", v.more))...)
	}
	return errors.Join(v.list...)
}

func (v *violations) id(p *Partition) {
	if err := ValidID(p.ID); err != nil {
		v.put(err)
	}
}

// weigh adds p to the sum of the weights before it. Once the sum has overflowed
// it is negative and stays so: one culprit is enough.
func (v *violations) weigh(p *Partition, sum int64) int64 {
	if p.Weight < 0 {
		v.add(RuleNegative, partitionName(p.ID), "has the weight "+strconv.FormatInt(p.Weight, 10),
			"weights are 1 or more, or 0 for 1")
		return sum
	}
	if sum < 0 {
		return sum
	}
	if p.Load() > math.MaxInt64-sum {
		v.add(RuleOverflow, partitionName(p.ID), "brings the sum of all weights above 2^63-1", "weigh in a larger unit")
		return -1
	}
	return sum + p.Load()
}

func (v *violations) partitions(parts []Partition) {
	var sum int64
	last := ""
	for i := range parts {
		p := &parts[i]
		v.id(p)
		sum = v.weigh(p, sum)
		before := last
		last = p.ID
		if i > 0 && before >= p.ID {
			if before == p.ID {
				v.add(RuleUnique, partitionName(p.ID), "is listed more than once", "list every partition once")
			} else {
				v.add(RuleOrder, partitionName(p.ID), "comes after "+strconv.Quote(before), "sort partitions by ID")
			}
		}
	}
}

func (v *violations) workers(workers []Worker) {
	if len(workers) == 0 {
		v.add(RuleWorkers, "the list of workers", "is empty", "do not ask for an assignment to nobody")
	}
	var sum int64
	for i, w := range workers {
		if w.ID == "" {
			v.add(RuleID, workerName(w.ID), "has no ID", "give every worker an ID")
		}
		switch {
		case w.Share < 0 || w.Capacity < 0:
			v.add(RuleNegative, workerName(w.ID), "has a negative share or capacity",
				"shares are 1 or more, or 0 for 1; a capacity of 0 is no limit")
		case sum < 0: // has overflowed
		case w.Portion() > math.MaxInt64-sum:
			v.add(RuleOverflow, workerName(w.ID), "brings the sum of all shares above 2^63-1", "give smaller shares")
			sum = -1
		default:
			sum += w.Portion()
		}
		if i > 0 && workers[i-1].ID >= w.ID {
			if workers[i-1].ID == w.ID {
				v.add(RuleUnique, workerName(w.ID), "is listed more than once", "list every worker once")
			} else {
				v.add(RuleOrder, workerName(w.ID), "comes after "+strconv.Quote(workers[i-1].ID), "sort workers by ID")
			}
		}
	}
}

func (v *violations) length(what string, got, want int, absent bool) {
	if got != want && !absent {
		v.add(RuleLength, what, fmt.Sprintf("has %d entries for %d partitions", got, want), "give one entry for each partition")
	}
}

func (v *violations) references(in Input, list []int, verb, remedy string) {
	for i, at := range list {
		if at < -1 || at >= len(in.Workers) {
			v.add(RuleReference, partitionName(in.Partitions[i].ID),
				fmt.Sprintf("%s worker number %d of %d", verb, at, len(in.Workers)), remedy)
		}
	}
}

func partitionName(id string) string { return "partition " + strconv.Quote(id) }
func workerName(id string) string    { return "worker " + strconv.Quote(id) }

func byID(a, b Partition) int { return cmp.Compare(a.ID, b.ID) }
