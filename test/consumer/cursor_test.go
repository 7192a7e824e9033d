package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/test/natstest"
)

// cursors runs a test with cursors on one node and on three.
func cursors(t *testing.T, run func(t *testing.T, w *world)) {
	t.Helper()
	for _, s := range sites(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s, jetstream.LimitsPolicy)
			w.cursors = true
			run(t, w)
		})
	}
}

// A cursor is what stands in the bucket.
type cursor struct {
	Done     uint64   `json:"done"`
	Beyond   []uint64 `json:"beyond"`
	Trying   uint64   `json:"trying"`
	Tries    int      `json:"tries"`
	Begun    bool     `json:"begun"`
	Released bool     `json:"released"`
	token    string
}

func (w *world) cursor(partition string) (c cursor) {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), "KV_g-"+w.stream+"-cursors")
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(w.t.Context(), "$KV.g-"+w.stream+"-cursors."+w.stream+"."+partition)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return c
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(m.Data, &c); err != nil {
		w.t.Fatal(err)
	}
	c.token = m.Header.Get(consumer.HeaderToken)
	return c
}

// cursorIs waits until a partition's cursor is so.
func (w *world) cursorIs(partition string, so func(cursor) bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !so(w.cursor(partition)); { // a read each time
		if time.Now().After(end) {
			w.t.Fatalf("the cursor of %s stays %+v", partition, w.cursor(partition))
		}
	}
}

// Where a partition begins that was never seen, and that it stays.
func TestCursorStarts(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		w.send("p", 3)
		w.send("q", 3)
		s, err := w.js.Stream(t.Context(), w.stream)
		if err != nil {
			t.Fatal(err)
		}
		fifth, err := s.GetMsg(t.Context(), 5)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			partition string
			start     consumer.Start
			done      uint64 // before anything comes
			want      []int
		}{
			{"p", consumer.FromFirst(), 0, []int{1, 2, 3}},
			{"p.new", consumer.FromNew(), 6, nil},
			{"q", consumer.FromTime(fifth.Time), 4, []int{2, 3}},
		} {
			o := w.owner(c.partition, nil, consumer.StartAt(c.start))
			x := o.run(c.partition, 1)
			w.until("the first", func() bool { return len(w.got[c.partition]) >= len(c.want) })
			w.cursorIs(c.partition, func(c cursor) bool { return c.Begun })
			x.release(t)
			if got := w.cursor(c.partition); got.Done < c.done || !got.Released || got.token != "1" {
				t.Errorf("%s: %+v", c.partition, got)
			}
			w.mu.Lock()
			if !slices.Equal(w.got[c.partition], c.want) {
				t.Errorf("%s: %v, want %v", c.partition, w.got[c.partition], c.want)
			}
			w.mu.Unlock()
		}
		w.send("p.new", 2) // while nobody owns it: not new any more
		o := w.owner("later", nil, consumer.StartAt(consumer.FromNew()))
		x := o.run("p.new", 2)
		w.exactly("p.new", 2)
		x.release(t)
	})
}

// A partition that is stuck holds up no other of its worker, and loses nothing, however
// many messages wait for it.
func TestCursorStuckHoldsUpNobody(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		o := w.owner("o", func(_ context.Context, m *consumer.Msg) error {
			if m.Partition != "free" && string(m.Data) == "1" {
				<-release
			}
			return nil
		}, consumer.CursorEvery(time.Second))
		const stuck, n = 12, 600 // more than readers, more than a queue takes
		var all []*tenure
		for i := range stuck {
			all = append(all, o.run(fmt.Sprint("stuck", i), 1))
		}
		all = append(all, o.run("free", 1))
		for i := range stuck {
			w.burst(fmt.Sprint("stuck", i), 1)
		}
		w.until("all are stuck", func() bool { return len(w.got) == stuck })
		for i := range stuck {
			w.burst(fmt.Sprint("stuck", i), n-1)
		}
		w.burst("free", n)
		w.exactly("free", n)
		w.consumersAre(1, 10) // of one worker
		close(release)
		for i := range stuck {
			w.exactly(fmt.Sprint("stuck", i), n)
		}
		for _, x := range all {
			x.release(t)
		}
	})
}

