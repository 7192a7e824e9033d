package consumer_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/test/natstest"
)

type sweeper interface {
	Sweep(ctx context.Context, partitions []parti.Partition, grace time.Duration) ([]consumer.Leftover, error)
}

// sweepTime is how long one sweep may take: what it asks once may get no answer.
const sweepTime = 20 * time.Second

// sweep sweeps with these partitions, and says what became of the others.
func (o *owner) sweep(listed ...string) string {
	o.w.t.Helper()
	var partitions []parti.Partition
	for _, p := range listed {
		partitions = append(partitions, parti.Partition{ID: p})
	}
	s, ok := o.h.(sweeper)
	if !ok {
		o.w.t.Fatalf("%T does not sweep", o.h)
	}
	var left []consumer.Leftover
	if err := anyhow(func() (err error) {
		ctx, cancel := context.WithTimeout(o.w.t.Context(), sweepTime)
		defer cancel()
		left, err = s.Sweep(ctx, partitions, consumer.MinGrace)
		return err
	}); err != nil {
		o.w.t.Fatal(err)
	}
	var all []string
	for _, l := range left {
		what := l.Why
		if l.Removed {
			what = "removed"
		}
		if l.Since.IsZero() || l.Removed == (l.Why != "") {
			o.w.t.Errorf("%+v", l)
		}
		all = append(all, fmt.Sprintf("%s (%d): %s", l.Partition, l.Pending, what))
	}
	return strings.Join(all, "; ")
}

// age lets a partition's leftover look as if it were one for an hour.
func (w *world) age(partition string) {
	w.t.Helper()
	before := time.Now().Add(-time.Hour).UTC()
	if w.cursors {
		kv, err := w.js.KeyValue(w.t.Context(), "g-"+w.stream+"-cursors")
		if err != nil {
			w.t.Fatal(err)
		}
		e, err := kv.Get(w.t.Context(), w.stream+"."+partition)
		if err != nil {
			w.t.Fatal(err)
		}
		head, _, ok := strings.Cut(string(e.Value()), `"written":`)
		if !ok {
			w.t.Fatalf("%s", e.Value())
		}
		if _, err := kv.PutString(w.t.Context(), w.stream+"."+partition, fmt.Sprintf("%s\"written\":%q}", head, before.Format(time.RFC3339))); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	cfg := w.config(partition, func(since string) bool { return since != "" })
	maps.DeleteFunc(cfg.Metadata, func(k, _ string) bool { return strings.HasPrefix(k, "_nats") })
	then := before.Format(time.RFC3339)
	cfg.Metadata["parti-stale-since"] = then
	if _, err := w.js.UpdateConsumer(w.t.Context(), w.stream, cfg); err != nil {
		w.t.Fatal(err)
	}
	w.config(partition, func(since string) bool { return since == then })
}

// config is that of a partition's consumer, as soon as its leader knows of such a mark.
func (w *world) config(partition string, marked func(since string) bool) (cfg jetstream.ConsumerConfig) {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c, err := w.js.Consumer(w.t.Context(), w.stream, "group~"+partition)
		if err != nil {
			w.t.Fatal(err)
		}
		if cfg = c.CachedInfo().Config; marked(cfg.Metadata["parti-stale-since"]) {
			return cfg
		}
		moment()
	}
	w.t.Fatalf("%v", cfg.Metadata)
	return cfg
}

// copies makes a consumer that says of itself what that of the partition says, as one does
// who wants to look at its messages; where a stream may have two for the same subject.
func (w *world) copies(partition string) {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), w.stream)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.cursors || s.CachedInfo().Config.Retention != jetstream.LimitsPolicy {
		return
	}
	c, err := s.Consumer(w.t.Context(), "group~"+partition)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := c.CachedInfo().Config
	cfg.Name, cfg.Durable = "copy", "copy"
	w.remake(cfg)
}

