package admin_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/strategy"
)

func TestSnapshot(t *testing.T) {
	inBubble(t, 3, 12, func(t *testing.T, f *fleet) {
		s := f.snapshot()
		if s.Sentence != "Settled. 12 partitions on 3 workers. Nothing pending." || !s.Settled {
			t.Errorf("%q, settled: %v, pending %v", s.Sentence, s.Settled, s.Pending)
		}
		if s.Leader == nil || !s.Leader.Answers || s.Term != 1 || s.Phase != plan.Stable {
			t.Errorf("leader %+v, term %d, %v", s.Leader, s.Term, s.Phase)
		}
		if s.Counts != (admin.Counts{Workers: 3, Partitions: 12, Running: 12}) {
			t.Errorf("%+v", s.Counts)
		}
		leaders := 0
		for _, w := range s.Workers {
			if w.State != "live" || w.Does != "Stable" || w.Partitions != 4 || w.Load != 1000 || w.Running != 4 || w.Status == nil {
				t.Errorf("%+v", w)
			}
			if w.Leader {
				leaders++
			}
		}
		if leaders != 1 || len(s.Workers) != 3 {
			t.Errorf("%d of %d workers lead", leaders, len(s.Workers))
		}
		for _, p := range s.Partitions {
			if p.State != admin.Owned || p.Owner == "" || p.Token == 0 || p.Why != plan.WhyFirstPlan {
				t.Errorf("%+v", p)
			}
		}
		if len(s.Partitions) != 12 {
			t.Errorf("%d partitions", len(s.Partitions))
		}
		all, err := s.Match("p-00*")
		if !errors.As(err, new(*admin.NotFoundError)) {
			t.Errorf("* is a whole token: %v, %v", all, err)
		}
		if all, err = s.Match("*"); err != nil || len(all) != 12 {
			t.Errorf("%v, %v", all, err)
		}
		var missing *admin.NotFoundError
		if _, err := s.Partition("p-0111"); !errors.As(err, &missing) || missing.Nearest != "p-011" {
			t.Errorf("%v", err)
		}
		if _, err := s.Worker("w-0"); !errors.As(err, &missing) || missing.Nearest != "w0-0" {
			t.Errorf("%v", err)
		}
	})
}

func TestNoGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t}
		inNothing(t, f)
		if _, err := f.group.Snapshot(t.Context()); !errors.Is(err, admin.ErrNoGroup) {
			t.Errorf("%v", err)
		}
		if _, err := f.group.Pause(t.Context(), admin.Order{}); !errors.Is(err, admin.ErrNoGroup) {
			t.Errorf("%v", err)
		}
		told := 0
		for _, err := range f.group.History(t.Context(), admin.Query{}) {
			if told++; !errors.Is(err, admin.ErrNoGroup) {
				t.Errorf("%v", err)
			}
		}
		if told != 1 {
			t.Errorf("told %d times", told)
		}
		found, err := f.group.Doctor(t.Context())
		if err != nil || !slices.ContainsFunc(found, func(x admin.Finding) bool { return x.Level == admin.Wrong }) {
			t.Errorf("%v, %v", found, err)
		}
	})
}

