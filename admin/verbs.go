package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parti-go/parti/plan"
)

// A Verb is something that can be done to a group, with the words for it: what a command
// line, a console or a chat bot offers. Verbs are values of this package; see [Verbs].
type Verb struct {
	// Name is what it is called, such as "drain".
	Name string
	// Takes is what it is done to, in the order in which it is named: "partition", "worker".
	Takes []string
	// Short is a sentence without its full stop, Long says more, or is empty.
	Short, Long string
	// Ends says that what it wants can end by itself: [Order.For].
	Ends bool
	// TakesBack says that it takes another one's wish back; there is no [Order] to it.
	TakesBack bool
	// Harms says that it ends a process: nobody should do it without being asked twice.
	Harms bool
	// Slow says that Do itself waits until it has come about.
	Slow bool

	about func(names []string) plan.Control
	names []func(Snapshot) []string
	will  func(now Snapshot, c plan.Control) string
	do    func(ctx context.Context, g *Group, c plan.Control, o Order) (Change, error)
	done  func(c plan.Control) string
	wait  func(ctx context.Context, g *Group, c plan.Control, say func(string)) error
}

// Verbs are all that can be done to a group: to workers, to partitions, to all of it.
func Verbs() []Verb { return slices.Concat(workerVerbs(), partitionVerbs(), groupVerbs()) }

// About is the wish itself, of as many names as it takes: what is written, or taken back.
// It panics when there are fewer.
func (v Verb) About(names ...string) plan.Control { return v.about(names) }

// Names are those that each of what it takes can have, as things stand.
func (v Verb) Names(now Snapshot) [][]string {
	all := make([][]string, len(v.names))
	for i, names := range v.names {
		all[i] = names(now)
	}
	return all
}

// Will is what it would do, as a sentence that begins with a small letter: it follows on a name.
func (v Verb) Will(now Snapshot, c plan.Control) string { return v.will(now, c) }

// Do does it.
func (v Verb) Do(ctx context.Context, g *Group, c plan.Control, o Order) (Change, error) {
	return v.do(ctx, g, c, o)
}

// Done says what Do has done, and what was there before.
func (v Verb) Done(c Change, now time.Time) string {
	text := v.done(c.about())
	switch {
	case c.Already:
		return "It stands already: " + DescribeControl(c.about(), now)
	case c.Before != nil && v.TakesBack:
		return text + " It was: " + DescribeControl(*c.Before, now)
	case c.Before != nil && c.Before.Kind != "" && c.Control.Number == "":
		return text + " It replaces: " + DescribeControl(*c.Before, now)
	default:
		return text
	}
}

// about is what a change was about: what was written, or what was taken back.
func (c Change) about() plan.Control {
	if c.Control.Kind == "" && c.Before != nil {
		return *c.Before
	}
	return c.Control
}

// Waits reports whether there is something to wait for after Do.
func (v Verb) Waits() bool { return v.wait != nil }

// Await waits until what Do has done has come about, and says meanwhile, unless say is nil, what is left.
func (v Verb) Await(ctx context.Context, g *Group, c Change, say func(string)) error {
	switch {
	case v.wait == nil:
		return nil
	case say == nil:
		say = func(string) {}
	}
	return v.wait(ctx, g, c.about(), say)
}

// Exists returns a [NotFoundError] for the name in c that there is not; an empty one is such
// a name where the kind needs one. What an order names that stands can always be taken back.
// Where the leader does not name all partitions without an owner, a partition is left to be
// judged by the group.
func (s *Snapshot) Exists(c plan.Control) error {
	named := func(name func(plan.Control) string) bool {
		return slices.ContainsFunc(s.Controls, func(o plan.Control) bool {
			return name(o) == name(c) && (name(c) != "" || o.Kind == c.Kind) // others name none since they need none
		})
	}
	ofOne, ofPart := concerns(c.Kind)
	if c.Kind == plan.Pin || c.Kind == plan.ForceRelease {
		ofOne = false // taken back by its partition alone; and whose process it is, is found out
	}
	if c.Worker != "" || ofOne {
		if _, err := s.Worker(c.Worker); err != nil && !named(func(o plan.Control) string { return o.Worker }) {
			return err
		}
	}
	if c.Partition != "" && s.Unnamed() == 0 || c.Partition == "" && ofPart {
		if _, err := s.Partition(c.Partition); err != nil && !named(func(o plan.Control) string { return o.Partition }) {
			return err
		}
	}
	return nil
}

