// Package console shows a group in a browser, and steers it: what is happening and what it
// waits for, who has which partition and why, what moved and at what cost, and what would
// happen if something were different.
//
// A [Console] is a [net/http.Handler] that can be mounted anywhere:
//
//	c := console.New(admin.Open(store), "orders", console.WithReadOnly())
//	defer c.Close()
//	mux.Handle("/parti/", http.StripPrefix("/parti", c))
//
// It brings its own page, style and script, and asks for nothing from anywhere else. Each
// page is complete before a script runs; the script keeps it fresh, and adds keys.
//
// Whoever reaches it sees the group, and unless it is [WithReadOnly] steers it: mount it behind
// what guards the rest of your service, or give it a token by [WithToken]. What pages of
// other sites send or embed is refused, by Sec-Fetch-Site and Origin, as browsers send them.
// [Console.Serve] listens by itself, and only on this machine unless there is a token; a
// token keeps out the other users of this machine, too.
package console

import (
	"context"
	"iter"
	"net/http"
	"sync"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/plan"
)

// A group is what the console needs of an [admin.Group].
type group interface {
	Snapshot(ctx context.Context) (admin.Snapshot, error)
	Watch(ctx context.Context, f func(admin.Snapshot, error) bool) error
	Events(ctx context.Context, began func(), f func(admin.Event)) error
	History(ctx context.Context, q admin.Query) iter.Seq2[plan.Decision, error]
	Decision(ctx context.Context, v plan.Version) (plan.Decision, error)
	Explain(ctx context.Context, partition string) (admin.Explanation, error)
	Plan(ctx context.Context, w admin.WhatIf) (admin.Outcome, error)
	Doctor(ctx context.Context) ([]admin.Finding, error)
	Standing(ctx context.Context, c plan.Control) (*plan.Control, error)
}

// A Console is a group's pages. Its methods may be called from any goroutine.
type Console struct {
	group group
	name  string
	do    func(ctx context.Context, v admin.Verb, c plan.Control, o admin.Order) (admin.Change, error)

	readOnly bool
	open     bool   // Serve needs no token
	secret   []byte // of the token; nil: there is none
	who      func(*http.Request) string

	feed *feed
	mux  http.Handler

	mu       sync.Mutex
	recent   []plan.Decision // the newest
	recentOf plan.Version    // when this was the plan
}

// An Option changes what a [Console] shows and allows. A nil Option is ignored.
type Option func(*Console)

// WithReadOnly shows and does not steer.
func WithReadOnly() Option { return func(c *Console) { c.readOnly = true } }

// WithToken asks for a token: in a form, in ?token= of any page, or as a bearer's. An empty
// one is none.
func WithToken(token string) Option {
	return func(c *Console) {
		if c.secret = nil; token != "" {
			c.secret = secretOf(token)
		}
	}
}

// WithoutGuard lets [Console.Serve] do without a token wherever it listens, and under any
// name, since something in front of it guards it.
func WithoutGuard() Option { return func(c *Console) { c.open = true } }

// WithWho says who steers, of a request, for the records of it: such as the user that a
// proxy in front has let in. By default, and with nil, it is the address that the request
// comes from.
func WithWho(who func(*http.Request) string) Option { return func(c *Console) { c.who = who } }

// New makes the console of a group, which is called by that name on it. Close it in the end.
// It panics when g is nil.
func New(g *admin.Group, name string, opts ...Option) *Console {
	if g == nil {
		panic("console: the group is nil: give it what admin.Open returns")
	}
	c := newConsole(g, name, opts...)
	c.do = func(ctx context.Context, v admin.Verb, wish plan.Control, o admin.Order) (admin.Change, error) {
		return v.Do(ctx, g, wish, o)
	}
	return c
}

func newConsole(g group, name string, opts ...Option) *Console {
	c := &Console{group: newTurnstile(g), name: name}
	for _, o := range opts {
		if o != nil {
			o(c)
		}
	}
	c.feed = newFeed(g)
	c.mux = c.guarded(c.routes())
	return c
}

// Close ends what keeps pages fresh. Pages that are open are told nothing any more.
func (c *Console) Close() { c.feed.close() }

// ServeHTTP answers one request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

func (c *Console) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.overview)
	mux.HandleFunc("GET /workers", c.workers)
	mux.HandleFunc("GET /worker", c.worker)
	mux.HandleFunc("GET /partitions", c.partitions)
	mux.HandleFunc("GET /partition", c.partition)
	mux.HandleFunc("GET /history", c.history)
	mux.HandleFunc("GET /decision", c.decision)
	mux.HandleFunc("GET /events", c.events)
	mux.HandleFunc("GET /plan", c.plan)
	mux.HandleFunc("GET /doctor", c.doctor)
	mux.HandleFunc("GET /do", c.confirm)
	mux.HandleFunc("POST /do", c.steer)
	mux.HandleFunc("POST /login", c.login)
	mux.HandleFunc("POST /logout", c.logout)
	mux.HandleFunc("GET /live", c.live)
	mux.Handle("GET /static/", static())
	mux.HandleFunc("GET /api/snapshot", c.apiSnapshot)
	mux.HandleFunc("GET /api/history", c.apiHistory)
	mux.HandleFunc("GET /api/explain", c.apiExplain)
	mux.HandleFunc("GET /api/plan", c.apiPlan)
	mux.HandleFunc("GET /api/doctor", c.apiDoctor)
	mux.HandleFunc("/", c.nowhere)
	return mux
}
