// Package consumer_test moves partitions between owners over real servers, on every
// retention, and counts messages.
package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	natstest.Register()
	natstest.SideBySide()
	natstest.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// patience is how long to wait for what must happen; it measures nothing.
const patience = 2 * time.Minute

// A site is a place where a stream can be.
type site struct {
	name     string
	replicas int
	connect  func(t *testing.T, opts ...nats.Option) *nats.Conn
}

// everywhere runs a test on one node and on three, with durable consumers for each
// retention, and with cursors.
func everywhere(t *testing.T, run func(t *testing.T, w *world)) {
	t.Helper()
	for _, s := range sites(t) {
		for _, r := range []jetstream.RetentionPolicy{jetstream.LimitsPolicy, jetstream.WorkQueuePolicy, jetstream.InterestPolicy} {
			t.Run(s.name+"/"+r.String(), func(t *testing.T) {
				t.Parallel()
				run(t, newWorld(t, s, r))
			})
		}
		t.Run(s.name+"/Cursor", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, jetstream.LimitsPolicy)
			w.cursors = true
			run(t, w)
		})
	}
}

// siteOf is a single node.
func siteOf(ns *server.Server) site {
	return site{"one", 1, func(t *testing.T, opts ...nats.Option) *nats.Conn {
		t.Helper()
		return natstest.Connect(t, ns, opts...)
	}}
}

// sites starts one node, and three.
func sites(t *testing.T) []site {
	t.Helper()
	one := natstest.Start(t)
	three := natstest.StartCluster(t, 3)
	var next atomic.Int64
	return []site{
		siteOf(one),
		{"three", 3, func(t *testing.T, opts ...nats.Option) *nats.Conn {
			t.Helper()
			return three.Connect(t, int(next.Add(1))%3, opts...)
		}},
	}
}

// A world is a stream, and what became of its messages.
type world struct {
	t      *testing.T
	site   site
	stream string
	js     jetstream.JetStream

	cursors bool // rather than durable consumers

	mu    sync.Mutex
	got   map[string][]int // by partition, in order
	sent  map[string]int
	where []string // who got them
	wake  chan struct{}
}

var streams, messages atomic.Int64 // so far, each with a number of its own

func newWorld(t *testing.T, s site, retention jetstream.RetentionPolicy) *world {
	t.Helper()
	return newWorldOf(t, s, retention, jetstream.MemoryStorage)
}

func newWorldOf(t *testing.T, s site, retention jetstream.RetentionPolicy, storage jetstream.StorageType) *world {
	t.Helper()
	w := &world{t: t, site: s, stream: fmt.Sprintf("S%d", streams.Add(1)), got: map[string][]int{}, sent: map[string]int{}, wake: make(chan struct{}, 1)}
	w.js = natstest.JetStream(t, s.connect(t))
	if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: w.stream, Subjects: []string{w.stream + ".in.>"}, Retention: retention, Replicas: s.replicas, Storage: storage,
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

// jetStream is what a program has, which asks once.
func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// anyhow tries again what gave up since nobody answered: while a cluster elects leaders, and
// has little CPU for it, that may take longer than anybody waits.
func anyhow(try func() error) (err error) {
	for end := time.Now().Add(patience); ; {
		if err = try(); !natstest.Passing(err) || time.Now().After(end) {
			return err
		}
		moment()
	}
}

// moment is how long to wait before something is looked at, or tried, again: that nobody
// answers may be heard at once.
func moment() { <-time.After(5 * time.Millisecond) }

// An owner runs partitions under a connection of its own.
type owner struct {
	w    *world
	name string
	nc   *nats.Conn
	h    parti.Handler
}

// ackWait is an option of durable consumers.
func (w *world) ackWait(d time.Duration) consumer.Option {
	if w.cursors {
		return consumer.Use()
	}
	return consumer.AckWait(d)
}

// rarely is an option of cursors.
func (w *world) rarely() consumer.Option {
	if w.cursors {
		return consumer.CursorEvery(time.Minute)
	}
	return consumer.Use()
}

// note records a message.
func (w *world) note(who string, m *consumer.Msg) {
	n, err := strconv.Atoi(string(m.Data))
	if err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	w.got[m.Partition] = append(w.got[m.Partition], n)
	w.where = append(w.where, who)
	w.mu.Unlock()
	w.nudge()
}

// nudge lets until look again.
func (w *world) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *world) owner(name string, f consumer.Func, opts ...consumer.Option) *owner {
	w.t.Helper()
	return w.ownerOver(w.site.connect(w.t, natskv.ConnectOptions()...), name, f, opts...)
}

