package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// A Query says which decisions are wanted.
type Query struct {
	// Last is how many at most; 0: all that are kept, which is seven days of them.
	Last int
	// Since leaves out what is older; zero: nothing.
	Since time.Time
	// Partition and Worker leave out what did not move that partition, or nothing from or
	// to that worker; empty: nothing. A decision of very many moves names only the first
	// of them, and is left out where it does not name this one.
	Partition, Worker string
	// Among is how many of the newest plans are looked through, at most; 0: all.
	Among int
}

// Decisions are some of them as a document, in JSON.
type Decisions struct {
	Schema    int             `json:"schema"`
	Decisions []plan.Decision `json:"decisions"` // newest first; never null
}

// gap is how many versions in a row may be without a decision before the log is taken to
// end there: plans that move nothing have none.
const gap = 256

// History reads decisions, newest first. An error ends it.
//
// Versions are numbers, so it walks down from the newest plan and reads one after the
// other, some at a time; before the first of an incarnation of the store there is nothing.
func (g *Group) History(ctx context.Context, q Query) iter.Seq2[plan.Decision, error] {
	return func(yield func(plan.Decision, error) bool) {
		e, found, err := g.get(ctx, wire.Key{Kind: wire.Plan})
		if err != nil {
			yield(plan.Decision{}, lost(err))
			return
		}
		if !found {
			return
		}
		var head plan.Head
		if err := wire.Decode(e.Key, e.Value, &head); err != nil {
			yield(plan.Decision{}, err)
			return
		}
		n, missing, looked := 0, 0, 0
		for at := head.Version; at.Number() > 0 && missing < gap && (q.Among == 0 || looked < q.Among); {
			most := abreast
			if q.Among > 0 {
				most = min(most, q.Among-looked)
			}
			if left := q.Last - n; q.Last > 0 && q.Partition == "" && q.Worker == "" {
				most = min(2*min(left, most), most) // some plans move nothing, and have none
			}
			ds, err := g.decisions(ctx, at, most)
			looked += most
			if err != nil {
				yield(plan.Decision{}, err)
				return
			}
			for _, d := range ds {
				switch {
				case d == nil:
					missing++
					continue
				case d.At.Before(q.Since): // leaders' clocks differ: older ones may stand between
					missing++
					continue
				}
				missing = 0
				if !q.wants(d) {
					continue
				}
				if !yield(*d, nil) {
					return
				}
				if n++; n == q.Last {
					return
				}
			}
			if int(at.Number()) <= most {
				return
			}
			at -= plan.Version(most)
		}
	}
}

func (q Query) wants(d *plan.Decision) bool {
	if q.Partition == "" && q.Worker == "" {
		return true
	}
	for _, m := range d.Moves {
		if (q.Partition == "" || m.Partition == q.Partition) && (q.Worker == "" || m.From == q.Worker || m.To == q.Worker) {
			return true
		}
	}
	return false
}

// Decision reads the account of one plan. A [NotFoundError] when there is none: a plan that
// moved nothing has none, and each is kept for seven days.
func (g *Group) Decision(ctx context.Context, v plan.Version) (plan.Decision, error) {
	d, err := g.decision(ctx, v)
	if err != nil {
		return plan.Decision{}, err
	}
	if d == nil {
		return plan.Decision{}, &NotFoundError{What: "decision", Name: v.String()}
	}
	return *d, nil
}

