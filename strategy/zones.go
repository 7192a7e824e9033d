package strategy

import (
	"cmp"
	"slices"
)

// zones is how the partitions of one group, those with one value of the label, lie
// over the zones. Without a label to spread, or with one zone only, group is nil.
//
// A group of k partitions is spread when no zone has more than k÷z of them, rounded
// up, where z is the number of zones that can take anything: so two copies share
// a zone only when there are more copies than zones, and a zone that is lost lifts
// the limit of the others instead of leaving its partitions without an owner.
type zones struct {
	strict bool // a rule; otherwise a preference
	lax    bool // a preference that is not asked for the moment

	group   []int32 // of each partition; -1: none
	zone    []int32 // of each worker
	nZones  int32
	limit   []int32 // of each group: the most in one zone
	held    []int32 // of each group and zone: how many are there
	shunned []bool  // partitions that the rule took from their worker; nil: none
}

// divide finds zones and groups.
func (b *board) divide() {
	label := b.s.label
	if label == "" {
		return
	}
	b.strict = b.s.strict
	byName := map[string]int32{}
	takes := map[string]bool{}
	b.zone = make([]int32, len(b.load))
	for j := range b.in.Workers {
		w := &b.in.Workers[j]
		z, known := byName[w.Zone]
		if !known {
			z = int32(len(byName))
			byName[w.Zone] = z
		}
		b.zone[j] = z
		if !w.NoNew {
			takes[w.Zone] = true
		}
	}
	b.nZones = int32(len(byName))
	if b.nZones < 2 || len(takes) == 0 {
		return
	}
	b.group = make([]int32, len(b.w))
	byValue := map[string]int32{}
	var size []int32
	for i := range b.in.Partitions {
		b.group[i] = -1
		value, labelled := b.in.Partitions[i].Labels[label]
		if !labelled {
			continue
		}
		g, known := byValue[value]
		if !known {
			g = int32(len(byValue))
			byValue[value] = g
			size = append(size, 0)
		}
		b.group[i] = g
		size[g]++
	}
	z := int32(len(takes))
	b.limit = make([]int32, len(size))
	for g, k := range size {
		b.limit[g] = (k + z - 1) / z
	}
	b.held = make([]int32, len(size)*int(b.nZones))
}

// mark counts one more, or one less, of i's group in j's zone.
func (b *board) mark(i int32, j int, by int32) {
	if b.group != nil && b.group[i] >= 0 {
		b.held[b.group[i]*b.nZones+b.zone[j]] += by
	}
}

// beyondLimit says that i's group has more in j's zone than it should.
func (b *board) beyondLimit(i int32, j int) bool {
	g := b.group[i]
	return g >= 0 && b.held[g*b.nZones+b.zone[j]] > b.limit[g]
}

// inZone says whether i may go to zone z: its group has less there than it may
// have, or i is there already.
func (b *board) inZone(i, z int32) bool {
	if b.group == nil || b.lax || b.group[i] < 0 {
		return true
	}
	if at := b.to[i]; at >= 0 && b.zone[at] == z {
		return true
	}
	g := b.group[i]
	return b.held[g*b.nZones+z] < b.limit[g]
}

// may says whether i may go to worker j, as far as zones go.
func (b *board) may(i, j int32) bool {
	return b.group == nil || b.inZone(i, b.zone[j])
}

// mayChange says whether g and t, of different workers, may change places.
func (b *board) mayChange(g, t int32) bool {
	if b.group == nil || b.group[g] >= 0 && b.group[g] == b.group[t] {
		return true
	}
	return b.may(g, int32(b.to[t])) && b.may(t, int32(b.to[g]))
}

// disperse enforces the rule: it pools the lightest of those that are too many in
// their zone, but for what is pinned or on a cordoned worker.
func (b *board) disperse() {
	if b.group == nil || !b.strict {
		return
	}
	for _, i := range b.surplus() {
		if !b.beyondLimit(i, b.to[i]) {
			continue
		}
		b.take(i)
		b.stand[i] = floating
		b.pool = append(b.pool, i)
		if b.shunned == nil {
			b.shunned = make([]bool, len(b.w))
		}
		b.shunned[i] = true
	}
	if b.shunned != nil {
		slices.Sort(b.pool)
	}
}

// surplus lists what may move and is in a zone with too many of its group, lightest first.
func (b *board) surplus() (ids []int32) {
	for i := range b.to {
		i := int32(i)
		if j := b.to[i]; j >= 0 && b.stand[i] != pinned && !b.frozen[j] && b.beyondLimit(i, j) {
			ids = append(ids, i)
		}
	}
	slices.SortFunc(ids, func(x, y int32) int { return cmp.Or(cmp.Compare(b.w[x], b.w[y]), cmp.Compare(x, y)) })
	return ids
}
