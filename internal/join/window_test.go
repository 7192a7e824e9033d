package join

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	for _, c := range []struct{ refused, seen, free, want int }{
		{0, 0, 256, 4},
		{0, 0, 2, 2},
		{1, 4, 252, 32},
		{2, 36, 220, 220},
		{2, 36, 1000, 256},
		{0, 800, 1000, 100},
		{60, 0, 256, 256},
		{0, 0, 0, 0},
	} {
		if got := window(c.refused, c.seen, c.free); got != c.want {
			t.Errorf("window(%d, %d, %d) = %d, want %d", c.refused, c.seen, c.free, got, c.want)
		}
	}
}

// Workers that start together, in step, need a few tries each, however many they are.
func TestTriesDoNotGrowWithTheCrowd(t *testing.T) {
	for _, n := range []int{1, 3, 10, 100, 200} {
		for seed := range uint64(5) {
			r := rand.New(rand.NewPCG(seed, 7))
			now := time.Unix(0, 0)
			var ms []*Machine
			for range n {
				ms = append(ms, New(Config{Prefix: "w", MaxWorkers: 256, Again: time.Second, Random: r.Uint64}, now))
			}
			taken := map[string]bool{}
			tries, claimed := 0, 0
			for round := 0; claimed < n && round < 1000; round++ {
				now = now.Add(10 * time.Millisecond)
				var sv Surveyed
				for id := range taken {
					sv.Sessions = append(sv.Sessions, Held{Worker: id})
				}
				for _, m := range ms {
					m.Step(now, Tick{})
					if m.Ready().Survey {
						m.Step(now, sv)
					}
				}
				for _, m := range ms {
					if m.at != claiming {
						continue
					}
					c := m.Ready().Claim
					tries++
					if taken[c.Worker] {
						m.Step(now, Refused{})
					} else {
						taken[c.Worker] = true
						claimed++
						m.Step(now, Claimed{})
					}
				}
			}
			if mean := float64(tries) / float64(n); claimed < n || mean > 3.5 || n == 100 && mean > 3 {
				t.Errorf("%d workers, seed %d: %d claimed, %.2f tries each", n, seed, claimed, mean)
			}
		}
	}
}
