package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/pflag"

	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// A connection is how a command reaches NATS, and as whom: what flags say comes
// first, then a context of the nats command, then the environment, then the default.
//
// The context is that of --context or NATS_CONTEXT; else, where neither --nats nor
// NATS_URL says which server, the one that the nats command has selected.
type connection struct {
	values   map[string]*string // by field
	name     string             // of the context
	tlsFirst bool
	used     access // since connect
}

// An access is one source's settings, or all of them together, by field. The fields
// have the names that they have in a context's file.
type access map[string]setting

// A setting is a value and where it is from, for errors.
type setting struct{ value, from string }

func (a access) set(field, value, from string) {
	if value != "" {
		a[field] = setting{value, from}
	}
}

// settings are those that have a flag.
var settings = []struct{ field, flag, env, says string }{
	{"url", "nats", "NATS_URL", "the `URL` of a server; several are joined by commas; without it, " + nats.DefaultURL},
	{"creds", "creds", "NATS_CREDS", "a `file` with credentials"},
	{"nkey", "nkey", "NATS_NKEY", "a `file` with an nkey's seed"},
	{"user", "user", "NATS_USER", "a `user`; without a password it is a token"},
	{"password", "password", "NATS_PASSWORD", "its `password`"},
	{"cert", "tlscert", "NATS_CERT", "a `file` with a TLS certificate to show"},
	{"key", "tlskey", "NATS_KEY", "a `file` with its key"},
	{"ca", "tlsca", "NATS_CA", "a `file` with the authorities that certify servers"},
	{"jetstream_domain", "js-domain", "", "the JetStream `domain`"},
	{"inbox_prefix", "inbox-prefix", "", "a `prefix` for inboxes instead of _INBOX"},
}

// logins are the fields that say who somebody is. All are of one source, the first
// that has any; only the password may be of another, and is the first that is given.
var logins = []string{"creds", "nkey", "user", "token", "user_jwt", "user_seed", "password"}

// flags adds the flags of a connection.
func (c *connection) flags(f *pflag.FlagSet) {
	c.values = map[string]*string{}
	for _, s := range settings {
		says := s.says
		if s.env != "" {
			says += "; also " + s.env
		}
		c.values[s.field] = f.String(s.flag, "", says)
	}
	f.StringVar(&c.name, "context", "", "a `context` of the nats command; also NATS_CONTEXT")
	f.BoolVar(&c.tlsFirst, "tls-first", false, "begin with TLS, without waiting for the server's greeting")
	for _, s := range settings {
		_ = f.SetAnnotation(s.flag, section, []string{connectionSection})
	}
	_ = f.SetAnnotation("context", section, []string{connectionSection})
	_ = f.SetAnnotation("tls-first", section, []string{connectionSection})
}

// connectionSection is the heading in the help under which these flags stand.
const connectionSection = "connection"

// access puts together what all sources say.
func (c *connection) access(ctx context.Context, s *Streams) (access, error) {
	flags, env := access{}, access{}
	for _, known := range settings {
		if v := c.values[known.field]; v != nil {
			flags.set(known.field, *v, "--"+known.flag)
		}
		if known.env != "" {
			env.set(known.field, s.Env(known.env), known.env)
		}
	}
	if c.tlsFirst {
		flags.set("tls_first", "true", "--tls-first")
	}
	contexts := contextsOf(s.Env)
	name := cmp.Or(c.name, s.Env("NATS_CONTEXT"))
	if name == "" && flags["url"].value == "" && env["url"].value == "" {
		name = contexts.selected()
	}
	sources := []access{flags, env}
	if name != "" {
		named, err := contexts.load(ctx, s.Env, name)
		if err != nil {
			return nil, err
		}
		sources = []access{flags, named, env}
	}
	a := merge(sources)
	if a["url"].value == "" {
		a.set("url", nats.DefaultURL, "the default")
	}
	return a, a.check()
}

// merge takes each setting from the first source that has it.
func merge(sources []access) access {
	all, known := access{}, false
	for _, source := range sources {
		for _, field := range logins {
			// Until it is known who it is, there is a password at most: an earlier source's.
			if _, has := all[field]; !known && !has {
				if s, ok := source[field]; ok {
					all[field] = s
				}
			}
		}
		_, password := all["password"]
		known = len(all) > 1 || len(all) == 1 && !password // a lone password is nobody's
		_, user := all["user"]
		if s, ok := source["password"]; ok && user && !password {
			all["password"] = s
		}
	}
	for _, source := range sources {
		for field, s := range source {
			if _, has := all[field]; !has && !slices.Contains(logins, field) {
				all[field] = s
			}
		}
	}
	return all
}

// check says what is wrong before a server is asked.
func (a access) check() error {
	const try = "parti status --help"
	for _, field := range []string{"creds", "nkey", "cert", "key", "ca"} {
		s, ok := a[field]
		if !ok {
			continue
		}
		file, err := os.Open(s.value)
		if err != nil {
			return usage(fmt.Errorf("%s: %w", s.from, err), try)
		}
		_ = file.Close()
	}
	if _, cert := a["cert"]; cert != (a["key"].value != "") {
		lone, other := a["cert"], "key"
		if !cert {
			lone, other = a["key"], "certificate"
		}
		return usage(fmt.Errorf("%s: it needs a %s as well", lone.from, other), try)
	}
	for one := range strings.SplitSeq(a["url"].value, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		if u, err := url.Parse(one); err != nil || u.Host == "" {
			return usage(fmt.Errorf("%s: it is no URL of a server, such as %s", a["url"].from, nats.DefaultURL), try)
		}
	}
	return nil
}

