// Package parti shares partitions of work out among a fleet of workers, so that
// each partition is run by one worker at a time, the load is even, little moves when
// the fleet changes, and work goes on when machines, networks or NATS fail.
//
// A [Manager] is one worker of a group. Give it a [Store] (package natskv), a
// [PartitionSource] (package source) and a [Handler], and call [Manager.Run]:
//
//	mgr, err := parti.NewManager(store, source.Static(parts...), handler, parti.Config{})
//	err = mgr.Run(ctx) // nil after a clean stop
//
// # How it works
//
// Every worker claims a worker ID by a key in the store, its session, and renews it.
// One of them is the leader. It lists the source, sees who is there, and commits
// plans: who may run what. A plan is one sequence of conditional writes, so a leader
// that was deposed cannot write, whatever it believes. Each worker runs exactly what
// its own slice of the plan grants to its own session.
//
//	        ┌──────────── store: sessions, leader, plan, slices ────────────┐
//	        │                                                               │
//	renewals, receipts                                          plans, tombstones
//	        │                                                               │
//	 ┌──────┴──────┐   grant p, token 17   ┌─────────────┐            ┌─────┴─────┐
//	 │  worker-1   │ ◄──────────────────── │    slices   │ ◄───────── │  leader   │ ◄── PartitionSource
//	 └──────┬──────┘                       └─────────────┘            └───────────┘
//	        ▼
//	 Handler.Run(ctx, Lease{p, 17})        ctx ends: stop taking work
//	                                       Hard ends: drop everything
//	                                       return: p is released, and goes on elsewhere
//
// A partition moves by being revoked, drained, released and granted, in this order:
// between live workers nobody starts it before the former owner's Run has returned.
// A worker that is lost is declared so by the leader on evidence only; Lease.Token
// grows with every change of hands, so that a sink can refuse a late writer. While
// the store is away, workers go on with what they have, or stop in time: see
// [Isolation].
//
// All decisions are made by pure state machines in the packages below internal:
// facts and the time go in, requests and orders come out. This package gives them
// hands: one goroutine owns the machine of one worker, all facts go through one
// queue to it, and what it wants done is done by others.
package parti
