package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/parti-go/parti/permissions"
)

// TestScripts plays the sessions in testdata/script against a server of their own. Beside
// what testscript has, they know
//
//	server                       start a server; NATS_URL leads to it
//	fleet GROUP WORKERS PARTS    start workers, one after the other: worker-0, worker-1, …
//	                             named host-0, …; parts are p-000, p-001, …; wait until it is settled
//	join GROUP NAME              start one more
//	leave GROUP WORKER           stop one cleanly
//	grip GROUP, letgo GROUP      handlers that start from now on do not let go, until they may
//	settled GROUP                wait until the group is at rest
//	parti ARGS…                  run the command; with WIDTH in the environment on a terminal
//	                             that is so wide, where ANSWER is what is typed
//	shows REGEXP ARGS…           run the command again and again until it says what matches, and
//	                             take that output, whatever it exits with
//	code N                       the last parti exited with N
//	begin NAME REGEXP ARGS…      run parti beside the script, and wait until what it has
//	                             written so far, on both streams, matches
//	hears NAME REGEXP            wait until what NAME has written so far matches
//	end NAME                     interrupt it, and take its output as that of the last command
//	finish NAME                  wait until it ends by itself, and take its output
//	fetch NAME PATH [K=V…]       ask the console that NAME is for a page, or send it a form,
//	                             and take the page as output; a status of 400 and more fails
//	sees NAME PATH REGEXP        ask for a page again and again until it matches
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *rewrite,
		Setup: func(e *testscript.Env) error {
			tb, ok := e.T().(testing.TB)
			if !ok {
				return fmt.Errorf("%T is no testing.TB", e.T())
			}
			e.Setenv("LANG", "C.UTF-8")
			e.Values[sceneKey] = &scene{tb: tb, troops: map[string]*troop{}, grips: map[string]func(){}, beside: map[string]*beside{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":  scripted((*scene).server),
			"fleet":   scripted((*scene).fleet),
			"join":    scripted((*scene).join),
			"leave":   scripted((*scene).leave),
			"crash":   scripted((*scene).crash),
			"grip":    scripted((*scene).grip),
			"letgo":   scripted((*scene).letgo),
			"settled": scripted((*scene).settled),
			"parti":   scripted((*scene).parti),
			"shows":   scripted((*scene).shows),
			"code":    scripted((*scene).code),
			"begin":   scripted((*scene).begin),
			"hears":   scripted((*scene).hears),
			"end":     scripted((*scene).end),
			"finish":  scripted((*scene).finish),
			"fetch":   scripted((*scene).fetch),
			"sees":    scripted((*scene).sees),
		},
	})
}

const sceneKey = "scene"

// A scene is what a script has started.
type scene struct {
	tb     testing.TB
	url    string
	troops map[string]*troop
	grips  map[string]func()
	last   Code
	beside map[string]*beside
}

// A beside is a command that runs beside the script.
type beside struct {
	out, talk *watched
	stop      func()
	done      chan struct{}
	code      Code
}

func scripted(f func(*scene, *testscript.TestScript, bool, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		f(ts.Value(sceneKey).(*scene), ts, neg, args) //nolint:forcetypeassert // Setup puts it there
	}
}

// testTime is how long a script waits for anything.
const testTime = 2 * time.Minute

// pauseTime is how long to wait before something is looked at again: whoever looks without a
// pause keeps a core from those that are to answer.
const pauseTime = 50 * time.Millisecond

func (sc *scene) server(ts *testscript.TestScript, _ bool, args []string) {
	o := server.Options{}
	if len(args) > 0 { // users, by role of a group; the password is the name
		o.Users = append(o.Users, &server.User{Username: "all", Password: "all"})
		for _, role := range args[1:] {
			set, err := permissions.For(permissions.Use{Group: args[0]}, permissions.Role(role))
			ts.Check(err)
			o.Users = append(o.Users, &server.User{Username: role, Password: role, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: set.Publish.Allow},
				Subscribe: &server.SubjectPermission{Allow: set.Subscribe.Allow},
			}})
		}
	}
	sc.url = serve(sc.tb, o).ClientURL()
	ts.Setenv("NATS_URL", sc.url)
	if len(args) > 0 {
		sc.url = strings.Replace(sc.url, "nats://", "nats://all:all@", 1)
	}
}

