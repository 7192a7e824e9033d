package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

const (
	// linger is how long a group is followed after nobody looks any more.
	linger = time.Minute
	// stale is when what was seen last is not taken for what is. A watch looks every four
	// seconds at least, and a look may wait for workers that do not answer.
	stale = 10 * time.Second
	// lookIn is how long a page waits for a look of its own, when nothing fresh was seen.
	lookIn = 5 * time.Second
	// quietFor is longer than a look takes that waits for workers.
	quietFor = 4 * time.Second
	// kept is how many events are kept.
	kept = 500
	// againIn is how long the way to the group is left alone after it was lost, and
	// deniedIn when it is not allowed.
	againIn  = 2 * time.Second
	deniedIn = time.Minute
	// streams is how many may be kept fresh at a time.
	streams = 256
)

// A told is an event and its place among all. Of a plan it has the version only.
type told struct {
	Number    uint64       `json:"number"`
	At        time.Time    `json:"at"`
	Kind      string       `json:"kind"`
	Text      string       `json:"text"`
	Worker    string       `json:"worker,omitempty"`
	Partition string       `json:"partition,omitempty"`
	Version   plan.Version `json:"version,omitempty"`
}

// A feed follows the group for all who look at it, and only as long as somebody does.
type feed struct {
	group group
	life  context.Context //nolint:containedctx // the feed's
	end   context.CancelFunc
	wait  sync.WaitGroup
	boot  string // tells the numbers of this feed from those of another

	mu      sync.Mutex
	users   int
	streams int
	stop    context.CancelFunc // nil: nothing is followed
	began   bool               // it was followed before
	changed chan struct{}      // closed at the next change

	seen  admin.Snapshot
	at    time.Time // when it was seen; zero: never, or not any more
	err   error     // why nothing newer is
	looks uint64    // how often it was looked, since it is followed

	number uint64
	events []told
	deaf   error // why nothing is told

	looking *look     // that a page needed, and that is not over; nil: there is none
	age     int       // how often something was changed from here
	quiet   time.Time // until when what the watch sees may be from before that: every page looks
}

func newFeed(g group) *feed {
	life, end := context.WithCancel(context.Background())
	return &feed{group: g, life: life, end: end, boot: strconv.FormatInt(time.Now().UnixNano(), 36), changed: make(chan struct{})}
}

func (f *feed) close() {
	f.mu.Lock()
	f.end()
	f.mu.Unlock()
	f.wait.Wait()
}

// use follows the group until some time after the last one who uses it is done.
func (f *feed) use() (done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users++
	if f.stop == nil && f.life.Err() == nil {
		ctx, cancel := context.WithCancel(f.life)
		f.stop = cancel
		if f.began {
			f.miss("nobody looked for a while: what happened meanwhile is not here")
		}
		f.began = true
		f.wait.Go(func() { f.watch(ctx) })
		f.wait.Go(func() { f.listen(ctx) })
	}
	return sync.OnceFunc(func() { time.AfterFunc(linger, f.leave) })
}

// leave is some time after somebody was done.
func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users--; f.users == 0 && f.stop != nil {
		f.stop()
		f.stop, f.err, f.deaf, f.at, f.looks = nil, nil, nil, time.Time{}, 0
	}
}

// enter takes one of the streams; done gives it back.
func (f *feed) enter() (done func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams == streams {
		return nil, false
	}
	f.streams++
	return func() {
		f.mu.Lock()
		f.streams--
		f.mu.Unlock()
	}, true
}

// change tells everybody; mu is held.
func (f *feed) change() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *feed) watch(ctx context.Context) {
	for {
		err := f.group.Watch(ctx, func(now admin.Snapshot, err error) bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.saw(ctx, now, err)
			return true
		})
		f.mu.Lock()
		f.saw(ctx, admin.Snapshot{}, err)
		f.mu.Unlock()
		if !pause(ctx, againIn) {
			return
		}
	}
}

// saw takes in what came of a look; mu is held. A look that may have begun before the group
// was changed from here is nothing to show: it is only told of.
func (f *feed) saw(ctx context.Context, now admin.Snapshot, err error) {
	if ctx.Err() != nil {
		return // another watch may have begun
	}
	if f.err = err; err == nil && !time.Now().Before(f.quiet) {
		f.seen, f.at = now, time.Now()
	}
	f.looks++
	f.change()
}

func (f *feed) listen(ctx context.Context) {
	for began := false; ; {
		err := f.group.Events(ctx, func() { f.hears(ctx, nil, &began) }, func(e admin.Event) { f.hear(ctx, e) })
		if ctx.Err() != nil {
			return
		}
		f.hears(ctx, err, &began)
		again := againIn
		if denied := (*kv.DeniedError)(nil); errors.As(err, &denied) {
			again = deniedIn
		}
		if !pause(ctx, again) {
			return
		}
	}
}

// hears notes that events are told from now on, or why they are not.
func (f *feed) hears(ctx context.Context, err error, began *bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if err == nil && *began {
		f.miss("the group was out of reach: what happened meanwhile is not here")
	}
	*began = *began || err == nil
	f.deaf = err
}

func (f *feed) hear(ctx context.Context, e admin.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() == nil {
		f.add(e)
	}
}

// miss says that events are missing; mu is held.
func (f *feed) miss(text string) {
	f.add(admin.Event{At: time.Now().UTC(), Kind: admin.Missed, Text: text})
}

