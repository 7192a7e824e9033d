package console

import (
	"context"
	"iter"
	"net/http"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/plan"
)

// abreast is how many requests may look for themselves at a time. Each reads much of the
// bucket, or plans anew, and the console may be in a worker's process, which has to renew its
// session meanwhile.
const abreast = 4

// A turnstile is a group of which so many at a time ask what costs more than a look that all
// share. The others wait for their turn.
type turnstile struct {
	group

	turns chan struct{}
}

func newTurnstile(g group) turnstile { return turnstile{g, make(chan struct{}, abreast)} }

// enter waits for a turn, and leave ends it.
func (t turnstile) enter(ctx context.Context) (leave func(), err error) {
	select {
	case t.turns <- struct{}{}:
		return func() { <-t.turns }, nil
	case <-ctx.Done():
		return nil, &Error{Status: http.StatusServiceUnavailable, What: "too many ask at the same time", Try: "a moment later"}
	}
}

func (t turnstile) History(ctx context.Context, q admin.Query) iter.Seq2[plan.Decision, error] {
	if 0 < q.Last && q.Last <= glances && q.Partition == "" && q.Worker == "" { // as the overview has them
		return t.group.History(ctx, q)
	}
	return func(yield func(plan.Decision, error) bool) {
		leave, err := t.enter(ctx)
		if err != nil {
			yield(plan.Decision{}, err)
			return
		}
		defer leave()
		t.group.History(ctx, q)(yield)
	}
}

func (t turnstile) Explain(ctx context.Context, partition string) (admin.Explanation, error) {
	leave, err := t.enter(ctx)
	if err != nil {
		return admin.Explanation{}, err
	}
	defer leave()
	return t.group.Explain(ctx, partition)
}

func (t turnstile) Plan(ctx context.Context, w admin.WhatIf) (admin.Outcome, error) {
	leave, err := t.enter(ctx)
	if err != nil {
		return admin.Outcome{}, err
	}
	defer leave()
	return t.group.Plan(ctx, w)
}

func (t turnstile) Doctor(ctx context.Context) ([]admin.Finding, error) {
	leave, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return t.group.Doctor(ctx)
}
