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

// cookie is the name of what a browser keeps: browsers do not tell ports apart, nor prefixes.
func (c *Console) cookie(what string) string {
	sum := sha256.Sum256(append([]byte(c.name+"\n"), c.secret...))
	return "parti_" + what + "_" + hex.EncodeToString(sum[:6])
}

func secretOf(token string) []byte {
	sum := sha256.Sum256([]byte("parti console\n" + token))
	return []byte(hex.EncodeToString(sum[:]))
}

// guarded lets in what may come in.
func (c *Console) guarded(next http.Handler) http.Handler {
	foreign := http.NewCrossOriginProtection()
	refuse := func(w http.ResponseWriter, r *http.Request) {
		c.fail(w, r, &Error{Status: http.StatusForbidden, What: "this was sent by another site", Why: "a browser says so", Try: "do it from the console's own pages"})
	}
	foreign.SetDenyHandler(http.HandlerFunc(refuse))
	next = foreign.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // with none a browser hides where its own forms come from
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, longest)
		q, api := r.URL.Query(), strings.HasPrefix(r.URL.Path, "/api/")
		switch {
		case embedded(r):
			refuse(w, r)
		case r.Method == http.MethodGet && !api && q.Has("token") && c.shows(q.Get("token")):
			c.letIn(w, r)
			q.Del("token")
			redirect(w, r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:], q)
		case strings.HasPrefix(r.URL.Path, "/static/"), r.URL.Path == "/login", c.knows(r):
			next.ServeHTTP(w, r)
		default:
			c.ask(w, r, "")
		}
	})
}

// embedded reports whether a page of another site asks for something, other than by a link.
func embedded(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// knows reports whether a request comes from somebody who knows the token.
func (c *Console) knows(r *http.Request) bool {
	if c.secret == nil {
		return true
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return c.shows(token)
	}
	k, err := r.Cookie(c.cookie("known"))
	return err == nil && subtle.ConstantTimeCompare([]byte(k.Value), c.secret) == 1
}

func (c *Console) shows(token string) bool {
	return c.secret != nil && subtle.ConstantTimeCompare(secretOf(token), c.secret) == 1
}

func (c *Console) letIn(w http.ResponseWriter, r *http.Request) {
	c.keep(w, r, "known", string(c.secret), 30*24*time.Hour)
}

// keep has a browser keep a value for so long; none: not any more. It comes back with a link
// from elsewhere, too, since nothing changes by a link.
func (c *Console) keep(w http.ResponseWriter, r *http.Request, what, value string, most time.Duration) {
	age := int(most.Seconds())
	if most <= 0 {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // it is Secure wherever the browser came by TLS
		Name: c.cookie(what), Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", // a proxy in front says so
	})
}

// login takes the token from the form, and goes on to the page that was asked for.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	if !c.shows(r.PostFormValue("token")) {
		c.ask(w, r, "That is not the token.")
		return
	}
	c.letIn(w, r)
	page, query, _ := strings.Cut(r.PostFormValue("next"), "?")
	q, err := url.ParseQuery(query)
	if err != nil || strings.Trim(page, "abcdefghijklmnopqrstuvwxyz") != "" { // all our pages are words
		page, q = "", nil
	}
	redirect(w, page, q)
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	c.keep(w, r, "known", "", 0)
	redirect(w, "", nil)
}

// ask asks for the token.
func (c *Console) ask(w http.ResponseWriter, r *http.Request, why string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="parti console"`)
	if wantsJSON(r) {
		writeJSON(w, http.StatusUnauthorized, &Error{What: "a token is needed", Try: "Authorization: Bearer TOKEN"})
		return
	}
	next := r.PostFormValue("next")
	if r.Method == http.MethodGet {
		next = strings.TrimPrefix(r.URL.RequestURI(), "/")
	}
	c.render(w, r, http.StatusUnauthorized, page{Page: "login", Title: "Who are you?", Body: struct{ Why, Next string }{why, next}})
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
// loopback address, or else the error is [ErrOpen], and is called there by the names of this
// machine only, so that no other site can point a name of its own at it; but for a console
// [WithoutGuard].
func (c *Console) Serve(ctx context.Context, l net.Listener) error {
	var answers http.Handler = c
	if c.secret == nil && !c.open {
		own, ok := loopback(l.Addr())
		if !ok {
			_ = l.Close()
			return fmt.Errorf("console on %v: %w", l.Addr(), ErrOpen)
		}
		answers = c.called("localhost", "127.0.0.1", "::1", own)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: answers, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
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

// loopback is the address without its port, if it is one of this machine only.
func loopback(a net.Addr) (own string, ok bool) {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil || !at.Addr().IsLoopback() {
		return "", false
	}
	return at.Addr().String(), true
}

// called answers only who calls it by one of these names. Another site's name that points at
// this machine is how such a site would read it.
func (c *Console) called(names ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !slices.Contains(names, strings.ToLower(strings.Trim(host, "[]"))) {
			c.fail(w, r, &Error{
				Status: http.StatusMisdirectedRequest, What: fmt.Sprintf("nobody is called %q here", r.Host),
				Why: "without a token a console is there for this machine only, by its own names", Try: "http://localhost, or a token",
			})
			return
		}
		c.ServeHTTP(w, r)
	})
}
