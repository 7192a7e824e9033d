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
)

const (
	// linger is how long a group is followed after nobody looks any more.
	linger = time.Minute
	// stale is when what was seen last is not taken for what is.
	stale = 5 * time.Second
	// lookIn is how long a page waits for a look of its own, when nothing fresh was seen.
	lookIn = 5 * time.Second
	// kept is how many events are kept.
	kept = 500
	// againIn is how long the way to the group is left alone after it was lost.
	againIn = 2 * time.Second
	// streams is how many may be kept fresh at a time.
	streams = 256
)

// A told is an event and its place among all.
type told struct {
	Number uint64 `json:"number"`
	admin.Event
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
	seen    admin.Snapshot
	at      time.Time // when it was seen; zero: never
	err     error     // why nothing newer is
	looks   uint64    // how often it was looked
	number  uint64
	events  []told
	changed chan struct{} // closed at the next change
}

func newFeed(g group) *feed {
	life, end := context.WithCancel(context.Background())
	return &feed{group: g, life: life, end: end, boot: strconv.FormatInt(time.Now().UnixNano(), 36), changed: make(chan struct{})}
}

func (f *feed) close() {
	f.end()
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
			f.add(admin.Event{At: time.Now().UTC(), Kind: admin.Missed, Text: "nobody looked for a while: what happened meanwhile is not here"})
		}
		f.began = true
		f.wait.Go(func() { f.watch(ctx) })
		f.wait.Go(func() { f.listen(ctx) })
	}
	return sync.OnceFunc(func() {
		time.AfterFunc(linger, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.users--; f.users == 0 && f.stop != nil {
				f.stop()
				f.stop, f.err, f.at = nil, nil, time.Time{}
			}
		})
	})
}

// enter takes one of the streams, leave gives it back.
func (f *feed) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.streams == streams {
		return false
	}
	f.streams++
	return true
}

func (f *feed) leave() {
	f.mu.Lock()
	f.streams--
	f.mu.Unlock()
}

// change tells everybody; mu is held.
func (f *feed) change() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *feed) watch(ctx context.Context) {
	for {
		err := f.group.Watch(ctx, func(now admin.Snapshot, err error) bool {
			f.saw(ctx, now, err)
			return true
		})
		if ctx.Err() != nil {
			return
		}
		f.saw(ctx, admin.Snapshot{}, err)
		if !pause(ctx, againIn) {
			return
		}
	}
}

func (f *feed) saw(ctx context.Context, now admin.Snapshot, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return // another watch may have begun
	}
	if f.err = err; err == nil {
		f.seen, f.at = now, time.Now()
	}
	f.looks++
	f.change()
}

func (f *feed) listen(ctx context.Context) {
	for {
		_ = f.group.Events(ctx, nil, f.hear)
		if !pause(ctx, againIn) {
			return
		}
	}
}

func (f *feed) hear(e admin.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(e)
}

// add takes an event in; mu is held.
func (f *feed) add(e admin.Event) {
	f.number++
	if len(f.events) == kept {
		f.events = append(f.events[:0], f.events[1:]...)
	}
	f.events = append(f.events, told{f.number, e})
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

// snapshot is what the group is like: as it was seen last, if that is not long ago. When it
// cannot be looked at, it is what was seen last, and old says why.
func (f *feed) snapshot(ctx context.Context) (now admin.Snapshot, old string, err error) {
	f.mu.Lock()
	now, at, problem := f.seen, f.at, f.err
	f.mu.Unlock()
	if !at.IsZero() && time.Since(at) < stale {
		if problem != nil {
			old = problem.Error()
		}
		return now, old, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookIn)
	defer cancel()
	fresh, err := f.group.Snapshot(ctx)
	if err != nil && !at.IsZero() {
		return now, err.Error(), nil
	}
	return fresh, "", err
}

// forget has the group looked at anew, because it was changed from here.
func (f *feed) forget() {
	f.mu.Lock()
	f.at = time.Time{}
	f.mu.Unlock()
}

// since are the events after a number, what the feed is like, and the next change.
func (f *feed) since(number uint64) (events []told, last uint64, looks uint64, seen admin.Snapshot, err error, changed <-chan struct{}) { //nolint:revive,staticcheck // err is one of the facts
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Number > number {
			events = append(events, e)
		}
	}
	return events, f.number, f.looks, f.seen, f.err, f.changed
}

// A glance is what a page that is kept fresh is told of a look.
type glance struct {
	Sentence string `json:"sentence"`
	Mood     string `json:"mood"`
	Settled  bool   `json:"settled"`
	Problem  string `json:"problem,omitempty"` // why it may be old
}

var errTooMany = errors.New("too many pages are kept fresh")

// live streams what happens, as server-sent events: "happened" is an event of the group, with
// a number that a browser sends back as Last-Event-ID when it was interrupted; "missed" says
// that some may be missing; "look" says that the group was looked at, and a page may be old.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	if !c.feed.enter() {
		c.fail(w, r, &Error{Status: http.StatusServiceUnavailable, What: errTooMany.Error(), Try: "close some"})
		return
	}
	defer c.feed.leave()
	defer c.feed.use()()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	s := &stream{w: w, control: http.NewResponseController(w)}
	s.write("retry: 2000\n\n")
	_, number, _, _, _, _ := c.feed.since(0)
	looked := uint64(0)
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if boot, n, ok := strings.Cut(id, "-"); ok && boot == c.feed.boot {
			number, _ = strconv.ParseUint(n, 10, 64)
		} else {
			s.send("missed", "", struct{}{})
		}
	}
	alive := time.NewTicker(15 * time.Second)
	defer alive.Stop()
	for s.err == nil {
		events, last, looks, seen, problem, changed := c.feed.since(number)
		if len(events) > 0 && events[0].Number > number+1 {
			s.send("missed", "", struct{}{})
		}
		for _, e := range events {
			s.send("happened", fmt.Sprintf("%s-%d", c.feed.boot, e.Number), e)
		}
		if number = last; looks != looked {
			looked = looks
			g := glance{Sentence: seen.Sentence, Mood: mood(seen), Settled: seen.Settled}
			if problem != nil {
				g.Problem = problem.Error()
			}
			s.send("look", "", g)
		}
		select {
		case <-changed:
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
	err     error
}

func (s *stream) send(event, id string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		s.err = err
		return
	}
	if id != "" {
		id = "id: " + id + "\n"
	}
	s.write(id + "event: " + event + "\ndata: " + string(text) + "\n\n")
}

func (s *stream) write(text string) {
	if s.err != nil {
		return
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(10 * time.Second)) // not every writer has deadlines
	if _, s.err = s.w.Write([]byte(text)); s.err == nil {
		s.err = s.control.Flush()
	}
}