func (w *world) ownerOver(nc *nats.Conn, name string, f consumer.Func, opts ...consumer.Option) *owner {
	w.t.Helper()
	o := &owner{w: w, name: name, nc: nc}
	if f == nil {
		f = func(context.Context, *consumer.Msg) error { return nil }
	}
	noting := func(ctx context.Context, m *consumer.Msg) error {
		w.note(name, m)
		return f(ctx, m)
	}
	js, subject := jetStream(w.t, o.nc), w.stream+".in.{partition}"
	if err := anyhow(func() (err error) {
		if w.cursors {
			opts := append([]consumer.Option{consumer.CursorEvery(0)}, opts...)
			o.h, err = consumer.NewCursor(w.t.Context(), js, "g-"+w.stream, w.stream, subject, noting, opts...)
		} else {
			o.h, err = consumer.NewDurable(w.t.Context(), js, "group", w.stream, subject, noting, opts...)
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return o
}

// A tenure is one lease of one partition.
type tenure struct {
	stop   context.CancelFunc
	hard   context.CancelCauseFunc
	ended  chan error
	fenced atomic.Bool
}

// run runs a partition, and does so again, as a Manager does, when nobody has answered.
func (o *owner) run(partition string, token uint64) *tenure {
	ctx, stop := context.WithCancel(context.Background())
	hard, cancel := context.WithCancelCause(context.Background())
	x := &tenure{stop: stop, hard: cancel, ended: make(chan error, 1)}
	lease := parti.NewLease(parti.Partition{ID: partition}, token, hard, func() error {
		if x.fenced.Load() {
			return parti.ErrFenced
		}
		return context.Cause(hard)
	})
	go func() {
		for {
			err := o.h.Run(ctx, lease)
			if !natstest.Passing(err) || ctx.Err() != nil || hard.Err() != nil {
				x.ended <- err
				return
			}
			moment()
		}
	}()
	o.w.t.Cleanup(func() {
		stop()
		cancel(parti.ErrFenced)
	})
	return x
}

// release ends a tenure as a move does, and waits for it.
func (x *tenure) release(t *testing.T) {
	t.Helper()
	x.stop()
	select {
	case err := <-x.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not let go")
	}
}

// over waits for the end of a tenure that was cut off, whatever it says.
func (x *tenure) over() {
	select {
	case <-x.ended: //nolint:errcheck // whatever it says
	case <-time.After(patience):
	}
}

// send publishes the next n messages of a partition.
func (w *world) send(partition string, n int) {
	w.t.Helper()
	for range n {
		w.mu.Lock()
		w.sent[partition]++
		text := strconv.Itoa(w.sent[partition])
		w.mu.Unlock()
		w.publish(w.stream+".in."+partition, text)
	}
}

// publish publishes one message, and waits until it is stored.
func (w *world) publish(subject, text string) {
	w.t.Helper()
	w.insist(newID(), subject, text)
}

// newID is the ID of another message.
func newID() string { return strconv.FormatInt(messages.Add(1), 10) }

// answerTime is how long a publisher waits before it publishes a message again.
const answerTime = 5 * time.Second

// insist publishes a message until it is known to be stored. It is published again, with
// the same ID, where no answer comes: the node that had it may have gone, or leads no more.
func (w *world) insist(id, subject, text string) {
	w.t.Helper()
	if err := anyhow(func() error {
		ctx, cancel := context.WithTimeout(w.t.Context(), answerTime)
		defer cancel()
		_, err := w.js.Publish(ctx, subject, []byte(text), jetstream.WithMsgID(id),
			jetstream.WithRetryAttempts(100), jetstream.WithRetryWait(100*time.Millisecond)) // the stream may have no leader for a moment
		return err
	}); err != nil {
		w.t.Error(err)
	}
}

// until waits for a condition on what was got.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	end := time.After(patience)
	for {
		w.mu.Lock()
		ok := cond()
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-w.wake:
		case <-end:
			w.mu.Lock()
			var text []string
			for p, n := range w.sent {
				text = append(text, fmt.Sprintf("%s: %d of %d", p, len(w.got[p]), n))
			}
			w.mu.Unlock()
			w.t.Fatalf("%s did not happen: got %s", what, strings.Join(text, ", "))
		}
	}
}

// exactly waits until n messages of a partition have come, and checks that they came in
// order, once each.
func (w *world) exactly(partition string, n int) {
	w.t.Helper()
	w.until("all messages", func() bool { return len(w.got[partition]) >= n })
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, x := range w.got[partition] {
		if x != i+1 {
			w.t.Fatalf("%s: message %d is number %d: %v", partition, i+1, x, w.got[partition][max(i-5, 0):min(i+5, len(w.got[partition]))])
		}
	}
}

// make sees to it that the partition's consumer is there: with interest retention,
// nothing is kept before.
func (o *owner) make(partitions ...string) {
	o.w.t.Helper()
	d, ok := o.h.(*consumer.Durable)
	if !ok {
		return
	}
	for _, p := range partitions {
		if err := anyhow(func() error { return d.Provision(o.w.t.Context(), parti.Partition{ID: p}) }); err != nil {
			o.w.t.Fatal(err)
		}
	}
}

// The backlog of a partition follows it, and no other.
func TestBacklogFollows(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		stopAt, asked := make(chan struct{}), make(chan struct{})
		a := w.owner("a", func(_ context.Context, m *consumer.Msg) error {
			if m.Sequence == 20 {
				close(stopAt)
				<-asked
			}
			return nil
		})
		b := w.owner("b", nil)
		a.make("p")
		w.send("p", 60)
		x := a.run("p", 1)
		<-stopAt
		x.stop()
		close(asked)
		x.release(t)
		y := b.run("p", 2)
		w.exactly("p", 60)
		y.release(t)
		if !slices.Contains(w.where, "b") {
			t.Error("b got nothing")
		}
		want := 1
		if w.cursors {
			want = 0
		}
		w.consumersAre(want, want)
	})
}

