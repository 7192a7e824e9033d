package strategytest

import (
	"math"
	"math/rand/v2"
)

// Weights draws the weights of n partitions; the same seed draws the same ones.
type Weights func(n int, seed uint64) []int64

// Uniform gives every partition the weight 1.
func Uniform(n int, _ uint64) []int64 {
	ws := make([]int64, n)
	for i := range ws {
		ws[i] = 1
	}
	return ws
}

// Lognormal draws weights around 1000 whose natural logarithm has a standard
// deviation of 1: one in a hundred is ten times the median or more.
func Lognormal(n int, seed uint64) []int64 {
	r := rand.New(rand.NewPCG(seed, 1))
	ws := make([]int64, n)
	for i := range ws {
		ws[i] = max(1, int64(1000*math.Exp(r.NormFloat64())))
	}
	return ws
}

// Zipf gives the k-th heaviest partition 1÷k of the heaviest's weight, in an order
// by chance. The heaviest one may be more than a worker's fair share.
func Zipf(n int, seed uint64) []int64 {
	ws := make([]int64, n)
	for i, k := range rand.New(rand.NewPCG(seed, 3)).Perm(n) {
		ws[i] = max(1, 1_000_000/int64(k+1))
	}
	return ws
}

// HeavyTail draws weights of which one in twenty is 100 to 500 times as heavy as the rest.
func HeavyTail(n int, seed uint64) []int64 {
	r := rand.New(rand.NewPCG(seed, 2))
	ws := make([]int64, n)
	for i := range ws {
		ws[i] = 900 + r.Int64N(200)
		if i%20 == 0 {
			ws[i] *= 100 + r.Int64N(400)
		}
	}
	return ws
}
