package partitest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/parti-go/parti"
)

// A Lease is a lease in the hands of a test. Give its Context and its Lease to a
// Handler's Run:
//
//	l := partitest.NewLease(parti.Partition{ID: "tool-001"})
//	go handler.Run(l.Context(), l.Lease)
//
// Its methods may be called from several goroutines at once.
type Lease struct {
	parti.Lease

	ctx      context.Context //nolint:containedctx // a lease is a time that ends
	stop     context.CancelCauseFunc
	stopHard context.CancelCauseFunc

	mu   sync.Mutex
	lost error

	returned atomic.Bool
	late     atomic.Int64 // calls of Check after the return
}

// tokens makes every lease's token larger than all before it.
var tokens atomic.Uint64

// NewLease makes a lease of p that holds until the test takes it away. Its token is
// larger than that of every lease before it.
func NewLease(p parti.Partition) *Lease {
	l := &Lease{}
	hard, stopHard := context.WithCancelCause(context.Background())
	l.stopHard = stopHard
	l.ctx, l.stop = context.WithCancelCause(hard)
	l.Lease = parti.NewLease(p, tokens.Add(1), hard, l.check)
	return l
}

func (l *Lease) check() error {
	if l.returned.Load() {
		l.late.Add(1)
	}
	if l.Hard().Err() != nil {
		return context.Cause(l.Hard())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Context is the first argument of Run.
func (l *Lease) Context() context.Context { return l.ctx }

// Revoke ends Context, as when the partition moves to another worker: the cause is
// [parti.ErrRevoked].
func (l *Lease) Revoke() { l.stop(parti.ErrRevoked) }

// Stop ends Context, as when the worker stops: the cause is [parti.ErrStopped].
func (l *Lease) Stop() { l.stop(parti.ErrStopped) }

// Fence ends Context, as when the worker is cut off under Isolation fence: the cause
// is [parti.ErrFenced]. Check still holds; EndHard is what comes next.
func (l *Lease) Fence() { l.stop(parti.ErrFenced) }

// EndHard ends Hard, and Context if it has not ended: ownership cannot be proved any
// more, or the drain took too long. The cause is Context's, or else [parti.ErrFenced].
func (l *Lease) EndHard() {
	cause := context.Cause(l.ctx)
	if cause == nil {
		cause = parti.ErrFenced
	}
	l.stopHard(cause) // which ends Context, too, and not before
}

// Isolate makes Check fail while both contexts go on, as in a worker that is cut off
// under Isolation freeze. Reconnect takes it back.
func (l *Lease) Isolate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = fmt.Errorf("%w: the test says so", parti.ErrFenced)
}

// Reconnect ends Isolate.
func (l *Lease) Reconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = nil
}
