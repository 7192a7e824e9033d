package consumer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/parti-go/parti/internal/pattern"
)

func TestTemplatePartitions(t *testing.T) {
	for _, c := range []struct {
		template, subject string
		want              []string
	}{
		{"orders.{partition}", "orders.a", []string{"a"}},
		{"orders.{partition}", "orders.a.b", []string{"a.b"}},
		{"{partition}.orders", "a.b.orders", []string{"a.b"}},
		{"o.{partition}.*", "o.a.b.c", []string{"a.b"}},
		{"o.{partition}.>", "o.a.b.c", []string{"a", "a.b"}},
		{"*.{partition}.x.>", "o.a.x.x.b", []string{"a", "a.x"}},
		{"o.{partition}.new", "o.a.old", nil},
	} {
		if got := template(c.template).partitions(c.subject); !slices.Equal(got, c.want) {
			t.Errorf("%s of %s: %v, want %v", c.template, c.subject, got, c.want)
		}
	}
}

// A message of a partition's filter finds that partition, and filters of which none
// meets another have no message in common.
func TestFiltersAndSubjects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := func(label string, most int) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "x"}), 1, most).Draw(t, label), ".")
		}
		tmpl := template(rapid.SampledFrom([]string{"a.{partition}", "{partition}.x", "a.{partition}.>", "a.{partition}.*", "*.{partition}.x.>", "{partition}.*.b"}).Draw(t, "template"))
		id, other, subject := tokens("id", 3), tokens("other", 3), tokens("subject", 6)
		f, err := tmpl.of(id)
		if err != nil {
			t.Fatal(err)
		}
		g, err := tmpl.of(other)
		if err != nil {
			t.Fatal(err)
		}
		in, out := pattern.Within(subject, f), pattern.Within(subject, g)
		if found, ok := tmpl.shape().id(subject, func(x string) bool { return x == id }); in && ok && found != id {
			t.Fatalf("%s is of %s, and found as %s", subject, f, found)
		}
		if _, ok := tmpl.shape().id(subject, func(x string) bool { return x == id }); in && !ok && !strings.Contains(string(tmpl), ".x.>") {
			t.Fatalf("%s is of %s, and not found", subject, f)
		}
		if in && !slices.Contains(tmpl.partitions(subject), id) {
			t.Fatalf("%s is of %s, and found only %v", subject, f, tmpl.partitions(subject))
		}
		if in && out && !pattern.Meet(f, g) {
			t.Fatalf("%s is of %s and of %s", subject, f, g)
		}
	})
}

// Those that go together begin near to one another, are not too many, and do not overlap.
func TestGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 600).Draw(t, "n")
		ts := make([]*tenure, n)
		for i := range ts {
			x := rapid.Uint64Range(1, 5*nearby).Draw(t, "next")
			ts[i] = &tenure{filter: fmt.Sprintf("o.%d.>", i), next: x}
			if i > 0 && x%7 == 0 {
				ts[i].filter = fmt.Sprintf("o.%d.x.>", i-1)
			}
		}
		found := 0
		for _, g := range groups(ts) {
			found += len(g)
			if len(g) > readerMost {
				t.Fatalf("%d together", len(g))
			}
			for i, a := range g {
				if a.next-g[0].next > nearby {
					t.Fatalf("%d and %d together", a.next, g[0].next)
				}
				for _, b := range g[:i] {
					if a.overlaps(b) {
						t.Fatalf("%s and %s together", a.filter, b.filter)
					}
				}
			}
		}
		if found != n {
			t.Fatalf("%d of %d", found, n)
		}
	})
}

// Those that are at work are due each time, idle ones now and then, and one whose cursor
// is being written is not.
func TestDue(t *testing.T) {
	now := time.Now()
	h := &hub{tenures: map[*tenure]struct{}{}}
	add := func(moved bool, written time.Duration) *tenure {
		x := &tenure{moved: moved, have: record{Written: now.Add(-written)}}
		h.tenures[x] = struct{}{}
		return x
	}
	atWork, stale, writing := add(true, time.Second), add(false, idleEvery), add(false, 2*idleEvery)
	add(false, idleEvery-time.Second)
	writing.writing.Lock()
	defer writing.writing.Unlock()
	if due := h.due(now); len(due) != 2 || !slices.Contains(due, atWork) || !slices.Contains(due, stale) {
		t.Errorf("%d are due", len(due))
	}
}

