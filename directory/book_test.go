package directory

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

// A world is a group that follows the protocol, and what of it was delivered.
type world struct {
	t       *rapid.T
	version plan.Version
	rev     kv.Rev
	owner   map[string]string // partition → worker
	token   map[string]plan.Version
	next    map[string]string // of those that are being released
	stands  map[string]bool   // workers that have a slice
	mail    []letter          // everything that was ever told
	newest  map[string]letter // by worker

	d      *Directory
	seen   map[string]uint64 // the largest token of each partition that was delivered
	read   *reader
	reader map[string]string
}

// A letter is a slice at a revision.
type letter struct {
	worker string
	rev    kv.Rev
	slice  *plan.Slice
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, version: plan.MakeVersion(1, 0), rev: kv.Floor(1),
		owner: map[string]string{}, token: map[string]plan.Version{}, next: map[string]string{},
		stands: map[string]bool{}, newest: map[string]letter{},
		d: &Directory{readers: map[*reader]struct{}{}}, seen: map[string]uint64{},
		read: &reader{wake: make(chan struct{}, 1), before: map[string]*entry{}}, reader: map[string]string{},
	}
	w.d.book = newBook(w.d.tell)
	w.d.readers[w.read] = struct{}{}
	return w
}

var (
	anyPartition = rapid.SampledFrom([]string{"a", "b", "c"})
	anyWorker    = rapid.SampledFrom([]string{"w1", "w2", "w3"})
)

// commit changes the owners of some partitions, as a leader may.
func (w *world) commit() {
	w.version = w.version.Next()
	touched := map[string]bool{}
	for range rapid.IntRange(1, 4).Draw(w.t, "changes") {
		id, to := anyPartition.Draw(w.t, "partition"), anyWorker.Draw(w.t, "worker")
		from := w.owner[id]
		if from != "" {
			touched[from] = true
		}
		touched[to] = true
		switch k := rapid.IntRange(0, 3).Draw(w.t, "what"); {
		case k == 0: // it is gone, or waits
			delete(w.owner, id)
			delete(w.next, id)
		case k == 1 && from != "": // the owner is asked to let go
			w.next[id] = to
		default: // granted, also anew to the same worker
			w.owner[id], w.token[id] = to, w.version
			delete(w.next, id)
		}
	}
	w.rev++ // the head
	for _, worker := range slices.Sorted(maps.Keys(touched)) {
		s := &plan.Slice{Worker: worker, Session: fmt.Sprint("n-", worker, rapid.IntRange(1, 2).Draw(w.t, "session")), Version: w.version}
		for _, id := range slices.Sorted(maps.Keys(w.owner)) {
			switch next, releasing := w.next[id]; {
			case w.owner[id] != worker:
			case releasing:
				s.Releasing = append(s.Releasing, plan.Release{Partition: plan.Partition{ID: id}, Token: w.token[id], Next: next})
			default:
				s.Granted = append(s.Granted, plan.Grant{Partition: plan.Partition{ID: id}, Token: w.token[id]})
			}
		}
		w.rev++
		l := letter{worker, w.rev, s}
		if len(s.Granted)+len(s.Releasing) == 0 && rapid.Bool().Draw(w.t, "removed") {
			if !w.stands[worker] {
				continue
			}
			l.slice = nil
		}
		w.stands[worker] = l.slice != nil
		w.mail = append(w.mail, l)
		w.newest[worker] = l
	}
}

// deliver tells the directory of something that was told to it already, or never, or late.
func (w *world) deliver(l letter) {
	if !w.d.book.has(l.worker, l.rev) && l.slice != nil {
		for _, g := range l.slice.Granted {
			w.seen[g.ID] = max(w.seen[g.ID], uint64(g.Token))
		}
		for _, r := range l.slice.Releasing {
			w.seen[r.ID] = max(w.seen[r.ID], uint64(r.Token))
		}
	}
	w.d.book.slice(l.worker, l.rev, l.slice)
	w.check()
}

// meet tells of the session that a worker has now.
func (w *world) meet() {
	worker := anyWorker.Draw(w.t, "worker")
	w.d.book.meet(worker, fmt.Sprint("n-", worker, rapid.IntRange(1, 2).Draw(w.t, "session")), &Process{Host: worker})
	w.check()
}

