package directory

import (
	"testing"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

// A key leads to the same partition as in package source, whoever owns it.
func TestOwnerOfKey(t *testing.T) {
	const n = 300
	hashed, err := source.Hashed(n)
	if err != nil {
		t.Fatal(err)
	}
	all, err := hashed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := &Directory{}
	d.book = newBook(d.tell)
	ids := make([]string, n)
	for i, p := range all {
		ids[i] = p.ID
	}
	d.book.slice(sliceOf(1, 1, ids))
	for _, key := range [][]string{{"alice"}, {"bob"}, {"a", "b"}, {"ab"}, {}, {""}} {
		id := PartitionOfKey(n, key...)
		if want := all[source.PartitionOf(n, key...)].ID; id != want {
			t.Errorf("%q is in %s, want %s", key, id, want)
		}
		direct, ok := d.Owner(id)
		if o, is := d.OwnerOfKey(n, key...); !ok || !is || o != direct {
			t.Errorf("%q: %+v and %+v", key, o, direct)
		}
	}
	if _, ok := d.OwnerOfKey(1_000_000, "alice"); ok && plan.PartitionOf(1_000_000, "alice") >= n {
		t.Error("there is no such partition")
	}
}

func TestNoAllocation(t *testing.T) {
	d, ids := stocked(t, 10_000)
	moving := &plan.Slice{Worker: "w", Version: 1<<40 + 1, Releasing: []plan.Release{{Partition: plan.Partition{ID: "moving"}, Token: 7, Next: "x"}}}
	d.book.slice("w", 1<<60, moving)
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = plan.HashedID(i)
	}
	d.book.slice(sliceOf(4711, 9, keys))
	var owner Owner
	i := 0
	for name, f := range map[string]func(){
		"owned":     func() { owner, _ = d.Owner(ids[i%len(ids)]); i++ },
		"moving":    func() { owner, _ = d.Owner("moving") },
		"nobody's":  func() { owner, _ = d.Owner("nobody's") },
		"by key":    func() { owner, _ = d.OwnerOfKey(4096, "customer-4711", "north") },
		"length":    func() { _ = d.Len() },
		"label":     func() { _ = owner.Process.Label("addr") },
		"staleness": func() { _ = d.Staleness() },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
