package strategy

import (
	"cmp"
	"math"
	"slices"

	"github.com/parti-go/parti/plan"
)

// The defaults of [VirtualNodes] and [MaxLoad].
const (
	DefaultVirtualNodes = 150  // spreads hash luck to some 8 %; more costs memory and hardly helps
	DefaultMaxLoad      = 1250 // thousandths; below it, movement grows with 1/ε²
)

// Ring is the consistent hashing that [ConsistentHash] returns. It is a value without
// state; any number of goroutines may use it at once. Its zero value refuses to assign:
// ConsistentHash fills in the defaults.
type Ring struct {
	nodes   int
	maxLoad int64
}

// A RingOption tunes [ConsistentHash]. A nil RingOption is ignored.
type RingOption func(*Ring)

// VirtualNodes sets how many places on the ring a worker has, or the one with the
// smallest share; others have more in proportion, up to 64 times as many.
// Default: [DefaultVirtualNodes]. Range: 1 to 10000.
func VirtualNodes(n int) RingOption { return func(r *Ring) { r.nodes = n } }

// MaxLoad bounds the weight on a worker, in thousandths of its fair share: a
// partition that would lift its worker above that goes to the next one on the ring. The
// bound is rounded up to what the weights have as their greatest common divisor.
// Default: [DefaultMaxLoad]. Range: 1001 to 1000000; 0: no bound.
func MaxLoad(thousandths int) RingOption { return func(r *Ring) { r.maxLoad = int64(thousandths) } }

// ConsistentHash returns consistent hashing with bounded loads: workers have places on
// a ring (Karger et al., Consistent Hashing and Random Trees, 1997), a partition goes
// to the first after its own, and on from there while that worker is full
// (Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads, 2018).
//
// It promises: pins, capacities, cordons and budgets hold; where a partition goes
// depends on the partitions and workers there are and not on where it was, so that two
// groups with the same members agree, unless a cordon or a budget keeps it; and, but for
// pins, cordons and capacities, no worker ends above max(fair share × MaxLoad,
// the heaviest partition), as long as partitions find such a worker; else the coldest
// one has it. Heavy partitions choose first. A worker more or less moves some twice as
// much as [Sticky], which is also more even: prefer Sticky unless others have to
// compute owners without knowing the plan.
func ConsistentHash(opts ...RingOption) Ring {
	r := Ring{nodes: DefaultVirtualNodes, maxLoad: DefaultMaxLoad}
	for _, set := range opts {
		if set != nil {
			set(&r)
		}
	}
	return r
}

// Check returns an [*OptionError] if an option was out of range.
func (r Ring) Check() error {
	switch {
	case r.nodes < 1 || r.nodes > 10_000:
		return &OptionError{Option: "VirtualNodes", Value: int64(r.nodes), Min: 1, Max: 10_000}
	case r.maxLoad != 0 && (r.maxLoad < 1001 || r.maxLoad > 1_000_000):
		return &OptionError{Option: "MaxLoad", Value: r.maxLoad, Min: 1001, Max: 1_000_000}
	}
	return nil
}

// Assign chooses for every partition the index of its worker, or -1 where none
// can take it. The error is an [*OptionError] or that of [plan.ValidInput].
func (r Ring) Assign(in plan.Input) ([]int, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return assignBy(&ringSeeker{ring: r}, in)
}

// Explain measures an assignment as that of [Sticky] does, with its tolerance.
func (r Ring) Explain(in plan.Input, to []int) plan.Explanation {
	return Sticky().Explain(in, to)
}

// A point is one place on the ring.
type point struct {
	at     uint64
	worker int32
}

// A ringSeeker walks the ring.
type ringSeeker struct {
	ring   Ring
	points []point
	next   []int32 // from each point to the first, from there on, whose worker may have room
	start  []int32 // the first point of each of equal parts of the ring, by the leading bits
	shift  int
	limit  []int64 // by worker
	least  int64   // the lightest partition
}

