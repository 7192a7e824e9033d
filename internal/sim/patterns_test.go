package sim_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parti-go/parti/internal/sim"
)

// The failures that fleets of this kind are known to meet, each by its name. A test
// builds the fleet and the failure, at moments that the seed draws; claims what must
// come of it beyond the promises, which hold for every run; and asserts that the
// failure did happen.

// begins is when the failures begin: every fleet has settled by then.
const begins = 50 * time.Second

// A pattern makes one scenario of a failure. It returns what must be seen in the
// run's counts, so that the run is a proof: nothing, or what is missing.
type pattern func(sc *sim.Scenario, rng *rand.Rand) (shown func(*sim.Stats) string)

// rounds counts the calls of each pattern.
var rounds = map[string]int{}

// patterns runs a pattern with so many seeds; PARTI_SIM_PATTERNS multiplies them.
// It returns the sum of all runs.
func patterns(t *testing.T, seeds int, p pattern) *sim.Totals {
	t.Helper()
	first := 0
	switch {
	case testing.Short(): // another one in every fourth round
		round := rounds[t.Name()]
		rounds[t.Name()]++
		if round%4 != len(t.Name())%4 {
			t.Skip("in another round")
		}
		first, seeds = round/4, 1
	case raced:
		seeds = 2 + seeds/40
	}
	seeds *= env(t, "PARTI_SIM_PATTERNS", 1)
	var (
		mu    sync.Mutex
		total sim.Totals
		wait  sync.WaitGroup
		next  = uint64(first)
	)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				stop := seed >= uint64(first+seeds) || len(total.Failed) > 0 || t.Failed()
				mu.Unlock()
				if stop {
					return
				}
				sc := &sim.Scenario{Profile: strings.TrimPrefix(t.Name(), "TestPattern_"), Seed: seed, Settings: sim.DefaultSettings()}
				shown := p(sc, rand.New(rand.NewPCG(seed, 0xFA17)))
				slices.SortStableFunc(sc.Faults, func(a, b sim.Fault) int { return cmp.Compare(a.At, b.At) })
				res := sim.Run(sc, sim.Options{})
				mu.Lock()
				total.Add(sc, &res)
				if why := missing(sc, &res, shown); why != "" {
					t.Errorf("seed %d: %s\n%s%+v", seed, why, sc.Script(), res.Stats)
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	for _, sc := range total.Failed[:min(1, len(total.Failed))] {
		fail(t, sc)
	}
	t.Log(&total)
	return &total
}

// missing says why a run that broke nothing proves nothing: the group was not at rest
// when the failure began, the failure did not happen, or the group was not watched until
// it had been at rest again for a while.
func missing(sc *sim.Scenario, res *sim.Result, shown func(*sim.Stats) string) string {
	s := &res.Stats
	switch {
	case res.Violation != nil:
		return ""
	case s.Settled == 0 || s.Settled >= sc.Faults[0].At:
		return "the group was not at rest before the failure"
	case s.Virtual-s.LastPlan < 30*time.Second:
		return fmt.Sprintf("the last plan is from %s, and the run ended at %s: it does not settle", s.LastPlan, s.Virtual)
	}
	return shown(s)
}

// workers gives a scenario n hosts of policies as told, and partitions of equal weight.
// Host 0 starts first, and so leads.
func workers(sc *sim.Scenario, rng *rand.Rand, n, partitions int, fence bool) {
	for h := range n {
		host := sim.Host{Share: 1, Fence: fence, Rate: rng.IntN(2*sc.Settings.Skew+1) - sc.Settings.Skew}
		if h > 0 {
			host.Start = between(rng, time.Second, 3*time.Second)
		}
		sc.Hosts = append(sc.Hosts, host)
	}
	for range partitions {
		sc.Weights = append(sc.Weights, 1)
	}
}

// between draws a time.
func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)/int64(time.Millisecond)+1))*time.Millisecond
}

