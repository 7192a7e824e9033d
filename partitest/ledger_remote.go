package partitest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/parti-go/parti"
)

// A Remote is the end of a [Ledger] in a process of its own: it writes what its worker
// does as lines, which the test's process reads with [Ledger.Listen].
//
// Each line carries its time by the clock that all processes of the machine share
// (CLOCK_MONOTONIC), so that the ledger compares when things happened, not when it heard
// of them. Where there is no such clock, on other systems than Linux, a line counts from
// when it is read: numbers are then roughly right, and [Ledger.Check] may be wrong either
// way, as the order of arrival is not that of happening.
//
// There is no Act: the sink of that is in the test's process, and an answer from there
// would be one more thing that a fault can strike. [Remote.Effect] is for the sink that
// the worker really writes to.
//
// All methods may be called from several goroutines at once.
type Remote struct {
	worker string

	mu      sync.Mutex
	to      io.Writer
	effects uint64
}

// NewRemote makes the end of a ledger for a worker. Nothing else may be written to that
// writer. A pipe is good ([os/exec.Cmd.ExtraFiles]): what was written to it arrives even
// if the process is killed right after.
func NewRemote(to io.Writer, worker string) *Remote {
	return &Remote{worker: worker, to: to}
}

// A line is an Entry on its way, as JSON.
type line struct {
	Clock     time.Duration `json:"clock,omitempty"` // of the machine; 0: there is none
	Say       say           `json:"say"`
	Worker    string        `json:"worker"`
	Partition string        `json:"partition"`
	Token     uint64        `json:"token"`
	Text      string        `json:"text,omitempty"`
	Effect    uint64        `json:"effect,omitempty"` // its number in this process
}

// A say is what a line says.
type say string

const (
	sayStarts  say = "starts"
	sayReturns say = "returns"
	sayTries   say = "tries" // an effect is under way
	sayActs    say = "acts"  // it was accepted
	sayRefused say = "refused"
)

func (r *Remote) write(e line) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Clock, _ = machineClock()
	e.Worker = r.worker
	text, err := json.Marshal(e)
	if err == nil {
		_, err = r.to.Write(append(text, '\n')) // in one piece, so that a kill leaves no half lines in a pipe
	}
	if err != nil {
		return fmt.Errorf("partitest: the ledger of %s: %w", r.worker, err)
	}
	return nil
}

// Watch is h, whose starts and returns are written, before the one and after the other.
// Where that fails, Run fails; h does not start without it. It is a [parti.Preparer] if
// h is one.
func (r *Remote) Watch(h parti.Handler) parti.Handler {
	watched := parti.HandlerFunc(func(ctx context.Context, lease parti.Lease) (err error) {
		e := line{Say: sayStarts, Partition: lease.Partition.ID, Token: lease.Token}
		if err := r.write(e); err != nil {
			return err
		}
		defer func() {
			e.Say = sayReturns
			err = errors.Join(err, r.write(e))
		}()
		return h.Run(ctx, lease)
	})
	if p, ok := h.(parti.Preparer); ok {
		return struct {
			parti.Handler
			parti.Preparer
		}{watched, p}
	}
	return watched
}

// Effect is [Ledger.Effect]. One that a killed process had under way may have taken
// place or not.
func (r *Remote) Effect(lease parti.Lease, what string, do func() error) error {
	r.mu.Lock()
	r.effects++
	e := line{Say: sayTries, Partition: lease.Partition.ID, Token: lease.Token, Text: what, Effect: r.effects}
	r.mu.Unlock()
	if err := r.write(e); err != nil {
		return err
	}
	err := do()
	switch {
	case errors.Is(err, ErrRefused):
		e.Say = sayRefused
	case err != nil:
		return err
	default:
		e.Say = sayActs
	}
	return errors.Join(err, r.write(e))
}

// Listen enters what a [Remote] writes, until that ends: then nothing more will come from
// the process. It goes on after a line that is none of a Remote, and fails at the end. A
// last line that a killed process did not finish is left out.
//
// The test enters what it does to the process: [Frozen] before [Pause], [Woke] after
// [Resume], and [Ledger.Killed] when it was killed and Listen has returned.
func (l *Ledger) Listen(from io.Reader) error {
	tried := map[uint64]trial{}
	var mistakes []error
	for lines := bufio.NewReader(from); ; {
		text, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return errors.Join(mistakes...)
		} else if err != nil {
			return errors.Join(append(mistakes, err)...)
		}
		var e line
		if err = json.Unmarshal(text, &e); err == nil {
			err = l.hear(e, tried)
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("partitest: no line of a Remote: %.80q: %w", bytes.TrimSpace(text), err))
		}
	}
}

// A trial is an effect that is under way in another process.
type trial struct {
	i      int // in acts
	called time.Time
}

// hear enters one line.
func (l *Ledger) hear(heard line, tried map[uint64]trial) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := Entry{At: heard.at(), Worker: heard.Worker, Partition: heard.Partition, Token: heard.Token, Text: heard.Text}
	switch heard.Say {
	case sayStarts:
		e.What = Started
		l.enter(e)
	case sayReturns:
		e.What = Returned
		l.enter(e)
	case sayTries:
		tried[heard.Effect] = trial{l.try(e, ticks(e.At)), e.At}
	case sayActs, sayRefused:
		t, ok := tried[heard.Effect]
		if !ok {
			return fmt.Errorf("effect %d was not tried", heard.Effect)
		}
		delete(tried, heard.Effect)
		e.What, e.called = Acted, t.called
		if heard.Say == sayRefused {
			e.What = Refused
		}
		l.answer(e, t.i, ticks(e.At))
	default:
		return fmt.Errorf("it says %q", heard.Say)
	}
	return nil
}

// Killed enters the crash of a process that was killed at that time, or as soon as it
// has done the last that [Ledger.Listen] has heard of it: a signal takes a moment. Call
// it when Listen has returned and before a successor of that name starts.
func (l *Ledger) Killed(worker string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.Worker == worker && e.Token != 0 && e.At.After(at) {
			at = e.At
		}
	}
	l.enter(Entry{At: at, What: Crashed, Worker: worker})
}

// anchor is one moment on the clock of this process and on that of the machine.
var anchor = newAnchor()

type moment struct {
	at    time.Time
	clock time.Duration
	ok    bool // else there is no clock of the machine
}

// newAnchor reads both clocks. They cannot be read at the same moment: of several tries
// the closest is kept.
func newAnchor() (best moment) {
	closest := time.Duration(math.MaxInt64)
	for range 5 {
		before, ok := machineClock()
		m := moment{at: time.Now(), clock: before, ok: ok}
		after, ok := machineClock()
		m.ok = m.ok && ok
		if after-before < closest {
			closest, best = after-before, m
		}
	}
	return best
}

// at is when it happened, or else now.
func (e line) at() time.Time {
	if e.Clock == 0 || !anchor.ok {
		return time.Now()
	}
	return anchor.at.Add(e.Clock - anchor.clock)
}

// ticks is a time for the checker.
func ticks(t time.Time) int64 { return int64(t.Sub(anchor.at)) }
