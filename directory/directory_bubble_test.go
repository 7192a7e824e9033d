package directory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/internal/roster"
	"github.com/parti-go/parti/internal/wire"
	"github.com/parti-go/parti/plan"
)

type says = map[string]string

func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.session(roster.Session{Worker: "w1", Nonce: "n-w1", Identity: "one", Host: "h1", Zone: "z1", Software: "v1", Labels: map[string]string{"addr": "h1:80"}})
		g.session(roster.Session{Worker: "w2", Nonce: "n-another"})
		g.commit(map[string]share{"w1": {"b:1", "a:1"}, "w2": {"c:1>w1", "d:1>"}})
		d := g.open(t)
		d.says(says{"a": "w1:1", "b": "w1:1", "c": "w2:1>w1", "d": "w2:1>"})
		d.fresh(0)
		if v := d.Version(); v != plan.MakeVersion(1, 1) {
			t.Errorf("version %v", v)
		}
		a, ok := d.Owner("a")
		want := Owner{Worker: "w1", Session: "n-w1", Token: 1<<32 + 1, Version: 1<<32 + 1, Process: a.Process}
		if !ok || a != want {
			t.Errorf("a is of %+v", a)
		}
		if p := a.Process; p == nil || p.Identity != "one" || p.Host != "h1" || p.Zone != "z1" || p.Software != "v1" || p.Label("addr") != "h1:80" || p.Label("other") != "" {
			t.Errorf("its process is %+v", a.Process)
		}
		// The session that w2 has now is not that of its slice.
		if c, _ := d.Owner("c"); c.Process != nil || c.Process.Label("addr") != "" {
			t.Errorf("c is of %+v", c.Process)
		}
		for _, id := range []string{"", "e", "a.b"} {
			if o, ok := d.Owner(id); ok || o != (Owner{}) {
				t.Errorf("%q is of %+v", id, o)
			}
		}
		var order []string
		for id := range d.All() {
			order = append(order, id)
		}
		if !slices.Equal(order, []string{"a", "b", "c", "d"}) {
			t.Errorf("All: %v", order)
		}
		for range d.All() {
			break // and it may end early
		}
	})
}

func TestGroupWithoutAPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		d := g.open(t)
		d.says(says{})
		time.Sleep(time.Minute)
		synctest.Wait()
		d.fresh(5 * time.Second)
		g.commit(map[string]share{"w1": {"a:1"}})
		synctest.Wait()
		d.says(says{"a": "w1:1"})
	})
}

// Every commit is known as soon as it is told, in no time at all.
func TestCommitsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1", "b:1"}})
		d := g.open(t)
		for _, step := range []struct {
			shares map[string]share
			want   says
		}{
			{map[string]share{"w1": {"a:1", "b:1>w2"}}, says{"a": "w1:1", "b": "w1:1>w2"}},
			{map[string]share{"w1": {"a:1", "b:1>w3"}}, says{"a": "w1:1", "b": "w1:1>w3"}},
			{map[string]share{"w1": {"a:1"}, "w3": {"b:4"}}, says{"a": "w1:1", "b": "w3:4"}},
			{map[string]share{"w1": nil, "w3": {"a:5", "b:4"}}, says{"a": "w3:5", "b": "w3:4"}},
			{map[string]share{"w3": {"a:5"}}, says{"a": "w3:5"}},
			{map[string]share{"w3": {"a:5", "b:7"}}, says{"a": "w3:5", "b": "w3:7"}},
			{map[string]share{"w3": nil}, says{}},
			{map[string]share{"w1": {"b:9"}}, says{"b": "w1:9"}},
		} {
			g.commit(step.shares)
			synctest.Wait()
			d.says(step.want)
			if d.Version() != g.head.Version {
				t.Errorf("version %v, want %v", d.Version(), g.head.Version)
			}
		}
	})
}

