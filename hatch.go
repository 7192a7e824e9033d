package parti

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/parti-go/parti/internal/hatch"
)

func init() { //nolint:gochecknoinits // see package hatch
	hatch.Open = func(manager any) (hatch.Worker, bool) {
		m, ok := manager.(*Manager)
		return inside{m}, ok
	}
}

// inside is what [hatch.Open] finds.
type inside struct{ m *Manager }

func (i inside) Store() any { return i.m.store }

func (i inside) Begin(ctx context.Context) error { return i.m.begin(ctx) }

func (i inside) Started() bool {
	i.m.mu.Lock()
	defer i.m.mu.Unlock()
	return i.m.started
}

func (i inside) Freeze() (thaw func()) { return i.m.exec.gate.shut() }

func (i inside) Bury() {
	e := i.m.exec
	e.mu.Lock()
	e.hasty = cmp.Or(e.hasty, errBuried)
	e.mu.Unlock()
	e.ops.cancel()
	e.jobs.cancel()
	i.m.force.Do(func() { close(e.force) })
	<-i.m.done
}

var errBuried = errors.New("parti: it ended as a killed process does")

// A gate holds a worker up whose process is to look frozen. It is open unless a test
// shuts it.
type gate struct {
	turn chan struct{} // holds one element, but while somebody has a turn

	mu     sync.Mutex
	shuts  int
	opened chan struct{} // closed while it is open
}

func newGate() *gate {
	g := &gate{turn: make(chan struct{}, 1), opened: make(chan struct{})}
	g.turn <- struct{}{}
	close(g.opened)
	return g
}

// enter waits for a turn, which leave ends. It reports false when quit came first.
func (g *gate) enter(quit <-chan struct{}) bool {
	select {
	case <-g.turn:
		return true
	default:
	}
	select {
	case <-g.turn:
		return true
	case <-quit:
		return false
	}
}

func (g *gate) leave() { g.turn <- struct{}{} }

// isOpen is closed once the gate is open.
func (g *gate) isOpen() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened
}

// shut waits for the turn under way, and lets nobody through until open.
func (g *gate) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shuts++
	if g.shuts == 1 {
		g.opened = make(chan struct{})
		<-g.turn
	}
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shuts--
		if g.shuts == 0 {
			close(g.opened)
			g.turn <- struct{}{}
		}
	})
}
