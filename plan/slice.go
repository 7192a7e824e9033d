package plan

import "cmp"

// A Slice is one worker's part of the plan. It is a permission addressed to one
// session: that session runs exactly what is granted here and nothing else, and
// nobody but the leader moves a partition from one slice to another.
type Slice struct {
	// Worker is the worker ID that the slice belongs to.
	Worker string `json:"worker"`
	// Session is the nonce of the one session that may act on the slice.
	Session string `json:"session"`
	// TTL and Fenced repeat what that session said of itself, so that a later
	// leader can conclude its end after its record is gone.
	TTL Millis `json:"ttl_ms"`
	// Fenced says that the session stops by itself when it is isolated.
	Fenced bool `json:"fenced,omitempty"`
	// Version is the plan that last changed this slice.
	Version Version `json:"version"`
	// Granted is what the session may run, sorted by partition ID.
	Granted []Grant `json:"granted,omitempty"`
	// Releasing is what the session must let go of, sorted by partition ID.
	Releasing []Release `json:"releasing,omitempty"`
	// Coming names partitions that are about to be granted here, once another
	// has let go, sorted. It grants nothing; it is a hint to warm up.
	Coming []Partition `json:"coming,omitempty"`
}

// A Grant lets a session run one partition under one token.
type Grant struct {
	Partition
	// Token is the version of the plan that granted the partition to this session.
	Token Version `json:"token"`
	// Why says what made the leader put the partition here.
	Why Why `json:"why"`
	// Crashed lists owners that were lately lost while they had the partition, so
	// that a later leader knows when to suspect the partition itself.
	Crashed []string `json:"crashed,omitempty"`
}

// A Release asks a session to let go of a partition. Until the session's receipt
// nobody is granted it.
type Release struct {
	Partition
	// Token is that of the lease to be given up.
	Token Version `json:"token"`
	// Since is the version that asked first.
	Since Version `json:"since"`
	// Next is the worker ID that will be granted the partition; it may change
	// until then. Empty means nobody: the partition is gone from the source, or
	// nobody can take it.
	Next string `json:"next,omitempty"`
	// Why says what made the leader move the partition. Crashed is as in Grant.
	Why     Why      `json:"why"`
	Crashed []string `json:"crashed,omitempty"`
}

// A Lease names one period of ownership of one partition.
type Lease struct {
	Partition string  `json:"partition"`
	Token     Version `json:"token"`
}

// Compare orders leases by partition, then by token, as package cmp does.
func (l Lease) Compare(other Lease) int {
	return cmp.Or(cmp.Compare(l.Partition, other.Partition), cmp.Compare(l.Token, other.Token))
}

// A Head is the small record that every commit replaces, on condition that it is
// still the one that the leader read or wrote last. It is what makes plans a sequence.
type Head struct {
	// Version numbers the plan. Its incarnation is the store's.
	Version Version `json:"version"`
	// Term numbers the period of leadership that committed it.
	Term uint64 `json:"term"`
	// Leader and Session name who committed it.
	Leader  string `json:"leader"`
	Session string `json:"session"`
	// Phase is what the group is doing.
	Phase Phase `json:"phase"`
	// Why is what triggered this plan.
	Why Why `json:"why"`
	// Counts for one line of status.
	Partitions int `json:"partitions"`
	Unassigned int `json:"unassigned,omitempty"`
	Releasing  int `json:"releasing,omitempty"`
	Workers    int `json:"workers"`
	// Slices is how many slices stand after this commit, so that who reads them knows
	// whether they are all. Zero: none, or whoever wrote it did not count them.
	Slices int `json:"slices,omitempty"`
	// Changed lists the workers whose slices this commit changed, sorted. A worker
	// that finds itself here and has not seen its slice reads it.
	Changed []string `json:"changed,omitempty"`
	// Started says that the group has had a first plan.
	Started bool `json:"started,omitempty"`
	// Adopting says that the store was lost or went back, and that the plan is being
	// rebuilt from what workers hold: a session that no slice names may still resume.
	Adopting bool `json:"adopting,omitempty"`
}