// What is left of partitions that are not there any more goes after the grace, and not
// while it has messages, or an owner; one that comes back is as if nothing had been.
func TestSweep(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, w *world) {
		o := w.owner("o", nil)
		o.make("a", "b", "c")
		for _, p := range []string{"a", "b", "c"} {
			x := o.run(p, 1)
			w.send(p, 1)
			w.exactly(p, 1)
			x.release(t)
			o.pending(p, 0)
		}
		w.copies("b")
		if got := o.sweep("a", "b", "c"); got != "" {
			t.Error(got)
		}
		begun := "the grace has begun"
		if w.cursors {
			begun = "the grace is not over"
		}
		if got, want := o.sweep("a"), "b (0): "+begun+"; c (0): "+begun; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if !w.cursors {
			w.config("b", func(since string) bool { return since != "" })
			w.config("c", func(since string) bool { return since != "" })
		}
		if got, want := o.sweep("a"), "b (0): the grace is not over; c (0): the grace is not over"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		w.age("b")
		w.age("c")
		w.send("c", 1)
		gone := "removed"
		if s, err := w.js.Stream(t.Context(), w.stream); err != nil || s.CachedInfo().Config.Retention == jetstream.InterestPolicy {
			gone = "the stream has interest retention, and would drop what comes"
		}
		if got, want := o.sweep("a"), "b (0): "+gone+"; c (1): 1 message is not done"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := o.sweep("a", "c"), map[bool]string{true: "", false: "b (0): " + gone}[gone == "removed"]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if !w.cursors {
			w.config("c", func(since string) bool { return since == "" })
		}
		x := o.run("c", 2) // it comes back, and goes on
		w.exactly("c", 2)
		o.pending("c", 0)
		if !w.cursors {
			w.pulled("c")
			if got, want := o.sweep("a"), "c (0): "+begun; !strings.HasSuffix(got, want) {
				t.Errorf("%s, want %s", got, want)
			}
			w.age("c")
			w.pulled("c")
			if got, want := o.sweep("a"), "c (0): somebody pulls from it"; !strings.HasSuffix(got, want) {
				t.Errorf("%s, want %s", got, want)
			}
		}
		x.release(t)
		for _, wrong := range []struct {
			partitions []parti.Partition
			grace      time.Duration
		}{{nil, time.Hour}, {[]parti.Partition{{ID: "a"}}, time.Minute}} {
			if _, err := o.h.(sweeper).Sweep(t.Context(), wrong.partitions, wrong.grace); err == nil { //nolint:forcetypeassert // it is one
				t.Errorf("%+v is taken", wrong)
			}
		}
	})
}

