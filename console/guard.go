package console

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// policy lets pages load nothing but what the console itself serves.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// longest is how long a form may be, in bytes.
const longest = 64 << 10

// cookie is the name of what a browser keeps once it has shown the token: a hash of it.
func (c *Console) cookie() string { return "parti_console_" + c.name }

func secretOf(token string) []byte {
	sum := sha256.Sum256([]byte("parti console\n" + token))
	return []byte(hex.EncodeToString(sum[:]))
}

// guarded lets in what may come in.
func (c *Console) guarded(next http.Handler) http.Handler {
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, &Error{Status: http.StatusForbidden, What: "this was sent by another site", Why: "a browser says so", Try: "do it from the console's own pages"})
	}))
	next = foreign.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, longest)
		switch {
		case !c.called(r.Host):
			c.fail(w, r, &Error{
				Status: http.StatusMisdirectedRequest, What: fmt.Sprintf("nobody is called %q here", r.Host),
				Why: "without a token a console is there for this machine only, by its own names", Try: "http://localhost, or a token",
			})
		case strings.HasPrefix(r.URL.Path, "/static/"), r.URL.Path == "/login", c.knows(r):
			next.ServeHTTP(w, r)
		case r.Method == http.MethodGet && c.shows(r.URL.Query().Get("token")):
			c.letIn(w, r)
			q := r.URL.Query()
			q.Del("token")
			redirect(w, strings.TrimPrefix(r.URL.Path, "/"), q)
		default:
			c.ask(w, r, "")
		}
	})
}

// called reports whether the console may be called by that name. Another site's name that
// points at this machine is how such a site would read it.
func (c *Console) called(host string) bool {
	if c.hosts == nil {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return slices.Contains(c.hosts, strings.ToLower(strings.Trim(host, "[]")))
}

// knows reports whether a request comes from somebody who knows the token.
func (c *Console) knows(r *http.Request) bool {
	if c.secret == nil {
		return true
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return c.shows(token)
	}
	k, err := r.Cookie(c.cookie())
	return err == nil && subtle.ConstantTimeCompare([]byte(k.Value), c.secret) == 1
}

func (c *Console) shows(token string) bool {
	return c.secret != nil && subtle.ConstantTimeCompare(secretOf(token), c.secret) == 1
}

func (c *Console) letIn(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{
		Name: c.cookie(), Value: string(c.secret), Path: "/", MaxAge: int((30 * 24 * time.Hour).Seconds()),
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
}

// login takes the token from the form.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	if !c.shows(r.PostFormValue("token")) {
		c.ask(w, r, "That is not the token.")
		return
	}
	c.letIn(w, r)
	redirect(w, "", nil)
}

func (c *Console) logout(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: c.cookie(), Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	redirect(w, "", nil)
}

// ask asks for the token.
func (c *Console) ask(w http.ResponseWriter, r *http.Request, why string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="parti console"`)
	if wantsJSON(r) {
		writeJSON(w, http.StatusUnauthorized, &Error{What: "a token is needed", Try: "Authorization: Bearer TOKEN"})
		return
	}
	c.render(w, r, http.StatusUnauthorized, page{Page: "login", Title: "Who are you?", Body: why})
}

// redirect answers a form, so that to load the page anew does not send it again. The place is
// relative: nobody here knows where the console is mounted.
func redirect(w http.ResponseWriter, page string, q url.Values) {
	place := "./" + page
	if len(q) > 0 {
		place += "?" + q.Encode()
	}
	w.Header().Set("Location", place)
	w.WriteHeader(http.StatusSeeOther)
}

// An Error is what the console answers instead of a page: what is wrong, why, and what to
// try. Status is that of HTTP.
type Error struct {
	Status int    `json:"-"`
	What   string `json:"what"`
	Why    string `json:"why,omitempty"`
	Try    string `json:"try,omitempty"`
}

func (e *Error) Error() string {
	text := e.What
	if e.Why != "" {
		text += ": " + e.Why
	}
	return text
}

// ErrOpen says that a console would be open to the network without a token.
var ErrOpen = errors.New("it would be open to everybody who reaches it: give it a token, or let it listen on 127.0.0.1")

// Serve answers on l until ctx ends, and closes it then. Without a token l must be on a
// loopback address, or else the error is [ErrOpen], unless insecure says that something in
// front of it guards it; and on a loopback address it is called by the names of this machine
// only, so that no other site can point a name of its own at it.
func (c *Console) Serve(ctx context.Context, l net.Listener, insecure bool) error {
	local := loopback(l.Addr())
	if c.secret == nil && !insecure {
		if !local {
			_ = l.Close()
			return fmt.Errorf("console on %v: %w", l.Addr(), ErrOpen)
		}
		c.hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: c, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // so that streams end
	}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		bounded, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer done()
		if server.Shutdown(bounded) != nil {
			_ = server.Close()
		}
	})()
	err := server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

func loopback(a net.Addr) bool {
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && at.Addr().IsLoopback()
}
