package source_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.yaml.in/yaml/v4"
	_ "modernc.org/sqlite"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/plan"
	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/test/natstest"
)

// A medium is where a source reads, and how to change it.
type medium struct {
	add func(id string)
	// breakIt makes the listing an error that says so, mend takes that back.
	breakIt func()
	why     string
	mend    func()
	// drop removes almost all partitions, and leaves a.
	drop func()
}

// file is a medium that is a file, of which ids are written as format says.
func (m *medium) file(t *testing.T, path, broken, why string, format func(ids []string) string) {
	t.Helper()
	var ids []string
	save := func() {
		t.Helper()
		must(t, os.WriteFile(path, []byte(format(ids)), 0o600))
	}
	m.add = func(id string) {
		ids = append(ids, id)
		save()
	}
	m.breakIt, m.why, m.mend = func() { must(t, os.WriteFile(path, []byte(broken), 0o600)) }, why, save
	m.drop = func() {
		ids = []string{"a"}
		save()
	}
}

func (m *medium) prepare(t *testing.T, kind string, js jetstream.JetStream, dir string, observe source.Option) *source.Watched {
	t.Helper()
	must2 := func(w *source.Watched, err error) *source.Watched {
		t.Helper()
		must(t, err)
		return w
	}
	switch kind {
	case "File":
		path := filepath.Join(dir, "tools")
		m.file(t, path, "a\nb\na\n", `line 3: partition "a" is listed already`, func(ids []string) string { return strings.Join(ids, "\n") + "\n" })
		return must2(source.File(path, observe))
	case "YAML":
		path := filepath.Join(dir, "tools.yaml")
		m.file(t, path, "- a\n---\n- b\n", "line 2: another document begins", func(ids []string) string { return "- id: " + strings.Join(ids, "\n- id: ") + "\n" })
		return must2(source.File(path, source.YAML(yaml.Unmarshal), observe))
	case "KV":
		kv := makeBucket(t, js, jetstream.KeyValueConfig{Bucket: "tools"})
		m.add = func(id string) { put(t, kv, id, "") }
		m.breakIt, m.why, m.mend = func() { put(t, kv, "a", "x") }, `key "a": the weight "x" is not a whole number`, func() { put(t, kv, "a", "") }
		m.drop = func() {
			for _, id := range []string{"b", "c", "d"} {
				must(t, kv.Purge(t.Context(), id))
			}
		}
		return must2(source.KV(js, "tools", observe))
	case "Subjects":
		s := makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
		long := "s." + strings.Repeat("x", 201)
		m.add = func(id string) { publish(t, js, "s."+id) }
		m.breakIt, m.why, m.mend = func() { publish(t, js, long) }, "is 201 bytes long", func() { must(t, s.Purge(t.Context(), jetstream.WithPurgeSubject(long))) }
		m.drop = func() {
			for _, id := range []string{"b", "c", "d"} {
				must(t, s.Purge(t.Context(), jetstream.WithPurgeSubject("s."+id)))
			}
		}
		return must2(source.Subjects(js, "S", "s.{partition}", observe))
	case "SQL":
		db, err := sql.Open("sqlite", filepath.Join(dir, "tools.db"))
		must(t, err)
		t.Cleanup(func() { must(t, db.Close()) })
		do := func(statement string, args ...any) {
			t.Helper()
			_, err := db.ExecContext(t.Context(), statement, args...)
			must(t, err)
		}
		do("CREATE TABLE tools (id TEXT PRIMARY KEY, weight INTEGER)")
		m.add = func(id string) { do("INSERT INTO tools VALUES (?, 1)", id) }
		m.breakIt, m.why, m.mend = func() { do("UPDATE tools SET weight = NULL WHERE id = 'a'") }, `row 1: partition "a": the weight is NULL`, func() { do("UPDATE tools SET weight = 1") }
		m.drop = func() { do("DELETE FROM tools WHERE id <> 'a'") }
		return must2(source.SQL(db, "SELECT id, weight FROM tools ORDER BY id", observe))
	}
	panic(kind)
}

// running is what one worker runs.
type running struct {
	mu  sync.Mutex
	ids map[string]int // starts
	now []string
}

func (r *running) run(ctx context.Context, l parti.Lease) error {
	id := l.Partition.ID
	r.mu.Lock()
	r.ids[id]++
	r.now = append(r.now, id)
	r.mu.Unlock()
	<-ctx.Done()
	r.mu.Lock()
	r.now = slices.DeleteFunc(r.now, func(x string) bool { return x == id })
	r.mu.Unlock()
	return nil
}

func (r *running) expect(t *testing.T, d time.Duration, want string) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.now)
	if got := strings.Join(r.now, " "); got != want {
		t.Errorf("%s run, want %s", got, want)
	}
}

// Promise 6, for each source: an error leaves what runs alone and says what is wrong; what
// comes is run within seconds, and what goes, too, even if it is most.
func TestAFailingSourceLosesNothing(t *testing.T) {
	for _, kind := range []string{"File", "YAML", "KV", "Subjects", "SQL"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			natstest.Bubble(t, func(t *testing.T) {
				ns := natstest.InBubble(t)
				js := jetStream(t, natstest.NewLink(ns).Connect(t, natskv.ConnectOptions()...))
				store, err := natskv.Open(t.Context(), js, "group")
				must(t, err)
				defer store.Close()
				var changes []string
				m := &medium{}
				w := m.prepare(t, kind, js, dir, source.Observe(func(c plan.Changes) { changes = append(changes, c.String()) }))
				for _, id := range []string{"a", "b", "c"} {
					m.add(id)
				}
				r := &running{ids: map[string]int{}}
				mgr, err := parti.NewManager(store, w, parti.HandlerFunc(r.run), parti.Config{ExpectedWorkers: 1})
				must(t, err)
				must(t, mgr.Start(t.Context()))
				r.expect(t, 10*time.Second, "a b c")
				m.breakIt()
				r.expect(t, time.Minute, "a b c")
				if alerts := mgr.Status().Alerts; len(alerts) != 1 || alerts[0].About != "source" || !strings.Contains(alerts[0].Text, m.why) {
					t.Errorf("%v, want %s", alerts, m.why)
				}
				m.mend()
				r.expect(t, 20*time.Second, "a b c")
				if alerts := mgr.Status().Alerts; len(alerts) > 0 {
					t.Error(alerts)
				}
				m.add("d")
				r.expect(t, 20*time.Second, "a b c d")
				m.drop()
				r.expect(t, 20*time.Second, "a")
				for id, n := range r.ids {
					if n != 1 {
						t.Errorf("%s was started %d times", id, n)
					}
				}
				must(t, mgr.Stop(context.WithoutCancel(t.Context())))
				if want := []string{"1 added (d)", "3 removed (b, c, d)"}; !slices.Equal(changes, want) {
					t.Errorf("%q, want %q", changes, want)
				}
			})
		})
	}
}
