package member

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/hold"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/lead"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/plan"
)

// A world is some members and a store in virtual time. Every request takes a
// millisecond there and one back, and nothing runs but what is due.
type world struct {
	t     testing.TB
	now   time.Time
	queue deliveries
	seq   int
	rand  *rand.Rand
	store *fakeStore
	boxes []*box

	parts    []plan.Partition
	partsErr error

	// fault says what happens to a request; nil: nothing.
	fault func(b *box, op Op) fault
	// twoOwners allows a partition to run twice: isolation under Freeze.
	twoOwners bool
	log       []string // of events, for messages
}

// A fault is what goes wrong with one request.
type fault struct {
	err    error         // the answer
	stored bool          // and yet it was carried out
	late   time.Duration // it is carried out so much later, after the answer
	wait   time.Duration // the answer comes so much later
	hangs  bool          // there is no answer, and it is not carried out
}

type delivery struct {
	at  time.Time
	seq int
	f   func()
}

type deliveries []delivery

func (q deliveries) Len() int { return len(q) }
func (q deliveries) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q deliveries) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *deliveries) Push(x any)   { *q = append(*q, x.(delivery)) }
func (q *deliveries) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

const hop = time.Millisecond

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), rand: rand.New(rand.NewPCG(1, 2))}
	w.store = &fakeStore{w: w, keys: map[Key]*entry{}, incarnation: 100, there: true}
	return w
}

func (w *world) after(d time.Duration, f func()) {
	w.seq++
	heap.Push(&w.queue, delivery{w.now.Add(d), w.seq, f})
}

// run lets d pass.
func (w *world) run(d time.Duration) { w.until(d, func() bool { return false }) }

// until runs until cond holds, at most for d, and reports whether it did.
func (w *world) until(d time.Duration, cond func() bool) bool {
	end := w.now.Add(d)
	still := 0
	for !cond() {
		if still++; still > 100_000 {
			w.t.Fatalf("time does not pass\n%s", w.tail())
		}
		if len(w.queue) == 0 || w.queue[0].at.After(end) {
			w.now = end
			return cond()
		}
		x := heap.Pop(&w.queue).(delivery)
		if x.at.After(w.now) {
			w.now, still = x.at, 0
		}
		x.f()
	}
	return true
}

// must runs until cond holds, and fails the test if it does not within d.
func (w *world) must(what string, d time.Duration, cond func() bool) {
	w.t.Helper()
	began := w.now
	if !w.until(d, cond) {
		w.t.Fatalf("%s did not happen within %v\n%s", what, d, w.tail())
	}
	w.t.Logf("%s after %v", what, w.now.Sub(began))
}

func (w *world) tail() string { return strings.Join(w.log[max(0, len(w.log)-60):], "\n") }

// config has the product's defaults.
func (w *world) config(identity string) Config {
	return Config{
		Prefix: "worker", MaxWorkers: 256, Identity: identity,
		Session: roster.Session{Host: "host-of-" + identity, Owns: true, TTL: 15_000, Margin: 1875},
		Hold: hold.Config{
			TTL: 15 * time.Second, Margin: 1875 * time.Millisecond, Interval: time.Second,
			DrainTimeout: 30 * time.Second, StuckAfter: time.Minute, MovesInFlight: 16,
			RestartMin: 100 * time.Millisecond, RestartMax: 10 * time.Second,
			Degraded: hold.Degraded{EnterAfter: 10 * time.Second, ExitAfter: 5 * time.Second, ErrorThreshold: 5, ErrorWindow: 30 * time.Second},
			Alerts:   hold.Alerts{Info: 30 * time.Second, Interval: time.Minute},
		},
		Lead: lead.Config{
			Strategy: even{}, Settle: 2 * time.Second, ColdStart: 30 * time.Second, Scale: 10 * time.Second,
			Cooldown: 10 * time.Second, Coalesce: 10 * time.Millisecond, MaxBatch: 1000, MaxPayload: 1 << 20,
			Roster: roster.Config{
				Heartbeat: time.Second, ProbeInterval: 500 * time.Millisecond, ProbeAgain: 100 * time.Millisecond,
				LostAfter: 6 * time.Second, EmergencyGrace: time.Second, RecoveryGrace: 15 * time.Second, TTL: 15 * time.Second,
			},
		},
		Leads: true, Heartbeat: time.Second, LeaderTTL: 12 * time.Second, ProbeInterval: 500 * time.Millisecond,
		EmergencyGrace: time.Second, Reconcile: 5 * time.Second, LostAfter: 6 * time.Second, Listing: 10 * time.Second,
		Nonce:            func() string { return fmt.Sprintf("n%d-%x", w.seq, w.rand.Uint32()) },
		Random:           w.rand.Uint64,
		FirstIncarnation: func() uint32 { return 7 },
	}
}