// check holds the book to what it promises at any time.
func (w *world) check() {
	all := map[string]string{}
	w.d.All()(func(id string, o Owner) bool {
		if _, twice := all[id]; twice {
			w.t.Fatalf("%s is there twice", id)
		}
		all[id] = word(o)
		if got, ok := w.d.Owner(id); !ok || got != o {
			w.t.Fatalf("Owner says %+v, %t of %s, and All %+v", got, ok, id, o)
		}
		if o.Token != w.seen[id] {
			w.t.Fatalf("%s is with token %d, and %d was told of", id, o.Token, w.seen[id])
		}
		if o.Process != nil && o.Process.Host != o.Worker {
			w.t.Fatalf("%s is with %s at %s", id, o.Worker, o.Process.Host)
		}
		return true
	})
	if len(all) != w.d.Len() {
		w.t.Fatalf("Len is %d, and there are %v", w.d.Len(), all)
	}
	for id := range w.seen {
		if _, ok := w.d.Owner(id); ok != (all[id] != "") {
			w.t.Fatalf("Owner says %t of %s, and All %v", ok, id, all)
		}
	}
}

// listen reads some of the changes.
func (w *world) listen(most int) {
	for range most {
		c, ok := w.d.next(w.read)
		if !ok {
			return
		}
		if before := word(c.Before); w.reader[c.Partition] != before {
			w.t.Fatalf("%s: %q is followed by %q", c.Partition, w.reader[c.Partition], before)
		}
		w.reader[c.Partition] = word(c.After)
	}
}

// settled holds the book to what it promises once all was delivered.
func (w *world) settled() {
	want := map[string]string{}
	for id, worker := range w.owner {
		want[id] = fmt.Sprintf("%s:%d", worker, w.token[id].Number())
		if next, is := w.next[id]; is {
			want[id] += ">" + next
		}
	}
	got := map[string]string{}
	for id, o := range w.d.All() {
		got[id] = word(o)
	}
	if !maps.Equal(got, want) {
		w.t.Fatalf("it says %v, want %v", got, want)
	}
	w.listen(1000)
	maps.DeleteFunc(w.reader, func(_, word string) bool { return word == "" })
	if !maps.Equal(w.reader, want) {
		w.t.Fatalf("a reader knows %v, want %v", w.reader, want)
	}
	if n := len(w.d.book.shadowed); n > 0 {
		w.t.Fatalf("%d are shadowed", n)
	}
}

// Whatever order slices are told in, late, twice or never, no owner is shown whose token
// is below one that was told of; and once the newest were told, the owners are those of
// the plan, and readers of changes know them.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(10, 100).Draw(t, "steps") {
			switch k := rapid.IntRange(0, 9).Draw(t, "step"); {
			case k < 2 || len(w.mail) == 0:
				w.commit()
			case k < 8:
				w.deliver(rapid.SampledFrom(w.mail).Draw(t, "letter"))
			case k == 8:
				w.listen(rapid.IntRange(1, 3).Draw(t, "reads"))
			default:
				w.meet()
			}
		}
		last := slices.Sorted(maps.Keys(w.newest))
		for _, worker := range rapid.Permutation(last).Draw(t, "order") {
			w.deliver(w.newest[worker])
		}
		w.settled()
		w.d.book.agreed()
		w.check()
		w.settled()
		if len(w.d.book.floors) > 0 {
			t.Fatal("it waits for slices that are late")
		}
	})
}

// grants is a slice that grants one partition under a token.
func grants(worker string, version, token uint32, id string) *plan.Slice {
	return &plan.Slice{Worker: worker, Version: plan.MakeVersion(1, version), Granted: []plan.Grant{{Partition: plan.Partition{ID: id}, Token: plan.MakeVersion(1, token)}}}
}

// What a store that went back has lost keeps nobody from what stands, once it is certain
// that it stands.
func TestLostGrant(t *testing.T) {
	d := &Directory{}
	d.book = newBook(d.tell)
	owner := func(want string) {
		t.Helper()
		if o, _ := d.Owner("a"); word(o) != want {
			t.Errorf("a is with %q, want %q", word(o), want)
		}
	}
	d.book.slice("w2", 9, grants("w2", 9, 9, "a"))
	d.book.slice("w1", 5, grants("w1", 8, 5, "a"))
	owner("w2:9")
	d.book.slice("w2", 10, nil)
	owner("") // for all that is known, w1 was not heard of since
	d.book.agreed()
	owner("w1:5")
}

