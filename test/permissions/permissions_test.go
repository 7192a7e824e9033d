// Package permissions_test runs fleets on a server that allows their users what package
// permissions says, and nothing else.
package permissions_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/permissions"
	"github.com/parti-go/parti/source"
	"github.com/parti-go/parti/test/natstest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // what goes wrong here does so on purpose
	natstest.Register()
	natstest.VerifyTestMain(m, goleak.IgnoreCurrent())
}

const patience = 2 * time.Minute

// A site is a server whose users are of the roles, and what it has refused them.
type site struct {
	t   *testing.T
	ns  *server.Server
	use permissions.Use

	mu      sync.Mutex
	refused []string
	seen    map[string]bool // subjects that were published
}

func newSite(t *testing.T, use permissions.Use) *site {
	t.Helper()
	s := &site{t: t, use: use, seen: map[string]bool{}}
	s.ns = natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "all", Password: "x"}}
		for _, r := range permissions.Roles() {
			set, err := permissions.For(use, r)
			if err != nil {
				t.Fatal(err)
			}
			p := &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: set.Publish.Allow},
				Subscribe: &server.SubjectPermission{Allow: set.Subscribe.Allow},
			}
			if set.Responses {
				p.Response = &server.ResponsePermission{MaxMsgs: server.DEFAULT_ALLOW_RESPONSE_MAX_MSGS, Expires: server.DEFAULT_ALLOW_RESPONSE_EXPIRATION}
			}
			o.Users = append(o.Users, &server.User{Username: string(r), Password: "x", Permissions: p})
		}
	})
	all := natstest.Connect(t, s.ns, nats.UserInfo("all", "x"))
	// Not $PARTI.>: where somebody listens to probes, nobody is found out who does not.
	for _, subject := range []string{"$JS.>", "$KV.>", "dead"} {
		if _, err := all.Subscribe(subject, func(m *nats.Msg) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.seen[m.Subject] = true
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := all.Flush(); err != nil { // before anybody publishes
		t.Fatal(err)
	}
	return s
}

// connect connects as a user; what it is refused is counted.
func (s *site) connect(user string) jetstream.JetStream {
	s.t.Helper()
	nc := natstest.Connect(s.t, s.ns, append(natskv.ConnectOptions(), nats.UserInfo(user, "x"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.refused = append(s.refused, user+": "+err.Error())
		}
	}))...)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
	if err != nil {
		s.t.Fatal(err)
	}
	return js
}

func (s *site) eventually(what string, cond func() bool) {
	s.t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for !cond() {
		select {
		case <-again.C:
		case <-late:
			s.t.Fatalf("%s did not happen", what)
		}
	}
}

// consume makes the handler that the fleet uses.
func (s *site) consume(js jetstream.JetStream, f consumer.Func, opts ...consumer.Option) (parti.Handler, error) {
	opts = append(opts, consumer.DeadLetter("dead"), consumer.MaxDeliver(1))
	if s.use.Cursors {
		return consumer.NewCursor(s.t.Context(), js, "g", "S", "s.{partition}", f, opts...)
	}
	return consumer.NewDurable(s.t.Context(), js, "g", "S", "s.{partition}", f, opts...)
}

// A fleet of workers that may make nothing lives through a change of leader, a worker
// that is lost and one that comes, and consumes; nothing of what it does is refused, and
// all that it is allowed is needed.
func TestFleet(t *testing.T) {
	for _, cursors := range []bool{false, true} {
		t.Run(map[bool]string{false: "Durable", true: "Cursor"}[cursors], func(t *testing.T) {
			t.Parallel()
			s := newSite(t, permissions.Use{Group: "g", Stream: "S", Cursors: cursors, DeadLetter: "dead"})
			s.fleet()
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, r := range s.refused {
				t.Error(r)
			}
		})
	}
}

