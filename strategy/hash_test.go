package strategy

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The hashes are fixed for good: where these change, every group would move.
func TestHashesStay(t *testing.T) {
	for id, want := range map[string]uint64{
		"":                   0xef46db3751d8e999,
		"a":                  0xd24ec4f1a98c6e5b,
		"tool-001.chamber-1": 0xac9ebc6f1a766236,
	} {
		if got := digest(id); got != want {
			t.Errorf("digest(%q) is %#x, want %#x", id, got, want)
		}
	}
	p, w := digest("tool-001.chamber-1"), digest("worker-7")
	for _, c := range []struct {
		name      string
		got, want uint64
	}{
		{"mix", mix(1), 0x5692161d100b05e5},
		{"pair", pair(p, w), 0x1353bba09edd572f},
		{"first node", node(w, 0), 0x565aa21a69fc47dc},
		{"150th node", node(w, 149), 0x701a572acefa572f},
		{"waiting", uint64(newLogTable().waiting(pair(p, w))), 0x3ba3a09d6},
	} {
		if c.got != c.want {
			t.Errorf("%s is %#x, want %#x", c.name, c.got, c.want)
		}
	}
}

// The logarithm in integers agrees with that of floating point, and falls as it should.
func TestWaiting(t *testing.T) {
	logs := newLogTable()
	r := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		h := r.Uint64() >> r.IntN(60)
		want := 64 - math.Log2(float64(h|1))
		if got := float64(logs.waiting(h)) / (1 << logUnit); math.Abs(got-want) > 2e-8 {
			t.Fatalf("waiting(%#x) is %v, want %v", h, got, want)
		}
		if h < math.MaxUint64-1<<20 && logs.waiting(h) < logs.waiting(h+1<<20) {
			t.Fatalf("waiting(%#x) grows", h)
		}
	}
	if got := logs.waiting(0); got != 64<<logUnit {
		t.Errorf("waiting(0) is %d", got)
	}
	if got := logs.waiting(math.MaxUint64); got < 0 || got > 1 {
		t.Errorf("waiting of the largest is %d", got)
	}
}
