package sim

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// A bucket is the store: one order of writes, conditions, all-or-nothing commits,
// TTLs at whole seconds with markers. Values are never changed once stored.
type bucket struct {
	w *world

	exists      bool
	last        kv.Rev
	highest     kv.Rev // of all times
	incarnation uint32
	records     map[member.Key]member.Record // removed ones, too, with Gone
	expires     map[member.Key]time.Duration
	undo        []undo // the last writes, oldest first
	markers     []marker

	// Counted by faults that are at work.
	down, refuse, noQuorum, noCommit int
	garbled                          map[member.Kind]int
}

// undo takes one write back.
type undo struct {
	at      time.Duration
	key     member.Key
	before  member.Record
	there   bool
	expires time.Duration
}

// A marker tells of a key that was removed, for a while.
type marker struct {
	key member.Key
	rev kv.Rev
	at  time.Duration
}

// markerTTL is for how long.
const markerTTL = 10 * time.Second

// undoable is how many writes can be taken back.
const undoable = 4000

func newBucket(w *world) *bucket {
	b := &bucket{w: w, garbled: map[member.Kind]int{}, exists: true}
	b.incarnation = w.incarnation()
	b.last = kv.Floor(b.incarnation)
	b.highest = b.last
	b.clear()
	return b
}

// ill reports whether some fault keeps the store from answering everybody.
func (b *bucket) ill() bool { return b.down+b.refuse+b.noQuorum > 0 || !b.exists }

func (b *bucket) clear() {
	b.records = map[member.Key]member.Record{}
	b.expires = map[member.Key]time.Duration{}
	b.undo = nil
}

// a view is what one reader sees: the store itself, or a replica left behind.
type view struct {
	records     map[member.Key]member.Record
	last        kv.Rev
	incarnation uint32
	exists      bool
}

func (b *bucket) view() view {
	return view{records: b.records, last: b.last, incarnation: b.incarnation, exists: b.exists}
}

// copied is a replica that will be left behind.
func (b *bucket) copied() view {
	v := b.view()
	v.records = maps.Clone(v.records)
	return v
}

func (v view) get(key member.Key) member.Record {
	r, ok := v.records[key]
	if !ok {
		return member.Record{Key: key, Gone: true}
	}
	return r
}

func (v view) list(kind member.Kind) []member.Record {
	var out []member.Record
	for k, r := range v.records {
		if k.Kind == kind && !r.Gone {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b member.Record) int { return cmp.Compare(a.Key.Name, b.Key.Name) })
	return out
}

// names is the keys of a kind, markers included.
func (v view) names(kind member.Kind) []member.Record {
	var out []member.Record
	for k := range v.records {
		if k.Kind == kind {
			out = append(out, member.Record{Key: k})
		}
	}
	slices.SortFunc(out, func(a, b member.Record) int { return cmp.Compare(a.Key.Name, b.Key.Name) })
	return out
}

// holds reports whether a write's condition holds: the key is at that revision, or,
// for zero, is not there. So a write may expect a marker's revision, or zero.
func (v view) holds(p member.Put) bool {
	r := v.get(p.Record.Key)
	if p.Record.Rev == 0 {
		return r.Gone
	}
	return r.Rev == p.Record.Rev
}

// write makes the changes, all or none, and returns the revision of the first.
func (b *bucket) write(by *process, puts []member.Put) (kv.Rev, error) {
	if !b.exists {
		return 0, kv.ErrLost
	}
	for _, p := range puts {
		if !b.view().holds(p) {
			return 0, kv.ErrStale
		}
	}
	first := b.last + 1
	changed := make([]member.Record, 0, len(puts))
	for _, p := range puts {
		r := p.Record
		b.last++
		r.Rev = b.last
		if r.Gone {
			r.Value = nil
		}
		b.set(r, p.TTL)
		changed = append(changed, r)
	}
	b.highest = max(b.highest, b.last)
	b.w.stats.Writes += len(puts)
	b.w.mark(uint64(b.last))
	b.w.ledger.stored(by, changed)
	for _, r := range changed {
		b.w.tellAll(r)
	}
	return first, nil
}

func (b *bucket) set(r member.Record, ttl time.Duration) {
	before, there := b.records[r.Key]
	if len(b.undo) >= 2*undoable {
		b.undo = slices.Clone(b.undo[undoable:])
	}
	b.undo = append(b.undo, undo{b.w.now, r.Key, before, there, b.expires[r.Key]})
	b.records[r.Key] = r
	if r.Gone {
		b.markers = append(b.markers, marker{r.Key, r.Rev, b.w.now})
	}
	delete(b.expires, r.Key)
	if ttl > 0 {
		// Whole seconds of the server's clock, so a part of a second early.
		b.expires[r.Key] = (b.w.now + ttl).Truncate(time.Second)
	}
}

