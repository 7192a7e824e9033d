package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/natskv"
)

// Nothing that people or programs read of the server has its password, or a token.
func TestServersSecrets(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), Authorization: "t0ken", NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(serverTime) {
		t.Fatal("it is not ready")
	}
	h, err := openHome(t.Context(), "nats://t0ken@"+s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("nats-server %s at nats://xxxxx@%s", server.VERSION, s.Addr()); h.name != want {
		t.Errorf("%q, want %q", h.name, want)
	}

	for _, url := range []string{"nats://t0ken@127.0.0.1:1", "t0ken@127.0.0.1:1", "me:t0ken@127.0.0.1:1", "nats://me:t0ken%@127.0.0.1:1", "nats://me:t0ken/@127.0.0.1:1"} {
		_, err := openHome(t.Context(), url)
		if !errors.As(err, new(*ConnectError)) || strings.Contains(err.Error(), "t0ken") || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// What was made is removed however long the demo has lasted, and also when it was interrupted.
func TestRemoveAll(t *testing.T) {
	h, err := openHome(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.close() })
	nc, err := nats.Connect(h.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	made := newTraffic("g")
	if err := made.provision(t.Context(), js, []string{"p-000"}); err != nil {
		t.Fatal(err)
	}
	if _, err := natskv.Open(t.Context(), js, "g"); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if err := removeAll(over, js, made, "g"); err != nil {
		t.Error(err)
	}
	if info, err := h.server.Jsz(nil); err != nil || info.Streams != 0 {
		t.Errorf("%+v, %v", info, err)
	}
}