// burst publishes the next n messages of a partition without waiting for each. Those of
// which nobody says that they are stored are published again, one after the other: when the
// leader of a stream goes it loses the last ones.
func (w *world) burst(partition string, n int) {
	w.t.Helper()
	const together = 100
	subject := w.stream + ".in." + partition
	type sent struct {
		id, text string
		ack      jetstream.PubAckFuture
	}
	for ; n > 0; n -= together {
		var all []sent
		for range min(n, together) {
			w.mu.Lock()
			w.sent[partition]++
			m := sent{id: newID(), text: strconv.Itoa(w.sent[partition])}
			w.mu.Unlock()
			var err error
			if m.ack, err = w.js.PublishAsync(subject, []byte(m.text), jetstream.WithMsgID(m.id), jetstream.WithRetryAttempts(0)); err != nil {
				w.t.Error(err)
				return
			}
			all = append(all, m)
		}
		late, cancel := context.WithTimeout(w.t.Context(), answerTime)
		for _, m := range all {
			select {
			case <-m.ack.Ok():
			case <-m.ack.Err(): //nolint:errcheck // nobody answered
				w.insist(m.id, subject, m.text)
			case <-late.Done():
				w.insist(m.id, subject, m.text)
			}
		}
		cancel()
	}
}

// Partitions come and go one after the other, and go on from where they were. The worker
// has few consumers all the time.
func TestCursorFewReaders(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		o := w.owner("o", nil)
		const n = 40
		all := map[string]*tenure{}
		for i := range n {
			p := fmt.Sprint("p", i)
			all[p] = o.run(p, 1)
			w.burst(p, 2)
			w.exactly(p, 2)
			w.consumersAre(1, 10) // one or two go while another comes
		}
		for i := range n {
			w.burst(fmt.Sprint("p", i), 3)
		}
		for i := range n {
			w.exactly(fmt.Sprint("p", i), 5)
		}
		for i := range n {
			all[fmt.Sprint("p", i)].release(t)
			for j := i + 1; j < min(i+3, n); j++ {
				w.burst(fmt.Sprint("p", j), 1)
			}
		}
		for i := range n {
			p := fmt.Sprint("p", i)
			x := o.run(p, 2)
			w.exactly(p, 5+min(i, 2))
			x.release(t)
		}
	})
}

// What an idle partition's next owner need not read, as there is nothing of it in there,
// it is told.
func TestCursorOfIdle(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		o := w.owner("o", nil)
		for token := uint64(1); ; token++ {
			busy, idle := o.run("busy", token), o.run("idle", token)
			w.burst("busy", 1)
			w.burst("idle", 1)
			sent := int(101*(token-1)) + 1
			w.exactly("busy", sent)
			w.exactly("idle", int(token))
			w.burst("busy", 100)
			w.exactly("busy", sent+100)
			together := len(consumers(t, w)) == 1
			idle.release(t)
			busy.release(t)
			switch done := w.cursor("idle").Done; {
			case together && done < 102*token:
				t.Errorf("the cursor is at %d, of %d messages", done, 102*token)
				return
			case together:
				return
			case token == 20: // one was later than the other, each time
				t.Fatal("they are never read together")
			}
		}
	})
}

// One partition's ID may be the beginning of another's.
func TestCursorOverlap(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		got := map[string][]string{}
		note := func(_ context.Context, m *consumer.Msg) error {
			mu.Lock()
			got[m.Partition] = append(got[m.Partition], string(m.Data))
			mu.Unlock()
			w.nudge()
			return nil
		}
		o := &owner{w: w, name: "o"}
		if err := anyhow(func() (err error) {
			o.h, err = consumer.NewCursor(t.Context(), w.js, "g", w.stream, w.stream+".in.{partition}.>", note)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		x, y := o.run("a", 1), o.run("a.b", 1)
		for _, subject := range []string{"a.x", "a.b.x", "a.b", "b.a.b.x"} {
			w.publish(w.stream+".in."+subject, subject)
		}
		w.until("all four", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(got["a"])+len(got["a.b"]) >= 4
		})
		x.release(t)
		y.release(t)
		if !slices.Equal(got["a"], []string{"a.x", "a.b.x", "a.b"}) || !slices.Equal(got["a.b"], []string{"a.b.x"}) {
			t.Errorf("%v", got)
		}
	})
}

