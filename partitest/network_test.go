package partitest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// connect returns when the connection is there: Connect does not wait where the server is
// slow, and what is sent before is an error.
func connect(t *testing.T, s *NATS) *nats.Conn {
	t.Helper()
	nc := s.Connect()
	eventually(t, "it is connected", nc.IsConnected)
	return nc
}

// inbox collects what comes on a subject.
type inbox struct {
	t    *testing.T
	mu   sync.Mutex
	got  []string
	more chan struct{}
}

func listen(t *testing.T, nc *nats.Conn, subject string) *inbox {
	t.Helper()
	b := &inbox{t: t, more: make(chan struct{}, 1)}
	if _, err := nc.Subscribe(subject, func(m *nats.Msg) {
		b.mu.Lock()
		b.got = append(b.got, string(m.Data))
		b.mu.Unlock()
		signal(b.more)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *inbox) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.got...)
}

func (b *inbox) await(n int) []string {
	b.t.Helper()
	late := time.After(ample)
	for {
		if got := b.all(); len(got) >= n {
			return got
		}
		select {
		case <-b.more:
		case <-late:
			b.t.Fatalf("%d of %d messages came", len(b.all()), n)
		}
	}
}

func publish(t *testing.T, nc *nats.Conn, subject string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := nc.Publish(subject, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, nc)
}

// flush waits until all that was on its way to a client has arrived.
func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
}

func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

func TestDelay(t *testing.T) {
	t.Parallel()
	s := StartNATS(t)
	a, b := connect(t, s), connect(t, s)
	in := listen(t, b, "x")
	f := DelayMessages(t, a, 50*time.Millisecond, 150*time.Millisecond, Going(ToServer))
	begun := time.Now()
	publish(t, a, "x", numbers(20)...)
	if took := time.Since(begun); took < 50*time.Millisecond {
		t.Errorf("the answer to a ping came after %v", took)
	}
	if got := in.await(20); strings.Join(got, " ") != strings.Join(numbers(20), " ") {
		t.Errorf("out of order: %v", got)
	}
	if f.Count() < 20 {
		t.Errorf("it has struck %d times", f.Count())
	}
	f.Heal()
	// Of one subject alone: others overtake.
	f = DelayMessages(t, a, time.Hour, time.Hour, Subject("x"))
	listen(t, b, "y")
	publish(t, a, "x", "late")
	y := listen(t, b, "y")
	publish(t, a, "y", "soon")
	y.await(1)
	if n := len(in.all()); n != 20 {
		t.Errorf("%d messages", n)
	}
	f.Heal()
	if got := in.await(21); got[20] != "late" || f.Count() != 1 {
		t.Errorf("%v, struck %d times", got, f.Count())
	}
}

