package demo

import (
	"context"
	"errors"
	"fmt"
	neturl "net/url"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// A home is where the demo's NATS is: a server in this process, or one elsewhere.
type home struct {
	url    string
	name   string // for people
	server *server.Server
	dir    string
}

const serverTime = 15 * time.Second

var errNoURL = errors.New("it is no URL of a server, such as " + nats.DefaultURL)

// openHome starts a server on loopback whose data is in a temporary directory, or
// looks at the one at url.
func openHome(ctx context.Context, url string) (*home, error) {
	if url != "" {
		return visit(ctx, url)
	}
	dir, err := os.MkdirTemp("", "parti-demo-")
	if err != nil {
		return nil, fmt.Errorf("a place for the server's data: %w", err)
	}
	h := &home{dir: dir, name: "embedded nats-server " + server.VERSION}
	h.server, err = server.NewServer(&server.Options{
		ServerName: "parti-demo", Host: "127.0.0.1", Port: -1,
		JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the embedded server: %w", err), h.close())
	}
	h.server.Start()
	if !h.server.ReadyForConnections(serverTime) {
		return nil, errors.Join(fmt.Errorf("the embedded server is not ready after %v", serverTime), h.close())
	}
	h.url = h.server.ClientURL()
	return h, nil
}

// visit looks at the server at url.
func visit(ctx context.Context, url string) (*home, error) {
	nc, err := nats.Connect(url, nats.Timeout(requestTime), nats.Name("parti demo"))
	switch {
	case errors.As(err, new(*neturl.Error)):
		return nil, &ConnectError{URL: show.Redacted(url), Err: errNoURL} // theirs quotes all of it
	case err != nil:
		return nil, &ConnectError{URL: show.Redacted(url), Err: err}
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	try, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if _, err := js.AccountInfo(try); err != nil {
		return nil, &ConnectError{URL: show.Redacted(url), Err: fmt.Errorf("ask for JetStream: %w", err)}
	}
	return &home{url: url, name: fmt.Sprintf("nats-server %s at %s", nc.ConnectedServerVersion(), show.Redacted(nc.ConnectedUrl()))}, nil
}

// close stops the server and removes its data.
func (h *home) close() error {
	if h.server != nil {
		h.server.Shutdown()
		h.server.WaitForShutdown()
	}
	if h.dir == "" {
		return nil
	}
	return os.RemoveAll(h.dir)
}

// A ConnectError says that there is no NATS to be had.
type ConnectError struct {
	URL string
	Err error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("no NATS with JetStream at %s: %v", e.URL, e.Err)
}

// Unwrap is the client's error.
func (e *ConnectError) Unwrap() error { return e.Err }
