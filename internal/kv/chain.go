package kv

import "fmt"

// A Chain checks that the changes which a Follow is told of leave nothing out, as
// far as they can tell: each names the revision that its key had before. It is
// for implementations of Store.
type Chain struct {
	incarnation uint32
	seen, old   map[string]Rev // the present generation of keys, and the one before
	highest     Rev            // of all that came
	closed      Rev            // highest when old was closed
	forgotten   Rev            // a key in neither map did not change above this, as far as was told
}

// generation is how many keys a Chain remembers before it begins to forget those
// that have not changed for as long as so many others did.
const generation = 8192

// NewChain starts a check. Start is the last revision of the store at a moment
// when the following had begun already: what is older is in the caller's next List.
func NewChain(start Rev) *Chain {
	return &Chain{incarnation: start.Incarnation(), seen: map[string]Rev{}, highest: start, forgotten: start}
}

// Next takes the next change of key: its revision, and the one that the key had
// before, zero when it was not there. Its error wraps ErrHole.
//
// That a key was not there before is never a hole, since a marker is cleared away
// in silence.
func (c *Chain) Next(key string, rev, before Rev) error {
	last, known := c.seen[key]
	if !known {
		last, known = c.old[key]
	}
	if !known {
		last = c.forgotten
	}
	switch {
	case rev.Incarnation() != c.incarnation:
		return fmt.Errorf("%w: the store was made anew: %s is of incarnation %d after %d", ErrHole, key, rev.Incarnation(), c.incarnation)
	case known && rev <= last:
		return fmt.Errorf("%w: %s came at revision %d after %d", ErrHole, key, rev, last)
	case before > last:
		return fmt.Errorf("%w: %s was at revision %d, which did not come", ErrHole, key, before)
	case known && before != 0 && before < last:
		return fmt.Errorf("%w: the store went back: %s was at revision %d again after %d", ErrHole, key, before, last)
	}
	c.highest = max(c.highest, rev)
	if len(c.seen) >= generation {
		c.forgotten, c.closed = max(c.forgotten, c.closed), c.highest
		c.old, c.seen = c.seen, make(map[string]Rev, generation)
	}
	c.seen[key] = rev
	return nil
}
