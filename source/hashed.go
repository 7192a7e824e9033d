package source

import (
	"context"
	"fmt"

	"github.com/parti-go/parti/plan"
)

// MaxHashed is the most partitions that [Hashed] makes.
const MaxHashed = 1_000_000

// Hashed lists n partitions of equal weight with the IDs "0" to "n-1", for keys that are
// too many, or not known: [PartitionOf] says which partition a key is in, and so does the
// subject mapping of a nats-server: orders.* to orders.{{partition(n,1)}}.{{wildcard(1)}}.
//
// n stays: with another one, nearly every key is in another partition. Take a number that
// will do for years, some times that of the workers. Range: 1 to [MaxHashed].
func Hashed(n int) (Func, error) {
	if n < 1 || n > MaxHashed {
		return nil, fmt.Errorf("source: Hashed(%d): use 1 to %d partitions", n, MaxHashed)
	}
	return func(context.Context) ([]plan.Partition, error) {
		all := make([]plan.Partition, n)
		for i := range all {
			all[i].ID = plan.HashedID(i)
		}
		return all, nil
	}, nil
}

// PartitionOf is [plan.PartitionOf]: the number of the partition, from 0 to n-1, that a
// key of so many parts is in. n must be positive.
func PartitionOf(n int, parts ...string) int { return plan.PartitionOf(n, parts...) }
