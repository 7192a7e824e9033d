// Package sim runs whole fleets in virtual time, from one seed and without a
// goroutine, and checks every promise of Parti after every step.
//
// A [Scenario] says everything that a run depends on: the seed of latencies and
// chances, the settings, the hosts, and the list of faults. [Run] plays it: the
// members are the very machines that package parti gives hands (package member);
// the store, the network, the processes, the handlers, the source and the
// operators are played by this package, as badly as the faults say.
//
//	schedule.go  makes a Scenario of a profile and a seed
//	faults.go    what can be done to a fleet, and how it is undone
//	world.go     the heap of timers and the loop
//	store.go     the store; link.go the way to it; worker.go a process; handlers.go
//	             what it runs; source.go what there is to run
//	ledger.go    what really happened; promises.go what must be true of it,
//	             rest.go what must be once nothing is under way;
//	             economy.go what may move; steer.go what operators want
//	script.go    a Scenario as text; shrink.go the least text that still fails
//
// The same Scenario gives the same run, step by step. So a violation is reported
// as a script that replays it, with all faults removed that it does not need.
package sim