// A worker without partitions is given nothing, whatever there is, and asks for nothing.
func TestEmptyShareConsumesNothing(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		idle := w.owner("idle", nil)
		busy := w.owner("busy", nil, consumer.PullBatch(1))
		busy.make("p", "q")
		w.send("q", 5)
		w.send("p", 20)
		x := busy.run("p", 1)
		w.exactly("p", 20)
		x.release(t)
		busy.pending("q", 5)
		if slices.Contains(w.where, "idle") || len(w.where) != 20 {
			t.Errorf("%v", w.where)
		}
		y := idle.run("q", 1) // until it has one
		w.exactly("q", 5)
		y.release(t)
	})
}

func consumers(t *testing.T, w *world) (names []string) {
	t.Helper()
	s, err := w.js.Stream(t.Context(), w.stream)
	if err != nil {
		t.Fatal(err)
	}
	list := s.ConsumerNames(t.Context())
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

// consumersAre waits until the stream has so many consumers: in a cluster, the node that is
// asked may hear a moment later that one has gone. It does not wait for long enough that
// consumers go by themselves.
func (w *world) consumersAre(least, most int) {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		n := len(consumers(w.t, w))
		if least <= n && n <= most {
			return
		}
		if time.Now().After(end) {
			w.t.Errorf("%d consumers, want %d to %d", n, least, most)
			return
		}
		moment()
	}
}