func (sc *scene) fleet(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 3, "GROUP WORKERS PARTITIONS")
	workers, err := strconv.Atoi(args[1])
	ts.Check(err)
	parts, err := strconv.Atoi(args[2])
	ts.Check(err)
	f := newTroop(sc.tb, sc.url, args[0], parts)
	sc.troops[args[0]] = f
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	for i := range workers {
		id, err := f.start(ctx, fmt.Sprintf("host-%d", i))
		ts.Check(err)
		if want := fmt.Sprintf("worker-%d", i); id != want {
			ts.Fatalf("the worker has the ID %s, and not %s", id, want)
		}
	}
	sc.settled(ts, false, args[:1])
}

func need(ts *testscript.TestScript, args []string, n int, what string) {
	if len(args) < n {
		ts.Fatalf("want %s", what)
	}
}

func (sc *scene) troop(ts *testscript.TestScript, args []string, n int, what string) *troop {
	need(ts, args, n, what)
	f := sc.troops[args[0]]
	if f == nil {
		ts.Fatalf("there is no group %s", args[0])
	}
	return f
}

func (sc *scene) join(ts *testscript.TestScript, _ bool, args []string) {
	f := sc.troop(ts, args, 2, "GROUP NAME")
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	_, err := f.start(ctx, args[1])
	ts.Check(err)
}

func (sc *scene) leave(ts *testscript.TestScript, _ bool, args []string) {
	f := sc.troop(ts, args, 2, "GROUP WORKER")
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	ts.Check(f.stop(ctx, args[1]))
}

func (sc *scene) crash(ts *testscript.TestScript, _ bool, args []string) {
	f := sc.troop(ts, args, 2, "GROUP PARTITION")
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	ts.Check(f.crash(ctx, args[1]))
}

func (sc *scene) grip(ts *testscript.TestScript, _ bool, args []string) {
	f := sc.troop(ts, args, 1, "GROUP")
	sc.grips[args[0]] = f.grip()
	sc.tb.Cleanup(sc.grips[args[0]])
}

func (sc *scene) letgo(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 1, "GROUP")
	sc.grips[args[0]]()
}

func (sc *scene) settled(ts *testscript.TestScript, _ bool, args []string) {
	f := sc.troop(ts, args, 1, "GROUP")
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	ts.Check(f.rest(ctx))
}

// streams are those of a command in the script.
func (sc *scene) streams(ts *testscript.TestScript, out, talk interface{ Write(p []byte) (int, error) }) *Streams {
	width, _ := strconv.Atoi(ts.Getenv("WIDTH"))
	return &Streams{In: strings.NewReader(ts.Getenv("ANSWER") + "\n"), Out: out, Err: talk, Env: ts.Getenv, Width: width}
}

// shows runs a command until it says what matches: a worker that is busy for half a second is
// silent to whoever looks just then.
func (sc *scene) shows(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 2, "REGEXP ARGS...")
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	args = relative(ts, args[1:])
	for {
		var out, talk strings.Builder
		sc.last = Run(ctx, args, sc.streams(ts, &out, &talk))
		shown := pattern.MatchString(out.String()) || pattern.MatchString(talk.String())
		if !shown && ctx.Err() == nil {
			<-time.After(pauseTime)
			continue
		}
		_, _ = io.WriteString(ts.Stdout(), out.String())
		_, _ = io.WriteString(ts.Stderr(), talk.String())
		if !shown {
			ts.Fatalf("it does not say %s", pattern)
		}
		return
	}
}

func (sc *scene) parti(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	args = relative(ts, args)
	sc.last = Run(ctx, args, sc.streams(ts, ts.Stdout(), ts.Stderr()))
	switch {
	case neg && sc.last == Done:
		ts.Fatalf("it exited with 0")
	case !neg && sc.last != Done:
		ts.Fatalf("it exited with %d", sc.last)
	}
}

// relative makes arguments that begin with a dot and a slash files of the script.
func relative(ts *testscript.TestScript, args []string) []string {
	for i, a := range args {
		if strings.HasPrefix(a, "./") {
			args[i] = ts.MkAbs(a)
		}
	}
	return args
}

