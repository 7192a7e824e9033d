package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// A Finding is one thing that was looked at: what was found, why it matters, and what to do.
type Finding = kv.Finding

// A Grade is the Level of a Finding.
type Grade = kv.Grade

// The grades.
const (
	Fine  = kv.Fine
	Note  = kv.Note
	Warn  = kv.Warn
	Wrong = kv.Wrong
)

// Findings are all that was looked at as a document, in JSON.
type Findings struct {
	Schema   int       `json:"schema"`
	Findings []Finding `json:"findings"` // the worst first; never null
}

// Doctor looks at the group and at what it stands on, and says what is wrong and how to
// mend it, the worst first. It writes nothing. That there is no group is a finding, too.
func (g *Group) Doctor(ctx context.Context) ([]Finding, error) {
	var all []Finding
	if inspector, ok := g.store.(kv.Inspector); ok {
		found, err := inspector.Inspect(ctx)
		if err != nil {
			return nil, err
		}
		all = found
	}
	p, err := g.read(ctx)
	switch {
	case errors.Is(err, ErrNoGroup):
		if !slices.ContainsFunc(all, func(f Finding) bool { return f.Level == Wrong }) {
			all = append(all, Finding{
				About: "group", Level: Wrong, What: "there is no bucket for it",
				Why: "nobody has started a worker, or the bucket was deleted", Fix: "start a worker: it makes the bucket",
			})
		}
	case err != nil:
		return all, err
	default:
		s := g.snapshot(p, g.ask(ctx, p))
		d := diagnosis{p: p, s: &s}
		d.people()
		d.leader()
		d.partitions()
		d.controls()
		d.records()
		all = append(all, d.found...)
	}
	order := map[Grade]int{Wrong: 0, Warn: 1, Note: 2, Fine: 3}
	slices.SortStableFunc(all, func(a, b Finding) int { return order[a.Level] - order[b.Level] })
	return all, nil
}

// A diagnosis gathers findings about one snapshot.
type diagnosis struct {
	p     *picture
	s     *Snapshot
	found []Finding
}

func (d *diagnosis) say(about string, level Grade, what, why, fix string) {
	d.found = append(d.found, Finding{About: about, Level: level, What: what, Why: why, Fix: fix})
}

// leader looks at who leads.
func (d *diagnosis) leader() {
	leads := 0
	for _, s := range d.p.sessions {
		if !ended(s) {
			leads++
		}
	}
	switch l := d.s.Leader; {
	case l == nil && leads == 0:
		d.say("leader", Wrong, "nobody is there to lead", "no partition runs", "start workers")
	case l == nil:
		d.say("leader", Wrong, "nobody leads", "nothing is placed anew; what runs goes on",
			"wait a few seconds; if it stays so, see that workers have a partition source (one without never leads) and may write $KV keys of the group")
	case !l.Answers:
		d.say("leader", Warn, l.Worker+" leads and does not answer", "it may be frozen: its key then lapses by itself", "if it stays so: parti step-down")
	case !l.Leads:
		d.say("leader", Warn, l.Worker+" is elected and has not taken its term", "it was elected only just now, or the store does not take its plans: nothing is placed anew then; what runs goes on",
			"look again in a few seconds; if it stays so, see its last error, and that workers may write $KV keys of the group (parti permissions)")
	default:
		d.say("leader", Fine, fmt.Sprintf("%s leads term %d and answers", l.Worker, d.s.Term), "", "")
	}
	if d.s.Doubt != "" {
		d.say("leader", Note, "it declares nobody lost for the time being: "+d.s.Doubt, "", "")
	}
}

// people looks at the workers.
func (d *diagnosis) people() {
	software, hosts, policies := map[string][]string{}, map[string][]string{}, map[string][]string{}
	ttls := map[time.Duration][]string{}
	for i := range d.s.Workers {
		w := &d.s.Workers[i]
		switch w.State {
		case stateSilent:
			d.say("worker", Warn, w.ID+" on "+w.Host+" does not answer", "its process may be gone, frozen, or may not subscribe to the group's probe subjects", "look at that process; parti permissions lists what it needs")
		case "suspect", "vanished":
			d.say("worker", Warn, fmt.Sprintf("%s is %s: %s", w.ID, w.State, w.Why), "it is declared lost soon, and its partitions move", "look at that process and its network")
		case "slow":
			d.say("worker", Note, w.ID+" is slow: "+w.Why, "nothing moves for that", "look at its machine: CPU, swap, garbage collection")
		case stateEnded:
			if w.Partitions+w.Releasing > 0 {
				d.say("worker", Note, fmt.Sprintf("%s has ended (%s) and %s still stand in its name", w.ID, w.Why, counted(w.Partitions+w.Releasing)), "the leader places them anew", "")
			}
		}
		if w.State == stateEnded {
			continue
		}
		software[w.Software] = append(software[w.Software], w.ID)
		hosts[w.Host] = append(hosts[w.Host], w.ID)
		policies[w.Isolation] = append(policies[w.Isolation], w.ID)
		ttls[w.TTL.Duration()] = append(ttls[w.TTL.Duration()], w.ID)
		if w.Status != nil && w.Status.LastError != "" && d.s.At.Sub(w.Status.LastErrorAt) < 10*time.Minute {
			d.say("worker", Note, fmt.Sprintf("%s, %s ago: %s", w.ID, Duration(d.s.At.Sub(w.Status.LastErrorAt)), w.Status.LastError), "", "")
		}
	}
	if len(software) > 1 {
		d.say("software", Note, "workers run "+mixed(software), "fine during a rolling update", "finish the update")
	}
	if len(policies) > 1 {
		d.say("isolation", Warn, "workers differ in what they do when they are cut off: "+mixed(policies), "only partitions on workers that fence are never run twice", "give all the same Isolation")
	}
	for ttl, ids := range ttls {
		if _, fences := policies[parti.Fence.String()]; fences && ttl < 12*time.Second {
			d.say("session", Warn, fmt.Sprintf("SessionTTL is %v on %s", ttl, some(ids)), "a cluster of three nodes may take ten seconds to elect, and under Fence the whole fleet stops by then", "SessionTTL of 15 s or more")
		}
	}
	if n := len(d.s.Workers); n > 0 && len(d.found) == 0 {
		d.say("workers", Fine, fmt.Sprintf("%s %s on %s %s, all answer", number(n), plural(n, "worker"), number(len(hosts)), plural(len(hosts), "host")), "", "")
	}
}

