package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/kv"
	"github.com/parti-go/parti/plan"
)

// slowest is how long a verb may take that waits until it has come about.
const slowest = time.Minute

// A wish is what a request wants to be done.
type wish struct {
	admin.Verb
	Control plan.Control
	Names   []name
}

// A name is one that a verb takes: what it is, and which.
type name struct {
	What, Is string
	Among    []string // those that it can be
}

// Complete reports whether it names all that it takes.
func (x wish) Complete() bool {
	return !slices.ContainsFunc(x.Names, func(n name) bool { return n.Is == "" })
}

// wishOf is what a form, or a link to one, says.
func wishOf(v url.Values, now admin.Snapshot) (wish, error) {
	verbs := admin.Verbs()
	at := slices.IndexFunc(verbs, func(x admin.Verb) bool { return x.Name == v.Get("verb") })
	if at < 0 {
		return wish{}, &Error{Status: http.StatusNotFound, What: fmt.Sprintf("nobody can %q a group", v.Get("verb"))}
	}
	x := wish{Verb: verbs[at]}
	among := x.Verb.Names(now)
	var names []string
	for i, what := range x.Takes {
		is := strings.TrimSpace(v.Get(what))
		names = append(names, is)
		x.Names = append(x.Names, name{what, is, among[i]})
	}
	x.Control = x.About(names...)
	if x.Complete() {
		return x, now.Exists(x.Control)
	}
	return x, nil
}

var errReadOnly = &Error{Status: http.StatusForbidden, What: "this console only shows", Try: "parti on the command line, or a console that is not read-only"}

// confirm says what a verb would do, and asks.
func (c *Console) confirm(w http.ResponseWriter, r *http.Request) {
	c.shown(w, r, "do", "", func(_ context.Context, now admin.Snapshot) (any, error) {
		if c.readOnly {
			return nil, errReadOnly
		}
		x, err := wishOf(r.URL.Query(), now)
		if err != nil {
			return nil, err
		}
		body := struct {
			wish
			Will  string
			Old   string // what it replaces
			Stood string // who and when, to be compared
			Aim   string // whom it strikes and does not name, to be compared as well
		}{wish: x}
		if x.Complete() {
			body.Will, body.Aim = sentence(x.Will(now, x.Control)), now.Aim(x.Control)
			if old := now.Standing(x.Control); old != nil {
				body.Stood = stood(old)
				if !x.TakesBack {
					body.Old = admin.DescribeControl(*old, now.At)
				}
			}
		}
		return body, nil
	})
}

// sentence begins with a capital.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// stood tells one order from another.
func stood(c *plan.Control) string {
	if c == nil {
		return ""
	}
	return c.Who + " " + c.When.UTC().Format(time.RFC3339Nano)
}

// steer does what the form says.
func (c *Console) steer(w http.ResponseWriter, r *http.Request) {
	if c.readOnly {
		c.fail(w, r, errReadOnly)
		return
	}
	said, back, err := c.done(r)
	if err != nil {
		c.fail(w, r, errorOf(err))
		return
	}
	c.keep(w, r, "said", url.QueryEscape(said), 30*time.Second)
	page, query, _ := strings.Cut(back, "?")
	q, _ := url.ParseQuery(query) // it is ours
	redirect(w, page, q)
}

func (c *Console) done(r *http.Request) (said, back string, err error) {
	// What has been asked for is not taken back because a browser does not wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), slowest)
	defer cancel()
	if err := r.ParseForm(); err != nil {
		return "", "", &Error{Status: http.StatusBadRequest, What: "the form cannot be read", Why: err.Error()}
	}
	now, err := c.group.Snapshot(ctx)
	if err != nil {
		return "", "", err
	}
	x, err := wishOf(r.PostForm, now)
	if err != nil {
		return "", "", err
	}
	if !x.Complete() {
		return "", "", &Error{Status: http.StatusBadRequest, What: x.Name + " of what?", Why: "it takes a " + strings.Join(x.Takes, " and a ")}
	}
	old, err := c.group.Standing(ctx, x.Control)
	switch {
	case err != nil:
		return "", "", err
	case x.Harms && r.PostForm.Get("force") == "":
		return "", "", &Error{Status: http.StatusBadRequest, What: "nothing was done", Why: x.Short + ": that does harm", Try: "tick that it is to be so"}
	case r.PostForm.Has("aim") && r.PostForm.Get("aim") != now.Aim(x.Control):
		return "", "", &Error{
			Status: http.StatusConflict, What: "nothing was done", Try: "look again, and decide anew",
			Why: fmt.Sprintf("it would have struck %s, and by now %s", r.PostForm.Get("aim"), cmp.Or(now.Aim(x.Control), "nobody")),
		}
	case r.PostForm.Has("stood") && r.PostForm.Get("stood") != stood(old):
		conflict := &admin.ConflictError{}
		if old != nil {
			conflict.Theirs = *old
		}
		return "", "", conflict
	}
	o := admin.Order{Why: r.PostForm.Get("why"), Who: c.whoOf(r)}
	if text := strings.TrimSpace(r.PostForm.Get("for")); text != "" && x.Ends {
		if o.For, err = time.ParseDuration(text); err != nil || o.For <= 0 {
			return "", "", &Error{Status: http.StatusBadRequest, What: fmt.Sprintf("%q is no time", text), Why: "it is a time above 0", Try: "1h30m, or nothing"}
		}
	}
	change, err := c.do(ctx, x.Verb, x.Control, o)
	c.feed.forget() // the next page is to show it
	if err != nil {
		return "", "", unsure(err)
	}
	said = x.Done(change, now.At)
	switch {
	case x.Control.Partition != "":
		back = link("partition", "id", x.Control.Partition)
	case x.Control.Worker != "":
		back = link("worker", "id", x.Control.Worker)
	}
	return said, back, nil
}

// unsure says of an order that it may have been given all the same.
func unsure(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusGatewayTimeout, What: "it was asked for, and has not come about yet", Why: err.Error(), Try: "look at the group, and wait"}
	case errors.Is(err, kv.ErrUnknown):
		return &Error{Status: http.StatusServiceUnavailable, What: "nobody knows whether it was written", Why: err.Error(), Try: "look whether the order stands"}
	default:
		return err
	}
}

// whoOf is who steers.
func (c *Console) whoOf(r *http.Request) string {
	if c.who != nil {
		return c.who(r)
	}
	from := r.RemoteAddr
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	return "console, from " + from
}
