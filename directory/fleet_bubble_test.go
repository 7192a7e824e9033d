package directory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/directory"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/internal/memkv"
	"github.com/parti-go/parti/source"
)

// A fleet is a group of real workers, and an account of who runs what.
type fleet struct {
	t      *testing.T
	server *memkv.Server
	source parti.PartitionSource

	mu     sync.Mutex
	runs   map[string]parti.Lease // by partition
	runner map[string]string      // label of the worker
}

func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{t: t, server: memkv.New(), runs: map[string]parti.Lease{}, runner: map[string]string{}}
	t.Cleanup(f.server.Close)
	hashed, err := source.Hashed(n)
	if err != nil {
		t.Fatal(err)
	}
	f.source = hashed
	return f
}

// join starts a worker that can be reached at addr, and returns how to stop it: at once,
// as when it crashes, or cleanly.
func (f *fleet) join(addr string) (stop func(clean bool)) {
	f.t.Helper()
	link := f.server.Client(addr)
	m, err := parti.NewManager(link, f.source, parti.HandlerFunc(func(ctx context.Context, l parti.Lease) error {
		f.mu.Lock()
		f.runs[l.Partition.ID], f.runner[l.Partition.ID] = l, addr
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.runner[l.Partition.ID] == addr {
			delete(f.runs, l.Partition.ID)
			delete(f.runner, l.Partition.ID)
		}
		return nil
	}), parti.Config{Identity: addr, Labels: map[string]string{"addr": addr}, Zone: "z-" + addr})
	if err != nil {
		f.t.Fatal(err)
	}
	if err := m.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return func(clean bool) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if !clean {
			link.Cut()
			cancel()
		}
		if err := m.Stop(ctx); clean && err != nil {
			f.t.Error(err)
		}
	}
}

// agrees says whether the directory says of every partition who runs it, under which
// token and where.
func (f *fleet) agrees(d *directory.Directory, n int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.runs) != n || d.Len() != n {
		return fmt.Errorf("%d run, %d are known", len(f.runs), d.Len())
	}
	for id, l := range f.runs {
		o, ok := d.Owner(id)
		if !ok || o.Token != l.Token || o.Moving || o.Process.Label("addr") != f.runner[id] || o.Process.Zone != "z-"+f.runner[id] {
			return fmt.Errorf("%s runs at %s under %d, and is known as %+v, %t", id, f.runner[id], l.Token, o, ok)
		}
	}
	return nil
}

// A directory of a fleet in which workers come, go and crash, and of whose changes one in
// five is lost on its way, is right once the fleet has settled.
func TestFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 24
		rnd := rand.New(rand.NewPCG(1, 1))
		f := newFleet(t, partitions)
		stops := []func(bool){f.join("h0"), f.join("h1"), f.join("h2")}
		link := f.server.Client("gateway")
		chance := rand.New(rand.NewPCG(1, 2))
		link.Tamper(func(kv.Entry) memkv.Fate { return memkv.Fate{Drop: chance.IntN(5) == 0} })
		d, err := directory.Open(t.Context(), link, directory.WithReconcileInterval(2*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		known := map[string]string{}
		var mu sync.Mutex
		go func() {
			for c := range d.Changes(t.Context()) {
				mu.Lock()
				if known[c.Partition] != c.Before.Worker {
					t.Errorf("%s was with %q, and now it was with %q", c.Partition, known[c.Partition], c.Before.Worker)
				}
				known[c.Partition] = c.After.Worker
				mu.Unlock()
			}
		}()
		joined := 3
		for range 12 {
			time.Sleep(time.Duration(rnd.IntN(20_000)) * time.Millisecond)
			switch at := rnd.IntN(len(stops)); {
			case len(stops) < 3 || len(stops) < 6 && rnd.IntN(2) == 0:
				stops = append(stops, f.join(fmt.Sprint("h", joined)))
				joined++
			default:
				stops[at](rnd.IntN(2) == 0)
				stops = append(stops[:at], stops[at+1:]...)
			}
			worst := time.Duration(0)
			for range 100 {
				time.Sleep(20 * time.Millisecond)
				worst = max(worst, d.Staleness())
			}
			if worst > 2500*time.Millisecond || d.Err() != nil && !strings.Contains(d.Err().Error(), "missed") {
				t.Errorf("stale for up to %v: %v", worst, d.Err())
			}
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if err := f.agrees(d, partitions); err != nil {
			t.Error(err)
		}
		mu.Lock()
		for id := range partitions {
			if o, _ := d.Owner(fmt.Sprint(id)); known[fmt.Sprint(id)] != o.Worker {
				t.Errorf("%d is with %s, and who listens knows %s", id, o.Worker, known[fmt.Sprint(id)])
			}
		}
		mu.Unlock()
		if link.Struck(memkv.LostChange) == 0 {
			t.Error("nothing was lost")
		}
		for _, stop := range stops {
			stop(true)
		}
	})
}

// A fleet whose bucket is lost goes on, and so does its directory.
func TestFleetLosesItsStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 12
		f := newFleet(t, partitions)
		stops := []func(bool){f.join("h0"), f.join("h1")}
		time.Sleep(time.Minute)
		d, err := directory.Open(t.Context(), f.server.Client("gateway"))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if err := f.agrees(d, partitions); err != nil {
			t.Error(err)
		}
		f.server.Wipe()
		most := time.Duration(0)
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			most = max(most, d.Staleness())
			if d.Len() != partitions {
				t.Fatalf("%d are known", d.Len())
			}
		}
		t.Logf("stale for up to %v", most)
		synctest.Wait()
		if err := f.agrees(d, partitions); err != nil || d.Staleness() > 5*time.Second || d.Err() != nil {
			t.Errorf("%v; stale for %v: %v", err, d.Staleness(), d.Err())
		}
		for _, stop := range stops {
			stop(true)
		}
	})
}
