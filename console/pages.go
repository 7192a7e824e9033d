package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/plan"
)

const (
	// patience is how long a page may take.
	patience = 10 * time.Second
	// rows is how many rows a table shows at a time.
	rows = 200
	// glances is how many decisions the overview shows.
	glances = 8
	// among is how many of the newest plans are looked through for those of one partition
	// or worker.
	among = 1000
)

// shown calls f with the group as it is, and renders what it returns, or the error.
func (c *Console) shown(w http.ResponseWriter, r *http.Request, name, title string, f func(ctx context.Context, now admin.Snapshot) (any, error)) {
	defer c.feed.use()()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	now, old, err := c.feed.snapshot(ctx)
	var body any
	if err == nil {
		body, err = f(ctx, now)
	}
	if err != nil {
		c.fail(w, r, errorOf(err))
		return
	}
	c.render(w, r, http.StatusOK, page{Page: name, Title: title, Now: &now, Old: old, Body: body})
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request) {
	c.shown(w, r, "overview", "", func(ctx context.Context, now admin.Snapshot) (any, error) {
		recent, err := c.latest(ctx, now.Version) // without them there is still much to see
		workers, more := now.Workers, 0
		if len(workers) > rows {
			workers, more = workers[:rows], len(workers)-rows
		}
		return struct {
			Workers []admin.Worker
			More    int
			Recent  []plan.Decision
			Err     error
		}{workers, more, recent, err}, nil
	})
}

func (c *Console) decisions(ctx context.Context, q admin.Query) ([]plan.Decision, error) {
	all := []plan.Decision{}
	for d, err := range c.group.History(ctx, q) {
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// latest are the newest decisions, which are read once for each plan.
func (c *Console) latest(ctx context.Context, v plan.Version) ([]plan.Decision, error) {
	c.mu.Lock()
	all, of := c.recent, c.recentOf
	c.mu.Unlock()
	if of == v && v != 0 {
		return all, nil
	}
	all, err := c.decisions(ctx, admin.Query{Last: glances})
	if err == nil {
		c.mu.Lock()
		c.recent, c.recentOf = all, v
		c.mu.Unlock()
	}
	return all, err
}

// A part is some rows of a list, and how to get to the others.
type part[T any] struct {
	Rows        []T
	From, Total int // the first of them, counted from 1, and how many there are
	Before      string
	After       string
}

// cut is the part of a list that a request asks for.
func cut[T any](r *http.Request, all []T) part[T] {
	from, _ := strconv.Atoi(r.URL.Query().Get("from"))
	from = min(max(from-1, 0), max(len(all)-1, 0)/rows*rows)
	p := part[T]{Rows: all[from:min(from+rows, len(all))], From: from + 1, Total: len(all)}
	at := func(from int) string {
		q := r.URL.Query()
		q.Set("from", strconv.Itoa(from+1))
		return "?" + q.Encode()
	}
	if from > 0 {
		p.Before = at(max(from-rows, 0))
	}
	if from+rows < len(all) {
		p.After = at(from + rows)
	}
	return p
}

// To is the last row, counted from 1.
func (p part[T]) To() int { return p.From + len(p.Rows) - 1 }

func (c *Console) workers(w http.ResponseWriter, r *http.Request) {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	c.shown(w, r, "workers", "Workers", func(_ context.Context, now admin.Snapshot) (any, error) {
		some := slices.DeleteFunc(slices.Clone(now.Workers), func(x admin.Worker) bool {
			return q != "" && !contains(q, x.ID, x.Host, x.Zone, x.State, x.Does, x.Software)
		})
		return struct {
			Q    string
			Part part[admin.Worker]
		}{q, cut(r, some)}, nil
	})
}

func contains(q string, texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(q)) })
}

func (c *Console) worker(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	c.shown(w, r, "worker", id, func(_ context.Context, now admin.Snapshot) (any, error) {
		x, err := now.Worker(id)
		if err != nil {
			return nil, err
		}
		var has []admin.Partition
		for _, p := range now.Partitions {
			if p.Owner == id || p.Next == id {
				has = append(has, p)
			}
		}
		var alerts []admin.Alert
		for _, a := range now.Alerts {
			if a.Worker == id {
				alerts = append(alerts, a)
			}
		}
		verbs := []string{"drain", "cordon"}
		if x.Drained {
			verbs[0] = "undrain"
		}
		if x.Cordoned {
			verbs[1] = "uncordon"
		}
		return struct {
			Worker admin.Worker
			Alerts []admin.Alert
			Verbs  []string
			Part   part[admin.Partition]
		}{x, alerts, verbs, cut(r, has)}, nil
	})
}

// states are what a partition can be, as the filter offers them.
var states = []string{admin.Owned, admin.Moving, admin.Stopping, admin.Unassigned, admin.Quarantined, admin.Done}

