package directory

import "github.com/parti-go/parti/plan"

// PartitionOfKey is the ID of the partition, of the n that source.Hashed(n) lists, that a
// key of so many parts is in: see [plan.PartitionOf]. n must be positive.
func PartitionOfKey(n int, parts ...string) string {
	return plan.HashedID(plan.PartitionOf(n, parts...))
}

// OwnerOfKey is the Owner of the partition that a key is in, of the n that
// source.Hashed(n) lists. It allocates nothing. n must be positive.
func (d *Directory) OwnerOfKey(n int, parts ...string) (Owner, bool) {
	return d.Owner(plan.HashedID(plan.PartitionOf(n, parts...)))
}
