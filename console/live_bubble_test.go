package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parti-go/parti/admin"
	"github.com/parti-go/parti/internal/kv"
)

// A page is one that is kept fresh.
type freshPage struct {
	mu   sync.Mutex
	head http.Header
	text strings.Builder

	end context.CancelFunc
}

func (p *freshPage) Header() http.Header { return p.head }
func (p *freshPage) WriteHeader(int)     {}
func (p *freshPage) Flush()              {}

func (p *freshPage) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

// Body is what it was told so far.
func (p *freshPage) Body() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// opens begins a stream in the bubble.
func opens(t *testing.T, c *Console, last string) *freshPage {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &freshPage{head: http.Header{}}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/live", http.NoBody)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	var over sync.WaitGroup
	over.Go(func() { c.ServeHTTP(p, r) })
	p.end = func() { cancel(); over.Wait() }
	synctest.Wait()
	return p
}

func (p *freshPage) count(what string) int {
	return strings.Count(p.Body(), what)
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := example()
		c := open(t, f)
		a := opens(t, c, "")
		if a.count("event: look\n") != 1 || !strings.Contains(a.Body(), `"sentence":"Moving 1 of 1 204: waiting for w-1 to let go (8 s)."`) {
			t.Errorf("at the beginning:\n%s", a.Body())
		}
		f.events <- admin.Event{Kind: admin.WorkerJoined, Text: "w-3 joined", Worker: "w-3"}
		f.events <- admin.Event{Kind: admin.WorkerLost, Text: "w-3 is declared lost", Worker: "w-3"}
		if a.count("event: happened\n") != 2 || a.count("\"text\":\"w-3 joined\"") != 1 || a.count("id: "+c.feed.boot+"-2\nevent: happened\n") != 1 {
			t.Errorf("after two events:\n%s", a.Body())
		}
		// One that was interrupted after the first gets the second; one of another process
		// is told that something may be missing.
		b, other := opens(t, c, c.feed.boot+"-1"), opens(t, c, "abc-1")
		if b.count("event: happened\n") != 1 || b.count("w-3 is declared lost") != 1 || b.count("missed") != 0 {
			t.Errorf("interrupted:\n%s", b.Body())
		}
		if other.count("event: happened\n") != 0 || other.count("event: missed\n") != 1 {
			t.Errorf("of another process:\n%s", other.Body())
		}
		for range kept + 5 {
			f.events <- admin.Event{Kind: admin.Planned, Text: "a plan"}
		}
		synctest.Wait()
		late := opens(t, c, c.feed.boot+"-2")
		if late.count("event: happened\n") != kept || late.count("event: missed\n") != 1 {
			t.Errorf("too late: %d, %d missed", late.count("event: happened\n"), late.count("event: missed\n"))
		}
		// One that has heard nothing yet does not miss what happens while it is interrupted.
		if quiet := opens(t, c, c.feed.boot+"-"+fmt.Sprint(kept+7)); quiet.count("event: happened\n") != 0 || quiet.count("id: "+c.feed.boot+"-"+fmt.Sprint(kept+7)+"\nevent: look\n") != 1 {
			t.Errorf("a quiet one:\n%s", quiet.Body())
		} else {
			quiet.end()
		}
		// A look that fails is told, with what was seen before.
		f.looks <- func(see func(admin.Snapshot, error) bool) { see(f.now, errors.New("no quorum")) }
		if a.count(`"problem":"no quorum"`) != 1 {
			t.Errorf("a problem:\n%s", a.Body())
		}
		if body := ask(c, http.MethodGet, "/", nil).body; !strings.Contains(body, "this is what it was like at 2026-03-01 12:00:00: no quorum") {
			t.Errorf("a page meanwhile:\n%s", body)
		}
		time.Sleep(16 * time.Second)
		if a.count(": alive\n") < 1 {
			t.Error("nothing keeps the connection")
		}
		// The group is followed once for all, and not any more when nobody looks.
		for _, p := range []*freshPage{a, b, other, late} {
			p.end()
		}
		if f.began != 1 {
			t.Errorf("it was watched %d times", f.began)
		}
		time.Sleep(2 * linger)
		synctest.Wait()
		if c.feed.stop != nil {
			t.Error("it is followed although nobody looks")
		}
		opens(t, c, "").end()
		if f.began != 2 {
			t.Errorf("it was watched %d times", f.began)
		}
		c.Close()
	})
}

// A stream more than there may be is refused, and one that ends makes room.
func TestLiveTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, example())
		var all []*freshPage
		for range streams {
			all = append(all, opens(t, c, ""))
		}
		if r := ask(c, http.MethodGet, "/live", nil); r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("one more: %s", r.Status)
		}
		all[0].end()
		more := opens(t, c, "")
		if more.count("event: look\n") != 1 {
			t.Errorf("after one has ended:\n%s", more.Body())
		}
		c.Close() // ends them all
		for _, p := range append(all, more) {
			p.end()
		}
	})
}

