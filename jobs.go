package parti

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/member"
	"github.com/parti-go/parti/internal/trouble"
	"github.com/parti-go/parti/internal/wire"
)

// Back-off of what is begun again when it has failed.
const (
	againSoon = 50 * time.Millisecond
	againLate = time.Second
)

// jobs are the goroutines that last: what the brain wants to be so, is begun when
// it begins to want it and ended when it does not any more.
type jobs struct {
	store  Store
	watch  func(ctx context.Context, changed func()) error // nil: the source does not
	report func(...member.Fact)
	note   func(Event)
	about  func(ctx context.Context) []byte // what this worker says when it is asked about itself
	gate   *gate

	ctx    context.Context //nolint:containedctx // the life of all jobs
	cancel context.CancelFunc
	wait   sync.WaitGroup // for what asks the store
	source sync.WaitGroup // for the source's Watch

	following []member.Follow
	follower  *job
	nonce     string
	worker    atomic.Pointer[string] // the ID, for who probes
	answerers [2]*job                // to probes, and to questions
	watching  bool
	watcher   *job
}

// A job is one goroutine.
type job struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin starts do once the job before it has ended.
func (j *jobs) begin(before *job, do func(ctx context.Context)) *job {
	return j.among(&j.wait, before, do)
}

func (j *jobs) among(all *sync.WaitGroup, before *job, do func(ctx context.Context)) *job {
	ctx, cancel := context.WithCancel(j.ctx)
	next := &job{cancel: cancel, done: make(chan struct{})}
	all.Go(func() {
		defer close(next.done)
		defer cancel()
		if before != nil {
			<-before.done
		}
		do(ctx)
	})
	return next
}

func (o *job) end() {
	if o != nil {
		o.cancel()
	}
}

// start begins what is always wanted.
func (j *jobs) start() {
	j.worker.Store(new(string))
	j.begin(nil, j.connection)
}

// set makes it so. It is called by the loop alone.
func (j *jobs) set(rd member.Ready) {
	if !slices.Equal(rd.Follow, j.following) {
		j.following = slices.Clone(rd.Follow)
		j.follower.end()
		if kinds := j.following; len(kinds) > 0 {
			j.follower = j.begin(j.follower, func(ctx context.Context) { j.follow(ctx, kinds) })
		}
	}
	if id := rd.WorkerID; *j.worker.Load() != id {
		j.worker.Store(&id)
	}
	if rd.Answering != j.nonce {
		j.nonce = rd.Answering
		for _, a := range j.answerers {
			a.end()
		}
		if nonce := j.nonce; nonce != "" {
			j.answerers[0] = j.begin(j.answerers[0], func(ctx context.Context) { j.answerProbes(ctx, nonce) })
			j.answerers[1] = j.begin(j.answerers[1], func(ctx context.Context) { j.answer(ctx, wire.AboutName(nonce), j.about) })
		}
	}
	if j.watch != nil && rd.Leading != j.watching {
		if j.watching = rd.Leading; j.watching {
			j.watcher = j.among(&j.source, j.watcher, j.watchSource)
		} else {
			j.watcher.end()
		}
	}
}

// connection tells of the way to the store whenever it changes.
func (j *jobs) connection(ctx context.Context) {
	for {
		now, changed := j.store.Connection()
		j.report(member.Connected{Up: now.Up, Interrupts: now.Interrupts, Closed: now.Closed})
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// follow tells of changes until ctx ends, and begins again after each hole.
func (j *jobs) follow(ctx context.Context, kinds []member.Follow) {
	prefixes := make([]string, len(kinds))
	for i, k := range kinds {
		prefixes[i] = prefixOf(k)
	}
	pause := againSoon
	for ctx.Err() == nil {
		ready := func() {
			pause = againSoon
			j.report(member.Following{Kinds: kinds})
		}
		err := j.store.Follow(ctx, prefixes, ready, func(e kv.Entry) {
			if key, ok := parseKey(e.Key); ok {
				j.report(member.Told{Record: decode(key, e)})
			}
		})
		if ctx.Err() != nil {
			return
		}
		j.report(member.Hole{})
		if c := member.Outcome(err); !errors.Is(err, kv.ErrHole) && (c == member.Strange || c == member.Forbidden) {
			j.note(event.Failed{Doing: "follow changes", Err: fmt.Sprint(err)})
		}
		sleep(ctx, pause)
		pause = min(2*pause, againLate)
	}
}

// An answer is what a probe is told: enough for a person to see who it is.
type answer struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
}

// answerProbes lets this session be probed until ctx ends: it may be while it still claims
// an ID.
func (j *jobs) answerProbes(ctx context.Context, nonce string) {
	j.answer(ctx, nonce, func(context.Context) []byte {
		text, err := json.Marshal(answer{Worker: *j.worker.Load(), Session: nonce})
		if err != nil {
			panic(err) // two strings
		}
		return text
	})
}

// answer answers to a name until ctx ends.
func (j *jobs) answer(ctx context.Context, name string, what func(context.Context) []byte) {
	reply := func() []byte {
		select {
		case <-j.gate.isOpen():
		case <-ctx.Done():
		}
		return what(ctx)
	}
	pause := againSoon
	for ctx.Err() == nil {
		stop, err := j.store.Answer(name, reply)
		if err == nil {
			<-ctx.Done()
			stop()
			return
		}
		j.note(event.Failed{Doing: "answer probes", Err: err.Error()})
		sleep(ctx, pause)
		pause = min(2*pause, againLate)
	}
}

// Back-off of a source's Watch.
const (
	watchSoon = time.Second
	watchLate = time.Minute
)

// watchSource listens for changes of the source until ctx ends.
func (j *jobs) watchSource(ctx context.Context) {
	changed := func() {
		if ctx.Err() == nil {
			j.report(member.Refresh{})
		}
	}
	failed := func(text string) { j.note(event.Failed{Doing: "watch the partition source", Err: text}) }
	telling := trouble.Told(ctx, func(err error) { failed(err.Error()) })
	pause := watchSoon
	for ctx.Err() == nil {
		begun := time.Now()
		err := apart(func() error { return j.watch(telling, changed) })
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > watchLate {
			pause = watchSoon
		}
		text := "it returned"
		if err != nil {
			text = err.Error()
		}
		failed(text)
		sleep(ctx, pause)
		pause = min(2*pause, watchLate)
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
