package strategytest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/parti-go/parti/plan"
)

// draw makes an Input of some kind from a seed: the same one each time.
func draw(seed uint64) plan.Input {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	n, m := r.IntN(60), 1+r.IntN(9)
	in := plan.Input{Cause: plan.Cause(r.IntN(4)), Current: make([]int, n)}
	for j := range m {
		in.Workers = append(in.Workers, plan.Worker{ID: fmt.Sprintf("worker-%03d", 7*j), Zone: fmt.Sprint("zone-", r.IntN(3))})
	}
	total := int64(0)
	kind := r.IntN(4)
	for i := range n {
		p := plan.Partition{ID: fmt.Sprintf("tool-%03d.chamber-%d", i/3, i%3), Labels: map[string]string{"shelf": fmt.Sprint(r.IntN(5))}}
		switch kind {
		case 1:
			p.Weight = r.Int64N(5)
		case 2:
			p.Weight = 1 + int64(1000*math.Exp(r.NormFloat64()))
		case 3:
			p.Weight = 1 + r.Int64N(3)
			if r.IntN(20) == 0 {
				p.Weight *= 300
			}
		}
		total += p.Load()
		in.Partitions = append(in.Partitions, p)
		in.Current[i] = r.IntN(m+1) - 1
	}
	furnish(r, &in, total)
	return in
}

// furnish adds shares, capacities, cordons, pins and homes, each to some of the inputs.
func furnish(r *rand.Rand, in *plan.Input, total int64) {
	n, m := len(in.Partitions), len(in.Workers)
	shares, capacities, cordons := r.IntN(3) == 0, r.IntN(3) == 0, r.IntN(3) == 0
	for j := range in.Workers {
		w := &in.Workers[j]
		if shares {
			w.Share = r.Int64N(6)
		}
		if capacities {
			w.Capacity = 1 + r.Int64N(2*total/int64(m)+2)
		}
		w.NoNew = cordons && r.IntN(3) == 0
	}
	if r.IntN(3) == 0 {
		for range n {
			in.Pins = append(in.Pins, max(-1, r.IntN(4*m)-3*m))
		}
	}
	if r.IntN(2) == 0 {
		for range n {
			in.Home = append(in.Home, [...]string{"", "gone", in.Workers[r.IntN(m)].ID}[r.IntN(3)])
		}
	}
}

// edges are inputs at the limits of what is valid.
func edges() map[string]plan.Input {
	one := []plan.Worker{{ID: "a"}}
	most := int64(math.MaxInt64)
	return map[string]plan.Input{
		"no partitions": {Workers: one},
		"nobody takes anything": {
			Workers: []plan.Worker{{ID: "a", NoNew: true}, {ID: "b", NoNew: true}}, Partitions: []plan.Partition{{ID: "p"}, {ID: "q"}}, Current: []int{-1, 1},
		},
		"nothing fits":      {Workers: []plan.Worker{{ID: "a", Capacity: 1}}, Partitions: []plan.Partition{{ID: "p", Weight: 2}}, Current: []int{0}},
		"the largest sums":  {Workers: []plan.Worker{{ID: "a", Share: most - 1}, {ID: "b"}}, Partitions: []plan.Partition{{ID: "p", Weight: most - 7}, {ID: "q", Weight: 7}}, Current: []int{-1, -1}},
		"largest capacity":  {Workers: []plan.Worker{{ID: "a", Capacity: most}, {ID: "b", Capacity: most}}, Partitions: []plan.Partition{{ID: "p", Weight: most}}, Current: []int{1}},
		"more workers":      {Workers: []plan.Worker{{ID: "a"}, {ID: "b"}, {ID: "c"}}, Partitions: []plan.Partition{{ID: "p"}}, Current: []int{-1}},
		"all pinned to one": {Workers: []plan.Worker{{ID: "a", Capacity: 2}, {ID: "b"}}, Partitions: []plan.Partition{{ID: "p"}, {ID: "q"}, {ID: "r"}}, Current: []int{1, 1, 0}, Pins: []int{0, 0, 0}},
		"pinned to a cordoned worker": {
			Workers: []plan.Worker{{ID: "a", NoNew: true}, {ID: "b"}}, Partitions: []plan.Partition{{ID: "p"}, {ID: "q"}}, Current: []int{1, -1}, Pins: []int{0, -1},
		},
	}
}