// A crash repeats at most what was done since the last cursor, and loses nothing.
func TestCursorCrashRepeatsLittle(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		a := w.owner("a", nil, consumer.CursorEvery(10*time.Millisecond))
		b := w.owner("b", nil)
		x := a.run("p", 1)
		w.burst("p", 50)
		w.exactly("p", 50)
		w.cursorIs("p", func(c cursor) bool { return c.Done >= 50 })
		w.send("p", 1)
		w.exactly("p", 51)
		a.nc.Close()
		w.send("p", 9)
		y := b.run("p", 2)
		w.until("all", func() bool { return w.got["p"][len(w.got["p"])-1] == 60 })
		y.release(t)
		x.hard(parti.ErrFenced)
		x.over()
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := len(w.got["p"]); n > 61 {
			t.Errorf("%d messages were given for 60", n)
		}
		want := 1
		for i, n := range w.got["p"] {
			if n != want && (n != want-1 || w.where[i] != "b") {
				t.Fatalf("%v", w.got["p"])
			}
			want = n + 1
		}
	})
}

// anew makes the stream anew, and counts from the beginning.
func (w *world) anew() {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), w.stream)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.js.DeleteStream(w.t.Context(), w.stream); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.js.CreateStream(w.t.Context(), s.CachedInfo().Config); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got, w.sent = map[string][]int{}, map[string]int{}
}

// The stream is made anew, or has lost its end: nothing that comes then is passed over.
func TestCursorOfAnotherStream(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		var troubles []string
		observe := consumer.Observe(func(x consumer.Trouble) {
			mu.Lock()
			defer mu.Unlock()
			troubles = append(troubles, fmt.Sprint(x.Err))
		})
		o := w.owner("o", nil, observe)
		w.send("p", 20)
		x := o.run("p", 1)
		w.exactly("p", 20)
		x.release(t)
		w.anew()
		w.send("p", 5)
		x = o.run("p", 2)
		w.exactly("p", 5)
		x.release(t)
		// The same again, while somebody reads.
		x = o.run("p", 2)
		w.send("p", 1)
		w.exactly("p", 6)
		w.anew()
		w.send("p", 5)
		select {
		case err := <-x.ended:
			if err == nil || !strings.Contains(err.Error(), "is another one now") {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("it reads on")
		}
		x = o.run("p", 2)
		w.exactly("p", 5)
		x.release(t)
		mu.Lock()
		if !strings.Contains(strings.Join(troubles, "\n"), "was made anew") {
			t.Errorf("%q", troubles)
		}
		mu.Unlock()
		// A stream cannot be made to lose its end here; a cursor that is ahead looks the same.
		c, err := w.js.KeyValue(t.Context(), "g-"+w.stream+"-cursors")
		if err != nil {
			t.Fatal(err)
		}
		e, err := c.Get(t.Context(), w.stream+".p")
		if err != nil {
			t.Fatal(err)
		}
		ahead := strings.Replace(string(e.Value()), `"done":5`, `"done":50`, 1)
		if ahead == string(e.Value()) {
			t.Fatalf("%s", ahead)
		}
		if _, err := c.PutString(t.Context(), w.stream+".p", ahead); err != nil {
			t.Fatal(err)
		}
		x = o.run("p", 3)
		w.cursorIs("p", func(c cursor) bool { return c.Done == 5 })
		w.send("p", 3)
		w.exactly("p", 8)
		x.release(t)
		mu.Lock()
		defer mu.Unlock()
		if !strings.Contains(strings.Join(troubles, "\n"), "has lost messages") {
			t.Errorf("%q", troubles)
		}
	})
}

// A stream that is deleted, and not made anew, ends its partitions, and those that begin then:
// whoever runs them is to know. They begin with its first message when it is there again.
func TestCursorWithoutStream(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		o := w.owner("o", nil)
		x := o.run("p", 1)
		w.send("p", 3)
		w.exactly("p", 3)
		s, err := w.js.Stream(t.Context(), w.stream)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.js.DeleteStream(t.Context(), w.stream); err != nil {
			t.Fatal(err)
		}
		for range 2 { // one that reads, and one that would
			select {
			case err := <-x.ended:
				if err == nil || !strings.Contains(err.Error(), "is not there any more") {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Fatal("nobody is told")
			}
			x = o.run("p", 1)
		}
		if _, err := w.js.CreateStream(t.Context(), s.CachedInfo().Config); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		w.got, w.sent = map[string][]int{}, map[string]int{}
		w.mu.Unlock()
		w.send("p", 2)
		w.exactly("p", 2)
		x.release(t)
	})
}