// What is pending, what a move waits for, and who is stuck is said in the sentence.
func TestSentences(t *testing.T) {
	inBubble(t, 3, 12, func(t *testing.T, f *fleet) {
		f.join("w3", parti.Config{})
		time.Sleep(time.Second)
		if s := f.snapshot(); !strings.HasPrefix(s.Sentence, "Settled. 12 partitions on 4 workers. A plan follows in ") || !strings.HasSuffix(s.Sentence, ": w3-0 joined.") {
			t.Error(s.Sentence)
		}
		f.settled()

		s := f.snapshot()
		p := s.Partitions[0]
		free := f.stick(p.ID)
		defer free()
		if _, err := f.group.Ban(t.Context(), p.ID, p.Owner, admin.Order{Why: "a test"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(8500 * time.Millisecond)
		s = f.snapshot()
		if want := "Moving 1 of 12: waiting for " + p.Owner + " to let go (8 s)."; s.Sentence != want || s.Settled {
			t.Errorf("%q, want %q", s.Sentence, want)
		}
		if now, _ := s.Partition(p.ID); now.State != admin.Moving || now.Owner != p.Owner || now.Next == p.Owner || !slices.Equal(now.Banned, []string{p.Owner}) {
			t.Errorf("%+v", now)
		}
		e, err := f.group.Explain(t.Context(), p.ID)
		if err != nil || !strings.Contains(e.Sentence, "because an operator banned it from where it was; "+p.Owner+" has not let go yet, after 8 s") {
			t.Errorf("%q, %v", e.Sentence, err)
		}
		time.Sleep(2 * time.Minute) // DrainTimeout and StuckAfter
		s = f.snapshot()
		if !slices.ContainsFunc(s.Alerts, func(a admin.Alert) bool {
			return a.Leader && strings.Contains(a.Text, "waits for "+p.Owner+" to let go")
		}) {
			t.Errorf("%+v", s.Alerts)
		}
		if h := s.Health(admin.DefaultLimits()); h.Level != admin.Warning || len(h.Problems) == 0 {
			t.Errorf("%+v", h)
		}
		free()
		f.settled()
	})
}

func TestExplain(t *testing.T) {
	inBubble(t, 2, 8, func(t *testing.T, f *fleet) {
		s := f.snapshot()
		e, err := f.group.Explain(t.Context(), "p-000")
		if err != nil || !strings.HasPrefix(e.Sentence, "p-000 is on "+s.Partitions[0].Owner+" since ") || !strings.HasSuffix(e.Sentence, ", because it was the group's first plan.") {
			t.Errorf("%q, %v", e.Sentence, err)
		}
		f.join("w2", parti.Config{})
		s = f.settled()
		moved := ""
		for _, p := range s.Partitions {
			if p.Owner == "w2-0" {
				moved = p.ID
			}
		}
		if e, err = f.group.Explain(t.Context(), moved); err != nil {
			t.Fatal(err)
		}
		if l := e.Last; l == nil || l.To != "w2-0" || l.From == "" || l.From == l.To || l.About != "w2-0 joined" {
			t.Errorf("%+v", e.Last)
		}
		if !strings.Contains(e.Sentence, "it came from "+e.Last.From+" because its next worker had less than it should (w2-0 joined).") &&
			!strings.Contains(e.Sentence, "because a worker had joined (w2-0 joined).") {
			t.Error(e.Sentence)
		}
		if len(e.Next) != 2 || !strings.HasPrefix(e.Next[0], "If w2-0 were lost, it would go to w") || !strings.HasPrefix(e.Next[1], "Evening out now would leave it where it is") {
			t.Errorf("%q", e.Next)
		}
		if _, err := f.group.Explain(t.Context(), "p-00"); !errors.As(err, new(*admin.NotFoundError)) {
			t.Errorf("%v", err)
		}
	})
}

// Once everybody has stopped, nothing is said to go on, and nobody to have anything. One
// that was cut off may go on all the same, unless it fences.
func TestEverybodyStopped(t *testing.T) {
	inBubble(t, 2, 8, func(t *testing.T, f *fleet) {
		id := f.snapshot().Partitions[0].ID
		says := func(sentence, explained string, next ...string) {
			t.Helper()
			if s := f.snapshot(); s.Sentence != sentence || s.Settled {
				t.Errorf("%q, want %q", s.Sentence, sentence)
			}
			e, err := f.group.Explain(t.Context(), id)
			if err != nil || e.Sentence != explained || !slices.Equal(e.Next, next) {
				t.Errorf("%q, %q, %v", e.Sentence, e.Next, err)
			}
		}
		last := f.all[0]
		if err := f.all[1].Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.settled()
		f.clients[last].Cut()
		time.Sleep(10 * time.Minute) // its key has lapsed
		says("No worker is there. 8 partitions run nowhere, unless on workers that are cut off from NATS.",
			id+" still stands in the name of w0-0, which is gone: its key is not there.", "It goes to the first worker that takes it and has room.")
		f.clients[last].Mend()
		f.settled()
		if err := last.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		says("No worker is there. 8 partitions run nowhere.",
			id+" still stands in the name of w0-0, which is gone: it has left.", "It goes to the first worker that takes it and has room.")
		f.join("w1", parti.Config{})
		f.settled()
	})
}

// Plan does not write, and says what then comes about.
func TestPlanIsWhatComesAbout(t *testing.T) {
	inBubble(t, 4, 40, func(t *testing.T, f *fleet) {
		before := f.snapshot()
		lost := before.Workers[2].ID
		o, err := f.group.Plan(t.Context(), admin.WhatIf{Without: []string{lost}})
		if err != nil {
			t.Fatal(err)
		}
		if f.snapshot().Version != before.Version {
			t.Fatal("it has written")
		}
		if o.Forced != 10 || len(o.Moves) < 10 || len(o.Unassigned) > 0 {
			t.Errorf("%q, %+v", o.Sentence, o.Moves)
		}
		drained, err := f.group.Drain(t.Context(), lost, admin.Order{})
		if err != nil || drained.Control.Who != "ada" {
			t.Fatalf("%+v, %v", drained, err)
		}
		if err := f.group.AwaitDrained(t.Context(), lost, nil); err != nil {
			t.Fatal(err)
		}
		after := f.settled()
		for _, l := range o.Loads {
			if w, err := after.Worker(l.Worker); err != nil || int64(w.Partitions) != l.After {
				t.Errorf("%s was to have %d, and has %d (%v)", l.Worker, l.After, w.Partitions, err)
			}
		}

		if o, err = f.group.Plan(t.Context(), admin.WhatIf{With: 2}); err != nil || len(o.Moves) == 0 {
			t.Errorf("%+v, %v", o, err)
		}
		for _, l := range o.Loads {
			if l.New && l.After < 6 {
				t.Errorf("%+v", l)
			}
		}
		if o, err = f.group.Plan(t.Context(), admin.WhatIf{}); err != nil || len(o.Moves) > 0 {
			t.Errorf("an even group: %+v, %v", o.Moves, err)
		}
		if _, err = f.group.Plan(t.Context(), admin.WhatIf{Without: []string{"w9-0"}}); !errors.As(err, new(*admin.NotFoundError)) {
			t.Errorf("%v", err)
		}
		if o, err = f.group.Plan(t.Context(), admin.WhatIf{Reweigh: map[string]int64{"p-000": 30, "p-001": 30}}); err != nil || len(o.Moves) == 0 {
			t.Errorf("%+v, %v", o, err)
		}
	})
}

func TestHistory(t *testing.T) {
	inBubble(t, 2, 8, func(t *testing.T, f *fleet) {
		f.join("w2", parti.Config{})
		f.settled()
		var ds []plan.Decision
		for d, err := range f.group.History(t.Context(), admin.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			ds = append(ds, d)
		}
		if len(ds) < 3 || ds[len(ds)-1].Why != plan.WhyFirstPlan || !slices.IsSortedFunc(ds, func(a, b plan.Decision) int { return int(int64(b.Version) - int64(a.Version)) }) {
			t.Errorf("%+v", ds)
		}
		n := 0
		for _, err := range f.group.History(t.Context(), admin.Query{Last: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%d, want the last 2", n)
		}
		n = 0
		for _, err := range f.group.History(t.Context(), admin.Query{Last: math.MaxInt}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != len(ds) {
			t.Errorf("%d, want all %d", n, len(ds))
		}
		n = 0
		for d, err := range f.group.History(t.Context(), admin.Query{Worker: "w2-0"}) {
			if n++; err != nil || d.Why == plan.WhyFirstPlan {
				t.Errorf("%+v, %v", d, err)
			}
		}
		if n == 0 {
			t.Error("nothing is told of it")
		}
	})
}

func TestEvents(t *testing.T) {
	inBubble(t, 2, 8, func(t *testing.T, f *fleet) {
		ctx, cancel := context.WithCancel(t.Context())
		began, done := make(chan struct{}), make(chan error, 1)
		var kinds []string
		go func() {
			done <- f.group.Events(ctx, func() { close(began) }, func(e admin.Event) { kinds = append(kinds, e.Kind+" "+e.Text) })
		}()
		<-began
		m := f.join("w2", parti.Config{})
		f.settled()
		if _, err := f.group.Cordon(t.Context(), "w0-0", admin.Order{Why: "a test"}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.group.Uncordon(t.Context(), "w0-0"); err != nil {
			t.Fatal(err)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.settled()
		if _, err := f.group.Cordon(t.Context(), "w1-0", admin.Order{For: time.Minute}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := f.group.Uncordon(t.Context(), "w1-0"); err != nil { // or the record expires, in the end
			t.Fatal(err)
		}
		time.Sleep(time.Second) // all is told
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		all := strings.Join(kinds, "\n")
		for _, want := range []string{
			"worker-joined w2-0 joined", ": w2-0 joined; ", "control ada: cordon w0-0 (a test)", "control-ended taken back: cordon w0-0",
			"control-ended its time is over: cordon w1-0",
			"worker-leaving w2-0 stops", "worker-left w2-0 has left", "phase the group is Stable",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("nothing like %q in\n%s", want, all)
			}
		}
	})
}

// A group is paused once its leader has heard of it, also before the plan says so.
func TestPausedBeforeThePlan(t *testing.T) {
	inBubble(t, 2, 4, func(t *testing.T, f *fleet) {
		leader := f.snapshot().Leader.Worker
		client := f.clients[f.all[slices.IndexFunc(f.all, func(m *parti.Manager) bool { return m.WorkerID() == leader })]]
		client.Hang(func(op memkv.Op) bool { return op.Kind == memkv.OpCommit })
		if _, err := f.group.Pause(t.Context(), admin.Order{For: time.Hour}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s := f.snapshot()
		if s.Phase != plan.Stable || s.Settled || !strings.HasPrefix(s.Sentence, "Paused. 4 partitions on 2 workers. ") {
			t.Errorf("%v: %s", s.Phase, s.Sentence)
		}
		for _, v := range admin.Verbs() {
			if v.Name != "pause" {
				continue
			}
			pause := admin.Change{Control: plan.Control{Kind: plan.Pause}}
			began := time.Now()
			if err := v.Await(t.Context(), f.group, pause, nil); err != nil || time.Since(began) > time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			client.Tamper(func(kv.Entry) memkv.Fate { return memkv.Fate{Drop: true} })
			over := make(chan error, 1)
			if _, err := f.group.Pause(t.Context(), admin.Order{For: 2 * time.Hour}); err != nil {
				t.Fatal(err)
			}
			go func() { over <- v.Await(t.Context(), f.group, pause, nil) }()
			synctest.Wait()
			if _, err := f.group.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-over; err == nil || !strings.Contains(err.Error(), "the pause is over") {
				t.Error(err)
			}
		}
	})
}

// What is done also while the group is paused is waited for no longer.
func TestAwaitWhilePaused(t *testing.T) {
	inBubble(t, 2, 4, func(t *testing.T, f *fleet) {
		if _, err := f.group.Pause(t.Context(), admin.Order{For: time.Hour}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := f.snapshot(); s.Phase != plan.Paused || s.Settled {
			t.Fatalf("%v: %s", s.Phase, s.Sentence)
		}
		waited := 0
		for _, v := range admin.Verbs() {
			ends := slices.Contains([]string{"undrain", "uncordon", "unpin", "ban", "unban", "rebalance"}, v.Name)
			if !ends && v.Name != "resume" {
				continue
			}
			waited++
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := v.Await(ctx, f.group, admin.Change{}, nil); (err == nil) != ends {
				t.Errorf("%s: %v", v.Name, err)
			}
			cancel()
		}
		if waited != 7 {
			t.Errorf("%d verbs", waited)
		}
	})
}

// A group is not at rest while its leader has not heard of an order.
func TestUnheard(t *testing.T) {
	inBubble(t, 2, 4, func(t *testing.T, f *fleet) {
		leader := f.snapshot().Leader.Worker
		for _, m := range f.all {
			if m.WorkerID() == leader {
				f.clients[m].Tamper(func(e kv.Entry) memkv.Fate {
					return memkv.Fate{Drop: strings.HasPrefix(e.Key, "control.")}
				})
			}
		}
		if _, err := f.group.Drain(t.Context(), "w0-0", admin.Order{}); err != nil {
			t.Fatal(err)
		}
		if s := f.snapshot(); s.Settled || s.Sentence != "Settled. 4 partitions on 2 workers. The leader has not heard of an order yet." {
			t.Error(s.Sentence)
		}
		if s := f.settled(); s.Workers[0].Partitions != 0 { // it has looked
			t.Errorf("%+v", s.Workers[0])
		}
	})
}

// Every order has its effect, and taking it back as well.
func TestOrders(t *testing.T) {
	inBubble(t, 3, 12, func(t *testing.T, f *fleet) {
		ctx := t.Context()
		g := f.group
		must := func(_ admin.Change, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		owner := func(id string) string {
			t.Helper()
			s := f.snapshot()
			p, err := s.Partition(id)
			if err != nil {
				t.Fatal(err)
			}
			return p.Owner
		}
		other := map[string]string{"w0-0": "w1-0", "w1-0": "w2-0", "w2-0": "w0-0"}

		from := owner("p-000")
		must(g.Move(ctx, "p-000", other[from], admin.Order{}))
		if err := g.AwaitOwner(ctx, "p-000", other[from]); err != nil {
			t.Fatal(err)
		}
		f.settled()

		from = owner("p-001")
		must(g.Pin(ctx, "p-001", other[from], admin.Order{Why: "cache"}))
		if err := g.AwaitOwner(ctx, "p-001", other[from]); err != nil {
			t.Fatal(err)
		}
		s := f.settled()
		if p, _ := s.Partition("p-001"); p.Pinned != other[from] {
			t.Errorf("%+v", p)
		}
		if _, err := g.Ban(ctx, "p-001", other[from], admin.Order{}); !errors.As(err, new(*admin.RefusedError)) {
			t.Errorf("a ban of what is pinned there: %v", err)
		}
		must(g.Pin(ctx, "p-001", from, admin.Order{})) // replaces
		if err := g.AwaitOwner(ctx, "p-001", from); err != nil {
			t.Fatal(err)
		}
		again, err := g.Pin(ctx, "p-001", from, admin.Order{})
		if err != nil || !again.Already {
			t.Errorf("%+v, %v", again, err)
		}
		must(g.Unpin(ctx, "p-001"))
		if _, err := g.Unpin(ctx, "p-001"); !errors.As(err, new(*admin.NotFoundError)) {
			t.Errorf("%v", err)
		}

		must(g.Pause(ctx, admin.Order{For: time.Hour}))
		f.join("w3", parti.Config{})
		time.Sleep(time.Minute)
		if s := f.snapshot(); !strings.HasPrefix(s.Sentence, "Paused. 12 partitions on 4 workers.") || s.Workers[3].Partitions != 0 {
			t.Errorf("%s %+v", s.Sentence, s.Workers[3])
		}
		must(g.Resume(ctx))
		if s := f.settled(); s.Workers[3].Partitions != 3 {
			t.Errorf("%+v", s.Workers[3])
		}

		must(g.Cordon(ctx, "w3-0", admin.Order{For: time.Minute}))
		if w := f.snapshot().Workers[3]; !w.Cordoned {
			t.Errorf("%+v", w)
		}
		if _, err := g.Move(ctx, "p-000", "w3-0", admin.Order{}); !errors.As(err, new(*admin.RefusedError)) {
			t.Errorf("a move to a cordoned worker: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if w := f.snapshot().Workers[3]; w.Cordoned {
			t.Errorf("it has not ended: %+v", w)
		}

		leader := f.snapshot().Leader.Worker
		version := f.snapshot().Version
		must(g.StepDown(ctx, admin.Order{}))
		time.Sleep(20 * time.Second)
		s = f.settled()
		if s.Leader.Worker == leader || s.Term < 2 {
			t.Errorf("%s led, and %+v leads term %d", leader, s.Leader, s.Term)
		}
		for d, err := range g.History(ctx, admin.Query{}) {
			if err != nil || d.Version > version && len(d.Moves) > 0 {
				t.Errorf("%v moves something: %+v", d.Version, d.Moves)
			}
		}
		must(g.Rebalance(ctx, admin.Order{}))
		must(g.Refresh(ctx, admin.Order{}))
		if _, err := g.Lift(ctx, "p-000", admin.Order{}); !errors.As(err, new(*admin.RefusedError)) {
			t.Errorf("%v", err)
		}
		if _, err := g.Drain(ctx, "w7-0", admin.Order{}); !errors.As(err, new(*admin.NotFoundError)) {
			t.Errorf("%v", err)
		}
	})
}

// Who was asked about one worker does not strike another.
func TestAim(t *testing.T) {
	inBubble(t, 3, 6, func(t *testing.T, f *fleet) {
		ctx, g := t.Context(), f.group
		then := f.snapshot()
		down := plan.Control{Kind: plan.StepDown}
		if err := g.Unchanged(ctx, then, down); err != nil {
			t.Error(err)
		}
		if _, err := g.StepDown(ctx, admin.Order{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		now := f.settled()
		if err := g.Unchanged(ctx, then, down); !errors.As(err, new(*admin.RefusedError)) {
			t.Errorf("%s led, and %s leads: %v", then.Leader.Worker, now.Leader.Worker, err)
		}

		p, other := now.Partitions[0], "w0-0"
		if p.Owner == other {
			other = "w1-0"
		}
		release := plan.Control{Kind: plan.ForceRelease, Partition: p.ID}
		if err := g.Unchanged(ctx, now, release); err != nil {
			t.Error(err)
		}
		if _, err := g.Move(ctx, p.ID, other, admin.Order{}); err != nil {
			t.Fatal(err)
		}
		if err := g.AwaitOwner(ctx, p.ID, other); err != nil {
			t.Fatal(err)
		}
		if err := g.Unchanged(ctx, now, release); !errors.As(err, new(*admin.RefusedError)) {
			t.Errorf("%s had it, and %s has: %v", p.Owner, other, err)
		}
	})
}

// Whoever orders something about nobody is told so, and it does not stand. What an earlier
// release has let stand is taken back.
func TestOrdersAboutNobody(t *testing.T) {
	inBubble(t, 2, 4, func(t *testing.T, f *fleet) {
		ctx := t.Context()
		g, o := f.group, admin.Order{}
		for name, order := range map[string]func() (admin.Change, error){
			"cordon":      func() (admin.Change, error) { return g.Cordon(ctx, "", o) },
			"drain":       func() (admin.Change, error) { return g.Drain(ctx, "", o) },
			"pin to":      func() (admin.Change, error) { return g.Pin(ctx, "p-000", "", o) },
			"pin of":      func() (admin.Change, error) { return g.Pin(ctx, "", "w0-0", o) },
			"ban from":    func() (admin.Change, error) { return g.Ban(ctx, "p-000", "", o) },
			"ban of":      func() (admin.Change, error) { return g.Ban(ctx, "", "w0-0", o) },
			"move to":     func() (admin.Change, error) { return g.Move(ctx, "p-000", "", o) },
			"move of":     func() (admin.Change, error) { return g.Move(ctx, "", "w0-0", o) },
			"lift":        func() (admin.Change, error) { return g.Lift(ctx, "", o) },
			"release":     func() (admin.Change, error) { return g.Release(ctx, "", o) },
			"not drained": func() (admin.Change, error) { return g.Undrain(ctx, "") },
		} {
			if _, err := order(); !errors.As(err, new(*admin.NotFoundError)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s := f.snapshot(); len(s.Controls) != 0 {
			t.Errorf("%+v", s.Controls)
		}

		value, err := wire.Encode(plan.Control{Kind: plan.Drain})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.client.Write(ctx, kv.Write{Key: wire.Key{Kind: wire.Control, Name: "drain."}.String(), Value: value}); err != nil {
			t.Fatal(err)
		}
		s := f.snapshot()
		if err := s.Exists(plan.Control{Kind: plan.Drain}); err != nil {
			t.Error(err)
		}
		if _, err := g.Undrain(ctx, ""); err != nil {
			t.Error(err)
		}
	})
}

// Also where a partition has no owner, and so may have any name but none.
func TestMoveOfNothing(t *testing.T) {
	inBubble(t, 0, 4, func(t *testing.T, f *fleet) {
		f.join("w0", parti.Config{Capacity: 3})
		time.Sleep(time.Minute)
		if n := f.snapshot().Counts.Unassigned; n != 1 {
			t.Fatalf("%d unassigned", n)
		}
		for _, id := range []string{"", "p-003"} {
			_, err := f.group.Ban(t.Context(), id, "w0-0", admin.Order{})
			if missing := errors.As(err, new(*admin.NotFoundError)); missing != (id == "") {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
}

// overtaken is a store in which somebody else is faster, once: between reading and writing.
type overtaken struct {
	*memkv.Client

	by func()
}

func (s *overtaken) Write(ctx context.Context, w kv.Write) (kv.Rev, error) {
	if by := s.by; by != nil {
		s.by = nil
		by()
	}
	return s.Client.Write(ctx, w)
}

// A move that the leader cannot do any more is not waited for; a pin is, since it may be kept.
func TestAwaitOwnerOfWhatCannotBe(t *testing.T) {
	inBubble(t, 2, 4, func(t *testing.T, f *fleet) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		p := f.snapshot().Partitions[0]
		to := map[string]string{"w0-0": "w1-0", "w1-0": "w0-0"}[p.Owner]
		for range 2 { // the second time, what was said of the first stands as it begins
			late := admin.Open(&overtaken{f.client, func() {
				if _, err := f.group.Cordon(ctx, to, admin.Order{}); err != nil {
					t.Error(err)
				}
			}})
			if _, err := late.Move(ctx, p.ID, to, admin.Order{}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			var refused *admin.RefusedError
			if err := late.AwaitOwner(ctx, p.ID, to); !errors.As(err, &refused) || refused.Why != "the worker takes nothing new" || refused.Try == "" {
				t.Fatalf("%v", err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			if _, err := f.group.Uncordon(ctx, to); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.group.Pin(ctx, p.ID, to, admin.Order{}); err != nil {
			t.Fatal(err)
		}
		if err := f.group.AwaitOwner(ctx, p.ID, to); err != nil {
			t.Error(err)
		}
	})
}

// What others are to read is one line that is not too long, or nothing is done.
func TestFreeText(t *testing.T) {
	inBubble(t, 1, 2, func(t *testing.T, f *fleet) {
		long := strings.Repeat("é", 250)
		for why, o := range map[string]admin.Order{
			"its reason has 501 bytes":                                    {Why: long + "."},
			`its reason has a control character: "a\x1b[2J"`:              {Why: "a\x1b[2J"},
			`its reason has a control character: "a\nb"`:                  {Why: "a\nb"},
			"its reason has a control character: \"a\\u009b2J\"":          {Why: "a\u009b2J"},
			"the name of who wants it has 501 bytes":                      {Who: long + "."},
			`the name of who wants it has a control character: "ann\x7f"`: {Who: "ann\x7f"},
		} {
			_, err := f.group.Pause(t.Context(), o)
			if refused := (*admin.RefusedError)(nil); !errors.As(err, &refused) || refused.Why != why || refused.Try == "" {
				t.Errorf("%s: %v", why, err)
			}
		}
		if s := f.snapshot(); len(s.Controls) > 0 {
			t.Errorf("%v", s.Controls)
		}
		if _, err := f.group.Pause(t.Context(), admin.Order{Why: long + "\n", Who: long}); err != nil {
			t.Error(err)
		}
	})
}

// Of two operators at once one wins, and the other is told who and when.
func TestTwoOperators(t *testing.T) {
	inBubble(t, 2, 4, func(t *testing.T, f *fleet) {
		other := f.server.Client("bob")
		defer other.Close()
		bob := admin.Open(other, admin.WithWho("bob"))
		p := f.snapshot().Partitions[0]
		store := &overtaken{Client: f.client, by: func() {
			if _, err := bob.Pin(t.Context(), p.ID, "w1-0", admin.Order{}); err != nil {
				t.Error(err)
			}
		}}
		ada := admin.Open(store, admin.WithWho("ada"))
		_, err := ada.Pin(t.Context(), p.ID, "w0-0", admin.Order{})
		var lost *admin.ConflictError
		if !errors.As(err, &lost) || lost.Theirs.Who != "bob" || lost.Theirs.Worker != "w1-0" {
			t.Errorf("%v", err)
		}
		if err == nil || !strings.Contains(err.Error(), "another operator was faster: pin "+p.ID+" to w1-0, by bob at ") {
			t.Errorf("%v", err)
		}
	})
}

// What is not permitted is named by its subject.
func TestDenied(t *testing.T) {
	inBubble(t, 1, 2, func(t *testing.T, f *fleet) {
		f.client.Refuse(func(op memkv.Op) error {
			if op.Kind == memkv.OpWrite {
				return &kv.DeniedError{Op: "publish", Subject: "$KV.x." + op.Keys[0]}
			}
			return nil
		})
		_, err := f.group.Pause(t.Context(), admin.Order{})
		var denied *kv.DeniedError
		if !errors.As(err, &denied) || denied.Subject != "$KV.x.control.pause" {
			t.Errorf("%v", err)
		}
	})
}

// Release ends the process whose handler ignores Hard, and nothing before that.
func TestRelease(t *testing.T) {
	inBubble(t, 2, 4, func(t *testing.T, f *fleet) {
		ctx := t.Context()
		ended := make(chan string, 2)
		victim := f.join("w2", parti.Config{}, parti.WithExit(func(why string) { ended <- why }))
		s := f.settled()
		mine := ""
		for _, p := range s.Partitions {
			if p.Owner == "w2-0" {
				mine = p.ID
			}
		}
		if _, err := f.group.Release(ctx, mine, admin.Order{}); !errors.As(err, new(*admin.RefusedError)) {
			t.Errorf("it was not asked to stop: %v", err)
		}
		free := f.stick(mine)
		defer free()
		if _, err := f.group.Ban(ctx, mine, "w2-0", admin.Order{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if _, err := f.group.Release(ctx, mine, admin.Order{}); !errors.As(err, new(*admin.RefusedError)) || len(ended) > 0 {
			t.Errorf("it has time until Hard: %v, ended %d times", err, len(ended))
		}
		time.Sleep(time.Minute)
		late, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if _, err := f.group.Release(late, mine, admin.Order{Why: "it hangs"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("its process goes on: %v", err)
		}
		if n := len(ended); n != 1 {
			t.Fatalf("ended %d times", n)
		}
		if why := <-ended; !strings.Contains(why, "the handler of "+mine+" ignores Hard, and ada asked for this process to end: it hangs") {
			t.Errorf("%q", why)
		}
		if cs := f.snapshot().Controls; slices.ContainsFunc(cs, func(c plan.Control) bool { return c.Kind == plan.ForceRelease }) {
			t.Errorf("%+v", cs)
		}

		other := f.snapshot().Partitions[0]
		if other.Owner == "w2-0" {
			other = f.snapshot().Partitions[1]
		}
		letGo := f.stick(other.ID)
		if _, err := f.group.Ban(ctx, other.ID, other.Owner, admin.Order{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second)
		time.AfterFunc(2*time.Second, letGo)
		if _, err := f.group.Release(ctx, other.ID, admin.Order{}); err != nil {
			t.Errorf("it has returned after all: %v", err)
		}
		_ = victim
	})
}

// Who ends the process may stop the worker first, so that its other handlers end well.
func TestReleaseStopsTheWorkerFirst(t *testing.T) {
	inBubble(t, 2, 6, func(t *testing.T, f *fleet) {
		stopped := make(chan error, 1)
		var victim *parti.Manager
		victim = f.join("w2", parti.Config{}, parti.WithExit(func(string) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			stopped <- victim.Stop(ctx)
		}))
		s := f.settled()
		i := slices.IndexFunc(s.Partitions, func(p admin.Partition) bool { return p.Owner == "w2-0" })
		mine := s.Partitions[i].ID
		free := f.stick(mine)
		defer free()
		if _, err := f.group.Ban(t.Context(), mine, "w2-0", admin.Order{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		late, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _ = f.group.Release(late, mine, admin.Order{Why: "it hangs"}) // this process goes on
		select {
		case err := <-stopped:
			if stuck := (*parti.StuckError)(nil); !errors.As(err, &stuck) || !slices.Equal(stuck.Partitions, []string{mine}) {
				t.Errorf("stopped: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("Stop does not return")
		}
	})
}

func TestDoctor(t *testing.T) {
	inBubble(t, 2, 4, func(t *testing.T, f *fleet) {
		found, err := f.group.Doctor(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range found {
			if x.Level != admin.Fine {
				t.Errorf("%+v", x)
			}
		}
		if len(found) < 2 {
			t.Errorf("%+v", found)
		}
		f.join("w2", parti.Config{Software: "v2", Isolation: parti.Fence, SessionTTL: 9 * time.Second})
		f.settled()
		if _, err := f.group.Pin(t.Context(), "p-000", "w0-0", admin.Order{}); err != nil {
			t.Fatal(err)
		}
		if found, err = f.group.Doctor(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"workers run", "workers differ in what they do when they are cut off", "SessionTTL is 9s on w2-0"} {
			if !slices.ContainsFunc(found, func(x admin.Finding) bool { return strings.Contains(x.What, want) && x.Level != admin.Fine }) {
				t.Errorf("nothing about %q in %+v", want, found)
			}
		}
	})
}

// Somebody who is elected and whose plans the store does not take leads nobody, however well
// it answers.
func TestElectedAndDoesNotLead(t *testing.T) {
	inBubble(t, 2, 4, func(t *testing.T, f *fleet) {
		before := f.snapshot()
		if h := before.Health(admin.DefaultLimits()); h.Level != admin.OK || led(h) != 1 {
			t.Errorf("%+v", h)
		}
		for _, c := range f.clients {
			c.Refuse(func(op memkv.Op) error {
				if op.Kind == memkv.OpCommit {
					return &kv.DeniedError{Op: "publish", Subject: "$KV.x." + op.Keys[0]}
				}
				return nil
			})
		}
		if _, err := f.group.StepDown(t.Context(), admin.Order{}); err != nil {
			t.Fatal(err)
		}
		var seen, diagnosed bool
		for range 20 {
			time.Sleep(time.Second)
			s := f.snapshot()
			if s.Leader == nil || !s.Leader.Answers {
				continue
			}
			seen = true
			h := s.Health(admin.DefaultLimits())
			if s.Leader.Leads || h.Level != admin.Warning || led(h) != 0 || !slices.ContainsFunc(h.Problems, func(p string) bool { return strings.Contains(p, "has not taken its term") }) {
				t.Errorf("%+v, %+v", s.Leader, h)
			}
			found, err := f.group.Doctor(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range found {
				if x.About != "leader" {
					continue
				}
				if x.Level == admin.Fine {
					t.Errorf("%+v", x)
				}
				diagnosed = diagnosed || strings.Contains(x.What, "is elected and has not taken its term")
			}
		}
		if !seen || !diagnosed {
			t.Errorf("an elected one that answers is seen: %v, diagnosed: %v", seen, diagnosed)
		}
		for _, c := range f.clients {
			c.Mend()
		}
		f.settled()
	})
}

// A leader whose brain is busy, as with a strategy that takes its time, leads, and does not
// answer.
func TestLeaderIsBusy(t *testing.T) {
	inBubble(t, 0, 4, func(t *testing.T, f *fleet) {
		slow := parti.WithStrategy(slowly{2 * time.Second})
		f.join("w0", parti.Config{}, slow)
		f.join("w1", parti.Config{}, slow)
		f.settled()
		if _, err := f.group.Drain(t.Context(), "w1-0", admin.Order{}); err != nil {
			t.Fatal(err)
		}
		var busy int
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			s := f.snapshot()
			if s.Leader == nil || s.Leader.Answers {
				continue
			}
			busy++
			h := s.Health(admin.DefaultLimits())
			if !s.Leader.Leads || led(h) != 1 || !slices.ContainsFunc(h.Problems, func(p string) bool { return strings.Contains(p, "does not answer") }) {
				t.Errorf("%+v, %+v", s.Leader, h)
			}
			if s.Settled || !strings.Contains(s.Sentence, "does not answer") {
				t.Error(s.Sentence)
			}
		}
		if busy == 0 {
			t.Error("it was never busy")
		}
		f.settled()
	})
}

// slowly is the default strategy with a pause before.
type slowly struct{ pause time.Duration }

func (s slowly) Assign(in plan.Input) ([]int, error) {
	time.Sleep(s.pause)
	return strategy.Sticky().Assign(in)
}

func led(h admin.Health) float64 {
	i := slices.IndexFunc(h.Metrics, func(m admin.Metric) bool { return m.Name == "led" })
	return h.Metrics[i].Value
}

// A loss of most is planned as well, together with other weights, and comes to an end.
func TestPlanOfALargeLoss(t *testing.T) {
	inBubble(t, 5, 20, func(t *testing.T, f *fleet) {
		all := []string{"w0-0", "w1-0", "w2-0"}
		o, err := f.group.Plan(t.Context(), admin.WhatIf{Without: all})
		if err != nil || len(o.Unassigned) > 0 || o.Forced != 12 || len(o.Moves) != 12 {
			t.Errorf("%q, %+v, %v", o.Sentence, o.Unassigned, err)
		}
		if o, err = f.group.Plan(t.Context(), admin.WhatIf{Without: all[:1], Reweigh: map[string]int64{"p-000": 9}}); err != nil {
			t.Fatal(err)
		}
		var after int64
		for _, l := range o.Loads {
			after += l.After
		}
		if after != 28 || len(o.Unassigned) > 0 {
			t.Errorf("%d, want 20 and 8 more: %+v", after, o.Loads)
		}
		if _, err := f.group.Plan(t.Context(), admin.WhatIf{Add: []plan.Worker{{ID: "x", Share: -1}}}); !errors.As(err, new(*admin.RefusedError)) {
			t.Errorf("%v", err)
		}
	})
}

// unanswered is a store whose writes get no answer, and are not made.
type unanswered struct{ *memkv.Client }

func (unanswered) Write(context.Context, kv.Write) (kv.Rev, error) { return 0, kv.ErrUnknown }

// That nothing is known of an order is said, and nobody is blamed for it.
func TestUnknownOutcome(t *testing.T) {
	inBubble(t, 1, 2, func(t *testing.T, f *fleet) {
		g := admin.Open(unanswered{f.client})
		if _, err := g.Pause(t.Context(), admin.Order{}); !errors.Is(err, kv.ErrUnknown) || errors.As(err, new(*admin.ConflictError)) {
			t.Errorf("%v", err)
		}
	})
}

// A group with somebody who does not answer is not at rest.
func TestSilent(t *testing.T) {
	inBubble(t, 3, 6, func(t *testing.T, f *fleet) {
		s := f.snapshot()
		silent := f.all[0]
		if silent.WorkerID() == s.Leader.Worker {
			silent = f.all[1]
		}
		f.clients[silent].BlackHole()
		defer f.clients[silent].Mend()
		if s = f.snapshot(); s.Settled || !strings.Contains(s.Sentence, "is silent: it does not answer.") {
			t.Errorf("%v %s", s.Settled, s.Sentence)
		}
		began := time.Now()
		n := 0
		if err := f.group.Watch(t.Context(), func(admin.Snapshot, error) bool { n++; return n < 5 }); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("5 snapshots took %v", took)
		}
	})
}

// A drain is over as soon as the last handler has returned, however long that takes.
func TestAwaitDrained(t *testing.T) {
	inBubble(t, 3, 9, func(t *testing.T, f *fleet) {
		ctx := t.Context()
		if err := f.group.AwaitDrained(ctx, "w9-0", nil); !errors.As(err, new(*admin.NotFoundError)) {
			t.Errorf("%v", err)
		}
		mine := ""
		for _, p := range f.snapshot().Partitions {
			if p.Owner == "w1-0" {
				mine = p.ID
			}
		}
		free := f.stick(mine)
		if _, err := f.group.Drain(ctx, "w1-0", admin.Order{}); err != nil {
			t.Fatal(err)
		}
		early, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := f.group.AwaitDrained(early, "w1-0", nil); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "w1-0 still has 1 partition: ") {
			t.Errorf("%v", err)
		}
		var freed time.Time
		time.AfterFunc(7300*time.Millisecond, func() { freed = time.Now(); free() })
		var left []int
		if err := f.group.AwaitDrained(ctx, "w1-0", func(n int) { left = append(left, n) }); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(freed); freed.IsZero() || took > 100*time.Millisecond || !slices.Equal(left, []int{1, 0}) {
			t.Errorf("told %v after the last handler had returned; left %v", took, left)
		}
		if err := f.group.AwaitDrained(ctx, "w1-0", nil); err != nil {
			t.Errorf("it has nothing: %v", err)
		}
	})
}

// What has no owner is in no record: the leader names it, and says why.
func TestUnassigned(t *testing.T) {
	inBubble(t, 0, 9, func(t *testing.T, f *fleet) {
		f.join("w0", parti.Config{Capacity: 3})
		f.join("w1", parti.Config{Capacity: 3})
		time.Sleep(time.Minute)
		s := f.snapshot()
		var without []string
		for _, p := range s.Partitions {
			if p.State == admin.Unassigned {
				without = append(without, p.ID)
			}
		}
		if len(s.Partitions) != 9 || len(without) != 3 || s.Counts.Unassigned != 3 {
			t.Errorf("%q of %d, %d counted", without, len(s.Partitions), s.Counts.Unassigned)
		}
		e, err := f.group.Explain(t.Context(), without[0])
		if err != nil || !strings.HasPrefix(e.Sentence, without[0]+" has no owner. Of all that have none the leader says: 3 partitions are unassigned: no worker has room for them") || len(e.Next) != 1 {
			t.Errorf("%q, %v", e.Sentence, err)
		}
		t.Log(e.Sentence)
		f.join("w2", parti.Config{})
		if s = f.settled(); slices.ContainsFunc(s.Partitions, func(p admin.Partition) bool { return p.State != admin.Owned }) {
			t.Errorf("%+v", s.Partitions)
		}
	})
}

// A group whose first plan waits, since nobody who is there may be given anything, is not well.
func TestCordonedFromTheStart(t *testing.T) {
	inBubble(t, 0, 4, func(t *testing.T, f *fleet) {
		f.join("w0", parti.Config{})
		if _, err := f.group.Cordon(t.Context(), "w0-0", admin.Order{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		s := f.snapshot()
		if h := s.Health(admin.DefaultLimits()); h.Level != admin.Critical || s.Counts.Unassigned != 4 ||
			!slices.ContainsFunc(h.Problems, func(p string) bool { return strings.Contains(p, "every worker is cordoned") }) {
			t.Errorf("%d unassigned, %+v", s.Counts.Unassigned, h)
		}
		if _, err := f.group.Uncordon(t.Context(), "w0-0"); err != nil {
			t.Fatal(err)
		}
		if s = f.settled(); s.Counts.Unassigned != 0 || s.Health(admin.DefaultLimits()).Level != admin.OK {
			t.Errorf("%+v, %+v", s.Counts, s.Alerts)
		}
	})
}