// sweep expires what is due. Each leaves a marker with a revision of its own.
func (b *bucket) sweep() {
	if !b.exists || b.down > 0 || b.noQuorum > 0 {
		return // nothing expires without a quorum; all that is due does afterwards
	}
	for len(b.markers) > 0 && b.w.now-b.markers[0].at >= markerTTL { // in silence
		m := b.markers[0]
		b.markers = b.markers[1:]
		if r := b.records[m.key]; r.Gone && r.Rev == m.rev {
			delete(b.records, m.key)
		}
	}
	var due []member.Key
	for k, at := range b.expires {
		if at <= b.w.now {
			due = append(due, k)
		}
	}
	slices.SortFunc(due, func(x, y member.Key) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name))
	})
	for _, k := range due {
		b.last++
		b.highest = max(b.highest, b.last)
		r := member.Record{Key: k, Rev: b.last, Gone: true}
		b.set(r, 0)
		b.w.say("store: %s expires", describeKey(k))
		b.w.ledger.stored(nil, []member.Record{r})
		b.w.tellAll(r)
	}
}

// replace is what somebody does who deletes the bucket and makes one of the same
// name: it is empty, and has the incarnation of a store that nobody remembers. That
// is above the one before if it was not made anew more than once a minute; else
// replace does nothing.
func (b *bucket) replace() bool {
	if b.incarnation >= b.w.incarnation() {
		return false
	}
	b.lose()
	b.renew(b.w.incarnation())
	return true
}

// expireAll makes everything with a TTL due.
func (b *bucket) expireAll() {
	for k := range b.expires {
		b.expires[k] = b.w.now
		b.w.touched(Expire)
	}
	b.sweep()
}

// lose deletes the bucket.
func (b *bucket) lose() {
	b.exists = false
	b.clear()
	b.w.ledger.lost()
}

// renew makes the store anew, unless it is that new already.
func (b *bucket) renew(incarnation uint32) uint32 {
	if b.exists && b.incarnation >= incarnation {
		return b.incarnation
	}
	b.clear()
	b.exists = true
	b.incarnation = incarnation
	b.last = kv.Floor(incarnation)
	b.highest = max(b.highest, b.last)
	b.w.say("store: made anew, incarnation %d", incarnation)
	b.w.ledger.renewed(b.incarnation)
	b.w.interruptAll()
	return incarnation
}

// goBack takes back the last n writes, as a store does that acknowledged what it
// then lost: the same revisions are given out again.
func (b *bucket) goBack(n int) int {
	n = min(n, len(b.undo))
	for range n {
		u := b.undo[len(b.undo)-1]
		b.undo = b.undo[:len(b.undo)-1]
		if u.there {
			b.records[u.key] = u.before
		} else {
			delete(b.records, u.key)
		}
		delete(b.expires, u.key)
		if u.expires > 0 {
			b.expires[u.key] = u.expires
		}
		b.last--
	}
	b.w.ledger.wentBack()
	b.w.interruptAll()
	return n
}

// since counts the writes that can be taken back and are not older than d.
func (b *bucket) since(d time.Duration) int {
	n := 0
	for i := len(b.undo) - 1; i >= 0 && b.undo[i].at >= b.w.now-d; i-- {
		n++
	}
	return n
}

// read returns what a reader of v is told of a key: what is there, unless a fault
// makes it unreadable.
func (b *bucket) readable(r member.Record) member.Record {
	if b.garbled[r.Key.Kind] > 0 && !r.Gone {
		b.w.touched(Garble)
		r.Unreadable = errGarbled
		r.Value = nil
	}
	return r
}

// head is the plan that stands now.
func (b *bucket) head() (plan.Head, bool) {
	h, ok := b.records[member.Key{Kind: member.KindPlan}].Value.(plan.Head)
	return h, ok
}

func (b *bucket) slices() []plan.Slice {
	var out []plan.Slice
	for _, r := range b.view().list(member.KindSlice) {
		if s, ok := r.Value.(plan.Slice); ok {
			out = append(out, s)
		}
	}
	return out
}

func (b *bucket) sessions() []roster.Session {
	var out []roster.Session
	for _, r := range b.view().list(member.KindSession) {
		if s, ok := r.Value.(roster.Session); ok {
			out = append(out, s)
		}
	}
	return out
}

func (b *bucket) aside() []plan.Aside {
	a, _ := b.records[member.Key{Kind: member.KindAside}].Value.([]plan.Aside)
	return a
}

// controlled reports whether a wish of an operator stands. One that is carried out once does
// not: members leave theirs, to have the source listed, where it is.
func (b *bucket) controlled() bool {
	return slices.ContainsFunc(b.view().list(member.KindControl), func(r member.Record) bool {
		c, _ := r.Value.(plan.Control)
		switch c.Kind {
		case plan.Cordon, plan.Drain, plan.Pin, plan.Ban, plan.Pause:
			return true
		default:
			return false
		}
	})
}
