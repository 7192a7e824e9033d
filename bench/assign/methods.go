package main

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/dgryski/go-jump"
	"github.com/dgryski/go-rendezvous"
	"github.com/serialx/hashring"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
	"github.com/parti-go/parti/strategy/strategytest"
)

// A method is one row of the tables.
type method struct {
	name string
	kind string // ours, a public library, or its idea stated anew
	strategytest.Strategy
}

const (
	ours     = "ours"
	library  = "library"
	restated = "restated"
)

// methods are all that are compared.
func methods() []method {
	return []method{
		{"Sticky", ours, strategy.Sticky()},
		{"ConsistentHash, MaxLoad(1250)", ours, strategy.ConsistentHash()},
		{"ConsistentHash, MaxLoad(1150)", ours, strategy.ConsistentHash(strategy.MaxLoad(1150))},
		{"ConsistentHash, MaxLoad(0): a plain ring", ours, strategy.ConsistentHash(strategy.MaxLoad(0))},
		{"Rendezvous", ours, strategy.Rendezvous()},
		{"RoundRobin", ours, strategy.RoundRobin()},
		{"dgryski/go-rendezvous", library, assignFunc(rendezvousOf)},
		{"dgryski/go-jump", library, assignFunc(jumpOf)},
		{"serialx/hashring (ketama)", library, assignFunc(ketamaOf)},
		{"maglev, M = 65537", restated, assignFunc(maglev)},
		{"uniform sticky (counts only)", restated, assignFunc(uniformSticky)},
		{"largest first, from scratch", restated, assignFunc(largestFirst)},
		{"contiguous blocks", restated, assignFunc(blocks)},
	}
}

// assignFunc is a strategy that is a function without errors.
type assignFunc func(in plan.Input) []int

// Assign calls f.
func (f assignFunc) Assign(in plan.Input) ([]int, error) { return f(in), nil }

// byName finds workers by ID.
func byName(in plan.Input) (ids []string, index map[string]int) {
	index = make(map[string]int, len(in.Workers))
	for j, w := range in.Workers {
		ids = append(ids, w.ID)
		index[w.ID] = j
	}
	return ids, index
}

func rendezvousOf(in plan.Input) []int {
	ids, index := byName(in)
	r := rendezvous.New(ids, xxhash.Sum64String)
	to := make([]int, len(in.Partitions))
	for i, p := range in.Partitions {
		to[i] = index[r.Lookup(p.ID)]
	}
	return to
}

func jumpOf(in plan.Input) []int {
	to := make([]int, len(in.Partitions))
	for i, p := range in.Partitions {
		to[i] = int(jump.Hash(xxhash.Sum64String(p.ID), len(in.Workers)))
	}
	return to
}

func ketamaOf(in plan.Input) []int {
	ids, index := byName(in)
	ring := hashring.New(ids)
	to := make([]int, len(in.Partitions))
	for i, p := range in.Partitions {
		node, _ := ring.GetNode(p.ID)
		to[i] = index[node]
	}
	return to
}

// maglev fills a table of a prime number of places: the workers in turn, each with
// the next place of its own permutation that is free (Eisenbud et al., Maglev, 2016).
func maglev(in plan.Input) []int {
	const size = 65537
	table := slices.Repeat([]int32{-1}, size)
	at, step := make([]uint64, len(in.Workers)), make([]uint64, len(in.Workers))
	for j, w := range in.Workers {
		at[j] = xxhash.Sum64String("offset "+w.ID) % size
		step[j] = xxhash.Sum64String("skip "+w.ID)%(size-1) + 1
	}
	for filled := 0; filled < size; {
		for j := range at {
			for table[at[j]] >= 0 {
				at[j] = (at[j] + step[j]) % size
			}
			table[at[j]] = int32(j)
			if filled++; filled == size {
				break
			}
		}
	}
	to := make([]int, len(in.Partitions))
	for i, p := range in.Partitions {
		to[i] = int(table[xxhash.Sum64String(p.ID)%size])
	}
	return to
}

// uniformSticky is what a broker's sticky assignor does: whoever has more than
// its count gives the surplus away, last first, and whoever has the fewest takes what
// has no owner. It sees no weights.
func uniformSticky(in plan.Input) []int {
	to, count := slices.Clone(in.Current), make([]int, len(in.Workers))
	least, more := len(to)/len(count), len(to)%len(count)
	for i, j := range to {
		if j < 0 {
			continue
		}
		switch {
		case count[j] < least:
			count[j]++
		case count[j] == least && more > 0:
			count[j]++
			more--
		default:
			to[i] = -1
		}
	}
	for i, j := range to {
		if j < 0 {
			fewest := 0
			for k := range count {
				if count[k] < count[fewest] {
					fewest = k
				}
			}
			to[i] = fewest
			count[fewest]++
		}
	}
	return to
}

// largestFirst is Graham's rule of 1969, without a memory.
func largestFirst(in plan.Input) []int {
	ids := make([]int, len(in.Partitions))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(x, y int) int {
		return cmp.Or(cmp.Compare(in.Partitions[y].Load(), in.Partitions[x].Load()), cmp.Compare(in.Partitions[x].ID, in.Partitions[y].ID))
	})
	to, load := make([]int, len(ids)), make([]int64, len(in.Workers))
	for _, i := range ids {
		coldest := 0
		for j := range load {
			if load[j] < load[coldest] {
				coldest = j
			}
		}
		to[i] = coldest
		load[coldest] += in.Partitions[i].Load()
	}
	return to
}

// blocks gives each worker the next so many partitions, as a static list does.
func blocks(in plan.Input) []int {
	to := make([]int, len(in.Partitions))
	for i := range to {
		to[i] = i * len(in.Workers) / len(to)
	}
	return to
}

func size(n int) string {
	s := strconv.Itoa(n)
	for k := len(s) - 3; k > 0; k -= 3 {
		s = s[:k] + " " + s[k:]
	}
	return s
}