// Unnamed is how many partitions the snapshot counts and does not name.
func (s *Snapshot) Unnamed() int { return max(s.Counts.Partitions-len(s.Partitions), 0) }

// Standing is what stands in the place of c, which it would replace or take back; nil: nothing.
func (s *Snapshot) Standing(c plan.Control) *plan.Control {
	for _, old := range s.Controls {
		same := old.Kind == c.Kind && old.Partition == c.Partition
		if c.Kind != plan.Pin {
			same = same && old.Worker == c.Worker
		}
		if same && old.Number == "" {
			return &old
		}
	}
	return nil
}

// Aim is the worker that an order strikes and does not name, as things stand: who leads, of a
// step-down; who has the partition, of a release. Empty: nobody, or it is of another kind.
func (s *Snapshot) Aim(c plan.Control) string {
	switch {
	case c.Kind == plan.StepDown && s.Leader != nil:
		return s.Leader.Worker
	case c.Kind == plan.ForceRelease:
		if p, err := s.Partition(c.Partition); err == nil {
			return p.Owner
		}
	}
	return ""
}

// Unchanged returns a [ConflictError] when another operator was here since then: what stands
// in the place of c now is not what stood there; and a [RefusedError] when c would strike
// another worker now, see [Snapshot.Aim]. Between this and what is done next another
// may still come: only what is written is certain.
func (g *Group) Unchanged(ctx context.Context, then Snapshot, c plan.Control) error {
	if c.Kind == plan.StepDown || c.Kind == plan.ForceRelease {
		return g.aimed(ctx, then.Aim(c), c)
	}
	was := then.Standing(c)
	is, err := g.Standing(ctx, c)
	switch {
	case err != nil:
		return err
	case was == nil && is == nil, was != nil && is != nil && was.Who == is.Who && was.When.Equal(is.When):
		return nil
	case is == nil:
		return &ConflictError{}
	default:
		return &ConflictError{Theirs: *is}
	}
}

// aimed refuses an order that would strike another worker than the one that was seen. Where
// there is none any more, to do it says so.
func (g *Group) aimed(ctx context.Context, seen string, c plan.Control) error {
	p, err := g.read(ctx)
	if err != nil {
		return err
	}
	now := g.snapshot(p, nil)
	if aim := now.Aim(c); aim != "" && aim != seen {
		return &RefusedError{What: describe(c), Why: fmt.Sprintf("it would strike %s by now, and not %s", aim, cmp.Or(seen, "nobody")), Try: "look again, and decide anew"}
	}
	return nil
}

func workerNames(now Snapshot) []string {
	var names []string
	for _, w := range now.Workers {
		names = append(names, w.ID)
	}
	return names
}

func partitionNames(now Snapshot) []string {
	var names []string
	for _, p := range now.Partitions {
		names = append(names, p.ID)
	}
	return names
}

func many(n int, one string) string { return number(n) + " " + plural(n, one) }
func ofWorker(kind plan.ControlKind) func([]string) plan.Control {
	return func(args []string) plan.Control { return plan.Control{Kind: kind, Worker: args[0]} }
}

func ofPartition(kind plan.ControlKind) func([]string) plan.Control {
	return func(args []string) plan.Control { return plan.Control{Kind: kind, Partition: args[0]} }
}

func ofBoth(kind plan.ControlKind) func([]string) plan.Control {
	return func(args []string) plan.Control {
		return plan.Control{Kind: kind, Partition: args[0], Worker: args[1]}
	}
}

