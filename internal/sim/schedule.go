package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// A profile is a mix of faults. The focused ones do one thing to a fleet at rest,
// and claim exactly what must come of it.
type profile struct {
	name  string
	kinds []weighted
	least int // faults in a run
	most  int
	// shape changes the settings and hosts; focus makes the faults itself.
	shape func(*Scenario, *rand.Rand)
	focus func(*Scenario, *rand.Rand)
}

type weighted struct {
	kind   Kind
	weight int
}

func each(weight int, kinds ...Kind) []weighted {
	out := make([]weighted, len(kinds))
	for i, k := range kinds {
		out[i] = weighted{k, weight}
	}
	return out
}

var (
	processes = slices.Concat(each(4, Crash, Stop, Start), each(2, Vanish))
	pauses    = slices.Concat(each(4, Freeze), each(2, Lag, Suspend, Jump, Skew))
	networks  = slices.Concat(each(4, Cut, Hole, Mute, Deaf, Loss), each(2, Slow, Late, Drop, Twice, Delay, Gap, Unprobe, Behind))
	outages   = slices.Concat(each(4, StoreDown, NoQuorum, NoCommit, Expire), each(2, Garble))
	losses    = each(2, StoreLost, GoBack, Restore, Replaced)
	sources   = each(3, SourceError, SourceSlow, SourceHalf, SourceEmpty, SourceGarbage, SourceFlap, Add, Remove, Reweigh)
	handlers  = each(3, Sluggish, Stubborn, DeafHard, Early, Panic, Done, Reject, Poison)
	operators = each(3, CtlCordon, CtlDrain, CtlPin, CtlBan, CtlMove, CtlPause, CtlRebalance, CtlStepDown, CtlRefresh)
	leaders   = each(4, NoLeader, CtlStepDown)
)

// profiles are all of them, in the order in which seeds go through them.
var profiles = []profile{
	{name: "churn", kinds: slices.Concat(processes, each(3, Add, Remove, Reweigh, CtlDrain)), least: 4, most: 24},
	{name: "network", kinds: slices.Concat(networks, each(3, Crash, Stop)), least: 4, most: 24},
	{name: "store", kinds: slices.Concat(outages, each(3, Crash, Stop, Late, Hole)), least: 3, most: 14},
	{name: "leaders", kinds: slices.Concat(leaders, each(3, Crash, Freeze, Cut, Mute, Deaf, Late, NoCommit, Start, Stop)), least: 4, most: 24},
	{name: "handlers", kinds: slices.Concat(handlers, each(3, Stop, Start, CtlDrain, CtlRebalance, Crash, Cut)), least: 4, most: 20},
	{name: "clocks", kinds: slices.Concat(pauses, each(3, Hole, Cut, Crash, Mute)), least: 4, most: 24},
	{name: "source", kinds: slices.Concat(sources, each(2, Crash, Stop, Start)), least: 4, most: 20},
	{name: "operators", kinds: slices.Concat(operators, each(2, Crash, Stop, Start, Cut)), least: 4, most: 20},
	{name: "losses", kinds: slices.Concat(losses, each(2, Crash, Cut, Hole, Stop, Late, StoreDown)), least: 2, most: 8},
	{name: "rolling", focus: rolling},
	{name: "fence", kinds: slices.Concat(networks, pauses, processes), least: 6, most: 30, shape: func(sc *Scenario, _ *rand.Rand) {
		for i := range sc.Hosts {
			sc.Hosts[i].Fence = true
		}
	}},
	{name: "everything", kinds: slices.Concat(processes, pauses, networks, outages, losses, sources, handlers, operators, leaders), least: 6, most: 40},
	{name: "calm", focus: func(sc *Scenario, _ *rand.Rand) {
		sc.Claims = []Claim{{Kind: ClaimCalm}, {Kind: ClaimOneTerm}, {Kind: ClaimStill}, {Kind: ClaimMoves}}
	}},
	{name: "restart", focus: restart},
	{name: "newleader", focus: newLeader},
	{name: "join", focus: joinOne},
	{name: "crash", focus: crashOne},
	{name: "recover", focus: recoverStore},
	{name: "fencedrain", shape: fastClock, kinds: slices.Concat(each(4, Sluggish, Stubborn), each(3, Hole, Mute, Deaf)), least: 10, most: 30},
	{name: "slowfence", shape: fastClock, focus: slowThenMute},
	{name: "twoleaders", focus: twoLeaders},
	{name: "stale", kinds: slices.Concat(each(6, Behind, CtlPin, CtlDrain), each(3, Slow, Delay, Twice, Reweigh, CtlRebalance, Stop)), least: 10, most: 40},
	{name: "fastclock", shape: fastClock, kinds: slices.Concat(each(4, Mute, Deaf, Hole), each(2, Crash, Stop, Late)), least: 5, most: 20},
	{name: "capacity", shape: capacities, kinds: slices.Concat(processes, each(3, Add, Remove, Reweigh, CtlDrain, CtlPin, CtlBan, Cut, Done)), least: 4, most: 24},
	{name: "oneatatime", focus: oneAtATime},
	{name: "torn", kinds: slices.Concat(each(6, Torn), each(3, NoLeader, Crash, Stop, Start, CtlDrain, CtlPin, Gap), each(1, Reweigh, Cut)), least: 10, most: 30},
	{name: "unlike", shape: unlike, kinds: slices.Concat(processes, each(2, Cut, Hole, Slow, Delay, Torn, NoLeader, StoreDown, NoCommit),
		each(2, CtlDrain, CtlPin, CtlStepDown, CtlRebalance, Add, Remove, Reweigh, Sluggish), each(1, StoreLost, Replaced)), least: 4, most: 20},
	{name: "orders", focus: giveOrders},
	{name: "stuck", focus: getStuck},
	{name: "spares", shape: scarce, kinds: slices.Concat(processes, each(2, Cut, Freeze, NoLeader, StoreDown, CtlDrain)), least: 4, most: 20},
}