// A partition moves again and again under load: nothing is lost, repeated or reordered.
func TestMovesUnderLoad(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		work := func(context.Context, *consumer.Msg) error { return nil }
		owners := []*owner{w.owner("a", work), w.owner("b", work), w.owner("c", work)}
		owners[0].make("p", "q.r")
		const n = 400
		var sending sync.WaitGroup
		defer sending.Wait() // also when the test has failed
		for _, p := range []string{"p", "q.r"} {
			sending.Go(func() { w.send(p, n) })
		}
		token := uint64(0)
		for got := 0; got < n; {
			token++
			x, y := owners[token%3].run("p", token), owners[(token+1)%3].run("q.r", token)
			w.until("progress", func() bool { return len(w.got["p"]) >= min(got+40, n) && len(w.got["q.r"]) >= min(got+40, n) })
			x.release(t)
			y.release(t)
			w.mu.Lock()
			got = min(len(w.got["p"]), len(w.got["q.r"]))
			w.mu.Unlock()
		}
		sending.Wait()
		w.exactly("p", n)
		w.exactly("q.r", n)
	})
}

// The owner dies with a message in hand: the next one has it at once, and once.
func TestCrash(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		inHand := make(chan struct{})
		a := w.owner("a", func(ctx context.Context, m *consumer.Msg) error {
			if m.Sequence == 5 {
				close(inHand)
				<-ctx.Done()
			}
			return nil
		}, w.ackWait(time.Hour))
		b := w.owner("b", nil, w.ackWait(time.Hour))
		a.make("p")
		w.send("p", 10)
		x := a.run("p", 1)
		<-inHand
		a.nc.Close()
		y := b.run("p", 2)
		w.until("the rest", func() bool { return len(w.got["p"]) >= 11 })
		y.release(t)
		w.mu.Lock()
		defer w.mu.Unlock()
		if want := []int{1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10}; !slices.Equal(w.got["p"], want) {
			t.Errorf("%v", w.got["p"])
		}
		x.hard(parti.ErrFenced)
	})
}

// With several in flight, all that the dead owner had in hand come at once.
func TestCrashWithMany(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		var out atomic.Int64
		full := make(chan struct{})
		a := w.owner("a", func(ctx context.Context, m *consumer.Msg) error {
			if m.Sequence%2 == 0 { // half of them are done
				return nil
			}
			if out.Add(1) == 5 {
				close(full)
			}
			<-ctx.Done()
			return nil
		}, consumer.InFlight(5), w.ackWait(time.Hour))
		b := w.owner("b", nil, consumer.InFlight(5), w.ackWait(time.Hour))
		a.make("p")
		w.send("p", 20)
		x := a.run("p", 1)
		<-full
		a.nc.Close()
		y := b.run("p", 2)
		w.until("all of them", func() bool {
			seen := map[int]bool{}
			for i, n := range w.got["p"] {
				if w.where[i] == "b" || n%2 == 0 {
					seen[n] = true
				}
			}
			return len(seen) == 20
		})
		y.release(t)
		x.hard(parti.ErrFenced)
	})
}

// An owner that was frozen wakes when its lease is over, and acknowledges nothing.
func TestZombie(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		inHand, thaw := make(chan struct{}), make(chan struct{})
		a := w.owner("a", func(context.Context, *consumer.Msg) error {
			close(inHand)
			<-thaw
			return nil
		}, w.ackWait(time.Hour), consumer.PullExpiry(2*time.Second))
		failing := errors.New("not yet")
		var tries atomic.Int64
		b := w.owner("b", func(context.Context, *consumer.Msg) error {
			if tries.Add(1) == 1 {
				close(thaw) // the zombie finishes the message that b has in hand
				return failing
			}
			return nil
		}, w.ackWait(time.Hour), consumer.PullExpiry(2*time.Second), consumer.BackOff(200*time.Millisecond))
		a.make("p")
		w.send("p", 1)
		x := a.run("p", 1)
		<-inHand
		x.fenced.Store(true)
		y := b.run("p", 2)
		w.until("b's second try", func() bool { // had the zombie acknowledged it, it would not come
			return len(w.where) == 3 && w.where[1] == "b" && w.where[2] == "b"
		})
		y.release(t)
		x.hard(parti.ErrFenced)
		if err := <-x.ended; err != nil != w.cursors { // a zombie finds its cursor moved
			t.Error(err)
		}
		if len(w.where) != 3 {
			t.Errorf("%v: the zombie took another one", w.where)
		}
	})
}

