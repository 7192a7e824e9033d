package natskv_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/permissions"
	"github.com/parti-go/parti/test/natstest"
)

// findings are what an inspection has found.
type findings struct {
	t   *testing.T
	all []kv.Finding
}

func inspect(t *testing.T, s *natskv.Store) findings {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	all, err := s.Inspect(ctx)
	return found(t, all, err)
}

func found(t *testing.T, all []kv.Finding, err error) findings {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		t.Logf("%-8s %s: %s. %s. %s", f.Level, f.About, f.What, f.Why, f.Fix)
		if f.About == "" || f.What == "" {
			t.Errorf("%+v", f)
		}
		if (f.Level == kv.Warn || f.Level == kv.Wrong) && (f.Why == "" || f.Fix == "") {
			t.Errorf("it does not say why or what to do: %+v", f)
		}
		if f.Level == kv.Fine && f.Why+f.Fix != "" {
			t.Errorf("what is right needs no cure: %+v", f)
		}
	}
	return findings{t, all}
}

// have checks that there is a finding of that level that says all of these.
func (f findings) have(about string, level kv.Grade, says ...string) {
	f.t.Helper()
next:
	for _, one := range f.all {
		if one.About != about || one.Level != level {
			continue
		}
		text := one.What + " " + one.Why + " " + one.Fix
		for _, part := range says {
			if !strings.Contains(text, part) {
				continue next
			}
		}
		return
	}
	f.t.Errorf("nothing about %s is %s and says %q", about, level, says)
}

// none checks that nothing is as bad as that.
func (f findings) none(levels ...kv.Grade) {
	f.t.Helper()
	for _, one := range f.all {
		for _, level := range levels {
			if one.Level == level {
				f.t.Errorf("%+v", one)
			}
		}
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	s := open(t, natstest.Connect(t, ns, natskv.ConnectOptions()...), "orders")
	if _, err := s.Write(t.Context(), kv.Write{Key: "a.b", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	before := state(t, s, "orders")
	f := inspect(t, s)
	f.none(kv.Note, kv.Warn, kv.Wrong)
	f.have("connection", kv.Fine, "server n1", "answers within")
	f.have("bucket", kv.Fine, "KV_parti-orders", "answers within")
	f.have("server", kv.Fine, "version", "API level")
	f.have("server", kv.Fine, "1023 KiB", "1000 records")
	f.have("settings", kv.Fine, "right", "1m0s")
	f.have("storage", kv.Fine, "files", "1 keys", "incarnation")
	f.have("replicas", kv.Fine, "one")
	f.have("account", kv.Fine, "near")
	f.have("clock", kv.Fine, "±", "KV_parti-orders")
	for _, role := range permissions.Roles() {
		f.have("permissions", kv.Fine, string(role))
	}
	if after := state(t, s, "orders"); after != before {
		t.Errorf("it has changed something: %s, was %s", after, before)
	}
	if _, err := json.Marshal(f.all); err != nil {
		t.Error(err)
	}
}

// state is all that there is in JetStream, but for the time.
func state(t *testing.T, s *natskv.Store, group string) string {
	t.Helper()
	js := jetStream(t, s.Conn())
	stream, err := js.Stream(t.Context(), "KV_parti-"+group)
	if err != nil {
		t.Fatal(err)
	}
	info := stream.CachedInfo()
	info.TimeStamp = time.Time{}
	account, err := js.AccountInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{info, account.Streams, account.Consumers})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestInspectMemory(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	f := inspect(t, open(t, natstest.Connect(t, ns), "orders", natskv.WithMemory()))
	f.have("storage", kv.Note, "memory", "restart", "WithMemory")
	f.have("server", kv.Warn, "63 KiB", "max_payload")
	f.have("connection", kv.Note, "MaxReconnects", "ConnectOptions")
	f.none(kv.Wrong)
}

// A bucket with wrong settings cannot be opened, and can be inspected all the same.
func TestInspectSettings(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	js := jetStream(t, natstest.Connect(t, ns, natskv.ConnectOptions()...))
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "parti-orders"}); err != nil {
		t.Fatal(err)
	}
	all, err := natskv.Inspect(t.Context(), js, "orders")
	f := found(t, all, err)
	f.have("settings", kv.Wrong, "allow_atomic of KV_parti-orders is false and must be true", "WithRepair")
	f.have("settings", kv.Wrong, "republish", "stream edit")
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KV_parti-queue", Subjects: []string{"$KV.parti-queue.>"}, Retention: jetstream.WorkQueuePolicy}); err != nil {
		t.Fatal(err)
	}
	all, err = natskv.Inspect(t.Context(), js, "queue")
	found(t, all, err).have("settings", kv.Wrong, "retention", "cannot be changed", "stream rm")
}

