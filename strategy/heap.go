package strategy

// A tile is a worker in a heap, with the load that it had when it was put there.
type tile struct {
	load, share int64
	worker      int32
}

// colder orders tiles by load for their share, then by ID.
func (t tile) colder(u tile) bool {
	if t.share == u.share && t.load != u.load {
		return t.load < u.load
	}
	if c := compareRatio(t.load, t.share, u.load, u.share); c != 0 {
		return c < 0
	}
	return t.worker < u.worker
}

// coldWith is colder as it would be with w more on either.
func (t tile) coldWith(w int64, u tile) bool {
	t.load, u.load = addUp(t.load, w), addUp(u.load, w)
	return t.colder(u)
}

// A heap has the coldest tile first.
type heap []tile

func (h *heap) add(t tile) {
	*h = append(*h, t)
	s := *h
	for at := len(s) - 1; at > 0; {
		up := (at - 1) / 2
		if !s[at].colder(s[up]) {
			return
		}
		s[at], s[up] = s[up], s[at]
		at = up
	}
}

func (h *heap) pop() tile {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	*h = s[:last]
	h.sink(0)
	return top
}

// sink restores the order after the tile at place at has grown hotter.
func (h *heap) sink(at int) {
	s := *h
	for {
		down := 2*at + 1
		if down >= len(s) {
			return
		}
		if right := down + 1; right < len(s) && s[right].colder(s[down]) {
			down = right
		}
		if !s[down].colder(s[at]) {
			return
		}
		s[at], s[down] = s[down], s[at]
		at = down
	}
}