// add adds a fault.
func add(sc *sim.Scenario, at time.Duration, kind sim.Kind, f sim.Fault) {
	f.At, f.Kind = at, kind
	sc.Faults = append(sc.Faults, f)
}

func claim(sc *sim.Scenario, kind sim.ClaimKind, n int, d time.Duration) {
	sc.Claims = append(sc.Claims, sim.Claim{Kind: kind, N: n, D: d})
}

// took asks for faults to have changed something, each at least once.
func took(kinds ...sim.Kind) func(*sim.Stats) string {
	return func(s *sim.Stats) string {
		for _, k := range kinds {
			if s.Took(k) == 0 {
				return fmt.Sprintf("no fault of kind %q has taken effect", k)
			}
		}
		return ""
	}
}

// Ten workers are restarted within a tenth of a second. Each comes back as who it was,
// so nothing moves. After a crash the new leader waits for all of them and makes one
// plan, or two; those that have stopped cleanly are served as they leave and come, which
// takes no more than two plans for each.
func TestPattern_ThunderingHerd_AllWorkersRestartSimultaneously(t *testing.T) {
	patterns(t, 40, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 10, 40, rng.IntN(2) == 0)
		sc.Settings.RestartGrace = 20 * time.Second
		kind, plans := sim.Crash, 2
		if rng.IntN(2) == 0 {
			kind, plans = sim.Stop, 20
		}
		for h := range sc.Hosts {
			add(sc, begins+between(rng, 0, 100*time.Millisecond), kind, sim.Fault{Who: []int{h}, For: between(rng, 10*time.Millisecond, time.Second)})
		}
		sc.Run, sc.Quiet = begins+10*time.Second, 80*time.Second
		claim(sc, sim.ClaimMoves, 0, 0)
		claim(sc, sim.ClaimPlans, plans, 0)
		claim(sc, sim.ClaimHome, 100, 0)
		return func(s *sim.Stats) string {
			if n := s.Took(kind); n != 10 {
				return fmt.Sprintf("%d of 10 restarted", n)
			}
			return ""
		}
	})
}

// The leader is cut off, one way or the other, while there is something to decide, and
// the others elect another: for a while two lead. Only one of them can write.
func TestPattern_SplitBrain_DualLeaders(t *testing.T) {
	total := patterns(t, 80, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 5, 15, rng.IntN(2) == 0)
		at := begins + between(rng, 0, 5*time.Second)
		leader := []int{0}
		drain := sim.Fault{Who: []int{1 + rng.IntN(4)}, For: 20 * time.Second}
		sc.Run, sc.Quiet = at+50*time.Second, 100*time.Second
		kind := []sim.Kind{sim.Hole, sim.Mute, sim.Deaf, sim.Delay}[rng.IntN(4)]
		switch kind {
		case sim.Delay: // it is well connected, and told late that it leads no more
			add(sc, at, sim.Delay, sim.Fault{Who: leader, For: 2 * time.Second, N: 900})
			add(sc, at+between(rng, 0, 100*time.Millisecond), sim.NoLeader, sim.Fault{})
			for h := 1; h < 4; h++ {
				add(sc, at+between(rng, 50*time.Millisecond, 300*time.Millisecond), sim.CtlDrain, sim.Fault{Who: []int{h}, For: 20 * time.Second})
			}
		default:
			add(sc, at, kind, sim.Fault{Who: leader, For: between(rng, 15*time.Second, 40*time.Second)})
			add(sc, at+between(rng, 0, 10*time.Second), sim.CtlDrain, drain)
			add(sc, at+between(rng, 0, 5*time.Second), sim.NoLeader, sim.Fault{})
		}
		return func(s *sim.Stats) string {
			switch {
			case s.Led == 0:
				return "no other leader was elected"
			case s.TwoLead == 0 && (kind == sim.Hole || kind == sim.Deaf): // the others may hear of it at once
				return "there were never two leaders"
			}
			return ""
		}
	})
	// Not every run comes to that, so few runs need not.
	if s := total.Stats; total.Runs >= 40 && (s.Declined == 0 || s.Refused == 0) {
		t.Errorf("the store refused %d commits, and leaders said so %d times: the proof is hollow", s.Declined, s.Refused)
	}
}