// A stream may be given interest retention while somebody sweeps it every hour: from then on no
// consumer is removed.
func TestSweepOfAStreamThatWasChanged(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	w := newWorld(t, siteOf(ns), jetstream.LimitsPolicy)
	o := w.owner("o", nil)
	o.make("a", "b")
	if got, want := o.sweep("a"), "b (0): the grace has begun"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	w.age("b")
	s, err := w.js.Stream(t.Context(), w.stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Retention = jetstream.InterestPolicy
	if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if got, want := o.sweep("a"), "b (0): the stream has interest retention, and would drop what comes"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The cursors of a stream are found whatever its name is, and those of another are not.
func TestSweepOfAnyName(t *testing.T) {
	t.Parallel()
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	const odd, plain = "A@B", "A"
	for stream, subject := range map[string]string{odd: "odd.{partition}", plain: "plain.{partition}"} {
		makeStreams(t, js, jetstream.StreamConfig{Name: stream, Subjects: []string{strings.Replace(subject, "{partition}", "*", 1)}})
		if _, err := js.Publish(t.Context(), strings.Replace(subject, "{partition}", "p", 1), []byte(stream)); err != nil {
			t.Fatal(err)
		}
		s := newStrangerOf(t, js, "g", stream, subject)
		ended, stop := s.run(1)
		s.gets(stream)
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	for stream, subject := range map[string]string{odd: "odd.{partition}", plain: "plain.{partition}"} {
		s := newStrangerOf(t, js, "g", stream, subject)
		left, err := s.cursor.Sweep(t.Context(), []parti.Partition{{ID: "q"}}, consumer.MinGrace)
		if err != nil || len(left) != 1 || left[0].Partition != "p" || left[0].Pending != 0 {
			t.Errorf("%s: %+v, %v", stream, left, err)
		}
	}
}

// What is wrong with one cursor is said of it, and the others are swept.
func TestSweepGoesOn(t *testing.T) {
	t.Parallel()
	cursors(t, func(t *testing.T, w *world) {
		o := w.owner("o", nil)
		for _, p := range []string{"a", "c"} {
			x := o.run(p, 1)
			w.send(p, 1)
			w.exactly(p, 1)
			x.release(t)
		}
		w.age("c")
		kv, err := w.js.KeyValue(t.Context(), "g-"+w.stream+"-cursors")
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{".=Z", ".b", ".d"} {
			if _, err := kv.PutString(t.Context(), w.stream+key, "{"); err != nil {
				t.Fatal(err)
			}
		}
		left, err := o.h.(sweeper).Sweep(t.Context(), []parti.Partition{{ID: "a"}}, consumer.MinGrace) //nolint:forcetypeassert // it is one
		var got []string
		for _, l := range left {
			got = append(got, fmt.Sprintf("%s %s %v", strings.TrimPrefix(l.Name, w.stream), l.Partition, l.Removed))
			if l.Removed == (l.Why != "") {
				t.Errorf("%+v", l)
			}
		}
		if want := []string{".=Z  false", ".b b false", ".c c true", ".d d false"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		for _, key := range []string{".=Z", ".b", ".d"} {
			if err == nil || !strings.Contains(err.Error(), "key "+w.stream+key+" of bucket") {
				t.Errorf("%s is not said: %v", key, err)
			}
		}
	})
}

// A lateStream lists its consumers, lets something happen, and then gives the list.
type lateStream struct {
	jetstream.Stream

	meanwhile *func()
}

// A lateJS has such streams.
type lateJS struct {
	jetstream.JetStream

	meanwhile *func()
}

func (l lateJS) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := l.JetStream.Stream(ctx, name)
	return lateStream{s, l.meanwhile}, err
}

type lateList struct {
	infos chan *jetstream.ConsumerInfo
	err   error
}

func (l lateList) Info() <-chan *jetstream.ConsumerInfo { return l.infos }
func (l lateList) Err() error                           { return l.err }

func (s lateStream) ListConsumers(ctx context.Context) jetstream.ConsumerInfoLister {
	list := s.Stream.ListConsumers(ctx)
	const most = 100
	late := lateList{infos: make(chan *jetstream.ConsumerInfo, most)}
	for info := range list.Info() {
		late.infos <- info
	}
	close(late.infos)
	late.err = list.Err()
	(*s.meanwhile)()
	return late
}

// What has changed since the consumers were listed counts: a message that has come, a
// partition that is back by another one's list, an owner who pulls, a consumer that is
// gone or was made anew.
func TestSweepLooksAgain(t *testing.T) {
	t.Parallel()
	for _, s := range sites(t) {
		for _, r := range []jetstream.RetentionPolicy{jetstream.LimitsPolicy, jetstream.WorkQueuePolicy} {
			t.Run(s.name+"/"+r.String(), func(t *testing.T) {
				t.Parallel()
				sweepsLate(t, newWorld(t, s, r))
			})
		}
	}
}

// remake makes a consumer with the very same settings, and mark.
func (w *world) remake(cfg jetstream.ConsumerConfig) {
	w.t.Helper()
	maps.DeleteFunc(cfg.Metadata, func(k, _ string) bool { return strings.HasPrefix(k, "_nats") })
	if _, err := w.js.CreateConsumer(w.t.Context(), w.stream, cfg); err != nil {
		w.t.Fatal(err)
	}
}

// pulled waits until somebody pulls from a partition's consumer.
func (w *world) pulled(partition string) {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c, err := w.js.Consumer(w.t.Context(), w.stream, "group~"+partition)
		if err != nil {
			w.t.Fatal(err)
		}
		if c.CachedInfo().NumWaiting > 0 {
			return
		}
		moment()
	}
	w.t.Errorf("nobody pulls from %s", partition)
}

func sweepsLate(t *testing.T, w *world) {
	t.Helper()
	var meanwhile func()
	none := func(context.Context, *consumer.Msg) error { return nil }
	late := &owner{w: w}
	if err := anyhow(func() (err error) {
		late.h, err = consumer.NewDurable(t.Context(), lateJS{w.js, &meanwhile}, "group", w.stream, w.stream+".in.{partition}", none)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	o := w.owner("o", nil)
	o.make("a", "b")
	var cfg jetstream.ConsumerConfig
	remove := func() {
		c, err := w.js.Consumer(t.Context(), w.stream, "group~b")
		if err != nil {
			t.Fatal(err)
		}
		cfg = c.CachedInfo().Config
		if err := w.js.DeleteConsumer(t.Context(), w.stream, "group~b"); err != nil {
			t.Error(err)
		}
	}
	var x *tenure
	for _, c := range []struct {
		what      string
		meanwhile func()
		after     func()
		want      string
	}{
		{"a message has come", func() { w.send("b", 1) }, func() {
			x = o.run("b", 1)
			w.exactly("b", 1)
			x.release(t)
			o.pending("b", 0)
		}, "b (1): 1 message is not done"},
		{"it is back", func() {
			if got := o.sweep("a", "b"); got != "" {
				t.Error(got)
			}
		}, func() {}, "b (0): its partition has come back meanwhile, by somebody else's list"},
		{"it has an owner", func() {
			x = o.run("b", 2)
			w.send("b", 1)
			w.exactly("b", 2)
			o.pending("b", 0)
			w.pulled("b")
		}, func() { x.release(t) }, "b (0): somebody pulls from it"},
		{"it was made anew", func() {
			remove()
			w.remake(cfg)
		}, func() {
			x = o.run("b", 3)
			o.pending("b", 0)
			x.release(t)
		}, "its partition has come back meanwhile, by somebody else's list"},
		{"it is gone", remove, func() {}, "b (0): removed"},
	} {
		meanwhile = func() {}
		late.sweep("a", "b")
		w.config("b", func(since string) bool { return since == "" })
		late.sweep("a") // it is marked
		w.age("b")
		meanwhile = c.meanwhile
		got := late.sweep("a")
		if !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		c.after()
	}
}
