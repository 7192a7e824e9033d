package demo

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
)

// leaderless is a story over a fleet of which nobody leads.
func leaderless(patience time.Duration) *story {
	b := newBell()
	book := newLedger(time.Now, b.ring, []string{"p-000"})
	return &story{
		fleet: &fleet{book: book}, feed: newFeed(b, func() time.Duration { return 0 }, func(note) {}), book: book, bell: b, patience: patience,
	}
}

// A step about the leader waits for one, and says so if there is none.
func TestNobodyLeads(t *testing.T) {
	steps := script()
	at := slices.IndexFunc(steps, func(st step) bool { return st.name == "leader killed" })
	s := leaderless(time.Millisecond)
	s.began = make([]time.Time, at)
	out, err := s.play(t.Context(), at, steps[at], func(text string) { t.Errorf("it is told: %s", text) })
	if be := (*brokenError)(nil); !errors.As(err, &be) || !strings.Contains(be.text, "leader killed: after 1ms still waiting for a leader") {
		t.Errorf("%v", err)
	}
	sum := &Summary{Steps: []Step{out}}
	if s.account(sum, nil); len(s.began) != at+1 || out.Name != "leader killed" {
		t.Errorf("%d steps have begun, the last: %+v", len(s.began), out)
	}
}

// An order needs no leader at that moment: whoever leads next finds it.
func TestOrderOfNobodyWhoLeads(t *testing.T) {
	h, err := openHome(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.close() })
	s := leaderless(time.Minute)
	nobody := parti.HandlerFunc(func(context.Context, parti.Lease) error { return nil })
	for range 2 {
		w := new(worker)
		if w.nc, err = nats.Connect(h.url); err != nil {
			t.Fatal(err)
		}
		if w.js, err = jetstream.New(w.nc); err != nil {
			t.Fatal(err)
		}
		if w.store, err = natskv.Open(t.Context(), w.js, "g"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.close)
		w.mgr, err = parti.NewManager(w.store, source.Static(), nobody, parti.Config{}, parti.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		s.fleet.lives = append(s.fleet.lives, w)
	}
	s.victim = s.fleet.lives[0]
	lift, err := s.order(t.Context(), plan.Control{Kind: plan.Drain, Worker: "w"})
	if err != nil {
		t.Fatal(err)
	}
	there := func() bool {
		_, err := s.fleet.lives[1].store.Get(t.Context(), "control.drain.w")
		if err != nil && !errors.Is(err, kv.ErrMissing) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !there() {
		t.Error("it does not stand")
	}
	s.victim.store.Close()
	if err := lift(t.Context()); err != nil || there() {
		t.Errorf("%v", err)
	}
}