// mixed lists who has what.
func mixed(by map[string][]string) string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(by)) {
		name := what
		if name == "" {
			name = "no version"
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", name, some(by[what])))
	}
	return strings.Join(parts, ", ")
}

// some names a few.
func some(ids []string) string {
	const few = 3
	if len(ids) <= few {
		return strings.Join(ids, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(ids[:few], ", "), len(ids)-few)
}

// partitions looks at what runs nowhere or does not get on.
func (d *diagnosis) partitions() {
	c := &d.s.Counts
	if c.Unassigned > 0 {
		run := map[bool]string{true: " runs", false: " run"}[c.Unassigned == 1]
		d.say("partitions", Wrong, counted(c.Unassigned)+run+" nowhere", "no worker has room for them, or takes them", "add workers or capacity, or take back cordons; the leader's alert names an obstacle")
	}
	if c.Aside > 0 {
		var quarantined []string
		for _, p := range d.s.Partitions {
			if p.State == Quarantined {
				quarantined = append(quarantined, p.ID)
			}
		}
		if len(quarantined) > 0 {
			d.say("partitions", Warn, some(quarantined)+" quarantined", "their owners crashed, one after the other", "see why these crash; a new software version lifts it, and so does parti lift")
		}
	}
	for _, p := range d.s.Pending {
		if p.Holds != "" && p.For.Duration() > time.Minute {
			d.say("partitions", Warn, fmt.Sprintf("waiting for %s, for %s now", p.About, Duration(p.For.Duration())), "a handler does not return, and nobody else may start before",
				"parti explain PARTITION; parti release --force PARTITION ends the process that holds it")
		}
	}
	switch {
	case c.Partitions > 0 || c.Workers == 0:
	case d.s.Phase == plan.ColdStart: // what the source lists is not known before the first plan
		d.say("partitions", Note, "there is no plan yet", "nothing runs before the first one", "parti status says what it waits for, and until when")
	default:
		d.say("partitions", Warn, "the source lists none", "there is nothing to do", "look at the source; parti refresh has it listed again")
	}
	for _, a := range d.s.Alerts {
		d.say("alert", Warn, a.Worker+": "+a.Text, "", "")
	}
}

// forgotten is after how long a control that does not end is worth a word.
const forgotten = 7 * 24 * time.Hour

// controls looks at what operators want, and may have forgotten.
func (d *diagnosis) controls() {
	for _, c := range d.s.Controls {
		if oneTime(c.Kind) {
			continue
		}
		who := fmt.Sprintf("%s, by %s", describe(c), someone(c.Who))
		_, noWorker := d.s.Worker(c.Worker)
		_, noPartition := d.s.Partition(c.Partition)
		switch {
		case c.Worker != "" && noWorker != nil:
			d.say("controls", Note, who+": there is no such worker now", "it counts as soon as there is one", "take it back if it is not meant any more")
		case c.Partition != "" && noPartition != nil:
			d.say("controls", Note, who+": the plan names no such partition", "", "take it back if it is not meant any more")
		case c.Until.IsZero() && d.s.At.Sub(c.When) > forgotten:
			d.say("controls", Note, fmt.Sprintf("%s: it has stood for %s and does not end", who, Duration(d.s.At.Sub(c.When))), "", "take it back if it is not meant any more")
		}
	}
}

// records looks at what cannot be read, and at what has been left behind.
func (d *diagnosis) records() {
	for _, u := range d.p.unreadable {
		d.say("records", Wrong, u.Key+" cannot be read: "+u.Err, "the leader leaves alone what it cannot read", "upgrade this process if the record is newer; else remove the key when its worker is stopped")
	}
	stale := 0
	for id, s := range d.p.sessions {
		if _, has := d.p.slices[id]; ended(s) && !has {
			stale++
		}
	}
	if stale > len(d.s.Workers)+maxStale {
		d.say("records", Note, fmt.Sprintf("%d worker IDs are not used any more, and their last words stand", stale), "they are kept until somebody takes the ID, and cost nothing but reading",
			"remove keys of the kind "+wire.Session.Prefix()+" that say left or tombstone, if you like")
	}
}

// maxStale is how many worker IDs that are not used are not worth a word.
const maxStale = 16