// A grant counts from when it is told, also when the slice that the partition comes from
// is told later; and of a slice that is told later an older state never shows.
func TestSlicesComeInAnyOrder(t *testing.T) {
	for _, late := range []string{"w1", "w2", "plan"} {
		t.Run(late, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t)
				g.commit(map[string]share{"w1": {"a:1>w2", "b:1"}, "w2": {"c:1"}})
				d := g.open(t, WithReconcileInterval(time.Hour))
				d.link.Tamper(func(e kv.Entry) memkv.Fate {
					if strings.HasSuffix(e.Key, late) {
						return memkv.Fate{Delay: time.Second}
					}
					return memkv.Fate{}
				})
				g.commit(map[string]share{"w1": {"b:1"}, "w2": {"a:2", "c:1"}})
				synctest.Wait()
				before := says{"a": "w2:2", "b": "w1:1", "c": "w2:1"}
				if late == "w2" {
					before = says{"b": "w1:1", "c": "w2:1"}
				}
				d.says(before)
				time.Sleep(time.Second)
				synctest.Wait()
				d.says(says{"a": "w2:2", "b": "w1:1", "c": "w2:1"})
				if n := d.link.Struck(memkv.DelayedChange); n != 1 {
					t.Errorf("%d changes were late", n)
				}
			})
		})
	}
}

// A partition is granted and taken away while the slice that had it before is late: that
// one does not get it back.
func TestLateSliceDoesNotGetItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1>w2"}, "w2": {}})
		d := g.open(t)
		d.link.Tamper(func(e kv.Entry) memkv.Fate { return memkv.Fate{Drop: strings.HasSuffix(e.Key, "w1")} })
		g.commit(map[string]share{"w1": {}, "w2": {"a:2"}})
		g.commit(map[string]share{"w2": {}})
		synctest.Wait()
		d.says(says{})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		d.says(says{})
		d.fresh(0)
	})
}

// What is lost on its way is noticed within ReconcileInterval, whatever it was.
func TestMissedChanges(t *testing.T) {
	for _, lost := range [][]string{{"w1"}, {"w2"}, {"w3"}, {"plan"}, {"w1", "w2", "w3"}, {"plan", "w1"}, {"plan", "w1", "w2", "w3"}} {
		for _, commits := range []int{1, 2} {
			t.Run(fmt.Sprint(lost, " of ", commits), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGroup(t)
					g.commit(map[string]share{"w1": {"a:1", "b:1"}, "w2": {"c:1"}, "w3": {"d:1"}})
					d := g.open(t, WithReconcileInterval(3*time.Second))
					d.link.Tamper(func(e kv.Entry) memkv.Fate {
						return memkv.Fate{Drop: slices.ContainsFunc(lost, func(s string) bool { return strings.HasSuffix(e.Key, s) })}
					})
					g.commit(map[string]share{"w1": {"a:1"}, "w2": {"b:2", "c:1"}, "w3": nil})
					if commits == 2 {
						g.commit(map[string]share{"w1": {"a:1", "d:3"}})
					}
					synctest.Wait()
					time.Sleep(3 * time.Second)
					synctest.Wait()
					want := says{"a": "w1:1", "b": "w2:2", "c": "w2:1"}
					if commits == 2 {
						want["d"] = "w1:3"
					}
					d.says(want)
					d.fresh(0)
					if d.Version() != g.head.Version || d.link.Struck(memkv.LostChange) == 0 {
						t.Errorf("version %v; %d lost", d.Version(), d.link.Struck(memkv.LostChange))
					}
				})
			})
		}
	}
}

// An idle directory of a large group asks for one key every ReconcileInterval, and the
// heartbeats of the workers are nothing to it.
func TestIdleIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		shares := map[string]share{}
		for i := range 100 {
			w := fmt.Sprint("w", i)
			shares[w] = share{fmt.Sprintf("p%d:1", i)}
			g.session(roster.Session{Worker: w, Nonce: "n-" + w})
		}
		g.commit(shares)
		d := g.open(t)
		if asked := d.asked(); !slices.Equal(asked, []string{"follow plan slice.", "get plan", "list slice.", "list session."}) {
			t.Errorf("at first it asks %v", asked)
		}
		for range 60 {
			time.Sleep(time.Second)
			for w := range shares {
				g.session(roster.Session{Worker: w, Nonce: "n-" + w})
			}
		}
		synctest.Wait()
		asked := d.asked()
		if len(asked) != 12 || slices.ContainsFunc(asked, func(s string) bool { return s != "get plan" }) {
			t.Errorf("in a minute it asks %v", asked)
		}
		// Neither does a commit that is told of cost a request, but for a new session.
		g.commit(map[string]share{"w1": {}, "w2": {"p1:2", "p2:1"}})
		synctest.Wait()
		if asked := d.asked(); len(asked) != 0 {
			t.Errorf("for a commit it asks %v", asked)
		}
		d.fresh(5 * time.Second)
	})
}

