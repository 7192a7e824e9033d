package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

// targets are pages of the example that show all that they can.
var targets = map[string]string{
	"overview":            "/",
	"workers":             "/workers?q=node",
	"worker":              "/worker?id=w-0",
	"worker-suspect":      "/worker?id=w-1",
	"partitions":          "/partitions",
	"partition":           "/partition?id=orders.eu",
	"partition-moving":    "/partition?id=orders.us",
	"partition-odd":       "/partition?id=%3Cb%3E%26odd",
	"history":             "/history?worker=w-0&last=5",
	"decision":            "/decision?version=" + fmt.Sprint(uint64(plan.MakeVersion(7, 41))),
	"plan":                "/plan?without=w-0&with=1",
	"doctor":              "/doctor",
	"do-drain":            "/do?verb=drain&worker=w-0",
	"do-pin":              "/do?verb=pin&partition=orders.eu",
	"do-release":          "/do?verb=release&partition=orders.us",
	"missing-worker":      "/worker?id=w-77",
	"no-page":             "/nowhere",
	"bad-state":           "/partitions?state=lost",
	"overview-read-only":  "/",
	"do-drain-read-only":  "/do?verb=drain&worker=w-0",
	"worker-read-only":    "/worker?id=w-0",
	"partition-read-only": "/partition?id=orders.eu",
	"login-token":         "/worker?id=w-0",
	"overview-token":      "/",
}

// TestGolden compares pages with those in testdata, which are to be looked at when they change.
func TestGolden(t *testing.T) {
	for name, target := range targets {
		t.Run(name, func(t *testing.T) {
			var opts []Option
			if strings.HasSuffix(name, "read-only") {
				opts = append(opts, WithReadOnly())
			}
			var known []func(*http.Request)
			if strings.HasSuffix(name, "token") {
				opts = append(opts, WithToken("sesame"))
				if !strings.HasPrefix(name, "login") {
					known = append(known, func(r *http.Request) { r.Header.Set("Authorization", "Bearer sesame") })
				}
			}
			c := open(t, example(), opts...)
			got := strings.ReplaceAll(ask(c, http.MethodGet, target, nil, known...).body, build, "BUILD")
			path := filepath.Join("testdata", name+".html")
			if *rewrite {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs (-rewrite writes it anew):\n%s", path, got)
			}
		})
	}
}

