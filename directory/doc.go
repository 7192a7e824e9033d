// Package directory says who owns a partition, for programs that route requests to the
// owner: a gateway, a client, another worker.
//
//	dir, err := directory.Open(ctx, store)
//	defer dir.Close()
//	owner, ok := dir.Owner("tool-001") // no lock, no allocation, some tens of nanoseconds
//	addr := owner.Process.Label("addr")
//
// A worker says where it can be reached in its Labels (see parti.Config). Of a set of
// partitions that keys are hashed onto (source.Hashed), [Directory.OwnerOfKey] answers for
// a key.
//
// # How fresh an answer is
//
// The directory is told of every commit as it is made, so an answer is normally one
// delivery behind, about a millisecond. Deliveries may be lost, so every so often
// ([WithReconcileInterval]) it reads the head of the plan where the truth is, and what it then
// finds to lack. [Directory.Staleness] says for how long something may have gone unnoticed.
// While the store is away, is lost or is being rebuilt, a directory goes on answering from
// what it knew, as the workers go on with what they had, and Staleness grows.
//
// An answer is therefore no proof, however fresh: the owner may lose the partition while
// the request is on its way. Send Owner.Token along where that matters; who gets the
// request compares it with the token of its own lease, and every sink can refuse a token
// below the largest it has seen (package fence).
//
// # What it costs
//
// An idle directory reads one small key every interval, whatever the size of the group,
// and a running one is sent each slice of the plan that changes. It renews nothing,
// writes nothing, and needs no more than the permissions of an observer (package
// permissions). In memory it takes about a hundred bytes and the ID for each partition.
package directory
