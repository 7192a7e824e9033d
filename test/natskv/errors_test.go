package natskv_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/test/natstest"
)

// openFails opens the group's store, which must fail with an error of that type
// that says all of these.
func openFails[E error](t *testing.T, js jetstream.JetStream, group string, says []string, opts ...natskv.Option) E {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := natskv.Open(ctx, js, group, opts...)
	if err == nil {
		s.Close()
	}
	var e E
	if !errors.As(err, &e) {
		t.Fatalf("%v; want a %T", err, e)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	return e
}

func TestJetStreamIsOff(t *testing.T) {
	ns := natstest.Start(t, func(o *server.Options) { o.JetStream = false })
	_, err := natskv.Open(t.Context(), jetStream(t, natstest.Connect(t, ns)), "orders")
	if !errors.Is(err, natskv.ErrNoJetStream) || !strings.Contains(err.Error(), "-js") {
		t.Errorf("%v", err)
	}
}

// Beyond a leaf node there may well be JetStream, and only the way to it be missing.
func TestNobodyInThatDomain(t *testing.T) {
	js, err := jetstream.NewWithDomain(natstest.Connect(t, natstest.Start(t)), "nowhere")
	if err != nil {
		t.Fatal(err)
	}
	_, err = natskv.Open(t.Context(), js, "orders")
	if !errors.Is(err, natskv.ErrNoJetStream) || !strings.Contains(err.Error(), "$JS.nowhere.API.>: see that the domain") {
		t.Errorf("%v", err)
	}
}

func TestJetStreamIsOffForTheAccount(t *testing.T) {
	ns := natstest.Start(t, func(o *server.Options) {
		with, without := server.NewAccount("with"), server.NewAccount("without")
		o.Accounts = []*server.Account{with, without}
		o.Users = []*server.User{{Username: "u", Password: "p", Account: without}}
	})
	_, err := natskv.Open(t.Context(), jetStream(t, natstest.Connect(t, ns, nats.UserInfo("u", "p"))), "orders")
	if !errors.Is(err, natskv.ErrNoJetStream) {
		t.Errorf("%v", err)
	}
}

// TestOlderServer opens a bucket on a server from before atomic batches, which
// "make test" builds: two releases cannot be had in one process.
func TestOlderServer(t *testing.T) {
	old := os.Getenv("PARTI_OLD_NATS_SERVER")
	if old == "" {
		t.Skip("PARTI_OLD_NATS_SERVER does not name a nats-server of a release before 2.12")
	}
	ports := t.TempDir()
	cmd := exec.Command(old, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", t.TempDir(), "--ports_file_dir", ports)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	nc, err := nats.Connect(portsOf(t, ports), natskv.ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js := jetStream(t, nc)
	e := openFails[*natskv.TooOldError](t, js, "orders", []string{"upgrade to nats-server 2.12.3", nc.ConnectedServerVersion()})
	if e.Level >= e.Need {
		t.Errorf("%+v", e)
	}
	if _, err := js.Stream(t.Context(), "KV_parti-orders"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("it has made the bucket all the same: %v", err)
	}

	// A bucket that such a server made, and that a newer one does not know more of.
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "parti-older"}); err != nil {
		t.Fatal(err)
	}
	_ = openFails[*natskv.TooOldError](t, js, "older", []string{"upgrade to nats-server 2.12.3"})
}

// portsOf waits for the file in which a server says where it listens.
func portsOf(t *testing.T, dir string) string {
	t.Helper()
	for t.Context().Err() == nil {
		files, _ := filepath.Glob(filepath.Join(dir, "*.ports"))
		for _, file := range files {
			var ports struct {
				Nats []string `json:"nats"`
			}
			if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &ports) == nil && len(ports.Nats) > 0 {
				return ports.Nats[0]
			}
		}
		runtime.Gosched()
	}
	t.Fatal("the server has not come up")
	return ""
}

