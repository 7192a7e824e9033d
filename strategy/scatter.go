package strategy

// scatter follows the preference: what is too many in its zone moves to another
// one, or changes places with something there, if all workers stay within their
// limits and the budget allows it. The lightest go first.
func (b *board) scatter() {
	if b.group == nil || b.strict {
		return
	}
	ids := b.surplus()
	if len(ids) == 0 {
		return
	}
	if !b.uniform {
		b.refine()
	}
	b.open()
	for _, i := range ids {
		if b.beyondLimit(i, b.to[i]) && !b.sendAway(i) {
			b.exchange(i)
		}
	}
}

// sendAway moves i to the coldest worker of another zone that may have it.
func (b *board) sendAway(i int32) bool {
	h, w := b.to[i], b.w[i]
	if b.stand[i] == settled && !b.affords(1, w) {
		return false
	}
	for _, c := range b.order {
		if b.zone[c] == b.zone[h] || !b.may(i, c) {
			continue
		}
		switch {
		case b.load[h]-w >= b.give[h] && b.up[c]-b.load[c] >= w:
		case b.uniform && b.equal && b.load[h] == b.up[h] && b.load[h] == b.load[c]+1 && b.room[c] > b.load[c]:
			b.setQuota(h, b.load[c]) // who rounds up and who down is free
			b.setQuota(int(c), b.load[h])
		default:
			continue
		}
		b.move(i, c)
		return true
	}
	return false
}

// exchange changes i for the lightest partition of one of the coldest workers of
// other zones that leaves both within their limits.
func (b *board) exchange(i int32) {
	h := int32(b.to[i])
	best, to := int32(-1), int32(-1)
	seen := 0
	for _, c := range b.order {
		if b.zone[c] == b.zone[h] || !b.may(i, c) {
			continue
		}
		for _, kind := range [...]standing{floating, settled} {
			if t := b.counterpart(i, c, kind); t >= 0 && (best < 0 || b.w[t] < b.w[best]) {
				best, to = t, c
			}
		}
		if seen++; seen == partners {
			break
		}
	}
	if best >= 0 {
		b.move(i, to)
		b.move(best, h)
	}
}

// counterpart is the lightest of c's partitions that may come to i's worker in
// its place, or -1.
func (b *board) counterpart(i, c int32, kind standing) int32 {
	h, w := b.to[i], b.w[i]
	// What comes back weighs at least this, so that c ends within up and h not below
	// give, and at most that, the other way round.
	least := max(b.load[c]+w-b.up[c], b.give[h]-b.load[h]+w, 1)
	most := min(b.up[h]-b.load[h]+w, b.load[c]+w-b.give[c])
	list := b.list(c, kind)
	for k, n := lightestCovering(list, b.w, least), 0; k >= 0 && n < runLimit && b.w[list[k]] <= most; k, n = k-1, n+1 {
		t := list[k]
		if b.group[t] == b.group[i] || !b.mayChange(i, t) {
			continue
		}
		var moves, weight int64
		for _, x := range [...]int32{i, t} {
			if b.stand[x] == settled {
				moves++
				weight += b.w[x]
			}
		}
		if b.affords(moves, weight) {
			return t
		}
		return -1 // the next ones weigh more
	}
	return -1
}