var (
	links  = regexp.MustCompile(`(?:href|action|src)="([^"]*)"`)
	inline = regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\sstyle=|\son[a-z]+=|javascript:`)
	opened = regexp.MustCompile(`<(/?)([a-z][a-z0-9]*)[^>]*>`)
)

// alone are the elements that have no end.
var alone = map[string]bool{"meta": true, "link": true, "input": true, "br": true}

// TestCrawl follows every link from the overview. Each leads to a page that is whole, escapes
// what it shows, and has nothing that the content policy would forbid.
func TestCrawl(t *testing.T) {
	c := open(t, example())
	seen, queue := map[string]bool{}, []string{"/"}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if seen[at] {
			continue
		}
		seen[at] = true
		r := ask(c, http.MethodGet, at, nil)
		body := r.body
		if r.StatusCode != http.StatusOK && at != "/worker?id=w-9" { // who has left long ago is named in old plans
			t.Errorf("%s: %s", at, r.Status)
			continue
		}
		if !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
			continue
		}
		if bad := inline.FindString(body); bad != "" {
			t.Errorf("%s has %q", at, bad)
		}
		for _, bad := range []string{"<no value>", "ZgotmplZ", "%!", "<b>&odd", "<b>&amp;odd"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q", at, bad)
			}
		}
		var open []string
		for _, m := range opened.FindAllStringSubmatch(body, -1) {
			switch end, name := m[1] != "", m[2]; {
			case name == "option": // its end may be left out
			case end && (len(open) == 0 || open[len(open)-1] != name):
				t.Fatalf("%s: </%s> ends %v", at, name, open)
			case end:
				open = open[:len(open)-1]
			case !alone[name]:
				open = append(open, name)
			}
		}
		base, _ := url.Parse(at)
		for _, m := range links.FindAllStringSubmatch(body, -1) {
			to, err := url.Parse(html.UnescapeString(m[1]))
			if err != nil || to.IsAbs() || strings.HasPrefix(to.Path, "/") {
				t.Errorf("%s leads to %s: it is to be mounted anywhere", at, m[1])
				continue
			}
			next := base.ResolveReference(to)
			if next.Fragment = ""; next.Path != "/logout" && next.String() != "/do" {
				queue = append(queue, next.String())
			}
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d pages: %v", len(seen), seen)
	}
}

func TestSteer(t *testing.T) {
	form := func(pairs ...string) url.Values {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	for name, x := range map[string]struct {
		form   url.Values
		fail   error
		done   string // what was done; empty: nothing
		status int
		place  string
		says   string
	}{
		"cordon":          {form("verb", "cordon", "worker", "w-0", "why", "slow disk", "for", "1h30m"), nil, `cordon /w-0 by "console, from 192.0.2.1" why "slow disk" for 1h30m0s`, 303, "./worker?id=w-0", ""},
		"pause":           {form("verb", "pause"), nil, `pause / by "console, from 192.0.2.1" why "" for 0s`, 303, "./", ""},
		"undrain":         {form("verb", "undrain", "worker", "w-1", "stood", "ann@ops-1 2026-03-01T11:58:50Z"), nil, `undrain /w-1 by "console, from 192.0.2.1" why "" for 0s`, 303, "./worker?id=w-1", ""},
		"move":            {form("verb", "move", "partition", "<b>&odd", "worker", "w-1"), nil, `move <b>&odd/w-1 by "console, from 192.0.2.1" why "" for 0s`, 303, "./partition?id=%3Cb%3E%26odd", ""},
		"harm":            {form("verb", "release", "partition", "orders.us"), nil, "", 400, "", "that does harm"},
		"harm, yes":       {form("verb", "release", "partition", "orders.us", "force", "1"), nil, `release orders.us/ by "console, from 192.0.2.1" why "" for 0s`, 303, "./partition?id=orders.us", ""},
		"harm to another": {form("verb", "release", "partition", "orders.us", "force", "1", "aim", "w-0"), nil, "", 409, "", "it would have struck w-0, and by now w-1"},
		"another leads":   {form("verb", "step-down", "aim", "w-2"), nil, "", 409, "", "it would have struck w-2, and by now w-0"},
		"the same leads":  {form("verb", "step-down", "aim", "w-0"), nil, `step-down / by "console, from 192.0.2.1" why "" for 0s`, 303, "./", ""},
		"no such verb":    {form("verb", "explode"), nil, "", 404, "", "nobody can"},
		"no such worker":  {form("verb", "drain", "worker", "w-77"), nil, "", 404, "", `there is no worker &#34;w-77&#34;`},
		"nothing named":   {form("verb", "drain"), nil, "", 400, "", "drain of what?"},
		"no time":         {form("verb", "drain", "worker", "w-0", "for", "soon"), nil, "", 400, "", "is no time"},
		"other operator":  {form("verb", "undrain", "worker", "w-1", "stood", ""), nil, "", 409, "", "ann@ops-1"},
		"refused":         {form("verb", "move", "partition", "orders.eu", "worker", "w-1"), &admin.RefusedError{What: "move", Why: "it has no room", Try: "another"}, `move orders.eu/w-1 by "console, from 192.0.2.1" why "" for 0s`, 409, "", "it has no room"},
		"denied":          {form("verb", "pause"), &kv.DeniedError{}, `pause / by "console, from 192.0.2.1" why "" for 0s`, 403, "", "parti permissions"},
	} {
		t.Run(name, func(t *testing.T) {
			f := example()
			f.fail = x.fail
			r := ask(open(t, f), http.MethodPost, "/do", x.form)
			body := r.body
			if got := strings.Join(f.done, "; "); got != x.done {
				t.Errorf("done: %s, want %s", got, x.done)
			}
			if r.StatusCode != x.status || r.Header.Get("Location") != x.place || !strings.Contains(body, x.says) {
				t.Errorf("%s to %q:\n%s", r.Status, r.Header.Get("Location"), body)
			}
		})
	}
	t.Run("read-only", func(t *testing.T) {
		f := example()
		if r := ask(open(t, f, WithReadOnly()), http.MethodPost, "/do", form("verb", "pause")); r.StatusCode != http.StatusForbidden || len(f.done) > 0 {
			t.Errorf("%s, done %v", r.Status, f.done)
		}
	})
	t.Run("another site", func(t *testing.T) {
		f := example()
		c := open(t, f)
		for name, header := range map[string]http.Header{
			"as a browser says":     {"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}},
			"another origin":        {"Origin": {"http://evil.example"}},
			"no origin to be known": {"Origin": {"null"}},
		} {
			r := ask(c, http.MethodPost, "/do", form("verb", "pause"), func(r *http.Request) { r.Header = withAll(r.Header, header) })
			if r.StatusCode != http.StatusForbidden || len(f.done) > 0 {
				t.Errorf("%s: %s, done %v", name, r.Status, f.done)
			}
		}
		for mode, status := range map[string]int{"navigate": 200, "no-cors": 403, "cors": 403} {
			r := ask(c, http.MethodGet, "/plan?with=1", nil, func(r *http.Request) {
				r.Header.Set("Sec-Fetch-Site", "cross-site")
				r.Header.Set("Sec-Fetch-Mode", mode)
			})
			if r.StatusCode != status {
				t.Errorf("asked for in mode %s: %s", mode, r.Status)
			}
		}
		// Without TLS, and not at home, a browser says only where its page is from, and that
		// only as long as the page lets it.
		r := ask(c, http.MethodPost, "/do", form("verb", "pause"), func(r *http.Request) { r.Header.Set("Origin", "http://"+r.Host) })
		if r.StatusCode != http.StatusSeeOther || len(f.done) != 1 {
			t.Errorf("its own page: %s, done %v", r.Status, f.done)
		}
		if p := r.Header.Get("Referrer-Policy"); p != "same-origin" {
			t.Errorf("Referrer-Policy: %s", p)
		}
	})
	t.Run("who", func(t *testing.T) {
		f := example()
		ask(open(t, f, WithWho(func(r *http.Request) string { return r.Header.Get("X-User") })), http.MethodPost, "/do", form("verb", "pause"), func(r *http.Request) { r.Header.Set("X-User", "eve") })
		if len(f.done) != 1 || !strings.Contains(f.done[0], `by "eve"`) {
			t.Errorf("done %v", f.done)
		}
	})
	t.Run("what came of it is on the next page, once", func(t *testing.T) {
		c := open(t, example())
		r := ask(c, http.MethodPost, "/do", form("verb", "cordon", "worker", "w-0"))
		with := func(q *http.Request) {
			for _, k := range r.Cookies {
				q.AddCookie(k)
			}
		}
		r = ask(c, http.MethodGet, "/worker?id=w-0", nil, with)
		if body := r.body; !strings.Contains(body, `role="status">w-0 is cordoned.<`) {
			t.Errorf("it is not there:\n%s", body)
		}
		if k := r.Cookies; len(k) != 1 || k[0].MaxAge >= 0 {
			t.Errorf("it stays: %v", k)
		}
	})
}

