package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/pattern"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// Schema numbers the shape of this package's JSON. Fields may be added to it.
const Schema = 1

// A Snapshot is a group at one moment: what its bucket says, and what its workers said
// when they were asked.
type Snapshot struct {
	Schema int       `json:"schema"`
	At     time.Time `json:"at"`
	// Sentence is the most important thing in one sentence.
	Sentence string `json:"sentence"`
	// Settled says that nothing moves, nothing waits and nobody is missing. While the group is
	// paused, it is not.
	Settled bool `json:"settled"`
	resting bool // it would be settled if it were not paused

	Leader  *Leader      `json:"leader,omitempty"` // nil: nobody leads
	Term    uint64       `json:"term"`
	Version plan.Version `json:"version"`
	Phase   plan.Phase   `json:"phase"`
	// Why is what triggered the newest plan.
	Why    plan.Why `json:"why"`
	Counts Counts   `json:"counts"`

	// Pending is what the leader waits for or is going to do; see [parti.Leading]. Doubt
	// says why it declares nobody lost for the time being.
	Pending []parti.Pending `json:"pending,omitempty"`
	Doubt   string          `json:"doubt,omitempty"`
	// Unheard says that the leader has not heard yet of all that operators want.
	Unheard bool `json:"unheard,omitempty"`
	// Alerts are what people should know of now: the leader's first, then the others'.
	Alerts []Alert `json:"alerts,omitempty"`
	// Controls are what operators want, as far as it has not expired, sorted.
	Controls []plan.Control `json:"controls,omitempty"`

	// Workers are those that are there, and those that are not and still have something
	// in the plan; in the natural order of their IDs.
	Workers []Worker `json:"workers,omitempty"`
	// Partitions are those that the plan names, and those of which the leader says that they
	// have no owner: it names the first few hundred, see [parti.Leading], and
	// Counts.Unassigned is all of them. Sorted by ID.
	Partitions []Partition `json:"partitions,omitempty"`

	// Unreadable are records that this release cannot read. Nothing is known of them.
	Unreadable []Unreadable `json:"unreadable,omitempty"`
}

// Counts are sums over a group.
type Counts struct {
	Workers    int `json:"workers"`    // that are there and own partitions, or could
	Partitions int `json:"partitions"` // as the source lists them
	Unassigned int `json:"unassigned"`
	Moving     int `json:"moving"` // asked back from their owners, and not released yet
	Aside      int `json:"aside"`  // kept out of the plan: done or quarantined
	Running    int `json:"running"`
}

// Leader is who leads.
type Leader struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
	// Answers says that it answered when it was asked: one that leads, with what only it
	// knows. Leads says that it has taken its term, a moment after it is elected; false where
	// nothing came at all.
	Answers bool `json:"answers"`
	Leads   bool `json:"leads"`
}

// An Alert is something that a person should know of.
type Alert struct {
	// Worker is who says so.
	Worker string `json:"worker"`
	Leader bool   `json:"leader,omitempty"` // as leader of the group, or at least by it
	About  string `json:"about"`
	Text   string `json:"text"`
}

