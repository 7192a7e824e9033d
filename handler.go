package parti

import "context"

// A Handler runs partitions, each for as long as this worker owns it.
//
// Run is called on a goroutine of its own for every lease, so runs of different
// partitions are concurrent; those of one partition never are, on all workers
// together, within the conditions of the group's promises.
//
// When ctx is done, stop taking work; finish what is in hand under l.Hard; return.
// The return is the release: nobody else starts before it. [context.Cause] of ctx
// says why: [ErrRevoked], [ErrFenced] or [ErrStopped]. After the return, what Run
// started must not go on.
//
// A Run that returns before ctx is done has failed, also with nil: it is called
// again under the same lease after a back-off that grows from one second to a
// minute. [ErrDone] and [ErrReject] end the lease instead. A panic is recovered
// and is such a failure. The error of a Run that was asked to stop is only logged, but for
// ErrDone, which counts. What the source says later of a partition's weight and labels is
// seen by the next Run.
//
// Run must not call [Manager.Stop], which waits for it.
//
// A Handler may also be a [Preparer].
type Handler interface {
	Run(ctx context.Context, l Lease) error
}

// A HandlerFunc is a Handler.
type HandlerFunc func(ctx context.Context, l Lease) error

// Run calls f.
func (f HandlerFunc) Run(ctx context.Context, l Lease) error { return f(ctx, l) }

// A Preparer is a [Handler] that wants to warm up before it runs a partition. A Handler
// around another one is a Preparer only if it has the method itself.
//
// Prepare is called, on a goroutine of its own, when a partition is about to come
// while its former owner is still draining it; or else before Run. It owns nothing:
// it must not take work or write. Partitions that were prepared may never come, or
// come much later. It is never called twice at a time for one partition, and Run
// waits for it. At most Config.MovesInFlight are called ahead of time at once, and as many
// before Run; there one that takes longer than Config.StuckAfter is an alert, and holds up
// no other partition.
//
// ctx ends when the partition need not be prepared any more: ahead of time, when it is not
// to come after all, or this worker stops; before Run, when that is to stop. What is left
// behind must not need ctx, which may end with the call. An error, or a panic, of a call
// that was ahead of time means that Prepare is called again before Run; there it counts as
// one of Run.
type Preparer interface {
	Prepare(ctx context.Context, p Partition) error
}