// A nil option is as none.
func TestNilOptions(t *testing.T) {
	f := example()
	c := open(t, f, nil, WithWho(nil), WithToken(""))
	if a := ask(c, http.MethodPost, "/do", url.Values{"verb": {"pause"}}); a.StatusCode != http.StatusSeeOther || len(f.done) != 1 || !strings.Contains(f.done[0], `by "console, from 192.0.2.1"`) {
		t.Errorf("%s, %v: %s", a.Status, f.done, a.body)
	}
}

// withAll adds headers.
func withAll(h, more http.Header) http.Header {
	maps.Copy(h, more)
	return h
}

func TestToken(t *testing.T) {
	f := example()
	c := open(t, f, WithToken("sesame"))
	get := func(target string, change ...func(*http.Request)) reply {
		return ask(c, http.MethodGet, target, nil, change...)
	}
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	for name, x := range map[string]struct {
		r      reply
		status int
	}{
		"nothing":          {get("/"), 401},
		"nothing, api":     {get("/api/snapshot"), 401},
		"nothing, live":    {get("/live"), 401},
		"nothing, steered": {ask(c, http.MethodPost, "/do", url.Values{"verb": {"pause"}}), 401},
		"style":            {get("/static/parti.css"), 200},
		"bearer":           {get("/api/snapshot", bearer("sesame")), 200},
		"wrong bearer":     {get("/api/snapshot", bearer("sesam")), 401},
		"empty bearer":     {get("/", bearer("")), 401},
		"in the address":   {get("/worker?id=w-0&token=sesame"), 303},
		"wrong in it":      {get("/worker?id=w-0&token=x"), 401},
		"form":             {ask(c, http.MethodPost, "/login", url.Values{"token": {"sesame"}}), 303},
		"wrong form":       {ask(c, http.MethodPost, "/login", url.Values{"token": {"x"}}), 401},
	} {
		if x.r.StatusCode != x.status {
			t.Errorf("%s: %s, want %d", name, x.r.Status, x.status)
		}
	}
	if len(f.done) > 0 {
		t.Errorf("done without the token: %v", f.done)
	}
	for next, place := range map[string]string{
		"worker?id=w-0": "./worker?id=w-0", "": "./", "//evil.example/": "./", "https://evil.example": "./", "../x": "./", "\\evil": "./",
	} {
		r := ask(c, http.MethodPost, "/login", url.Values{"token": {"sesame"}, "next": {next}})
		if got := r.Header.Get("Location"); got != place {
			t.Errorf("after a login for %q it goes on to %s", next, got)
		}
	}
	if body := get("/worker?id=w-0").body; !strings.Contains(body, `name="next" value="worker?id=w-0"`) {
		t.Errorf("the form forgets the page:\n%s", body)
	}
	r := get("/worker?id=w-0&token=sesame")
	if place := r.Header.Get("Location"); place != "./worker?id=w-0" {
		t.Errorf("it goes on to %s", place)
	}
	keeps := func(q *http.Request) {
		for _, k := range r.Cookies {
			if !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || strings.Contains(k.Value, "sesame") {
				t.Errorf("cookie %v", k)
			}
			q.AddCookie(k)
		}
	}
	if r := get("/worker?id=w-0", keeps); r.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: %s", r.Status)
	}
	if r := get("/worker?id=w-0&token=sesame", keeps); r.StatusCode != http.StatusSeeOther {
		t.Errorf("the token stays in the address: %s", r.Status)
	}
	if r := ask(open(t, example(), WithToken("other")), http.MethodGet, "/", nil, keeps); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("at a console with another token: %s", r.Status)
	}
	r = ask(c, http.MethodPost, "/logout", url.Values{}, keeps)
	if k := r.Cookies; len(k) != 1 || k[0].MaxAge >= 0 {
		t.Errorf("after a logout: %v", k)
	}
}