func (c *Console) partitions(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	q, state, owner := strings.TrimSpace(query.Get("q")), query.Get("state"), query.Get("worker")
	c.shown(w, r, "partitions", "Partitions", func(_ context.Context, now admin.Snapshot) (any, error) {
		if state != "" && !slices.Contains(states, state) {
			return nil, &Error{Status: http.StatusBadRequest, What: fmt.Sprintf("no partition is ever %q", state), Try: strings.Join(states, ", ")}
		}
		some := slices.DeleteFunc(slices.Clone(now.Partitions), func(x admin.Partition) bool {
			return q != "" && !contains(q, x.ID) || state != "" && x.State != state || owner != "" && x.Owner != owner && x.Next != owner
		})
		return struct {
			Q, State, Worker string
			States           []string
			Part             part[admin.Partition]
			Unnamed          int
		}{q, state, owner, states, cut(r, some), now.Unnamed()}, nil
	})
}

func (c *Console) partition(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	c.shown(w, r, "partition", id, func(ctx context.Context, now admin.Snapshot) (any, error) {
		e, err := c.group.Explain(ctx, id)
		if err != nil {
			return nil, err
		}
		recent, err := c.decisions(ctx, admin.Query{Last: glances, Partition: id, Among: among})
		verbs := []string{"move", "pin", "ban"}
		if e.Partition.Pinned != "" {
			verbs[1] = "unpin"
		}
		switch e.Partition.State {
		case admin.Quarantined:
			verbs = append(verbs, "lift")
		case admin.Moving, admin.Stopping:
			verbs = append(verbs, "release")
		}
		return struct {
			admin.Explanation
			Verbs  []string
			Recent []plan.Decision
			Among  int
			Err    error
		}{e, verbs, recent, among, err}, nil
	})
}

func (c *Console) history(w http.ResponseWriter, r *http.Request) {
	q, err := queryOf(r)
	c.shown(w, r, "history", "History", func(ctx context.Context, _ admin.Snapshot) (any, error) {
		if err != nil {
			return nil, err
		}
		all, err := c.decisions(ctx, q)
		return struct {
			Query admin.Query
			All   []plan.Decision
			Among int
		}{q, all, q.Among}, err
	})
}

// queryOf is what a request wants of the history: the last hundred, unless it says otherwise.
func queryOf(r *http.Request) (admin.Query, error) {
	v := r.URL.Query()
	q := admin.Query{Last: 100, Partition: strings.TrimSpace(v.Get("partition")), Worker: strings.TrimSpace(v.Get("worker"))}
	if text := v.Get("last"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 10_000 {
			return q, &Error{Status: http.StatusBadRequest, What: fmt.Sprintf("last=%s", text), Why: "it is how many decisions, 1 to 10000"}
		}
		q.Last = n
	}
	if q.Partition != "" || q.Worker != "" {
		q.Among = among
	}
	return q, nil
}

func (c *Console) decision(w http.ResponseWriter, r *http.Request) {
	text := r.URL.Query().Get("version")
	c.shown(w, r, "decision", "A plan", func(ctx context.Context, _ admin.Snapshot) (any, error) {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, &Error{Status: http.StatusBadRequest, What: fmt.Sprintf("version=%s", text), Why: "it is the number of a plan's version"}
		}
		d, err := c.group.Decision(ctx, plan.Version(n))
		return struct {
			plan.Decision
			Part part[plan.Move]
		}{d, cut(r, d.Moves)}, err
	})
}

func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	c.shown(w, r, "events", "Events", func(context.Context, admin.Snapshot) (any, error) {
		s := c.feed.since(0)
		slices.Reverse(s.events)
		return struct {
			All  []told
			Deaf error
		}{s.events, s.deaf}, nil
	})
}

// whatIf is what a request wants to know of.
func whatIf(r *http.Request) (admin.WhatIf, error) {
	v := r.URL.Query()
	var what admin.WhatIf
	for _, id := range v["without"] {
		for id := range strings.FieldsFuncSeq(id, func(r rune) bool { return r == ' ' || r == ',' }) {
			what.Without = append(what.Without, id)
		}
	}
	if text := v.Get("with"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 1000 {
			return what, &Error{Status: http.StatusBadRequest, What: fmt.Sprintf("with=%s", text), Why: "it is how many more workers, 0 to 1000"}
		}
		what.With = n
	}
	return what, nil
}

func (c *Console) plan(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query().Has("with") || r.URL.Query().Has("without")
	what, err := whatIf(r)
	c.shown(w, r, "plan", "What if", func(ctx context.Context, _ admin.Snapshot) (any, error) {
		body := struct {
			Asked   bool
			With    int
			Without string
			Outcome admin.Outcome
			Part    part[admin.Relocation]
		}{Asked: asked, With: what.With, Without: strings.Join(what.Without, " ")}
		if err != nil || !asked {
			return body, err
		}
		o, err := c.group.Plan(ctx, what)
		body.Outcome, body.Part = o, cut(r, o.Moves)
		return body, err
	})
}

func (c *Console) doctor(w http.ResponseWriter, r *http.Request) {
	c.shown(w, r, "doctor", "Doctor", func(ctx context.Context, _ admin.Snapshot) (any, error) {
		all, err := c.group.Doctor(ctx)
		return struct{ All []admin.Finding }{all}, err
	})
}

// link is a page and what it is about.
func link(page string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return page
	}
	return page + "?" + q.Encode()
}
