package partitest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti"
)

// An effort is one effect of a history: it is tried at from, takes place or not, and is
// answered at to, in seconds; 0: never.
type effort struct {
	token    uint64
	from, to int
	answer   error
}

// What a sink may answer to effects that overlap, and what it may not.
func TestLedgerOverlappingEffects(t *testing.T) {
	lost := errors.New("no answer")
	for name, c := range map[string]struct {
		efforts []effort
		want    string // what is found; empty: nothing
	}{
		"a slow answer to the old one": {efforts: []effort{{token: 1, from: 1, to: 4}, {token: 2, from: 2, to: 3}}},
		"a slow answer to the new one": {efforts: []effort{{token: 1, from: 2, to: 3}, {token: 2, from: 1, to: 4}}},
		"three at once":                {efforts: []effort{{token: 1, from: 1, to: 6}, {token: 2, from: 2, to: 5}, {token: 3, from: 3, to: 4}}},
		"one after the other": {
			efforts: []effort{{token: 1, from: 3, to: 4}, {token: 2, from: 1, to: 2}},
			want:    "an effect of token 1 was accepted after one of token 2",
		},
		"the oldest too late for the middle one": {
			efforts: []effort{{token: 1, from: 4, to: 7}, {token: 2, from: 1, to: 3}, {token: 3, from: 2, to: 8}},
			want:    "an effect of token 1 was accepted after one of token 2",
		},
		"refused because of one under way": {efforts: []effort{{token: 1, from: 1, to: 2, answer: ErrRefused}, {token: 2, from: 1, to: 3}}},
		"of one without an answer so far":  {efforts: []effort{{token: 1, from: 2, to: 3, answer: ErrRefused}, {token: 2, from: 1}}},
		"of one that is lost, at last": {
			efforts: []effort{{token: 2, from: 1, to: 2, answer: lost}, {token: 1, from: 3, to: 4}, {token: 1, from: 5, to: 6, answer: ErrRefused}},
		},
		"of the second that is lost": {
			efforts: []effort{{token: 2, from: 1, to: 2, answer: lost}, {token: 2, from: 2, to: 3, answer: lost}, {token: 1, from: 4, to: 5, answer: ErrRefused}},
		},
		"refused for nothing": {
			efforts: []effort{{token: 1, from: 1, to: 2, answer: ErrRefused}, {token: 2, from: 3, to: 4}},
			want:    "no order of its 2 operations makes them those of a sink",
		},
		"lost too late": {
			efforts: []effort{{token: 1, from: 1, to: 2, answer: ErrRefused}, {token: 2, from: 3, to: 4, answer: lost}},
			want:    "no order of its 2 operations makes them those of a sink",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &witness{TB: t}
				l := NewLedger(w)
				l.Enter(Entry{What: Started, Worker: "a", Partition: "p", Token: 1})
				l.Enter(Entry{What: Frozen, Worker: "a"})
				l.Enter(Entry{What: Started, Worker: "b", Partition: "p", Token: 2})
				l.Enter(Entry{What: Frozen, Worker: "b"})
				l.Enter(Entry{What: Started, Worker: "c", Partition: "p", Token: 3})
				began := time.Now()
				ctx, end := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for _, e := range c.efforts {
					all.Go(func() {
						time.Sleep(time.Duration(e.from) * time.Second)
						_ = l.Effect(parti.NewLease(parti.Partition{ID: "p"}, e.token, nil, nil), "x", func() error {
							if e.to == 0 {
								<-ctx.Done()
							}
							time.Sleep(time.Duration(e.to)*time.Second - time.Since(began))
							return e.answer
						})
					})
				}
				time.Sleep(time.Minute)
				l.Check(parti.Fence)
				end()
				all.Wait()
				if found := strings.Join(w.lines, "\n"); (c.want == "") != (found == "") || !strings.Contains(found, c.want) {
					t.Errorf("want %q, found %q", c.want, found)
				}
			})
		})
	}
}

// Where the clock stands still, an effect within another one is one that overlaps it.
func TestLedgerEffectsAtOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &witness{TB: t}
		l := NewLedger(w)
		for token, worker := range []string{1: "a", 2: "b", 3: "c"} {
			if token > 0 {
				l.Enter(Entry{What: Started, Worker: worker, Partition: "p", Token: uint64(token)})
				l.Enter(Entry{What: Frozen, Worker: worker})
			}
		}
		var nest func(token uint64) error
		nest = func(token uint64) error {
			if token > 3 {
				return nil
			}
			return l.Effect(parti.NewLease(parti.Partition{ID: "p"}, token, nil, nil), "x", func() error { return nest(token + 1) })
		}
		if err := nest(1); err != nil {
			t.Error(err)
		}
		l.Over() // nobody runs it
		l.Check(parti.Fence)
		if r := l.Report(); len(w.lines) > 0 || r.Accepted != 3 {
			t.Errorf("%v\n%v", r, w.lines)
		}
	})
}

// The account may be looked at while effects are under way.
func TestLedgerLooksWhileTheyAct(t *testing.T) {
	l := NewLedger(t)
	l.Enter(Entry{What: Started, Worker: "a", Partition: "p", Token: 1})
	lease := parti.NewLease(parti.Partition{ID: "p"}, 1, nil, nil)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 100 {
				if err := l.Act(lease, "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		l.Check(parti.Fence)
	}
	all.Wait()
	if r := l.Report(); r.Accepted != 300 {
		t.Errorf("%v", r)
	}
}