// even keeps what is there and evens out counts.
type even struct{}

func (even) Assign(in plan.Input) ([]int, error) {
	most := (len(in.Partitions) + len(in.Workers) - 1) / len(in.Workers)
	to, n := make([]int, len(in.Partitions)), make([]int, len(in.Workers))
	for i := range to {
		to[i] = -1
		if c := in.Current[i]; c >= 0 && n[c] < most {
			to[i] = c
			n[c]++
		}
	}
	for i := range to {
		if to[i] >= 0 {
			continue
		}
		best := 0
		for k := range n {
			if n[k] < n[best] {
				best = k
			}
		}
		to[i] = best
		n[best]++
	}
	return to, nil
}

// A box is one process: a member, its handlers and its connection.
type box struct {
	w      *world
	name   string
	m      *Machine
	rd     Ready
	wake   int
	dead   bool // killed, or ended
	cut    bool // from the store
	deaf   bool // listens, and does not answer probes
	frozen bool
	late   []Fact // told while frozen
	wedge  bool   // handlers ignore that they are to end
	fails  bool   // handlers return as soon as they run
	drain  time.Duration

	follow    []Follow
	following bool
	run       map[plan.Lease]bool
	ahead     map[string]bool // to be prepared
	events    []event.Event
	writes    int // carried out
}

func (w *world) start(cfg Config) *box {
	b := &box{w: w, name: fmt.Sprintf("p%d", len(w.boxes)), m: New(cfg, w.now), run: map[plan.Lease]bool{}, ahead: map[string]bool{}, drain: 2 * time.Millisecond}
	w.boxes = append(w.boxes, b)
	w.after(0, func() { b.step(Connected{Up: true}) })
	return b
}

// kill is SIGKILL: the connection is closed, nothing more is heard.
func (b *box) kill() { b.dead = true; clear(b.run) }

// freeze is SIGSTOP: what is told meanwhile waits until thaw.
func (b *box) freeze() { b.frozen, b.deaf = true, true }

func (b *box) thaw() {
	b.frozen, b.deaf = false, false
	late := b.late
	b.late = nil
	for _, f := range late {
		b.step(f)
	}
}

func (b *box) step(f Fact) {
	if b.frozen {
		b.late = append(b.late, f)
		return
	}
	if b.dead {
		return
	}
	b.m.Step(b.w.now, f)
	rd := b.m.Ready()
	b.rd = rd
	for _, e := range rd.Events {
		b.events = append(b.events, e)
		b.w.log = append(b.w.log, fmt.Sprintf("%8v %s %T%+v", b.w.now.Sub(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), b.name, e, e))
	}
	for _, o := range rd.Hard {
		b.end(o.Lease)
	}
	for _, o := range rd.Stop {
		b.end(o.Lease)
	}
	for _, g := range rd.Start {
		b.begin(plan.Lease{Partition: g.ID, Token: g.Token})
	}
	for _, id := range rd.Forget {
		delete(b.ahead, id)
	}
	for _, p := range rd.Prepare {
		b.ahead[p.ID] = true
	}
	for _, op := range rd.Ops {
		b.send(op)
	}
	if !slices.Equal(rd.Follow, b.follow) {
		b.follow, b.following = rd.Follow, false
		want := rd.Follow
		b.w.after(hop, func() {
			if slices.Equal(want, b.follow) && !b.cut {
				b.following = true
				b.step(Following{Kinds: want})
			}
		})
	}
	b.wake++
	if wake := b.wake; !rd.WakeAt.IsZero() && !rd.Done {
		b.w.after(max(rd.WakeAt.Sub(b.w.now), 0), func() {
			if wake == b.wake {
				b.step(Tick{})
			}
		})
	}
	if rd.Done {
		b.dead = true
	}
}

