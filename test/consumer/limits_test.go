package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/test/natstest"
)

// Who provides consumers is told how many there may be, how many there are and how many
// are missing: before any is made, where that can be known.
func TestConsumerLimit(t *testing.T) {
	t.Parallel()
	tiers := func(of ...int) map[string]server.JetStreamAccountLimits {
		limits := map[string]server.JetStreamAccountLimits{}
		for i, n := range of {
			limits[[]string{"R1", "R3"}[i]] = server.JetStreamAccountLimits{MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: n}
		}
		return limits
	}
	flat := func(n int) map[string]server.JetStreamAccountLimits {
		return map[string]server.JetStreamAccountLimits{"": {MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: n}}
	}
	for _, c := range []struct {
		name    string
		stream  int // its max_consumers
		account map[string]server.JetStreamAccountLimits
		server  int // its default_max_consumers
		want    string
		made    int // of three, beside one that was there
	}{
		{"none", 0, nil, -1, "", 3},
		{"enough", 4, flat(4), 1, "", 3},
		{"stream", 3, nil, 0, "may have 3 consumers, has 1, and 3 more are needed: raise its max_consumers", 0},
		{"account", 0, flat(3), 0, "may have 3 consumers by the limit of its account, has 1, and 3 more are needed: raise the account's", 0},
		{"tier", 0, tiers(2, 9), 0, "may have 2 consumers by the limit of its account, has 0, and 3 more are needed", 0},
		{"another tier", 0, tiers(9, 2), 0, "", 3},
		{"server", 0, nil, 3, "has 3 consumers, may have no more, and 1 more are needed", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := server.NewAccount("A")
			ns := natstest.Start(t, func(o *server.Options) {
				o.Accounts = []*server.Account{a}
				o.Users = []*server.User{{Username: "u", Password: "x", Account: a}, {Username: "few", Password: "x", Account: a, Permissions: &server.Permissions{
					Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"$JS.API.INFO"}},
				}}}
				o.JetStreamLimits.DefaultMaxConsumers = c.server
			})
			if c.account == nil {
				c.account = flat(-1)
			}
			if a, err := ns.LookupAccount("A"); err != nil {
				t.Fatal(err)
			} else if err := a.EnableJetStream(c.account, nil); err != nil {
				t.Fatal(err)
			}
			js := jetStream(t, natstest.Connect(t, ns, nats.UserInfo("u", "x")))
			s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, MaxConsumers: c.stream})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "another"}); err != nil {
				t.Fatal(err)
			}
			provide := func(user string) error {
				js := jetStream(t, natstest.Connect(t, ns, nats.UserInfo(user, "x")))
				d, err := consumer.NewDurable(t.Context(), js, "g", "S", "s.{partition}", func(context.Context, *consumer.Msg) error { return nil })
				if err != nil {
					t.Fatal(err)
				}
				return d.Provision(t.Context(), parti.Partition{ID: "a"}, parti.Partition{ID: "b"}, parti.Partition{ID: "c"})
			}
			err = provide("u")
			var no *consumer.StreamError
			if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &no) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			info, err := s.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := info.State.Consumers - 1; got != c.made {
				t.Errorf("%d were made, want %d", got, c.made)
			}
			if err := provide("few"); (err == nil) != (c.want == "") || err != nil && !errors.As(err, &no) { // it may not ask for the account's
				t.Error(err)
			}
		})
	}
}