// While the store is away everything is answered as before, and it is said how stale that
// is; when it is back, what has changed is known at once.
func TestStoreAway(t *testing.T) {
	for _, fault := range []struct {
		name      string
		strike    func(*memkv.Client)
		within    time.Duration
		stillTold bool
	}{
		{"cut", (*memkv.Client).Cut, 0, false},
		{"black hole", (*memkv.Client).BlackHole, 0, false},
		{"no answers", func(c *memkv.Client) { c.Lose(memkv.Answers) }, 2 * time.Second, true},
	} {
		t.Run(fault.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t)
				g.sessions("w1", "w2")
				g.commit(map[string]share{"w1": {"a:1", "b:1"}, "w2": {}})
				d := g.open(t)
				fault.strike(d.link)
				time.Sleep(time.Minute)
				g.commit(map[string]share{"w1": {"a:1"}, "w2": {"b:2"}})
				time.Sleep(time.Minute)
				synctest.Wait()
				if fault.stillTold {
					d.says(says{"a": "w1:1", "b": "w2:2"})
				} else {
					d.says(says{"a": "w1:1", "b": "w1:1"})
				}
				if s, err := d.Staleness(), d.Err(); s < 115*time.Second || s > 120*time.Second || !errors.Is(err, kv.ErrUnavailable) {
					t.Errorf("stale for %v; %v", s, err)
				}
				d.link.Mend()
				time.Sleep(fault.within + 5*time.Second)
				synctest.Wait()
				d.says(says{"a": "w1:1", "b": "w2:2"})
				d.fresh(5 * time.Second)
				d.asked()
				time.Sleep(time.Minute)
				synctest.Wait()
				if asked := d.asked(); len(asked) != 12 {
					t.Errorf("after it was back it asks %v in a minute", asked)
				}
			})
		})
	}
}

// After a reconnect, it takes no list to know that nothing was missed, and no time.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.sessions("w1", "w2")
		g.commit(map[string]share{"w1": {"a:1"}, "w2": {"b:1"}})
		d := g.open(t)
		d.asked()
		d.link.Cut()
		time.Sleep(time.Second)
		g.commit(map[string]share{"w1": {"a:1>w2"}})
		synctest.Wait()
		if !errors.Is(d.Err(), kv.ErrUnavailable) {
			t.Errorf("%v", d.Err())
		}
		d.link.Mend()
		synctest.Wait()
		d.says(says{"a": "w1:1>w2", "b": "w2:1"})
		d.fresh(0)
		if asked := d.asked(); !slices.Contains(asked, "get slice.w1") || slices.Contains(asked, "list slice.") {
			t.Errorf("it asks %v", asked)
		}
	})
}

// A bucket that is lost takes nothing away: the workers go on, and so does the directory,
// until a plan stands that knows better.
func TestStoreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1", "b:1"}, "w2": {"c:1"}, "w3": {"d:1"}})
		d := g.open(t)
		all := says{"a": "w1:1", "b": "w1:1", "c": "w2:1", "d": "w3:1"}
		g.server.Wipe()
		time.Sleep(time.Minute)
		d.says(all)
		if s := d.Staleness(); s < 55*time.Second || !errors.Is(d.Err(), kv.ErrLost) {
			t.Errorf("stale for %v; %v", s, d.Err())
		}
		g.renewed(7)
		time.Sleep(10 * time.Second)
		d.says(all)
		if s := d.Staleness(); s < time.Minute || !errors.Is(d.Err(), errRebuilding) {
			t.Errorf("stale for %v; %v", s, d.Err())
		}
		// The first plans, which adopt what workers hold.
		s := g.slice("w1", nil)
		s.Granted = []plan.Grant{{Partition: plan.Partition{ID: "a"}, Token: plan.MakeVersion(1, 1)}}
		g.head.Version, s.Version = g.head.Version.Next(), g.head.Version.Next()
		g.head.Started = true
		g.write(map[string]*plan.Slice{"w1": &s})
		time.Sleep(10 * time.Second)
		d.says(says{"a": "w1:1", "c": "w2:1", "d": "w3:1"})
		if !errors.Is(d.Err(), errRebuilding) {
			t.Errorf("%v", d.Err())
		}
		g.head.Adopting = false
		g.commit(map[string]share{"w2": {"c:2"}})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		d.says(says{"a": "w1:1", "c": "w2:2"})
		d.fresh(5 * time.Second)
		if c, _ := d.Owner("c"); c.Token != 7<<32+2 {
			t.Errorf("c is under %d", c.Token)
		}
		if g.server.Struck(memkv.Wiped) != 1 {
			t.Error("the fault did not strike")
		}
	})
}

