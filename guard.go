package parti

import (
	"fmt"
	"sync"
	"time"

	"github.com/parti-go/parti/plan"
)

// A strategyGuard keeps a strategy from taking its worker down: a panic becomes an
// error, and so does an answer that takes too long. The loop waits for the strategy,
// and nothing is renewed meanwhile.
type strategyGuard struct {
	strategy AssignmentStrategy
	patience time.Duration
	calls    *sync.WaitGroup // that have not returned

	mu   sync.Mutex
	busy bool // an earlier call has not returned
}

// explainingGuard is a guard of a strategy that explains.
type explainingGuard struct {
	*strategyGuard

	explainer Explainer
}

func guardStrategy(s AssignmentStrategy, patience time.Duration, calls *sync.WaitGroup) AssignmentStrategy {
	g := &strategyGuard{strategy: s, patience: patience, calls: calls}
	if x, ok := s.(Explainer); ok {
		return explainingGuard{strategyGuard: g, explainer: x}
	}
	return g
}

// Assign asks the strategy.
func (g *strategyGuard) Assign(in plan.Input) ([]int, error) {
	return ask(g, "Assign", func() ([]int, error) { return g.strategy.Assign(in) })
}

// Explain asks the strategy; nothing is explained when it fails.
func (g explainingGuard) Explain(in plan.Input, to []int) plan.Explanation {
	x, _ := ask(g.strategyGuard, "Explain", func() (plan.Explanation, error) { return g.explainer.Explain(in, to), nil })
	return x
}

// ask calls f, which may be given up.
func ask[T any](g *strategyGuard, name string, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	g.mu.Lock()
	if g.busy {
		g.mu.Unlock()
		return none, fmt.Errorf("%s: an earlier call has not returned", name)
	}
	g.busy = true
	g.mu.Unlock()

	returned := make(chan result, 1)
	g.calls.Go(func() { // ends with the strategy, however late that is
		r := result{err: errGoexit}
		defer func() {
			g.mu.Lock()
			g.busy = false
			g.mu.Unlock()
			returned <- r
		}()
		r.err = guarded(func() (err error) {
			r.value, err = f()
			return err
		})
	})
	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	select {
	case r := <-returned:
		if r.err != nil {
			return none, fmt.Errorf("%s: %w", name, r.err)
		}
		return r.value, nil
	case <-timer.C:
		return none, fmt.Errorf("%s has not returned after %v", name, g.patience)
	}
}
