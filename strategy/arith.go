package strategy

import (
	"cmp"
	"math"
	"math/bits"
)

// compareRatio compares a/as with b/bs without rounding. Nothing may be
// negative, as and bs not zero.
func compareRatio(a, as, b, bs int64) int {
	if as == bs {
		return cmp.Compare(a, b)
	}
	ah, al := bits.Mul64(uint64(a), uint64(bs))
	bh, bl := bits.Mul64(uint64(b), uint64(as))
	if ah != bh {
		return cmp.Compare(ah, bh)
	}
	return cmp.Compare(al, bl)
}

// scaled is a·b·k ÷ (den·1000), rounded down, and whether something was rounded
// off. It does not overflow on the way; above MaxInt64 it is MaxInt64. Nothing may
// be negative, den not zero.
func scaled(a, b, k, den int64) (floor int64, rest bool) {
	h, l := bits.Mul64(uint64(a), uint64(b))
	midH, low := bits.Mul64(l, uint64(k))
	topH, mid := bits.Mul64(h, uint64(k))
	mid, carry := bits.Add64(mid, midH, 0) // three words: topH+carry, mid, low
	q := [3]uint64{topH + carry, mid, low} // most significant first
	for _, d := range [2]uint64{uint64(den), 1000} {
		var r uint64
		for i := range q {
			q[i], r = bits.Div64(r, q[i], d)
		}
		rest = rest || r != 0
	}
	if q[0]|q[1] != 0 || q[2] > math.MaxInt64 {
		return math.MaxInt64, rest
	}
	return int64(q[2]), rest
}

// mulDiv is a·b ÷ c, rounded down, at most MaxInt64.
func mulDiv(a, b, c int64) int64 {
	h, l := bits.Mul64(uint64(a), uint64(b))
	if h >= uint64(c) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(h, l, uint64(c))
	return int64(min(q, uint64(math.MaxInt64)))
}

// addUp adds without overflow; neither may be negative.
func addUp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// evenOut is the most that can pass from a worker with load lh and share ch to
// one with lc and cc so that the sum of load² ÷ share falls; 0 if nothing can.
func evenOut(lh, ch, lc, cc int64) int64 {
	if ch == cc {
		return max(lh-lc-1, 0)
	}
	// x < 2(lh·cc - lc·ch) ÷ (ch + cc)
	h1, l1 := bits.Mul64(uint64(lh), uint64(cc))
	h2, l2 := bits.Mul64(uint64(lc), uint64(ch))
	low, borrow := bits.Sub64(l1, l2, 0)
	high, borrow := bits.Sub64(h1, h2, borrow)
	if borrow != 0 || high|low == 0 {
		return 0
	}
	high = high<<1 | low>>63
	low, borrow = bits.Sub64(low<<1, 1, 0)
	high -= borrow
	den := uint64(ch) + uint64(cc)
	if high >= den {
		return math.MaxInt64
	}
	q, _ := bits.Div64(high, low, den)
	return int64(min(q, uint64(math.MaxInt64)))
}

// A square is a sum of products of two loads, in 128 bits: that of all squares is not
// more than the square of all loads.
type square struct{ hi, lo uint64 }

// add adds a·b÷c, rounded up or down.
func (s *square) add(a int64, b uint64, c int64, up bool) {
	hi, lo := bits.Mul64(uint64(a), b)
	rest := hi % uint64(c)
	hi /= uint64(c)
	lo, rest = bits.Div64(rest, lo, uint64(c))
	var carry uint64
	if up && rest > 0 {
		lo, carry = bits.Add64(lo, 1, 0)
		hi += carry
	}
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi += hi + carry
}