// add takes an event in; mu is held.
func (f *feed) add(e admin.Event) {
	f.number++
	if len(f.events) == kept {
		f.events = append(f.events[:0], f.events[1:]...)
	}
	t := told{Number: f.number, At: e.At, Kind: e.Kind, Text: e.Text, Worker: e.Worker, Partition: e.Partition}
	if e.Decision != nil {
		t.Version = e.Decision.Version
	}
	f.events = append(f.events, t)
	f.change()
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// snapshot is what the group is like: as it was seen last, if that is not long ago, or else
// by a look that all who need one share. When that fails it is what was seen last, and old
// says why.
func (f *feed) snapshot(ctx context.Context) (now admin.Snapshot, old string, err error) {
	for {
		f.mu.Lock()
		now, at, problem, looking := f.seen, f.at, f.err, f.looking
		if !at.IsZero() && time.Since(at) < stale {
			f.mu.Unlock()
			if problem != nil {
				old = problem.Error()
			}
			return now, old, nil
		}
		if looking == nil {
			looking = &look{over: make(chan struct{}), age: f.age}
			f.looking = looking
			f.mu.Unlock()
			f.look(ctx, looking)
			return looking.now, looking.old, looking.err
		}
		later := looking.age == f.age // it began after the last change from here
		f.mu.Unlock()
		select {
		case <-looking.over:
		case <-ctx.Done():
			return now, "", context.Cause(ctx)
		}
		if later && !errors.Is(looking.err, context.Canceled) { // whoever looked may have gone
			return looking.now, looking.old, looking.err
		}
	}
}

// A look is one that many may wait for.
type look struct {
	over chan struct{}
	age  int // of the feed when it began

	now admin.Snapshot // these once it is over
	old string
	err error
}

func (f *feed) look(ctx context.Context, l *look) {
	bounded, cancel := context.WithTimeout(ctx, lookIn)
	defer cancel()
	l.now, l.err = f.group.Snapshot(bounded)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case l.err == nil && f.age == l.age && f.stop != nil:
		f.seen = l.now // else streams would tell of what was before the change
		if !time.Now().Before(f.quiet) {
			f.at, f.err = time.Now(), nil
			f.looks++
		}
	case l.err != nil && ctx.Err() == nil && f.seen.Schema != 0:
		l.now, l.old, l.err = f.seen, l.err.Error(), nil
	}
	f.looking = nil
	close(l.over)
}

// forget has the group looked at anew, because it was changed from here.
func (f *feed) forget() {
	f.mu.Lock()
	f.at, f.quiet = time.Time{}, time.Now().Add(quietFor)
	f.age++
	f.mu.Unlock()
}

// A state is what a stream tells of.
type state struct {
	events  []told // after the number that was asked for
	number  uint64
	looks   uint64
	seen    admin.Snapshot
	known   bool // there is something that was seen
	err     error
	deaf    error
	changed <-chan struct{}
}

func (f *feed) since(number uint64) state {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := state{number: f.number, looks: f.looks, seen: f.seen, known: f.stop != nil && (f.err != nil || f.seen.Schema != 0), err: f.err, deaf: f.deaf, changed: f.changed}
	for i, e := range f.events {
		if e.Number > number {
			s.events = append(s.events, f.events[i:]...)
			break
		}
	}
	return s
}

// A glance is what a page that is kept fresh is told of a look.
type glance struct {
	Sentence string `json:"sentence"`
	Mood     string `json:"mood"`
	Settled  bool   `json:"settled"`
	Problem  string `json:"problem,omitempty"` // why it may be old
}

// live streams what happens, as server-sent events: "happened" is an event of the group;
// "look" says that the group was looked at, and a page may be old; "missed" says that events
// may be missing. Each has the number of the last event, which a browser sends back as
// Last-Event-ID when it was interrupted.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	done, ok := c.feed.enter()
	if !ok {
		c.fail(w, r, &Error{Status: http.StatusServiceUnavailable, What: "too many pages are kept fresh", Try: "close some"})
		return
	}
	defer done()
	defer c.feed.use()()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	s := &stream{w: w, control: http.NewResponseController(w), boot: c.feed.boot}
	s.write("retry: 2000\n\n")
	number, looked := c.feed.since(0).number, uint64(0)
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if boot, n, ok := strings.Cut(id, "-"); ok && boot == c.feed.boot {
			number, _ = strconv.ParseUint(n, 10, 64)
		} else {
			s.send("missed", number, struct{}{})
		}
	}
	alive := time.NewTicker(15 * time.Second)
	defer alive.Stop()
	for s.err == nil {
		now := c.feed.since(number)
		if len(now.events) > 0 && now.events[0].Number > number+1 {
			s.send("missed", number, struct{}{})
		}
		for _, e := range now.events {
			s.send("happened", e.Number, e)
		}
		number = now.number
		if now.known && now.looks != looked {
			looked = now.looks
			g := glance{Sentence: now.seen.Sentence, Mood: mood(now.seen), Settled: now.seen.Settled}
			if now.err != nil {
				g.Problem = now.err.Error()
			}
			s.send("look", number, g)
		}
		select {
		case <-now.changed:
		case <-alive.C:
			s.write(": alive\n\n")
		case <-r.Context().Done():
			return
		case <-c.feed.life.Done():
			return
		}
	}
}

// A stream is one answer that does not end.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	boot    string
	err     error
}

func (s *stream) send(event string, number uint64, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		s.err = err
		return
	}
	s.write(fmt.Sprintf("id: %s-%d\nevent: %s\ndata: %s\n\n", s.boot, number, event, text))
}

func (s *stream) write(text string) {
	if s.err != nil {
		return
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(writeIn)) // not every writer has deadlines
	if _, s.err = s.w.Write([]byte(text)); s.err == nil {
		s.err = s.control.Flush()
	}
}
