package directory

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// A table finds entries by partition. Any number of goroutines read it while one writes:
// a reader sees each partition as it was before or after a change, and waits for nobody.
//
// It is open addressing with linear probing. A slot that was once given to a partition
// stays its own, so that a reader's walk never loses what it looks for; what is gone
// leaves nobody there. When too many slots are taken, the writer fills a new table and
// puts it in place of this one. So a change of one partition costs one store, and no copy
// of anything.
//
// A look-up of one partition among a million waits mostly for memory. It waits twice: for
// the slot, and then for the entry and the bytes of the ID at the same time, since the slot
// says where both are.
type table struct {
	seed  maphash.Seed
	mask  uint64 // one less than the number of slots, a power of two
	slots []slot

	// The writer's own.
	used int // slots that were given away
	live int // of these, with an owner
}

// A slot is given away by the first store of an entry; its ID and hash are written before
// that, and never again. So whoever has read an entry may read them.
type slot struct {
	entry atomic.Pointer[entry]
	hash  uint64
	id    string
}

// newTable has room for n partitions, and for some more.
func newTable(n int) *table {
	size := max(16, 1<<bits.Len(uint(2*n)))
	return &table{seed: maphash.MakeSeed(), mask: uint64(size - 1), slots: make([]slot, size)}
}

// find is the slot of a partition; or, when it has none, the free one that is to be its own.
func (t *table) find(id string) (*slot, *entry, uint64) {
	h := maphash.String(t.seed, id)
	for i := h; ; i++ {
		s := &t.slots[i&t.mask]
		e := s.entry.Load()
		if e == nil || s.hash == h && s.id == id {
			return s, e, h
		}
	}
}

// get is the entry of a partition; nil when it never had one.
func (t *table) get(id string) *entry {
	_, e, _ := t.find(id)
	return e
}

// set gives a partition another entry. The table must have room for it: see grown.
func (t *table) set(id string, e *entry) {
	s, was, h := t.find(id)
	if was == nil {
		s.hash, s.id = h, id
		t.used++
	}
	if was.owned() {
		t.live--
	}
	if e.owned() {
		t.live++
	}
	s.entry.Store(e)
}

// kept is the same ID in memory that the table holds already, if it does.
func (t *table) kept(id string) (string, bool) {
	if s, e, _ := t.find(id); e.owned() {
		return s.id, true
	}
	return id, false
}

// grown is this table, or another with the same owners when it is too full to take
// another partition.
func (t *table) grown() *table {
	if 3*(t.used+1) <= 2*len(t.slots) {
		return t
	}
	next := newTable(t.live + 1)
	for i := range t.slots {
		s := &t.slots[i]
		if e := s.entry.Load(); e.owned() {
			next.set(s.id, e)
		}
	}
	return next
}