func (s *ringSeeker) order(b *board, ids []int32) []int32 {
	sortHeavy(ids, b.w)
	return ids
}

func (s *ringSeeker) begin(b *board) {
	if s.points == nil {
		s.build(b)
	}
	for k := range s.next {
		s.next[k] = int32(k)
	}
}

func (s *ringSeeker) build(b *board) {
	smallest, shares := int64(math.MaxInt64), int64(0)
	for j, c := range b.share {
		if !b.frozen[j] {
			smallest = min(smallest, c)
			shares += c
		}
	}
	count := func(j int) int {
		if b.frozen[j] {
			return 0
		}
		return s.ring.nodes * int(min(b.share[j]/smallest, 64))
	}
	total := 0
	for j := range b.share {
		total += count(j)
	}
	s.points = make([]point, 0, total)
	for j := range b.share {
		d := digest(b.in.Workers[j].ID)
		for k := range count(j) {
			s.points = append(s.points, point{node(d, k), int32(j)})
		}
	}
	slices.SortFunc(s.points, func(x, y point) int {
		return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.worker, y.worker))
	})
	s.index()
	s.next = make([]int32, total+1)
	s.bound(b, shares)
}

// index finds the first point of each part of the ring, of which there are about
// as many as points.
func (s *ringSeeker) index() {
	parts := 1
	for s.shift = 64; parts < len(s.points); s.shift-- {
		parts *= 2
	}
	s.start = make([]int32, parts+1)
	k := 0
	for part := range s.start {
		for k < len(s.points) && part < parts && s.points[k].at>>s.shift < uint64(part) {
			k++
		}
		s.start[part] = int32(k)
	}
	s.start[parts] = int32(len(s.points))
}

// bound sets the most that each worker is to have, and the lightest partition.
func (s *ringSeeker) bound(b *board, shares int64) {
	s.least = math.MaxInt64
	for _, w := range b.w {
		s.least = min(s.least, w)
	}
	s.limit = make([]int64, len(b.load))
	for j, c := range b.share {
		s.limit[j] = b.room[j]
		if s.ring.maxLoad > 0 && shares > 0 && !b.frozen[j] {
			bound, rest := scaled(b.total, c, s.ring.maxLoad, shares)
			if rest {
				bound++
			}
			s.limit[j] = min(max(bound, b.heaviest), b.room[j])
		}
	}
}

// open is the first point from k on whose worker may have room for anything. It
// shortens the way for the next one that comes by.
func (s *ringSeeker) open(b *board, k int32) int32 {
	at := k
	for int(at) < len(s.points) {
		if s.next[at] != at {
			at = s.next[at]
			continue
		}
		j := s.points[at].worker
		if s.limit[j]-b.load[j] >= s.least {
			break
		}
		s.next[at] = at + 1
	}
	for k != at {
		k, s.next[k] = s.next[k], at
	}
	return at
}

func (s *ringSeeker) first(b *board, i int32) int {
	at := digest(b.in.Partitions[i].ID)
	from := s.start[at>>s.shift]
	for int(from) < len(s.points) && s.points[from].at < at {
		from++
	}
	for _, part := range [...][2]int32{{from, int32(len(s.points))}, {0, from}} {
		for k := s.open(b, part[0]); k < part[1]; k = s.open(b, k+1) {
			if j := s.points[k].worker; s.limit[j]-b.load[j] >= b.w[i] {
				return int(j)
			}
		}
	}
	return b.coldestFor(b.w[i])
}

// coldestFor is the worker with room for w that is the coldest with it, or -1.
func (b *board) coldestFor(w int64) int {
	best, found := tile{}, -1
	for j := range b.load {
		if t := (tile{b.load[j], b.share[j], int32(j)}); b.roomFor(j, w) && (found < 0 || t.coldWith(w, best)) {
			best, found = t, j
		}
	}
	return found
}