func TestInspectWithoutBucket(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	nc := natstest.Connect(t, ns)
	js := jetStream(t, nc)
	all, err := natskv.Inspect(t.Context(), js, "orders")
	f := found(t, all, err)
	f.have("bucket", kv.Wrong, "no stream KV_parti-orders", "start a worker")
	f.have("server", kv.Fine, "API level")
	f.have("permissions", kv.Fine, "provisioner")
	if _, err := js.Stream(t.Context(), "KV_parti-orders"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("it has made the bucket: %v", err)
	}
	s := open(t, nc, "orders")
	deleteBucket(t, js, "orders")
	inspect(t, s).have("bucket", kv.Wrong, "no stream KV_parti-orders")
	if all, err := natskv.Inspect(t.Context(), js, "no group"); err == nil {
		t.Errorf("%v", all)
	}
}

func TestInspectWithoutJetStream(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t, func(o *server.Options) { o.JetStream = false })
	all, err := natskv.Inspect(t.Context(), jetStream(t, natstest.Connect(t, ns)), "orders")
	found(t, all, err).have("server", kv.Wrong, "JetStream", "-js")

	ns = natstest.Start(t, func(o *server.Options) {
		with, without := server.NewAccount("with"), server.NewAccount("without")
		o.Accounts = []*server.Account{with, without}
		o.Users = []*server.User{{Username: "u", Password: "p", Account: without}}
	})
	all, err = natskv.Inspect(t.Context(), jetStream(t, natstest.Connect(t, ns, nats.UserInfo("u", "p"))), "orders")
	found(t, all, err).have("server", kv.Wrong, "JetStream", "account")
}

// A stand-in that says what an old server says.
func TestInspectOldServer(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	nc := natstest.Connect(t, ns)
	for subject, answer := range map[string]string{
		"OLD.API.INFO":                       `{"api":{"level":1}}`,
		"OLD.API.STREAM.INFO.KV_parti-new":   `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`,
		"OLD.API.STREAM.INFO.KV_parti-there": `{"config":{"metadata":{"_nats.level":"1"}}}`,
	} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(answer)) }); err != nil {
			t.Fatal(err)
		}
	}
	js, err := jetstream.NewWithAPIPrefix(nc, "OLD.API")
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"new", "there"} {
		all, err := natskv.Inspect(t.Context(), js, group, natskv.WithRequestTimeout(2*time.Second))
		found(t, all, err).have("server", kv.Wrong, "API level 1, and level 2 is needed", "upgrade to nats-server")
	}
}

// A leader that answers only the second time has answered.
func TestInspectSecondAnswer(t *testing.T) {
	t.Parallel()
	nc := natstest.Connect(t, natstest.Start(t))
	var asked atomic.Int64
	if _, err := nc.Subscribe("LATE.API.STREAM.INFO.KV_parti-orders", func(m *nats.Msg) {
		if asked.Add(1) > 1 {
			_ = m.Respond([]byte(`{"config":{"metadata":{"_nats.level":"2"}}}`))
		}
	}); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.NewWithAPIPrefix(nc, "LATE.API")
	if err != nil {
		t.Fatal(err)
	}
	all, err := natskv.Inspect(t.Context(), js, "orders", natskv.WithRequestTimeout(2*time.Second))
	found(t, all, err).have("server", kv.Fine, "API level 2")
	if n := asked.Load(); n < 2 {
		t.Errorf("asked %d times", n)
	}
}

