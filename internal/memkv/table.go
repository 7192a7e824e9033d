package memkv

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"time"

	"github.com/parti-go/parti/internal/kv"
)

// DefaultLimits are those of a NATS server that was not told otherwise.
var DefaultLimits = kv.Limits{MaxPayload: 1 << 20, MaxBatch: 1000}

// markerTTL is how long an expired key leaves a marker.
const markerTTL = time.Minute

// A Table is the content of a store and the rules by which it changes. It is a
// value to be stepped: the time is an argument, and nothing happens by itself. It
// is not safe for concurrent use.
type Table struct {
	Limits kv.Limits

	lost bool
	last kv.Rev
	keys map[string]*record
	due  schedule
}

// A Change is an Entry and the revision that its key had before; zero when it
// was not there.
type Change struct {
	kv.Entry
	Before kv.Rev
}

// record is a key, or the marker of a removed one.
type record struct {
	kv.Entry
	due   time.Time // when it expires, or a marker is cleared away; zero: never
	index int       // in the schedule; -1 when not in it
}

// NewTable makes an empty store of that incarnation.
func NewTable(incarnation uint32) *Table {
	return &Table{Limits: DefaultLimits, last: kv.Floor(incarnation), keys: map[string]*record{}}
}

// Get reads one key, as a Store's.
func (t *Table) Get(key string) (kv.Entry, error) {
	if t.lost {
		return kv.Entry{Key: key, Gone: true}, kv.ErrLost
	}
	r := t.keys[key]
	switch {
	case r == nil:
		return kv.Entry{Key: key, Gone: true}, kv.ErrMissing
	case r.Gone:
		return r.Entry, kv.ErrMissing
	default:
		return r.Entry, nil
	}
}

// List reads all keys that match the prefix, as a Store's.
func (t *Table) List(prefix string) ([]kv.Entry, kv.Rev, error) {
	if t.lost {
		return nil, 0, kv.ErrLost
	}
	var es []kv.Entry
	for key, r := range t.keys {
		if !r.Gone && kv.Match(prefix, key) {
			es = append(es, r.Entry)
		}
	}
	slices.SortFunc(es, func(a, b kv.Entry) int { return cmp.Compare(a.Key, b.Key) })
	return es, t.last, nil
}

// Names tells which keys match the prefix, as a Store's, markers included.
func (t *Table) Names(prefix string) ([]string, error) {
	if t.lost {
		return nil, kv.ErrLost
	}
	var names []string
	for key := range t.keys {
		if kv.Match(prefix, key) {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Apply makes the changes, all or none, and tells of them. It expires nothing by
// itself: call Expire with the same time first.
func (t *Table) Apply(now time.Time, ws ...kv.Write) (kv.Rev, []Change, error) {
	if err := t.check(ws); err != nil {
		return 0, nil, err
	}
	changes := make([]Change, 0, len(ws))
	for _, w := range ws {
		due := time.Time{}
		if w.TTL > 0 {
			due = now.Add(w.TTL)
		}
		changes = append(changes, t.put(kv.Entry{Key: w.Key, Value: w.Value, Gone: w.Remove}, due))
	}
	return changes[0].Rev, changes, nil
}

func (t *Table) check(ws []kv.Write) error {
	if err := kv.CheckCommit(ws); err != nil {
		return err
	}
	if len(ws) > t.Limits.MaxBatch {
		return &kv.TooManyError{Writes: len(ws), Max: t.Limits.MaxBatch}
	}
	for _, w := range ws {
		if len(w.Value) > t.Limits.MaxPayload {
			return &kv.TooLargeError{Key: w.Key, Size: len(w.Value), Max: t.Limits.MaxPayload}
		}
	}
	if t.lost {
		return kv.ErrLost
	}
	for _, w := range ws {
		if !t.holds(w) {
			return kv.ErrStale
		}
	}
	return nil
}

// holds says whether the key is as the write expects.
func (t *Table) holds(w kv.Write) bool {
	r := t.keys[w.Key]
	if w.Last == 0 {
		return r == nil || r.Gone
	}
	return r != nil && r.Rev == w.Last
}

func (t *Table) put(e kv.Entry, due time.Time) Change {
	t.last++
	e.Rev = t.last
	if !e.Gone {
		e.Value = append([]byte{}, e.Value...) // the caller may reuse its own
	}
	r := t.keys[e.Key]
	if r == nil {
		r = &record{index: -1}
		t.keys[e.Key] = r
	}
	before := r.Rev
	r.Entry, r.due = e, due
	switch {
	case due.IsZero() && r.index >= 0:
		heap.Remove(&t.due, r.index)
	case due.IsZero():
	case r.index >= 0:
		heap.Fix(&t.due, r.index)
	default:
		heap.Push(&t.due, r)
	}
	return Change{e, before}
}

// Expire removes the keys whose time is over and tells of them. Markers whose
// time is over go in silence.
func (t *Table) Expire(now time.Time) []Change {
	var changes []Change
	for len(t.due) > 0 && !t.due[0].due.After(now) {
		r := t.due[0]
		if r.Gone {
			heap.Pop(&t.due)
			delete(t.keys, r.Key)
			continue
		}
		changes = append(changes, t.put(kv.Entry{Key: r.Key, Gone: true}, now.Add(markerTTL)))
	}
	return changes
}

// Next is when Expire has something to do; the zero time: never, as it stands.
func (t *Table) Next() time.Time {
	if len(t.due) == 0 {
		return time.Time{}
	}
	return t.due[0].due
}

// Incarnation tells how often the store was made anew.
func (t *Table) Incarnation() (uint32, error) {
	if t.lost {
		return 0, kv.ErrLost
	}
	return t.last.Incarnation(), nil
}

// Renew makes the store anew, unless it is of that incarnation or a later one.
func (t *Table) Renew(incarnation uint32) uint32 {
	if t.lost || t.last.Incarnation() < incarnation {
		t.clear()
		t.lost, t.last = false, kv.Floor(incarnation)
	}
	return t.last.Incarnation()
}

// Wipe loses the bucket.
func (t *Table) Wipe() {
	t.clear()
	t.lost, t.last = true, 0
}

func (t *Table) clear() { t.keys, t.due = map[string]*record{}, nil }

// Clone is an independent copy.
func (t *Table) Clone() *Table {
	c := &Table{Limits: t.Limits, lost: t.lost, last: t.last, keys: maps.Clone(t.keys)}
	for key, r := range c.keys {
		r := &record{Entry: r.Entry, due: r.due, index: -1}
		c.keys[key] = r
		if !r.due.IsZero() {
			heap.Push(&c.due, r)
		}
	}
	return c
}

// schedule is a heap of the records that have a time to go, the first on top.
// At the same time they go in order of revisions, so that runs are repeatable.
type schedule []*record

func (s schedule) Len() int { return len(s) }

func (s schedule) Less(i, j int) bool {
	if c := s[i].due.Compare(s[j].due); c != 0 {
		return c < 0
	}
	return s[i].Rev < s[j].Rev
}

func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (s *schedule) Push(x any) {
	r := x.(*record) //nolint:forcetypeassert // the only type in it
	r.index = len(*s)
	*s = append(*s, r)
}

func (s *schedule) Pop() any {
	last := len(*s) - 1
	r := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	r.index = -1
	return r
}