// For ten minutes a worker renews late, at two to three times the interval, and answers
// probes late: it is said to be slow, and nothing moves.
func TestPattern_GrayFailure_SlowButNotDead(t *testing.T) {
	patterns(t, 24, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 4, 12, rng.IntN(2) == 0)
		slow := 1 + rng.IntN(3)
		// There and back takes less than OpTimeout: the worker is slow, not away.
		add(sc, begins, sim.Slow, sim.Fault{Who: []int{slow}, For: 10 * time.Minute, N: 1200 + rng.IntN(250)})
		add(sc, begins, sim.Lag, sim.Fault{Who: []int{slow}, For: 10 * time.Minute, N: 400 + rng.IntN(600)})
		sc.Run, sc.Quiet = begins+10*time.Minute+time.Second, time.Minute
		claim(sc, sim.ClaimMoves, 0, 0)
		claim(sc, sim.ClaimStill, 0, 0)
		claim(sc, sim.ClaimPlans, 0, 0)
		claim(sc, sim.ClaimOneTerm, 0, 0)
		return func(s *sim.Stats) string {
			if s.Slowed == 0 || s.Took(sim.Lag) == 0 {
				return "no worker was said to be slow"
			}
			return ""
		}
	})
}

// Every worker in turn stops and starts again as who it was, with or without one more
// that is there meanwhile. The others keep all they have; without the one more
// everything comes back to where it was, with it more than four fifths.
func TestPattern_K8sRollingUpdate_PreservesAssignments(t *testing.T) {
	patterns(t, 60, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		const n, parts = 5, 30
		workers(sc, rng, n, parts, rng.IntN(2) == 0)
		sc.Settings.RestartGrace = 30 * time.Second
		at, moves, home := begins, 0, 100
		surge := rng.IntN(2) == 0
		if surge { // it gets its part, and what it has goes where there is room again
			moves, home = 2*((parts+n)/(n+1)), 80
			sc.Hosts = append(sc.Hosts, sim.Host{Start: begins, Share: 1, Fence: sc.Hosts[0].Fence})
			at += 20 * time.Second
		}
		pods := rng.Perm(n)
		for _, h := range pods {
			down := between(rng, 500*time.Millisecond, 5*time.Second)
			add(sc, at, sim.Stop, sim.Fault{Who: []int{h}, For: down})
			at += down + between(rng, 6*time.Second, 12*time.Second)
		}
		if surge {
			add(sc, at, sim.CtlDrain, sim.Fault{Who: []int{n}, For: 20 * time.Second})
			add(sc, at+15*time.Second, sim.Stop, sim.Fault{Who: []int{n}})
			at += 21 * time.Second
		}
		sc.Run, sc.Quiet = at, 70*time.Second
		claim(sc, sim.ClaimMoves, moves, 0)
		claim(sc, sim.ClaimKeep, moves, 0)
		claim(sc, sim.ClaimHome, home, 0)
		claim(sc, sim.ClaimWithin, 0, 9*time.Second) // a stop, the time it is down, a start
		return func(s *sim.Stats) string {
			if got := s.Took(sim.Stop); got < n {
				return fmt.Sprintf("%d of %d restarted", got, n)
			}
			return ""
		}
	})
}

