package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/parti-go/parti"
)

// A record is a cursor as it stands in its bucket, in JSON; the token of the lease that
// wrote it is in the header [HeaderToken].
type record struct {
	Schema  int       `json:"schema"`
	Stream  string    `json:"stream"`
	Group   string    `json:"group"`    // whose it is; empty: an older build has written it
	Subject string    `json:"subject"`  // with {partition}; as Group
	Created time.Time `json:"created"`  // of the stream: another one has other sequences
	Begun   bool      `json:"begun"`    // it is known where the partition begins
	Done    uint64    `json:"done"`     // the last sequence that needs nothing more, nor does any before it
	Trying  uint64    `json:"trying"`   // the sequence that was tried
	Tries   int       `json:"tries"`    // how often it was
	Crashes int       `json:"crashes"`  // owners lost in a row that did not get on
	Clean   bool      `json:"released"` // its owner let go of it
	Written time.Time `json:"written"`  // by the clock of who wrote it

	// Beyond are the sequences after Done that need nothing more either, in order. A build
	// that does not know of them repeats them.
	Beyond []uint64 `json:"beyond,omitempty"`
}

// schema is that of records.
const schema = 1

// keyOf is the key of a partition's cursor: what a key may not contain, and = itself, is
// written in hexadecimal.
func keyOf(stream, partition string) string { return keyed(stream) + "." + keyed(partition) }

// keyed is a name as it stands in a key.
func keyed(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c == '-' || c == '_' || c == '.' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

func (c *Cursor) cursorSubject(partition string) string {
	return "$KV." + c.opts.bucket + "." + keyOf(c.name, partition)
}

// foreign says whether a cursor is that of another group, or subject. One that does not say
// whose it is, is ours.
func (c *core) foreign(rec *record) bool {
	return rec.Group != "" && rec.Group != c.group || rec.Subject != "" && rec.Subject != string(c.subject)
}

// read reads a cursor: which token wrote it, and its sequence in the bucket. All are 0
// when there is none. That of another group or subject is a [CursorError].
func (c *Cursor) read(ctx context.Context, partition string) (rec record, token, rev uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	m, err := c.stored(ctx, "KV_"+c.opts.bucket, which{Last: c.cursorSubject(partition)})
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return record{}, 0, 0, nil
	case err != nil:
		return record{}, 0, 0, fmt.Errorf("consumer: read the cursor of partition %s: %w", partition, err)
	}
	if isMarker(m.Header) {
		return record{}, 0, m.Sequence, nil // somebody has deleted it: the partition begins anew
	}
	token, _ = strconv.ParseUint(m.Header.Get(HeaderToken), 10, 64)
	switch err := json.Unmarshal(m.Data, &rec); {
	case err != nil:
		return record{}, 0, 0, fmt.Errorf("consumer: key %s of bucket %s is not a cursor: delete it, and the partition begins anew, or use another bucket: %w", keyOf(c.name, partition), c.opts.bucket, err)
	case rec.Schema > schema:
		return record{}, 0, 0, fmt.Errorf("consumer: the cursor of partition %s has schema %d, and this version knows %d: update it", partition, rec.Schema, schema)
	case c.foreign(&rec):
		return record{}, 0, 0, &CursorError{
			Bucket: c.opts.bucket, Key: keyOf(c.name, partition), Partition: partition,
			HaveGroup: rec.Group, HaveSubject: rec.Subject, Group: c.group, Subject: string(c.subject),
		}
	}
	return rec, token, m.Sequence, nil
}

// put writes a cursor if that which it replaces is still there.
func (t *tenure) put(ctx context.Context, rec *record) error {
	rec.Schema, rec.Group, rec.Subject, rec.Written = schema, t.group, string(t.subject), time.Now().UTC().Round(0)
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	m := nats.NewMsg(t.cursor.cursorSubject(t.lease.Partition.ID))
	m.Data = data
	m.Header.Set(HeaderToken, strconv.FormatUint(t.lease.Token, 10))
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	ack, err := t.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(t.rev))
	if err != nil {
		return fmt.Errorf("consumer: write the cursor of partition %s: %w", t.lease.Partition.ID, err)
	}
	t.have, t.rev = *rec, ack.Sequence
	return nil
}

// putTries is how often a cursor is written over what came between.
const putTries = 8