// A store that goes back shows old plans; the directory does not go back with it.
func TestStoreWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1", "b:1"}, "w2": {}})
		earlier := g.server.Snapshot()
		rev, revs, head := g.rev, maps.Clone(g.revs), g.head
		g.commit(map[string]share{"w1": {"a:1>w2", "b:1>"}})
		g.commit(map[string]share{"w1": {}, "w2": {"a:3"}})
		d := g.open(t)
		g.server.Restore(earlier)
		time.Sleep(time.Minute)
		d.says(says{"a": "w2:3"})
		if s := d.Staleness(); s < 55*time.Second || !errors.Is(d.Err(), errWentBack) {
			t.Errorf("stale for %v; %v", s, d.Err())
		}
		// A leader that does not know of it yet commits what has a version that was there.
		g.rev, g.revs, g.head = rev, revs, head
		for range 20 { // so that its revisions are beyond those that were there
			g.sessions("w1")
		}
		g.commit(map[string]share{"w1": {"a:1>w3", "b:1"}})
		time.Sleep(time.Minute)
		d.says(says{"a": "w2:3"})
		g.renewed(2)
		g.head.Adopting, g.head.Started = false, true
		g.commit(map[string]share{"w1": {"a:1"}})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		d.says(says{"a": "w1:1"})
		d.fresh(5 * time.Second)
	})
}

// A server that cannot read says that what it has is not there. Nobody is forgotten, and the
// directory says that it is not certain.
func TestServerThatCannotRead(t *testing.T) {
	for _, counted := range []int{0, 2} { // an older leader does not count slices
		synctest.Test(t, func(t *testing.T) {
			g := newGroup(t)
			g.head.Slices = counted
			g.commit(map[string]share{"w1": {"a:1"}, "w2": {"b:1"}})
			d := g.open(t)
			d.link.Omit(func(key string) bool { return key == "slice.w2" })
			d.link.Refuse(func(op memkv.Op) error {
				if op.Kind == memkv.OpGet && op.Keys[0] == planKey {
					return kv.ErrMissing
				}
				return nil
			})
			time.Sleep(10 * time.Second)
			synctest.Wait()
			d.says(says{"a": "w1:1", "b": "w2:1"})
			if s := d.Staleness(); s < 5*time.Second || !errors.Is(d.Err(), errHidden) {
				t.Errorf("stale for %v; %v", s, d.Err())
			}
			d.link.Mend()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			d.says(says{"a": "w1:1", "b": "w2:1"})
			d.fresh(5 * time.Second)
		})
	}
}