// A former owner that wakes has a request with the server still, and is given what comes:
// it gives that back untouched as soon as it knows that its time is over, and the next
// owner need not wait for AckWait.
func TestZombieGivesBack(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		patient := []consumer.Option{w.ackWait(time.Hour), consumer.PullExpiry(time.Minute)}
		a, b := w.owner("a", nil, patient...), w.owner("b", nil, patient...)
		a.make("p")
		x := a.run("p", 1)
		w.send("p", 1)
		w.exactly("p", 1)
		a.pending("p", 0)
		x.fenced.Store(true) // and it does not know
		y := b.run("p", 2)
		w.send("p", 5)
		x.hard(parti.ErrFenced) // now it does
		w.until("all of them", func() bool { return len(w.got["p"]) > 0 && w.got["p"][len(w.got["p"])-1] == 6 })
		x.over()
		y.release(t)
		if i := slices.Index(w.where, "b"); i != 1 || slices.Contains(w.where[1:], "a") {
			t.Errorf("%v: the zombie took another one", w.where)
		}
		// What both had been given may come twice, one after the other.
		if !slices.IsSorted(w.got["p"]) || len(slices.Compact(slices.Clone(w.got["p"]))) != 6 || len(w.got["p"]) > 7 {
			t.Errorf("%v", w.got["p"])
		}
	})
}

// An owner that cannot prove that it is one lets go all the same, when it is asked to.
func TestLetsGoUnproven(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		inHand, finish := make(chan struct{}), make(chan struct{})
		o := w.owner("o", func(context.Context, *consumer.Msg) error {
			close(inHand)
			<-finish
			return nil
		}, w.ackWait(time.Hour))
		o.make("p")
		w.send("p", 1)
		x := o.run("p", 1)
		<-inHand
		x.fenced.Store(true)
		close(finish)
		x.release(t)
	})
}

// What cannot be processed goes to the dead letters with its reason, and the partition goes on.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		dead, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: w.stream + "-DEAD", Subjects: []string{w.stream + ".dead"}})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var troubles []consumer.Trouble
		a := w.owner("a", func(_ context.Context, m *consumer.Msg) error {
			switch string(m.Data) {
			case "2":
				return fmt.Errorf("no such account\r\nX: y, %w", consumer.ErrPermanent)
			case "3":
				return errors.New("always")
			case "4":
				panic("broken")
			}
			return nil
		}, consumer.DeadLetter(w.stream+".dead"), consumer.MaxDeliver(3), consumer.BackOff(0),
			consumer.Observe(func(x consumer.Trouble) {
				mu.Lock()
				defer mu.Unlock()
				if x.Sequence > 0 { // others are of the connection
					troubles = append(troubles, x)
				}
			}))
		a.make("p")
		w.send("p", 5)
		x := a.run("p", 7)
		w.until("all", func() bool { g := w.got["p"]; return len(g) > 0 && g[len(g)-1] == 5 })
		x.release(t)
		w.mu.Lock()
		if want := []int{1, 2, 3, 3, 3, 4, 4, 4, 5}; !slices.Equal(w.got["p"], want) {
			t.Errorf("%v", w.got["p"])
		}
		w.mu.Unlock()
		for i, want := range []struct{ data, reason, tries string }{{"2", "no such account", "1"}, {"3", "always", "3"}, {"4", "panic: broken", "3"}} {
			m, err := dead.GetMsg(t.Context(), uint64(i+1))
			if err != nil {
				t.Fatal(err)
			}
			h := m.Header
			if string(m.Data) != want.data || !strings.Contains(h.Get(consumer.HeaderReason), want.reason) || h.Get(consumer.HeaderTries) != want.tries ||
				h.Get(consumer.HeaderSubject) != w.stream+".in.p" || h.Get(consumer.HeaderPartition) != "p" || h.Get(consumer.HeaderToken) != "7" ||
				h.Get(consumer.HeaderSequence) != want.data || h.Get(consumer.HeaderStream) != w.stream || h.Get("X") != "" {
				t.Errorf("letter %d: %s %v", i+1, m.Data, h)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if n := len(troubles); n != 7 || !troubles[0].Dead || troubles[1].Dead || !troubles[3].Dead {
			t.Errorf("%d troubles: %+v", n, troubles)
		}
	})
}

