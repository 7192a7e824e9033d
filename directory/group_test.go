package directory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// A group writes what a leader and its workers would write.
type group struct {
	t      testing.TB
	server *memkv.Server
	client *memkv.Client
	head   plan.Head
	rev    kv.Rev // of the head
	revs   map[string]kv.Rev
}

func newGroup(t testing.TB) *group {
	t.Helper()
	server := memkv.New()
	t.Cleanup(server.Close)
	g := &group{t: t, server: server, client: server.Client("leader"), revs: map[string]kv.Rev{}}
	g.head = plan.Head{Version: plan.MakeVersion(1, 0), Started: true}
	return g
}

// A share is what a worker's slice is made of: a word for each partition, such as
// "p:5" for p granted under the token of plan 5, "p:5>w2" for p on its way to w2, and "p:5>"
// for p on its way to nobody.
type share []string

// slice makes the slice of a share, for the worker's session that is named after it.
func (g *group) slice(worker string, words share) plan.Slice {
	g.t.Helper()
	s := plan.Slice{Worker: worker, Session: "n-" + worker, Version: g.head.Version}
	inc := g.head.Version.Incarnation()
	for _, w := range words {
		var id, next string
		var token uint32
		rest := w
		id, rest, _ = cut(rest, ':')
		number, next, releasing := cut(rest, '>')
		if _, err := fmt.Sscan(number, &token); err != nil {
			g.t.Fatalf("%q: %v", w, err)
		}
		p, tok := plan.Partition{ID: id}, plan.MakeVersion(inc, token)
		if releasing {
			s.Releasing = append(s.Releasing, plan.Release{Partition: p, Token: tok, Next: next})
		} else {
			s.Granted = append(s.Granted, plan.Grant{Partition: p, Token: tok})
		}
	}
	return s
}

func cut(s string, sep byte) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// commit makes the next plan: the shares of these workers, and no slice for those whose
// share is nil.
func (g *group) commit(shares map[string]share) {
	g.t.Helper()
	g.head.Version = g.head.Version.Next()
	all := map[string]*plan.Slice{}
	for worker, words := range shares {
		all[worker] = nil
		if words != nil {
			s := g.slice(worker, words)
			all[worker] = &s
		}
	}
	g.write(all)
}

// write makes a plan of these slices, and the head.
func (g *group) write(all map[string]*plan.Slice) {
	g.t.Helper()
	workers := slices.Sorted(maps.Keys(all))
	g.head.Changed = workers
	ws := []kv.Write{{Key: planKey, Value: g.encode(g.head), Last: g.rev}}
	for _, worker := range workers {
		key := wire.Key{Kind: wire.Slice, Name: worker}.String()
		w := kv.Write{Key: key, Last: g.revs[worker], Remove: all[worker] == nil}
		if !w.Remove {
			w.Value = g.encode(all[worker])
		}
		ws = append(ws, w)
	}
	rev, err := g.client.Commit(context.Background(), ws)
	if err != nil {
		g.t.Fatal(err)
	}
	g.rev = rev
	for i, worker := range workers {
		g.revs[worker] = rev + kv.Rev(i) + 1
		if all[worker] == nil {
			g.revs[worker] = 0
		}
	}
}

func (g *group) encode(v any) []byte {
	g.t.Helper()
	data, err := wire.Encode(v)
	if err != nil {
		g.t.Fatal(err)
	}
	return data
}

// renewed is the group in a store that was made anew, in which no plan stands.
func (g *group) renewed(incarnation uint32) {
	g.t.Helper()
	if _, err := g.client.Renew(context.Background(), incarnation); err != nil {
		g.t.Fatal(err)
	}
	g.rev, g.revs = 0, map[string]kv.Rev{}
	g.head = plan.Head{Version: plan.MakeVersion(incarnation, 0), Adopting: true}
}

// session writes a worker's session, as at each heartbeat.
func (g *group) session(s roster.Session) {
	g.t.Helper()
	key := wire.Key{Kind: wire.Session, Name: s.Worker}.String()
	e, err := g.client.Get(context.Background(), key)
	if err != nil && !errors.Is(err, kv.ErrMissing) {
		g.t.Fatal(err)
	}
	if _, err := g.client.Write(context.Background(), kv.Write{Key: key, Value: g.encode(s), Last: e.Rev}); err != nil {
		g.t.Fatal(err)
	}
}

// sessions writes those that the slices of these workers name.
func (g *group) sessions(workers ...string) {
	g.t.Helper()
	for _, w := range workers {
		g.session(roster.Session{Worker: w, Nonce: "n-" + w})
	}
}

// A caller is a directory of the group with a link of its own, and what it asked the store.
type caller struct {
	*Directory

	t    *testing.T
	link *memkv.Client
	asks chan string
}

// open opens a directory of the group; the test ends it.
func (g *group) open(t *testing.T, opts ...Option) *caller {
	t.Helper()
	c := &caller{t: t, link: g.server.Client("caller"), asks: make(chan string, 1<<16)}
	c.link.Overhear(func(op memkv.Op) { c.asks <- op.String() })
	var err error
	if c.Directory, err = Open(t.Context(), c.link, opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	synctest.Wait()
	return c
}

// asked is what the store was asked since the last time.
func (c *caller) asked() []string {
	var all []string
	for {
		select {
		case ask := <-c.asks:
			all = append(all, ask)
		default:
			return all
		}
	}
}

// owners is all that the directory says, as words, and checks that it says so everywhere.
func (c *caller) owners() map[string]string {
	c.t.Helper()
	all := map[string]string{}
	for id, o := range c.All() {
		if got, ok := c.Owner(id); !ok || got != o {
			c.t.Errorf("All says %s is of %+v, and Owner %+v, %t", id, o, got, ok)
		}
		all[id] = word(o)
	}
	if len(all) != c.Len() {
		c.t.Errorf("Len is %d, and there are %v", c.Len(), all)
	}
	return all
}

// word is an owner in short: worker:token, and >next when it moves.
func word(o Owner) string {
	if o == (Owner{}) {
		return ""
	}
	w := fmt.Sprintf("%s:%d", o.Worker, uint32(o.Token))
	if o.Moving {
		w += ">" + o.Next
	}
	return w
}

// says checks all owners.
func (c *caller) says(want map[string]string) {
	c.t.Helper()
	if got := c.owners(); !maps.Equal(got, want) {
		c.t.Errorf("it says %v, want %v", got, want)
	}
}

// fresh checks that the directory is certain, and how long ago it was at most.
func (c *caller) fresh(most time.Duration) {
	c.t.Helper()
	if s := c.Staleness(); s > most || c.Err() != nil {
		c.t.Errorf("stale for %v, more than %v; %v", s, most, c.Err())
	}
}
