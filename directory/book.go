package directory

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

// A book is what the directory has read, and what follows from it. It does no input or
// output. Calls must not overlap, but anybody may read the table at any time.
//
// Who owns what follows from two rules.
//
// A slice's content replaces what that worker had, unless it is older than what was read
// already: slices may come in any order.
//
// Several slices may name one partition for a moment, since a commit that takes it from
// one and gives it to another is told of one by one. A token is the version of the plan
// that granted the partition, so a grant under a token says that every slice before that
// version which names the partition under a smaller one is out of date. Of what is left the
// largest token is the owner's.
type book struct {
	table   atomic.Pointer[table]
	live    atomic.Int64 // partitions with an owner
	changed func(id string, before *entry)

	workers map[string]*held
	// shadowed are the entries that are not the owner's, by partition. Between commits
	// there are none.
	shadowed map[string][]*entry
	// floors are tokens above that of the present owner, by partition: somebody had them.
	// They are for slices that are late, and are forgotten once nothing is.
	floors map[string]uint64

	head heading
	// whole says that every slice was read, as of that head but for those that are due.
	whole bool
	// due are the workers whose slices a commit has changed that was heard of, and that
	// were not read yet. The revision is that of the head: a commit writes it first, so a
	// slice above it is of that commit, or a later one.
	due map[string]kv.Rev
}

// A held is what is known of one worker.
type held struct {
	rev     kv.Rev       // of the slice, or of its removal
	version plan.Version // of the newest slice
	view    *view        // nil: it has none
	nonce   string       // of the session whose process is known
	process *Process
}

// A heading is what is known of the head of the plan.
type heading struct {
	rev     kv.Rev
	version plan.Version
	slices  int  // how many stand as of it; 0: it does not say
	stands  bool // there is a plan, and it is not being rebuilt
}

func newBook(changed func(id string, before *entry)) *book {
	b := &book{
		changed: changed, workers: map[string]*held{}, shadowed: map[string][]*entry{},
		floors: map[string]uint64{}, due: map[string]kv.Rev{},
	}
	b.table.Store(newTable(0))
	return b
}

func (b *book) worker(id string) *held {
	w := b.workers[id]
	if w == nil {
		w = &held{}
		b.workers[id] = w
	}
	return w
}

// has says whether the worker's slice was read at that revision or a later one.
func (b *book) has(worker string, rev kv.Rev) bool {
	w := b.workers[worker]
	return w != nil && w.rev >= rev
}

// slice takes a worker's slice at that revision; nil: it was removed. It says whether the
// process of the session that it names is not known.
func (b *book) slice(worker string, rev kv.Rev, s *plan.Slice) (stranger bool) {
	w := b.worker(worker)
	if rev <= w.rev || s != nil && s.Version <= w.version {
		return false // it is known, or late, or of a store that went back
	}
	w.rev = rev
	if since, is := b.due[worker]; is && rev > since {
		delete(b.due, worker)
	}
	var v *view
	if s != nil {
		w.version = s.Version
		if s.Session != w.nonce {
			w.nonce, w.process = "", nil
		}
		v = newView(s, w.process, b.table.Load())
	}
	b.place(w, v)
	return v != nil && w.nonce == ""
}

// dues are the workers whose slices are due, sorted.
func (b *book) dues() []string { return slices.Sorted(maps.Keys(b.due)) }