// When the group is lost for good the watch begins again.
func TestLiveBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := example()
		f.err = admin.ErrNoGroup
		c := open(t, f)
		a := opens(t, c, "")
		time.Sleep(10 * time.Second)
		if n := a.count(`"problem":"there is no such group"`); n < 4 {
			t.Errorf("told %d times", n)
		}
		f.mu.Lock()
		f.err = nil
		f.mu.Unlock()
		time.Sleep(againIn + time.Second)
		if a.count(`"sentence":"Moving`) == 0 {
			t.Errorf("it is there again:\n%s", a.Body())
		}
		a.end()
		c.Close()
	})
}

// What was changed from here is on the next page, whatever a look that had begun before saw;
// and many pages that need a look share it.
func TestChangedFromHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := example()
		c := open(t, f)
		a := opens(t, c, "")
		before := f.now
		ask(c, http.MethodPost, "/do", url.Values{"verb": {"cordon"}, "worker": {"w-0"}})
		f.mu.Lock()
		f.now.Sentence, f.snapshots, f.slow = "It has changed.", 0, time.Second
		f.mu.Unlock()
		f.looks <- func(see func(admin.Snapshot, error) bool) { see(before, nil) }
		var pages sync.WaitGroup
		for range 20 {
			pages.Go(func() {
				if body := ask(c, http.MethodGet, "/workers", nil).body; !strings.Contains(body, "It has changed.") {
					t.Errorf("a page after the change:\n%s", body)
				}
			})
		}
		pages.Wait()
		if f.snapshots != 1 {
			t.Errorf("%d looks for twenty pages", f.snapshots)
		}
		// Nor does a stream put the sentence of before in the place of the page's own.
		b := opens(t, c, "")
		f.looks <- func(see func(admin.Snapshot, error) bool) { see(before, nil) }
		if b.count("event: look\n") != 2 || b.count(`"sentence":"It has changed."`) != 2 {
			t.Errorf("a stream after the change:\n%s", b.Body())
		}
		b.end()
		a.end()
		c.Close()
	})
}

// When the group cannot be reached a page shows what was seen last, and says so; a program
// is told that it cannot be.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := example()
		c := open(t, f)
		a := opens(t, c, "")
		f.mu.Lock()
		f.err = kv.ErrUnavailable
		f.mu.Unlock()
		time.Sleep(stale + time.Second)
		r := ask(c, http.MethodGet, "/workers", nil)
		if body := r.body; r.StatusCode != http.StatusOK || !strings.Contains(body, "this is what it was like at 2026-03-01 12:00:00: ") {
			t.Errorf("a page: %s\n%s", r.Status, body)
		}
		if r := ask(c, http.MethodGet, "/api/snapshot", nil); r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a program: %s", r.Status)
		}
		f.mu.Lock()
		f.err = nil
		f.mu.Unlock()
		if body := ask(c, http.MethodGet, "/workers", nil).body; strings.Contains(body, "what it was like") {
			t.Errorf("afterwards:\n%s", body)
		}
		a.end()
		c.Close()
	})
}

// What happened while nobody looked is missing, and the list of events says so.
func TestNobodyLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := example()
		c := open(t, f)
		opens(t, c, "").end()
		f.events <- admin.Event{At: noon, Kind: admin.WorkerJoined, Text: "w-3 joined", Worker: "w-3"}
		time.Sleep(2 * linger)
		body := ask(c, http.MethodGet, "/events", nil).body
		if missed, joined := strings.Index(body, "nobody looked for a while"), strings.Index(body, "w-3 joined"); missed < 0 || joined < missed {
			t.Errorf("the newest first:\n%s", body)
		}
		c.Close()
	})
}

// What was seen before nobody looked for a while is not told of as what is.
func TestLookAfterNobodyLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := example()
		c := open(t, f)
		opens(t, c, "").end()
		time.Sleep(2 * linger)
		f.mu.Lock()
		f.now.Sentence, f.slow = "It has changed.", time.Second
		f.mu.Unlock()
		a := opens(t, c, "")
		if a.count("event: look\n") != 0 {
			t.Errorf("before anybody has looked again:\n%s", a.Body())
		}
		time.Sleep(2 * time.Second)
		if a.count("event: look\n") != 1 || a.count(`"sentence":"It has changed."`) != 1 {
			t.Errorf("after the first look:\n%s", a.Body())
		}
		a.end()
		c.Close()
	})
}