func TestDropAndDuplicate(t *testing.T) {
	t.Parallel()
	s := StartNATS(t)
	a, b := connect(t, s), connect(t, s)
	in := listen(t, b, "x")
	const n = 1000
	f := DropMessages(t, b, 0.3)
	publish(t, a, "x", numbers(n)...)
	flush(t, b)
	f.Heal()
	publish(t, a, "x", "end")
	got := in.await(n + 1 - f.Count())
	if lost := f.Count(); lost < n/5 || lost > n/2 || len(got) != n+1-lost {
		t.Errorf("%d lost, %d came", lost, len(got))
	}
	d := DuplicateMessages(t, b, 0.3)
	publish(t, a, "x", numbers(n)...)
	flush(t, b)
	d.Heal()
	before := len(got)
	got = in.await(before + n + d.Count())
	if more := d.Count(); more < n/5 || more > n/2 || len(got) != before+n+more {
		t.Errorf("%d twice, %d came", more, len(got)-before)
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	s := StartNATS(t)
	a, b := connect(t, s), connect(t, s)
	in, other := listen(t, b, "x.*"), listen(t, b, "y")
	c := CountMessages(t, b, Subject("x.*"), Going(ToClient))
	f := HoldMessages(t, b, Subject("x.>"))
	publish(t, a, "x.1", numbers(10)...)
	publish(t, a, "y", "passes")
	other.await(1)
	if len(in.all()) > 0 {
		t.Errorf("%v came", in.all())
	}
	f.Heal()
	f.Heal()
	if got := in.await(10); strings.Join(got, " ") != strings.Join(numbers(10), " ") || f.Count() != 10 || c.Count() != 10 {
		t.Errorf("%v, struck %d times, counted %d", got, f.Count(), c.Count())
	}
}

// A write is stored, and its acknowledgement is lost.
func TestAnswersTo(t *testing.T) {
	t.Parallel()
	s := StartNATS(t)
	nc := connect(t, s)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	f := DropMessages(t, nc, 1, AnswersTo("s.a"))
	if _, err := js.Publish(t.Context(), "s.b", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("s.a", nil, 300*time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("an answer: %v", err)
	}
	eventually(t, "the answer was lost", func() bool { return f.Count() == 1 })
	f.Heal()
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 2 {
		t.Errorf("%d messages are stored", n)
	}
}

func TestCutAndBlackHole(t *testing.T) {
	t.Parallel()
	s := StartNATS(t)
	a, b := connect(t, s), connect(t, s)
	in := listen(t, b, "x")
	status := a.StatusChanged(nats.RECONNECTING, nats.CONNECTED)
	f := CutConnection(t, a)
	if got := <-status; got != nats.RECONNECTING {
		t.Fatal(got)
	}
	if f.Count() < 1 {
		t.Error("it did not strike")
	}
	f.Heal()
	eventually(t, "it is connected again", func() bool { return len(status) > 0 && <-status == nats.CONNECTED }) // attempts during the cut have failed
	publish(t, a, "x", "again")
	in.await(1)
	eventually(t, "what was cut is gone, and one connection is left", func() bool {
		all := &linkOf(t, a).all
		all.mu.Lock()
		defer all.mu.Unlock()
		return len(all.wires) == 1
	})

	h := BlackHole(t, a)
	if err := a.Publish("x", []byte("swallowed")); err != nil {
		t.Fatal(err)
	}
	if err := a.FlushTimeout(200 * time.Millisecond); err == nil {
		t.Error("an answer from a black hole")
	}
	if h.Count() != 1 || !a.IsConnected() || len(in.all()) != 1 {
		t.Errorf("struck %d times; connected: %v; %v", h.Count(), a.IsConnected(), in.all())
	}
	// Nobody new gets through either.
	if nc, err := nats.Connect(linkOf(t, a).URL(), nats.Timeout(200*time.Millisecond)); err == nil {
		nc.Close()
		t.Error("a new connection")
	}
	h.Heal()
	if got := in.await(2); got[1] != "swallowed" {
		t.Error(got)
	}
	// A deaf one still speaks.
	d := BlackHole(t, a, Going(ToClient))
	if err := a.Publish("x", []byte("deaf")); err != nil {
		t.Fatal(err)
	}
	_ = a.FlushTimeout(100 * time.Millisecond)
	if got := in.await(3); got[2] != "deaf" {
		t.Error(got)
	}
	d.Heal()
}

func TestLimitBandwidth(t *testing.T) {
	t.Parallel()
	s := StartNATS(t)
	a, b := connect(t, s), connect(t, s)
	in := listen(t, b, "x")
	f := LimitBandwidth(t, a, 100_000, Going(ToServer))
	begun := time.Now()
	if err := a.Publish("x", make([]byte, 30_000)); err != nil {
		t.Fatal(err)
	}
	in.await(1)
	if took := time.Since(begun); took < 200*time.Millisecond || f.Count() == 0 {
		t.Errorf("30 kB at 100 kB/s took %v", took)
	}
	if err := a.Publish("x", make([]byte, 900_000)); err != nil {
		t.Fatal(err)
	}
	f.Heal()
	in.await(2)
}

func TestNodes(t *testing.T) {
	t.Parallel()
	s := StartNATS(t)
	nc := connect(t, s)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	url := s.Node(0).URL()
	for i, c := range []struct {
		what  string
		end   func()
		msgs  uint64
		empty bool
	}{
		{what: "stop", end: s.Node(0).Stop, msgs: 1},
		{what: "kill", end: s.Node(0).Kill, msgs: 2},
		{what: "lame duck", end: s.Node(0).LameDuck, msgs: 3},
		{what: "lost storage", end: s.Node(0).LoseStorage, empty: true},
	} {
		status := nc.StatusChanged(nats.CONNECTED)
		if _, err := js.Publish(t.Context(), "s", fmt.Append(nil, i)); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		c.end()
		if s.Node(0).Server() != nil {
			t.Errorf("%s: it runs", c.what)
		}
		s.Node(0).Start()
		if s.Node(0).URL() != url {
			t.Errorf("%s: another address", c.what)
		}
		<-status
		stream, err := js.Stream(t.Context(), "S")
		if c.empty != errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && stream.CachedInfo().State.Msgs != c.msgs {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// Two nodes of three are apart from the one that leads a stream: another leads it, and
// the first one does again take part when they are together.
func TestPartitionNodes(t *testing.T) {
	t.Parallel()
	s := StartNATSCluster(t, 3)
	nc := connect(t, s)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a stream", func() bool { // a request may go to a leader that is one no more
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
		return err == nil
	})
	var old *Node
	eventually(t, "it has a leader", func() bool { old = s.Leader("S"); return old != nil })
	var rest []*Node
	group := Group{}
	for _, n := range s.Nodes() {
		if n != old {
			rest = append(rest, n)
			group = append(group, n)
		}
	}
	with := rest[0].Connect()
	alone := old.Connect()
	group = append(group, with)
	f := PartitionNetwork(t, group, Group{old, alone})
	eventually(t, "another node leads", func() bool {
		for _, n := range rest {
			if s.Leader("S") == n || n.Server().JetStreamIsStreamLeader("$G", "S") {
				return true
			}
		}
		return false
	})
	if f.Count() == 0 {
		t.Error("it did not strike")
	}
	publishTo := func(nc *nats.Conn) error {
		_, err := nc.Request("s", nil, time.Second)
		return err
	}
	eventually(t, "the majority writes", func() bool { return publishTo(with) == nil })
	if err := publishTo(alone); err == nil {
		t.Error("the minority writes")
	}
	f.Heal()
	eventually(t, "everybody writes again", func() bool { return publishTo(alone) == nil && publishTo(nc) == nil })
	s.AwaitWhole()
	old.Kill()
	eventually(t, "two of three write", func() bool { return publishTo(with) == nil })
	old.Start()
	s.AwaitWhole()
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	late := time.After(ample)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("not so after %v: %s", ample, what)
		}
	}
}
