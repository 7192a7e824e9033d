package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/parti-go/parti"
	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/plan"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// build tells the static files of this release from those of another, so that browsers may
// keep them.
var build = func() string {
	sum := sha256.New()
	_ = fs.WalkDir(staticFiles, ".", func(path string, d fs.DirEntry, _ error) error { // it is part of the program
		if !d.IsDir() {
			text, _ := staticFiles.ReadFile(path)
			sum.Write(text)
		}
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil)[:6])
}()

func static() http.Handler {
	files := http.FileServerFS(staticFiles)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("v") == build {
			w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		files.ServeHTTP(w, r)
	})
}

// pages are the templates, each with the frame around it.
var pages = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	frame := template.Must(template.New("frame.html").Funcs(words).ParseFS(templateFiles, "templates/frame.html", "templates/parts.html"))
	files, _ := fs.Glob(templateFiles, "templates/*.html") // the pattern is right
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "templates/"), ".html")
		if name != "frame" && name != "parts" {
			all[name] = template.Must(template.Must(frame.Clone()).ParseFS(templateFiles, file))
		}
	}
	return all
}()

var words = template.FuncMap{
	"link":   link,
	"number": number,
	"plural": func(n int, one string) string {
		return number(n) + " " + map[bool]string{true: one, false: one + "s"}[n == 1]
	},
	"reason":   admin.Reason,
	"describe": admin.DescribeDecision,
	"pending":  admin.DescribePending,
	"control":  admin.DescribeControl,
	"ago":      admin.Past,
	"when":     func(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") },
	"stamp":    func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
	"lasts":    func(d parti.Millis) string { return admin.Duration(d.Duration()) },
	"percent":  func(thousandths int64) string { return fmt.Sprintf("%d %%", (thousandths+5)/10) },
	"fresh":    func(page string) string { return fresh[page] },
	"undo":     undo,
	"mood":     mood,
	"paused":   func(now admin.Snapshot) bool { return now.Standing(plan.Control{Kind: plan.Pause}) != nil },
	"verb": func(name string) admin.Verb {
		for _, v := range admin.Verbs() {
			if v.Name == name {
				return v
			}
		}
		return admin.Verb{Name: name}
	},
	"fields":   strings.Fields,
	"contains": strings.Contains,
	"title":    func(verb string) string { return sentence(strings.ReplaceAll(verb, "-", " ")) },
	"list":     func(all ...string) []string { return all },
	"join":     strings.Join,
	"version": func(v plan.Version) string {
		if v == 0 {
			return ""
		}
		return v.String()
	},
	"id":  func(v plan.Version) string { return fmt.Sprint(uint64(v)) },
	"row": func(look page, x any) struct{ Page, X any } { return struct{ Page, X any }{look, x} },
}

// number writes a count for people, in groups of three digits, which no line breaks apart.
func number(n any) string {
	text := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return sign + text
}

// undo is the link that takes an order back; empty for what is done once.
func undo(c plan.Control) string {
	verb := map[plan.ControlKind]string{plan.Drain: "undrain", plan.Cordon: "uncordon", plan.Pin: "unpin", plan.Ban: "unban", plan.Pause: "resume"}[c.Kind]
	if verb == "" {
		return ""
	}
	worker := c.Worker
	if c.Kind == plan.Pin {
		worker = ""
	}
	return link("do", "verb", verb, "partition", c.Partition, "worker", worker)
}

// mood is how the first sentence looks; it says nothing that its words do not.
func mood(now admin.Snapshot) string {
	switch {
	case now.Settled:
		return "well"
	case now.Leader == nil || now.Counts.Unassigned > 0 || now.Counts.Workers == 0 || now.Phase == plan.Emergency:
		return "bad"
	default:
		return "busy"
	}
}

// fresh says when a page is loaded again: at each look, or only when something happened, since
// it costs more. The others stay as they are.
var fresh = map[string]string{
	"overview": "look", "workers": "look", "worker": "look", "partitions": "look",
	"partition": "event", "history": "event", "events": "event",
}

// A page is what every template is given.
type page struct {
	Group    string
	Page     string // which one it is
	Title    string
	Build    string
	Now      *admin.Snapshot // nil: there is none
	Old      string          // why Now may be old
	Said     string          // what came of the form before
	ReadOnly bool
	Known    bool // there is a token, and it was shown
	Body     any
}

// render writes a page. Nothing is sent before all of it is there.
func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, p page) {
	p.Group, p.Build, p.ReadOnly, p.Known = c.name, build, c.readOnly, c.secret != nil && c.knows(r)
	if k, err := r.Cookie(c.cookie("said")); err == nil {
		p.Said, _ = url.QueryUnescape(k.Value)
		c.keep(w, r, "said", "", 0)
	}
	var b bytes.Buffer
	if err := pages[p.Page].ExecuteTemplate(&b, "frame.html", p); err != nil {
		http.Error(w, "the page cannot be written: "+err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, status, "text/html; charset=utf-8", b.Bytes())
}

// writeIn is how long a part of an answer may take to be sent.
const writeIn = 10 * time.Second

// send sends an answer. Whoever does not listen any more misses nothing.
func send(w http.ResponseWriter, status int, kind string, text []byte) {
	w.Header().Set("Content-Type", kind)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeIn)) // not every writer has deadlines
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// fail answers with an error instead.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, e *Error) {
	if wantsJSON(r) {
		writeJSON(w, e.Status, e)
		return
	}
	c.render(w, r, e.Status, page{Page: "error", Title: e.What, Body: e})
}

func (c *Console) nowhere(w http.ResponseWriter, r *http.Request) {
	c.fail(w, r, &Error{Status: http.StatusNotFound, What: fmt.Sprintf("there is no page %q", r.URL.Path), Try: "the overview"})
}