// The bucket of cursors is away when a partition is let go of: its last cursor waits for it.
func TestLastCursorWaits(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		failed := make(chan struct{}, 100)
		o := w.owner("o", nil, w.rarely(), consumer.Observe(func(consumer.Trouble) {
			select {
			case failed <- struct{}{}:
			default:
			}
		}))
		x := o.run("p", 1)
		w.send("p", 3)
		w.exactly("p", 3)
		s, err := w.js.Stream(t.Context(), "KV_g-"+w.stream+"-cursors")
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		if err := w.js.DeleteStream(t.Context(), cfg.Name); err != nil {
			t.Fatal(err)
		}
		x.stop()
		for range 2 {
			select {
			case <-failed:
			case err := <-x.ended:
				t.Fatalf("it has let go without its cursor: %v", err)
			case <-time.After(patience):
				t.Fatal("nobody misses the bucket")
			}
		}
		if _, err := w.js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		x.release(t)
		w.cursorIs("p", func(c cursor) bool { return c.Done == 3 && c.Released })
	})
}

// A gate is a dialer that may be shut.
type gate struct{ shut atomic.Bool }

func (g *gate) Dial(network, address string) (net.Conn, error) {
	if g.shut.Load() {
		return nil, errors.New("the gate is shut")
	}
	return net.DialTimeout(network, address, patience)
}

// The stream is made anew while its reader is cut off: what is stored meanwhile is not
// passed over.
func TestCursorCutOffFromAnotherStream(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		var g gate
		nc := w.site.connect(t, append(natskv.ConnectOptions(), nats.SetCustomDialer(&g))...)
		o := w.ownerOver(nc, "o", nil)
		x := o.run("p", 1)
		w.send("p", 20)
		w.exactly("p", 20)
		g.shut.Store(true)
		if err := nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		w.anew()
		w.send("p", 5)
		g.shut.Store(false)
		select {
		case err := <-x.ended:
			if err == nil || !strings.Contains(err.Error(), "is another one now") {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("it reads on")
		}
		x = o.run("p", 1)
		w.exactly("p", 5)
		x.release(t)
	})
}