// options are what the client is told.
func (a access) options() ([]nats.Option, error) {
	opts := []nats.Option{nats.Name("parti"), nats.Timeout(connectTime)}
	switch of := func(field string) string { return a[field].value }; {
	case of("user") != "" && of("password") == "":
		opts = append(opts, nats.Token(of("user")))
	case of("user") != "":
		opts = append(opts, nats.UserInfo(of("user"), of("password")))
	case of("creds") != "":
		opts = append(opts, nats.UserCredentials(of("creds")))
	case of("nkey") != "":
		nkey, err := nats.NkeyOptionFromSeed(of("nkey"))
		if err != nil {
			return nil, usage(fmt.Errorf("%s: %w", a["nkey"].from, err), "a file that begins with SU")
		}
		opts = append(opts, nkey)
	case of("user_jwt") != "":
		opts = append(opts, nats.UserJWTAndSeed(of("user_jwt"), of("user_seed")))
	case of("token") != "":
		opts = append(opts, nats.Token(of("token")))
	}
	if s, ok := a["cert"]; ok {
		opts = append(opts, nats.ClientCert(s.value, a["key"].value))
	}
	if s, ok := a["ca"]; ok {
		opts = append(opts, nats.RootCAs(s.value))
	}
	if s, ok := a["inbox_prefix"]; ok {
		opts = append(opts, nats.CustomInboxPrefix(strings.TrimSuffix(s.value, ".")))
	}
	if _, ok := a["tls_first"]; ok {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	return opts, nil
}

// connectTime is how long one server may take to answer.
const connectTime = 5 * time.Second

// connect connects. Its error is an [Error].
func (c *connection) connect(ctx context.Context, s *Streams, opts ...nats.Option) (*nats.Conn, error) {
	a, err := c.access(ctx, s)
	if err != nil {
		return nil, err
	}
	own, err := a.options()
	if err != nil {
		return nil, err
	}
	nc, err := dial(ctx, a["url"].value, append(own, opts...))
	switch {
	case err == nil:
		c.used = a
		return nc, nil
	case ctx.Err() != nil:
		return nil, a.ended(ctx)
	default:
		return nil, a.failed(err)
	}
}

// dial is [nats.Connect] until ctx ends. That one knows no context, and waits for one
// server after the other.
func dial(ctx context.Context, urls string, opts []nats.Option) (*nats.Conn, error) {
	type dialed struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan dialed, 1)
	go func() {
		nc, err := nats.Connect(urls, opts...)
		done <- dialed{nc, err}
	}()
	select {
	case d := <-done:
		if d.err == nil && ctx.Err() != nil {
			d.nc.Close()
			return nil, context.Cause(ctx)
		}
		return d.nc, d.err
	case <-ctx.Done():
		go func() { // it may still come about, for nobody
			if d := <-done; d.err == nil {
				d.nc.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// ended says why there is no connection when ctx has ended before there was one.
func (a access) ended(ctx context.Context) *Error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, errTimeout) && !errors.Is(cause, context.DeadlineExceeded) {
		return &Error{Code: Failed, What: "interrupted"}
	}
	return &Error{
		Code: TimedOut, What: show.Redacted(a["url"].value) + " did not answer", Why: cause,
		Try: "a longer --timeout, or say with --nats or --context where it is",
	}
}

// jetstream is the JetStream that the settings lead to; nc is what connect returned.
func (c *connection) jetstream(nc *nats.Conn) (jetstream.JetStream, error) {
	var js jetstream.JetStream
	var err error
	switch domain, prefix := c.used["jetstream_domain"], c.used["jetstream_api_prefix"]; {
	case domain.value != "":
		js, err = jetstream.NewWithDomain(nc, domain.value)
	case prefix.value != "":
		js, err = jetstream.NewWithAPIPrefix(nc, prefix.value)
	default:
		js, err = jetstream.New(nc)
	}
	if err != nil {
		return nil, usage(fmt.Errorf("JetStream: %w", err), "another --js-domain")
	}
	return js, nil
}

// failed says what to do about a connection that there is none of.
func (a access) failed(err error) error {
	at := show.Redacted(a["url"].value)
	e := &Error{Code: Failed, What: "cannot connect to " + at, Why: err}
	unknown := x509.UnknownAuthorityError{}
	badName := x509.HostnameError{}
	record := tls.RecordHeaderError{}
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired):
		e.Code, e.What, e.Try = Forbidden, at+" does not let this user in", "--creds, --nkey, --user or --context, for a user that it knows"
		if from := a.who(); from != "" {
			e.Why = fmt.Errorf("%w (it was shown %s)", err, from)
		}
	case errors.Is(err, nats.ErrNoServers):
		e.Why = errors.New("nobody listens there")
		e.Try = "start it with `nats-server -js`, or say with --nats or --context where it is"
		if from := a["url"].from; from != "the default" {
			e.Why = fmt.Errorf("nobody listens there (it is from %s)", from)
		}
	case errors.As(err, &unknown):
		e.Try = "--tlsca, with a file of the authority that certified the server"
	case errors.As(err, &badName), errors.As(err, &invalid):
		e.Try = "the name in the server's certificate in --nats, or a certificate for this name"
	case errors.As(err, &record), errors.Is(err, nats.ErrSecureConnWanted), errors.Is(err, nats.ErrSecureConnRequired):
		e.Try = "tls:// before the server's name, --tls-first where the server has handshake_first, or neither where it has no TLS"
	default:
		e.Try = "say with --nats or --context where it is"
	}
	return e
}

// who says what was shown to the server.
func (a access) who() string {
	for _, field := range logins {
		if s, ok := a[field]; ok {
			return s.from
		}
	}
	return ""
}
