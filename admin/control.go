package admin

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/parti-go/parti/internal/elect"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// An Order is what goes with everything that an operator wants.
type Order struct {
	// Who wants it; empty: who the group was opened as, see [WithWho].
	Who string
	// Why is for people, and stays with it. Like Who it is one line of at most 500 bytes,
	// since it stands in one of a screen: a [RefusedError] otherwise.
	Why string
	// For is when it ends by itself, from now on; 0: it stands until it is taken back. The
	// end is this machine's time, and the leader compares its own clock with it.
	// Kinds that are done once do not end.
	For time.Duration
}

// A Change is what became of an order.
type Change struct {
	Control plan.Control `json:"control"`
	// Already says that it stood, until the same time: nothing was written, whoever had wanted
	// it, and why. Before is what stood and was replaced, or taken back.
	Already bool          `json:"already,omitempty"`
	Before  *plan.Control `json:"before,omitempty"`
}

// forgetAfter is how long a control is kept after it has ended.
const forgetAfter = time.Hour

// oneTimeTTL is how long a request that is done once is kept, for whoever leads by then
// and for people.
const oneTimeTTL = 10 * time.Minute

// Cordon gives a worker nothing new. It keeps what it has.
func (g *Group) Cordon(ctx context.Context, worker string, o Order) (Change, error) {
	return g.want(ctx, plan.Control{Kind: plan.Cordon, Worker: worker}, o)
}

// Uncordon takes Cordon back.
func (g *Group) Uncordon(ctx context.Context, worker string) (Change, error) {
	return g.takeBack(ctx, plan.Control{Kind: plan.Cordon, Worker: worker})
}

// Drain empties a worker and gives it nothing new. See [Group.AwaitDrained].
func (g *Group) Drain(ctx context.Context, worker string, o Order) (Change, error) {
	return g.want(ctx, plan.Control{Kind: plan.Drain, Worker: worker}, o)
}

// Undrain takes Drain back: the worker gets its part again.
func (g *Group) Undrain(ctx context.Context, worker string) (Change, error) {
	return g.takeBack(ctx, plan.Control{Kind: plan.Drain, Worker: worker})
}

// Pin keeps a partition on one worker, and moves it there. While the worker is not there
// the partition runs elsewhere, and that is an alert. A pin to another worker is replaced.
func (g *Group) Pin(ctx context.Context, partition, worker string, o Order) (Change, error) {
	return g.want(ctx, plan.Control{Kind: plan.Pin, Partition: partition, Worker: worker}, o)
}

// Unpin takes Pin back.
func (g *Group) Unpin(ctx context.Context, partition string) (Change, error) {
	return g.takeBack(ctx, plan.Control{Kind: plan.Pin, Partition: partition})
}

// Ban keeps a partition away from one worker, and moves it away at once. Where nobody
// else can take it, it stays; but once it has lost its owner, it waits for another.
func (g *Group) Ban(ctx context.Context, partition, worker string, o Order) (Change, error) {
	return g.want(ctx, plan.Control{Kind: plan.Ban, Partition: partition, Worker: worker}, o)
}

// Unban takes Ban back.
func (g *Group) Unban(ctx context.Context, partition, worker string) (Change, error) {
	return g.takeBack(ctx, plan.Control{Kind: plan.Ban, Partition: partition, Worker: worker})
}

// Pause stops voluntary moves of the whole group. What loses its owner is placed as ever.
func (g *Group) Pause(ctx context.Context, o Order) (Change, error) {
	return g.want(ctx, plan.Control{Kind: plan.Pause}, o)
}

// Resume takes Pause back.
func (g *Group) Resume(ctx context.Context) (Change, error) {
	return g.takeBack(ctx, plan.Control{Kind: plan.Pause})
}

// Move moves a partition to a worker, once and at once. It is no pin: the next plan may
// move it again. A worker that takes nothing new, or has no room, is refused by a
// [RefusedError].
func (g *Group) Move(ctx context.Context, partition, worker string, o Order) (Change, error) {
	return g.want(ctx, plan.Control{Kind: plan.MoveTo, Partition: partition, Worker: worker}, o)
}

// Rebalance evens the load out now, without waiting for a window or the cool-down.
func (g *Group) Rebalance(ctx context.Context, o Order) (Change, error) {
	return g.want(ctx, plan.Control{Kind: plan.Rebalance}, o)
}

// Refresh has the partition source listed again.
func (g *Group) Refresh(ctx context.Context, o Order) (Change, error) {
	return g.want(ctx, plan.Control{Kind: plan.Refresh}, o)
}

