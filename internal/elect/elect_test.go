package elect

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/roster"
)

// A thousand candidates probe the holder about as often as a few do.
func TestProbesPerSecond(t *testing.T) {
	for _, n := range []int{1, 8, 100, 400} { // candidates
		probes := 0
		for i := range n {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			now := time.Unix(0, 0)
			m := New(Config{
				Me: Leader{"me", "n-me"}, LeaderTTL: 12 * time.Second, Heartbeat: time.Second,
				ProbeInterval: 500 * time.Millisecond, ProbeAgain: 100 * time.Millisecond, EmergencyGrace: time.Second, Random: r.Uint64,
			}, now)
			m.Step(now, Size{n})
			m.Step(now, Saw{Leader: Leader{"other", "n-other"}, Rev: 1})
			m.Step(now, Able{true})
			end := now.Add(20 * time.Second)
			rev := Saw{Leader: Leader{"other", "n-other"}, Rev: 1}
			for ; now.Before(end); now = now.Add(50 * time.Millisecond) {
				if now.UnixMilli()%1000 == 0 {
					rev.Rev++
					m.Step(now, rev)
				}
				m.Step(now, Tick{})
				if m.Ready().Probe != "" {
					probes++
					m.Step(now, Probed{Nonce: "n-other", Outcome: roster.Answered})
				}
			}
		}
		if most := 20 * 2 * 16; probes > most || probes == 0 {
			t.Errorf("%d candidates probe %d times in 20 s, want at most %d", n, probes, most)
		}
	}
}
