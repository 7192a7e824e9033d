package parti

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parti-go/parti/event"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

// even makes a fleet of three that has settled, and returns its leader apart.
func (f *fleet) even(cfg Config, n int) (leader *mate, others []*mate) {
	f.t.Helper()
	cfg.ExpectedWorkers = 3
	all := []*mate{f.join("a", cfg), f.join("b", cfg), f.join("c", cfg)}
	f.settled(40*time.Second, n, all...)
	for _, m := range all {
		if m.IsLeader() {
			leader = m
		} else {
			others = append(others, m)
		}
	}
	if leader == nil {
		f.t.Fatal("nobody leads")
	}
	return leader, others
}

// unmoved says what has moved, or was started again, since then.
func (f *fleet) unmoved(owners map[string]string, runs map[string]int) (wrong []string) {
	now := f.ledger.owners()
	for id, was := range owners {
		if now[id] != was || f.ledger.started(id) != runs[id] {
			wrong = append(wrong, fmt.Sprintf("%s was on %s and is on %s, started %d times", id, was, now[id], f.ledger.started(id)-runs[id]))
		}
	}
	return wrong
}

func (f *fleet) marks() (owners map[string]string, runs map[string]int) {
	owners, runs = f.ledger.owners(), map[string]int{}
	for id := range owners {
		runs[id] = f.ledger.started(id)
	}
	return owners, runs
}

// Some operations get no answer while others do: what runs goes on, nobody leaves and comes
// back, and the group is as able as before once it is over. Each is held for longer than a
// session lasts.
func TestSomeOperationsHang(t *testing.T) {
	for name, hangs := range map[string]func(memkv.Op) bool{
		"lists":        func(op memkv.Op) bool { return op.Kind == memkv.OpList },
		"single reads": func(op memkv.Op) bool { return op.Kind == memkv.OpGet },
		"creates":      func(op memkv.Op) bool { return op.Creates },
		"commits":      func(op memkv.Op) bool { return op.Kind == memkv.OpCommit },
	} {
		for _, isolation := range []Isolation{Freeze, Fence} {
			t.Run(fmt.Sprint(name, " ", isolation), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFleet(t, parts(12)...)
					leader, others := f.even(Config{Isolation: isolation}, 12)
					all := append([]*mate{leader}, others...)
					owners, runs := f.marks()
					for _, m := range all {
						m.store.Hang(hangs)
					}
					late := f.make("d", Config{Isolation: isolation}, nil)
					late.store.Hang(hangs)
					if err := late.begin(t.Context()); err != nil { // it wants its part
						t.Fatal(err)
					}
					time.Sleep(2 * time.Minute)
					struck := late.store.Struck(memkv.Hung)
					for _, m := range all {
						struck += m.store.Struck(memkv.Hung)
					}
					if struck == 0 {
						t.Error("nothing hung: the proof is hollow")
					}
					if late.State() == StateStable && f.ledger.counts()["d"] == 0 {
						t.Error("the fourth says that it is well, and has nothing")
					}
					if f.ledger.counts()["d"] == 0 {
						for _, wrong := range f.unmoved(owners, runs) {
							t.Error(wrong)
						}
					}
					all = append(all, late)
					for _, m := range all {
						m.store.Mend()
					}
					f.settled(time.Minute, 12, all...)
					for _, m := range all {
						if n := len(happened[event.StateChanged](m)); n > 12 {
							t.Errorf("%s changed its state %d times: %+v", m.name, n, happened[event.StateChanged](m))
						}
					}
					stopAll(all...)
				})
			})
		}
	}
}

// A listing that lacks keys, without an error: what is not listed is not proven gone. The
// worker of which another leader does not hear is cordoned, so that no plan needs its slice:
// no commit is refused because of it.
func TestListingsThatLackKeys(t *testing.T) {
	for _, kinds := range [][]wire.Kind{{wire.Session}, {wire.Slice}, {wire.Control}, {wire.Session, wire.Slice}} {
		for _, isolation := range []Isolation{Freeze, Fence} {
			t.Run(fmt.Sprint(kinds, " ", isolation), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := newFleet(t, parts(12)...)
					leader, others := f.even(Config{Isolation: isolation}, 12)
					heir, hidden := others[0], others[1]
					f.cordon(hidden)
					time.Sleep(time.Minute)
					owners, runs := f.marks()
					unseen := func(key string) bool {
						return strings.HasSuffix(key, hidden.WorkerID()) &&
							slices.ContainsFunc(kinds, func(k wire.Kind) bool { return strings.HasPrefix(key, k.Prefix()) })
					}
					for _, m := range []*mate{leader, heir} {
						m.store.Omit(unseen)
						m.store.Tamper(func(e kv.Entry) memkv.Fate { return memkv.Fate{Drop: unseen(e.Key)} })
					}
					hidden.store.Refuse(func(op memkv.Op) error { // it does not lead
						if op.Kind == memkv.OpWrite && op.Keys[0] == wire.Leader.Prefix() {
							return kv.ErrUnavailable
						}
						return nil
					})
					time.Sleep(time.Minute)
					for _, wrong := range f.unmoved(owners, runs) {
						t.Error(wrong)
					}
					// Another leads, who knows only what it lists.
					leader.leave()
					time.Sleep(50 * time.Second) // for a minute nothing that is not listed is believed to be gone
					for id, was := range owners {
						if was == hidden.name && f.ledger.started(id) != runs[id] {
							t.Errorf("%s, which %s runs, was started again", id, was)
						}
					}
					if heir.store.Struck(memkv.Omitted) == 0 {
						t.Error("nothing was left out: the proof is hollow")
					}
					heir.store.Mend()
					hidden.store.Mend()
					f.eventually(2*time.Minute, "all of it runs", func() bool { return len(f.ledger.owners()) == 12 })
					stopAll(others...)
				})
			})
		}
	}
}