// Half of the workers cannot reach the store, nor anybody, for half a minute. The others
// take over; afterwards every partition has one owner again.
func TestPattern_NetworkPartition_HealsGracefully(t *testing.T) {
	for _, fence := range []bool{false, true} {
		name := map[bool]string{false: "freeze", true: "fence"}[fence]
		t.Run(name, func(t *testing.T) {
			patterns(t, 40, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
				workers(sc, rng, 6, 24, fence)
				half := []int{rng.IntN(2), 2 + rng.IntN(2), 4 + rng.IntN(2)}
				at := begins + between(rng, 0, 5*time.Second)
				add(sc, at, []sim.Kind{sim.Hole, sim.Cut}[rng.IntN(2)], sim.Fault{Who: half, For: 30 * time.Second})
				sc.Run, sc.Quiet = at+31*time.Second, 90*time.Second
				// Twelve go. Twelve come back if the three come back together; one by one it is
				// six, five and four.
				claim(sc, sim.ClaimMoves, 27, 0)
				claim(sc, sim.ClaimKeep, 27, 0) // those that were cut off stop what is no longer theirs
				s := sc.Settings
				claim(sc, sim.ClaimWithin, 0, s.LeaderTTL+s.TTL*11/10+s.RecoveryGrace+s.Settle+2*s.Probe+3*time.Second)
				return func(s *sim.Stats) string {
					switch {
					case s.Took(sim.Hole)+s.Took(sim.Cut) == 0 || s.Lost < 3:
						return fmt.Sprintf("%d were declared lost", s.Lost)
					case fence && s.Fenced < 3, !fence && s.Degraded < 3:
						return fmt.Sprintf("%d were degraded, and %d fenced", s.Degraded, s.Fenced)
					}
					return ""
				}
			})
		})
	}
}

// For two minutes a worker joins or leaves every five to ten seconds, now with notice
// and now without. No plan is made but for a change, and the fleet comes to rest.
func TestPattern_HighChurn_SystemStable(t *testing.T) {
	patterns(t, 40, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		const n = 8
		workers(sc, rng, n, 24, rng.IntN(2) == 0)
		up, there := []bool{true, true, true, true, true, true, false, false}, 6
		for h := range up {
			if !up[h] {
				sc.Hosts[h].Start = -1
			}
		}
		changes, at := 0, begins
		for ; at < begins+2*time.Minute; at += between(rng, 5*time.Second, 10*time.Second) {
			h := rng.IntN(n)
			for up[h] && there < 4 {
				h = rng.IntN(n)
			}
			kind := sim.Start
			if up[h] {
				kind = []sim.Kind{sim.Stop, sim.Crash}[rng.IntN(2)]
				there -= 2
			}
			there++
			up[h] = !up[h]
			add(sc, at, kind, sim.Fault{Who: []int{h}})
			changes++
		}
		sc.Run, sc.Quiet = at, 150*time.Second
		claim(sc, sim.ClaimPlans, 5*changes, 0)
		return func(s *sim.Stats) string {
			if got := s.Took(sim.Start) + s.Took(sim.Stop) + s.Took(sim.Crash); got < changes*2/3 {
				return fmt.Sprintf("%d of %d changes took effect", got, changes)
			}
			return ""
		}
	})
}

// Four fifths of the workers are gone at once, with or without their leader.
func TestPattern_MassWorkerFailure_Recovers(t *testing.T) {
	patterns(t, 60, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 10, 30, rng.IntN(2) == 0)
		lost := rng.Perm(10)[:8]
		slices.Sort(lost)
		kind := []sim.Kind{sim.Crash, sim.Vanish}[rng.IntN(2)]
		at := begins + between(rng, 0, 5*time.Second)
		for _, h := range lost {
			add(sc, at+between(rng, 0, 500*time.Millisecond), kind, sim.Fault{Who: []int{h}})
		}
		sc.Run, sc.Quiet = at+time.Second, 110*time.Second
		s := sc.Settings
		claim(sc, sim.ClaimWithin, 0, s.LeaderTTL+s.TTL*11/10+s.RecoveryGrace+s.Settle+2*s.Probe+3*time.Second)
		claim(sc, sim.ClaimKeep, 6, 0)   // but for evening out what came to two
		claim(sc, sim.ClaimMoves, 30, 0) // 24, and evening out
		return func(s *sim.Stats) string {
			if s.Lost < 8 {
				return fmt.Sprintf("%d of 8 were declared lost", s.Lost)
			}
			return ""
		}
	})
}

