package lead

import (
	"fmt"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

// settled is a leader of a group in which everybody has what it should have.
func settled(tb testing.TB, workers, partitions int) (*Machine, []roster.Session, time.Time) {
	tb.Helper()
	now := time.Unix(1_800_000_000, 0)
	cfg := newGroup(nil).cfg
	cfg.Strategy, cfg.ExpectedWorkers, cfg.MaxBatch = strategy.Sticky(), workers, 10_000
	cfg.Worker, cfg.Nonce = "w-0000", "n-0000"
	m := New(cfg, Found{Incarnation: 1}, now)
	sessions := make([]roster.Session, workers)
	for i := range sessions {
		sessions[i] = roster.Session{Worker: fmt.Sprintf("w-%04d", i), Nonce: fmt.Sprintf("n-%04d", i), TTL: 15_000, Owns: true}
		m.Step(now, Saw{sessions[i], kv.Rev(i + 1)})
	}
	m.Step(now, Synced{})
	ps := make([]plan.Partition, partitions)
	for i := range ps {
		ps[i] = plan.Partition{ID: fmt.Sprintf("tool-%06d.chamber-1", i), Weight: int64(1 + i%17)}
	}
	for range 20 {
		rd := m.Ready()
		for _, n := range rd.Probe {
			m.Step(now, Probed{n, roster.Answered})
		}
		if rd.List {
			m.Step(now, Listed{ps})
			continue
		}
		if rd.Commit == nil {
			break
		}
		m.Step(now, Committed{rd.Commit.Head.Version})
	}
	if m.head.Workers != workers || m.head.Unassigned != 0 || m.head.Partitions != partitions {
		tb.Fatalf("not settled: %+v", m.head)
	}
	return m, sessions, now
}

// BenchmarkRenewal is the most frequent fact of all: nothing but the time is new.
func BenchmarkRenewal(b *testing.B) {
	m, sessions, now := settled(b, 1000, 100_000)
	rev := kv.Rev(1 << 20)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rev++
		m.SawSession(now, &sessions[i%1000], rev)
		if i%1000 == 0 {
			now = now.Add(time.Second)
		}
	}
}

// BenchmarkTurn is a leader's second: everybody renews and is probed twice, and Ready is
// asked after each fact, as a member asks.
func BenchmarkTurn(b *testing.B) {
	for _, workers := range []int{10, 150, 1000} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			m, sessions, now := settled(b, workers, 100*workers)
			rev := kv.Rev(1 << 20)
			b.ReportAllocs()
			probes := 0
			for b.Loop() {
				for i := range sessions {
					now = now.Add(time.Second / time.Duration(workers))
					rev++
					m.SawSession(now, &sessions[i], rev)
					due := m.Ready().Probe
					m.Step(now, Accepted{})
					for due = append(due, m.Ready().Probe...); len(due) > 0; due = due[1:] {
						probes++
						m.Step(now, Probed{due[0], roster.Answered})
						due = append(due, m.Ready().Probe...)
					}
				}
			}
			if least := b.N * workers; probes < least {
				b.Errorf("%d probes of %d workers in %d seconds", probes, workers, b.N)
			}
		})
	}
}

// BenchmarkReplan is one worker lost: the strategy, and the commit that grants the orphans.
func BenchmarkReplan(b *testing.B) {
	for _, size := range []struct{ workers, partitions int }{{64, 6_000}, {1000, 100_000}} {
		b.Run(fmt.Sprintf("%dx%d", size.workers, size.partitions), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				m, sessions, now := settled(b, size.workers, size.partitions)
				s := sessions[size.workers/2]
				s.Tombstone = &roster.Tombstone{Why: "test"}
				m.Step(now, Saw{s, 1 << 30})
				b.StartTimer()
				if c := m.Ready().Commit; c == nil || len(c.Decision.Moves) == 0 {
					b.Fatal("no orphan was granted")
				}
			}
		})
	}
}

// BenchmarkJoin is one more worker: the strategy, and the commit that asks for what it is to get.
func BenchmarkJoin(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		m, _, now := settled(b, 1000, 100_000)
		m.Step(now, Saw{roster.Session{Worker: "x", Nonce: "x", TTL: 15_000, Owns: true}, 1 << 30})
		m.Ready()
		now = now.Add(20 * time.Second)
		m.Step(now, Accepted{})
		b.StartTimer()
		if c := m.Ready().Commit; c == nil || len(c.Decision.Moves) == 0 {
			b.Fatal("nothing moves")
		}
	}
}
