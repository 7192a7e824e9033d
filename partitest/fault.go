package partitest

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/pattern"
	"github.com/parti-go/parti/partitest/internal/frame"
)

// A Fault is something that was done to a fleet. It lasts until it is healed, at the
// latest when the test ends. Faults may overlap: each ends by its own Heal.
type Fault struct {
	kind        kind
	only        filter
	rate        float64       // drop, twice: which part of the messages
	least, most time.Duration // delay
	limiter     *rate.Limiter // slow
	lanes       []*lane
	struck      atomic.Int64
	healing     context.Context //nolint:containedctx // ends when it is healed
	heal        func()
}

type kind uint8

const (
	none  kind = iota // not of the network
	cut               // connections are closed, and refused
	hole              // nothing passes, and nobody is told
	hold              // messages wait for the end of the fault
	delay             // messages wait for a time
	drop              // messages are lost
	twice             // messages come twice
	slow              // only so many bytes a second
	count             // nothing
)

// newFault makes a fault and begins it.
func newFault(tb testing.TB, f *Fault, begin, end func()) *Fault {
	tb.Helper()
	healing, healed := context.WithCancel(context.Background())
	f.healing = healing
	var links []*Link // that are kept from a node
	if f.kind == cut || f.kind == hole {
		for _, l := range f.lanes {
			if l.link != nil && !slices.Contains(links, l.link) {
				links = append(links, l.link)
			}
		}
	}
	f.heal = sync.OnceFunc(func() {
		healed()
		for _, l := range links {
			l.tell(Back)
		}
		if end != nil {
			end()
		}
		for _, l := range f.lanes {
			l.remove(f)
		}
	})
	tb.Cleanup(f.heal)
	if begin != nil {
		begin()
	}
	for _, l := range links {
		l.tell(Isolated)
	}
	for _, l := range f.lanes {
		l.add(f)
	}
	return f
}

// Heal ends the fault. What it held back goes on its way, in the order in which it
// came. It may be called again.
func (f *Fault) Heal() { f.heal() }

// Count is how often it has struck: how many messages were delayed, held, lost or
// repeated, how many connections were closed or refused. A test that asserts what a
// fleet survived asserts that this is above 0, too: a fault that never struck proves
// nothing. Of a black hole it is the number of connections, too.
func (f *Fault) Count() int { return int(f.struck.Load()) }

func (f *Fault) isHealed() bool { return f.healing.Err() != nil }

// hits reports whether a fault is about this frame.
func (f *Fault) hits(dir Direction, fr frame.Frame, a *asked) bool {
	switch f.kind {
	case drop, twice:
		return fr.IsMessage() && f.only.match(dir, fr, a)
	case delay, hold:
		return f.only.match(dir, fr, a)
	case count:
		return fr.IsMessage() && f.only.match(dir, fr, a)
	default:
		return false
	}
}

// A Direction is one of the two of a connection.
type Direction uint8

// The directions, seen from the worker.
const (
	ToServer Direction = 1 << iota // what the worker sends
	ToClient                       // what it is sent
)

// Only narrows a fault down: to one direction, or to messages of some subjects.
// Several of them must all fit. A nil Only is ignored.
type Only func(*filter)

type filter struct {
	dirs     Direction // 0: both
	subjects []string
	answers  []string
}

// Going narrows a fault down to one direction.
func Going(d Direction) Only { return func(f *filter) { f.dirs = d } }

// Subject narrows a fault down to messages whose subject matches one of the patterns,
// with the wildcards of NATS.
func Subject(patterns ...string) Only {
	return func(f *filter) { f.subjects = append(f.subjects, patterns...) }
}

// AnswersTo narrows a fault down to the answers to the client's own requests to
// subjects that match one of the patterns: so a write is stored and its
// acknowledgement lost. Requests from before the fault count as well.
func AnswersTo(patterns ...string) Only {
	return func(f *filter) { f.answers = append(f.answers, patterns...) }
}

func narrow(only []Only) (f filter) {
	for _, o := range only {
		if o != nil {
			o(&f)
		}
	}
	return f
}

func (f *filter) direction(d Direction) bool { return f.dirs == 0 || f.dirs&d != 0 }

func (f *filter) match(dir Direction, fr frame.Frame, a *asked) bool {
	if !f.direction(dir) {
		return false
	}
	if len(f.subjects) > 0 && !pattern.WithinAny(fr.Subject, f.subjects) {
		return false
	}
	if len(f.answers) > 0 && (dir != ToClient || !pattern.WithinAny(a.of(fr.Subject), f.answers)) {
		return false
	}
	return true
}

// asked remembers to what subjects a client's requests went, by where their answers
// are to come. A nil one remembers nothing.
type asked struct {
	mu    sync.Mutex
	by    map[string]string
	order []string
}

// maxAsked is how many requests are remembered.
const maxAsked = 4096

func (a *asked) note(dir Direction, f frame.Frame) {
	if a == nil || dir != ToServer || f.Reply == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.by[f.Reply]; !known {
		a.order = append(a.order, f.Reply)
	}
	a.by[f.Reply] = f.Subject
	if len(a.order) > maxAsked {
		delete(a.by, a.order[0])
		a.order = a.order[1:]
	}
}

