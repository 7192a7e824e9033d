package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parti-go/parti/internal/trouble"
	"github.com/parti-go/parti/plan"
)

// Watched is a source that notices its changes: a parti.PartitionSource that is a
// parti.Watcher as well. [File], [KV], [Subjects] and [SQL] make one. It is safe for
// concurrent use.
type Watched struct {
	name string // such as `file "tools.txt"`
	opts options
	// read is everything that there is, valid and sorted by ID, or an error. Nobody
	// changes what it returned.
	read func(ctx context.Context) ([]plan.Partition, error)
	// listen calls news when there may be some, until ctx ends or it cannot. Nil: there
	// is nothing to listen to.
	listen func(ctx context.Context, news func()) error

	mu      sync.Mutex
	given   *[]plan.Partition // what ListPartitions returned last; nil: nothing yet
	watches map[*vigil]bool   // of each Watch that runs: a source may serve several Managers
}

// ListPartitions lists all partitions, sorted by ID. Unless all of them could be read and
// are valid, it is an error, which names what is wrong, where it stands, and what to do.
func (w *Watched) ListPartitions(ctx context.Context) ([]plan.Partition, error) {
	all, err := w.list(ctx)
	w.mu.Lock()
	for v := range w.watches {
		v.doubt = v.doubt || newSight(all, err).differs(v.last)
	}
	if err != nil {
		w.mu.Unlock()
		return nil, err
	}
	before := w.given
	w.given = &all
	w.mu.Unlock()
	if before != nil && w.opts.observe != nil {
		if c := plan.Diff(*before, all); !c.Empty() {
			w.opts.observe(c)
		}
	}
	return clone(all), nil
}

func (w *Watched) list(ctx context.Context) ([]plan.Partition, error) {
	all, err := w.read(ctx)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, failed(w.name, err)
	}
	return all, nil
}

const (
	// lookTime is how long one look may take.
	lookTime = 30 * time.Second
	// gather is how long to wait after news for what comes with it.
	gather = 50 * time.Millisecond
	// listenSoon is how long to wait at first before listening again, listenLate at last.
	listenSoon = time.Second
	listenLate = time.Minute
)

// Watch looks every so often (see [Every]), and at once when there is news. It calls
// changed after its first look, since it is not known what the leader has, and from then on
// when the list is another one than it was or than a leader was given, when it cannot be
// read any more, and when it can again. It returns nil when ctx ends.
//
// When it cannot listen for news, a Manager is told; it looks on meanwhile, and listens
// again after a second at first and a minute at the most. Called by anybody else it returns
// the error.
func (w *Watched) Watch(ctx context.Context, changed func()) error {
	// Who starts a goroutine waits for it.
	var listener sync.WaitGroup
	defer listener.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	news := make(chan struct{}, 1)
	deaf := make(chan error, 1)
	if w.listen != nil {
		listener.Go(func() { deaf <- w.attend(ctx, news) })
	}
	timer := time.NewTimer(w.opts.every)
	defer timer.Stop()
	v := w.begin()
	defer w.end(v)
	for {
		now := w.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if w.note(v, now) {
			changed()
		}
		timer.Reset(w.opts.every)
		select {
		case <-ctx.Done():
			return nil
		case err := <-deaf:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-timer.C:
		case <-news:
			pause(ctx, gather)
			select {
			case <-news:
			default:
			}
		}
	}
}

// A sight is what a look has seen. The zero sight differs from all others.
type sight struct {
	seen, failed bool
	all          []plan.Partition
}

func newSight(all []plan.Partition, err error) sight {
	return sight{seen: true, failed: err != nil, all: all}
}

func (s sight) differs(before sight) bool {
	return !before.seen || s.failed != before.failed || !plan.Diff(before.all, s.all).Empty()
}

// A vigil is what one Watch knows.
type vigil struct {
	last sight
	// doubt says that a leader was given another list than the last sight, as when
	// something comes and goes between two looks: it must ask again.
	doubt bool
}

func (w *Watched) begin() *vigil {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watches == nil {
		w.watches = map[*vigil]bool{}
	}
	v := &vigil{}
	w.watches[v] = true
	return v
}

func (w *Watched) end(v *vigil) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watches, v)
}

// note reports whether the leader must ask again after this look. The list that it is
// given then is no older.
func (w *Watched) note(v *vigil, now sight) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := v.doubt || now.differs(v.last)
	v.last, v.doubt = now, false
	return news
}

// look is what there is to be seen now.
func (w *Watched) look(ctx context.Context) sight {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	return newSight(w.list(ctx))
}

// attend listens until ctx ends, again after each failure. It returns one of which nobody
// is told.
func (w *Watched) attend(ctx context.Context, news chan<- struct{}) error {
	wait := listenSoon
	for {
		begun := time.Now()
		err := w.hear(ctx, news)
		if ctx.Err() != nil || !trouble.Tell(ctx, err) {
			return err
		}
		if time.Since(begun) > listenLate {
			wait = listenSoon
		}
		pause(ctx, wait)
		wait = min(2*wait, listenLate)
	}
}

// hear listens until ctx ends, or says why it cannot.
func (w *Watched) hear(ctx context.Context, news chan<- struct{}) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panicked: %v", r)
		}
		if err == nil {
			err = errors.New("it stopped")
		}
		err = fmt.Errorf("source: %s: listen for changes: %w", w.name, err)
	}()
	return w.listen(ctx, func() {
		select {
		case news <- struct{}{}:
		default: // there is some already
		}
	})
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
