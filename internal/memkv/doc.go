// Package memkv is the store in memory, on package time, with faults to inject.
//
// A [Server] is the store; each process of a test gets a [Client] of it, its own
// view over its own link:
//
//	server := memkv.New()
//	defer server.Close()
//	a, b := server.Client("a"), server.Client("b") // each is a kv.Store
//
// In a testing/synctest bubble a TTL of an hour takes no time. Nothing is left
// behind: memkv starts no goroutine that outlives the call that needed it, and
// Close stops the timers.
//
// # Faults of one link
//
//	a.Cut()                    // the connection is gone, and a knows: ErrUnavailable, ErrHole, Connection; nobody answers to a's names
//	a.BlackHole()              // nothing goes through, and a does not know for 6 s; then as Cut
//	a.Lose(memkv.Answers)      // writes are stored and not answered: ErrUnknown; see Traffic for the other directions
//	a.Slow(f)                  // every request takes f() there and f() back
//	a.LoseNextAnswer()         // the next write is stored and reported as ErrUnknown, at once
//	a.LateWrites(10*time.Second) // writes are ErrUnknown, and arrive that much later
//	a.Stale()                  // reads answer what was true now, for as long as it lasts
//	a.Tamper(f)                // drops, delays or repeats single changes on their way to Follow
//	a.Refuse(f)                // fails chosen requests with a chosen error
//	a.Hang(f)                  // loses chosen requests
//	a.Omit(f)                  // lists without chosen keys
//	a.RepeatWrites(d)          // every write arrives a second time
//	a.Mend()                   // ends all of these
//
// # Faults of the server
//
//	server.Down(), server.Up()                  // everybody is disconnected; the data stays
//	server.LoseQuorum(), server.FindQuorum(keep) // reads answer, writes do not; if kept, they happen when it is back; nothing expires meanwhile
//	server.Wipe()                               // the bucket is gone: ErrLost until somebody calls Renew
//	server.Snapshot(), server.Restore(s)        // goes back to an earlier state, revisions included
//
// Every fault that really struck is counted: see [Client.Struck] and
// [Server.Struck]. A test that injects one asserts that it is above zero.
//
// The rules of the store, without a clock, a lock or a link, are the [Table].
package memkv
