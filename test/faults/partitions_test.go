package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/partitest"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/test/fleettest"
)

// idle is a handler that does nothing, for tests of many.
func idle(*partitest.Worker) parti.Handler {
	return parti.HandlerFunc(func(ctx context.Context, _ parti.Lease) error {
		<-ctx.Done()
		return nil
	})
}

// lines writes a file of partitions in one step.
func lines(t *testing.T, path string, all []parti.Partition) {
	t.Helper()
	var b strings.Builder
	for _, p := range all {
		b.WriteString(p.ID + "\n")
	}
	if err := os.WriteFile(path+".new", []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// spread waits until so many partitions run, as many on each worker as on any other, or
// one more.
func spread(t *testing.T, f *partitest.Fleet, workers []*partitest.Worker, partitions int) {
	t.Helper()
	fleettest.Look(t, "the partitions run evenly", time.Second/4, func() bool {
		shares, sum := f.Shares(), 0
		for _, w := range workers {
			n := shares[w.Name]
			if n < partitions/len(workers) || n > (partitions+len(workers)-1)/len(workers) {
				return false
			}
			sum += n
		}
		return sum == partitions
	})
}

// A hundred partitions become ten thousand, and a hundred again. The first hundred never
// notice. Under the race detector a tenth of that is as much work.
func TestPartitions_TenThousandAtOnce(t *testing.T) {
	t.Parallel()
	few, many := partitest.Numbered(100), partitest.Numbered(10_000)
	if raced {
		many = many[:1000]
	}
	file := filepath.Join(t.TempDir(), "partitions")
	lines(t, file, few)
	listed, err := source.File(file, source.Lines())
	if err != nil {
		t.Fatal(err)
	}
	f := partitest.NewFleet(t, partitest.StartNATS(t), few, idle)
	f.Config, f.Source = fleettest.Hurry(parti.Freeze), listed
	fleettest.Calm(f)
	f.Config.SessionTTL = 30 * time.Second // nobody is lost here, only busy
	all := fleettest.Crew(t, f, 4)
	before := f.Report()
	f.Mark("ten thousand")
	lines(t, file, many)
	spread(t, f, all, len(many))
	if r := f.Report(); r.Starts != before.Starts+len(many)-len(few) || r.Moves != before.Moves {
		t.Errorf("%v", r)
	}
	f.Mark("a hundred")
	lines(t, file, few)
	fleettest.Look(t, "only a hundred run", time.Second/4, func() bool {
		shares, n := f.Shares(), 0
		for _, w := range all {
			n += shares[w.Name]
		}
		return n == len(few)
	})
	f.Covered(fleettest.Patience, few...)
	for _, p := range few {
		if _, token, ok := f.Owner(p.ID); !ok || token == 0 {
			t.Fatalf("%s does not run", p.ID)
		}
	}
	if r := f.Report(); r.Starts != before.Starts+len(many)-len(few) {
		t.Errorf("%v", r)
	}
}

// What lists the partitions is deleted under a fleet: the work goes on, with an alert.
// When it is back, so is the fleet, with what is new.
func TestPartitions_SourceDeleted(t *testing.T) {
	t.Parallel()
	parts := partitest.Numbered(12)
	more := append(partitest.Numbered(12), parti.Partition{ID: "q-0000"})
	for name, made := range map[string]func(t *testing.T, on *partitest.NATS) (s parti.PartitionSource, list func([]parti.Partition), remove func()){
		"file": func(t *testing.T, _ *partitest.NATS) (parti.PartitionSource, func([]parti.Partition), func()) {
			t.Helper()
			file := filepath.Join(t.TempDir(), "partitions")
			lines(t, file, parts)
			s, err := source.File(file, source.Lines())
			if err != nil {
				t.Fatal(err)
			}
			return s, func(ps []parti.Partition) { lines(t, file, ps) }, func() {
				if err := os.Remove(file); err != nil {
					t.Error(err)
				}
			}
		},
		"bucket": func(t *testing.T, on *partitest.NATS) (parti.PartitionSource, func([]parti.Partition), func()) {
			t.Helper()
			js := jetStream(t, on)
			list := func(ps []parti.Partition) {
				kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "partitions"})
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range ps {
					if _, err := kv.Create(t.Context(), p.ID, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			list(parts)
			s, err := source.KV(js, "partitions")
			if err != nil {
				t.Fatal(err)
			}
			return s, list, func() {
				if err := js.DeleteKeyValue(t.Context(), "partitions"); err != nil {
					t.Error(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := partitest.StartNATS(t)
			s, list, remove := made(t, on)
			f := partitest.NewFleet(t, on, parts, fleettest.Acting)
			door := &behindDoor{PartitionSource: s, Watcher: s.(parti.Watcher)}
			f.Config, f.Source = fleettest.Hurry(parti.Freeze), door
			fleettest.Calm(f)
			all := fleettest.Crew(t, f, 3)
			before := f.Report()
			f.Mark("it is deleted")
			remove()
			fleettest.Eventually(t, "the leader says so", func() bool {
				leader := f.Leader()
				if leader == nil {
					return false
				}
				if err := leader.RefreshPartitions(t.Context()); err != nil {
					t.Log(err) // it may lead no more
					return false
				}
				for _, a := range leader.Status().Alerts {
					if a.About == "source" {
						t.Log(a.Text)
						return true
					}
				}
				return false
			})
			f.Mark("it is back")
			door.closed(func() { list(more) }) // a bucket is filled key by key, and what lacks a few is believed
			spread(t, f, all, len(more))
			if r := f.Report(); r.Starts != before.Starts+1 || r.Moves != before.Moves {
				t.Errorf("%v", r)
			}
			f.Check(parti.Fence)
		})
	}
}

// behindDoor is a source that nobody can list while the door is shut.
type behindDoor struct {
	parti.PartitionSource
	parti.Watcher

	shut sync.Mutex
}

func (s *behindDoor) closed(do func()) {
	s.shut.Lock()
	defer s.shut.Unlock()
	do()
}

func (s *behindDoor) ListPartitions(ctx context.Context) ([]parti.Partition, error) {
	s.shut.Lock()
	defer s.shut.Unlock()
	return s.PartitionSource.ListPartitions(ctx)
}

// Somebody moves a partition ten times a second for a while: a flood of plans. No partition
// has two owners meanwhile, and afterwards the group is at rest.
func TestPartitions_FloodOfMoves(t *testing.T) {
	t.Parallel()
	f := fleettest.New(t, partitest.StartNATS(t), 40, parti.Fence)
	all := fleettest.Crew(t, f, 4)
	store, err := natskv.Open(t.Context(), jetStream(t, f.NATS), f.Group, natskv.WithoutCreate())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	group := admin.Open(store, admin.WithWho("flood"))
	// rest is the version of the plan once the group is at rest.
	rest := func() (v plan.Version) {
		fleettest.Look(t, "the group is at rest", time.Second/4, func() bool {
			now, err := group.Snapshot(t.Context())
			v = now.Version
			return err == nil && now.Settled
		})
		return v
	}
	first := rest()
	f.Mark("the flood begins")
	moved := 0
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	// Where the group has no leader for a while, one plan does what many have asked for: then
	// it goes on until it was a flood.
	for i := 0; i < 60 || i < 1000 && (moved < 20 || all[0].Status().Version < first+20); i++ {
		<-every.C
		id, to := fmt.Sprintf("p-%04d", i*7%40), all[i%4]
		if by, _, _ := f.Owner(id); by == to.Name {
			to = all[(i+1)%4]
		}
		// Some are refused: the worker is not there for a moment.
		if _, err := group.Move(t.Context(), id, to.WorkerID(), admin.Order{}); err == nil {
			moved++
		}
	}
	f.Mark("it is over")
	n := rest() - first
	f.Covered(fleettest.Patience, partitest.Numbered(40)...) // not evenly: they are where they were told to be
	f.Check(parti.Fence)
	if moved < 20 || n < 20 {
		t.Errorf("%d moves and %d plans are no flood", moved, n)
	}
	fleettest.OneSequence(t, all)
}