// claim reads the cursor, and writes it under the lease's token: from then on, no former
// owner can move it.
func (t *tenure) claim(ctx context.Context) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	var failed error
	for try := range putTries {
		if pause(ctx, time.Duration(try*try)*10*time.Millisecond); ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rec, token, rev, err := t.cursor.read(ctx, t.lease.Partition.ID)
		if err != nil {
			return err
		}
		if token > t.lease.Token {
			return &movedError{t.lease.Partition.ID, token, t.lease.Token}
		}
		switch {
		case rec.Begun && rec.Clean:
			rec.Crashes = 0
		case rec.Begun && token != t.lease.Token: // it may be this one's own try before
			rec.Crashes++
		}
		rec.Clean, t.rev = false, rev
		if failed = t.put(ctx, &rec); failed == nil {
			t.head, t.tries, t.had = rec.Trying, t.tried(&rec), rec.Beyond
			if rec.Begun {
				t.next = rec.Done + 1
			}
			if rec.Crashes >= carefulAfter {
				t.careful = carefulFor
			}
			return nil
		}
	}
	return failed
}

// write writes the cursor if it says something new, and reports whether it stands as it is.
func (t *tenure) write(ctx context.Context, h *hub, clean bool) bool {
	return t.attempt(ctx, h, clean) == nil
}

// attempt is write, and why it does not stand.
func (t *tenure) attempt(ctx context.Context, h *hub, clean bool) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	rec := t.have
	h.mu.Lock()
	if _, held := h.tenures[t]; !held && !clean { // it was due, and was let go of meanwhile: its last cursor is written, or will be
		h.mu.Unlock()
		return nil
	}
	rec.Done, rec.Trying, rec.Tries = t.position()
	rec.Beyond = t.beyond(rec.Done)
	rec.Clean = clean
	if rec.Done > t.have.Done && t.careful == 0 {
		rec.Crashes = 0
	}
	t.moved = false
	h.mu.Unlock()
	if !rec.Begun || reflect.DeepEqual(rec, t.have) {
		return nil
	}
	if err := t.replace(ctx, &rec); err != nil {
		h.mu.Lock()
		t.moved = true
		h.mu.Unlock()
		t.noted(err)
		return err
	}
	return nil
}

// release writes the last cursor of a lease. It waits for a bucket that has no leader for a
// while: the next owner would repeat what was done since the cursor before, and take this one
// for crashed.
func (t *tenure) release(h *hub) {
	ctx := t.lease.Hard()
	if ctx.Err() != nil { // what is done is done, and a later lease is not overwritten
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lateTime)
		defer cancel()
	}
	began := time.Now()
	for tries := 1; ; tries++ {
		sure := t.ascertain(ctx, h)
		err := t.attempt(ctx, h, true)
		if sure && err == nil || ended(err) || t.js.Conn().IsClosed() || time.Since(began) > requestTime {
			return
		}
		if pause(ctx, again(tries)); ctx.Err() != nil {
			return
		}
	}
}

// ascertain looks whether the beginning was written after all: the lease may end before
// the answer comes, and the next owner would take this one for crashed. It reports false
// when it could not find out.
func (t *tenure) ascertain(ctx context.Context, h *hub) bool {
	t.writing.Lock()
	defer t.writing.Unlock()
	if !t.unsure {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	rec, token, rev, err := t.cursor.read(ctx, t.lease.Partition.ID)
	if err != nil || token != t.lease.Token || !rec.Begun {
		return err == nil || ended(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t.have, t.rev, t.unsure = rec, rev, false
	t.next, t.head, t.tries, t.had = rec.Done+1, rec.Trying, rec.Tries, rec.Beyond
	return true
}

// lateTime is how long the last cursor may take when the lease is over.
const lateTime = 200 * time.Millisecond

// writeTime is how long one cursor may take to be written; then it is tried again.
const writeTime = 3 * time.Second

// replace writes a cursor over whatever this lease or a former one has written.
func (t *tenure) replace(ctx context.Context, rec *record) error {
	for try := 1; ; try++ {
		err := t.put(ctx, rec)
		if err == nil || ctx.Err() != nil || try == putTries {
			return err
		}
		_, token, rev, rerr := t.cursor.read(ctx, t.lease.Partition.ID)
		switch {
		case errors.As(rerr, new(*CursorError)): // two that know nothing of each other
			t.end(rerr)
			return rerr
		case rerr != nil:
			return errors.Join(err, rerr)
		case token > t.lease.Token:
			moved := &movedError{t.lease.Partition.ID, token, t.lease.Token}
			t.end(moved)
			return moved
		}
		t.rev = rev
	}
}

// A movedError says that a later lease has moved the cursor.
type movedError struct {
	partition  string
	have, mine uint64 // tokens
}

func (e *movedError) Error() string {
	return fmt.Sprintf("consumer: the cursor of partition %s was moved under token %d, and this is %d: the partition has another owner", e.partition, e.have, e.mine)
}

// Unwrap is [parti.ErrFenced].
func (e *movedError) Unwrap() error { return parti.ErrFenced }

func (t *tenure) noted(err error) {
	t.opts.observe(Trouble{Partition: t.lease.Partition.ID, Err: err})
}