// cordon has an operator want that a worker gets nothing new.
func (f *fleet) cordon(m *mate) {
	f.t.Helper()
	c := plan.Control{Kind: plan.Cordon, Worker: m.WorkerID(), Who: "ann", When: time.Now()}
	value, err := wire.Encode(c)
	if err != nil {
		f.t.Fatal(err)
	}
	key := wire.Key{Kind: wire.Control, Name: "cordon." + m.WorkerID()}
	if _, err := m.store.Write(f.t.Context(), kv.Write{Key: key.String(), Value: value}); err != nil {
		f.t.Fatal(err)
	}
}

// Every write of a worker arrives twice, the second time after others have written, and
// after its key may be gone: it is refused, or harmless.
func TestWritesThatArriveTwice(t *testing.T) {
	for _, again := range []time.Duration{50 * time.Millisecond, 3 * time.Second, 20 * time.Second} {
		t.Run(again.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, parts(12)...)
				leader, others := f.even(Config{}, 12)
				all := append([]*mate{leader}, others...)
				for _, m := range all {
					m.store.RepeatWrites(again)
				}
				others[0].leave()
				f.settled(time.Minute, 12, leader, others[1])
				leader.crash()
				f.settled(time.Minute, 12, others[1])
				d := f.make("d", Config{}, nil)
				d.store.RepeatWrites(again)
				if err := d.begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.settled(time.Minute, 12, others[1], d)
				time.Sleep(time.Minute)
				f.settled(0, 12, others[1], d)
				if d.store.Struck(memkv.RepeatedWrite) == 0 {
					t.Error("nothing arrived twice: the proof is hollow")
				}
				for _, m := range []*mate{others[1], d} {
					m.store.Mend()
				}
				stopAll(others[1], d)
			})
		})
	}
}

// Of two that could lead, one gets no answer to any listing, and is the first to stand. It
// gives way, and says why: the work of the leader that has left does not wait for ever.
func TestLeaderWhoseListsHang(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, parts(12)...)
		leader, others := f.even(Config{}, 12)
		broken, well := others[0], others[1]
		broken.store.Hang(func(op memkv.Op) bool { return op.Kind == memkv.OpList })
		well.store.Refuse(func(op memkv.Op) error {
			if op.Kind == memkv.OpWrite && op.Keys[0] == wire.Leader.Prefix() {
				return kv.ErrUnavailable
			}
			return nil
		})
		leader.leave()
		time.Sleep(15 * time.Second)
		if broken.store.Struck(memkv.Hung) == 0 || well.IsLeader() || broken.IsLeader() {
			t.Fatal("it was not the first to stand: the proof is hollow")
		}
		well.store.Mend()
		f.settled(2*time.Minute, 12, broken, well)
		if !well.IsLeader() {
			t.Error("the one that is well does not lead")
		}
		if !slices.ContainsFunc(happened[event.Failed](broken), func(e event.Failed) bool { return e.Doing == "taking over the leadership" }) {
			t.Errorf("nobody is told: %+v", happened[event.Failed](broken))
		}
		broken.store.Mend()
		stopAll(broken, well)
	})
}

// Every write is stored, and its answer comes too late, before or after it is read: nobody
// leads, no trust is extended, and all reads are well. The operator is told what it is.
func TestWritesAreAnsweredTooLate(t *testing.T) {
	for _, late := range []time.Duration{time.Second, 2500 * time.Millisecond} {
		t.Run(late.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, parts(2)...)
				m := f.join("a", Config{ExpectedWorkers: 1})
				f.settled(10*time.Second, 2, m)
				m.store.LateWrites(late)
				told := func() bool {
					return slices.ContainsFunc(m.Status().Alerts, func(a Alert) bool {
						return a.About == "slow store" && strings.Contains(a.Text, "longer than 2s to answer writes")
					})
				}
				f.eventually(20*time.Second, "an alert says what it is", told)
				m.store.Mend()
				f.eventually(10*time.Second, "it is over", func() bool { return !told() })
				stopAll(m)
			})
		})
	}
}

// A worker that may not write its session any more, and is connected all the same, finds out
// that the group has gone on without it: nothing of it runs beside its new owners for long.
// Once it may write again, it is as before.
func TestMayNotRenew(t *testing.T) {
	for _, isolation := range []Isolation{Freeze, Fence} {
		t.Run(isolation.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, parts(12)...)
				leader, others := f.even(Config{Isolation: isolation}, 12)
				out, stays := others[0], others[1]
				f.ledger.twoAllowed(isolation == Freeze)
				out.store.Refuse(func(op memkv.Op) error {
					if op.Kind == memkv.OpWrite && strings.HasPrefix(op.Keys[0], wire.Session.Prefix()) {
						return &kv.DeniedError{Op: "publish", Subject: op.Keys[0]}
					}
					return nil
				})
				f.eventually(25*time.Second, "it knows that it is lost, and nothing of it runs", func() bool {
					return len(happened[event.SessionLost](out)) == 1 && out.Status().Running == 0
				})
				f.ledger.twoAllowed(false)
				f.settled(10*time.Second, 12, leader, stays)
				time.Sleep(time.Minute)
				f.settled(0, 12, leader, stays)
				out.store.Mend()
				f.settled(time.Minute, 12, leader, stays, out)
				stopAll(leader, stays, out)
			})
		})
	}
}
