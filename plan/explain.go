package plan

import (
	"math"
	"math/bits"
)

// An Explanation says what a strategy thought of one of its assignments.
type Explanation struct {
	// Moved and MovedWeight count the partitions that had a living owner and have another now.
	Moved       int   `json:"moved"`
	MovedWeight int64 `json:"moved_weight"`
	// Forced and ForcedWeight are the part of those that had to move: a pin, a
	// capacity or a rule for zones demanded it. The rest moved for balance, within
	// the budget.
	Forced       int   `json:"forced,omitempty"`
	ForcedWeight int64 `json:"forced_weight,omitempty"`
	// Placed counts partitions that had no owner and have one now, Unplaced those
	// that have none now.
	Placed       int   `json:"placed,omitempty"`
	PlacedWeight int64 `json:"placed_weight,omitempty"`
	Unplaced     int   `json:"unplaced,omitempty"`
	// BoundMoves and BoundWeight are lower bounds of what any assignment within
	// the tolerated balance must move or place: to be compared with Moved + Placed
	// and MovedWeight + PlacedWeight.
	BoundMoves  int   `json:"bound_moves"`
	BoundWeight int64 `json:"bound_weight"`
	// PeakBefore and PeakAfter are the heaviest worker over its fair share, in
	// thousandths: 1000 is perfectly even. BoundPeak is the lowest possible.
	PeakBefore int64 `json:"peak_before"`
	PeakAfter  int64 `json:"peak_after"`
	BoundPeak  int64 `json:"bound_peak"`
	// Transfers are the partitions that moved or were placed, and Left those that
	// are Unplaced, each with its reason, sorted by partition. Where there are more than
	// [MaxNamed], only the first are named: the counts above have all of them.
	Transfers []Transfer `json:"transfers,omitempty"`
	Left      []LeftOut  `json:"left,omitempty"`
}

// MaxNamed is how many partitions each list of an [Explanation] names, so that it
// fits into a record of the decision log.
const MaxNamed = 32

// A Transfer is a partition that gets another owner than it has.
type Transfer struct {
	Partition string `json:"partition"`
	// From is the owner that it has, empty where there is none; To the next one.
	From string `json:"from,omitempty"`
	To   string `json:"to"`
	// Why is [WhyLost], [WhyPartitions] or [WhyReturn] for one without an owner: it had
	// one once, never had one, or goes back to the last one. For the others it is
	// [WhyPin], [WhyCapacity] or [WhyZone] where they demand it, and otherwise
	// [WhyOverload], [WhyNewCapacity], [WhyZone], or [WhyBalance] for what goes the
	// other way in an exchange.
	Why Why `json:"why"`
	// Weight is what the transfer costs.
	Weight int64 `json:"weight"`
	// FromBefore, FromAfter, ToBefore and ToAfter are the loads of both workers
	// before and after the whole plan, in thousandths of their fair shares.
	FromBefore int64 `json:"from_before,omitempty"`
	FromAfter  int64 `json:"from_after,omitempty"`
	ToBefore   int64 `json:"to_before"`
	ToAfter    int64 `json:"to_after"`
}

// A LeftOut is a partition that has no owner, and what is in its way.
type LeftOut struct {
	Partition string   `json:"partition"`
	Weight    int64    `json:"weight"`
	Obstacle  Obstacle `json:"obstacle"`
}

// An Obstacle is what keeps a partition from having an owner. People alert on it,
// so the words do not change.
type Obstacle string

// The obstacles.
const (
	NoTaker  Obstacle = "no-taker"  // every worker is cordoned
	TooHeavy Obstacle = "too-heavy" // no worker's capacity is as large as its weight
	NoRoom   Obstacle = "no-room"   // workers' capacities are used up
	PinFull  Obstacle = "pin-full"  // the worker that it is pinned to has no room
	ZoneRule Obstacle = "zone-rule" // there is room only in zones that have enough of its label
	Unasked  Obstacle = "unasked"   // none: the strategy left it out all the same
)

// MoveRatio is what was moved and placed over its lower bound, in thousandths: 1000
// is the fewest possible. It is 1000 where nothing was, and MaxInt64 where nothing had to be.
func (e Explanation) MoveRatio() int64 {
	return ratio(int64(e.Moved)+int64(e.Placed), int64(e.BoundMoves))
}

// WeightRatio is as MoveRatio for the weight.
func (e Explanation) WeightRatio() int64 {
	return ratio(e.MovedWeight+e.PlacedWeight, e.BoundWeight)
}

// PeakRatio is PeakAfter over BoundPeak, in thousandths.
func (e Explanation) PeakRatio() int64 { return ratio(e.PeakAfter, e.BoundPeak) }

// ratio is a over b in thousandths; neither may be negative.
func ratio(a, b int64) int64 {
	high, low := bits.Mul64(uint64(a), 1000)
	switch {
	case a == b:
		return 1000
	case high >= uint64(b):
		return math.MaxInt64
	}
	q, _ := bits.Div64(high, low, uint64(b))
	return int64(min(q, math.MaxInt64))
}