func (b *box) begin(l plan.Lease) {
	b.run[l] = true
	for _, o := range b.w.boxes {
		for x := range o.run {
			if x.Partition == l.Partition && (o != b || x != l) && !b.w.twoOwners {
				b.w.t.Fatalf("%s starts %v while %s runs %v\n%s", b.name, l, o.name, x, b.w.tail())
			}
		}
	}
	if top := b.w.store.tokens[l.Partition]; l.Token < top {
		b.w.t.Fatalf("%s starts %v after token %v", b.name, l, top)
	}
	if b.w.store.tokens == nil {
		b.w.store.tokens = map[string]plan.Version{}
	}
	b.w.store.tokens[l.Partition] = l.Token
	b.w.after(hop, func() {
		b.step(Started{Lease: l})
		if b.fails {
			delete(b.run, l)
			b.step(Exited{Lease: l, How: hold.Failed})
		}
	})
}

func (b *box) end(l plan.Lease) {
	if b.wedge {
		return
	}
	b.w.after(b.drain, func() {
		if b.run[l] && !b.dead {
			delete(b.run, l)
			b.step(Exited{Lease: l})
		}
	})
}

func (b *box) send(op Op) {
	w, sent := b.w, b.w.now
	var f fault
	if w.fault != nil {
		f = w.fault(b, op)
	}
	answer := func(a Answer) {
		a.ID, a.Sent = op.ID, sent
		w.after(hop+f.wait, func() { b.step(a) })
	}
	switch do := op.Do.(type) {
	case Partitions:
		w.after(hop, func() { answer(Answer{Partitions: slices.Clone(w.parts), Err: w.partsErr}) })
		return
	case Probe:
		b.probe(do, answer)
		return
	}
	if b.cut {
		f = fault{err: kv.ErrUnavailable}
	}
	if f.hangs {
		return
	}
	if f.err != nil && !f.stored && f.late == 0 {
		w.after(hop, func() { answer(Answer{Err: f.err}) })
		return
	}
	w.after(hop+f.late, func() {
		a := w.store.do(b, op.Do)
		if f.err != nil {
			a = Answer{Err: f.err}
		}
		if f.late == 0 {
			answer(a)
		}
	})
	if f.late > 0 {
		w.after(hop, func() { answer(Answer{Err: f.err}) })
	}
}

func (b *box) probe(p Probe, answer func(Answer)) {
	w := b.w
	w.after(hop, func() {
		if b.cut {
			answer(Answer{Err: kv.ErrUnavailable})
			return
		}
		for _, o := range w.boxes {
			if o.rd.Answering == p.Nonce && !o.dead && !o.cut {
				if o.deaf {
					w.after(p.Within, func() { answer(Answer{Err: fmt.Errorf("no answer in time")}) })
				} else {
					answer(Answer{})
				}
				return
			}
		}
		answer(Answer{Err: kv.ErrNoResponders})
	})
}

// saw returns the events of type E.
func saw[E event.Event](b *box) []E {
	var es []E
	for _, e := range b.events {
		if e, ok := e.(E); ok {
			es = append(es, e)
		}
	}
	return es
}

// A fakeStore is kv.Store's contract on typed records.
type fakeStore struct {
	w           *world
	keys        map[Key]*entry
	n           kv.Rev // writes in this incarnation
	incarnation uint32
	there       bool
	renewals    int
	tokens      map[string]plan.Version // highest token ever started, by partition

	lie    func(b *box, k Key) *entry // what an old replica answers; nil: the truth
	garble func(k Key) bool           // the record cannot be read
	omit   func(k Key) bool           // listings lack it
}

type entry struct {
	rev   kv.Rev
	gone  bool
	value any
}

func (s *fakeStore) rev(k Key) (kv.Rev, bool) {
	e := s.keys[k]
	if e == nil {
		return 0, true
	}
	return e.rev, e.gone
}

func (s *fakeStore) fits(p Put) bool {
	rev, gone := s.rev(p.Record.Key)
	return rev == p.Record.Rev || gone && p.Record.Rev == 0
}

func (s *fakeStore) put(p Put) kv.Rev {
	s.n++
	rev := kv.Floor(s.incarnation) + s.n
	e := &entry{rev: rev, gone: p.Record.Gone, value: p.Record.Value}
	if e.gone {
		e.value = nil
	}
	s.keys[p.Record.Key] = e
	s.tell(p.Record.Key, e)
	if p.TTL > 0 && !e.gone {
		s.w.after(p.TTL, func() {
			if s.keys[p.Record.Key] == e {
				s.put(Put{Record: Record{Key: p.Record.Key, Gone: true}})
			}
		})
	}
	return rev
}

