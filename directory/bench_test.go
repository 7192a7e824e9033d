package directory

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

// stocked is a directory of n partitions on workers that have a thousand each, without a
// store; and the partitions, in no order.
func stocked(tb testing.TB, n int) (*Directory, []string) {
	tb.Helper()
	d := &Directory{readers: map[*reader]struct{}{}}
	d.book = newBook(d.tell)
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("tool-%06d.chamber-%d", i/4, i%4)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for w := 0; w*1000 < n; w++ {
		d.book.slice(sliceOf(w, 1, ids[w*1000:min(n, (w+1)*1000)]))
	}
	rnd.Shuffle(n, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	// A caller has the key that it asks for in its hands: here they lie in the order in
	// which they are asked for.
	all := strings.Join(ids, "")
	for i, id := range ids {
		ids[i], all = all[:len(id)], all[len(id):]
	}
	return d, ids
}

func sliceOf(w int, version uint32, ids []string) (string, kv.Rev, *plan.Slice) {
	s := &plan.Slice{Worker: fmt.Sprintf("worker-%d", w), Session: fmt.Sprintf("nonce-%d", w), Version: plan.MakeVersion(1, version)}
	for _, id := range ids {
		s.Granted = append(s.Granted, plan.Grant{Partition: plan.Partition{ID: id}, Token: plan.MakeVersion(1, 1)})
	}
	return s.Worker, kv.Floor(1) + kv.Rev(version), s
}

// Any is a look-up of any partition, after that of any other: of a million of them little
// is in the caches of the processor. Hot is one of a hundred that are asked for all the
// time.
func BenchmarkOwner(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		d, ids := stocked(b, n)
		for _, set := range []struct {
			name string
			ids  []string
		}{{"any", ids}, {"hot", ids[:100]}} {
			b.Run(fmt.Sprintf("%s of %d", set.name, n), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, ok := d.Owner(set.ids[i]); !ok {
						b.Fatal("nobody")
					}
					if i++; i == len(set.ids) {
						i = 0
					}
				}
			})
		}
		b.Run(fmt.Sprintf("unknown of %d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := d.Owner("nobody.has-this"); ok {
					b.Fatal("somebody")
				}
			}
		})
	}
}

func BenchmarkOwnerParallel(b *testing.B) {
	d, ids := stocked(b, 100_000)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i := rand.IntN(len(ids))
		for pb.Next() {
			if _, ok := d.Owner(ids[i]); !ok {
				b.Error("nobody")
				return
			}
			if i++; i == len(ids) {
				i = 0
			}
		}
	})
}

func BenchmarkOwnerOfKey(b *testing.B) {
	d := &Directory{}
	d.book = newBook(d.tell)
	ids := make([]string, 4096)
	for i := range ids {
		ids[i] = plan.HashedID(i)
	}
	d.book.slice(sliceOf(1, 1, ids))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := d.OwnerOfKey(4096, "customer-4711"); !ok {
			b.Fatal("nobody")
		}
	}
}

// A slice of a thousand partitions changes, of a million.
func BenchmarkSlice(b *testing.B) {
	d, _ := stocked(b, 1_000_000)
	own := slices.Clone(d.book.workers["worker-7"].view.ids)
	b.ReportAllocs()
	version := uint32(1)
	for b.Loop() {
		version++
		d.book.slice(sliceOf(7, version, own))
	}
}

// What a million partitions take.
func BenchmarkMemory(b *testing.B) {
	before := heap()
	d, _ := stocked(b, 1_000_000)
	for b.Loop() { // there is nothing to time
	}
	b.ReportMetric(float64(heap()-before)/1e6, "B/partition")
	runtime.KeepAlive(d)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
