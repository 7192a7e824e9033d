// Package partitest helps to test what users of parti write, without a server.
//
//   - [NewStore] is a store in memory: whole groups run on it, with real Managers,
//     also in a testing/synctest bubble, where hours take no time.
//   - [NewLease] is a lease that the test takes away, to call a Handler by hand.
//   - [Exercise] checks that a Handler keeps its side of the contract.
package partitest