func (s *fakeStore) record(k Key, e *entry) Record {
	if s.garble != nil && s.garble(k) && !e.gone {
		return Record{Key: k, Rev: e.rev, Unreadable: fmt.Errorf("a test")}
	}
	return Record{Key: k, Rev: e.rev, Gone: e.gone, Value: e.value}
}

func (s *fakeStore) tell(k Key, e *entry) {
	rec := s.record(k, e)
	for _, b := range s.w.boxes {
		if b.following && !b.cut && slices.ContainsFunc(b.follow, func(f Follow) bool { return f.Kind == k.Kind && (f.Name == "" || f.Name == k.Name) }) {
			s.w.after(hop, func() { b.step(Told{rec}) })
		}
	}
}

func (s *fakeStore) do(b *box, r Request) Answer {
	if !s.there {
		if r, ok := r.(Renew); ok {
			s.renew(r.Incarnation)
			return Answer{Incarnation: s.incarnation}
		}
		return Answer{Err: kv.ErrLost}
	}
	switch r := r.(type) {
	case Get:
		e := s.keys[r.Key]
		if s.lie != nil {
			if old := s.lie(b, r.Key); old != nil {
				e = old
			}
		}
		if e == nil {
			return Answer{Records: []Record{{Key: r.Key, Gone: true}}}
		}
		return Answer{Records: []Record{s.record(r.Key, e)}}
	case List:
		a := Answer{Rev: kv.Floor(s.incarnation) + s.n}
		for k, e := range s.keys {
			if k.Kind == r.Kind && r.Names {
				a.Records = append(a.Records, Record{Key: k})
			} else if k.Kind == r.Kind && !e.gone && (s.omit == nil || !s.omit(k)) {
				a.Records = append(a.Records, s.record(k, e))
			}
		}
		slices.SortFunc(a.Records, func(a, b Record) int { return cmp.Compare(a.Key.Name, b.Key.Name) })
		return a
	case Put:
		if !s.fits(r) {
			return Answer{Err: kv.ErrStale}
		}
		b.wrote()
		return Answer{Rev: s.put(r)}
	case Commit:
		for _, p := range r.Puts {
			if !s.fits(p) {
				return Answer{Err: kv.ErrStale}
			}
		}
		b.wrote()
		first := kv.Rev(0)
		for i, p := range r.Puts {
			if rev := s.put(p); i == 0 {
				first = rev
			}
		}
		return Answer{Rev: first}
	case Incarnation:
		return Answer{Incarnation: s.incarnation}
	case Renew:
		if r.Incarnation > s.incarnation {
			s.renew(r.Incarnation)
		}
		return Answer{Incarnation: s.incarnation}
	}
	panic(fmt.Sprintf("no such request: %T", r))
}

func (b *box) wrote() {
	b.writes++
	if b.rd.Done {
		b.w.t.Fatalf("%s writes after Done", b.name)
	}
}

func (s *fakeStore) renew(incarnation uint32) {
	s.there, s.incarnation, s.n = true, incarnation, 0
	s.keys = map[Key]*entry{}
	s.renewals++
}

// backup copies the store; restore puts it back, as an operator's restore would.
func (s *fakeStore) backup() func() {
	keys, n, inc := map[Key]*entry{}, s.n, s.incarnation
	maps.Copy(keys, s.keys)
	return func() { s.keys, s.n, s.incarnation = keys, n, inc }
}

func (s *fakeStore) session(id string) roster.Session {
	e := s.keys[Key{KindSession, id}]
	if e == nil {
		return roster.Session{}
	}
	x, _ := e.value.(roster.Session)
	return x
}

func (s *fakeStore) head() plan.Head {
	e := s.keys[Key{Kind: KindPlan}]
	if e == nil {
		return plan.Head{}
	}
	h, _ := e.value.(plan.Head)
	return h
}

func parts(n int) []plan.Partition {
	var ps []plan.Partition
	for i := range n {
		ps = append(ps, plan.Partition{ID: fmt.Sprintf("p-%03d", i)})
	}
	return ps
}

// running counts handlers in all processes.
func (w *world) running() int {
	n := 0
	for _, b := range w.boxes {
		n += len(b.run)
	}
	return n
}

func (w *world) leader() *box {
	for _, b := range w.boxes {
		if !b.dead && b.rd.Leading {
			return b
		}
	}
	return nil
}