// A stand-in that says what servers of each level say.
func TestServerIsTooOld(t *testing.T) {
	ns := natstest.Start(t)
	nc := natstest.Connect(t, ns)
	answer := func(subject, data string) {
		t.Helper()
		if _, err := nc.Subscribe("OLD.API."+subject, func(m *nats.Msg) { _ = m.Respond([]byte(data)) }); err != nil {
			t.Fatal(err)
		}
	}
	answer("INFO", `{"api":{"level":1}}`)
	answer("STREAM.INFO.KV_parti-new", `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`)
	answer("STREAM.INFO.KV_parti-there", `{"config":{"metadata":{"_nats.level":"1"}}}`)
	answer("STREAM.INFO.KV_parti-older", `{"config":{}}`)
	js, err := jetstream.NewWithAPIPrefix(nc, "OLD.API")
	if err != nil {
		t.Fatal(err)
	}
	for group, level := range map[string]int{"new": 1, "there": 1, "older": 0} {
		e := openFails[*natskv.TooOldError](t, js, group, []string{"2.12", "upgrade", "level 2"})
		if e.Level != level || e.Need != 2 {
			t.Errorf("%s: %+v", group, e)
		}
	}
}

// A server that still removes the files of a bucket that was lost refuses to make it
// anew for a moment. This one does so as often as it is told.
func TestBucketCannotBeMadeAtOnce(t *testing.T) {
	ns := natstest.Start(t)
	api := natstest.Connect(t, ns)
	var left atomic.Int64
	if _, err := api.Subscribe("BUSY.API.>", func(m *nats.Msg) {
		method := strings.TrimPrefix(m.Subject, "BUSY.API.")
		if strings.HasPrefix(method, "STREAM.CREATE.") && left.Add(-1) >= 0 {
			_ = m.Respond([]byte(`{"error":{"code":500,"err_code":10049,"description":"error creating store for stream"}}`))
			return
		}
		_ = api.PublishRequest("$JS.API."+method, m.Reply, m.Data)
	}); err != nil {
		t.Fatal(err)
	}
	if err := api.Flush(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.NewWithAPIPrefix(natstest.Connect(t, ns), "BUSY.API")
	if err != nil {
		t.Fatal(err)
	}
	left.Store(2)
	s, err := natskv.Open(t.Context(), js, "soon")
	if err != nil || left.Load() > 0 {
		t.Fatalf("%v, %d refusals left", err, left.Load())
	}
	s.Close()

	left.Store(1000)
	_, err = natskv.Open(t.Context(), js, "never")
	if err == nil || !strings.Contains(err.Error(), "10049") {
		t.Errorf("%v", err)
	}
}

func TestBucketIsNotThere(t *testing.T) {
	ns := natstest.Start(t)
	_, err := natskv.Open(t.Context(), jetStream(t, natstest.Connect(t, ns)), "orders", natskv.WithoutCreate())
	if !errors.Is(err, natskv.ErrNoBucket) {
		t.Errorf("%v", err)
	}
}

func TestGroupName(t *testing.T) {
	ns := natstest.Start(t)
	for _, name := range []string{"", "a.b", "a b", "a*", "ä"} {
		if _, err := natskv.Open(t.Context(), jetStream(t, natstest.Connect(t, ns)), name); err == nil || !strings.Contains(err.Error(), "group") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// unhurried is for what a test writes once: a cluster that has just come together, or has
// little CPU, may not answer within the two seconds that a worker waits.
var unhurried = natskv.WithRequestTimeout(10 * time.Second)

func TestBucketOfTheKVAPI(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			nc := start(t)
			js := jetStream(t, nc)
			if _, err := natstest.JetStream(t, nc).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "parti-orders"}); err != nil {
				t.Fatal(err)
			}
			says := []string{"KV_parti-orders", "allow_atomic is false and must be true", "allow_msg_ttl", "republish is off", "allow_direct is true and must be false", "WithRepair"}
			_ = openFails[*natskv.SettingsError](t, js, "orders", says)
			s := open(t, nc, "orders", natskv.WithRepair(), unhurried)
			if _, err := s.Commit(t.Context(), []kv.Write{{Key: "a", TTL: time.Hour}, {Key: "b"}}); err != nil {
				t.Error(err)
			}
			open(t, nc, "orders")
		})
	}
}

