package plan

import "strconv"

// PartitionOf is the number of the partition, from 0 to n-1, that a key of so many parts
// is in: FNV-1a of 32 bits over the parts one after the other, modulo n. That is what the
// partition function of a nats-server's subject mappings does with the tokens that it
// names, in that order; with none named, with the whole subject. n must be positive.
func PartitionOf(n int, parts ...string) int {
	const offset, prime = 2166136261, 16777619
	h := uint32(offset)
	for _, part := range parts {
		for i := range len(part) {
			h = (h ^ uint32(part[i])) * prime
		}
	}
	return int(h % uint32(n))
}

// HashedID is the ID of partition i of a set that keys are hashed onto: its number, as
// the server's partition function writes it. It allocates nothing where the ID is only
// looked up.
func HashedID(i int) string {
	var digits [20]byte
	return string(strconv.AppendInt(digits[:0], int64(i), 10))
}
