package plan

// Input is everything that a strategy may look at. It is read only.
type Input struct {
	// Partitions, sorted by ID, no duplicates.
	Partitions []Partition
	// Workers, sorted by ID, never empty.
	Workers []Worker
	// Current[i] is the index in Workers of the owner of Partitions[i], or -1.
	Current []int
	// Pins[i] is the index in Workers of where Partitions[i] must be, or -1.
	// Nil means no pins.
	Pins []int
	// Home[i] is the ID of the last owner of Partitions[i], which may be gone;
	// empty when there was none. Nil means none has a home.
	Home []string
	// Cause is what changed since the last plan.
	Cause Cause
	// Budget bounds the optional moves, those that are not forced by a missing
	// owner, a pin, a capacity or a rule for zones.
	Budget Budget
}

// Cause is what changed since the last plan.
type Cause uint8

// The causes.
const (
	Loads      Cause = iota // weights or labels of partitions at the most
	Members                 // workers joined or are gone, or something else
	Partitions              // partitions were added or removed
	Settings                // pins, bans, cordons or drains, or a worker's share, capacity, zone or labels
)

// A Budget bounds optional moves. The zero Budget sets no limit.
type Budget struct {
	// Moves is the most partitions that may move for balance; 0: no limit; below 0: none.
	Moves int
	// Weight is the most weight that may move for balance; 0: no limit; below 0: none.
	Weight int64
}

// NoMoves is the Budget that allows forced moves only.
func NoMoves() Budget { return Budget{Moves: -1, Weight: -1} }
