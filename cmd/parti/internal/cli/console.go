package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/parti-go/parti/console"
)

// consoleAddress is where a console listens unless it is told otherwise.
const consoleAddress = "127.0.0.1:7278"

// A consoleCommand is one run of console.
type consoleCommand struct {
	target

	json                bool
	listen, token       string
	readOnly, unguarded bool
}

func newConsole(s *Streams, g *global) *cobra.Command {
	x := &consoleCommand{}
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Show and steer a group in a browser",
		Long: `Serve a group's console until it is interrupted, and print where it is: what is happening and what
it waits for, who has which partition and why, what moved and at what cost, what would happen
without a worker. What the command line can do to a group, it can, and it asks first.

It listens on this machine only, and asks for a token that is made for it and stands in the address
that is printed. To listen elsewhere it must be given one, best in PARTI_CONSOLE_TOKEN, since others
on this machine see the command line; or --insecure, when something in front of it decides who comes
in. It speaks HTTP: off this machine put something that speaks TLS in front.`,
		Example: `  parti console --group orders
  PARTI_CONSOLE_TOKEN=$(openssl rand -hex 16) parti console --listen 10.0.0.7:7278 --read-only`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			x.json = g.json
			return x.run(cmd.Context())
		},
	}
	x.flags(cmd, s)
	f := cmd.Flags()
	f.StringVar(&x.listen, "listen", consoleAddress, "the `address` to listen on; port 0 is any that is free")
	f.StringVar(&x.token, "token", "", "the `token` to ask for; also PARTI_CONSOLE_TOKEN")
	f.BoolVar(&x.readOnly, "read-only", false, "show, and do not steer")
	f.BoolVar(&x.unguarded, "insecure", false, "let in whoever reaches it")
	f.StringVar(&x.who, "as", "", "who steers, for the record; without it, the `user` of this process at its host, or, where it has not made the token itself, the address that a request comes from")
	return cmd
}

func (x *consoleCommand) run(ctx context.Context) error {
	s := x.streams
	if x.token == "" {
		x.token = s.Env("PARTI_CONSOLE_TOKEN")
	}
	if err := x.check(); err != nil {
		return err
	}
	opening, done := x.bounded(ctx)
	defer done()
	w, err := x.open(opening)
	if err != nil {
		return err
	}
	defer w.close()
	if _, err := w.Snapshot(opening); err != nil {
		return x.failed(w.name, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", x.listen)
	if err != nil {
		return &Error{Code: Failed, What: "the console cannot listen", Why: err, Try: "--listen 127.0.0.1:0, which is a port that is free"}
	}
	made := ""
	if x.token == "" && !x.unguarded {
		made = rand.Text()
	}
	opts := []console.Option{console.WithToken(cmp.Or(x.token, made))}
	if x.who != "" || made != "" { // only who has the address comes in
		opts = append(opts, console.WithWho(func(*http.Request) string { return x.who }))
	}
	if x.readOnly {
		opts = append(opts, console.WithReadOnly())
	}
	if x.unguarded {
		opts = append(opts, console.WithoutGuard())
	}
	c := console.New(w.Group, w.name, opts...)
	defer c.Close()
	at := "http://" + l.Addr().String() + "/"
	if made != "" {
		at += "?token=" + made
	}
	if x.json {
		err = writeJSON(s.Out, struct {
			Schema int    `json:"schema"`
			URL    string `json:"url"`
		}{1, at})
	} else {
		_, err = fmt.Fprintln(s.Out, at)
	}
	if err != nil {
		_ = l.Close()
		return err
	}
	fmt.Fprintf(s.Err, "The console of group %s is there until it is interrupted.\n", w.name)
	if err := c.Serve(ctx, l); err != nil {
		return &Error{Code: Failed, What: "the console has ended", Why: err}
	}
	return nil
}

// check is whether the address is one that it may listen on, before anything is asked of NATS.
func (x *consoleCommand) check() error {
	host, _, err := net.SplitHostPort(x.listen)
	if err != nil {
		return usage(fmt.Errorf("--listen %s: %w", x.listen, err), "parti console --listen "+consoleAddress)
	}
	at, err := netip.ParseAddr(host)
	if x.token == "" && !x.unguarded && host != "localhost" && (err != nil || !at.IsLoopback()) {
		return usage(fmt.Errorf("--listen %s without a token: %w", x.listen, console.ErrOpen), "PARTI_CONSOLE_TOKEN=$(openssl rand -hex 16) parti console --listen "+x.listen)
	}
	return nil
}
