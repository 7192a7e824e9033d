package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// A picture is what the bucket says at one moment, decoded.
type picture struct {
	planned bool // a plan stands
	head    plan.Head

	led       bool
	leader    elect.Leader
	leaderRev kv.Rev

	sessions map[string]roster.Session // by worker ID
	revs     map[string]kv.Rev         // of the sessions
	slices   map[string]plan.Slice     // by worker ID
	aside    []plan.Aside
	controls []plan.Control // sorted by key

	unreadable []Unreadable
}

// Unreadable is a record that cannot be read: unknown, and not empty.
type Unreadable struct {
	Key string `json:"key"`
	Err string `json:"err"`
}

// tries is how often a picture is taken again when the plan has changed meanwhile.
const tries = 4

// read takes a picture. Slices are those of the head's plan or of a later one that was
// under way: the head is read before and after, and if it has changed, all is read
// again; a group whose plan changes all the time is shown as it was found at last.
func (g *Group) read(ctx context.Context) (*picture, error) {
	var p *picture
	for range tries {
		p = newPicture()
		before, err := g.readAll(ctx, p)
		if err != nil {
			return nil, lost(err)
		}
		after, err := g.store.Get(ctx, wire.Key{Kind: wire.Plan}.String())
		if err != nil && !errors.Is(err, kv.ErrMissing) {
			return nil, lost(err)
		}
		if after.Rev == before {
			break
		}
	}
	return p, nil
}

// lost says it in our words that there is no bucket.
func lost(err error) error {
	if errors.Is(err, kv.ErrLost) {
		return fmt.Errorf("%w: %w", ErrNoGroup, err)
	}
	return err
}

// readAll reads the head, and then all the rest at the same time.
func (g *Group) readAll(ctx context.Context, p *picture) (head kv.Rev, err error) {
	e, found, err := g.get(ctx, wire.Key{Kind: wire.Plan})
	if err != nil {
		return 0, err
	}
	head = e.Rev
	p.planned = found && take(p, e, &p.head)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	var first sync.Once
	and := func(read func() error) {
		wait.Go(func() {
			if failed := read(); failed != nil {
				first.Do(func() { err = failed })
				cancel()
			}
		})
	}
	var leader, aside kv.Entry
	var led, some bool
	and(func() (err error) { leader, led, err = g.get(ctx, wire.Key{Kind: wire.Leader}); return err })
	and(func() (err error) { aside, some, err = g.get(ctx, wire.Key{Kind: wire.Aside}); return err })
	kinds := [...]wire.Kind{wire.Slice, wire.Session, wire.Control}
	var lists [len(kinds)][]kv.Entry
	for i, kind := range kinds {
		and(func() (err error) { lists[i], _, err = g.store.List(ctx, kind.Prefix()); return err })
	}
	wait.Wait()
	if err != nil {
		return 0, err
	}
	p.led, p.leaderRev = led && take(p, leader, &p.leader), leader.Rev
	if some {
		take(p, aside, &p.aside)
	}
	for i, kind := range kinds {
		for _, part := range decoded(kind, lists[i]) {
			p.add(part)
		}
	}
	return head, nil
}

// get reads a key that may not be there.
func (g *Group) get(ctx context.Context, key wire.Key) (e kv.Entry, found bool, err error) {
	e, err = g.store.Get(ctx, key.String())
	if errors.Is(err, kv.ErrMissing) {
		return e, false, nil
	}
	return e, err == nil, err
}

func newPicture() *picture {
	return &picture{sessions: map[string]roster.Session{}, revs: map[string]kv.Rev{}, slices: map[string]plan.Slice{}}
}

// decoded reads the entries of a kind on all cores, since a hundred thousand partitions are
// much to read, and returns parts of the picture in the order of the entries.
func decoded(kind wire.Kind, entries []kv.Entry) []*picture {
	const least = 16 // entries that are worth a goroutine
	n := min(runtime.GOMAXPROCS(0), (len(entries)+least-1)/least)
	parts := make([]*picture, n)
	var wait sync.WaitGroup
	for i := range parts {
		parts[i] = newPicture()
		wait.Go(func() {
			for _, e := range entries[i*len(entries)/n : (i+1)*len(entries)/n] {
				parts[i].take(kind, e)
			}
		})
	}
	wait.Wait()
	return parts
}

// add takes a part of the picture in.
func (p *picture) add(part *picture) {
	maps.Copy(p.sessions, part.sessions)
	maps.Copy(p.revs, part.revs)
	maps.Copy(p.slices, part.slices)
	p.controls = append(p.controls, part.controls...)
	p.unreadable = append(p.unreadable, part.unreadable...)
}

func (p *picture) take(kind wire.Kind, e kv.Entry) {
	key, err := wire.ParseKey(e.Key)
	if err != nil {
		p.unreadable = append(p.unreadable, Unreadable{e.Key, err.Error()})
		return
	}
	switch kind {
	case wire.Slice:
		if s := (plan.Slice{}); take(p, e, &s) {
			p.slices[key.Name] = s
		}
	case wire.Session:
		if s := (roster.Session{}); take(p, e, &s) {
			p.sessions[key.Name], p.revs[key.Name] = s, e.Rev
		}
	case wire.Control:
		if c := (plan.Control{}); take(p, e, &c) {
			p.controls = append(p.controls, c)
		}
	case wire.Leader, wire.Plan, wire.Aside, wire.Log, wire.Chain:
	}
}

// take decodes a record, or notes that it cannot be.
func take[T any](p *picture, e kv.Entry, into *T) bool {
	var v T
	if err := wire.Decode(e.Key, e.Value, &v); err != nil {
		p.unreadable = append(p.unreadable, Unreadable{e.Key, err.Error()})
		return false
	}
	*into = v
	return true
}

// ended says whether a session is provably over, by its own record.
func ended(s roster.Session) bool { return s.Left || s.Tombstone != nil }

// workerIDs are those that are there or still have something in the plan, sorted.
func (p *picture) workerIDs() []string {
	var ids []string
	for id, s := range p.sessions {
		if !ended(s) {
			ids = append(ids, id)
		}
	}
	for id, s := range p.slices {
		if len(s.Granted)+len(s.Releasing) > 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, natural)
	return slices.Compact(ids)
}

// partitionIDs are those that the plan names, sorted.
func (p *picture) partitionIDs() []string {
	var ids []string
	for _, s := range p.slices {
		for _, x := range s.Granted {
			ids = append(ids, x.ID)
		}
		for _, x := range s.Releasing {
			ids = append(ids, x.ID)
		}
	}
	for _, a := range p.aside {
		ids = append(ids, a.Partition)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// natural orders worker-2 before worker-10.
func natural(a, b string) int {
	x, y := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	if x != y {
		return strings.Compare(x, y)
	}
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