// The leader is lost, or its leadership, after it has asked workers to let go and before
// it has granted anew what they have. The next one goes on with that.
func TestPattern_LeaderFailover_DuringRebalance(t *testing.T) {
	patterns(t, 100, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		const n, parts = 5, 20
		workers(sc, rng, n, parts, rng.IntN(2) == 0)
		sc.Settings.Drain = 5 * time.Second
		drained := 1 + rng.IntN(n-1)
		at := begins + between(rng, 0, 5*time.Second)
		add(sc, at, sim.Stubborn, sim.Fault{Who: []int{drained}, For: 30 * time.Second}) // its handlers return with Hard
		add(sc, at+time.Second, sim.CtlDrain, sim.Fault{Who: []int{drained}, For: time.Hour})
		moves := parts / n // what the old leader began
		lost := at + between(rng, 1500*time.Millisecond, 5500*time.Millisecond)
		switch rng.IntN(3) {
		case 0:
			add(sc, lost, sim.NoLeader, sim.Fault{})
		case 1:
			add(sc, lost, sim.Crash, sim.Fault{Who: []int{0}})
			moves += parts/n + 1 // and what it had itself; which may have been about to get one
		case 2:
			add(sc, lost, sim.Cut, sim.Fault{Who: []int{0}, For: 4 * time.Second})
			moves += 2 * (parts/n + 1) // what it gets when it is back, too
		}
		sc.Run, sc.Quiet = at+60*time.Second, 60*time.Second
		claim(sc, sim.ClaimMoves, moves, 0)
		claim(sc, sim.ClaimKeep, moves, 0)
		return func(s *sim.Stats) string {
			if s.Midway == 0 {
				return "no leader was lost while a partition was being released"
			}
			return ""
		}
	})
}

// One partition kills whatever process runs it: it is quarantined before it has taken
// the fleet down.
func TestPattern_CascadingFailures_Contained_Poison(t *testing.T) {
	patterns(t, 30, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 6, 18, false)
		poison := rng.IntN(18)
		at := begins + between(rng, 0, 5*time.Second)
		add(sc, at, sim.Poison, sim.Fault{N: poison, For: 100 * time.Second})
		for i, h := range rng.Perm(6)[:2] { // one of them has not had it yet
			add(sc, at+time.Second+time.Duration(i)*20*time.Second, sim.CtlPin, sim.Fault{Who: []int{h}, N: poison, For: 6 * time.Second})
		}
		sc.Run, sc.Quiet = at+101*time.Second, 200*time.Second // the quarantine has yet to end
		claim(sc, sim.ClaimCrashes, 8, 0)                      // three owners, some of them pinned to it, and one each time that it is tried again
		return func(s *sim.Stats) string {
			if s.Quarantined == 0 {
				return fmt.Sprintf("%d crashes, and nothing was quarantined", s.Poisoned)
			}
			return ""
		}
	})
}

// Workers are lost until those that are left have not room for everything: what does not
// fit waits, and nobody is given more than it can carry.
func TestPattern_CascadingFailures_Contained_Capacity(t *testing.T) {
	patterns(t, 60, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 6, 48, rng.IntN(2) == 0)
		for h := range sc.Hosts {
			sc.Hosts[h].Capacity = 10
		}
		lost := rng.Perm(6)[:2+rng.IntN(2)]
		at := begins
		for _, h := range lost {
			at += between(rng, 0, 10*time.Second)
			add(sc, at, sim.Crash, sim.Fault{Who: []int{h}})
		}
		sc.Run, sc.Quiet = at+time.Second, 110*time.Second
		claim(sc, sim.ClaimKeep, 0, 0)
		return func(s *sim.Stats) string {
			if most := 48 - 10*(6-len(lost)); s.Waiting < most {
				return fmt.Sprintf("only %d partitions waited, and there was no room for %d", s.Waiting, most)
			}
			return ""
		}
	})
}

