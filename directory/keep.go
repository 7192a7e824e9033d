package directory

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// What the directory reads. Sessions are not followed: each is written every second by its
// worker, and a thousand workers would have a thousand records decoded a second of which
// nothing is news. What users want of a session, where its process is, stays the same for
// as long as it lives. So it is read once, when a slice names a session that is not known:
// most often when the slice is still empty and only says what is coming.
var (
	planKey     = wire.Key{Kind: wire.Plan}.String()
	slicePrefix = wire.Slice.Prefix()
)

// few is how many keys are read one by one rather than all of their kind.
const few = 8

// The pauses between tries, when something fails.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// keep follows the plan until ctx ends, and begins anew whenever the following ends.
func (d *Directory) keep(ctx context.Context) {
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		_, reconnect := d.store.Connection()
		agreed, err := d.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		d.fail(err)
		if agreed {
			pause = firstPause
		}
		// A thousand directories have lost the same store at the same time.
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-reconnect:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// follow takes what is told until that ends, and looks at the store meanwhile. It says
// whether there was an agreement, and why the following ended.
func (d *Directory) follow(ctx context.Context) (agreed bool, _ error) {
	ctx, cancel := context.WithCancel(ctx)
	var looks sync.WaitGroup
	err := d.store.Follow(ctx, []string{planKey, slicePrefix}, func() {
		looks.Go(func() { agreed = d.reconcile(ctx) })
	}, d.told)
	cancel()
	looks.Wait()
	return agreed, err
}

// told takes what the store tells of. What cannot be read is missed at the next look.
func (d *Directory) told(e kv.Entry) { _ = d.take(e) }

// take takes a record, whether it was told or read.
func (d *Directory) take(e kv.Entry) error {
	key, err := wire.ParseKey(e.Key)
	if err != nil {
		return err
	}
	switch key.Kind {
	case wire.Plan:
		if e.Gone {
			return nil // a look will say what became of the plan
		}
		var h plan.Head
		if err := wire.Decode(e.Key, e.Value, &h); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.book.heard(e.Rev, &h)
	case wire.Slice:
		return d.takeSlice(key.Name, e)
	default: // there are others under no key that we ask for
	}
	return nil
}

func (d *Directory) takeSlice(worker string, e kv.Entry) error {
	d.mu.Lock()
	has := d.book.has(worker, e.Rev)
	d.mu.Unlock()
	if has {
		return nil // it need not be decoded
	}
	var s *plan.Slice
	if !e.Gone {
		s = new(plan.Slice)
		if err := wire.Decode(e.Key, e.Value, s); err != nil {
			return err
		}
		if s.Worker != worker {
			return &wire.UnreadableError{Key: e.Key, Err: fmt.Errorf("it is of worker %q", s.Worker)}
		}
	}
	d.mu.Lock()
	stranger := d.book.slice(worker, e.Rev, s)
	d.mu.Unlock()
	if stranger {
		signal(d.stranger)
	}
	return nil
}

// reconcile looks at the store when it begins, every so often, and again soon when a look
// fails, until ctx ends. It says whether there was an agreement.
func (d *Directory) reconcile(ctx context.Context) (agreed bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := firstPause; ; {
		select {
		case <-ctx.Done():
			return agreed
		case <-d.stranger:
			_ = d.greet(ctx) // a look does it again
			continue
		case <-timer.C:
		}
		sent := time.Now()
		err := d.look(ctx)
		if ctx.Err() != nil {
			return agreed
		}
		wait := d.every
		if err == nil {
			d.agree(sent)
			agreed, pause = true, firstPause
		} else {
			d.fail(err)
			wait = min(pause, d.every)
			wait = wait/2 + rand.N(wait/2+1)
			pause = min(2*pause, mostPause)
		}
		timer.Reset(wait)
	}
}

// look makes sure that nothing is missing, as of when it was called. Every commit writes
// the head of the plan, and the head says which slices it has changed: who knows the head
// where the truth is, and has heard of every head before it, knows which slices it lacks.
// So a look is one small read, unless something was missed; then it reads that, or
// everything.
func (d *Directory) look(ctx context.Context) error {
	d.mu.Lock()
	known := d.book.head
	d.mu.Unlock()
	e, err := d.store.Get(ctx, planKey)
	switch {
	case errors.Is(err, kv.ErrMissing):
		if err := d.hides(ctx, known, e.Rev); err != nil {
			return err
		}
		d.mu.Lock()
		d.book.headless()
		d.mu.Unlock()
	case err != nil:
		return err
	default:
		var h plan.Head
		if err := wire.Decode(e.Key, e.Value, &h); err != nil {
			return err
		}
		if h.Version < known.version || h.Version == known.version && e.Rev != known.rev {
			return errWentBack
		}
		d.mu.Lock()
		d.book.heard(e.Rev, &h)
		d.mu.Unlock()
	}
	if err := d.complete(ctx); err != nil {
		return err
	}
	return d.greet(ctx)
}

// errHidden says that the store does not show what must be in it. A server that cannot read
// its disk says that what it has is not there.
var errHidden = errors.New("the store does not show all that it holds; waiting until it does (if that lasts, see the log of the server)")

// hides says whether the head of the plan is there and only not shown, where it has no value
// and its marker has that revision; 0: it has none. Nobody removes the head, least of all
// without a trace: so it is gone only from a store that was made anew.
func (d *Directory) hides(ctx context.Context, known heading, gone kv.Rev) error {
	if known.version == 0 || gone != 0 {
		return nil
	}
	now, err := d.store.Incarnation(ctx)
	if err != nil {
		return err
	}
	if now > known.version.Incarnation() {
		return nil
	}
	return fmt.Errorf("%w: the head of plan %v", errHidden, known.version)
}

// complete reads the slices that are missing.
func (d *Directory) complete(ctx context.Context) error {
	d.mu.Lock()
	whole := d.book.whole
	due := d.book.dues()
	d.mu.Unlock()
	if !whole || len(due) > few {
		return d.list(ctx, due)
	}
	for _, worker := range due {
		key := wire.Key{Kind: wire.Slice, Name: worker}.String()
		e, err := d.store.Get(ctx, key)
		if err != nil && !errors.Is(err, kv.ErrMissing) {
			return err
		}
		if e.Gone && e.Rev == 0 {
			return d.list(ctx, due) // its marker is gone as well: a list says as of when
		}
		if err := d.take(e); err != nil {
			return err
		}
	}
	return d.missing(due)
}

// errBehind says that the store shows a commit, but not all that it has written.
var errBehind = errors.New("the store does not show all of the newest plan yet")

// missing says whether one of these slices still is.
func (d *Directory) missing(due []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, worker := range due {
		if _, is := d.book.due[worker]; is {
			return fmt.Errorf("%w: the slice of %s", errBehind, worker)
		}
	}
	return nil
}

// list reads all slices, and so those that are due. Of what is known already nothing is
// decoded.
func (d *Directory) list(ctx context.Context, due []string) error {
	d.mu.Lock()
	d.book.whole = true // unless something is heard meanwhile that says otherwise
	d.mu.Unlock()
	err := d.listNow(ctx)
	if err == nil {
		err = d.missing(due)
	}
	if err != nil {
		d.mu.Lock()
		d.book.whole = false
		d.mu.Unlock()
	}
	return err
}

func (d *Directory) listNow(ctx context.Context) error {
	es, at, err := d.store.List(ctx, slicePrefix)
	if err != nil {
		return err
	}
	present := make(map[string]bool, len(es))
	var unreadable error
	for _, e := range es {
		key, err := wire.ParseKey(e.Key)
		if err == nil {
			present[key.Name] = true
			err = d.take(e)
		}
		if err != nil && unreadable == nil {
			unreadable = err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.believe(d.book.lacking(at, len(present))); err != nil {
		return err
	}
	if err := d.book.listed(at, present); err != nil {
		return err
	}
	return unreadable
}

// lackFor is for how long a list that lacks slices is not believed. Then an operator must
// have deleted them by hand. A leader waits as long.
const lackFor = time.Minute

// believe says whether a list may be taken for all there is that lacks so many slices. The
// mutex is held.
func (d *Directory) believe(lacks int) error {
	now := time.Since(d.start)
	switch {
	case lacks == 0:
		d.lacks = lack{}
		return nil
	case lacks <= d.lacks.believed:
		return nil
	case !d.lacks.lasts || now-d.lacks.last > lackFor/2:
		d.lacks.lasts, d.lacks.since = true, now
	case now-d.lacks.since >= lackFor:
		d.lacks = lack{believed: lacks}
		return nil
	}
	d.lacks.last = now
	return fmt.Errorf("%w: slices are lacking, %d of them", errHidden, lacks)
}

// greet reads the sessions whose process is not known. One that is gone, or has had a
// successor, stays unknown.
func (d *Directory) greet(ctx context.Context) error {
	d.mu.Lock()
	strangers := d.book.strangers()
	d.mu.Unlock()
	if len(strangers) > few {
		es, _, err := d.store.List(ctx, wire.Session.Prefix())
		if err != nil {
			return err
		}
		for _, e := range es {
			d.meet(e)
		}
		return nil
	}
	for _, worker := range strangers {
		e, err := d.store.Get(ctx, wire.Key{Kind: wire.Session, Name: worker}.String())
		switch {
		case err == nil:
			d.meet(e)
		case !errors.Is(err, kv.ErrMissing):
			return err
		}
	}
	return nil
}

// meet takes a session. What cannot be read says nothing of its process, and no more.
func (d *Directory) meet(e kv.Entry) {
	var s roster.Session
	key, err := wire.ParseKey(e.Key)
	if err != nil || wire.Decode(e.Key, e.Value, &s) != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.book.meet(key.Name, s.Nonce, &Process{
		Identity: s.Identity, Host: s.Host, Zone: s.Zone, Labels: s.Labels, Software: s.Software, Started: s.Started,
	})
}

// agree notes that nothing was missing at that time.
func (d *Directory) agree(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.book.agreed()
	d.agreed, d.failed = at.Sub(d.start), nil
	select {
	case <-d.first:
	default:
		close(d.first)
	}
}

// fail notes why there is no agreement.
func (d *Directory) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, _ := d.store.Connection(); c.Closed {
		err = fmt.Errorf("%w: %w", kv.ErrClosed, err)
	}
	d.failed = err
	signal(d.looked)
}

// heals says whether what failed may come right by itself.
func heals(err error) bool {
	if errors.Is(err, kv.ErrClosed) {
		return false
	}
	for _, passing := range []error{
		kv.ErrUnavailable, kv.ErrLost, kv.ErrHole, kv.ErrMissing, errWentBack, errRebuilding, errBehind, errHidden,
		context.DeadlineExceeded,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// signal wakes whoever waits on c, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