// What a message said to the stream that it was published to is not said to the one that
// keeps the dead letters; what it says to its readers is kept.
func TestDeadLetterOrders(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	js := jetStream(t, natstest.Connect(t, ns))
	for _, cfg := range []jetstream.StreamConfig{
		{
			Name: "IN", Subjects: []string{"in.>"}, AllowAtomicPublish: true, AllowMsgTTL: true, AllowRollup: true,
			AllowMsgSchedules: true, MaxMsgsPerSubject: -1,
		},
		{Name: "DEAD", Subjects: []string{"dead"}, AllowAtomicPublish: true},
		{Name: "COUNT", Subjects: []string{"count.>"}, AllowMsgCounter: true},
	} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	letters, err := js.Stream(t.Context(), "DEAD")
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		subject string
		orders  map[string]string
	}{
		{"in.id", map[string]string{"Nats-Msg-Id": "in"}},
		{"in.expected", map[string]string{"Nats-Expected-Stream": "IN", "Nats-Expected-Last-Sequence": "1"}},
		{"in.subject", map[string]string{"Nats-Expected-Last-Subject-Sequence": "0", "Nats-Expected-Last-Subject-Sequence-Subject": "in.other"}},
		{"in.ttl", map[string]string{"Nats-TTL": "1h"}},
		{"in.rollup", map[string]string{"Nats-Rollup": "sub"}},
		{"in.batch", map[string]string{"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"}},
		{"in.schedule", map[string]string{"Nats-Schedule": "@at " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "Nats-Schedule-Target": "in.later"}},
		{"count.up", map[string]string{"Nats-Incr": "+1"}},
	} {
		kind, partition, _ := strings.Cut(c.subject, ".")
		msg := nats.NewMsg(c.subject)
		msg.Header.Set("X-Own", "kept")
		for k, v := range c.orders {
			msg.Header.Set(k, v)
		}
		if _, err := js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(c.subject, err)
		}
		told := make(chan consumer.Trouble, 100)
		h, err := consumer.NewDurable(t.Context(), js, "group", strings.ToUpper(kind), kind+".{partition}",
			func(context.Context, *consumer.Msg) error { return consumer.ErrPermanent },
			consumer.DeadLetter("dead"), consumer.Observe(func(x consumer.Trouble) { told <- x }))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- h.Run(ctx, parti.NewLease(parti.Partition{ID: partition}, 1, t.Context(), func() error { return nil }))
		}()
		if x := <-told; !x.Dead {
			t.Errorf("%s: %v", c.subject, x.Err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		letter, err := letters.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(c.subject, err)
		}
		if got := letter.Header; got.Get("X-Own") != "kept" || got.Get(consumer.HeaderSubject) != c.subject {
			t.Errorf("%s: %v", c.subject, got)
		}
		for k := range c.orders {
			if k != "Nats-Msg-Id" && letter.Header.Get(k) != "" { // a letter has an ID of its own
				t.Errorf("%s: %s is %q", c.subject, k, letter.Header.Get(k))
			}
		}
	}
}

