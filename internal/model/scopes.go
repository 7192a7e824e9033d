package model

// scopes are the configurations. Each is explored to its end, and each is aimed
// at some of the rules: what it is not aimed at is kept small. In all of them the
// session of ID 0 begins as the owner of everything.
var scopes = []Scope{
	{
		Name: "fence", Aim: "trust and drift, renewals that are slow, unknown or late, tombstones, expiry",
		Parts: 1, IDs: 2, Leaders: 1,
		TTL: [][]uint8{{3}, {1}}, Margin: 1, Busy: 1, Drift: true, SlowWrites: true, Late: true,
		Versions: 2, Budget: budgets{expire: 1},
		Least: 200_000,
	},
	{
		Name: "handoff", Aim: "two partitions, receipts, slices that are overtaken",
		Parts: 2, IDs: 2, Leaders: 1,
		LateMail: true,
		Versions: 5, Budget: budgets{move: 2}, Recovers: true,
		Least: 6_000,
	},
	{
		Name: "terms", Aim: "two leaders, commits that are late or get no answer",
		Parts: 1, IDs: 2, Leaders: 2,
		LateCommit: true,
		Versions:   4, Budget: budgets{move: 2}, Recovers: true,
		Least: 600_000,
	},
	{
		Name: "restart", Aim: "successors under one ID, of other TTLs, last words",
		Parts: 1, IDs: 2, Leaders: 1,
		TTL: [][]uint8{{2, 1}, {1}}, Takeover: true,
		Versions: 3, Budget: budgets{move: 1, leave: 1},
		Least: 200_000,
	},
	{
		Name: "freeze", Aim: "tombstones, expiry and resumption under Freeze",
		Parts: 1, IDs: 2, Leaders: 1,
		Freeze: true, TTL: [][]uint8{{1, 1}, {1}},
		Versions: 4, Budget: budgets{expire: 1}, Recovers: true,
		Least: 150_000,
	},
	{
		Name: "back", Aim: "a store that goes back under Fence",
		Parts: 1, IDs: 2, Leaders: 1,
		TTL: [][]uint8{{1, 1}, {1}}, Back: true, Loses: 2,
		Versions: 3, Budget: budgets{fault: 1, sync: 1, move: 1},
		Least: 100_000,
	},
	{
		Name: "back-freeze", Aim: "a store that goes back under Freeze",
		Parts: 1, IDs: 2, Leaders: 1,
		Freeze: true, TTL: [][]uint8{{1}, {1}}, Back: true, Loses: 2,
		Versions: 4, Budget: budgets{fault: 1, sync: 1}, Recovers: true,
		Least: 800_000,
	},
	{
		Name: "back-terms", Aim: "two leaders of which one is deposed by the store going back",
		Parts: 2, IDs: 1, Leaders: 2,
		TTL: [][]uint8{{1}}, Back: true, Loses: 1,
		Versions: 3, Budget: budgets{fault: 1, sync: 1, move: 3},
		Least: 300_000,
	},
	{
		Name: "back-late", Aim: "commits that are late or get no answer while the store goes back",
		Parts: 1, IDs: 1, Leaders: 1,
		TTL: [][]uint8{{1}}, LateCommit: true, Back: true, Loses: 2,
		Versions: 3, Budget: budgets{fault: 1, sync: 1, move: 1},
		Least: 7_000,
	},
	{
		Name: "lost", Aim: "a bucket that is lost under Freeze",
		Parts: 1, IDs: 2, Leaders: 1,
		Freeze: true, TTL: [][]uint8{{1}, {1}}, Loss: true,
		Versions: 4, Budget: budgets{fault: 1}, Recovers: true,
		Least: 100_000,
	},
	{
		Name: "lost-fence", Aim: "a bucket that is lost under Fence",
		Parts: 1, IDs: 2, Leaders: 1,
		TTL: [][]uint8{{1, 1}, {1}}, Takeover: true, Loss: true,
		Versions: 4, Budget: budgets{fault: 1},
		Least: 100_000,
	},
	{
		Name: "stale", Aim: "a replica that was left behind and still answers reads",
		Parts: 1, IDs: 2, Leaders: 1,
		TTL: [][]uint8{{1, 1}, {1}}, Stale: true, Loses: 3,
		Versions: 2, Budget: budgets{sync: 1, fault: 1, move: 1},
		Least: 200_000,
	},
}

// larger are the scopes for the night. Here Least is where to give up.
func larger() []Scope {
	out := append([]Scope(nil), scopes...)
	for i := range out {
		sc := &out[i]
		sc.Least, sc.Recovers = 20_000_000, false
		sc.Versions++
		switch sc.Name {
		case "fence":
			sc.TTL, sc.Budget.expire = [][]uint8{{3}, {2}}, 2
		case "handoff":
			sc.Versions, sc.Budget.move = 10, 6
		case "terms":
			sc.Budget.move = 3
		case "restart":
			sc.TTL, sc.Budget.crash = [][]uint8{{3, 1, 2}, {1}}, 1
		case "freeze":
			sc.TTL, sc.Budget.move, sc.Budget.crash = [][]uint8{{1, 1}, {1, 1}}, 1, 1
		case "back", "back-freeze":
			sc.Loses++
			sc.TTL = [][]uint8{{1, 1}, {1, 1}}
		case "back-terms", "back-late":
			sc.IDs, sc.Loses, sc.TTL = 2, 2, [][]uint8{{1}, {1}}
		case "lost", "lost-fence":
			sc.TTL, sc.Budget.crash = [][]uint8{{1, 1}, {1, 1}}, 1
		}
	}
	return out
}