func TestBucketOfSomethingElse(t *testing.T) {
	ns := natstest.Start(t)
	js := jetStream(t, natstest.Connect(t, ns))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KV_parti-orders", Subjects: []string{"orders.>"}, Retention: jetstream.WorkQueuePolicy}); err != nil {
		t.Fatal(err)
	}
	_ = openFails[*natskv.SettingsError](t, js, "orders", []string{"retention is WorkQueue and must be Limits", "nats stream rm KV_parti-orders"}, natskv.WithRepair())
}

// What a server can change on a stream that exists is not worth the removal of a bucket.
func TestBucketThatMayBeDeletedFrom(t *testing.T) {
	nc := servers["one"](t)
	open(t, nc, "orders", unhurried)
	js := natstest.JetStream(t, nc)
	st, err := js.Stream(t.Context(), "KV_parti-orders")
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.DenyDelete = false
	if err := js.DeleteStream(t.Context(), "KV_parti-orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	_ = openFails[*natskv.SettingsError](t, jetStream(t, nc), "orders", []string{"deny_delete is false and must be true", "WithRepair"})
	open(t, nc, "orders", unhurried, natskv.WithRepair())
	open(t, nc, "orders", unhurried)
}

// Who is behind must not be told to remove what the others use.
func TestBucketOfANewerRelease(t *testing.T) {
	nc := servers["one"](t)
	s := open(t, nc, "orders", unhurried)
	js := natstest.JetStream(t, nc)
	st, err := js.Stream(t.Context(), "KV_parti-orders")
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.Metadata["parti.schema"] = "2"
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	e := openFails[*natskv.SettingsError](t, jetStream(t, nc), "orders", []string{"parti.schema is 2 and must be at most 1", "upgrade this process"}, natskv.WithRepair())
	if strings.Contains(e.Error(), "stream rm") {
		t.Errorf("%v", e)
	}
	f := inspect(t, s)
	f.have("settings", kv.Wrong, "parti.schema", "upgrade this process")
	for _, one := range f.all {
		if strings.Contains(one.Fix, "stream rm") {
			t.Errorf("%+v", one)
		}
	}
}

// The KV API, used on our bucket, switches atomic batches off and says nothing.
func TestAtomicIsSwitchedOffUnderUs(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			nc := start(t)
			s := open(t, nc, "orders", unhurried)
			js := jetStream(t, nc)
			if _, err := natstest.JetStream(t, nc).CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "parti-orders", LimitMarkerTTL: time.Minute, Replicas: replicas(t, nc, "orders")}); err != nil {
				t.Fatal(err)
			}
			_, err := s.Commit(t.Context(), []kv.Write{{Key: "a"}, {Key: "b"}})
			var e *natskv.SettingsError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), "allow_atomic is false and must be true") {
				t.Fatalf("%v", err)
			}
			_ = openFails[*natskv.SettingsError](t, js, "orders", []string{"allow_atomic", "CreateOrUpdateKeyValue"})
			open(t, nc, "orders", natskv.WithRepair())
			if _, err := s.Commit(t.Context(), []kv.Write{{Key: "a"}, {Key: "b"}}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A stream that keeps the old message of a subject, rather than the new one, refuses every
// update as if there were no room.
func TestUpdatesAreSwitchedOffUnderUs(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			nc := start(t)
			s := open(t, nc, "orders", unhurried)
			rev, err := s.Write(t.Context(), kv.Write{Key: "a"})
			if err != nil {
				t.Fatal(err)
			}
			js := natstest.JetStream(t, nc)
			st, err := js.Stream(t.Context(), "KV_parti-orders")
			if err != nil {
				t.Fatal(err)
			}
			cfg := st.CachedInfo().Config
			cfg.DiscardNewPerSubject = true
			if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			const says = "discard_new_per_subject"
			_, err = s.Write(t.Context(), kv.Write{Key: "a", Last: rev})
			if e := new(natskv.SettingsError); !errors.As(err, &e) || !strings.Contains(err.Error(), says) {
				t.Errorf("%v", err)
			}
			_ = openFails[*natskv.SettingsError](t, jetStream(t, nc), "orders", []string{says + " is true and must be false", "WithRepair"})
			inspect(t, s).have("settings", kv.Wrong, says)
			open(t, nc, "orders", natskv.WithRepair())
			if _, err := s.Write(t.Context(), kv.Write{Key: "a", Last: rev}); err != nil {
				t.Error(err)
			}
		})
	}
}