// A Worker is one worker ID and the session that has it.
type Worker struct {
	ID       string            `json:"id"`
	Session  string            `json:"session,omitempty"`
	Identity string            `json:"identity,omitempty"`
	Host     string            `json:"host,omitempty"`
	Software string            `json:"software,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Started  time.Time         `json:"started,omitzero"` // on the worker's own clock

	// State is live, slow, suspect, vanished, leaving, ended or silent; Why says more.
	// What the leader thinks of it comes first, silent is who does not answer and of whom
	// no leader says anything.
	State string `json:"state"`
	Why   string `json:"why,omitempty"`
	// Does is the worker's own state, such as Stable; empty when it does not answer.
	Does string `json:"does,omitempty"`

	Leader   bool `json:"leader,omitempty"`
	Owns     bool `json:"owns"` // it has a handler
	Cordoned bool `json:"cordoned,omitempty"`
	Drained  bool `json:"drained,omitempty"`

	Isolation string       `json:"isolation"`
	TTL       parti.Millis `json:"ttl_ms"`
	Share     int64        `json:"share"`
	Capacity  int64        `json:"capacity,omitempty"` // 0: no limit

	Partitions int   `json:"partitions"` // granted to it
	Weight     int64 `json:"weight"`     // of these
	// Load is Weight over its fair share, in thousandths: 1000 is just that.
	Load      int64 `json:"load"`
	Releasing int   `json:"releasing,omitempty"` // that it was asked to let go of
	Coming    int   `json:"coming,omitempty"`    // that others were asked to let go of for it
	Running   int   `json:"running"`             // handlers that were not asked to stop, as it answers; else all, as its last renewal said

	// Status is the worker's own; nil when it does not answer.
	Status *parti.Status `json:"status,omitempty"`
}

// The states of a partition.
const (
	Unassigned  = "unassigned"  // nobody has it
	Owned       = "owned"       // granted
	Moving      = "moving"      // its owner was asked to let go; Next is who gets it
	Stopping    = "stopping"    // its owner was asked to let go, and nobody gets it
	Quarantined = "quarantined" // kept out of the plan, since its owners crashed
	Done        = "done"        // kept out of the plan, since its handler is done with it
)

// A Partition is one partition that the plan names.
type Partition struct {
	ID     string            `json:"id"`
	Weight int64             `json:"weight"`
	Labels map[string]string `json:"labels,omitempty"`
	State  string            `json:"state"`
	// Owner runs it, under Token, which is also the version of the plan that granted it;
	// as long as it was not released also while it moves.
	Owner string       `json:"owner,omitempty"`
	Token plan.Version `json:"token,omitempty"`
	Next  string       `json:"next,omitempty"`
	// Since is the plan that asked its owner to let go, while it moves.
	Since plan.Version `json:"since,omitempty"`
	// Why is the reason for which it is where it is, or moves.
	Why plan.Why `json:"why"`
	// For is how long a quarantine lasts, Times how many it has had.
	For   parti.Millis `json:"for_ms,omitempty"`
	Times int          `json:"times,omitempty"`
	// Owners are the workers that crashed with it lately, or for which it is quarantined.
	Owners []string `json:"owners,omitempty"`
	Pinned string   `json:"pinned,omitempty"`
	Banned []string `json:"banned,omitempty"`
}

// Snapshot looks at the group. It asks every worker that is there about itself, for at
// most two seconds. [ErrNoGroup] when there is no bucket.
func (g *Group) Snapshot(ctx context.Context) (Snapshot, error) {
	p, err := g.read(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	return g.snapshot(p, g.ask(ctx, p)), nil
}

// said is what workers answered, by nonce.
type said map[string]parti.About

// abreast is how many workers are asked at a time, answerIn how long one may take, and
// patience how long asking may take altogether: some that are frozen do not keep the others
// from being asked.
const (
	abreast  = 64
	answerIn = 500 * time.Millisecond
	patience = 2 * time.Second
)

// ask asks every session that is there, the leader's first.
func (g *Group) ask(ctx context.Context, p *picture) said {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	order := make([]roster.Session, 0, len(p.sessions))
	for _, s := range p.sessions {
		if !ended(s) {
			order = append(order, s)
		}
	}
	if at := slices.IndexFunc(order, func(s roster.Session) bool { return s.Nonce == p.leader.Nonce }); at > 0 {
		order[0], order[at] = order[at], order[0]
	}
	var (
		all  = said{}
		mu   sync.Mutex
		wait sync.WaitGroup
		turn = make(chan struct{}, abreast)
	)
	for _, s := range order {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wait.Go(func() {
			defer func() { <-turn }()
			ctx, cancel := context.WithTimeout(ctx, answerIn)
			defer cancel()
			if a, err := g.about(ctx, s.Nonce); err == nil {
				mu.Lock()
				defer mu.Unlock()
				all[s.Nonce] = a
			}
		})
	}
	wait.Wait()
	return all
}

func (g *Group) snapshot(p *picture, all said) Snapshot {
	now := g.now().UTC()
	s := Snapshot{
		Schema: Schema, At: now, Term: p.head.Term, Version: p.head.Version, Phase: p.head.Phase, Why: p.head.Why, Unreadable: p.unreadable,
		Counts: Counts{Partitions: p.head.Partitions, Unassigned: p.head.Unassigned, Moving: p.head.Releasing},
	}
	for _, c := range p.controls {
		if !expired(c, now) {
			s.Controls = append(s.Controls, c)
		}
	}
	var view *parti.Leading
	if p.led {
		a, answers := all[p.leader.Nonce]
		view = a.Leading
		s.Leader = &Leader{
			Worker: p.leader.Worker, Session: p.leader.Nonce,
			Answers: answers && (view != nil || !a.Leader),
			Leads:   view != nil || a.Leader,
		}
		if view != nil {
			s.Pending, s.Doubt, s.Unheard = view.Pending, view.Doubt, view.Orders != wire.Fingerprint(p.controls)
		}
	}
	s.Workers = p.workers(all, view, drained(s.Controls))
	s.Partitions = p.partitions(view)
	p.steer(&s)
	for i := range s.Workers {
		w := &s.Workers[i]
		s.Counts.Running += w.Running
		if w.Owns && w.State != stateEnded {
			s.Counts.Workers++
		}
		if w.Status == nil {
			continue
		}
		for _, a := range w.Status.Alerts {
			s.Alerts = append(s.Alerts, Alert{Worker: w.ID, Leader: w.Leader, About: a.About, Text: a.Text})
		}
	}
	slices.SortStableFunc(s.Alerts, func(a, b Alert) int {
		if a.Leader != b.Leader {
			if a.Leader {
				return -1
			}
			return 1
		}
		return natural(a.Worker, b.Worker)
	})
	for _, x := range s.Partitions {
		if x.State == Quarantined || x.State == Done {
			s.Counts.Aside++
		}
	}
	s.Sentence, s.Settled = sentence(&s)
	return s
}

func expired(c plan.Control, now time.Time) bool { return !c.Until.IsZero() && !now.Before(c.Until) }

// The states of a worker that no leader names.
const (
	stateLive    = "live"
	stateLeaving = "leaving"
	stateEnded   = "ended"
	stateSilent  = "silent"
)

// whyLapsed is why a worker has ended that has neither left nor was declared lost.
const whyLapsed = "its key is not there"

// drained are the worker IDs that are to be emptied.
func drained(controls []plan.Control) map[string]bool {
	ids := map[string]bool{}
	for _, c := range controls {
		if c.Kind == plan.Drain {
			ids[c.Worker] = true
		}
	}
	return ids
}

// workers are all of them, with what the leader thinks of them, if it says. The fair share
// of one is what it would have if the load were even over those that are to have any.
func (p *picture) workers(all said, view *parti.Leading, drained map[string]bool) []Worker {
	seen := map[string]parti.Seen{}
	if view != nil {
		for _, x := range view.Workers {
			seen[x.Session] = x
		}
	}
	var workers []Worker
	var weight, share int64
	for _, id := range p.workerIDs() {
		session, there := p.sessions[id]
		w := Worker{ID: id, Leader: p.led && p.leader.Worker == id && p.leader.Nonce == session.Nonce}
		slice := p.slices[id]
		for _, x := range slice.Granted {
			w.Partitions++
			w.Weight += x.Load()
		}
		w.Releasing, w.Coming = len(slice.Releasing), len(slice.Coming)
		w.Isolation = isolation(slice.Fenced)
		w.TTL = slice.TTL
		w.State, w.Why = stateEnded, whyLapsed
		if there {
			w.take(session)
			w.judge(session, seen[session.Nonce], view != nil)
			if a, ok := all[session.Nonce]; ok {
				status := a.Status
				w.Status, w.Does = &status, a.State.String()
				w.Running = a.Running
			} else if w.State == stateLive {
				w.State, w.Why = stateSilent, "it does not answer"
			}
		}
		if w.Owns && w.State != stateEnded && w.State != stateLeaving && !drained[id] {
			share += w.Share
		}
		weight += w.Weight
		workers = append(workers, w)
	}
	for i := range workers {
		w := &workers[i]
		w.Load = perMille(w.Weight, share, weight, w.Share)
	}
	return workers
}

// perMille is a·b ÷ (c·d) in thousandths, and 0 where nothing is shared.
func perMille(a, b, c, d int64) int64 {
	if a <= 0 || b <= 0 || c <= 0 || d <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(a), uint64(b))
	if high > 0 || low > 1<<53 || float64(c)*float64(d) > 1<<53 {
		return int64(1000 * float64(a) * float64(b) / (float64(c) * float64(d)))
	}
	return (a*b*1000 + c*d/2) / (c * d)
}

func isolation(fenced bool) string {
	if fenced {
		return parti.Fence.String()
	}
	return parti.Freeze.String()
}

// take takes over what the session says of itself.
func (w *Worker) take(s roster.Session) {
	w.Session, w.Identity, w.Host, w.Software, w.Zone, w.Labels, w.Started = s.Nonce, s.Identity, s.Host, s.Software, s.Zone, s.Labels, s.Started
	w.Owns, w.Share, w.Capacity, w.TTL, w.Isolation, w.Running = s.Owns, max(s.Share, 1), s.Capacity, s.TTL, isolation(s.Fenced), s.Running
}

// judge says how it is, by its own record first.
func (w *Worker) judge(s roster.Session, seen parti.Seen, led bool) {
	switch {
	case s.Tombstone != nil:
		w.State, w.Why = stateEnded, "declared lost by "+s.Tombstone.By+": "+s.Tombstone.Why
	case s.Left:
		w.State, w.Why = stateEnded, "it has left"
	case led && seen.State != "" && seen.State != stateLive:
		w.State, w.Why = seen.State, seen.Why
	case s.Leaving:
		w.State, w.Why = stateLeaving, "it stops"
	default:
		w.State, w.Why = stateLive, ""
	}
}

// partitions are those that the plan names, and those that nobody has, as the leader says.
func (p *picture) partitions(view *parti.Leading) []Partition {
	all := p.named()
	at := func(id string) (int, bool) {
		return slices.BinarySearchFunc(all, id, func(x Partition, id string) int { return cmp.Compare(x.ID, id) })
	}
	var more []Partition // that no slice names
	seen := map[string]bool{}
	add := func(x Partition) {
		if _, ok := at(x.ID); !ok && !seen[x.ID] {
			seen[x.ID] = true
			more = append(more, x)
		}
	}
	for _, a := range p.aside {
		switch i, ok := at(a.Partition); {
		case a.Why == plan.WhyDone:
			add(Partition{ID: a.Partition, Weight: 1, State: Done, Why: a.Why})
		case ok: // on probation
			all[i].Times = a.Times
		case a.For > 0:
			add(Partition{ID: a.Partition, Weight: 1, State: Quarantined, Why: a.Why, For: a.For, Times: a.Times, Owners: a.Owners})
		}
	}
	if view != nil {
		for _, x := range view.Unassigned { // unless it has found an owner since
			add(Partition{ID: x.ID, Weight: x.Load(), Labels: x.Labels, State: Unassigned})
		}
	}
	if len(more) == 0 {
		return all
	}
	all = append(all, more...)
	slices.SortFunc(all, func(a, b Partition) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// named are those that a slice names, sorted by ID. Of two records of one partition, the
// younger lease is the one that stands.
func (p *picture) named() []Partition {
	n := 0
	for _, s := range p.slices {
		n += len(s.Granted) + len(s.Releasing)
	}
	records := make([]Partition, 0, n)
	for id, s := range p.slices {
		for _, x := range s.Granted {
			records = append(records, Partition{ID: x.ID, Weight: x.Load(), Labels: x.Labels, State: Owned, Owner: id, Token: x.Token, Why: x.Why, Owners: x.Crashed})
		}
		for _, x := range s.Releasing {
			state := Moving
			if x.Next == "" {
				state = Stopping
			}
			records = append(records, Partition{
				ID: x.ID, Weight: x.Load(), Labels: x.Labels, State: state, Owner: id, Token: x.Token, Next: x.Next, Since: x.Since,
				Why: x.Why, Owners: x.Crashed,
			})
		}
	}
	order := make([]*Partition, n) // a record is too large to be moved about while it is sorted
	for i := range records {
		order[i] = &records[i]
	}
	slices.SortFunc(order, func(a, b *Partition) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(b.Token, a.Token)) })
	all := make([]Partition, 0, n)
	for _, x := range order {
		if len(all) == 0 || all[len(all)-1].ID != x.ID {
			all = append(all, *x)
		}
	}
	return all
}

// steer says of each worker and partition what operators want of it.
func (p *picture) steer(s *Snapshot) {
	if len(s.Controls) == 0 {
		return
	}
	worker, partition := map[string]*Worker{}, map[string]*Partition{}
	for i := range s.Workers {
		worker[s.Workers[i].ID] = &s.Workers[i]
	}
	for i := range s.Partitions {
		partition[s.Partitions[i].ID] = &s.Partitions[i]
	}
	for _, c := range s.Controls {
		w, x := worker[c.Worker], partition[c.Partition]
		switch {
		case c.Kind == plan.Cordon && w != nil:
			w.Cordoned = true
		case c.Kind == plan.Drain && w != nil:
			w.Drained = true
		case c.Kind == plan.Pin && x != nil:
			x.Pinned = c.Worker
		case c.Kind == plan.Ban && x != nil:
			x.Banned = append(x.Banned, c.Worker)
		}
	}
}

// Worker finds a worker; a [NotFoundError] names the nearest.
func (s *Snapshot) Worker(id string) (Worker, error) {
	ids := make([]string, len(s.Workers))
	for i, w := range s.Workers {
		if w.ID == id {
			return w, nil
		}
		ids[i] = w.ID
	}
	return Worker{}, notFound("worker", id, ids)
}

// Partition finds a partition; a [NotFoundError] names the nearest, and says how many there
// are besides that have no name here.
func (s *Snapshot) Partition(id string) (Partition, error) {
	i, ok := slices.BinarySearchFunc(s.Partitions, id, func(p Partition, id string) int { return strings.Compare(p.ID, id) })
	if ok {
		return s.Partitions[i], nil
	}
	ids := make([]string, len(s.Partitions))
	for i, p := range s.Partitions {
		ids[i] = p.ID
	}
	missing := notFound("partition", id, ids)
	if id != "" {
		missing.Unnamed = s.Unnamed()
	}
	return Partition{}, missing
}

// Match finds the partitions that a pattern stands for: a NATS subject with * for one
// token and > for all that follow. A [NotFoundError] when there are none.
func (s *Snapshot) Match(subject string) ([]string, error) {
	if !strings.ContainsAny(subject, "*>") {
		p, err := s.Partition(subject)
		if err != nil {
			return nil, err
		}
		return []string{p.ID}, nil
	}
	var ids []string
	for _, p := range s.Partitions {
		if pattern.Within(p.ID, subject) {
			ids = append(ids, p.ID)
		}
	}
	if len(ids) == 0 {
		missing := notFound("partition like", subject, nil)
		missing.Unnamed = s.Unnamed()
		return nil, missing
	}
	return ids, nil
}

// about asks the session of that nonce about itself.
func (g *Group) about(ctx context.Context, nonce string) (parti.About, error) {
	var a parti.About
	data, err := g.store.Probe(ctx, wire.AboutName(nonce))
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("the answer of %s cannot be read: %w", nonce, err)
	}
	return a, nil
}