func (sc *scene) code(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 1, "N")
	if fmt.Sprint(int(sc.last)) != args[0] {
		ts.Fatalf("it exited with %d", sc.last)
	}
}

func (sc *scene) begin(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 3, "NAME REGEXP ARGS…")
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	b := &beside{stop: cancel, done: make(chan struct{}), out: newWatched(), talk: newWatched()}
	both := newWatched()
	b.out.also, b.talk.also = both, both
	streams := sc.streams(ts, b.out, b.talk)
	env := map[string]string{}
	for _, name := range []string{"NATS_URL", "LANG", "HOME", "PARTI_GROUP", "NATS_USER", "NATS_PASSWORD", "TERM"} {
		env[name] = ts.Getenv(name)
	}
	streams.Env = func(name string) string { return env[name] }
	go func() {
		defer close(b.done)
		b.code = Run(ctx, args[2:], streams)
	}()
	sc.tb.Cleanup(func() { cancel(); <-b.done })
	sc.beside[args[0]] = b
	if !both.await(b.done, pattern) {
		ts.Fatalf("it does not say %s:\n%s", args[1], both)
	}
}

func (sc *scene) hears(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 2, "NAME REGEXP")
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	if b := sc.beside[args[0]]; !b.out.await(b.done, pattern) {
		ts.Fatalf("it does not say %s:\n%s", args[1], b.out)
	}
}

func (sc *scene) end(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 1, "NAME")
	sc.beside[args[0]].stop()
	sc.finish(ts, neg, args)
}

func (sc *scene) finish(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 1, "NAME")
	b := sc.beside[args[0]]
	select {
	case <-b.done:
	case <-time.After(testTime):
		ts.Fatalf("it does not end:\n%s%s", b.out, b.talk)
	}
	sc.last = b.code
	fmt.Fprint(ts.Stdout(), b.out.String())
	fmt.Fprint(ts.Stderr(), b.talk.String())
	if neg == (b.code == Done) {
		ts.Fatalf("it exited with %d", b.code)
	}
}

func (sc *scene) fetch(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, args, 2, "NAME PATH [K=V…]")
	page, status := sc.page(ts, args)
	fmt.Fprint(ts.Stdout(), page)
	if neg == (status < http.StatusBadRequest) {
		ts.Fatalf("%s: %d", args[1], status)
	}
}

// sees is for what a page says once all have answered: see shows.
func (sc *scene) sees(ts *testscript.TestScript, _ bool, args []string) {
	need(ts, args, 3, "NAME PATH REGEXP")
	pattern, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	for late := time.Now().Add(testTime); ; {
		page, _ := sc.page(ts, args[:2])
		shown := pattern.MatchString(page)
		if !shown && time.Now().Before(late) {
			<-time.After(pauseTime)
			continue
		}
		fmt.Fprint(ts.Stdout(), page)
		if !shown {
			ts.Fatalf("it does not say %s", pattern)
		}
		return
	}
}

// page is what the console answers to a request that has the arguments of fetch.
func (sc *scene) page(ts *testscript.TestScript, args []string) (text string, status int) {
	at, _, _ := strings.Cut(sc.beside[args[0]].out.String(), "\n")
	at, token, _ := strings.Cut(at, "?token=")
	method, form := http.MethodGet, url.Values{}
	for _, pair := range args[2:] {
		name, value, _ := strings.Cut(pair, "=")
		method = http.MethodPost
		form.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, at+args[1], strings.NewReader(form.Encode()))
	ts.Check(err)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	keeps, err := cookiejar.New(nil)
	ts.Check(err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Jar: keeps}
	a, err := client.Do(r)
	ts.Check(err)
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	ts.Check(err)
	return string(body), a.StatusCode
}

// A watched is a buffer that can be waited for.
type watched struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{}
	also    *watched
}

func newWatched() *watched { return &watched{changed: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.text.Write(p)
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	if w.also != nil {
		return w.also.Write(p)
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// await waits until the text matches, or can no more.
func (w *watched) await(done <-chan struct{}, pattern *regexp.Regexp) bool {
	late := time.After(testTime)
	for {
		w.mu.Lock()
		changed, ok := w.changed, pattern.MatchString(w.text.String())
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return pattern.MatchString(w.String())
		case <-late:
			return false
		}
	}
}
