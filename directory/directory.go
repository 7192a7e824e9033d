package directory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/plan"
)

// A Directory knows who owns which partition of one group. Its methods may be called from
// any number of goroutines, also after Close: then they answer what was known last.
type Directory struct {
	store parti.Store
	every time.Duration
	start time.Time

	mu      sync.Mutex // of all below; never held across a wait or a call of somebody else's code
	book    *book
	readers map[*reader]struct{}
	agreed  time.Duration // after start: when what is known was all there is
	failed  error         // why the last look found no agreement
	lacks   lack

	first    chan struct{} // closed at the first agreement
	looked   chan struct{} // holds one: a look has failed
	stranger chan struct{} // holds one: a slice names a session that is not known
	stop     context.CancelFunc
	done     chan struct{} // closed when nothing runs any more
}

// A lack is what is made of lists that have fewer slices than stand.
type lack struct {
	believed int           // how many are taken for deleted by hand
	lasts    bool          // more are lacking
	since    time.Duration // after start: in every list
	last     time.Duration // after start: of these
}

var errNoStore = errors.New("directory: a nil store: give Open one, such as natskv.Open returns")

// Open reads who owns what, and keeps it fresh until Close. It returns once the first
// picture is complete, also when the group has no plan yet. While the store cannot be
// reached, or has no bucket, it tries again until ctx ends; what does not heal by itself,
// such as a permission that is missing (a natskv.DeniedError), a connection that is closed
// (natskv.ErrConnectionClosed), or a record of a newer release, it returns at once. The store
// is its owner's and must be open for as long as the Directory is.
func Open(ctx context.Context, store parti.Store, opts ...Option) (*Directory, error) {
	o, err := optionsOf(opts)
	if hollow(store) {
		err = errors.Join(errNoStore, err)
	}
	if err != nil {
		return nil, err
	}
	d := &Directory{
		store: store, every: o.every, start: time.Now(), readers: map[*reader]struct{}{},
		first: make(chan struct{}), looked: make(chan struct{}, 1), stranger: make(chan struct{}, 1), done: make(chan struct{}),
	}
	d.book = newBook(d.tell)
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	go func() {
		defer close(d.done)
		d.keep(life)
	}()
	for {
		select {
		case <-d.first:
			return d, nil
		case <-d.looked:
			err := d.Err() // a look that is under way may put an end to it
			if err == nil || heals(err) {
				continue
			}
			d.Close()
			return nil, fmt.Errorf("directory: %w", err)
		case <-ctx.Done():
			d.Close()
			if err := d.Err(); err != nil {
				return nil, fmt.Errorf("directory: %w: %w", context.Cause(ctx), err)
			}
			return nil, fmt.Errorf("directory: %w", context.Cause(ctx))
		}
	}
}

// Close ends the keeping and every iteration over Changes, and waits for the former. The
// Directory goes on answering what it knew.
func (d *Directory) Close() {
	d.stop()
	<-d.done
}

// Owner is who owns the partition; false when nobody does, as far as is known. It takes no
// lock, allocates nothing and waits for nothing.
func (d *Directory) Owner(partition string) (owner Owner, ok bool) {
	e := d.book.table.Load().get(partition)
	if !e.owned() {
		return owner, false
	}
	e.write(&owner) // into the caller's frame: to return e.owner() would copy it once more
	return owner, true
}

// Len is how many partitions have an owner.
func (d *Directory) Len() int { return int(d.book.live.Load()) }

// All is every partition that has an owner, each once, in order of worker IDs and, within
// a worker, of partitions. It is how things stood at one moment, when the iteration begins:
// of each worker, the newest slice that was read by then. What changes later is not in it.
// To begin takes a time for each worker, and none for each partition.
func (d *Directory) All() iter.Seq2[string, Owner] {
	return func(yield func(string, Owner) bool) {
		d.mu.Lock()
		s := d.book.snapshot()
		d.mu.Unlock()
		s.each(func(id string, e *entry) bool { return yield(id, e.owner()) })
	}
}

// Version is the newest plan that was heard of. Some of that plan may not have been read
// yet. All of it has been once Staleness is less than the time since you read Version.
func (d *Directory) Version() plan.Version {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.book.head.version
}

// Staleness is how long ago it was last certain that nothing is missing: what was committed
// before that is known here, and what was since may not be, though normally it is. While
// all is well it is at most the interval ([WithReconcileInterval]) and the time of a request
// or two. It counts from before the store was asked. Time for which the machine was suspended does not count.
func (d *Directory) Staleness() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Since(d.start) - d.agreed
}

// Err says why the directory is not certain now: what went wrong with the store since the
// last agreement with it. Nil: nothing did. It wraps one of the errors of the store, such as
// natskv.ErrUnavailable, natskv.ErrConnectionClosed, natskv.ErrNoBucket or a
// natskv.DeniedError, or says what is wrong with a record, or with the store as a whole.
func (d *Directory) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}