// A worker that may make no consumers, or remove none, is told which permission it lacks
// as soon as it is asked to, and not by silence.
func TestDeniedToManage(t *testing.T) {
	t.Parallel()
	cases := []struct{ deny, named string }{
		{"$JS.API.CONSUMER.CREATE.S.>", "$JS.API.CONSUMER.CREATE.S.g~nobody.s.nobody"},
		{"$JS.API.CONSUMER.NAMES.S", "$JS.API.CONSUMER.NAMES.S"},
		{"$JS.API.CONSUMER.LIST.S", "$JS.API.CONSUMER.LIST.S"},
		{"$JS.API.CONSUMER.DELETE.S.*", "$JS.API.CONSUMER.DELETE.S.g~nobody"},
	}
	ns := natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "all", Password: "x"}}
		for i, c := range cases {
			o.Users = append(o.Users, &server.User{Username: fmt.Sprint("user", i), Password: "x", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{c.deny}},
			}})
		}
	})
	all := jetStream(t, natstest.Connect(t, ns, nats.UserInfo("all", "x")))
	s, err := all.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, MaxConsumers: 9})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		js := jetStream(t, natstest.Connect(t, ns, nats.UserInfo(fmt.Sprint("user", i), "x")))
		began := time.Now()
		d, err := consumer.NewDurable(t.Context(), js, "g", "S", "s.{partition}", func(context.Context, *consumer.Msg) error { return nil }, consumer.WithoutCreate())
		if err != nil {
			t.Fatal(err)
		}
		provided := d.Provision(t.Context(), parti.Partition{ID: "a"})
		_, swept := d.Sweep(t.Context(), []parti.Partition{{ID: "a"}}, time.Hour)
		var denied *consumer.DeniedError
		if err := errors.Join(provided, swept); !errors.As(err, &denied) || denied.Subject != c.named {
			t.Errorf("denied %s: %v", c.deny, err)
		}
		if took := time.Since(began); took > 8*time.Second { // silence costs ten
			t.Errorf("denied %s: it took %v", c.deny, took)
		}
		if i > 1 {
			continue // it may provide
		}
		if info, err := s.Info(t.Context()); err != nil || info.State.Consumers != 0 {
			t.Errorf("denied %s: %+v, %v", c.deny, info, err)
		}
	}
}

// A stream that removes consumers when nobody pulls from them is refused, as is a consumer
// that would go: with it would go how far its partition is done. A cursor does not mind, as
// long as its readers outlive the time between two pulls.
func TestInactiveThreshold(t *testing.T) {
	t.Parallel()
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	none := func(context.Context, *consumer.Msg) error { return nil }
	for _, c := range []struct {
		stream          string
		after           time.Duration
		durable, cursor string
	}{
		{"NEVER", 0, "", ""},
		{"LATE", time.Minute, "removes each consumer that nobody pulls from for 1m0s", ""},
		{"SOON", 10 * time.Second, "take inactive_threshold out of its consumer_limits", "raise inactive_threshold of its consumer_limits to 30s"},
	} {
		makeStreams(t, js, jetstream.StreamConfig{
			Name: c.stream, Subjects: []string{c.stream + ".*"}, ConsumerLimits: jetstream.StreamConsumerLimits{InactiveThreshold: c.after},
		})
		_, durable := consumer.NewDurable(t.Context(), js, "g", c.stream, c.stream+".{partition}", none)
		_, cursor := consumer.NewCursor(t.Context(), js, "g", c.stream, c.stream+".{partition}", none)
		for _, got := range []struct {
			err  error
			want string
		}{{durable, c.durable}, {cursor, c.cursor}} {
			var no *consumer.StreamError
			if (got.want == "") != (got.err == nil) || got.err != nil && (!errors.As(got.err, &no) || !strings.Contains(got.err.Error(), got.want)) {
				t.Errorf("%s: %v, want %q", c.stream, got.err, got.want)
			}
		}
	}
	_, err := js.CreateConsumer(t.Context(), "NEVER", jetstream.ConsumerConfig{
		Durable: "g~a", FilterSubject: "NEVER.a", AckPolicy: jetstream.AckExplicitPolicy, InactiveThreshold: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	d, err := consumer.NewDurable(t.Context(), js, "g", "NEVER", "NEVER.{partition}", none)
	if err != nil {
		t.Fatal(err)
	}
	var wrong *consumer.SettingsError
	if err := d.Provision(t.Context(), parti.Partition{ID: "a"}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "inactive_threshold is 1h0m0s, must be 0") {
		t.Error(err)
	}
}

// A server may take only requests for a few messages. It refuses others each time, and so it is
// asked for no more.
func TestRequestLimit(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t, func(o *server.Options) { o.JetStreamLimits.MaxRequestBatch = 4 })
	one := siteOf(ns)
	for _, cursors := range []bool{false, true} {
		t.Run(map[bool]string{false: "Durable", true: "Cursor"}[cursors], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, one, jetstream.LimitsPolicy)
			w.cursors = cursors
			x := w.owner("o", nil).run("p", 1)
			w.send("p", 20)
			w.exactly("p", 20)
			x.release(t)
		})
	}
}