// For a minute partitions come, go, and weigh something else every tenth of a second: a
// window takes in what it finds, so there are no more plans than windows, and what a
// plan begins.
func TestPattern_ChurnFlood(t *testing.T) {
	patterns(t, 15, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 5, 30, rng.IntN(2) == 0)
		for at := begins; at < begins+time.Minute; at += 100 * time.Millisecond {
			switch rng.IntN(6) {
			case 0:
				add(sc, at, sim.Add, sim.Fault{N: 1})
			case 1, 2:
				add(sc, at, sim.Remove, sim.Fault{N: rng.IntN(30), For: between(rng, 100*time.Millisecond, 3*time.Second)})
			default:
				add(sc, at, sim.Reweigh, sim.Fault{N: rng.IntN(9)})
			}
		}
		sc.Run, sc.Quiet = begins+64*time.Second, 110*time.Second
		claim(sc, sim.ClaimPlans, 60, 0)
		return took(sim.Add, sim.Remove, sim.Reweigh)
	})
}

// Nobody can reach the store for an hour. Under Freeze nothing stops, and nothing has
// moved when it is there again.
func TestPattern_NATSAwayForAll(t *testing.T) {
	patterns(t, 12, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 4, 12, false)
		f := sim.Fault{For: time.Hour, N: rng.IntN(2)}
		kind := []sim.Kind{sim.StoreDown, sim.NoQuorum, sim.Cut, sim.Hole}[rng.IntN(4)]
		if kind == sim.Cut || kind == sim.Hole {
			f.Who = []int{0, 1, 2, 3}
		}
		add(sc, begins+between(rng, 0, 5*time.Second), kind, f)
		sc.Run, sc.Quiet = begins+time.Hour+6*time.Second, 100*time.Second
		claim(sc, sim.ClaimStill, 0, 0)
		claim(sc, sim.ClaimMoves, 0, 0)
		return func(s *sim.Stats) string {
			if s.Degraded < 4 {
				return fmt.Sprintf("%d of 4 were degraded", s.Degraded)
			}
			return took(kind)(s)
		}
	})
}

// The bucket is deleted: one worker makes it anew, and the plan is what workers hold.
func TestPattern_BucketLost(t *testing.T) {
	patterns(t, 60, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 5, 15, false)
		kind := []sim.Kind{sim.StoreLost, sim.Replaced}[rng.IntN(2)]
		at := begins + between(rng, 15*time.Second, 20*time.Second)
		add(sc, at, kind, sim.Fault{})
		sc.Run, sc.Quiet = at+time.Second, 100*time.Second
		claim(sc, sim.ClaimStill, 0, 0)
		claim(sc, sim.ClaimMoves, 0, 0)
		return anew(kind)
	})
}

// The store goes back: the last writes are gone, or all of the last seconds.
func TestPattern_GoBack(t *testing.T) {
	patterns(t, 60, func(sc *sim.Scenario, rng *rand.Rand) func(*sim.Stats) string {
		workers(sc, rng, 5, 15, false)
		kind, n := sim.GoBack, 1+rng.IntN(40)
		if rng.IntN(2) == 0 {
			kind, n = sim.Restore, 500+rng.IntN(9500)
		}
		at := begins + between(rng, 0, 5*time.Second)
		add(sc, at, kind, sim.Fault{N: n})
		sc.Run, sc.Quiet = at+time.Second, 100*time.Second
		claim(sc, sim.ClaimStill, 0, 0)
		claim(sc, sim.ClaimMoves, 0, 0)
		return anew(kind)
	})
}

// anew asks for a loss of the store, and for the store to have been made anew. That
// versions rise all the same is promise 1, and that tokens do, promise 4.
func anew(kind sim.Kind) func(*sim.Stats) string {
	return func(s *sim.Stats) string {
		if s.Renewed == 0 {
			return "the store was not made anew"
		}
		return took(kind)(s)
	}
}