// strangers are the workers whose session's process is not known, sorted.
func (b *book) strangers() []string {
	var all []string
	for id, w := range b.workers {
		if w.view != nil && w.nonce == "" {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// meet takes what a session says of its process. Another session than that of the
// worker's slice is none of its business.
func (b *book) meet(worker, nonce string, p *Process) {
	if w := b.workers[worker]; w != nil && w.view != nil && w.view.session == nonce && w.nonce != nonce {
		w.nonce, w.process = nonce, p
		b.place(w, w.view.known(p))
	}
}

// errWentBack says that the store shows an earlier plan than was read.
var errWentBack = errors.New("the store has gone back to an earlier plan; waiting until the group has made it anew")

// errRebuilding says that what the directory knows is of a store that was lost.
var errRebuilding = errors.New("the store was made anew, and the plan is being rebuilt from what workers hold")

// heard takes the head of the plan at that revision, unless it is no news.
func (b *book) heard(rev kv.Rev, h *plan.Head) {
	switch {
	case h.Version < b.head.version, h.Version == b.head.version && rev != b.head.rev:
		return // late, or of a store that went back
	case h.Version == b.head.version:
	case h.Version == b.head.version.Next() && rev > b.head.rev:
		for _, id := range h.Changed {
			if !b.has(id, rev+1) {
				b.due[id] = rev
			}
		}
	default:
		b.whole = false // there were others in between
	}
	b.head = heading{rev, h.Version, h.Slices, h.Started && !h.Adopting}
}

// headless says that there is no plan at all: the group is new, or its store was made anew.
func (b *book) headless() { b.whole, b.head.stands = false, false }

// lacking is how many slices a list of that revision, which has so many, lacks of those that
// stand as of the head. Of a head that is newer it says nothing.
func (b *book) lacking(at kv.Rev, has int) int {
	h := b.head
	if h.rev > at || h.version.Incarnation() != at.Incarnation() {
		return 0
	}
	return max(h.slices-has, 0)
}

// listed says that the slices of these workers are all there were at that revision. They
// were taken before.
//
// Those that a store which was made anew does not hold stay until a plan stands in it: the
// workers go on meanwhile.
func (b *book) listed(at kv.Rev, present map[string]bool) error {
	kept := false
	for id, w := range b.workers {
		switch {
		case present[id], w.rev > at:
		case w.view != nil && w.rev.Incarnation() < at.Incarnation() && !b.head.stands:
			kept = true
		default:
			w.rev = at
			b.place(w, nil)
		}
	}
	for id, since := range b.due {
		// Of a worker that came and went unnoticed there is nothing.
		if b.has(id, since+1) || b.workers[id] == nil && !present[id] && at > since {
			delete(b.due, id)
		}
	}
	if kept {
		return errRebuilding
	}
	return nil
}

// agreed says that nothing is missing: no slice that comes later is late.
func (b *book) agreed() {
	floors := b.floors
	b.floors = map[string]uint64{}
	for id := range floors {
		if len(b.shadowed[id]) > 0 {
			b.settle(id, nil, nil)
		}
	}
}

// place gives a worker another view; nil: none. It compares it with the former one in
// one walk over both.
func (b *book) place(w *held, v *view) {
	before, after := w.view, v
	if before == nil {
		before = &view{}
	}
	if after == nil {
		after = &view{}
	}
	w.view = v
	for i, j := 0, 0; i < len(before.ids) || j < len(after.ids); {
		var was, is *entry
		var id string
		switch {
		case j == len(after.ids) || i < len(before.ids) && before.ids[i] < after.ids[j]:
			id, was = before.ids[i], &before.entries[i]
			i++
		case i == len(before.ids) || before.ids[i] > after.ids[j]:
			id, is = after.ids[j], &after.entries[j]
			j++
		default:
			id, was, is = after.ids[j], &before.entries[i], &after.entries[j]
			i++
			j++
		}
		b.settle(id, was, is)
	}
}

// settle takes one entry of a partition away and puts another in its place, either of
// which may be nil, and finds the owner.
func (b *book) settle(id string, was, is *entry) {
	now := b.table.Load().get(id)
	floor, floored := b.floors[id]
	others := b.shadowed[id]
	if len(others) == 0 && !floored && (now == was || !now.owned()) {
		// Nobody else names it.
		if was != nil && (is == nil || is.token < was.token) {
			b.floors[id] = was.token
		}
		if is == nil {
			is = nobody
		}
		b.put(id, now, is)
		return
	}
	var all []*entry
	for _, e := range append(slices.Clip(others), now, is) {
		if e.owned() {
			floor = max(floor, e.token)
			if e != was {
				all = append(all, e)
			}
		}
	}
	best := -1
	for i, e := range all {
		if (e.token == floor || uint64(e.of.version) >= floor) && (best < 0 || above(e, all[best])) {
			best = i
		}
	}
	owner := nobody
	if best >= 0 {
		owner = all[best]
		all = slices.Delete(all, best, best+1)
	}
	if delete(b.shadowed, id); len(all) > 0 {
		b.shadowed[id] = all
	}
	if delete(b.floors, id); floor > owner.token {
		b.floors[id] = floor
	}
	b.put(id, now, owner)
}

// above says whether an entry counts more than another of the same partition. No leader
// grants one token twice; should it be there twice, the answer is still the same whatever
// order the slices came in.
func above(a, b *entry) bool {
	if a.token != b.token {
		return a.token > b.token
	}
	if a.of.version != b.of.version {
		return a.of.version > b.of.version
	}
	return a.of.worker < b.of.worker
}

// put makes e the entry of a partition, in place of now.
func (b *book) put(id string, now, e *entry) {
	if now == e || !now.owned() && !e.owned() {
		return
	}
	t := b.table.Load()
	next := t.grown()
	next.set(id, e)
	if next != t {
		b.table.Store(next)
	}
	b.live.Store(int64(next.live))
	if !same(now, e) {
		b.changed(id, now)
	}
}

// A snapshot are all owners at one moment.
type snapshot struct {
	views []*view
	not   map[*entry]bool // entries that are not the owner's
}

func (b *book) snapshot() snapshot {
	s := snapshot{not: map[*entry]bool{}}
	for _, w := range b.workers {
		if w.view != nil {
			s.views = append(s.views, w.view)
		}
	}
	slices.SortFunc(s.views, func(a, b *view) int { return strings.Compare(a.worker, b.worker) })
	for _, es := range b.shadowed {
		for _, e := range es {
			s.not[e] = true
		}
	}
	return s
}

// each calls f with the owner's entry of every partition, in order of workers and
// partitions, until f says no.
func (s snapshot) each(f func(id string, e *entry) bool) {
	for _, v := range s.views {
		for i, id := range v.ids {
			if e := &v.entries[i]; !s.not[e] && !f(id, e) {
				return
			}
		}
	}
}