// A listener is one at an address that it is not at.
type listener struct {
	net.Listener
	at net.Addr
}

func (l listener) Addr() net.Addr { return l.at }

func TestServe(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	everywhere := &net.TCPAddr{IP: net.IPv4zero, Port: 80}
	if err := open(t, example()).Serve(t.Context(), listener{listen(), everywhere}); !errors.Is(err, ErrOpen) {
		t.Errorf("on every address without a token: %v", err)
	}
	l := listen()
	c := open(t, example())
	served := make(chan error, 1)
	go func() { served <- c.Serve(t.Context(), l) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(host string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		a, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		return a.StatusCode
	}
	for host, want := range map[string]int{"": 200, "localhost": 200, "localhost:1": 200, "[::1]:7": 200, "evil.example": 421, "evil.example:80": 421} {
		if got := get(host); got != want {
			t.Errorf("called %q: %d, want %d", host, got, want)
		}
	}
	select {
	case err := <-served:
		t.Fatal(err)
	default:
	}
}

// TestMounted has a console below a prefix. All that it leads to is below it.
func TestMounted(t *testing.T) {
	c := open(t, example(), WithToken("sesame"))
	mux := http.NewServeMux()
	mux.Handle("/parti/", http.StripPrefix("/parti", c))
	server := httptest.NewServer(mux)
	defer server.Close()
	client := server.Client()
	client.Jar, _ = cookiejar.New(nil)
	read := func(ask func() (*http.Response, error)) (at, body string) {
		r, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.Request.URL.Path, string(b)
	}
	get := func(page string) (at, body string) {
		return read(func() (*http.Response, error) { return client.Get(server.URL + page) })
	}
	if at, body := get("/parti/worker?id=w-0&token=sesame"); at != "/parti/worker" || !strings.Contains(body, "<h1>w-0</h1>") {
		t.Errorf("at %s:\n%s", at, body)
	}
	if _, body := get("/parti/static/parti.css"); !strings.Contains(body, "color-scheme") {
		t.Errorf("the style:\n%s", body)
	}
	form := url.Values{"verb": {"cordon"}, "worker": {"w-0"}}
	if at, body := read(func() (*http.Response, error) { return client.PostForm(server.URL+"/parti/do", form) }); at != "/parti/worker" || !strings.Contains(body, "w-0 is cordoned.") {
		t.Errorf("at %s:\n%s", at, body)
	}
}

// TestTrouble has pages that say what is wrong instead.
func TestTrouble(t *testing.T) {
	for name, x := range map[string]struct {
		err    error
		status int
		says   string
	}{
		"no group":    {admin.ErrNoGroup, 404, "no such group"},
		"unavailable": {kv.ErrUnavailable, 503, "cannot be reached"},
		"denied":      {&kv.DeniedError{}, 403, "observer"},
		"strange":     {errors.New("what is this?"), 500, "what is this?"},
	} {
		f := example()
		f.err = x.err
		c := open(t, f)
		r := ask(c, http.MethodGet, "/", nil)
		if body := r.body; r.StatusCode != x.status || !strings.Contains(body, x.says) {
			t.Errorf("%s: %s\n%s", name, r.Status, body)
		}
		r = ask(c, http.MethodGet, "/api/snapshot", nil)
		var e Error
		if err := json.Unmarshal([]byte(r.body), &e); err != nil || r.StatusCode != x.status || !strings.Contains(e.Error()+e.Try, x.says) {
			t.Errorf("%s, api: %s %v %v", name, r.Status, e, err)
		}
	}
}

// TestAPI has the structs of admin, as they are.
func TestAPI(t *testing.T) {
	f := example()
	c := open(t, f)
	same := func(target string, want any) {
		t.Helper()
		var got bytes.Buffer
		e := json.NewEncoder(&got)
		e.SetIndent("", "  ")
		if err := e.Encode(want); err != nil {
			t.Fatal(err)
		}
		if body := ask(c, http.MethodGet, target, nil).body; body != got.String() {
			t.Errorf("%s:\n%s\nwant\n%s", target, body, got.String())
		}
	}
	explanation, _ := f.Explain(t.Context(), "orders.eu")
	outcome, _ := f.Plan(t.Context(), admin.WhatIf{Without: []string{"w-0"}})
	findings, _ := f.Doctor(t.Context())
	same("/api/snapshot", f.now)
	same("/api/history", admin.Decisions{Schema: 1, Decisions: f.log})
	same("/api/history?last=1", admin.Decisions{Schema: 1, Decisions: f.log[:1]})
	same("/api/explain?partition=orders.eu", explanation)
	same("/api/plan?without=w-0", outcome)
	same("/api/doctor", admin.Findings{Schema: 1, Findings: findings})
	for target, status := range map[string]int{
		"/api/history?last=0": 400, "/api/history?last=x": 400, "/api/plan?with=-1": 400, "/api/explain?partition=nope": 404, "/api/nothing": 404,
	} {
		r := ask(c, http.MethodGet, target, nil)
		if body := r.body; r.StatusCode != status || !json.Valid([]byte(body)) {
			t.Errorf("%s: %s %s", target, r.Status, body)
		}
	}
}

// TestPaging goes through a list that is longer than a page.
func TestPaging(t *testing.T) {
	f := example()
	f.now.Partitions = nil
	for i := range 2*rows + 50 {
		f.now.Partitions = append(f.now.Partitions, admin.Partition{ID: fmt.Sprintf("p-%04d", i), Weight: 1, State: admin.Owned, Owner: "w-0", Why: plan.WhyFirstPlan})
	}
	c := open(t, f)
	next := regexp.MustCompile(`rel="next" href="([^"]*)"`)
	seen := 0
	for at := "/partitions?q=p-"; at != ""; {
		body := ask(c, http.MethodGet, at, nil).body
		for strings.Contains(body, fmt.Sprintf(">p-%04d<", seen)) {
			seen++
		}
		m := next.FindStringSubmatch(body)
		if at = ""; m != nil {
			at = "/partitions" + html.UnescapeString(m[1])
		}
	}
	if seen != 2*rows+50 {
		t.Errorf("%d of %d were on a page", seen, 2*rows+50)
	}
	for _, from := range []string{"-5", "x", "100000"} {
		if r := ask(c, http.MethodGet, "/partitions?from="+from, nil); r.StatusCode != http.StatusOK {
			t.Errorf("from=%s: %s", from, r.Status)
		}
	}
}

func TestNumber(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", -1234567: "-1\u202f234\u202f567"} {
		if got := number(n); got != want {
			t.Errorf("%d is %q", n, got)
		}
	}
}

func TestNilGroup(t *testing.T) {
	defer func() {
		if said, _ := recover().(string); !strings.Contains(said, "admin.Open") {
			t.Errorf("it panics with %q", said)
		}
	}()
	New(nil, "orders")
}