// A clock that is wrong is told of by how much, and how sure that is.
func TestInspectClock(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	nc := natstest.Connect(t, ns)
	var off atomic.Int64
	if _, err := nc.Subscribe("OFF.API.STREAM.INFO.KV_parti-orders", func(m *nats.Msg) {
		_ = m.Respond(fmt.Appendf(nil, `{"config":{"metadata":{"_nats.level":"2"}},"ts":%q}`, time.Now().Add(time.Duration(off.Load())).Format(time.RFC3339Nano)))
	}); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.NewWithAPIPrefix(nc, "OFF.API")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off   time.Duration
		level kv.Grade
		says  string
	}{
		{0, kv.Fine, "±"},
		{-20 * time.Second, kv.Note, "ahead of"},
		{time.Hour, kv.Warn, "behind"},
	} {
		off.Store(int64(c.off))
		all, err := natskv.Inspect(t.Context(), js, "orders", natskv.WithRequestTimeout(2*time.Second))
		found(t, all, err).have("clock", c.level, c.says)
	}
}

// Each role sees what it is, and what it cannot look at.
func TestInspectPermissions(t *testing.T) {
	t.Parallel()
	const group = "orders"
	ns := natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "x"},
			{Username: "nobody", Password: "x", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Deny: []string{">"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		}
		for _, role := range permissions.Roles() {
			set, err := permissions.For(permissions.Use{Group: group}, role)
			if err != nil {
				t.Fatal(err)
			}
			p := &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: set.Publish.Allow},
				Subscribe: &server.SubjectPermission{Allow: set.Subscribe.Allow},
			}
			if set.Responses {
				p.Response = &server.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
				dumb := *p
				dumb.Response = nil
				o.Users = append(o.Users, &server.User{Username: "dumb", Password: "x", Permissions: &dumb})
			}
			o.Users = append(o.Users, &server.User{Username: string(role), Password: "x", Permissions: p})
		}
	})
	open(t, natstest.Connect(t, ns, nats.UserInfo("all", "x")), group)
	as := func(user string) findings {
		t.Logf("as %s", user)
		nc := natstest.Connect(t, ns, append(natskv.ConnectOptions(), nats.UserInfo(user, "x"))...)
		all, err := natskv.Inspect(t.Context(), jetStream(t, nc), group, natskv.WithRequestTimeout(10*time.Second))
		return found(t, all, err)
	}
	const note, fine = kv.Note, kv.Fine

	f := as("observer")
	f.none(kv.Warn, kv.Wrong)
	f.have("settings", fine, "right")
	f.have("clock", fine, "±")
	f.have("server", fine, "API level")
	f.have("account", note, "publish to $JS.API.INFO")
	f.have("permissions", fine, "observer")
	f.have("permissions", note, "not a worker", "publish to $KV.parti-orders.session.fence", "publish to $PARTI.orders.probe.", "subscribe to $PARTI.orders.probe.", "parti permissions")
	f.have("permissions", note, "not an operator", "publish to $KV.parti-orders.control.fence", "publish to $KV.parti-orders.leader")
	f.have("permissions", note, "not a provisioner", "$JS.API.STREAM.CREATE.KV_parti-orders", "$JS.API.STREAM.UPDATE.KV_parti-orders")

	f = as("worker")
	f.none(kv.Warn, kv.Wrong)
	f.have("permissions", fine, "observer")
	f.have("permissions", fine, "worker")
	f.have("permissions", fine, "operator")
	f.have("permissions", note, "not a provisioner")

	f = as("operator")
	f.none(kv.Warn, kv.Wrong)
	f.have("permissions", fine, "observer")
	f.have("permissions", fine, "operator")
	f.have("permissions", note, "not a worker")

	f = as("provisioner")
	f.have("permissions", fine, "provisioner")
	f.have("permissions", kv.Warn, "not an observer", "$JS.API.STREAM.MSG.GET.KV_parti-orders", "subscribe to $PARTI.orders.kv.fence")
	f.have("account", fine, "near")

	f = as("dumb")
	f.have("permissions", note, "not a worker", "allow_responses")

	f = as("nobody")
	f.have("bucket", kv.Wrong, "may not publish to $JS.API.STREAM.INFO.KV_parti-orders")
	f.have("permissions", kv.Warn, "not an observer")
}