// A cursor that is written after each message holds up the next one until it stands, however
// long its bucket is away.
func TestCursorBeforeTheNext(t *testing.T) {
	t.Parallel()
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	makeStreams(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	publish := func(text string) {
		t.Helper()
		if _, err := js.Publish(t.Context(), "s.p", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	const enough = 3 // failures, so that it is seen to insist
	failed := make(chan struct{}, enough)
	s := newStrangerOf(t, js, "g", "S", "s.{partition}", consumer.Observe(func(consumer.Trouble) {
		select {
		case failed <- struct{}{}:
		default:
		}
	}))
	publish("1")
	ended, stop := s.run(1)
	s.gets("1")
	for late := time.Now().Add(patience); ; { // until its cursor stands
		n, err := s.cursor.Pending(t.Context(), "p")
		if err == nil && n == 0 {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if err := js.DeleteKeyValue(t.Context(), "shared"); err != nil {
		t.Fatal(err)
	}
	publish("2")
	s.gets("2")
	publish("3")
	for range enough {
		select {
		case <-failed:
		case <-time.After(patience):
			t.Fatal("it does not insist")
		}
	}
	select {
	case text := <-s.came:
		t.Errorf("%s comes before the cursor stands", text)
	default:
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "shared"}); err != nil {
		t.Fatal(err)
	}
	s.gets("3")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n, err := s.cursor.Pending(t.Context(), "p"); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// A former owner cannot move the cursor once the next one has begun, and hears why.
func TestCursorZombieCannotMoveIt(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		inHand, thaw := make(chan struct{}), make(chan struct{})
		a := w.owner("a", func(context.Context, *consumer.Msg) error {
			close(inHand)
			<-thaw
			return nil
		})
		var tries atomic.Int64
		b := w.owner("b", func(_ context.Context, m *consumer.Msg) error {
			tries.Store(int64(m.Tries))
			return errors.New("not yet")
		}, consumer.BackOff(time.Hour))
		w.send("p", 2)
		x := a.run("p", 1) // frozen, it does not know that its time is over, and no check helps
		<-inHand
		y := b.run("p", 2)
		w.until("b has it", func() bool { return len(w.where) == 2 })
		close(thaw)
		select {
		case err := <-x.ended:
			if !errors.Is(err, parti.ErrFenced) || !strings.Contains(fmt.Sprint(err), "moved under token 2, and this is 1") {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("the zombie goes on")
		}
		y.release(t)
		if c := w.cursor("p"); c.Done != 0 || c.token != "2" || c.Trying != 1 || c.Tries != 1 {
			t.Errorf("%+v", c)
		}
		if got := a.run("p", 1); !errors.Is(<-got.ended, parti.ErrFenced) {
			t.Error("an older lease has begun")
		}
	})
}

// The node that a reader's consumer lives on goes: another consumer goes on.
func TestCursorNodeLost(t *testing.T) {
	t.Parallel()
	three := natstest.StartCluster(t, 3)
	w := newWorld(t, site{"three", 3, func(t *testing.T, opts ...nats.Option) *nats.Conn {
		t.Helper()
		return three.Connect(t, 0, opts...)
	}}, jetstream.LimitsPolicy)
	w.cursors = true
	o := w.owner("o", nil)
	var all []*tenure
	for i := range 6 {
		p := fmt.Sprint("p", i)
		all = append(all, o.run(p, 1))
		w.send(p, 1)
		w.exactly(p, 1)
	}
	for round := range 3 {
		node := 2 - round // the last one is that of all connections
		natstest.Stop(three.Nodes[node])
		three.Restart(t, node)
		three.Await(t)
		for i := range 6 {
			w.send(fmt.Sprint("p", i), 1)
		}
		for i := range 6 {
			w.exactly(fmt.Sprint("p", i), round+2)
		}
	}
	for _, x := range all {
		x.release(t)
	}
}

// The connection breaks in the middle of a stream of messages: none is left out, none
// comes twice.
func TestCursorReconnects(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		o := w.owner("o", nil, consumer.CursorEvery(100*time.Millisecond))
		all := map[string]*tenure{}
		for i := range 4 {
			p := fmt.Sprint("p", i)
			all[p] = o.run(p, 1)
		}
		const n, tail = 2000, 100
		var sending sync.WaitGroup
		defer sending.Wait() // also when the test fails
		for p := range all {
			sending.Go(func() { w.burst(p, n) })
		}
		for i := range 8 {
			w.until("progress", func() bool { return len(w.got["p0"]) >= i*n/10 })
			if err := o.nc.ForceReconnect(); err != nil {
				t.Error(err)
			}
		}
		sending.Wait()
		for p := range all {
			w.exactly(p, n)
		}
		// What is on its way may also be the last there is.
		for i := range 10 {
			for p := range all {
				sending.Go(func() { w.burst(p, tail) })
			}
			w.until("some come", func() bool { return len(w.got["p0"]) > n+i*tail })
			if err := o.nc.ForceReconnect(); err != nil {
				t.Error(err)
			}
			sending.Wait()
			for p := range all {
				w.exactly(p, n+(i+1)*tail)
			}
		}
		for _, x := range all {
			x.release(t)
		}
	})
}

// Owners come, go and die at random, fast ones and slow ones: each partition's messages
// come in order, none is left out, and only what a dead one had not written down is repeated.
func TestCursorChurn(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 1))
		const partitions, n = 12, 900
		name := func(i int) string { return fmt.Sprint("p", i) }
		var slow atomic.Int64 // the partition that is slow now
		work := func(ctx context.Context, m *consumer.Msg) error {
			if m.Partition == name(int(slow.Load())) {
				select {
				case <-ctx.Done():
				case <-time.After(time.Millisecond):
				}
			}
			return nil
		}
		fresh := func() *owner {
			return w.owner(fmt.Sprint("o", rng.Uint32()), work, consumer.CursorEvery(10*time.Millisecond), consumer.InFlight(1))
		}
		owners := []*owner{fresh(), fresh(), fresh()}
		type held struct {
			o *owner
			x *tenure
		}
		holds := make([]held, partitions)
		token := uint64(1)
		for i := range holds {
			o := owners[i%3]
			holds[i] = held{o, o.run(name(i), token)}
		}
		var sending sync.WaitGroup
		defer sending.Wait() // also when the test fails
		for i := range partitions {
			sending.Go(func() { w.burst(name(i), n) })
		}
		kills := 0
		for round := range 12 {
			token++
			slow.Store(int64(rng.IntN(partitions)))
			if round%4 == 3 { // one dies
				kills++
				gone := rng.IntN(3)
				dead := owners[gone]
				dead.nc.Close()
				owners[gone] = fresh()
				for i := range holds {
					if holds[i].o != dead {
						continue
					}
					holds[i].x.hard(parti.ErrFenced)
					holds[i].x.over()
					o := owners[rng.IntN(3)]
					holds[i] = held{o, o.run(name(i), token)}
				}
				continue
			}
			for range 1 + rng.IntN(5) {
				i := rng.IntN(partitions)
				holds[i].x.release(t)
				token++
				o := owners[rng.IntN(3)]
				holds[i] = held{o, o.run(name(i), token)}
			}
			slowest := rng.IntN(partitions)
			w.mu.Lock()
			target := min(n, len(w.got[name(slowest)])+rng.IntN(100))
			w.mu.Unlock()
			w.until("progress", func() bool { return len(w.got[name(slowest)]) >= target })
		}
		sending.Wait()
		for i := range partitions {
			w.until("the last of "+name(i), func() bool { g := w.got[name(i)]; return len(g) > 0 && g[len(g)-1] == n })
			holds[i].x.release(t)
		}
		for i := range partitions {
			last, back := 0, 0
			for _, m := range w.got[name(i)] {
				switch {
				case m == last+1:
				case m <= last && back < kills:
					back++
				default:
					t.Fatalf("%s: %d after %d", name(i), m, last)
				}
				last = m
			}
		}
	})
}

