package run

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/parti-go/parti/cmd/parti/internal/show"
)

// A record is one event, as JSON; Text is the same as a sentence.
type record struct {
	Schema    int       `json:"schema"`
	Time      time.Time `json:"time"`
	Event     string    `json:"event"`
	Worker    string    `json:"worker,omitempty"`
	Partition string    `json:"partition,omitempty"`
	Token     uint64    `json:"token,omitempty,string"`
	PID       int       `json:"pid,omitempty"`
	Code      *int      `json:"code,omitempty"` // what a command exited with
	Signal    string    `json:"signal,omitempty"`
	Took      int64     `json:"took_ms,omitempty"`
	Backoff   *int64    `json:"backoff_ms,omitempty"` // until it is started again
	Why       string    `json:"why,omitempty"`
	Err       string    `json:"err,omitempty"`
	Text      string    `json:"text"`
}

// maxPending is how many events wait while nobody reads them. Later ones are dropped.
const maxPending = 1 << 14

// tellTime is how long the last events may take to be told, where who reads them is slow, or
// the machine is.
const tellTime = 5 * time.Second

// A talk tells of events, a line each. To tell never waits for who reads.
type talk struct {
	out, err *place // where lines are written; events are on the error output
	w        io.Writer
	json     bool
	pending  atomic.Int64
	box      *mailbox[record]
	written  chan struct{}
	readers  *readers // of this and of what commands write
}

func newTalk(out, w io.Writer, style Style) *talk {
	t := &talk{w: w, json: style.JSON, box: newMailbox[record](), written: make(chan struct{}), readers: newReaders()}
	t.out, t.err = places(out, w)
	go func() {
		defer close(t.written)
		t.box.each(t.write)
	}()
	return t
}

// say tells of an event.
func (t *talk) say(r record) {
	if t.pending.Add(1) > maxPending {
		t.pending.Add(-1)
		return
	}
	r.Schema, r.Time = 1, time.Now().UTC().Truncate(time.Millisecond)
	t.box.put(r)
}

func (t *talk) write(r record) {
	defer t.pending.Add(-1)
	line := "parti: " + show.Clean(r.Text) // a reason is anybody's
	if t.json {
		text, err := json.Marshal(r)
		if err != nil {
			panic(err) // words and numbers
		}
		line = string(text)
	}
	t.err.Lock()
	defer t.err.Unlock()
	_, err := fmt.Fprintln(t.w, t.err.begin(nil)+line)
	t.readers.note(err)
}

// close waits until all was told, but not for ever.
func (t *talk) close() {
	t.box.close()
	timer := time.NewTimer(tellTime)
	defer timer.Stop()
	select {
	case <-t.written:
	case <-timer.C:
	}
}

// places are two, or one and the same where they are one file.
func places(out, err io.Writer) (o, e *place) {
	o, e = &place{}, &place{}
	if out == err {
		return o, o
	}
	a, ok := out.(*os.File)
	b, ok2 := err.(*os.File)
	if !ok || !ok2 {
		return o, e
	}
	x, failed := a.Stat()
	y, failed2 := b.Stat()
	if failed == nil && failed2 == nil && os.SameFile(x, y) {
		return o, o
	}
	return o, e
}

// Warnings tell of what a store warns of, and a Manager when it is made. What happens to
// that later comes as events.
type warnings struct {
	talk *talk
	over atomic.Bool
}

func (h *warnings) Enabled(_ context.Context, level slog.Level) bool {
	return !h.over.Load() && level >= slog.LevelWarn
}

func (h *warnings) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += ": " + a.Value.String()
		return true
	})
	h.talk.say(record{Event: "warning", Text: text})
	return nil
}

func (h *warnings) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *warnings) WithGroup(string) slog.Handler      { return h }