// What a cursor says: all before the first message that is not done yet; where the reader
// is, when there is none; and no less than what is known, when there is no reader.
func TestPosition(t *testing.T) {
	in := func(seqs ...uint64) (letters []*letter) {
		for _, seq := range seqs {
			letters = append(letters, &letter{seq: seq, tries: 2})
		}
		return letters
	}
	for _, c := range []struct {
		of string
		t  *tenure

		done, trying uint64
		tries        int
	}{
		{of: "nothing read yet", t: &tenure{}},
		{of: "no reader", t: &tenure{next: 8, head: 9, tries: 1}, done: 7, trying: 9, tries: 1},
		{of: "a reader further on", t: &tenure{next: 8, reader: &reader{pos: 20}}, done: 20},
		{of: "a reader that began earlier", t: &tenure{next: 8, reader: &reader{pos: 3}}, done: 7},
		{of: "one waits", t: &tenure{next: 15, reader: &reader{pos: 20}, queue: in(14)}, done: 13, trying: 14, tries: 2},
		{of: "one is in hand", t: &tenure{next: 15, reader: &reader{pos: 20}, queue: in(14), out: in(9, 12)}, done: 8, trying: 9, tries: 2},
	} {
		done, trying, tries := c.t.position()
		if done != c.done || trying != c.trying || tries != c.tries {
			t.Errorf("%s: %d, %d tried %d times; want %d, %d tried %d times", c.of, done, trying, tries, c.done, c.trying, c.tries)
		}
	}
}

// stored is a message that a reader was given.
type stored struct {
	jetstream.Msg
	subject string
}

func (m stored) Subject() string { return m.subject }
func (m stored) Data() []byte    { return []byte(m.subject) }

// While the first message of a partition is not done, no more are taken, nor known to be
// done, than may be, over any number of owners; none is taken twice, and of those that are
// done only the sequence is kept.
func TestFirstIsNotDone(t *testing.T) {
	const last = 5000
	c := &core{opts: options{inFlight: 3}, subject: "o.{partition}", shape: template("o.{partition}").shape()}
	h := &hub{cursor: &Cursor{core: c}, seeking: map[*tenure]struct{}{}, asked: make(chan struct{}, 1)}
	var rec record
	taken := map[uint64]int{}
	for owner := range 4 {
		x := &tenure{
			holding: holding{core: c}, next: rec.Done + 1, had: rec.Beyond, more: make(chan struct{}, 1),
		}
		r := &reader{hub: h, members: map[string]*tenure{"a": x}}
		x.reader = r
		read := func() {
			for seq := r.pos + 1; seq <= last; seq++ {
				meta := &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: seq}}
				if r.offer(stored{subject: "o.a"}, meta) != nil {
					return
				}
				r.pos = seq
			}
		}
		all := func() {
			for read(); ; read() {
				letters := x.unqueue()
				if len(letters) == 0 {
					return
				}
				for _, l := range letters {
					taken[l.seq]++
					if l.seq > 1 {
						x.finish(h, l)
					}
				}
			}
		}
		all()
		if n := len(x.out) + len(x.had); n != x.most() {
			t.Fatalf("owner %d: %d are beyond the cursor, want %d", owner, n, x.most())
		}
		for _, l := range x.out {
			if l.done != (l.msg == nil) {
				t.Fatalf("message %d: done is %v, and its data %v", l.seq, l.done, l.msg)
			}
		}
		if owner == 3 {
			x.finish(h, x.out[0])
			all()
		}
		rec.Done, _, _ = x.position()
		rec.Beyond = x.beyond(rec.Done)
	}
	if rec.Done != last || rec.Beyond != nil {
		t.Errorf("%+v", rec)
	}
	for seq := uint64(1); seq <= last; seq++ {
		if n := taken[seq]; n != 1 && (seq != 1 || n != 4) {
			t.Errorf("message %d was taken %d times", seq, n)
		}
	}
}

func TestKeyOf(t *testing.T) {
	for _, c := range []struct{ partition, want string }{
		{"a.b-1_x", "S.a.b-1_x"},
		{"a=ü", "S.a=3D=C3=BC"},
	} {
		if got := keyOf("S", c.partition); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}