func ofGroup(kind plan.ControlKind) func([]string) plan.Control {
	return func([]string) plan.Control { return plan.Control{Kind: kind} }
}

// has says what a worker has.
func has(now Snapshot, id string) string {
	w, err := now.Worker(id)
	if err != nil {
		return "nothing"
	}
	return many(w.Partitions, "partition")
}

// others says who else there is.
func others(now Snapshot, id string) string {
	n := 0
	for _, w := range now.Workers {
		if w.ID != id && w.Owns && w.State != "ended" && !w.Drained && !w.Cordoned {
			n++
		}
	}
	if n == 0 {
		return "nobody: no other worker takes anything"
	}
	return "the " + many(n, "other")
}

func workerVerbs() []Verb {
	return []Verb{
		{
			Name: "drain", Takes: []string{"worker"}, Short: "Empty a worker, and give it nothing new", names: []func(Snapshot) []string{workerNames}, Ends: true,
			Long: `Move a worker's partitions to the others, and give it nothing new, until it is undrained. The
worker runs on, and the drain also holds for its successor under the same ID.`,
			about: ofWorker(plan.Drain),
			will: func(now Snapshot, c plan.Control) string {
				return fmt.Sprintf("drain %s: its %s go to %s, and it gets nothing new.", c.Worker, has(now, c.Worker), others(now, c.Worker))
			},
			do: func(ctx context.Context, g *Group, c plan.Control, o Order) (Change, error) {
				return g.Drain(ctx, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Worker + " is being drained." },
			wait: awaitDrained,
		},
		{
			Name: "undrain", Takes: []string{"worker"}, Short: "Take a drain back", names: []func(Snapshot) []string{drainedOnes}, TakesBack: true,
			about: ofWorker(plan.Drain),
			will: func(_ Snapshot, c plan.Control) string {
				return fmt.Sprintf("undrain %s: it gets its part again.", c.Worker)
			},
			do: func(ctx context.Context, g *Group, c plan.Control, _ Order) (Change, error) {
				return g.Undrain(ctx, c.Worker)
			},
			done: func(c plan.Control) string { return c.Worker + " is drained no more." },
			wait: awaitRest,
		},
		{
			Name: "cordon", Takes: []string{"worker"}, Short: "Give a worker nothing new", names: []func(Snapshot) []string{workerNames}, Ends: true,
			Long:  `Give a worker nothing new, until it is uncordoned. It keeps what it has.`,
			about: ofWorker(plan.Cordon),
			will: func(now Snapshot, c plan.Control) string {
				return fmt.Sprintf("cordon %s: it keeps its %s, and gets nothing new.", c.Worker, has(now, c.Worker))
			},
			do: func(ctx context.Context, g *Group, c plan.Control, o Order) (Change, error) {
				return g.Cordon(ctx, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Worker + " is cordoned." },
		},
		{
			Name: "uncordon", Takes: []string{"worker"}, Short: "Take a cordon back", names: []func(Snapshot) []string{cordonedOnes}, TakesBack: true,
			about: ofWorker(plan.Cordon),
			will: func(_ Snapshot, c plan.Control) string {
				return fmt.Sprintf("uncordon %s: it gets its part again.", c.Worker)
			},
			do: func(ctx context.Context, g *Group, c plan.Control, _ Order) (Change, error) {
				return g.Uncordon(ctx, c.Worker)
			},
			done: func(c plan.Control) string { return c.Worker + " is cordoned no more." },
			wait: awaitRest,
		},
	}
}

func partitionVerbs() []Verb {
	from := func(now Snapshot, id string) string {
		if p, err := now.Partition(id); err == nil && p.Owner != "" {
			return p.Owner
		}
		return "nobody"
	}
	return []Verb{
		{
			Name: "pin", Takes: []string{"partition", "worker"}, Short: "Keep a partition on one worker", names: []func(Snapshot) []string{partitionNames, workerNames}, Ends: true,
			Long: `Move a partition to a worker, and keep it there until it is unpinned. While the worker is not
there it runs elsewhere, and that is an alert.`,
			about: ofBoth(plan.Pin),
			will: func(now Snapshot, c plan.Control) string {
				return fmt.Sprintf("pin %s, which is on %s, to %s.", c.Partition, from(now, c.Partition), c.Worker)
			},
			do: func(ctx context.Context, g *Group, c plan.Control, o Order) (Change, error) {
				return g.Pin(ctx, c.Partition, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Partition + " is pinned to " + c.Worker + "." },
			wait: awaitOwner,
		},
		{
			Name: "unpin", Takes: []string{"partition"}, Short: "Take a pin back", names: []func(Snapshot) []string{pinnedOnes}, TakesBack: true,
			about: ofPartition(plan.Pin),
			will: func(_ Snapshot, c plan.Control) string {
				return fmt.Sprintf("unpin %s: it stays where it is until something moves it.", c.Partition)
			},
			do: func(ctx context.Context, g *Group, c plan.Control, _ Order) (Change, error) {
				return g.Unpin(ctx, c.Partition)
			},
			done: func(c plan.Control) string { return c.Partition + " is pinned no more." },
			wait: awaitRest,
		},
		{
			Name: "ban", Takes: []string{"partition", "worker"}, Short: "Keep a partition away from one worker", names: []func(Snapshot) []string{partitionNames, workerNames}, Ends: true,
			Long: `Move a partition away from a worker, and keep it away until it is unbanned. Where nobody else can
take it, it stays.`,
			about: ofBoth(plan.Ban),
			will: func(now Snapshot, c plan.Control) string {
				return fmt.Sprintf("ban %s, which is on %s, from %s.", c.Partition, from(now, c.Partition), c.Worker)
			},
			do: func(ctx context.Context, g *Group, c plan.Control, o Order) (Change, error) {
				return g.Ban(ctx, c.Partition, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Partition + " is banned from " + c.Worker + "." },
			wait: awaitRest,
		},
		{
			Name: "unban", Takes: []string{"partition", "worker"}, Short: "Take a ban back", names: []func(Snapshot) []string{bannedOnes, workerNames}, TakesBack: true,
			about: ofBoth(plan.Ban),
			will: func(_ Snapshot, c plan.Control) string {
				return fmt.Sprintf("let %s run on %s again.", c.Partition, c.Worker)
			},
			do: func(ctx context.Context, g *Group, c plan.Control, _ Order) (Change, error) {
				return g.Unban(ctx, c.Partition, c.Worker)
			},
			done: func(c plan.Control) string { return c.Partition + " is banned from " + c.Worker + " no more." },
			wait: awaitRest,
		},
		{
			Name: "move", Takes: []string{"partition", "worker"}, Short: "Move a partition to a worker, once", names: []func(Snapshot) []string{partitionNames, workerNames},
			Long: `Move a partition to a worker, once and at once. It is no pin: a later plan may move it again. A
worker that takes nothing new, or has no room, is refused.`,
			about: ofBoth(plan.MoveTo),
			will: func(now Snapshot, c plan.Control) string {
				return fmt.Sprintf("move %s from %s to %s.", c.Partition, from(now, c.Partition), c.Worker)
			},
			do: func(ctx context.Context, g *Group, c plan.Control, o Order) (Change, error) {
				return g.Move(ctx, c.Partition, c.Worker, o)
			},
			done: func(c plan.Control) string { return c.Partition + " is asked to move to " + c.Worker + "." },
			wait: awaitOwner,
		},
		{
			Name: "release", Takes: []string{"partition"}, Short: "End the process that holds a partition and does not let go", names: []func(Snapshot) []string{releasing}, Harms: true, Slow: true,
			Long: `End the process whose handler was asked to let go of a partition and ignores it: the only safe way
to take the partition from there. Everything else that runs in that process ends with it, and moves
on as after a crash. It returns when the process is gone, or the handler has returned after all.`,
			about: ofPartition(plan.ForceRelease),
			will: func(now Snapshot, c plan.Control) string {
				owner := from(now, c.Partition)
				holds := 0
				if w, err := now.Worker(owner); err == nil {
					holds = w.Partitions + w.Releasing
				}
				return fmt.Sprintf("end the process of %s, which holds %s; all that it holds, %s, moves on as after a crash.", owner, c.Partition, many(holds, "partition"))
			},
			do: func(ctx context.Context, g *Group, c plan.Control, o Order) (Change, error) {
				return g.Release(ctx, c.Partition, o)
			},
			done: func(c plan.Control) string {
				return fmt.Sprintf("The process of %s has ended, or its handler has returned; %s is free.", c.Worker, c.Partition)
			},
		},
		{
			Name: "lift", Takes: []string{"partition"}, Short: "End the quarantine of a partition", names: []func(Snapshot) []string{quarantined},
			about: ofPartition(plan.Lift),
			will: func(_ Snapshot, c plan.Control) string {
				return fmt.Sprintf("end the quarantine of %s: it is given to a worker again.", c.Partition)
			},
			do: func(ctx context.Context, g *Group, c plan.Control, o Order) (Change, error) {
				return g.Lift(ctx, c.Partition, o)
			},
			done: func(c plan.Control) string { return c.Partition + " is let in again." },
			wait: func(ctx context.Context, g *Group, c plan.Control, say func(string)) error {
				return g.Watch(ctx, func(now Snapshot, err error) bool {
					if err != nil {
						return true
					}
					x, err := now.Partition(c.Partition)
					return err != nil || x.State != Owned
				})
			},
		},
	}
}

func groupVerbs() []Verb {
	all := func(now Snapshot) string { return many(now.Counts.Partitions, "partition") }
	return []Verb{
		{
			Name: "pause", Short: "Stop voluntary moves", Ends: true,
			Long:  `Stop voluntary moves of the whole group, until it is resumed. What loses its owner is placed as ever.`,
			about: ofGroup(plan.Pause),
			will: func(now Snapshot, _ plan.Control) string {
				return fmt.Sprintf("pause: none of %s moves for evenness; what loses its owner is placed as ever.", all(now))
			},
			do: func(ctx context.Context, g *Group, _ plan.Control, o Order) (Change, error) {
				return g.Pause(ctx, o)
			},
			done: func(plan.Control) string { return "Paused." },
			wait: awaitPaused,
		},
		{
			Name: "resume", Short: "Take a pause back", TakesBack: true,
			about: ofGroup(plan.Pause),
			will:  func(Snapshot, plan.Control) string { return "resume: the load is evened out again." },
			do: func(ctx context.Context, g *Group, _ plan.Control, _ Order) (Change, error) {
				return g.Resume(ctx)
			},
			done: func(plan.Control) string { return "Resumed." },
			wait: awaitSettled,
		},
		{
			Name: "rebalance", Short: "Even the load out now",
			Long:  `Even the load out now, without waiting for a window or the cool-down. See parti plan for what that would do.`,
			about: ofGroup(plan.Rebalance),
			will: func(now Snapshot, _ plan.Control) string {
				return fmt.Sprintf("even out %s over %s now; parti plan says what that would move.", all(now), many(now.Counts.Workers, "worker"))
			},
			do: func(ctx context.Context, g *Group, _ plan.Control, o Order) (Change, error) {
				return g.Rebalance(ctx, o)
			},
			done: func(plan.Control) string { return "The leader is asked to even out." },
			wait: awaitRest,
		},
		{
			Name: "refresh", Short: "List the partitions again",
			about: ofGroup(plan.Refresh),
			will: func(now Snapshot, _ plan.Control) string {
				return fmt.Sprintf("have the source listed again; it has %s now.", all(now))
			},
			do: func(ctx context.Context, g *Group, _ plan.Control, o Order) (Change, error) {
				return g.Refresh(ctx, o)
			},
			done: func(plan.Control) string { return "The leader is asked to list the source again." },
		},
		{
			Name: "step-down", Short: "Have another worker lead",
			Long: `Have the leader give up its term, so that another leads. No partition moves. A leader that is
stuck need not obey: its key is removed.`,
			about: ofGroup(plan.StepDown),
			will: func(now Snapshot, _ plan.Control) string {
				if now.Leader == nil {
					return "step down: nobody leads."
				}
				return fmt.Sprintf("have %s give up its term, so that another leads; no partition moves.", now.Leader.Worker)
			},
			do: func(ctx context.Context, g *Group, _ plan.Control, o Order) (Change, error) {
				return g.StepDown(ctx, o)
			},
			done: func(plan.Control) string { return "The leader is asked to step down." },
		},
	}
}

// The waits.

func awaitDrained(ctx context.Context, g *Group, c plan.Control, say func(string)) error {
	return g.AwaitDrained(ctx, c.Worker, func(left int) {
		say(fmt.Sprintf("%s left on %s", many(left, "partition"), c.Worker))
	})
}

// calm is how long after an order rest is believed: the leader hears of it a little later
// than who gave it.
const calm = 500 * time.Millisecond

func awaitSettled(ctx context.Context, g *Group, _ plan.Control, say func(string)) error {
	return afterCalm(ctx, g, say, func(now *Snapshot) bool { return now.Settled })
}

// awaitRest is awaitSettled for what is also done while the group is paused.
func awaitRest(ctx context.Context, g *Group, _ plan.Control, say func(string)) error {
	return afterCalm(ctx, g, say, func(now *Snapshot) bool { return now.Settled || now.resting })
}

func afterCalm(ctx context.Context, g *Group, say func(string), so func(*Snapshot) bool) error {
	select {
	case <-time.After(calm):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return g.await(ctx, func(now Snapshot) { say(now.Sentence) }, so)
}

// awaitPaused waits until the leader has heard of it: what moves by then comes to its end.
func awaitPaused(ctx context.Context, g *Group, _ plan.Control, _ func(string)) error {
	var seen bool
	var over error
	err := g.Watch(ctx, func(now Snapshot, err error) bool {
		if err != nil {
			return true
		}
		stands := slices.ContainsFunc(now.Controls, func(c plan.Control) bool { return c.Kind == plan.Pause })
		if seen && !stands {
			over = errPauseOver
			return false
		}
		seen = stands
		return !stands || now.Leader == nil || !now.Leader.Leads || !now.Leader.Answers || now.Unheard
	})
	return cmp.Or(err, over)
}

var errPauseOver = errors.New("the pause is over: it was taken back, or its time has come")

func awaitOwner(ctx context.Context, g *Group, c plan.Control, _ func(string)) error {
	return g.AwaitOwner(ctx, c.Partition, c.Worker)
}

// Names for completions: those of which something can be taken back.

func controlled(kind plan.ControlKind, name func(plan.Control) string) func(Snapshot) []string {
	return func(now Snapshot) []string {
		var all []string
		for _, c := range now.Controls {
			if c.Kind == kind {
				all = append(all, name(c))
			}
		}
		return all
	}
}

var (
	drainedOnes  = controlled(plan.Drain, func(c plan.Control) string { return c.Worker })
	cordonedOnes = controlled(plan.Cordon, func(c plan.Control) string { return c.Worker })
	pinnedOnes   = controlled(plan.Pin, func(c plan.Control) string { return c.Partition })
	bannedOnes   = controlled(plan.Ban, func(c plan.Control) string { return c.Partition })
)

func quarantined(now Snapshot) []string { return inState(now, Quarantined) }

func releasing(now Snapshot) []string {
	return append(inState(now, Moving), inState(now, Stopping)...)
}

func inState(now Snapshot, state string) []string {
	var all []string
	for _, p := range now.Partitions {
		if p.State == state {
			all = append(all, p.ID)
		}
	}
	return all
}