// A list that lacks slices is no first picture, nor any other, unless it lacks them for long:
// then somebody has deleted them by hand.
func TestListThatLacksSlices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.head.Slices = 2
		g.commit(map[string]share{"w1": {"a:1"}, "w2": {"b:1"}})
		link := g.server.Client("caller")
		omit := func() { link.Omit(func(key string) bool { return key == "slice.w2" }) }
		omit()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		if _, err := Open(ctx, link); !errors.Is(err, errHidden) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		link.Mend()
		c := &caller{t: t, link: link}
		var err error
		if c.Directory, err = Open(t.Context(), link); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		both := says{"a": "w1:1", "b": "w2:1"}
		c.says(both)
		for range 2 { // each time a list is needed, since two heads are not told
			omit()
			link.Tamper(func(kv.Entry) memkv.Fate { return memkv.Fate{Drop: true} })
			g.commit(map[string]share{"w1": {"a:1"}})
			g.commit(map[string]share{"w1": {"a:1"}})
			time.Sleep(50 * time.Second)
			synctest.Wait()
			c.says(both)
			if !errors.Is(c.Err(), errHidden) {
				t.Errorf("%v", c.Err())
			}
			link.Mend()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			c.says(both)
			c.fresh(5 * time.Second)
		}
		g.commit(map[string]share{"w1": {"a:1"}})
		if _, err := g.client.Write(t.Context(), kv.Write{Key: "slice.w2", Last: g.revs["w2"], Remove: true}); err != nil {
			t.Fatal(err)
		}
		for _, wait := range []time.Duration{80 * time.Second, 10 * time.Second} { // what was believed is believed again
			link.Tamper(func(kv.Entry) memkv.Fate { return memkv.Fate{Drop: true} })
			g.commit(map[string]share{"w1": {"a:1"}})
			g.commit(map[string]share{"w1": {"a:1"}})
			time.Sleep(wait)
			synctest.Wait()
			c.says(says{"a": "w1:1"})
			c.fresh(5 * time.Second)
		}
	})
}

// The leases that a store which was made anew adopts may be older than what was known.
func TestOlderLeaseIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1"}, "w2": {}})
		g.commit(map[string]share{"w1": {}, "w2": {"a:2"}})
		d := g.open(t)
		g.server.Wipe()
		g.renewed(2)
		g.head.Adopting, g.head.Started = false, true
		g.head.Version = g.head.Version.Next()
		s := g.slice("w1", nil)
		s.Granted = []plan.Grant{{Partition: plan.Partition{ID: "a"}, Token: plan.MakeVersion(1, 1)}}
		g.write(map[string]*plan.Slice{"w1": &s})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		d.says(says{"a": "w1:1"})
	})
}

// A store that keeps coming and going does not make the directory ask without end.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		d := g.open(t)
		d.asked()
		d.link.Cut()
		time.Sleep(time.Millisecond)
		d.link.Mend()
		d.link.Refuse(func(memkv.Op) error { return kv.ErrUnavailable })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(d.asked()); n < 100 || n > 300 {
			t.Errorf("in ten minutes it asks %d times", n)
		}
	})
}

// A slice that this release cannot read leaves what its worker had, and is said.
func TestUnreadableSlice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1"}, "w2": {"b:1"}})
		d := g.open(t)
		newer := []byte(`{"schema":99,"record":{"worker":"w1"}}`)
		g.head.Version = g.head.Version.Next()
		g.head.Changed = []string{"w1", "w2"}
		s := g.slice("w2", share{"b:1", "c:2"})
		rev, err := g.client.Commit(t.Context(), []kv.Write{
			{Key: planKey, Value: g.encode(g.head), Last: g.rev},
			{Key: "slice.w1", Value: newer, Last: g.revs["w1"]},
			{Key: "slice.w2", Value: g.encode(s), Last: g.revs["w2"]},
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		d.says(says{"a": "w1:1", "b": "w2:1", "c": "w2:2"})
		var refused *wire.SchemaError
		if s, err := d.Staleness(), d.Err(); s < 55*time.Second || !errors.As(err, &refused) {
			t.Errorf("stale for %v; %v", s, err)
		}
		g.rev, g.revs["w1"], g.revs["w2"] = rev, rev+1, rev+2
		g.commit(map[string]share{"w1": {}})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		d.says(says{"b": "w2:1", "c": "w2:2"})
		d.fresh(5 * time.Second)
	})
}

