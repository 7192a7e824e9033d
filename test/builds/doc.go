// Package builds replaces the processes of a fleet by those of another build of Parti, one
// by one and back, as a rolling update of the software does. It needs both as commands, and
// does nothing without them: make skew.
package builds