// A message that kills its worker each time is given up in the end, though nobody lives
// to tell of an error; those before and after it are not.
func TestPoison(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		dead, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: w.stream + "-DEAD", Subjects: []string{w.stream + ".dead"}})
		if err != nil {
			t.Fatal(err)
		}
		letters := consumer.DeadLetter(w.stream + ".dead")
		w.owner("first", nil, letters).make("p")
		w.burst("p", 10)
		var tries atomic.Int64
		for token := uint64(1); ; token++ {
			if token > 20 {
				t.Fatal("it kills for ever")
			}
			died := make(chan struct{})
			var o *owner
			o = w.owner(fmt.Sprint("o", token), func(ctx context.Context, m *consumer.Msg) error {
				if string(m.Data) != "7" {
					return nil
				}
				tries.Add(1)
				o.nc.Close()
				close(died)
				w.nudge()
				<-ctx.Done()
				return nil
			}, w.rarely(), w.ackWait(time.Hour), consumer.MaxDeliver(2), letters)
			x := o.run("p", token)
			alive := true
			w.until("the end, or another death", func() bool {
				select {
				case <-died:
					alive = false
				default:
				}
				g := w.got["p"]
				return !alive || len(g) > 0 && g[len(g)-1] == 10
			})
			if !alive {
				x.hard(parti.ErrFenced)
				x.over()
				continue
			}
			x.release(t)
			break
		}
		m, err := dead.GetMsg(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) != "7" || !strings.Contains(m.Header.Get(consumer.HeaderReason), "owner was lost") {
			t.Errorf("%s %v", m.Data, m.Header)
		}
		if info, err := dead.Info(t.Context()); err != nil || info.State.Msgs != 1 {
			t.Errorf("%v, %v", info, err)
		}
		if n := tries.Load(); n > 8 {
			t.Errorf("it has killed %d workers", n)
		}
	})
}

// A partition may wait for its turn when it is to move: what it was given goes back.
func TestTurns(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		inHand, finish := make(chan struct{}), make(chan struct{})
		a := w.owner("a", func(context.Context, *consumer.Msg) error {
			inHand <- struct{}{}
			<-finish
			return nil
		}, consumer.InFlightPerWorker(1), w.ackWait(time.Hour))
		b := w.owner("b", nil, w.ackWait(time.Hour))
		a.make("p", "q")
		w.send("p", 1)
		x := a.run("p", 1)
		<-inHand
		w.send("q", 1)
		y := a.run("q", 1) // and now it waits for p
		y.release(t)
		z := b.run("q", 2)
		w.exactly("q", 1)
		close(finish)
		x.release(t)
		z.release(t)
		if w.where[len(w.where)-1] != "b" {
			t.Errorf("%v", w.where)
		}
	})
}

// A long work is not given out again, however short AckWait is.
func TestLongWork(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		a := w.owner("a", func(ctx context.Context, m *consumer.Msg) error {
			if string(m.Data) == "1" {
				<-ctx.Done() // of the time-out
			}
			return nil
		}, w.ackWait(3*time.Second), consumer.Timeout(4*time.Second)) // short, and yet nobody is without CPU for most of it
		a.make("p")
		w.send("p", 2)
		x := a.run("p", 1)
		w.exactly("p", 2)
		x.release(t)
	})
}

// pending waits until so many messages of a partition are not done.
func (o *owner) pending(partition string, want uint64) {
	o.w.t.Helper()
	h, ok := o.h.(interface {
		Pending(ctx context.Context, partition string) (uint64, error)
	})
	if !ok {
		o.w.t.Fatalf("%T tells nothing", o.h)
	}
	var got uint64
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err := anyhow(func() (err error) {
			got, err = h.Pending(o.w.t.Context(), partition)
			return err
		}); err != nil {
			o.w.t.Fatal(err)
		}
		if got == want { // an acknowledgement may be on its way
			return
		}
		moment()
	}
	o.w.t.Errorf("%d are pending, want %d", got, want)
}

// How many messages are not done, before, while and after they are.
func TestPending(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		inHand, finish := make(chan struct{}), make(chan struct{})
		o := w.owner("o", func(_ context.Context, m *consumer.Msg) error {
			if string(m.Data) == "3" {
				close(inHand)
				<-finish
			}
			return nil
		})
		o.make("p")
		w.send("p", 5)
		pending := func(want uint64) {
			t.Helper()
			o.pending("p", want)
		}
		pending(5)
		x := o.run("p", 1)
		<-inHand
		pending(3)
		close(finish)
		w.exactly("p", 5)
		x.release(t)
		pending(0)
	})
}