// Lift ends the quarantine of a partition.
func (g *Group) Lift(ctx context.Context, partition string, o Order) (Change, error) {
	return g.want(ctx, plan.Control{Kind: plan.Lift, Partition: partition}, o)
}

// StepDown has the leader give up its term, so that another leads; nothing moves. A
// leader that is stuck need not obey: its key is removed, on condition that it still is
// its own. A [RefusedError] when nobody leads.
func (g *Group) StepDown(ctx context.Context, o Order) (Change, error) {
	key := wire.Key{Kind: wire.Leader}
	e, led, err := g.get(ctx, key)
	if err != nil {
		return Change{}, lost(err)
	}
	if !led {
		return Change{}, &RefusedError{What: "step down", Why: "nobody leads", Try: "wait a few seconds: one of the workers will"}
	}
	var leader elect.Leader
	if err := wire.Decode(e.Key, e.Value, &leader); err != nil {
		return Change{}, err
	}
	c, err := g.want(ctx, plan.Control{Kind: plan.StepDown, Worker: leader.Worker, Session: leader.Nonce}, o)
	if err != nil {
		return c, err
	}
	_, err = g.store.Write(ctx, kv.Write{Key: key.String(), Last: e.Rev, Remove: true})
	switch {
	case errors.Is(err, kv.ErrStale), errors.Is(err, kv.ErrUnknown): // renewed meanwhile: who renews also obeys
		err = g.removeLeader(ctx, e)
	}
	return c, err
}

// removeLeader removes the key of that leader as long as it renews it, but for another's.
func (g *Group) removeLeader(ctx context.Context, former kv.Entry) error {
	key := wire.Key{Kind: wire.Leader}
	for range tries {
		e, led, err := g.get(ctx, key)
		if err != nil || !led || !bytes.Equal(e.Value, former.Value) {
			return err
		}
		_, err = g.store.Write(ctx, kv.Write{Key: key.String(), Last: e.Rev, Remove: true})
		if !errors.Is(err, kv.ErrStale) {
			return err
		}
	}
	return nil // it renews, so it is not stuck, and obeys
}

// keyOf is where a control is kept: one for each thing that can be wanted once.
func keyOf(c plan.Control) wire.Key {
	name := string(c.Kind)
	switch c.Kind {
	case plan.Cordon, plan.Drain, plan.ForceRelease:
		name += "." + c.Worker
	case plan.Pin, plan.Lift, plan.MoveTo:
		name += "." + c.Partition
	case plan.Ban:
		name += "." + c.Partition + "/" + c.Worker
	case plan.Pause, plan.Refresh, plan.Rebalance, plan.StepDown:
	}
	return wire.Key{Kind: wire.Control, Name: name}
}

// concerns says what a control of that kind is about, and so must name.
func concerns(k plan.ControlKind) (worker, partition bool) {
	switch k {
	case plan.Cordon, plan.Drain:
		return true, false
	case plan.Pin, plan.Ban, plan.MoveTo, plan.ForceRelease:
		return true, true
	case plan.Lift:
		return false, true
	case plan.Pause, plan.Refresh, plan.Rebalance, plan.StepDown: // whoever leads is found, not named
	}
	return false, false
}

func oneTime(k plan.ControlKind) bool {
	return slices.Contains([]plan.ControlKind{plan.Refresh, plan.Rebalance, plan.StepDown, plan.Lift, plan.MoveTo, plan.ForceRelease}, k)
}

// want writes a control, after it was seen that there is what it is about.
func (g *Group) want(ctx context.Context, c plan.Control, o Order) (Change, error) {
	now := g.now().UTC().Truncate(time.Millisecond)
	c.Who, c.When, c.Why = cmp.Or(o.Who, g.who), now, strings.TrimSpace(o.Why)
	if o.For < 0 {
		return Change{}, &RefusedError{What: describe(c), Why: fmt.Sprintf("it would have ended %v ago", -o.For), Try: "a time above 0, or none"}
	}
	if o.For > 0 && !oneTime(c.Kind) {
		c.Until = now.Add(o.For)
	}
	if err := presentable(c, "its reason", c.Why); err != nil {
		return Change{}, err
	}
	if err := presentable(c, "the name of who wants it", c.Who); err != nil {
		return Change{}, err
	}
	if err := g.sensible(ctx, c); err != nil {
		return Change{}, err
	}
	if oneTime(c.Kind) {
		c.Number = cmp.Or(c.Number, rand.Text())
	}
	return g.put(ctx, c)
}