func replicas(t *testing.T, nc *nats.Conn, group string) int {
	t.Helper()
	st, err := natstest.JetStream(t, nc).Stream(t.Context(), "KV_parti-"+group)
	if err != nil {
		t.Fatal(err)
	}
	return st.CachedInfo().Config.Replicas
}

// What is denied fails at once, and says which subject it is about.
func TestDenied(t *testing.T) {
	ns := natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "p"},
			{Username: "worker", Password: "p", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{
					"$JS.API.STREAM.INFO.KV_parti-orders", "$JS.API.STREAM.MSG.GET.KV_parti-orders",
					"$KV.parti-orders.session.w1", "$KV.parti-orders.fence", "$PARTI.orders.probe.>", "_INBOX.>",
				}},
				Subscribe: &server.SubjectPermission{Allow: []string{
					"_INBOX.>", "$PARTI.orders.kv.session.>", "$PARTI.orders.kv.plan", "$PARTI.orders.kv.plan.>", "$PARTI.orders.probe.w1",
				}},
			}},
			{Username: "deaf", Password: "p", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX.>"}},
			}},
		}
	})
	user := func(name string) *nats.Conn {
		return natstest.Connect(t, ns, append(natskv.ConnectOptions(), nats.UserInfo(name, "p"))...)
	}
	denied := func(op, subject string, err error) {
		t.Helper()
		var e *natskv.DeniedError
		if !errors.As(err, &e) {
			t.Errorf("%v; want to be denied to %s to %s", err, op, subject)
			return
		}
		if e.Op != op || e.Subject != subject {
			t.Errorf("denied to %s to %s, want %s to %s", e.Op, e.Subject, op, subject)
		}
	}
	ctx := t.Context()
	_, err := natskv.Open(ctx, jetStream(t, user("worker")), "other")
	denied("publish", "$JS.API.STREAM.INFO.KV_parti-other", err)
	open(t, user("admin"), "orders")
	s := open(t, user("worker"), "orders", natskv.WithRequestTimeout(time.Minute))
	began := time.Now()

	_, err = s.Write(ctx, kv.Write{Key: "session.w2"})
	denied("publish", "$KV.parti-orders.session.w2", err)
	if errors.Is(err, kv.ErrUnknown) {
		t.Error("a denied write is not unknown")
	}
	_, err = s.Commit(ctx, []kv.Write{{Key: "session.w1"}, {Key: "plan"}})
	denied("publish", "$KV.parti-orders.plan", err)
	_, err = s.Commit(ctx, []kv.Write{{Key: "plan"}, {Key: "session.w1"}}) // the answer is that the batch is incomplete
	denied("publish", "$KV.parti-orders.plan", err)
	if errors.Is(err, kv.ErrUnknown) {
		t.Error("a denied commit is not unknown")
	}
	_, err = s.Renew(ctx, kv.MaxIncarnation)
	denied("publish", "$JS.API.STREAM.PURGE.KV_parti-orders", err)
	err = s.Follow(ctx, []string{"slice.w2"}, func() { t.Error("ready") }, nil)
	denied("subscribe", "$PARTI.orders.kv.slice.w2.>", err) // both are, and the later is told
	_, err = s.Answer("w2", func() []byte { return nil })
	denied("subscribe", "$PARTI.orders.probe.w2", err)
	if took := time.Since(began); took > 30*time.Second { // for silence, each takes a minute
		t.Errorf("being denied took %v", took)
	}
	if _, err := natskv.Open(ctx, jetStream(t, user("deaf")), "orders"); err == nil {
		t.Error("opened without an inbox")
	} else if e := new(natskv.DeniedError); !errors.As(err, &e) || e.Op != "subscribe" || !strings.HasPrefix(e.Subject, "_INBOX.") {
		t.Errorf("%v", err)
	}

	// What a worker needs is enough.
	rev, err := s.Write(ctx, kv.Write{Key: "session.w1", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if es, _, err := s.List(ctx, "session."); err != nil || len(es) != 1 || es[0].Rev != rev {
		t.Errorf("%v, %v", es, err)
	}
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.Follow(following, []string{"session.", "plan"}, cancel, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	stop, err := s.Answer("w1", func() []byte { return []byte("here") })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if b, err := s.Probe(ctx, "w1"); err != nil || string(b) != "here" {
		t.Errorf("%q, %v", b, err)
	}
}

// Who is denied at the same time as another hears of its own denial.
func TestDeniedSideBySide(t *testing.T) {
	ns := natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "p"},
			{Username: "deaf", Password: "p", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		}
	})
	user := func(name string) *nats.Conn {
		return natstest.Connect(t, ns, append(natskv.ConnectOptions(), nats.UserInfo(name, "p"))...)
	}
	open(t, user("admin"), "orders")
	s := open(t, user("deaf"), "orders", natskv.WithRequestTimeout(time.Minute))
	for range 50 {
		var wg sync.WaitGroup
		var following, answering error
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			following = s.Follow(ctx, []string{"slice."}, cancel, nil)
		})
		wg.Go(func() {
			stop, err := s.Answer("w1", func() []byte { return nil })
			if answering = err; err == nil {
				stop()
			}
		})
		wg.Wait()
		for want, err := range map[string]error{"$PARTI.orders.kv.slice.>": following, "$PARTI.orders.probe.w1": answering} {
			var e *natskv.DeniedError
			if !errors.As(err, &e) || e.Subject != want {
				t.Fatalf("%v; want to be denied to subscribe to %s", err, want)
			}
		}
	}
}

