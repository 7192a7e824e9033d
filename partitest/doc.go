// Package partitest helps to test what users of parti write.
//
// Without a server:
//
//   - [NewStore] is a store in memory: whole groups run on it, with real Managers,
//     also in a testing/synctest bubble, where hours take no time.
//   - [NewLease] is a lease that the test takes away, to call a Handler by hand.
//   - [Exercise] checks that a Handler keeps its side of the contract.
//
// On real servers, which are broken on purpose (docs/TESTING.md shows how):
//
//   - [StartNATS] and [StartNATSCluster] start nats-servers in the process, and a
//     network before and between them. Nodes are stopped, killed and lose their storage.
//   - [DelayMessages], [BlackHole], [PartitionNetwork] and others are faults of that
//     network; [CrashWorker], [FreezeWorker] and [SlowdownWorker] of a worker in the
//     process; [Kill], [Pause] and [Resume], where there are such signals, of a process.
//   - A [Fleet] is a group of workers to do that to, and a [Ledger] the account of what
//     they did: it asserts what Parti promises.
package partitest
