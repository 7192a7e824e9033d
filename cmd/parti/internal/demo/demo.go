// Package demo is a group of workers that lives through a bad day: it starts, loses
// a worker, gains one, is drained, loses its leader, is restarted. Everything in it is
// real but the machines: a nats-server, a connection and a Manager for each worker,
// messages in a stream. A ledger compares what happens with what Parti promises.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/natskv"
)

// Options say what to play.
type Options struct {
	URL        string        // of a NATS server; empty: one is started in this process
	Workers    int           // MinWorkers to MaxWorkers
	Partitions int           // at least as many as workers, at most MaxPartitions
	Rate       int           // messages per second, all partitions together
	Pace       time.Duration // the time for a spectator to look at what a step has done
	Seed       uint64        // whom it hits
	Sabotage   Sabotage

	// View is called with a picture ten times a second, Line with each line once; each
	// never concurrently. Both may be nil.
	View func(View)
	Line func(Line)
}

// The limits of Options.
const (
	MinWorkers    = 3 // two are killed or drained at a time, and one must be left
	MaxWorkers    = 32
	MaxPartitions = 1000 // a stream takes that many consumers unless its server was told otherwise
	MaxRate       = 10_000
)

// A Line is one line of a demo that is read rather than watched.
type Line struct {
	At   time.Duration
	Kind LineKind
	Text string
}

// LineKind says what a Line is.
type LineKind uint8

// The kinds of lines.
const (
	LineStep    LineKind = iota // a step begins: its title
	LineTell                    // what happens in it and what to look for
	LineEvent                   // something happened in the group
	LineOutcome                 // what came of a step
)

// closeTime is how long it may take to prepare something, or to stop everything at the end.
const closeTime = 40 * time.Second

// Run plays the script once. The Summary is valid with any error; with none it may
// still list broken promises. When ctx ends, the script ends early and the rest is
// cleared away; that is no error.
func Run(ctx context.Context, o Options) (*Summary, error) {
	began := time.Now()
	sum := &Summary{
		Schema: SummarySchema, Seed: o.Seed, Workers: o.Workers, Partitions: o.Partitions,
		Unowned: []Cause{}, Steps: []Step{}, Broken: []string{},
	}
	h, err := openHome(ctx, o.URL)
	if err != nil {
		return sum, err
	}
	sum.Server = h.name
	err = playIn(ctx, h, o, began, sum)
	sum.TookMs = time.Since(began).Milliseconds()
	return sum, errors.Join(err, h.close())
}

func playIn(ctx context.Context, h *home, o Options, began time.Time, sum *Summary) (err error) {
	nc, err := nats.Connect(h.url, append(natskv.ConnectOptions(), nats.Name("parti demo"))...)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}

	group := "demo-" + strings.ToLower(rand.Text()[:8])
	traffic := newTraffic(group)
	partitions, ids := partitions(o.Partitions)
	if o.URL != "" { // one of our own goes away as a whole
		defer func() { err = errors.Join(err, removeAll(ctx, js, traffic, group)) }()
	}
	providing, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	if err := traffic.provision(providing, js, ids); err != nil {
		return err
	}

	b := newBell()
	book := newLedger(time.Now, b.ring, ids)
	lines := newLines(o.Line)
	since := func() time.Duration { return time.Since(began) }
	feed := newFeed(b, since, func(n note) { lines.add(Line{n.At, LineEvent, n.Text}) })
	s := &story{
		fleet: &fleet{url: h.url, group: group, traffic: traffic, partitions: partitions, expected: o.Workers, book: book, feed: feed},
		feed:  feed, book: book, bell: b, sabotage: o.Sabotage, patience: stepTime,
		producer: &producer{traffic: traffic, js: js, book: book, ids: ids, rate: o.Rate},
		chance:   mrand.New(mrand.NewPCG(o.Seed, math.MaxUint64)),
	}
	stopView := picture(s, sum.Server, since, o.View)
	failed := s.playAll(ctx, o, lines, since, sum)
	stopView()
	lines.close()

	// The books are closed before anybody is stopped: that is not part of the story.
	orphans := book.Close()
	s.began = append(s.began, time.Now()) // the end of the last step
	s.producer.stop()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if err := s.fleet.stopAll(stopping); err != nil && failed == nil && !sum.Interrupted {
		failed = err
	}
	if be := (*brokenError)(nil); errors.As(failed, &be) {
		sum.Broken, failed = append(sum.Broken, be.text), nil
	}
	s.account(sum, orphans)
	return failed
}

