// Package run runs a program once for every partition that a worker owns: it is what
// the command "parti run" does.
//
// Commands are started and ended by a guardian, a process of its own that outlives
// parti by the moment that it takes to kill them:
//
//	parti ──── socket pair ────► guardian ──► command of partition 3 ──► what it starts
//	  start, TERM, KILL, trust      │    └──► command of partition 7 ──► ...
//	  ◄── started, gone             │
//	  ◄────── what commands write ──┘ (pipes, straight to parti)
//
// When the socket closes, parti is gone, however it ended, and the guardian kills
// everything at once. Under Fence it is told, at every renewal, until when the worker
// is trusted, and ends everything in time by itself: parti may be stopped, swapped out
// or stuck by then. If the guardian is killed, Linux kills the commands, and parti kills what
// is left of them before they are gone.
//
// A command is a whole process group. It is over when nothing of the group is left.
package run