// Profiles are the names of all of them.
func Profiles() []string {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.name
	}
	return names
}

// Minutes is how long a generated run lasts in all, about, unless told otherwise.
const Minutes = 10

// Generate makes the scenario of a profile and a seed, of about so many virtual
// minutes: faults are over four before the end.
func Generate(name string, seed uint64, minutes int) *Scenario {
	i := slices.IndexFunc(profiles, func(p profile) bool { return p.name == name })
	p := profiles[i]
	rng := rand.New(rand.NewPCG(seed, uint64(i)+1))
	sc := &Scenario{Profile: name, Seed: seed, Settings: DefaultSettings()}
	vary(&sc.Settings, rng)
	n := 2 + rng.IntN(5)
	fences := rng.IntN(3) // none, all, or some
	for h := range n {
		host := Host{Start: time.Duration(rng.IntN(3000)) * time.Millisecond, Share: 1}
		host.Rate = rng.IntN(2*sc.Settings.Skew+1) - sc.Settings.Skew
		host.Fence = fences == 1 || fences == 2 && rng.IntN(2) == 0
		if rng.IntN(4) == 0 {
			host.TTL = time.Duration(1+rng.IntN(3)) * sc.Settings.TTL * 2 / 3 / time.Second * time.Second
		}
		if h > 1 && rng.IntN(5) == 0 {
			host.Start = -1
		}
		sc.Hosts = append(sc.Hosts, host)
	}
	count := 3 + rng.IntN(20)
	for range count {
		weight := int64(1)
		if n%2 == 0 {
			weight += int64(rng.IntN(4))
		}
		sc.Weights = append(sc.Weights, weight)
	}
	if slices.ContainsFunc(p.kinds, func(k weighted) bool { return k.kind == StoreLost }) {
		// A leader that finds the store lost cannot know of a session with a longer
		// TTL than any that it can still see. So a group whose store may be lost has one.
		for h := range sc.Hosts {
			sc.Hosts[h].TTL = 0
		}
	}
	sc.Run = time.Duration(max(minutes-4, 6)) * time.Minute
	if p.shape != nil {
		p.shape(sc, rng)
	}
	if p.focus != nil {
		for h := range sc.Hosts { // at rest first
			sc.Hosts[h].Start = max(sc.Hosts[h].Start, 0)
		}
		p.focus(sc, rng)
	} else {
		chaos(sc, p, rng)
	}
	slices.SortStableFunc(sc.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	sc.Quiet = sc.bound() + 70*time.Second
	return sc
}

// vary draws settings within reason.
func vary(s *Settings, rng *rand.Rand) {
	s.Heartbeat = []time.Duration{500 * time.Millisecond, time.Second, time.Second, 2 * time.Second}[rng.IntN(4)]
	s.Probe = max(s.Heartbeat/2, 500*time.Millisecond)
	s.TTL = []time.Duration{10, 15, 20}[rng.IntN(3)] * time.Second
	s.Margin = s.TTL / 8
	s.HardReturn = s.Margin / 4
	s.LostAfter = max(6*time.Second, 4*s.Heartbeat)
	s.Drain = []time.Duration{5, 10, 30}[rng.IntN(3)] * time.Second
	s.Cooldown = []time.Duration{2, 10}[rng.IntN(2)] * time.Second
	s.ColdStart = []time.Duration{10, 30}[rng.IntN(2)] * time.Second
	s.Moves = []int{1, 4, 16}[rng.IntN(3)]
	if rng.IntN(3) == 0 {
		s.RestartGrace = time.Duration(2+rng.IntN(10)) * time.Second
	}
	if rng.IntN(4) == 0 {
		s.MaxFreeze = time.Duration(20+rng.IntN(40)) * time.Second
	}
	if rng.IntN(3) == 0 {
		s.Refresh = time.Duration(5+rng.IntN(20)) * time.Second
	}
	s.Skew = 40_000
}

// capacities gives most hosts a limit, so that together they have less room than is
// needed, or little more.
func capacities(sc *Scenario, rng *rand.Rand) {
	var total int64
	for _, w := range sc.Weights {
		total += w
	}
	for h := range sc.Hosts {
		if rng.IntN(8) > 0 {
			sc.Hosts[h].Capacity = 1 + total*int64(70+rng.IntN(90))/100/int64(len(sc.Hosts))
		}
	}
}

// unlike gives a fleet other settings than the default ones, as package parti takes them,
// and hosts that are not like each other. Host 0 can do everything.
func unlike(sc *Scenario, rng *rand.Rand) {
	s := &sc.Settings
	of := func(ds ...time.Duration) time.Duration { return ds[rng.IntN(len(ds))] }
	s.LostAfter = of(3*s.Heartbeat, s.LostAfter, 15*time.Second)
	s.LeaderTTL = of(max(2*time.Second, (3*s.Heartbeat).Truncate(time.Second)), s.LeaderTTL, 20*time.Second)
	s.EmergencyGrace = of(100*time.Millisecond, s.EmergencyGrace, 3*time.Second)
	s.RecoveryGrace = of(2*time.Second, s.RecoveryGrace)
	s.Reconcile = of(time.Second, s.Reconcile)
	s.Settle = of(500*time.Millisecond, s.Settle, 8*time.Second)
	s.Scale = of(s.Scale, 20*time.Second)
	s.StuckAfter = of(2*time.Second, s.StuckAfter)
	s.OpTimeout = min(max((s.TTL-s.Margin)/4, 500*time.Millisecond), 5*time.Second) // as package parti's
	s.Batch = []int{7, 8, 12, s.Batch}[rng.IntN(4)]                                 // a slice, two, some, or all at once
	s.Expected = rng.IntN(len(sc.Hosts) + 2)
	for h := range sc.Hosts {
		x := &sc.Hosts[h]
		x.Share = 1 + int64(rng.IntN(3))
		x.Prepares = rng.IntN(2) == 0
		x.Idle = h > 1 && rng.IntN(6) == 0
		x.Follows = h > 0 && rng.IntN(5) == 0
		if h > 1 && rng.IntN(6) == 0 {
			x.Twin = 1 + rng.IntN(h)
		}
	}
}

// scarce leaves one worker or two without an ID: they wait as spares. Nothing is to be lost
// here of what they follow without their being told so: it may be minutes until a spare looks
// by itself.
func scarce(sc *Scenario, rng *rand.Rand) {
	sc.Settings.Workers = max(1, len(sc.Hosts)-1-rng.IntN(2))
}

// chaos draws faults of the profile's mix.
func chaos(sc *Scenario, p profile, rng *rand.Rand) {
	total := 0
	for _, k := range p.kinds {
		total += k.weight
	}
	for range p.least + rng.IntN(p.most-p.least+1) {
		at := rng.IntN(total)
		var kind Kind
		for _, k := range p.kinds {
			if at -= k.weight; at < 0 {
				kind = k.kind
				break
			}
		}
		f := draw(sc, kind, rng)
		sc.Faults = append(sc.Faults, f)
		sc.Faults = append(sc.Faults, provoke(sc, &f, rng)...)
	}
}

// provoke makes something move while handlers misbehave: otherwise few would notice.
func provoke(sc *Scenario, f *Fault, rng *rand.Rand) []Fault {
	soon := f.At + min(time.Second, f.For/3)
	switch f.Kind {
	case Sluggish, Stubborn, DeafHard:
		return []Fault{{At: soon, Kind: CtlDrain, Who: f.Who[:1], For: max(f.For/2, 50*time.Millisecond)}}
	case Done, Reject, Poison:
		return []Fault{{At: soon, Kind: CtlPin, Who: []int{rng.IntN(len(sc.Hosts))}, N: f.N, For: max(f.For/2, 50*time.Millisecond)}}
	default:
		return nil
	}
}

func millis(rng *rand.Rand, least, most int) time.Duration {
	return time.Duration(least+rng.IntN(most-least+1)) * time.Millisecond
}

// span draws how long something lasts: mostly short, sometimes for longer than any
// time-out.
func span(rng *rand.Rand) time.Duration {
	switch rng.IntN(6) {
	case 0, 1:
		return millis(rng, 100, 3000)
	case 2, 3:
		return millis(rng, 3000, 12000)
	case 4:
		return millis(rng, 12000, 30000)
	default:
		return millis(rng, 30000, 90000)
	}
}

// draw draws one fault.
func draw(sc *Scenario, kind Kind, rng *rand.Rand) Fault {
	f := Fault{Kind: kind, At: 5*time.Second + millis(rng, 0, int((sc.Run-10*time.Second)/time.Millisecond)), For: span(rng)}
	some := func() { // one host, or, seldom, several
		f.Who = []int{rng.IntN(len(sc.Hosts))}
		if rng.IntN(5) == 0 {
			for h := range sc.Hosts {
				if h != f.Who[0] && rng.IntN(2) == 0 {
					f.Who = append(f.Who, h)
				}
			}
			slices.Sort(f.Who)
		}
	}
	partition := func() { f.N = rng.IntN(len(sc.Weights)) }
	switch kind {
	case Crash, Vanish:
		some()
		f.For = millis(rng, 100, 20000)
		switch rng.IntN(6) {
		case 0:
			f.N = 1
		case 1:
			f.For = 0
		}
	case Stop:
		some()
		f.For = millis(rng, 100, 20000)
		if rng.IntN(3) == 0 {
			f.N = 1 + rng.IntN(8000)
		}
		if rng.IntN(6) == 0 {
			f.For = 0
		}
	case Start:
		f.Who, f.For = []int{rng.IntN(len(sc.Hosts))}, 0
	case Freeze, Suspend, Cut, Hole, Mute, Deaf, Unprobe, Behind, Sluggish, Stubborn, Early, Panic:
		some()
	case Gap:
		some()
		f.For = 0
	case Jump:
		some()
		f.For, f.N = 0, rng.IntN(30_000)
	case Skew:
		f.Who = []int{rng.IntN(len(sc.Hosts))}
		f.N = rng.IntN(2*sc.Settings.Skew+1) - sc.Settings.Skew
	case Lag:
		some()
		f.N = 1 + rng.IntN(1500)
	case Loss, Drop, Twice:
		some()
		f.N = 5 + rng.IntN(60)
	case Slow, Delay:
		some()
		f.N = 20 + rng.IntN(4000)
	case Late:
		some()
		f.N = 500 + rng.IntN(15_000)
	case Torn:
		some()
		f.N = 20 + rng.IntN(1500)
	case StoreDown:
		f.N = rng.IntN(2)
	case NoQuorum, NoCommit, SourceError, SourceSlow, SourceGarbage:
	case Expire, StoreLost, Replaced:
		f.For = 0
	case GoBack:
		f.For, f.N = 0, 1+rng.IntN(60)
	case Restore:
		f.For, f.N = 0, 1000+rng.IntN(60_000)
	case Garble:
		f.N = rng.IntN(4)
	case SourceHalf, SourceEmpty:
		f.N = rng.IntN(3)
	case Add:
		f.For, f.N = 0, 1+rng.IntN(10)
	case Reweigh:
		f.For, f.N = 0, rng.IntN(9)
	case SourceFlap, Remove, Done, Poison:
		partition()
	case Reject:
		some()
		partition()
	case DeafHard:
		some()
		f.N = 1000 + rng.IntN(30_000)
	case CtlCordon, CtlDrain:
		f.Who = []int{rng.IntN(len(sc.Hosts))}
	case CtlPin, CtlBan, CtlMove:
		f.Who = []int{rng.IntN(len(sc.Hosts))}
		partition()
	case CtlPause:
	case CtlRelease:
		f.Who, f.For = []int{rng.IntN(len(sc.Hosts))}, time.Second
	case CtlRebalance, CtlStepDown, CtlRefresh:
	case NoLeader:
		f.For = 0
	}
	if f.For > 0 {
		f.For = max(min(f.For, sc.Run-f.At-time.Second), 50*time.Millisecond)
	}
	return f
}

// rolling restarts every host in turn, with or without one more that comes first.
func rolling(sc *Scenario, rng *rand.Rand) {
	pause := millis(rng, 1000, 15000)
	down := millis(rng, 200, 5000)
	at := 45 * time.Second
	if rng.IntN(2) == 0 {
		sc.Hosts = append(sc.Hosts, Host{Start: 30 * time.Second, Share: 1, Fence: sc.Hosts[0].Fence})
		sc.Faults = append(sc.Faults, Fault{At: sc.Run - 20*time.Second, Kind: Stop, Who: []int{len(sc.Hosts) - 1}})
	}
	kind := []Kind{Stop, Stop, Crash}[rng.IntN(3)]
	for h := range sc.Hosts {
		if at > sc.Run-40*time.Second {
			break
		}
		sc.Faults = append(sc.Faults, Fault{At: at, Kind: kind, Who: []int{h}, For: down})
		at += down + pause
	}
}

// restart stops workers cleanly, one at a time, and starts them again within
// RestartGrace: nothing moves.
func restart(sc *Scenario, rng *rand.Rand) {
	sc.Settings.RestartGrace = 10 * time.Second
	sc.Settings.Drain = 5 * time.Second
	for i, h := range rng.Perm(len(sc.Hosts)) {
		sc.Faults = append(sc.Faults, Fault{At: time.Minute + time.Duration(i)*40*time.Second, Kind: Stop, Who: []int{h}, For: millis(rng, 10, 3000)})
	}
	sc.Claims = []Claim{{Kind: ClaimMoves, N: 0}}
}

// newLeader takes the leader its leadership again and again: nothing moves, nothing stops.
func newLeader(sc *Scenario, rng *rand.Rand) {
	for i := range 4 {
		f := Fault{At: time.Minute + time.Duration(i)*time.Minute, Kind: NoLeader}
		if rng.IntN(2) == 0 {
			f.Kind, f.For = CtlStepDown, 20*time.Second
		}
		sc.Faults = append(sc.Faults, f)
	}
	sc.Claims = []Claim{{Kind: ClaimMoves, N: 0}, {Kind: ClaimStill}}
}

// even makes all weights and shares equal, so that the least number of moves is known.
func even(sc *Scenario) {
	for i := range sc.Weights {
		sc.Weights[i] = 1
	}
	sc.Settings.Refresh = 0
}

// joinOne adds one worker: it gets its part, and nothing else moves.
func joinOne(sc *Scenario, _ *rand.Rand) {
	even(sc)
	n := len(sc.Hosts)
	sc.Hosts = append(sc.Hosts, Host{Start: 2 * time.Minute, Share: 1, Fence: sc.Hosts[0].Fence})
	sc.Claims = []Claim{{Kind: ClaimMoves, N: (len(sc.Weights) + n) / (n + 1)}}
}

// crashOne kills one worker for good: its partitions run again within the time of
// detection and a commit, and nothing else moves.
func crashOne(sc *Scenario, rng *rand.Rand) {
	even(sc)
	for i := range sc.Hosts {
		sc.Hosts[i].TTL = 0
	}
	n := len(sc.Hosts)
	h := rng.IntN(n)
	sc.Faults = []Fault{{At: 2*time.Minute + millis(rng, 0, 9000), Kind: Crash, Who: []int{h}}}
	s := sc.Settings
	// Of two, the survivor may have to win the election first, and then learn, by its
	// own clock alone, that the other is gone.
	within := s.LeaderTTL + s.TTL*11/10 + s.RecoveryGrace + s.Settle + 2*s.Probe + 3*time.Second
	sc.Claims = []Claim{{Kind: ClaimMoves, N: (len(sc.Weights)+n-1)/n + 1}, {Kind: ClaimWithin, D: within}, {Kind: ClaimOrphans, D: time.Second}}
}

// oneAtATime does one thing to a fleet that has come to rest since the last one, so that it
// is known what must move. Workers that are killed come back, as who they were or as somebody
// else, and others are killed soon after they were given something: partitions are blamed for
// that, and go to a third.
func oneAtATime(sc *Scenario, rng *rand.Rand) {
	even(sc)
	s := &sc.Settings
	s.TTL, s.Cooldown = 10*time.Second, 2*time.Second
	s.Margin = s.TTL / 8
	s.HardReturn = s.Margin / 4
	for len(sc.Hosts) < 4 {
		sc.Hosts = append(sc.Hosts, Host{Start: time.Second, Share: 1, Fence: sc.Hosts[0].Fence})
	}
	down := make([]bool, len(sc.Hosts))
	for h := range sc.Hosts {
		sc.Hosts[h].TTL = 0
	}
	sc.Run = 11 * time.Minute
	there := len(sc.Hosts)
	for at := time.Minute; at < sc.Run-time.Minute; at += millis(rng, 50_000, 70_000) {
		h := rng.IntN(len(sc.Hosts))
		for !down[h] && there < 4 { // three are the fewest among whom a third can be found
			h = rng.IntN(len(sc.Hosts))
		}
		f := Fault{At: at, Kind: Start, Who: []int{h}}
		if !down[h] {
			f.Kind = []Kind{Crash, Crash, Crash, Vanish, Stop, CtlDrain}[rng.IntN(6)]
		}
		switch f.Kind {
		case CtlDrain:
			f.For = 10 * time.Second
		case Start:
			down[h] = false
			there++
		default:
			down[h] = true
			there--
		}
		if f.Kind == Crash || f.Kind == Vanish {
			f.N = rng.IntN(2)
		}
		sc.Faults = append(sc.Faults, f)
	}
}

// giveOrders gives one order after the other, bans by the handful, since most are of what is
// not there. While it stands a worker is killed, and comes back.
func giveOrders(sc *Scenario, rng *rand.Rand) {
	sc.Run = 8 * time.Minute
	for at := 45 * time.Second; at < sc.Run-80*time.Second; at += 80 * time.Second {
		f := Fault{
			At: at, Kind: []Kind{CtlCordon, CtlDrain, CtlPin, CtlBan}[rng.IntN(4)],
			Who: []int{rng.IntN(len(sc.Hosts))}, For: 75 * time.Second,
		}
		parts := rng.Perm(len(sc.Weights))[:1]
		if f.Kind == CtlBan {
			parts = rng.Perm(len(sc.Weights))[:3] // there are no fewer
		}
		for _, n := range parts {
			if f.Kind == CtlBan || f.Kind == CtlPin {
				f.N = n
			}
			sc.Faults = append(sc.Faults, f)
		}
		sc.Faults = append(sc.Faults, Fault{
			At: at + millis(rng, 45_000, 55_000), Kind: Crash, Who: []int{rng.IntN(len(sc.Hosts))}, For: 5 * time.Second,
		})
	}
}

// getStuck lets handlers ignore Hard for half a minute, and asks their process to end: at
// once, when nothing is stuck yet, and again when something has been for long enough.
func getStuck(sc *Scenario, rng *rand.Rand) {
	s := &sc.Settings
	for at := 40 * time.Second; at < sc.Run-90*time.Second; at += 90 * time.Second {
		who := []int{rng.IntN(len(sc.Hosts))}
		hard := at + time.Second + s.Drain + s.HardReturn
		sc.Faults = append(sc.Faults,
			Fault{At: at, Kind: DeafHard, Who: who, For: 75 * time.Second, N: 30_000},
			Fault{At: at + time.Second, Kind: CtlDrain, Who: who, For: 70 * time.Second},
			Fault{At: at + millis(rng, 0, 6000), Kind: CtlRelease, Who: who, For: time.Second},
			Fault{At: hard + millis(rng, 0, 3000), Kind: CtlRelease, Who: who, For: time.Second},
			Fault{At: hard + millis(rng, 7000, 20_000), Kind: CtlRelease, Who: who, For: time.Second})
	}
}

// recoverStore takes the store from a fleet at rest: under Freeze nothing stops.
func recoverStore(sc *Scenario, rng *rand.Rand) {
	for i := range sc.Hosts {
		sc.Hosts[i].Fence, sc.Hosts[i].TTL = false, 0
	}
	sc.Settings.MaxFreeze = 0
	f := Fault{At: 90 * time.Second, Kind: []Kind{StoreLost, GoBack, StoreDown, NoQuorum, Expire, Restore}[rng.IntN(6)]}
	switch f.Kind {
	case GoBack:
		f.N = 1 + rng.IntN(20)
	case Restore:
		f.N = 1000 + rng.IntN(5000)
	case StoreDown, NoQuorum:
		f.For = millis(rng, 1000, 90_000)
	}
	sc.Faults = []Fault{f}
	if rng.IntN(3) == 0 {
		sc.Faults = append(sc.Faults, Fault{At: 4 * time.Minute, Kind: StoreLost})
	}
	sc.Claims = []Claim{{Kind: ClaimStill}, {Kind: ClaimMoves, N: 0}}
}

// fastClock gives half of the fleet the fastest clocks that are allowed, and the
// other half the slowest; all fence.
func fastClock(sc *Scenario, rng *rand.Rand) {
	for i := range sc.Hosts {
		sc.Hosts[i].Fence = true
		sc.Hosts[i].Rate = sc.Settings.Skew
		if i%2 == int(rng.Uint64()%2) {
			sc.Hosts[i].Rate = -sc.Settings.Skew
		}
	}
}

// slowThenMute delays what a worker hears of its renewals, and then lets nothing
// out of it any more: its trust must not count from when it heard.
func slowThenMute(sc *Scenario, rng *rand.Rand) {
	for at := 40 * time.Second; at < sc.Run-50*time.Second; at += 55 * time.Second {
		who := []int{rng.IntN(len(sc.Hosts))}
		sc.Faults = append(sc.Faults,
			Fault{At: at, Kind: Slow, Who: who, For: 4 * time.Second, N: 2600},
			Fault{At: at + millis(rng, 1000, 3500), Kind: Mute, Who: who, For: 40 * time.Second})
	}
}

// twoLeaders takes the leadership from a leader that is not told of it, while there
// is something for both to decide.
func twoLeaders(sc *Scenario, rng *rand.Rand) {
	for at := 30 * time.Second; at < sc.Run-30*time.Second; at += millis(rng, 8000, 15000) {
		who := []int{rng.IntN(len(sc.Hosts))}
		sc.Faults = append(sc.Faults,
			Fault{At: at, Kind: Drop, Who: who, For: 5 * time.Second, N: 100},
			Fault{At: at + 10*time.Millisecond, Kind: Slow, Who: who, For: 2 * time.Second, N: 600},
			Fault{At: at + 20*time.Millisecond, Kind: CtlDrain, Who: []int{rng.IntN(len(sc.Hosts))}, For: 3 * time.Second},
			Fault{At: at + millis(rng, 20, 400), Kind: NoLeader})
	}
}
