package strategy

import (
	"iter"
	"math"
	"slices"
	"sort"

	"github.com/parti-go/parti/plan"
)

// A purse is what is left of the budget for moves for balance, in units of the board.
type purse struct{ moves, weight int64 }

func newPurse(budget plan.Budget, unit int64) purse {
	if budget.Moves < 0 || budget.Weight < 0 {
		return purse{}
	}
	p := purse{moves: int64(budget.Moves), weight: budget.Weight / unit}
	if budget.Moves == 0 {
		p.moves = math.MaxInt64
	}
	if budget.Weight == 0 {
		p.weight = math.MaxInt64
	}
	return p
}

// unspent is what is left of the budget.
func (b *board) unspent() plan.Budget {
	if b.moves < 1 || b.weight < 1 {
		return plan.NoMoves()
	}
	left := b.in.Budget
	if left.Moves > 0 {
		left.Moves = int(b.moves)
	}
	if left.Weight > 0 {
		left.Weight = b.weight * b.unit
	}
	return left
}

// A game is what repairing needs beside the board: who has what, and who is cold.
type game struct {
	purse

	// lists[2j] is what floats on worker j and lists[2j+1] what has settled there,
	// sorted by sortHeavy where sorted says so.
	lists  [][]int32
	sorted []bool
	order  []int32 // workers that are not frozen, coldest first

	excess, deficit int64 // of all workers, above up and below down
	crumb           int64 // the least worth moving for balance
}

// open sets up the game for the board as it is.
func (b *board) open() {
	m := len(b.load)
	at := make([]int32, 2*m+1)
	slot := func(i int) int {
		j := b.to[i]
		if j < 0 || b.stand[i] == pinned || b.frozen[j] {
			return -1
		}
		return 2*j + int(b.stand[i])
	}
	for i := range b.to {
		if k := slot(i); k >= 0 {
			at[k+1]++
		}
	}
	for k := range 2 * m {
		at[k+1] += at[k]
	}
	ids := make([]int32, at[2*m])
	b.lists, b.sorted = make([][]int32, 2*m), make([]bool, 2*m)
	for k := range b.lists {
		b.lists[k] = ids[at[k]:at[k]:at[k+1]]
	}
	for i := range b.to {
		if k := slot(i); k >= 0 {
			b.lists[k] = append(b.lists[k], int32(i))
		}
	}
	b.order = make([]int32, 0, m)
	b.excess, b.deficit = 0, 0
	for j := range b.load {
		if !b.frozen[j] {
			b.order = append(b.order, int32(j))
			b.tally(j, 1)
		}
	}
	slices.SortFunc(b.order, func(j, k int32) int {
		if b.colder(j, k) {
			return -1
		}
		return 1
	})
	// Half a per cent of a worker's load, or a quarter of a partition's.
	b.crumb = max(1, min(b.total/int64(m)/200, b.total/int64(max(len(b.w), 1))/4))
}

// list is what floats on j, or has settled there, heaviest first.
func (b *board) list(j int32, kind standing) []int32 {
	k := 2*int(j) + int(kind)
	if !b.sorted[k] {
		sortHeavy(b.lists[k], b.w)
		b.sorted[k] = true
	}
	return b.lists[k]
}

// lightOf is everything light on j that may be passed on, what floats first, the heaviest
// first.
func (b *board) lightOf(j int32) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for _, kind := range [...]standing{floating, settled} {
			list := b.list(j, kind)
			for _, i := range list[heaviestWithin(list, b.w, b.bar()-1):] {
				if kind == settled && b.moves < 1 {
					return
				}
				if b.passes(i) && !yield(i) {
					return
				}
			}
		}
	}
}

func (b *board) spot(list []int32, id int32) int {
	return sort.Search(len(list), func(k int) bool {
		return b.w[list[k]] < b.w[id] || b.w[list[k]] == b.w[id] && list[k] >= id
	})
}

// move takes i from its worker, or from the pool, to c. A settled one is paid for, and floats from then on.
func (b *board) move(i, c int32) {
	if h := int32(b.to[i]); h >= 0 {
		from := b.list(h, b.stand[i])
		at := b.spot(from, i)
		b.lists[2*int(h)+int(b.stand[i])] = slices.Delete(from, at, at+1)
		b.mark(i, int(h), -1)
		b.shift(h, -b.w[i])
	}
	if b.stand[i] == settled {
		b.pay(b.w[i])
		b.stand[i] = floating
	}
	to := b.list(c, b.stand[i])
	b.lists[2*int(c)+int(b.stand[i])] = slices.Insert(to, b.spot(to, i), i)
	b.mark(i, int(c), 1)
	b.to[i] = int(c)
	b.shift(c, b.w[i])
}

func (b *board) pay(w int64) {
	b.moves--
	b.weight -= w
}

// affords says whether n settled partitions of weight w in all can be paid for.
func (p purse) affords(n, w int64) bool { return n <= p.moves && w <= p.weight }

// shift changes the load of j and keeps order, excess and deficit.
func (b *board) shift(j int32, by int64) {
	find := func() int {
		return sort.Search(len(b.order), func(k int) bool { return !b.colder(b.order[k], j) })
	}
	b.tally(int(j), -1)
	was := find()
	b.order = slices.Delete(b.order, was, was+1)
	b.load[j] += by
	b.order = slices.Insert(b.order, find(), j)
	b.tally(int(j), 1)
}

// tally counts j's distance from its limits in, or out.
func (b *board) tally(j int, sign int64) {
	b.excess += sign * max(0, b.load[j]-b.up[j])
	b.deficit += sign * max(0, b.down[j]-b.load[j])
}
