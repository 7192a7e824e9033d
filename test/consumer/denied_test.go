package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/consumer"
	"github.com/parti-go/parti/natskv"
	"github.com/parti-go/parti/test/natstest"
)

// Each permission that a worker needs and does not have is told before anything runs, by
// the name of its subject; and what was asked leaves nothing behind.
func TestDenied(t *testing.T) {
	t.Parallel()
	durable := func(ctx context.Context, js jetstream.JetStream) error {
		_, err := consumer.NewDurable(ctx, js, "g", "S", "s.{partition}", func(context.Context, *consumer.Msg) error { return nil }, consumer.DeadLetter("dead"))
		return err
	}
	cursor := func(ctx context.Context, js jetstream.JetStream) error {
		_, err := consumer.NewCursor(ctx, js, "g", "S", "s.{partition}", func(context.Context, *consumer.Msg) error { return nil })
		return err
	}
	cases := []struct {
		begin func(context.Context, jetstream.JetStream) error
		deny  string // and a subject of it is named
		named string
	}{
		{durable, "none", ""},
		{durable, "$JS.API.STREAM.INFO.S", "$JS.API.STREAM.INFO.S"},
		{durable, "$JS.API.STREAM.NAMES", "$JS.API.STREAM.NAMES"},
		{durable, "dead", "dead"},
		{durable, "$JS.API.CONSUMER.INFO.S.*", "$JS.API.CONSUMER.INFO.S.g~nobody"},
		{durable, "$JS.API.CONSUMER.MSG.NEXT.S.*", "$JS.API.CONSUMER.MSG.NEXT.S.g~nobody"},
		{durable, "$JS.API.CONSUMER.CREATE.S.>", "$JS.API.CONSUMER.CREATE.S.g~nobody.s.nobody"},
		{durable, "$JS.API.STREAM.MSG.GET.S", "$JS.API.STREAM.MSG.GET.S"},
		{durable, "$JS.ACK.S.>", "$JS.ACK.S.g~nobody.1.1.1.0.0"},
		{cursor, "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.CREATE.KV_g-cursors"}, // it is not there yet
		{cursor, "none", ""},
		{cursor, "$JS.API.STREAM.CREATE.*", ""},
		{cursor, "$JS.API.STREAM.INFO.KV_g-cursors", "$JS.API.STREAM.INFO.KV_g-cursors"},
		{cursor, "$JS.API.STREAM.MSG.GET.KV_g-cursors", "$JS.API.STREAM.MSG.GET.KV_g-cursors"},
		{cursor, "$JS.API.CONSUMER.CREATE.S.>", "$JS.API.CONSUMER.CREATE.S.g~nobody"},
		{cursor, "$JS.API.CONSUMER.DELETE.S.*", "$JS.API.CONSUMER.DELETE.S.g~nobody"},
		{cursor, "$KV.>", "$KV.g-cursors.S.=7Enobody"},
	}
	ns := natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "all", Password: "x"}}
		for i, c := range cases {
			o.Users = append(o.Users, &server.User{
				Username: fmt.Sprint("user", i), Password: "x",
				Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{c.deny}}},
			})
		}
	})
	all := jetStream(t, natstest.Connect(t, ns, nats.UserInfo("all", "x")))
	for _, cfg := range []jetstream.StreamConfig{{Name: "S", Subjects: []string{"s.>"}}, {Name: "D", Subjects: []string{"dead"}}} {
		if _, err := all.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range cases {
		err := c.begin(t.Context(), jetStream(t, natstest.Connect(t, ns, nats.UserInfo(fmt.Sprint("user", i), "x"))))
		var denied *consumer.DeniedError
		switch {
		case c.named == "":
			if err != nil {
				t.Errorf("denied %s: %v", c.deny, err)
			}
		case !errors.As(err, &denied) || denied.Subject != c.named || !errors.As(err, new(*natskv.DeniedError)):
			t.Errorf("denied %s: %v", c.deny, err)
		}
	}
	for name, consumers := range map[string]int{"S": 0, "D": 0, "KV_g-cursors": 0} {
		s, err := all.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if state := s.CachedInfo().State; state.Msgs != 0 || state.Consumers != consumers {
			t.Errorf("%s: %+v", name, state)
		}
	}
}

// Who cannot hear answers is told so, at once, by the name of the subject.
func TestDeaf(t *testing.T) {
	t.Parallel()
	ns := natstest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "x"},
			{Username: "deaf", Password: "x", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Allow: []string{"_OTHER.>"}}}},
		}
	})
	all := jetStream(t, natstest.Connect(t, ns, nats.UserInfo("all", "x")))
	if _, err := all.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	none := func(context.Context, *consumer.Msg) error { return nil }
	for prefix, heard := range map[string]bool{"_INBOX": false, "_OTHER": true, "_OTHER.mine": true} {
		js := jetStream(t, natstest.Connect(t, ns, nats.UserInfo("deaf", "x"), nats.CustomInboxPrefix(prefix)))
		began := time.Now()
		_, err := consumer.NewDurable(t.Context(), js, "g", "S", "s.{partition}", none)
		var denied *consumer.DeniedError
		switch {
		case heard && err != nil:
			t.Errorf("%s: %v", prefix, err)
		case !heard && (!errors.As(err, &denied) || denied.Op != "subscribe" || denied.Subject != prefix+".>"):
			t.Errorf("%s: %v", prefix, err)
		}
		if took := time.Since(began); took > 8*time.Second { // silence costs ten
			t.Errorf("%s: it took %v", prefix, took)
		}
	}
}
