package console

import (
	"context"
	"flag"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/plan"
)

var rewrite = flag.Bool("rewrite", false, "write the golden pages anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A fake is a group that says what it is told to.
type fake struct {
	mu     sync.Mutex
	now    admin.Snapshot
	err    error
	looks  chan func(func(admin.Snapshot, error) bool) // what Watch does next
	events chan admin.Event
	log    []plan.Decision
	began  int // watches

	snapshots int
	slow      time.Duration // of a snapshot

	done []string // what was steered
	fail error    // of steering
}

func (f *fake) Snapshot(context.Context) (admin.Snapshot, error) {
	f.mu.Lock()
	f.snapshots++
	slow := f.slow
	f.mu.Unlock()
	if slow > 0 {
		<-time.After(slow)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now, f.err
}

func (f *fake) Watch(ctx context.Context, see func(admin.Snapshot, error) bool) error {
	f.mu.Lock()
	f.began++
	f.mu.Unlock()
	now, err := f.Snapshot(ctx)
	if err != nil {
		return err
	}
	see(now, nil)
	for {
		select {
		case do := <-f.looks:
			do(see)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *fake) Events(ctx context.Context, _ func(), hear func(admin.Event)) error {
	for {
		select {
		case e := <-f.events:
			hear(e)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *fake) History(_ context.Context, q admin.Query) iter.Seq2[plan.Decision, error] {
	return func(yield func(plan.Decision, error) bool) {
		if f.err != nil {
			yield(plan.Decision{}, f.err)
			return
		}
		n := 0
		for _, d := range f.log {
			if m := d.Moves[0]; q.Partition != "" && m.Partition != q.Partition || q.Worker != "" && m.From != q.Worker && m.To != q.Worker {
				continue
			}
			if n == q.Last || !yield(d, nil) {
				return
			}
			n++
		}
	}
}

func (f *fake) Standing(_ context.Context, c plan.Control) (*plan.Control, error) {
	return f.now.Standing(c), f.err
}

func (f *fake) Decision(_ context.Context, v plan.Version) (plan.Decision, error) {
	for _, d := range f.log {
		if d.Version == v {
			return d, nil
		}
	}
	return plan.Decision{}, &admin.NotFoundError{What: "decision", Name: v.String()}
}

func (f *fake) Explain(_ context.Context, id string) (admin.Explanation, error) {
	p, err := f.now.Partition(id)
	e := admin.Explanation{Schema: admin.Schema, Sentence: id + " is on " + p.Owner + ".", Partition: p, Next: []string{"If it were lost, it would go to w-1."}}
	if p.Owner != "" {
		e.Since = noon.Add(-time.Hour)
		e.Last = &admin.LastMove{From: "w-9", To: p.Owner, At: noon.Add(-time.Hour), Version: plan.MakeVersion(7, 41), Why: plan.WhyLost, About: "w-9 is lost"}
	}
	return e, err
}

func (f *fake) Plan(_ context.Context, what admin.WhatIf) (admin.Outcome, error) {
	return admin.Outcome{
		Schema: admin.Schema, Sentence: fmt.Sprintf("2 of 4 partitions would move without %v and with %d more.", what.Without, what.With),
		Moves:  []admin.Relocation{{Partition: "orders.eu", From: "w-0", To: "w-1", Weight: 3, Why: plan.WhyLost}},
		Loads:  []admin.LoadChange{{Worker: "w-0", Before: 4, PartitionsBefore: 2, Gone: true}, {Worker: "w-1", Before: 3, After: 7, PartitionsBefore: 1, PartitionsAfter: 3}},
		Alerts: []string{"it is tight"},
	}, nil
}

func (f *fake) Doctor(context.Context) ([]admin.Finding, error) {
	return []admin.Finding{
		{About: "bucket", Level: admin.Warn, What: "it has one replica", Why: "it is lost with its node", Fix: "nats stream edit --replicas 3"},
		{About: "server", Level: admin.Fine, What: "2.12.1"},
	}, nil
}

// example is a group in which everything happens that a page can show.
func example() *fake {
	v := func(n uint32) plan.Version { return plan.MakeVersion(7, n) }
	soon := parti.Millis(190_000)
	f := &fake{looks: make(chan func(func(admin.Snapshot, error) bool)), events: make(chan admin.Event)}
	f.now = admin.Snapshot{
		Schema: admin.Schema, At: noon, Sentence: "Moving 1 of 1 204: waiting for w-1 to let go (8 s).",
		Leader: &admin.Leader{Worker: "w-0", Session: "n0", Answers: true, Leads: true}, Term: 3, Version: v(42), Phase: plan.Rebalancing, Why: plan.WhyDrain,
		Counts:  admin.Counts{Workers: 3, Partitions: 1204, Unassigned: 1, Moving: 1, Aside: 2, Running: 1201},
		Pending: []parti.Pending{{Why: plan.WhyDrain, About: "w-1 to let go of 1 partition", Holds: "w-1", For: 8000}, {Why: plan.WhyBalance, About: "seeing whether the load is even", In: &soon}},
		Doubt:   "more than a third of the others vanished at once",
		Alerts:  []admin.Alert{{Worker: "w-0", Leader: true, About: "unassigned", Text: "1 partition has no owner: no worker has room for it"}, {Worker: "w-1", About: "stuck", Text: "the handler of orders.us ignores Hard"}},
		Controls: []plan.Control{
			{Kind: plan.Drain, Worker: "w-1", Who: "ann@ops-1", When: noon.Add(-70 * time.Second), Until: noon.Add(time.Hour), Why: "kernel upgrade"},
			{Kind: plan.Pin, Partition: "orders.eu", Worker: "w-0", Who: "bob@ops-2", When: noon.Add(-72 * time.Hour)},
			{Kind: plan.Rebalance, Who: "bob@ops-2", When: noon.Add(-time.Second), Number: "n1"},
		},
		Workers: []admin.Worker{
			{ID: "w-0", Session: "n0", Identity: "pod-0", Host: "node-a", Zone: "eu-1", Software: "v1.2.3", Started: noon.Add(-time.Hour), State: "live", Does: "Stable", Leader: true, Owns: true, Isolation: "fence", TTL: 6000, Share: 2, Capacity: 100, Partitions: 2, Weight: 4, Load: 1040, Coming: 1, Running: 2, Labels: map[string]string{"rack": "r<1>"}},
			{ID: "w-1", Session: "n1", State: "suspect", Why: "no responders for 1.1s", Does: "Degraded", Owns: true, Drained: true, Cordoned: true, Isolation: "freeze", TTL: 6000, Share: 1, Partitions: 1, Weight: 3, Load: 900, Releasing: 1, Running: 1, Status: &parti.Status{LastError: "no quorum", LastErrorAt: noon, Stuck: []string{"orders.us"}}},
			{ID: "w-2", State: "ended", Why: "declared lost by w-0: no responders", Isolation: "freeze", Share: 1},
		},
		Partitions: []admin.Partition{
			{ID: "<b>&odd", Weight: 1, State: admin.Owned, Owner: "w-0", Token: v(1), Why: plan.WhyFirstPlan},
			{ID: "orders.eu", Weight: 3, Labels: map[string]string{"team": "blue"}, State: admin.Owned, Owner: "w-0", Token: v(41), Why: plan.WhyLost, Pinned: "w-0", Banned: []string{"w-1"}},
			{ID: "orders.us", Weight: 3, State: admin.Moving, Owner: "w-1", Next: "w-0", Token: v(12), Since: v(42), Why: plan.WhyDrain},
			{ID: "poison", Weight: 1, State: admin.Quarantined, Why: plan.WhyQuarantine, For: 120_000, Times: 2, Owners: []string{"w-8", "w-9"}},
			{ID: "z", Weight: 500, State: admin.Unassigned},
		},
		Unreadable: []admin.Unreadable{{Key: "session.w-7", Err: "its schema is 9"}},
	}
	f.log = []plan.Decision{
		{Version: v(42), Term: 3, Leader: "w-0", At: noon.Add(-8 * time.Second), Why: plan.WhyDrain, About: "w-1 is drained", Moves: []plan.Move{{Partition: "orders.us", Step: plan.Revoked, From: "w-1", To: "w-0", Why: plan.WhyDrain}}, Workers: 2, Partitions: 1204, Unassigned: 1, Waited: 20, More: 3},
		{Version: v(41), Term: 2, Leader: "w-9", At: noon.Add(-time.Hour), Why: plan.WhyLost, Moves: []plan.Move{{Partition: "orders.eu", Step: plan.Granted, To: "w-0", Why: plan.WhyLost}}, Strategy: &plan.Explanation{Placed: 1, PlacedWeight: 3, BoundMoves: 1, BoundWeight: 3, PeakBefore: 1200, PeakAfter: 1040, BoundPeak: 1000}, Workers: 2, Partitions: 1204},
	}
	return f
}

// open makes the console of a fake. What it steers is only noted.
func open(t *testing.T, f *fake, opts ...Option) *Console {
	t.Helper()
	c := newConsole(f, "orders", opts...)
	c.do = func(_ context.Context, v admin.Verb, w plan.Control, o admin.Order) (admin.Change, error) {
		f.done = append(f.done, fmt.Sprintf("%s %s/%s by %q why %q for %v", v.Name, w.Partition, w.Worker, o.Who, o.Why, o.For))
		return admin.Change{Control: w}, f.fail
	}
	t.Cleanup(c.Close)
	return c
}

// A reply is what came back.
type reply struct {
	StatusCode int
	Status     string
	Header     http.Header
	Cookies    []*http.Cookie
	body       string
}

// ask sends one request, with a form unless it is nil.
func ask(c *Console, method, target string, form url.Values, change ...func(*http.Request)) reply {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, target, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	a := w.Result()
	defer a.Body.Close()
	return reply{a.StatusCode, a.Status, a.Header, a.Cookies(), w.Body.String()}
}
