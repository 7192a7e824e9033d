package strategy_test

import (
	"fmt"
	"testing"

	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
	"github.com/parti-go/parti/strategy/strategytest"
)

// BenchmarkSticky measures one plan: the first, one worker joining, one leaving,
// and none. The explain cases measure what the leader asks for besides.
func BenchmarkSticky(b *testing.B) {
	for _, size := range []struct{ partitions, workers int }{{6_000, 100}, {100_000, 1_000}, {1_000_000, 1_000}} {
		for _, kind := range []struct {
			name    string
			weights []int64
		}{{"uniform", uniform(size.partitions)}, {"lognormal", strategytest.Lognormal(size.partitions, 1)}} {
			name := fmt.Sprintf("%dx%d/%s", size.partitions, size.workers, kind.name)
			f := newFleet(strategy.Sticky(), size.workers, kind.weights)
			first := f.in
			f.in.Current = must(b, f)
			settled := f.in
			f.join()
			join := f.in
			f.in = settled
			f.in.Current = append([]int(nil), settled.Current...)
			f.leave(size.workers / 2)
			leave := f.in
			for _, c := range []struct {
				name string
				in   plan.Input
			}{{"first", first}, {"join", join}, {"leave", leave}, {"none", settled}} {
				f.in = c.in
				b.Run(name+"/"+c.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						must(b, f)
					}
				})
				to := must(b, f)
				b.Run(name+"/explain-"+c.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						f.s.Explain(c.in, to)
					}
				})
			}
		}
	}
}

func must(tb testing.TB, f *fleet) []int {
	tb.Helper()
	to, err := f.s.Assign(f.in)
	if err != nil {
		tb.Fatal(err)
	}
	return to
}
