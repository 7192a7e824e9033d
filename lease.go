package parti

import (
	"context"
	"fmt"
)

// A Lease is one period in which this worker owns one partition. It is a value
// and may be copied; its methods may be called from several goroutines at once.
//
// The zero Lease proves nothing: its Hard has ended and its Check fails.
type Lease struct {
	// Partition is what is owned, as the source listed it when it was granted.
	Partition Partition
	// Token is larger than that of every earlier lease of this partition, on
	// whatever worker, also after the store was lost. Write it beside your data and
	// refuse to overwrite a larger one: that holds where nothing else can, after a
	// freeze of the whole process.
	Token uint64
	// Worker is the ID under which this worker owns it, such as "worker-7".
	Worker string

	hard  context.Context //nolint:containedctx // it is what a lease is: a time that ends
	check func() error
}

// NewLease makes a Lease for those who call a [Handler] themselves, as package
// partitest does. A nil hard never ends; a nil check proves everything. Worker is empty: set
// it where the handler reads it.
func NewLease(p Partition, token uint64, hard context.Context, check func() error) Lease { //nolint:revive,contextcheck // hard is not the context of this call
	if hard == nil {
		hard = context.Background()
	}
	if check == nil {
		check = func() error { return nil }
	}
	return Lease{Partition: p, Token: token, hard: hard, check: check}
}

// ended is a context that has.
var ended = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrFenced)
	return ctx
}()

// Hard is the context for finishing what is in hand. It outlives Run's ctx, and
// ends when the drain has taken longer than Config.DrainTimeout, when the time for
// stopping is over, or when the session is known to be lost. Under [Fence] it ends as
// well when ownership can no longer be proved, so before anybody else can be given the
// partition; under [Freeze] it goes on through isolation, until Config.MaxFreeze, if that is
// set, and FenceMargin are over.
// Its [context.Cause] says which. Once it has ended, drop everything and return. It
// ends as well when Run has returned.
func (l Lease) Hard() context.Context {
	if l.hard == nil {
		return ended
	}
	return l.hard
}

// Check is nil while the session is trusted at this moment: it was renewed less than
// SessionTTL − FenceMargin ago, by a clock that counts suspension (on Linux; elsewhere a
// suspension is noticed after waking), and its part of the plan was heard since; this
// lease's Run has not returned, and Hard has not ended. It stays nil while a revoked
// partition is being drained: it is owned until Run returns. Otherwise it is an error
// that wraps [ErrFenced], or Hard's cause.
//
// Under [Fence] nil proves that nobody else owns the partition. Under [Freeze] it does
// not for a worker that is cut off: others are given its partitions once it is missed,
// Config.EmergencyGrace or LostAfter after it fell silent, which is before its trust is
// over. There only Token protects what is written.
//
// Call it right before an effect outside. It reads two variables and the clock, and
// asks nobody. It cannot hold for the time after it: an effect that starts now may
// happen after the trust is over, which is what Token and Config.FenceMargin are for.
func (l Lease) Check() error {
	if l.check == nil {
		return fmt.Errorf("%w: this lease was made by nobody", ErrFenced)
	}
	return l.check()
}