// decisions reads up to n decisions from a version downwards; nil where there is none.
func (g *Group) decisions(ctx context.Context, from plan.Version, n int) ([]*plan.Decision, error) {
	n = min(n, int(from.Number()))
	all, errs := make([]*plan.Decision, n), make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { all[i], errs[i] = g.decision(ctx, from-plan.Version(i)) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// decision reads the decision behind a plan; nil where there is none any more, or never was.
func (g *Group) decision(ctx context.Context, v plan.Version) (*plan.Decision, error) {
	e, found, err := g.get(ctx, wire.LogKey(v))
	if err != nil || !found {
		return nil, lost(err)
	}
	d := new(plan.Decision)
	if err := wire.Decode(e.Key, e.Value, d); err != nil {
		if newer := (*wire.SchemaError)(nil); errors.As(err, &newer) {
			return nil, err
		}
		return nil, nil //nolint:nilnil // what cannot be read tells nothing
	}
	return d, nil
}

// What an event is about.
const (
	WorkerJoined  = "worker-joined"
	WorkerLeaving = "worker-leaving"
	WorkerLeft    = "worker-left"
	WorkerLost    = "worker-lost"
	WorkerBack    = "worker-back" // its key was gone, and is there again
	LeaderChanged = "leader"
	Planned       = "plan"
	PhaseChanged  = "phase"
	ControlSet    = "control"
	ControlEnded  = "control-ended"
	SetAside      = "aside"
	LetIn         = "let-in"
	Missed        = "missed" // changes may have been missed here
)

// An Event is something that happened in a group, as its bucket tells it.
type Event struct {
	At        time.Time      `json:"at"` // when it was told, on this machine's clock
	Kind      string         `json:"kind"`
	Text      string         `json:"text"` // a sentence
	Worker    string         `json:"worker,omitempty"`
	Partition string         `json:"partition,omitempty"`
	Decision  *plan.Decision `json:"decision,omitempty"` // of a plan
	Control   *plan.Control  `json:"control,omitempty"`
}

// Events calls f with what happens from now on, in the order in which it is told, by the
// caller's goroutine; f must not take long. It calls began, unless nil, once nothing is
// missed any more. It goes on over interruptions, after which an event says that some may
// be missing, and returns ctx's cause when ctx ends, or the error for which it cannot begin.
func (g *Group) Events(ctx context.Context, began func(), f func(Event)) error {
	p, err := g.read(ctx)
	if err != nil {
		return err
	}
	t := newTeller(p, g.now, f)
	prefixes := []string{
		wire.Session.Prefix(), wire.Leader.Prefix(), wire.Plan.Prefix(), wire.Aside.Prefix(), wire.Log.Prefix(), wire.Control.Prefix(),
	}
	followed := false
	for {
		ready := func() {
			switch {
			case followed:
				t.say(Event{Kind: Missed, Text: "the connection was interrupted: events may be missing here"})
			case began != nil:
				began()
			}
			followed = true
		}
		err := g.store.Follow(ctx, prefixes, ready, t.told)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if denied := (*kv.DeniedError)(nil); errors.As(err, &denied) {
			return err
		}
		if !pause(ctx, watchLeast, nil) {
			return context.Cause(ctx)
		}
	}
}

// A teller makes events of changes.
type teller struct {
	p    *picture
	revs map[string]kv.Rev
	now  func() time.Time
	f    func(Event)
}

func newTeller(p *picture, now func() time.Time, f func(Event)) *teller {
	t := &teller{p: p, revs: map[string]kv.Rev{}, now: now, f: f}
	for id, rev := range p.revs {
		t.revs[wire.Key{Kind: wire.Session, Name: id}.String()] = rev
	}
	return t
}

func (t *teller) say(e Event) {
	e.At = t.now().UTC()
	t.f(e)
}

// told takes one change.
func (t *teller) told(e kv.Entry) {
	if e.Rev <= t.revs[e.Key] {
		return
	}
	key, err := wire.ParseKey(e.Key)
	if err != nil {
		return
	}
	if key.Kind != wire.Log { // each is written once
		t.revs[e.Key] = e.Rev
	}
	t.p.unreadable = nil // who wants to know looks
	switch key.Kind {
	case wire.Session:
		t.session(key.Name, e)
	case wire.Leader:
		t.leader(e)
	case wire.Plan:
		t.head(e)
	case wire.Aside:
		t.aside(e)
	case wire.Control:
		t.control(key.Name, e)
	case wire.Log:
		if d := new(plan.Decision); !e.Gone && wire.Decode(e.Key, e.Value, d) == nil {
			t.say(Event{Kind: Planned, Text: DescribeDecision(*d), Decision: d})
		}
	case wire.Slice, wire.Chain:
	}
}

func (t *teller) leader(e kv.Entry) {
	before := t.p.leader
	t.p.led = !e.Gone && take(t.p, e, &t.p.leader)
	switch {
	case !t.p.led && e.Gone:
		t.p.leader.Nonce = ""
		t.say(Event{Kind: LeaderChanged, Worker: before.Worker, Text: "nobody leads any more; it was " + before.Worker})
	case t.p.led && before.Nonce != t.p.leader.Nonce:
		t.say(Event{Kind: LeaderChanged, Worker: t.p.leader.Worker, Text: t.p.leader.Worker + " leads"})
	}
}

func (t *teller) head(e kv.Entry) {
	before := t.p.head
	if e.Gone || !take(t.p, e, &t.p.head) || before.Phase == t.p.head.Phase {
		return
	}
	t.say(Event{Kind: PhaseChanged, Text: fmt.Sprintf("the group is %v; it was %v", t.p.head.Phase, before.Phase)})
}
