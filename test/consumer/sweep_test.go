package consumer_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
)

type sweeper interface {
	Sweep(ctx context.Context, partitions []parti.Partition, grace time.Duration) ([]consumer.Leftover, error)
}

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
	left, err := s.Sweep(o.w.t.Context(), partitions, consumer.MinGrace)
	if err != nil {
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
	c, err := w.js.Consumer(w.t.Context(), w.stream, "group~"+partition)
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := c.CachedInfo().Config
	if cfg.Metadata["parti-stale-since"] == "" {
		w.t.Errorf("%v", cfg.Metadata)
	}
	maps.DeleteFunc(cfg.Metadata, func(k, _ string) bool { return strings.HasPrefix(k, "_nats") })
	cfg.Metadata["parti-stale-since"] = before.Format(time.RFC3339)
	if _, err := w.js.UpdateConsumer(w.t.Context(), w.stream, cfg); err != nil {
		w.t.Fatal(err)
	}
}

// What is left of partitions that are not there any more goes after the grace, and not
// while it has messages, or an owner; one that comes back is as if nothing had been.
func TestSweep(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		o := w.owner("o", nil)
		o.make("a", "b", "c")
		for _, p := range []string{"a", "b", "c"} {
			x := o.run(p, 1)
			w.send(p, 1)
			w.exactly(p, 1)
			x.release(t)
		}
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
		if got, want := o.sweep("a"), "b (0): "+gone+"; c (1): 1 messages are not done"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := o.sweep("a", "c"), map[bool]string{true: "", false: "b (0): " + gone}[gone == "removed"]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		x := o.run("c", 2) // it comes back, and goes on
		w.exactly("c", 2)
		o.pending("c", 0)
		if !w.cursors {
			if got, want := o.sweep("a"), "c (0): "+begun; !strings.HasSuffix(got, want) {
				t.Errorf("%s, want %s", got, want)
			}
			w.age("c")
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
