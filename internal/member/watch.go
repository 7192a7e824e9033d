package member

import (
	"slices"
	"time"

	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

// sliceSoon is how long a change of the own slice may take to be told after the
// head that announced it. Then it is read.
const sliceSoon = 30 * time.Millisecond

// A mirror is what is known of one key that is followed and read.
type mirror struct {
	key     Key
	rev     kv.Rev // of the newest that was seen
	reading bool
	again   bool // asked for while reading
	tries   retry
	told    kv.Rev // unreadable, and people know
}

// A watch keeps up with `plan`, `leader` and the own slice: told for speed, read
// for certainty. A record older than one that was seen before changes nothing: that
// the store went back is for a write to find out.
type watch struct {
	*desk
	store *store
	life  *life
	hold  func(hold.Fact)
	elect func(elect.Fact)
	// stale tells whether the own slice is to be heard again, changed or not.
	stale func() bool

	worker              string
	head, leader, slice mirror
	plan                plan.Head // as last seen

	have, want plan.Version // of the own slice: seen, announced
	chase      retry
}

func newWatch(d *desk, s *store, l *life, worker string) *watch {
	return &watch{
		desk: d, store: s, life: l, worker: worker,
		head:   mirror{key: Key{Kind: KindPlan}},
		leader: mirror{key: Key{Kind: KindLeader}},
		slice:  mirror{key: Key{KindSlice, worker}},
	}
}

// begin reads everything, and then again every few seconds, at random times.
func (w *watch) begin() {
	w.readAll()
	w.later()
}

func (w *watch) later() {
	every := w.cfg.Reconcile
	w.after(w.life, "reconcile", every*3/4+w.chance(every/2), w.begin)
}

func (w *watch) readAll() {
	w.read(&w.head)
	w.read(&w.leader)
	w.read(&w.slice)
}

// read reads a key at the store's leader. What it finds comes by take.
func (w *watch) read(m *mirror) {
	if m.reading {
		m.again = true
		return
	}
	m.reading, m.again = true, false
	w.ask(w.life, Get{m.key}, func(a Answer) {
		m.reading = false
		if _, err := a.record(m.key); err != nil {
			w.unread(m.key.String(), err)
			w.after(w.life, "read "+m.key.String(), m.tries.pause(w.desk), func() { w.read(m) })
			return
		}
		m.tries = retry{}
		if m.again {
			w.read(m)
			return
		}
		if m == &w.slice {
			w.check()
		}
	})
}

// take takes a record in, as told or as read by anybody in this process.
func (w *watch) take(r Record, read bool) {
	if r.Unreadable != nil {
		w.unreadable(r)
		return
	}
	switch r.Key {
	case w.head.key:
		w.takeHead(r)
	case w.leader.key:
		w.takeLeader(r)
	case w.slice.key:
		w.takeSlice(r, read)
	}
}

// unreadable is unknown, never empty.
func (w *watch) unreadable(r Record) {
	for _, m := range []*mirror{&w.head, &w.leader, &w.slice} {
		if m.key == r.Key && r.Rev > m.told {
			m.told = r.Rev
			w.failed("reading "+r.Key.String(), r.Unreadable)
		}
	}
	if r.Key == w.leader.key {
		w.elect(elect.Saw{Rev: r.Rev})
	}
}

func (w *watch) takeHead(r Record) {
	h, ok := r.Value.(plan.Head)
	if r.Gone || !ok || r.Rev <= w.head.rev {
		return
	}
	w.head.rev, w.plan = r.Rev, h
	w.store.saw(h.Version)
	w.hold(hold.Seen{Version: h.Version})
	w.elect(elect.Size{Workers: h.Workers})
	if _, mine := slices.BinarySearch(h.Changed, w.worker); mine && h.Version > w.want {
		w.want = h.Version
		w.check()
	}
}

func (w *watch) takeLeader(r Record) {
	w.leader.rev = max(w.leader.rev, r.Rev)
	w.elect(leaderFact(r, false))
}

// leaderFact is what a record of the leader's key says.
func leaderFact(r Record, read bool) elect.Fact {
	if r.Gone {
		return elect.Gone{Rev: r.Rev, Read: read}
	}
	l, _ := r.Value.(elect.Leader)
	return elect.Saw{Leader: l, Rev: r.Rev, Read: read}
}

func (w *watch) takeSlice(r Record, read bool) {
	if r.Gone {
		if r.Rev > w.slice.rev || read && r.Rev == 0 && w.slice.rev == 0 {
			w.slice.rev, w.have = r.Rev, w.want // taken away: there is nothing to wait for
		}
		return
	}
	s, ok := r.Value.(plan.Slice)
	if !ok || r.Rev < w.slice.rev || r.Rev == w.slice.rev && !read {
		return
	}
	w.slice.rev, w.have = r.Rev, max(w.have, s.Version)
	w.hold(hold.Sliced{Slice: s})
}

// check sees to it that a slice which was announced, or must be heard again, comes.
func (w *watch) check() {
	switch {
	case w.have >= w.want && !w.stale():
		w.chase = retry{}
		w.cancel(w.life, "slice")
	case !w.waiting(w.life, "slice"):
		var wait time.Duration
		switch {
		case w.chase.n > 0:
			wait = w.chase.pause(w.desk)
		case w.have < w.want:
			wait = sliceSoon + w.chance(sliceSoon)
			w.chase.n++
		default:
			w.chase.n++
		}
		w.after(w.life, "slice", wait, func() {
			if w.have < w.want || w.stale() {
				w.read(&w.slice)
				return
			}
			w.chase = retry{}
		})
	}
}
