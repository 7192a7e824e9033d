package directory

import (
	"cmp"
	"slices"
	"strings"

	"github.com/parti-go/parti/plan"
)

// A view is one slice as it was read. It is never changed: a slice that changes is another
// view, with other entries. All entries are one piece of memory, and so are all IDs that are
// new, so that a million partitions are a few thousand objects.
type view struct {
	worker, session string
	version         plan.Version
	process         *Process
	ids             []string // sorted, none twice
	entries         []entry  // of these
}

// An entry is what a slice says of one partition. It is never changed.
type entry struct {
	of    *view // nil: nobody owns it
	token uint64
	next  *string // nil: it stays where it is
}

// nobody is the entry of every partition that had an owner and has none.
var nobody = &entry{}

// newView makes a view of a slice. IDs that t has are taken from there, so that what is
// read again and again is kept once.
func newView(s *plan.Slice, process *Process, t *table) *view {
	v := &view{worker: s.Worker, session: s.Session, version: s.Version, process: process}
	type named struct {
		id string
		entry
	}
	all := make([]named, 0, len(s.Granted)+len(s.Releasing))
	for i := range s.Granted {
		g := &s.Granted[i]
		all = append(all, named{g.ID, entry{v, uint64(g.Token), nil}})
	}
	next := make([]string, len(s.Releasing))
	for i := range s.Releasing {
		r := &s.Releasing[i]
		next[i] = r.Next
		all = append(all, named{r.ID, entry{v, uint64(r.Token), &next[i]}})
	}
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(strings.Compare(a.id, b.id), cmp.Compare(b.token, a.token))
	})
	all = slices.CompactFunc(all, func(a, b named) bool { return a.id == b.id })
	v.ids, v.entries = make([]string, len(all)), make([]entry, len(all))
	size := 0
	for i, n := range all {
		v.entries[i] = n.entry
		id, kept := t.kept(n.id)
		if v.ids[i] = id; !kept {
			size += len(id)
		}
	}
	if size > 0 {
		v.gather(size, t)
	}
	return v
}

// gather copies the IDs that t does not have, which are so many bytes, into one piece.
func (v *view) gather(size int, t *table) {
	var piece strings.Builder
	piece.Grow(size)
	for i, id := range v.ids {
		if _, kept := t.kept(id); !kept {
			piece.WriteString(id)
			v.ids[i] = piece.String()[piece.Len()-len(id):]
		}
	}
}

// known is the same view with the process of its session.
func (v *view) known(process *Process) *view {
	w := *v
	w.process = process
	w.entries = slices.Clone(v.entries)
	for i := range w.entries {
		w.entries[i].of = &w
	}
	return &w
}

// owned says whether there is an owner.
func (e *entry) owned() bool { return e != nil && e.of != nil }

// owner is the entry as users see it.
func (e *entry) owner() (o Owner) {
	if !e.owned() {
		return o
	}
	e.write(&o)
	return o
}

// write writes the entry as users see it into the zero Owner. It must be owned.
func (e *entry) write(o *Owner) {
	v := e.of
	o.Worker, o.Session, o.Version, o.Process = v.worker, v.session, v.version, v.process
	o.Token = e.token
	if e.next != nil {
		o.Moving, o.Next = true, *e.next
	}
}

// same says whether two entries of a partition tell users the same. A slice that changed
// elsewhere is no news.
func same(a, b *entry) bool {
	if !a.owned() || !b.owned() {
		return a.owned() == b.owned()
	}
	x, y := a.owner(), b.owner()
	x.Version, y.Version = 0, 0
	return x == y
}
