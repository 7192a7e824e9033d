package strategy

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The integer arithmetic agrees with that of unlimited numbers.
func TestArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := func(name string, least int64) int64 { return rapid.Int64Range(least, math.MaxInt64).Draw(t, name) }
		a, b, c, d := num("a", 0), num("b", 1), num("c", 0), num("d", 1)
		if got, want := compareRatio(a, b, c, d), product(a, d).Cmp(product(c, b)); got != want {
			t.Errorf("compareRatio: %d, want %d", got, want)
		}
		if got, want := mulDiv(a, c, b), clamp(new(big.Int).Div(product(a, c), big.NewInt(b))); got != want {
			t.Errorf("mulDiv: %d, want %d", got, want)
		}
		k := rapid.Int64Range(0, 1_000_000).Draw(t, "k")
		q, r := new(big.Int).DivMod(product(a, c, k), product(b, 1000), new(big.Int))
		if got, rest := scaled(a, c, k, b); got != clamp(q) || rest != (r.Sign() > 0) {
			t.Errorf("scaled: %d %t, want %d, rest %d", got, rest, clamp(q), r)
		}
		// The most x with x(b+d) < 2(a·d - c·b), for loads whose sum is in range.
		a, c = a/2, c/2
		x := new(big.Int).Sub(product(a, d), product(c, b))
		x.Sub(x.Lsh(x, 1), big.NewInt(1))
		x.Div(x, new(big.Int).Add(big.NewInt(b), big.NewInt(d)))
		want := max(clamp(x), 0)
		if got := evenOut(a, b, c, d); got != want {
			t.Errorf("evenOut: %d, want %d", got, want)
		}
	})
}

func product(factors ...int64) *big.Int {
	p := big.NewInt(1)
	for _, f := range factors {
		p.Mul(p, big.NewInt(f))
	}
	return p
}

func clamp(x *big.Int) int64 {
	if !x.IsInt64() {
		return math.MaxInt64
	}
	return x.Int64()
}

func TestSortHeavy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SliceOfN(rapid.Int64Range(1, rapid.SampledFrom([]int64{1, 9, 1 << 40}).Draw(t, "most")), 1, 50).Draw(t, "w")
		ids, want := make([]int32, 2*small), make([]int32, 2*small)
		all := make([]int64, 2*small)
		for k := range ids {
			ids[k], want[k], all[k] = int32(k), int32(k), w[k%len(w)]
		}
		slices.SortStableFunc(want, func(a, b int32) int { return cmp.Compare(all[b], all[a]) })
		sortHeavy(ids, all)
		if !slices.Equal(ids, want) {
			t.Fatalf("got %v\nwant %v", ids, want)
		}
		few := []int32{5, 3, 1, 0}
		sortHeavy(few, all)
		radix := []int32{5, 3, 1, 0}
		radixHeavy(radix, all)
		if !slices.Equal(few, radix) {
			t.Fatalf("got %v and %v", few, radix)
		}
	})
}