// Somebody who listens to everything hides that workers are lost.
func TestInspectProbes(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	nc := natstest.Connect(t, ns)
	s := open(t, nc, "orders", natskv.WithRequestTimeout(time.Second))
	listener := natstest.Connect(t, ns)
	if _, err := listener.SubscribeSync("$PARTI.>"); err != nil {
		t.Fatal(err)
	}
	if err := listener.Flush(); err != nil {
		t.Fatal(err)
	}
	inspect(t, s).have("probes", kv.Warn, "$PARTI.orders.probe.*", "LostAfter", "nats sub")
}

func TestInspectAccount(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	account := ns.GlobalAccount()
	if err := account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": {MaxStore: 100 << 10, MaxMemory: 1 << 20, MaxStreams: 1, MaxConsumers: 10}}); err != nil {
		t.Fatal(err)
	}
	s := open(t, natstest.Connect(t, ns), "orders")
	f := inspect(t, s)
	f.have("account", kv.Wrong, "1 of 1 streams", "lost")
	if _, err := s.Write(t.Context(), kv.Write{Key: "big", Value: make([]byte, 85<<10)}); err != nil {
		t.Fatal(err)
	}
	f = inspect(t, s)
	f.have("account", kv.Warn, "bytes of storage", fmt.Sprint(100<<10), "heartbeat")
}

// A limit that is the largest there is, is no limit that is near.
func TestInspectHugeLimit(t *testing.T) {
	t.Parallel()
	nc := natstest.Connect(t, natstest.Start(t))
	for subject, answer := range map[string]string{
		"HUGE.API.INFO":                        `{"api":{"level":2},"limits":{"max_storage":9223372036854775807,"max_memory":9223372036854775807}}`,
		"HUGE.API.STREAM.INFO.KV_parti-orders": `{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`,
	} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond([]byte(answer)) }); err != nil {
			t.Fatal(err)
		}
	}
	js, err := jetstream.NewWithAPIPrefix(nc, "HUGE.API")
	if err != nil {
		t.Fatal(err)
	}
	all, err := natskv.Inspect(t.Context(), js, "orders", natskv.WithRequestTimeout(2*time.Second))
	found(t, all, err).have("account", kv.Fine, "none of its limits is near")
}

func TestInspectDisconnected(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	w := new(wire)
	s := open(t, natstest.Connect(t, ns, append(natskv.ConnectOptions(), nats.SetCustomDialer(w))...), "orders")
	_, changed := s.Connection()
	w.set(true)
	<-changed
	inspect(t, s).have("connection", kv.Wrong, "not connected")
	_, changed = s.Connection()
	s.Conn().Close()
	<-changed
	inspect(t, s).have("connection", kv.Wrong, "closed for good")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Inspect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestInspectReplicas(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	nc := c.Connect(t, 0, natskv.ConnectOptions()...)
	one := open(t, nc, "one", natskv.WithReplicas(1))
	settled(t, one, func(f findings) bool { return has(f, "replicas", kv.Warn, "one replica") })
	inspect(t, one).have("replicas", kv.Warn, "one replica", "--replicas 3")
	s := open(t, nc, "orders")
	settled(t, s, func(f findings) bool { return has(f, "replicas", kv.Fine, "3 of 3 are current") })
	// The leader, and the server that we are connected to, stay.
	info, err := natstest.JetStream(t, nc).Stream(t.Context(), "KV_parti-orders")
	if err != nil {
		t.Fatal(err)
	}
	for i, ns := range c.Nodes {
		if name := ns.Name(); i != 0 && name != info.CachedInfo().Cluster.Leader {
			natstest.Stop(ns)
			settled(t, s, func(f findings) bool {
				return has(f, "replicas", kv.Warn, "none of these may be lost") && (has(f, "replicas", kv.Warn, "the replica on "+name+" is offline") || has(f, "replicas", kv.Warn, "the replica on "+name+" is not current"))
			})
			return
		}
	}
}

func has(f findings, about string, level kv.Grade, says string) bool {
	for _, one := range f.all {
		if one.About == about && one.Level == level && strings.Contains(one.What, says) {
			return true
		}
	}
	return false
}

// settled inspects until it finds what it should.
func settled(t *testing.T, s *natskv.Store, ok func(findings) bool) {
	t.Helper()
	late := time.After(patience)
	for {
		all, err := s.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f := findings{t, all}
		if ok(f) {
			return
		}
		select {
		case <-late:
			t.Fatalf("it still finds %+v", all)
		default:
		}
	}
}
