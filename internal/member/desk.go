package member

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/kv"
)

// A desk is what all parts of a member work with: the time, requests and their
// answers, timers, events. It decides nothing.
type desk struct {
	cfg *Config
	now time.Time

	last   int // ID of the last op
	ops    []Op
	calls  map[int]*call
	writes int         // on their way
	note   func(*call) // looks at every call that is made

	timers []timer
	set    int // counts timers, so that equal times fire in order

	events []event.Event

	gaveWay map[string]bool // nonces of sessions for whose sake this member has led no longer
}

// A call is an op that was not answered yet.
type call struct {
	req  Request
	life *life
	then func(Answer)

	// As things were when it was asked for: what an answer proves, it proves about
	// the store of that time.
	mark  marks
	write bool
}

// A life is what requests and timers are made for. When it is over, nobody waits
// for them any more.
type life struct{ over bool }

// ask sends a request. Its answer comes to then, unless l is over by then.
func (d *desk) ask(l *life, req Request, then func(Answer)) {
	d.last++
	c := &call{req: req, life: l, then: then}
	switch req.(type) {
	case Put, Commit:
		c.write = true
		d.writes++
	default: // the rest needs nothing here
	}
	d.note(c)
	d.calls[d.last] = c
	d.ops = append(d.ops, Op{ID: d.last, Do: req})
}

// answered takes a call off the books; nil if nobody asked, or it was answered.
func (d *desk) answered(id int) *call {
	c := d.calls[id]
	if c == nil {
		return nil
	}
	delete(d.calls, id)
	if c.write {
		d.writes--
	}
	return c
}

// A timer fires once. There is one per life and key: a newer one replaces an older.
type timer struct {
	life *life
	key  string
	at   time.Time
	nr   int
	f    func()
}

// after does f once d has passed.
func (d *desk) after(l *life, key string, wait time.Duration, f func()) {
	d.cancel(l, key)
	d.set++
	d.timers = append(d.timers, timer{l, key, d.now.Add(wait), d.set, f})
}

func (d *desk) cancel(l *life, key string) {
	d.timers = slices.DeleteFunc(d.timers, func(t timer) bool { return t.life == l && t.key == key })
}

// waiting tells whether a timer is set.
func (d *desk) waiting(l *life, key string) bool {
	return slices.ContainsFunc(d.timers, func(t timer) bool { return t.life == l && t.key == key })
}

// fire does what is due by now, in order of time.
func (d *desk) fire() {
	for {
		d.timers = slices.DeleteFunc(d.timers, func(t timer) bool { return t.life.over })
		due := -1
		for i, t := range d.timers {
			if !t.at.After(d.now) && (due < 0 || t.at.Before(d.timers[due].at) || t.at.Equal(d.timers[due].at) && t.nr < d.timers[due].nr) {
				due = i
			}
		}
		if due < 0 {
			return
		}
		t := d.timers[due]
		d.timers = slices.Delete(d.timers, due, due+1)
		t.f()
	}
}

func (d *desk) say(e event.Event) { d.events = append(d.events, e) }

// failed tells people of an error that is tried again.
func (d *desk) failed(doing string, err error) {
	d.say(event.Failed{Doing: doing, Err: err.Error()})
}

// chance is a random duration below most.
func (d *desk) chance(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(d.cfg.Random() % uint64(most))
}

// The pauses of a retry loop.
const (
	retryLeast = 100 * time.Millisecond
	retryMost  = 5 * time.Second
)

// A retry counts the failures of one loop, in a row.
type retry struct{ n int }

// pause is how long to wait after one more failure: it doubles, and is spread out,
// so that a thousand workers do not come back in step.
func (r *retry) pause(d *desk) time.Duration {
	wait := min(retryLeast<<min(r.n, 10), retryMost)
	r.n++
	return wait*3/4 + d.chance(wait/2)
}

// get reads a key until it can be read.
func (d *desk) get(l *life, key Key, then func(Record)) {
	d.getting(l, key, new(retry), then)
}

func (d *desk) getting(l *life, key Key, r *retry, then func(Record)) {
	d.ask(l, Get{key}, func(a Answer) {
		rec, err := a.record(key)
		if err == nil {
			then(rec)
			return
		}
		d.unread(key.String(), err)
		d.after(l, "read "+strconv.Itoa(a.ID), r.pause(d), func() { d.getting(l, key, r, then) })
	})
}

// unread tells people of a read that failed for another reason than a fault that
// passes: it is tried again, and may fail for ever.
func (d *desk) unread(what string, err error) {
	if c := Outcome(err); c == Forbidden || c == Strange {
		d.failed("reading "+what, err)
	}
}

// list reads all keys of a kind until they can be read.
func (d *desk) list(l *life, kind Kind, then func(Answer)) {
	d.listing(l, List{Kind: kind}, new(retry), then)
}

func (d *desk) listing(l *life, what List, r *retry, then func(Answer)) {
	d.ask(l, what, func(a Answer) {
		if a.Err == nil {
			then(a)
			return
		}
		d.unread("every "+what.Kind.String(), a.Err)
		d.after(l, "read "+strconv.Itoa(a.ID), r.pause(d), func() { d.listing(l, what, r, then) })
	})
}

// record is the one record of an answer to Get. A key that is not there is a
// record too.
func (a Answer) record(key Key) (Record, error) {
	if Outcome(a.Err) == Missing {
		rec := Record{Key: key, Gone: true}
		if len(a.Records) == 1 {
			rec.Rev = a.Records[0].Rev
		}
		return rec, nil
	}
	if a.Err != nil {
		return Record{}, a.Err
	}
	if len(a.Records) != 1 {
		panic(fmt.Sprintf("member: %d records in the answer to Get %v", len(a.Records), key))
	}
	return a.Records[0], nil
}

var kindWords = [...]string{
	KindSession: "session", KindLeader: "leader", KindPlan: "plan", KindSlice: "slice",
	KindAside: "aside", KindLog: "log", KindControl: "control", KindChain: "chain",
}

// String is the word for k.
func (k Kind) String() string { return kindWords[min(int(k), len(kindWords)-1)] }

// String is the kind and, where there is one, the name.
func (k Key) String() string {
	if k.Name == "" {
		return k.Kind.String()
	}
	return k.Kind.String() + "." + k.Name
}

// marks is what was known of the store when a request was made.
type marks struct {
	acked kv.Rev   // the highest revision acknowledged to this process
	keys  []kv.Rev // the same for each key that the request writes
	known uint32   // incarnation
}
