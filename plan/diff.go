package plan

import (
	"fmt"
	"maps"
	"strings"
)

// Changes is what turns one list of partitions into another. All lists are
// sorted by ID; one partition is in at most one of them.
type Changes struct {
	// Added and Removed are in only one of the lists.
	Added, Removed []Partition
	// Reweighted are in both with different loads, as they are now.
	Reweighted []Partition
	// Relabelled are in both with the same load and other labels, as they are now.
	Relabelled []Partition
}

// Empty says that nothing changed.
func (c Changes) Empty() bool {
	return len(c.Added)+len(c.Removed)+len(c.Reweighted)+len(c.Relabelled) == 0
}

// Diff compares two lists of partitions, each sorted by ID without duplicates,
// in one walk over both. A weight of 0 is the same as 1.
func Diff(before, after []Partition) Changes {
	var c Changes
	for len(before) > 0 && len(after) > 0 {
		was, is := before[0], after[0]
		switch {
		case was.ID < is.ID:
			c.Removed = append(c.Removed, was)
			before = before[1:]
			continue
		case was.ID > is.ID:
			c.Added = append(c.Added, is)
			after = after[1:]
			continue
		case was.Load() != is.Load():
			c.Reweighted = append(c.Reweighted, is)
		case !maps.Equal(was.Labels, is.Labels):
			c.Relabelled = append(c.Relabelled, is)
		}
		before, after = before[1:], after[1:]
	}
	c.Removed = append(c.Removed, before...)
	c.Added = append(c.Added, after...)
	return c
}

// String counts what changed and names the first few of each kind, as in
// "2 added (a, b), 1 reweighted (c)", or says that nothing did.
func (c Changes) String() string {
	var b strings.Builder
	for _, kind := range []struct {
		word string
		list []Partition
	}{{"added", c.Added}, {"removed", c.Removed}, {"reweighted", c.Reweighted}, {"relabelled", c.Relabelled}} {
		if len(kind.list) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d %s (", len(kind.list), kind.word)
		const few = 3
		for i, p := range kind.list[:min(few, len(kind.list))] {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(p.ID)
		}
		if len(kind.list) > few {
			fmt.Fprintf(&b, " and %d more", len(kind.list)-few)
		}
		b.WriteByte(')')
	}
	if b.Len() == 0 {
		return "no change"
	}
	return b.String()
}