func (s *site) fleet() {
	t := s.t
	all := s.connect("all")
	for _, cfg := range []jetstream.StreamConfig{{Name: "S", Subjects: []string{"s.>"}, AllowDirect: true}, {Name: "D", Subjects: []string{"dead"}}} {
		if _, err := all.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	var partitions []parti.Partition
	for i := range 12 {
		partitions = append(partitions, parti.Partition{ID: fmt.Sprint("p", i)})
	}
	s.provide(partitions)

	var processed atomic.Int64
	defer func() { t.Logf("%d messages were processed", processed.Load()) }()
	finish := make(chan struct{})
	work := func(ctx context.Context, m *consumer.Msg) error {
		if string(m.Data) == "bad" {
			return errors.New("bad")
		}
		if string(m.Data) == "slow" { // it is in hand when its worker is lost
			select {
			case <-finish:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		processed.Add(1)
		return nil
	}
	type worker struct {
		*parti.Manager

		nc *nats.Conn
	}
	start := func() worker {
		js := s.connect(string(permissions.Worker))
		store, err := natskv.Open(t.Context(), js, "g")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		h, err := s.consume(js, work, consumer.WithoutCreate())
		if err != nil {
			t.Fatal(err)
		}
		m, err := parti.NewManager(store, source.Static(partitions...), h, parti.Config{SettleTime: 100 * time.Millisecond, ScaleWindow: time.Second, Cooldown: -1})
		if err != nil {
			t.Fatal(err)
		}
		w := worker{m, js.Conn()}
		go func() { _ = m.Start(t.Context()) }()
		t.Cleanup(func() { s.stop(w.Manager) })
		return w
	}
	send := func(text string) {
		for _, p := range partitions {
			if _, err := all.Publish(t.Context(), "s."+p.ID, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	workers := []worker{start(), start(), start()}
	for _, w := range workers {
		s.ready(w.Manager)
	}
	send("good")
	s.eventually("all are processed", func() bool { return processed.Load() >= 12 })
	if n := processed.Load(); n > 12 {
		t.Errorf("%d messages were processed of 12, and no worker was lost", n)
	}
	send("bad")
	dead, err := all.Stream(t.Context(), "D")
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("the dead letters", func() bool {
		info, err := dead.Info(t.Context())
		return err == nil && info.State.Msgs == 12
	})
	send("slow")
	if !s.use.Cursors {
		s.eventually("all are in hand", func() bool { return s.inHand(all) == 12 })
	}
	leader := -1
	s.eventually("somebody leads", func() bool {
		leader = slices.IndexFunc(workers, func(w worker) bool { return w.IsLeader() })
		return leader >= 0
	})
	workers[leader].nc.Close() // lost, with what it has in hand
	workers = append(slices.Delete(workers, leader, leader+1), start())
	close(finish)
	s.eventually("another one leads, and all is owned", func() bool {
		n := 0
		for _, w := range workers {
			n += len(w.CurrentAssignment().Leases)
		}
		return n == 12 && slices.ContainsFunc(workers, func(w worker) bool { return w.IsLeader() })
	})
	send("good")
	s.eventually("all are processed", func() bool { return processed.Load() >= 36 })
	for _, w := range workers {
		s.stop(w.Manager)
	}
	s.needed()
}

func (s *site) stop(m *parti.Manager) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = m.Stop(ctx) // one has lost its connection
}

func (s *site) ready(m *parti.Manager) {
	s.t.Helper()
	select {
	case <-m.Ready():
	case <-time.After(patience):
		s.t.Fatal("a worker does not become ready")
	}
}

// provide makes what workers do not, and sweeps, with a provisioner's permissions.
func (s *site) provide(partitions []parti.Partition) {
	s.t.Helper()
	js := s.connect(string(permissions.Provisioner))
	store, err := natskv.Open(s.t.Context(), js, "g")
	if err != nil {
		s.t.Fatal(err)
	}
	store.Close()
	h, err := s.consume(js, func(context.Context, *consumer.Msg) error { return nil }, consumer.ProvisionOnly())
	if err != nil {
		s.t.Fatal(err)
	}
	if d, ok := h.(*consumer.Durable); ok {
		if err := d.Provision(s.t.Context(), append(partitions, parti.Partition{ID: "gone"})...); err != nil {
			s.t.Fatal(err)
		}
		left, err := d.Sweep(s.t.Context(), partitions, time.Hour)
		if err != nil || len(left) != 1 {
			s.t.Errorf("%v, %v", left, err)
		}
	}
	if err := h.Run(s.t.Context(), parti.NewLease(parti.Partition{ID: "p0"}, 1, nil, nil)); err == nil {
		s.t.Error("a provisioner runs a partition")
	}
}

// inHand is how many messages are in hand.
func (s *site) inHand(js jetstream.JetStream) (n int) {
	st, err := js.Stream(s.t.Context(), "S")
	if err != nil {
		s.t.Fatal(err)
	}
	list := st.ListConsumers(s.t.Context())
	for info := range list.Info() {
		n += info.NumAckPending
	}
	return n
}

// rare are permissions that a day like this one does not use.
var rare = []string{
	"$JS.ACK.*.*.S.>",                                                                                                  // this server acknowledges by the other form
	"$PARTI.g.probe.>",                                                                                                 // it is used, but not seen here
	"$JS.API.STREAM.UPDATE.KV_parti-g", "$JS.API.STREAM.PURGE.KV_parti-g", "$JS.API.STREAM.LEADER.STEPDOWN.KV_parti-g", // a bucket that is wrong, or was lost
}

// needed says which permissions nobody has used.
func (s *site) needed() {
	s.t.Helper()
	set, err := permissions.For(s.use, permissions.Worker, permissions.Provisioner)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, allowed := range set.Publish.Allow {
		s.eventually("that somebody needs to publish to "+allowed, func() bool { // the last one may not have come yet
			s.mu.Lock()
			defer s.mu.Unlock()
			used := slices.Contains(rare, allowed)
			for subject := range s.seen {
				used = used || matches(allowed, subject)
			}
			return used
		})
	}
}

func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s), token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}

// What is none of a worker's business is refused to it.
func TestForbidden(t *testing.T) {
	s := newSite(t, permissions.Use{Group: "g", Stream: "S", DeadLetter: "dead"})
	nc := s.connect(string(permissions.Worker)).Conn()
	for _, subject := range []string{
		"$KV.parti-other.plan", "$JS.API.STREAM.DELETE.KV_parti-g", "$JS.API.STREAM.CREATE.KV_parti-g", "$JS.API.STREAM.PURGE.KV_parti-g",
		"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.DELETE.S", "$JS.API.CONSUMER.DELETE.S.g~p0", "$JS.API.CONSUMER.CREATE.S.x.s.p0", "s.p0", "anything",
	} {
		before := nc.LastError()
		if err := nc.Publish(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := nc.LastError(); err == before || !errors.Is(err, nats.ErrPermissionViolation) { //nolint:errorlint // is it that very one
			t.Errorf("a worker may publish to %s", subject)
		}
	}
	for _, subject := range []string{">", "s.>", "$KV.>", "$JS.>"} {
		before := nc.LastError()
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := nc.LastError(); err == before || !errors.Is(err, nats.ErrPermissionViolation) { //nolint:errorlint // is it that very one
			t.Errorf("a worker may subscribe to %s", subject)
		}
	}
}

// A bucket that somebody has made with the KV API, which lets replicas answer, needs no
// more permissions.
func TestCursorBucketOfTheKVAPI(t *testing.T) {
	s := newSite(t, permissions.Use{Group: "g", Stream: "S", Cursors: true, DeadLetter: "dead"})
	all := s.connect("all")
	for _, cfg := range []jetstream.StreamConfig{{Name: "S", Subjects: []string{"s.>"}}, {Name: "D", Subjects: []string{"dead"}}} {
		if _, err := all.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	kv, err := all.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "g-cursors"})
	if err != nil {
		t.Fatal(err)
	}
	var h parti.Handler
	for token := range uint64(2) { // the second reads what the first has written
		processed := make(chan struct{}, 1)
		h, err = s.consume(s.connect(string(permissions.Worker)), func(context.Context, *consumer.Msg) error {
			processed <- struct{}{}
			return nil
		}, consumer.WithoutCreate())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := all.Publish(t.Context(), "s.p", nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- h.Run(ctx, parti.NewLease(parti.Partition{ID: "p"}, token+1, t.Context(), func() error { return nil }))
		}()
		select {
		case <-processed:
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatal("nothing is processed")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if e, err := kv.Get(t.Context(), "S.p"); err != nil || !strings.Contains(string(e.Value()), `"done":2`) {
		t.Errorf("%v, %v", e, err)
	}
	left, err := h.(*consumer.Cursor).Sweep(t.Context(), []parti.Partition{{ID: "q"}}, time.Hour) //nolint:forcetypeassert // it is one
	if err != nil || len(left) != 1 || left[0].Partition != "p" {
		t.Errorf("%+v, %v", left, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.refused {
		t.Error(r)
	}
}

// An observer sees all, and an operator steers; neither is refused anything, and an
// observer that steers is told what it lacks.
func TestAdmin(t *testing.T) {
	s := newSite(t, permissions.Use{Group: "g"})
	open := func(r permissions.Role, opts ...natskv.Option) *natskv.Store {
		t.Helper()
		store, err := natskv.Open(t.Context(), s.connect(string(r)), "g", opts...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		return store
	}
	open(permissions.Provisioner)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var workers []*parti.Manager
	defer func() {
		for _, m := range workers {
			if err := m.Stop(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		}
	}()
	for range 2 {
		m, err := parti.NewManager(open(permissions.Worker), source.Static(parti.Partition{ID: "p"}, parti.Partition{ID: "q"}),
			parti.HandlerFunc(func(ctx context.Context, _ parti.Lease) error { <-ctx.Done(); return nil }),
			parti.Config{SettleTime: 100 * time.Millisecond, Cooldown: 100 * time.Millisecond, ScaleWindow: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(ctx); err != nil {
			t.Fatal(err)
		}
		workers = append(workers, m)
	}

	observer, operator := admin.Open(open(permissions.Observer, natskv.WithoutBarrier())), admin.Open(open(permissions.Operator, natskv.WithoutBarrier()))
	began, told := make(chan struct{}), make(chan struct{}, 1)
	events, end := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() {
		followed <- observer.Events(events, func() { close(began) }, func(e admin.Event) {
			if e.Kind == admin.ControlSet {
				select {
				case told <- struct{}{}:
				default:
				}
			}
		})
	}()
	<-began
	var now admin.Snapshot
	for now.Leader == nil || !now.Leader.Answers { // it may be too busy for a moment
		if err := observer.AwaitSettled(ctx, func(s admin.Snapshot) { now = s }); err != nil {
			t.Fatalf("%+v, %v", now, err)
		}
		<-time.After(10 * time.Millisecond)
	}
	if _, err := observer.Explain(ctx, "p"); err != nil {
		t.Error(err)
	}
	id := workers[0].WorkerID()
	for what, order := range map[string]func() (admin.Change, error){
		"pause":     func() (admin.Change, error) { return operator.Pause(ctx, admin.Order{}) },
		"resume":    func() (admin.Change, error) { return operator.Resume(ctx) },
		"cordon":    func() (admin.Change, error) { return operator.Cordon(ctx, id, admin.Order{}) },
		"rebalance": func() (admin.Change, error) { return operator.Rebalance(ctx, admin.Order{}) },
		"step down": func() (admin.Change, error) { return operator.StepDown(ctx, admin.Order{}) },
	} {
		if _, err := order(); err != nil && what != "resume" { // in whatever order
			t.Errorf("%s: %v", what, err)
		}
	}
	<-told
	end()
	if err := <-followed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.mu.Lock()
	for _, r := range s.refused {
		t.Error(r)
	}
	s.refused = nil
	s.mu.Unlock()

	if _, err := observer.Pause(ctx, admin.Order{For: time.Hour}); err == nil || !strings.Contains(err.Error(), `not permitted to publish to "$KV.parti-g.control.pause"`) {
		t.Errorf("an observer steers: %v", err)
	}
}

func TestRefusedUse(t *testing.T) {
	for _, c := range []struct {
		use   permissions.Use
		roles []permissions.Role
		want  string
	}{
		{permissions.Use{Group: "g"}, nil, "no role"},
		{permissions.Use{Group: "g"}, []permissions.Role{"king"}, `role "king"`},
		{permissions.Use{Group: "a.b"}, permissions.Roles(), `group "a.b"`},
		{permissions.Use{Group: "g", Stream: "a.b"}, permissions.Roles(), `stream "a.b"`},
		{permissions.Use{Group: "g", DeadLetter: "dead"}, permissions.Roles(), "name it"},
		{permissions.Use{Group: "g", Stream: "S", CursorBucket: "b"}, permissions.Roles(), "is for cursors"},
	} {
		if _, err := permissions.For(c.use, c.roles...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.use, err, c.want)
		}
	}
}