// Each thing that is wrong with a stream or a bucket is told before anything runs.
func TestCursorRefused(t *testing.T) {
	t.Parallel()
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "LIMITS", Subjects: []string{"limits.>"}},
		{Name: "QUEUE", Subjects: []string{"queue.*"}, Retention: jetstream.WorkQueuePolicy},
		{Name: "INTEREST", Subjects: []string{"interest.*"}, Retention: jetstream.InterestPolicy},
		{Name: "KV_old", Subjects: []string{"$KV.old.>"}, MaxAge: time.Hour},
		{Name: "KV_small", Subjects: []string{"$KV.small.>"}, MaxBytes: 1000},
	} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	none := func(context.Context, *consumer.Msg) error { return nil }
	for _, c := range []struct {
		stream string
		opts   []consumer.Option
		want   string
	}{
		{"LIMITS", nil, ""},
		{"LIMITS", []consumer.Option{consumer.WithoutCreate()}, ""}, // it is there now
		{"LIMITS", []consumer.Option{consumer.CursorBucket("none"), consumer.WithoutCreate()}, "KV_none is not there"},
		{"LIMITS", []consumer.Option{consumer.CursorBucket("old")}, "forgets its values after 1h"},
		{"LIMITS", []consumer.Option{consumer.CursorBucket("small")}, "lets old values go"},
		{"LIMITS", []consumer.Option{consumer.CursorBucket("a.b")}, "CursorBucket(a.b)"},
		{"LIMITS", []consumer.Option{consumer.CursorEvery(time.Millisecond)}, "CursorEvery(1ms)"},
		{"LIMITS", []consumer.Option{consumer.AckWait(time.Minute)}, "AckWait is not an option of NewCursor"},
		{"QUEUE", nil, "has retention WorkQueue"},
		{"INTEREST", nil, "has retention Interest"},
		{"NONE", nil, "is not there"},
	} {
		_, err := consumer.NewCursor(t.Context(), js, "g", c.stream, strings.ToLower(c.stream)+".{partition}", none, c.opts...)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.stream, err, c.want)
		}
	}
	if _, err := consumer.NewDurable(t.Context(), js, "g", "LIMITS", "limits.{partition}", none, consumer.CursorEvery(0)); err == nil || !strings.Contains(err.Error(), "not an option of NewDurable") {
		t.Error(err)
	}
	if _, err := js.Stream(t.Context(), "KV_g-cursors"); err != nil {
		t.Error(err)
	}
}
