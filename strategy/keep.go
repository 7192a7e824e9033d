package strategy

import "slices"

// keep leaves every partition with its owner where that may be, and pools the
// others: those without an owner, those pinned elsewhere, those that their owner has
// no room for, and those that a rule for zones does not let there.
func (b *board) keep() {
	if b.in.Pins != nil {
		b.keepPins()
	}
	for i, at := range b.in.Current {
		switch {
		case b.stand[i] == pinned:
		case at < 0:
			b.to[i] = -1
			b.pool = append(b.pool, int32(i))
		default:
			b.to[i] = at
			b.load[at] += b.w[i]
			b.stand[i] = settled
			b.mark(int32(i), at, 1)
		}
	}
	b.disperse()
	if b.bounded {
		b.shed()
		b.leaveOut()
	}
}

// keepPins puts what is pinned where it must be, whatever is there now and
// also on a cordoned worker: a wish about one partition goes before one about all.
// What has no room there stays out.
func (b *board) keepPins() {
	over := false
	for i, pin := range b.in.Pins {
		if pin < 0 {
			continue
		}
		b.anyFixed = true
		b.stand[i] = pinned
		b.put(int32(i), pin)
		over = over || b.load[pin] > b.room[pin]
	}
	if over {
		b.eachOverfull(func(i int32) bool { return b.stand[i] == pinned }, b.take)
	}
	copy(b.fixed, b.load)
}

// shed takes the fewest partitions from each worker that has less room than load.
func (b *board) shed() {
	for j := range b.load {
		if b.load[j] <= b.room[j] {
			continue
		}
		b.eachOverfull(
			func(i int32) bool { return b.stand[i] == settled },
			func(i int32) {
				b.take(i)
				b.stand[i] = floating
				b.pool = append(b.pool, i)
			})
		slices.Sort(b.pool)
		return
	}
}

// eachOverfull takes from each worker without enough room the fewest of those
// partitions that make it fit.
func (b *board) eachOverfull(among func(int32) bool, take func(int32)) {
	lists := make([][]int32, len(b.load))
	for i := range b.to {
		i := int32(i)
		if j := b.to[i]; j >= 0 && b.load[j] > b.room[j] && among(i) {
			lists[j] = append(lists[j], i)
		}
	}
	for j, list := range lists {
		if len(list) > 0 {
			sortHeavy(list, b.w)
			fewestCovering(list, b.w, b.load[j]-b.room[j], take)
		}
	}
}

// leaveOut takes the fewest partitions out of the pool that make the rest fit
// into the room that all workers together have.
func (b *board) leaveOut() {
	var room, need int64
	for j := range b.load {
		if !b.frozen[j] {
			room = addUp(room, b.room[j]-b.load[j])
		}
	}
	for _, i := range b.pool {
		need += b.w[i]
	}
	if need <= room {
		return
	}
	sortHeavy(b.pool, b.w)
	left := make(map[int32]bool)
	fewestCovering(b.pool, b.w, need-room, func(i int32) {
		left[i] = true
		b.out = append(b.out, i)
	})
	b.pool = slices.DeleteFunc(b.pool, func(i int32) bool { return left[i] })
	slices.Sort(b.pool)
}