// Each thing that is wrong is told before anything runs, with what to do.
func TestRefused(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t, func(o *server.Options) { o.JetStreamLimits.MaxAckPending = 0 })
	js := jetStream(t, natstest.Connect(t, ns))
	stream := func(cfg jetstream.StreamConfig) {
		t.Helper()
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	stream(jetstream.StreamConfig{Name: "LIMITS", Subjects: []string{"limits.>"}, MaxConsumers: 1})
	stream(jetstream.StreamConfig{Name: "QUEUE", Subjects: []string{"queue.*"}, Retention: jetstream.WorkQueuePolicy})
	stream(jetstream.StreamConfig{Name: "NOACK", Subjects: []string{"noack.*"}, NoAck: true})
	none := func(context.Context, *consumer.Msg) error { return nil }
	for _, c := range []struct {
		stream, subject string
		opts            []consumer.Option
		want            string
	}{
		{"LIMITS", "limits.{partition}", nil, ""},
		{"LIMITS", "limits.{partition}.>", nil, ""},
		{"QUEUE", "queue.{partition}", nil, ""},
		{"NOTHERE", "limits.{partition}", nil, "is not there"},
		{"LIMITS", "other.{partition}", nil, "does not have the subjects other.{partition}"},
		{"LIMITS", "limits.all", nil, "must contain {partition} once"},
		{"LIMITS", "limits.p{partition}", nil, "must be a token of its own"},
		{"LIMITS", "limits..{partition}", nil, "token 2 is empty"},
		{"NOACK", "noack.{partition}", nil, "NoAck"},
		{"QUEUE", "queue.{partition}", []consumer.Option{consumer.StartAt(consumer.FromNew())}, "is a work queue"},
		{"LIMITS", "limits.{partition}", []consumer.Option{consumer.InFlight(0)}, "InFlight(0): use 1 to 1000"},
		{"LIMITS", "limits.{partition}", []consumer.Option{consumer.PullBatch(0)}, "PullBatch(0): use 1 to 10000"},
		{"LIMITS", "limits.{partition}", []consumer.Option{consumer.MaxDeliver(3)}, "a message must not vanish"},
		{"LIMITS", "limits.{partition}", []consumer.Option{consumer.DeadLetter("nobody.keeps")}, "make a stream that takes nobody.keeps"},
		{"LIMITS", "limits.{partition}", []consumer.Option{consumer.DeadLetter("limits.dead")}, "or dead letters come back"},
		{"LIMITS", "limits.{partition}", []consumer.Option{consumer.AckWait(time.Millisecond)}, "AckWait(1ms)"},
	} {
		_, err := consumer.NewDurable(t.Context(), js, "g", c.stream, c.subject, none, c.opts...)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.stream, c.subject, err, c.want)
		}
	}
	d, err := consumer.NewDurable(t.Context(), js, "g", "LIMITS", "limits.{partition}", none)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Provision(t.Context(), parti.Partition{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	var no *consumer.StreamError
	if err := d.Provision(t.Context(), parti.Partition{ID: "b"}); !errors.As(err, &no) || !strings.Contains(err.Error(), "max_consumers") {
		t.Errorf("%v", err)
	}
	other, err := consumer.NewDurable(t.Context(), js, "g", "LIMITS", "limits.{partition}.>", none)
	if err != nil {
		t.Fatal(err)
	}
	var wrong *consumer.SettingsError
	if err := other.Provision(t.Context(), parti.Partition{ID: "a"}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "filter is limits.a, must be limits.a.>") {
		t.Errorf("%v", err)
	}
	if err := other.Provision(t.Context(), parti.Partition{ID: "b.c"}, parti.Partition{ID: "b"}); err == nil || !strings.Contains(err.Error(), "partitions b and b.c: ") {
		t.Errorf("%v", err)
	}
	closed, err := consumer.NewDurable(t.Context(), js, "g", "LIMITS", "limits.{partition}", none, consumer.WithoutCreate())
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Run(t.Context(), parti.NewLease(parti.Partition{ID: "c"}, 1, nil, nil)); !errors.As(err, &no) || !strings.Contains(err.Error(), "Provision") {
		t.Errorf("%v", err)
	}
}
