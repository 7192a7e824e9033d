package faults

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/partitest"
	"github.com/parti-go/parti/test/fleettest"
)

// failDisk lets a node's disk fail: no file of its streams can be written any more, and none
// be opened or made. mend is the new disk, with all that was written until then; the node
// wants to be started anew on it.
func failDisk(t *testing.T, n *partitest.Node) (mend func()) {
	t.Helper()
	dir := n.Server().StoreDir()
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file has no files in it
		t.Fatal(err)
	}
	mend = sync.OnceFunc(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
		if err := os.Rename(away, dir); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(mend)

	// What is open would stay writable: something is put in its place that is not.
	readOnly, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = readOnly.Close() }()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	struck := 0
	for _, e := range fds {
		path, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || !strings.HasPrefix(path, away+"/") {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Dup3(int(readOnly.Fd()), fd, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		struck++
	}
	if struck == 0 {
		t.Errorf("%s has no file open: nothing was struck", n.Name())
	}
	return mend
}

// The disk of the only server fails: no write succeeds, and what was written is said not to
// be there, for longer than a session lasts. Under Freeze nobody's work stops or moves.
func TestStore_DiskFails(t *testing.T) {
	t.Parallel()
	fleettest.Both(t, func(t *testing.T, isolation parti.Isolation) {
		f := fleettest.New(t, partitest.StartNATS(t), 30, isolation)
		fleettest.Calm(f)
		all := fleettest.Crew(t, f, 3)
		before := f.Report()
		node := f.NATS.Node(0)
		f.Mark("the disk fails")
		mend := failDisk(t, node)
		if isolation == parti.Freeze {
			alone(t, all, isolation)
		} else { // its own key cannot be read either, which a server says as if there were none
			allAre(t, all, "nobody owns anything", parti.StateFenced, parti.StateClaimingID)
		}
		pass(f.Config.SessionTTL)
		if n := f.Report().Starts; n != before.Starts {
			t.Errorf("%d handlers were started meanwhile", n-before.Starts)
		}
		f.Mark("it is replaced")
		node.Kill()
		mend()
		node.Start()
		f.Settled(fleettest.Patience)
		allAre(t, all, "everybody is stable", parti.StateStable)
		if isolation == parti.Freeze {
			unmoved(t, f, before, isolation)
		}
		f.Check(isolation) // under Fence they are new sessions, and share anew
		fleettest.OneSequence(t, all)
	})
}

// The disk of one node of three fails, that of the leader of the bucket's stream: the
// others go on, and lose nothing that was acknowledged.
func TestStore_DiskOfOneNodeFails(t *testing.T) {
	t.Parallel()
	fleettest.Both(t, func(t *testing.T, isolation parti.Isolation) {
		f := fleettest.New(t, partitest.StartNATSCluster(t, 3), 30, isolation)
		fleettest.Calm(f)
		all := fleettest.Crew(t, f, 3)
		node := leads(t, f)
		f.Mark("the disk of %s fails, which leads the stream", node.Name())
		mend := failDisk(t, node)
		f.Mark("and %s crashes, so that there is something to write", all[0].Name)
		all[0].Crash()
		f.Settled(fleettest.Patience)
		f.Mark("the disk is replaced")
		node.Kill()
		mend()
		node.Start()
		f.NATS.AwaitWhole()
		f.Settled(fleettest.Patience)
		allAre(t, all[1:], "everybody is stable", parti.StateStable)
		f.Check(isolation)
		fleettest.OneSequence(t, all)
	})
}