// A consumer that refuses each request is named, with what is to be edited: before anything is
// asked of it, and when it was edited meanwhile.
func TestConsumerThatRefuses(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t)
	w := newWorld(t, siteOf(ns), jetstream.LimitsPolicy)
	o := w.owner("o", nil)
	x := o.run("p", 1)
	w.send("p", 1)
	w.exactly("p", 1)
	cfg := w.config("p", func(string) bool { return true })
	cfg.MaxRequestExpires, cfg.MaxRequestMaxBytes = time.Second, 1<<20
	if _, err := w.js.UpdateConsumer(t.Context(), w.stream, cfg); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-x.ended:
		if err == nil || !strings.Contains(err.Error(), "was edited, and refuses") {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("nobody notices")
	}
	x = o.run("p", 1)
	var wrong *consumer.SettingsError
	if err := <-x.ended; !errors.As(err, &wrong) || !strings.Contains(err.Error(), "max_expires is 1s, must be 0") || !strings.Contains(err.Error(), "max_bytes is 1048576, must be 0") {
		t.Error(err)
	}
	o.pending("p", 0) // who only looks asks for no messages
}

// Somebody has edited a consumer so that it would give out again what is in hand, and without
// data: it is as it was as soon as its partition begins. Where that is not permitted, nothing is
// processed without data.
func TestEditIsUndone(t *testing.T) {
	t.Parallel()
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	makeStreams(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}})
	d, err := consumer.NewDurable(t.Context(), js, "g", "S", "s.{partition}", func(context.Context, *consumer.Msg) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	config := func() jetstream.ConsumerConfig {
		t.Helper()
		if err := d.Provision(t.Context(), parti.Partition{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(t.Context(), "S", "g~a")
		if err != nil {
			t.Fatal(err)
		}
		return c.CachedInfo().Config
	}
	cfg := config()
	cfg.BackOff, cfg.HeadersOnly = []time.Duration{time.Second, time.Minute}, true
	if _, err := js.UpdateConsumer(t.Context(), "S", cfg); err != nil {
		t.Fatal(err)
	}
	if cfg = config(); len(cfg.BackOff) > 0 || cfg.HeadersOnly || cfg.AckWait != 30*time.Second {
		t.Errorf("%+v", cfg)
	}
	cfg.HeadersOnly = true
	if _, err := js.UpdateConsumer(t.Context(), "S", cfg); err != nil {
		t.Fatal(err)
	}
	d, err = consumer.NewDurable(t.Context(), js, "g", "S", "s.{partition}", func(context.Context, *consumer.Msg) error { return nil }, consumer.WithoutCreate())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wrong *consumer.SettingsError
	if err := d.Run(ctx, parti.NewLease(parti.Partition{ID: "a"}, 1, nil, nil)); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "headers only") {
		t.Error(err)
	}
}

// A stream may have no more consumers than there are: the partitions that come are read by the
// readers that a Cursor has.
func TestReadersLimit(t *testing.T) {
	t.Parallel()
	js := jetStream(t, natstest.Connect(t, natstest.Start(t)))
	makeStreams(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, MaxConsumers: 1})
	got := make(chan string, 10)
	c, err := consumer.NewCursor(t.Context(), js, "g", "S", "s.{partition}", func(_ context.Context, m *consumer.Msg) error {
		got <- m.Partition
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for _, p := range []string{"a", "b", "c"} {
		all.Go(func() {
			if err := c.Run(ctx, parti.NewLease(parti.Partition{ID: p}, 1, nil, nil)); err != nil {
				t.Error(err)
			}
		})
		if _, err := js.Publish(t.Context(), "s."+p, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case partition := <-got:
			if partition != p {
				t.Errorf("a message of %s, want one of %s", partition, p)
			}
		case <-time.After(patience):
			t.Fatalf("%s is not read", p)
		}
	}
}