// maxText is how many bytes of free text stay with an order.
const maxText = 500

// presentable checks that free text can be shown to everybody who looks.
func presentable(c plan.Control, what, text string) error {
	if n := len(text); n > maxText {
		return &RefusedError{What: describe(c), Why: fmt.Sprintf("%s has %d bytes", what, n), Try: fmt.Sprintf("at most %d bytes", maxText)}
	}
	if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
		return &RefusedError{What: describe(c), Why: fmt.Sprintf("%s has a control character: %q", what, text), Try: "one line of plain text"}
	}
	return nil
}

// sensible checks that there is what a control is about, and that it can be done.
func (g *Group) sensible(ctx context.Context, c plan.Control) error {
	p, err := g.read(ctx)
	if err != nil {
		return err
	}
	// By kind, since an empty name is one that nobody has: a variable that was not set.
	ofOne, ofPart := concerns(c.Kind)
	if ids := p.workerIDs(); ofOne && !slices.Contains(ids, c.Worker) {
		return notFound("worker", c.Worker, ids)
	}
	if known := p.partitionIDs(); ofPart && !slices.Contains(known, c.Partition) {
		unowned := p.head.Unassigned > 0 && c.Partition != "" && slices.Contains([]plan.ControlKind{plan.Pin, plan.Ban, plan.MoveTo}, c.Kind)
		if !unowned { // such a one is in no record
			return notFound("partition", c.Partition, known)
		}
	}
	refuse := func(why, try string) error { return &RefusedError{What: describe(c), Why: why, Try: try} }
	now := g.now()
	stands := func(kind plan.ControlKind, other func(plan.Control) bool) (plan.Control, bool) {
		for _, x := range p.controls {
			if x.Kind == kind && !expired(x, now) && other(x) {
				return x, true
			}
		}
		return plan.Control{}, false
	}
	ofWorker := func(x plan.Control) bool { return x.Worker == c.Worker }
	ofPartition := func(x plan.Control) bool { return x.Partition == c.Partition }
	both := func(x plan.Control) bool { return ofWorker(x) && ofPartition(x) }
	switch c.Kind {
	case plan.Pin:
		if x, ok := stands(plan.Ban, both); ok {
			return refuse("it is banned from there by "+someone(x.Who), "take the ban back first")
		}
	case plan.Ban:
		if x, ok := stands(plan.Pin, both); ok {
			return refuse("it is pinned there by "+someone(x.Who), "take the pin back first")
		}
	case plan.Lift:
		if !slices.ContainsFunc(p.aside, func(a plan.Aside) bool { return a.Partition == c.Partition && a.Why == plan.WhyQuarantine }) {
			return refuse("it is not quarantined", "")
		}
	case plan.MoveTo:
		if s, there := p.sessions[c.Worker]; !there || ended(s) || s.Leaving || !s.Owns {
			return refuse(c.Worker+" takes no partitions", "another worker")
		}
		if x, ok := stands(plan.Cordon, ofWorker); ok {
			return refuse(c.Worker+" is cordoned by "+someone(x.Who), "uncordon it first")
		}
		if x, ok := stands(plan.Drain, ofWorker); ok {
			return refuse(c.Worker+" is drained by "+someone(x.Who), "undrain it first")
		}
		if x, ok := stands(plan.Pin, ofPartition); ok && x.Worker != c.Worker {
			return refuse("it is pinned to "+x.Worker+" by "+someone(x.Who), "unpin it first, or pin it to "+c.Worker)
		}
		if x, ok := stands(plan.Ban, both); ok {
			return refuse("it is banned from there by "+someone(x.Who), "take the ban back first")
		}
		return p.hasRoom(c)
	case plan.Cordon, plan.Drain, plan.Pause, plan.Refresh, plan.Rebalance, plan.StepDown, plan.ForceRelease:
	}
	return nil
}

// hasRoom refuses a move to a worker that has no room.
func (p *picture) hasRoom(c plan.Control) error {
	most := p.sessions[c.Worker].Capacity
	if most == 0 {
		return nil
	}
	var load, more int64
	for id, s := range p.slices {
		for _, x := range s.Granted {
			if id == c.Worker && x.ID != c.Partition {
				load += x.Load()
			}
			if x.ID == c.Partition {
				more = x.Load()
			}
		}
	}
	if load+more > most {
		return &RefusedError{
			What: describe(c), Why: fmt.Sprintf("%s has a capacity of %d and runs %d already; the partition weighs %d", c.Worker, most, load, more),
			Try: "another worker, or raise its capacity",
		}
	}
	return nil
}