// playAll plays every step, and returns what ended that early.
func (s *story) playAll(ctx context.Context, o Options, lines *lines, since func() time.Duration, sum *Summary) error {
	steps := script()
	for i, st := range steps {
		title := fmt.Sprintf("%d/%d %s", i+1, len(steps), st.name)
		lines.add(Line{since(), LineStep, title})
		out, err := s.play(ctx, i, st, func(text string) { lines.add(Line{since(), LineTell, text}) })
		if ctx.Err() != nil { // whatever came of that
			sum.Interrupted = true
			return nil //nolint:nilerr // it is no failure
		}
		sum.Steps = append(sum.Steps, out)
		lines.add(Line{since(), LineOutcome, out.String()})
		if err != nil {
			return err
		}
		if s.book.Broken() {
			return nil // the books say what
		}
		if i < len(steps)-1 && !pause(ctx, o.Pace) {
			sum.Interrupted = true
			return nil
		}
	}
	return nil
}

// account fills in what the books say.
func (s *story) account(sum *Summary, orphans []string) {
	c := s.book.Counters()
	for i := range sum.Steps {
		x := &sum.Steps[i]
		x.Plans, x.LeaderBound = s.plans(i) // all accounts have come by now
		sum.Moved += x.Moved
		sum.Bound += x.Bound
		sum.LeaderBound += x.LeaderBound
		sum.Plans += x.Plans
	}
	sum.Sent, sum.Processed, sum.Repeated = c.Sent, c.Processed, c.Repeated
	sum.DoubleOwners, sum.OldTokens, sum.LateEffects = c.Doubles, c.Tokens, c.Late
	sum.Unowned = append(sum.Unowned, byCause(s.book.Gaps())...)
	var missing []string
	if s.complete {
		sum.Lost, missing = s.book.Missing()
	}
	if !sum.Interrupted {
		if len(orphans) > 0 {
			sum.Broken = append(sum.Broken, fmt.Sprintf("every partition is run: %d were not at the end: %s", len(orphans), some(orphans)))
		}
	}
	sum.judge(s.book.Breaches(), missing)
}

// partitions makes n of them.
func partitions(n int) (all []partition, ids []string) {
	for i := range n {
		id := fmt.Sprintf("p-%03d", i)
		all, ids = append(all, partition{ID: id}), append(ids, id)
	}
	return all, ids
}

// removeAll deletes what the demo has made, also after ctx.
func removeAll(ctx context.Context, js jetstream.JetStream, t traffic, group string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return errors.Join(t.remove(ctx, js), removeGroup(ctx, js, group))
}

// removeGroup deletes the group's bucket.
func removeGroup(ctx context.Context, js jetstream.JetStream, group string) error {
	if err := js.DeleteStream(ctx, "KV_parti-"+group); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete the bucket of %s: %w", group, err)
	}
	return nil
}

// String is the outcome on one line.
func (x Step) String() string {
	text := fmt.Sprintf("%s after %s: ", x.Name, seconds(x.TookMs))
	if x.Moved == 0 && x.Bound == 0 {
		text += "nothing moved"
	} else {
		text += fmt.Sprintf("%d moved, at least %d had to", x.Moved, x.Bound)
	}
	text += fmt.Sprintf("; plans: %d", x.Plans)
	if u := x.Unowned; u.Count > 0 {
		text += fmt.Sprintf("; without an owner: p50 %s, max %s", ms(u.Count, u.P50), ms(u.Count, u.Max))
	}
	return text
}