// A slice that comes after all that followed it gets nothing back.
func TestVeryLateSlice(t *testing.T) {
	d := &Directory{}
	d.book = newBook(d.tell)
	d.book.slice("w2", 9, grants("w2", 9, 9, "a"))
	d.book.slice("w2", 10, nil)
	d.book.slice("w1", 5, grants("w1", 8, 5, "a"))
	if o, ok := d.Owner("a"); ok {
		t.Errorf("a is with %q", word(o))
	}
	d.book.slice("w1", 11, grants("w1", 11, 11, "a"))
	if o, _ := d.Owner("a"); word(o) != "w1:11" || len(d.book.floors) > 0 {
		t.Errorf("a is with %q", word(o))
	}
}

// What was told while a list was read is newer than the list.
func TestListIsOlder(t *testing.T) {
	d := &Directory{}
	d.book = newBook(d.tell)
	d.book.slice("w1", 20, grants("w1", 2, 2, "a"))
	d.book.slice("w2", 8, grants("w2", 1, 1, "b"))
	if err := d.book.listed(10, nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.Owner("a"); !ok || d.Len() != 1 {
		t.Errorf("a has an owner: %t; there are %d", ok, d.Len())
	}
	d.book.slice("w2", 9, grants("w2", 3, 3, "b")) // from before the list
	if d.Len() != 1 {
		t.Errorf("there are %d", d.Len())
	}
}

// The slice of a worker that came and went before anybody read it is not waited for.
func TestDueOfAWorkerThatIsGone(t *testing.T) {
	d := &Directory{}
	d.book = newBook(d.tell)
	v := func(n uint32) plan.Version { return plan.MakeVersion(1, n) }
	d.book.heard(kv.Floor(1)+1, &plan.Head{Version: v(1), Started: true})
	d.book.whole = true
	d.book.heard(kv.Floor(1)+2, &plan.Head{Version: v(2), Changed: []string{"x"}, Started: true})
	if err := d.book.listed(kv.Floor(1)+2, nil); err != nil {
		t.Fatal(err)
	}
	if due := d.book.dues(); len(due) != 1 {
		t.Errorf("the list may be from before the slice, and due are %v", due)
	}
	d.book.heard(kv.Floor(1)+9, &plan.Head{Version: v(5), Started: true})
	if err := d.book.listed(kv.Floor(1)+9, nil); err != nil {
		t.Fatal(err)
	}
	if due := d.book.dues(); len(due) > 0 {
		t.Errorf("due are %v", due)
	}
}

// A table keeps what it is told, whatever comes and goes.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab, model := newTable(0), map[string]uint64{}
		owner := &view{worker: "w"}
		for range rapid.IntRange(0, 500).Draw(t, "steps") {
			id := fmt.Sprint(rapid.IntRange(0, 100).Draw(t, "id"))
			tab = tab.grown()
			if rapid.Bool().Draw(t, "gone") {
				tab.set(id, nobody)
				delete(model, id)
			} else {
				token := rapid.Uint64().Draw(t, "token")
				tab.set(id, &entry{owner, token, nil})
				model[id] = token
			}
			if tab.live != len(model) || 3*tab.used > 2*len(tab.slots) {
				t.Fatalf("%d of %d, in %d slots of which %d are taken", tab.live, len(model), len(tab.slots), tab.used)
			}
		}
		for i := range 120 {
			id := fmt.Sprint(i)
			e := tab.get(id)
			if token, ok := model[id]; ok != e.owned() || ok && e.token != token {
				t.Fatalf("%s: %+v, want %d, %t", id, e, token, ok)
			}
		}
	})
}

// A worker that is named by no slice any more leaves nothing behind, however many there
// were: neither slots nor IDs.
func TestPartitionsThatComeAndGo(t *testing.T) {
	d := &Directory{}
	d.book = newBook(d.tell)
	for i := range 1000 {
		ids := make([]string, 10)
		for j := range ids {
			ids[j] = fmt.Sprintf("p-%04d-%d", i, j)
		}
		d.book.slice(sliceOf(1, uint32(i+1), ids))
		d.book.agreed()
	}
	if n := len(d.book.table.Load().slots); n > 64 || d.Len() != 10 {
		t.Errorf("%d slots for %d partitions", n, d.Len())
	}
}