func TestWarnsOfAnUnfitConnection(t *testing.T) {
	ns := natstest.Start(t)
	for _, fit := range []bool{true, false} {
		var opts []nats.Option
		if fit {
			opts = natskv.ConnectOptions()
		}
		var out bytes.Buffer
		s := open(t, natstest.Connect(t, ns, opts...), "orders", natskv.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
		s.Close()
		for _, part := range []string{"PingInterval", "MaxReconnects", "ReconnectBufSize"} {
			if strings.Contains(out.String(), part) == fit {
				t.Errorf("fit %v: %s", fit, out.String())
			}
		}
	}
}

// Replicas follow the cluster, unless told.
func TestReplicas(t *testing.T) {
	one, three := servers["one"](t), servers["three"](t)
	open(t, one, "auto")
	open(t, three, "auto")
	open(t, three, "told", natskv.WithReplicas(1))
	if n := replicas(t, one, "auto"); n != 1 {
		t.Errorf("%d replicas on one node", n)
	}
	if n := replicas(t, three, "auto"); n != 3 {
		t.Errorf("%d replicas on three nodes", n)
	}
	if n := replicas(t, three, "told"); n != 1 {
		t.Errorf("%d replicas where 1 was asked for", n)
	}
}

// A connection that was closed does not come back: nobody waits for it.
func TestConnectionIsClosed(t *testing.T) {
	ns := natstest.Start(t)
	nc := natstest.Connect(t, ns, natskv.ConnectOptions()...)
	s := open(t, nc, "orders")
	c, changed := s.Connection()
	if c.Closed {
		t.Error("closed before")
	}
	nc.Close()
	for !c.Closed {
		<-changed
		c, changed = s.Connection()
	}
	if c.Up {
		t.Errorf("%+v", c)
	}
	if _, err := natskv.Open(t.Context(), jetStream(t, nc), "orders"); !errors.Is(err, natskv.ErrConnectionClosed) {
		t.Error(err)
	}
}

// Wrong credentials are told soon; the connection goes on trying, for its owner to close.
func TestWrongCredentials(t *testing.T) {
	ns := natstest.Start(t, func(o *server.Options) { o.Username, o.Password = "ann", "right" })
	const dead = "nats://127.0.0.1:1"
	for _, urls := range []string{ns.ClientURL(), ns.ClientURL() + "," + dead, dead + "," + ns.ClientURL()} {
		closed := make(chan struct{})
		nc, err := nats.Connect(urls, append(natskv.ConnectOptions(), nats.UserInfo("ann", "wrong"), nats.DontRandomize(),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if _, err := natskv.Open(ctx, jetStream(t, nc), "orders"); !errors.Is(err, natskv.ErrNotLetIn) || !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", urls, err)
		}
		cancel()
		if nc.IsClosed() {
			t.Error("it has given up")
		}
		nc.Close()
		<-closed
	}
}

func TestNothingAfterClose(t *testing.T) {
	s := open(t, servers["one"](t), "closed")
	s.Close()
	if stop, err := s.Answer("w1", func() []byte { return nil }); !errors.Is(err, natskv.ErrUnavailable) {
		t.Errorf("answers: %v", err)
		stop()
	}
	if _, err := s.Write(t.Context(), kv.Write{Key: "a"}); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("writes: %v", err)
	}
}

// What will not do is said before anybody is asked, all of it, with what would.
func TestOptionsOutOfRange(t *testing.T) {
	js := jetStream(t, servers["one"](t))
	for _, c := range []struct {
		js    jetstream.JetStream
		group string
		opts  []natskv.Option
		says  []string // nil: it is well
	}{
		{js, "options", []natskv.Option{nil, natskv.WithReplicas(1), natskv.WithRequestTimeout(50 * time.Millisecond), natskv.WithRequestTimeout(time.Minute), natskv.WithLogger(nil), nil}, nil},
		{js, "options", []natskv.Option{natskv.WithReplicas(0)}, nil},
		{js, "options", []natskv.Option{natskv.WithReplicas(-1)}, []string{"WithReplicas(-1): use 1, 3 or 5, or 0 "}},
		{js, "options", []natskv.Option{natskv.WithReplicas(2)}, []string{"WithReplicas(2): "}},
		{js, "options", []natskv.Option{natskv.WithReplicas(4)}, []string{"WithReplicas(4): "}},
		{js, "options", []natskv.Option{natskv.WithReplicas(6)}, []string{"WithReplicas(6): "}},
		{js, "options", []natskv.Option{natskv.WithRequestTimeout(0)}, []string{"WithRequestTimeout(0s): use 50ms to 1m"}},
		{js, "options", []natskv.Option{natskv.WithRequestTimeout(-time.Second)}, []string{"WithRequestTimeout(-1s): "}},
		{js, "options", []natskv.Option{natskv.WithRequestTimeout(2)}, []string{"WithRequestTimeout(2ns): "}},
		{js, "options", []natskv.Option{natskv.WithRequestTimeout(time.Hour)}, []string{"WithRequestTimeout(1h0m0s): "}},
		{nil, "a.b", []natskv.Option{natskv.WithReplicas(7), natskv.WithRequestTimeout(1)}, []string{"a nil JetStream", `group "a.b"`, "WithReplicas(7)", "WithRequestTimeout(1ns)"}},
	} {
		s, err := natskv.Open(t.Context(), c.js, c.group, c.opts...)
		if err == nil {
			s.Close()
		}
		if (err == nil) != (c.says == nil) {
			t.Errorf("%v: %v", c.says, err)
		}
		for _, text := range c.says {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%q is not said: %v", text, err)
			}
		}
	}
}

// The user's own handlers stay, and Close leaves the connection to its owner.
func TestConnectionIsTheUsers(t *testing.T) {
	ns := natstest.Start(t)
	disconnected := make(chan struct{}, 10)
	nc := natstest.Connect(t, ns, append(natskv.ConnectOptions(), nats.DisconnectErrHandler(func(*nats.Conn, error) { disconnected <- struct{}{} }))...)
	s := open(t, nc, "orders")
	before, changed := s.Connection()
	if err := nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	<-changed
	awaitUp(t, s)
	if c, _ := s.Connection(); c.Interrupts != before.Interrupts+2 {
		t.Errorf("%+v after %+v", c, before)
	}
	<-disconnected
	s.Close()
	s.Close()
	if !nc.IsConnected() {
		t.Error("Close closed the connection")
	}
	if _, err := s.Write(t.Context(), kv.Write{Key: "a"}); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("a write after Close: %v", err)
	}
	if err := s.Follow(t.Context(), []string{""}, func() { t.Error("ready") }, nil); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("a follow after Close: %v", err)
	}
}
