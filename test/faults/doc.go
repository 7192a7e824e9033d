// Package faults breaks what fleets stand on, on real sockets: the store, what lists the
// partitions, processes. Package integration has the patterns in which fleets fail.
package faults
