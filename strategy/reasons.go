package strategy

import (
	"math"

	"github.com/parti-go/parti/plan"
)

// loads is what each worker has under an assignment, in units of the board.
func (b *board) loads(to []int) []int64 {
	sum := make([]int64, len(b.load))
	for i, j := range to {
		if j >= 0 {
			sum[j] += b.w[i]
		}
	}
	return sum
}

// transfers names the first of those that get another owner, each with its
// reason. The board is as after keep, with limits.
func (b *board) transfers(e *plan.Explanation, to []int, before, after []int64) {
	fair := b.fairness()
	for i, is := range to {
		was := b.in.Current[i]
		if is < 0 || is == was {
			continue
		}
		if len(e.Transfers) == plan.MaxNamed {
			return
		}
		t := plan.Transfer{
			Partition: b.in.Partitions[i].ID, To: b.in.Workers[is].ID, Why: b.why(i, is), Weight: b.w[i] * b.unit,
			ToBefore: fair(before[is], is), ToAfter: fair(after[is], is),
		}
		if was >= 0 {
			t.From, t.FromBefore, t.FromAfter = b.in.Workers[was].ID, fair(before[was], was), fair(after[was], was)
		}
		e.Transfers = append(e.Transfers, t)
	}
}

// fairness turns a load into thousandths of the worker's fair share of what there is.
func (b *board) fairness() func(load int64, j int) int64 {
	var shares int64
	for _, c := range b.share {
		shares += c
	}
	return func(load int64, j int) int64 {
		if b.total == 0 {
			return 0
		}
		x, _ := scaled(load, shares, 1000*1000, b.total)
		return x / b.share[j]
	}
}

// why says for what reason i, which is not there, goes to j.
func (b *board) why(i, j int) plan.Why {
	was := b.in.Current[i]
	switch {
	case b.stand[i] == pinned:
		return plan.WhyPin
	case was < 0 && b.in.Home == nil, was < 0 && b.in.Home[i] == "":
		return plan.WhyPartitions
	case was < 0 && b.in.Home[i] == b.in.Workers[j].ID:
		return plan.WhyReturn
	case was < 0:
		return plan.WhyLost
	case b.shunned != nil && b.shunned[i]:
		return plan.WhyZone
	case b.stand[i] != settled:
		return plan.WhyCapacity
	case b.load[was] > b.up[was]:
		return plan.WhyOverload
	case b.load[j] < b.down[j]:
		return plan.WhyNewCapacity
	case b.group != nil && b.zone[was] != b.zone[j] && b.beyondLimit(int32(i), was):
		return plan.WhyZone
	}
	return plan.WhyBalance
}

// left lists, up to most, what an assignment leaves without an owner, and why.
func (b *board) left(to []int, has []int64, most int) (list []plan.LeftOut) {
	var o *obstacles
	for i, is := range to {
		if is >= 0 {
			continue
		}
		if len(list) == most {
			break
		}
		if o == nil {
			o = b.obstacles(to, has)
		}
		list = append(list, plan.LeftOut{
			Partition: b.in.Partitions[i].ID, Weight: b.w[i] * b.unit, Obstacle: o.of(b, int32(i)),
		})
	}
	return list
}

// obstacles is what there is to have under an assignment.
type obstacles struct {
	has     []int64
	takers  bool
	largest int64   // capacity of those that take anything
	room    int64   // the most that one of them has left
	byZone  []int64 // the same in each zone
}

func (b *board) obstacles(to []int, has []int64) *obstacles {
	o := &obstacles{has: has, byZone: make([]int64, b.nZones)}
	for j, used := range has {
		if b.frozen[j] {
			continue
		}
		room := b.room[j]
		if room != math.MaxInt64 {
			room -= used
		}
		o.takers = true
		o.largest, o.room = max(o.largest, b.room[j]), max(o.room, room)
		if b.group != nil {
			o.byZone[b.zone[j]] = max(o.byZone[b.zone[j]], room)
		}
	}
	if b.group != nil {
		clear(b.held)
		copy(b.to, to)
		for i, j := range to {
			if j >= 0 {
				b.mark(int32(i), j, 1)
			}
		}
	}
	return o
}

func (o *obstacles) of(b *board, i int32) plan.Obstacle {
	w := b.w[i]
	if b.in.Pins != nil && b.in.Pins[i] >= 0 {
		if j := b.in.Pins[i]; b.room[j] != math.MaxInt64 && b.room[j]-o.has[j] < w {
			return plan.PinFull
		}
		return plan.Unasked
	}
	switch {
	case !o.takers:
		return plan.NoTaker
	case o.largest < w:
		return plan.TooHeavy
	case o.room < w:
		return plan.NoRoom
	case b.group == nil || !b.strict:
		return plan.Unasked
	}
	for z, room := range o.byZone {
		if room >= w && b.inZone(i, int32(z)) {
			return plan.Unasked
		}
	}
	return plan.ZoneRule
}