func TestOpenFails(t *testing.T) {
	denied := &kv.DeniedError{Op: "subscribe", Subject: "x"}
	for _, tc := range []struct {
		name string
		does func(g *group, link *memkv.Client)
		want error
		took time.Duration
		opts []Option
		says string
	}{
		{"away", func(_ *group, link *memkv.Client) { link.Cut() }, kv.ErrUnavailable, time.Minute, nil, "deadline"},
		{"lost", func(g *group, _ *memkv.Client) { g.server.Wipe() }, kv.ErrLost, time.Minute, nil, "bucket"},
		{"denied", func(_ *group, link *memkv.Client) { link.Refuse(func(memkv.Op) error { return denied }) }, denied, 0, nil, "subscribe"},
		{"denied to read", func(_ *group, link *memkv.Client) {
			link.Refuse(func(op memkv.Op) error {
				if op.Kind == memkv.OpGet {
					return denied
				}
				return nil
			})
		}, denied, 0, nil, "subscribe"},
		{"unreadable", func(g *group, _ *memkv.Client) {
			if _, err := g.client.Write(g.t.Context(), kv.Write{Key: "slice.w9", Value: []byte("?")}); err != nil {
				g.t.Fatal(err)
			}
		}, nil, 0, nil, "slice.w9 is unreadable"},
		{"somebody else's", func(g *group, _ *memkv.Client) {
			if _, err := g.client.Write(g.t.Context(), kv.Write{Key: "slice.w9", Value: g.encode(g.slice("w8", nil))}); err != nil {
				g.t.Fatal(err)
			}
		}, nil, 0, nil, `worker "w8"`},
		{"an option", func(*group, *memkv.Client) {}, nil, 0, []Option{WithReconcileInterval(0)}, "WithReconcileInterval(0s)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t)
				g.commit(map[string]share{"w1": {"a:1"}})
				link := g.server.Client("caller")
				tc.does(g, link)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				begun := time.Now()
				d, err := Open(ctx, link, tc.opts...)
				if d != nil || err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) || !strings.HasPrefix(err.Error(), "directory: ") {
					t.Errorf("%v", err)
				}
				if took := time.Since(begun); took != tc.took {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// Open waits for a store that is not there yet.
func TestOpenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.server.Wipe()
		time.AfterFunc(time.Minute, func() { g.renewed(3) })
		d := g.open(t)
		d.says(says{})
		d.fresh(time.Second)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.commit(map[string]share{"w1": {"a:1"}})
		d := g.open(t)
		d.Close()
		d.Close()
		g.commit(map[string]share{"w1": {"a:1", "b:2"}})
		time.Sleep(time.Minute)
		d.says(says{"a": "w1:1"})
		if s := d.Staleness(); s < time.Minute {
			t.Errorf("stale for %v", s)
		}
		for c := range d.Changes(t.Context()) {
			t.Errorf("a closed directory tells of %+v", c)
		}
	})
}

// The process of a session is read when a slice names the session.
func TestProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		session := func(nonce, addr string) {
			g.session(roster.Session{Worker: "w1", Nonce: nonce, Labels: map[string]string{"addr": addr}})
		}
		addr := func(d *caller) string {
			o, _ := d.Owner("a")
			return o.Process.Label("addr")
		}
		session("n-w1", "h1")
		d := g.open(t)
		g.commit(map[string]share{"w1": {"a:1"}})
		synctest.Wait()
		if got := addr(d); got != "h1" {
			t.Errorf("a is at %q", got)
		}
		first, _ := d.Owner("a")
		g.commit(map[string]share{"w1": {"a:1", "b:2"}})
		synctest.Wait()
		if o, _ := d.Owner("a"); o.Process != first.Process || o.Version == first.Version {
			t.Errorf("%+v after %+v", o, first)
		}
		// A successor under the ID says nothing of the owner's process, until it is the owner.
		session("n-next", "h2")
		g.commit(map[string]share{"w1": {"a:1"}})
		synctest.Wait()
		if got := addr(d); got != "h1" {
			t.Errorf("a is at %q", got)
		}
		next := g.slice("w1", share{"a:4"})
		g.head.Version = g.head.Version.Next()
		next.Version, next.Session = g.head.Version, "n-next"
		g.write(map[string]*plan.Slice{"w1": &next})
		synctest.Wait()
		if got := addr(d); got != "h2" {
			t.Errorf("a is at %q", got)
		}
		// A session that comes later than the slice is read at the next look.
		next.Session = "n-last"
		g.head.Version = g.head.Version.Next()
		next.Version = g.head.Version
		g.write(map[string]*plan.Slice{"w1": &next})
		synctest.Wait()
		if o, ok := d.Owner("a"); !ok || o.Process != nil || o.Session != "n-last" {
			t.Errorf("a is of %+v", o)
		}
		session("n-last", "h3")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := addr(d); got != "h3" {
			t.Errorf("a is at %q", got)
		}
	})
}