// put writes a control on condition of what stands.
func (g *Group) put(ctx context.Context, c plan.Control) (Change, error) {
	key := keyOf(c)
	before, rev, err := g.standing(ctx, key)
	if err != nil {
		return Change{}, err
	}
	if before != nil && before.Kind == c.Kind && !oneTime(c.Kind) && !expired(*before, g.now()) && before.Worker == c.Worker && before.Until.Equal(c.Until) {
		return Change{Control: *before, Already: true}, nil
	}
	value, err := wire.Encode(c)
	if err != nil {
		return Change{}, err
	}
	w := kv.Write{Key: key.String(), Value: value, Last: rev}
	switch {
	case oneTime(c.Kind):
		w.TTL = oneTimeTTL
	case !c.Until.IsZero(): // cleared away some time after it has ended, whatever the clocks say
		w.TTL = (max(c.Until.Sub(g.now()), 0) + forgetAfter).Truncate(time.Second)
	}
	_, err = g.store.Write(ctx, w)
	if err := g.decided(ctx, key, &c, err); err != nil {
		return Change{}, err
	}
	return Change{Control: c, Before: before}, nil
}

// takeBack removes a control on condition that it stands as it was read.
func (g *Group) takeBack(ctx context.Context, c plan.Control) (Change, error) {
	key := keyOf(c)
	before, rev, err := g.standing(ctx, key)
	if err != nil {
		return Change{}, err
	}
	if before == nil {
		return Change{}, g.nothingStands(ctx, c)
	}
	_, err = g.store.Write(ctx, kv.Write{Key: key.String(), Last: rev, Remove: true})
	if err := g.decided(ctx, key, nil, err); err != nil {
		return Change{}, err
	}
	return Change{Before: before}, nil
}

// nothingStands says that there is no such control, and what there is.
func (g *Group) nothingStands(ctx context.Context, c plan.Control) error {
	p, err := g.read(ctx)
	if err != nil {
		return err
	}
	var about []string
	name := func(c plan.Control) string { return strings.TrimSpace(c.Partition + " " + c.Worker) }
	if c.Kind == plan.Pin {
		name = func(c plan.Control) string { return c.Partition }
	}
	for _, x := range p.controls {
		if x.Kind == c.Kind {
			about = append(about, name(x))
		}
	}
	return notFound(string(c.Kind)+" of", name(c), about)
}

// Standing reads what stands in the place of c now, as [Snapshot.Standing] says what stood;
// nil: nothing.
func (g *Group) Standing(ctx context.Context, c plan.Control) (*plan.Control, error) {
	old, _, err := g.standing(ctx, keyOf(c))
	if err != nil || old == nil || old.Kind == "" || old.Number != "" || expired(*old, g.now()) {
		return nil, err
	}
	return old, nil
}

// standing reads a control; nil where there is none. A control that cannot be read is in
// nobody's words, and is replaced; one of a newer release is an error.
func (g *Group) standing(ctx context.Context, key wire.Key) (*plan.Control, kv.Rev, error) {
	e, found, err := g.get(ctx, key)
	if err != nil {
		return nil, 0, lost(err)
	}
	if !found {
		return nil, e.Rev, nil
	}
	var c plan.Control
	if err := wire.Decode(e.Key, e.Value, &c); err != nil {
		if newer := (*wire.SchemaError)(nil); errors.As(err, &newer) {
			return nil, 0, err
		}
		return &plan.Control{}, e.Rev, nil // that it is unreadable is shown by Snapshot
	}
	return &c, e.Rev, nil
}

// decided says whether the write of c (nil: its removal) has come about, and who was
// faster if it has not.
func (g *Group) decided(ctx context.Context, key wire.Key, c *plan.Control, err error) error {
	stale := errors.Is(err, kv.ErrStale)
	if err == nil || !stale && !errors.Is(err, kv.ErrUnknown) {
		return lost(err)
	}
	now, _, readErr := g.standing(ctx, key)
	switch {
	case readErr != nil:
		return errors.Join(err, readErr)
	case now == nil && c == nil, now != nil && c != nil && same(*now, *c):
		return nil // ours, whose answer was lost
	case !stale:
		return err // ours may come yet
	case now == nil:
		return &ConflictError{}
	}
	return &ConflictError{Theirs: *now}
}

// same compares what was written with what is read.
func same(a, b plan.Control) bool {
	return a.Who == b.Who && a.When.Equal(b.When) && a.Number == b.Number && a.Worker == b.Worker && a.Partition == b.Partition
}