func (a *asked) of(reply string) string {
	if a == nil {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.by[reply]
}

// chance is random and can be repeated, as far as goroutines allow.
type chance struct {
	mu   sync.Mutex
	rand *rand.Rand
}

func (c *chance) below(p float64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rand.Float64() < p
}

func (c *chance) between(least, most time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return least + time.Duration(c.rand.Int64N(int64(most-least)+1))
}

// A Client is whom a fault of the network is about: a connection that was made by
// [NATS.Connect], the worker that uses one, or the link of a process.
type Client interface {
	*nats.Conn | *parti.Manager | *Link
}

// DelayMessages delays all that client sends and is sent by between least and most, and
// keeps its order, as a slow network does. Narrowed down to subjects, only their
// messages are late, and others overtake them.
func DelayMessages[C Client](tb testing.TB, client C, least, most time.Duration, only ...Only) *Fault {
	tb.Helper()
	if least < 0 || most < least {
		tb.Fatalf("DelayMessages: %v to %v is no range of delays", least, most)
	}
	return strike(tb, client, &Fault{kind: delay, least: least, most: most, only: narrow(only)})
}

// DropMessages loses that share of a client's messages, between 0 and 1. The connection stays,
// and so do its subscriptions: only messages are lost, as core NATS may lose them.
func DropMessages[C Client](tb testing.TB, client C, share float64, only ...Only) *Fault {
	tb.Helper()
	return strike(tb, client, &Fault{kind: drop, rate: part(tb, "DropMessages", share), only: narrow(only)})
}

// DuplicateMessages lets that share of a client's messages, between 0 and 1, come twice.
func DuplicateMessages[C Client](tb testing.TB, client C, share float64, only ...Only) *Fault {
	tb.Helper()
	return strike(tb, client, &Fault{kind: twice, rate: part(tb, "DuplicateMessages", share), only: narrow(only)})
}

func part(tb testing.TB, who string, share float64) float64 {
	tb.Helper()
	if !(share >= 0 && share <= 1) {
		tb.Fatalf("%s: %v of all messages: it must be a part of them, from 0 to 1", who, share)
	}
	return share
}

// HoldMessages keeps a client's messages back until it is healed. They arrive then, unless
// the connection has ended meanwhile.
func HoldMessages[C Client](tb testing.TB, client C, only ...Only) *Fault {
	tb.Helper()
	return strike(tb, client, &Fault{kind: hold, only: narrow(only)})
}

// CountMessages does nothing to a client's messages but count them.
func CountMessages[C Client](tb testing.TB, client C, only ...Only) *Fault {
	tb.Helper()
	return strike(tb, client, &Fault{kind: count, only: narrow(only)})
}

// BlackHole lets nothing of a client pass, neither data nor the end of a connection, and
// tells nobody: as when packets are lost. What was sent arrives when it is healed,
// unless the connection was given up. Of what narrows it down only the direction counts.
func BlackHole[C Client](tb testing.TB, client C, only ...Only) *Fault {
	tb.Helper()
	return strike(tb, client, &Fault{kind: hole, only: narrow(only)})
}

// CutConnection closes a client's connection, and every one that it tries to make.
func CutConnection[C Client](tb testing.TB, client C) *Fault {
	tb.Helper()
	return strike(tb, client, &Fault{kind: cut})
}

// LimitBandwidth lets through so many bytes a second, both directions together.
func LimitBandwidth[C Client](tb testing.TB, client C, bytesPerSecond int, only ...Only) *Fault {
	tb.Helper()
	if bytesPerSecond <= 0 {
		tb.Fatalf("LimitBandwidth: %d bytes a second: it must be more than none; BlackHole lets nothing pass", bytesPerSecond)
	}
	burst := max(bytesPerSecond/100, 64)
	return strike(tb, client, &Fault{kind: slow, limiter: rate.NewLimiter(rate.Limit(bytesPerSecond), burst), only: narrow(only)})
}

// strike puts a fault on the way of a connection.
func strike[C Client](tb testing.TB, client C, f *Fault) *Fault {
	tb.Helper()
	f.lanes = []*lane{&linkOf(tb, client).all}
	return newFault(tb, f, nil, nil)
}

// A Group is one side of a partitioned network. Its members are whatever is a [Client],
// and *Node.
type Group []any

// PartitionNetwork lets nothing pass between members of different groups: between a
// worker and the nodes of other groups, and between nodes. Nothing is closed and
// nobody is told. Who is in no group goes on with everybody. Workers need no cut
// between them: they speak over nodes only.
func PartitionNetwork(tb testing.TB, groups ...Group) *Fault {
	tb.Helper()
	f := &Fault{kind: hole}
	for i, g := range groups {
		for _, other := range groups[i+1:] {
			for _, a := range g {
				for _, b := range other {
					f.lanes = append(f.lanes, between(tb, a, b)...)
				}
			}
		}
	}
	if len(f.lanes) == 0 {
		tb.Fatalf("PartitionNetwork: nothing lies between the groups: there must be two at least, and a node in one of them")
	}
	return newFault(tb, f, nil, nil)
}

// between are the lanes between two members.
func between(tb testing.TB, a, b any) []*lane {
	tb.Helper()
	x, aIsNode := a.(*Node)
	y, bIsNode := b.(*Node)
	switch {
	case aIsNode && bIsNode:
		return []*lane{x.nats.pair(x.index, y.index)}
	case aIsNode:
		return between(tb, b, a)
	case bIsNode:
		return []*lane{linkOf(tb, a).each[y.index]}
	default:
		linkOf(tb, a)
		linkOf(tb, b)
		return nil
	}
}
